"""The other methods, each in another form than its formula."""

import math

import numpy as np

from tests.variants.low_rank import plus_bias
from tests.variants.writing import variant


def scale(c):
    """alpha / r."""
    return c["alpha"] / c["rank"]


# ---- DoRA ---------------------------------------------------------------------------------------------------


@variant("DoRA as a correction of the base", "dora.forward")
def dora_correction(c, t):
    V = t["W0"] + scale(c) * t["B"] @ t["A"]
    g = t["m"] / np.linalg.norm(V, axis=1)
    base = t["X"] @ t["W0"].T
    return plus_bias(base + ((g - 1) * base + g * ((t["X"] @ t["A"].T) @ t["B"].T) * scale(c)), t)


@variant("DoRA by rows", "dora.merge")
def dora_rows(c, t):
    W = np.zeros_like(t["W0"])
    for i, (w, b, m) in enumerate(zip(t["W0"], t["B"], t["m"], strict=True)):
        v = w + scale(c) * b @ t["A"]
        W[i] = v / math.sqrt(math.fsum(float(x) ** 2 for x in v)) * m
    return W


@variant("DoRA through unit rows", "dora.backward")
def dora_unit_rows(c, t):
    V = t["W0"] + scale(c) * t["B"] @ t["A"]
    length = np.sqrt(np.einsum("dk,dk->d", V, V))[:, None]
    unit, gW = V / length, t["gY"].T @ t["X"]
    along = np.einsum("dk,dk->d", gW, unit)
    flow = gW if c["norm"] == "detached" else gW - along[:, None] * unit
    gV = t["m"][:, None] / length * flow
    return {
        "gX": (t["gY"] * t["m"]) @ unit,
        "gB": scale(c) * gV @ t["A"].T,
        "gA": scale(c) * t["B"].T @ gV,
        "gm": along,
    }


# ---- products -----------------------------------------------------------------------------------------------


@variant("LoHa as one product of rank r²", "loha.merge")
def face_splitting(c, t):
    (d, r), k = t["B1"].shape, t["A1"].shape[1]
    B = (t["B1"][:, :, None] * t["B2"][:, None, :]).reshape(d, r * r)
    A = (t["A1"][:, None, :] * t["A2"][None, :, :]).reshape(r * r, k)
    return t["W0"] + scale(c) * B @ A


@variant("LoHa entry by entry", "loha.forward")
def loha_entries(c, t):
    delta = np.einsum("dr,rk,ds,sk->dk", t["B1"], t["A1"], t["B2"], t["A2"])
    return plus_bias(t["X"] @ t["W0"].T + scale(c) * t["X"] @ delta.T, t)


@variant("LoHa entry by entry", "loha.backward")
def loha_backward(c, t):
    P, Q = t["B1"] @ t["A1"], t["B2"] @ t["A2"]
    gW = scale(c) * t["gY"].T @ t["X"]
    return {
        "gX": t["gY"] @ (t["W0"] + scale(c) * P * Q),
        "gB1": (gW * Q) @ t["A1"].T,
        "gA1": t["B1"].T @ (gW * Q),
        "gB2": (gW * P) @ t["A2"].T,
        "gA2": t["B2"].T @ (gW * P),
    }


@variant("LoKr without the Kronecker product", "lokr.forward")
def lokr_vec(c, t):
    D = t["D"] if "D" in t else t["B"] @ t["A"]
    (d1, k1), (d2, k2) = t["C"].shape, D.shape
    X = t["X"].reshape(-1, k1, k2)
    share = np.einsum("ij,njm,om->nio", t["C"], X, D).reshape(len(X), d1 * d2)
    return plus_bias(t["X"] @ t["W0"].T + scale(c) * share, t)


@variant("LoKr block by block", "lokr.merge")
def lokr_blocks(c, t):
    D = t["D"] if "D" in t else t["B"] @ t["A"]
    return t["W0"] + np.block([[scale(c) * (x * D) for x in row] for row in t["C"]])


@variant("VeRA with vectors on the activations", "vera.forward")
def vera_activations(c, t):
    Z = (t["X"] @ t["A"].T) * t["lambda_d"]
    return plus_bias(t["X"] @ t["W0"].T + (Z @ t["B"].T) * t["lambda_b"], t)


@variant("VeRA with diagonal matrices", "vera.merge")
def vera_diagonals(c, t):
    return t["W0"] + np.diag(t["lambda_b"]) @ t["B"] @ np.diag(t["lambda_d"]) @ t["A"]


@variant("AdaLoRA with a diagonal matrix", "adalora.merge")
def adalora_diagonal(c, t):
    return t["W0"] + t["P"] @ np.diag(c["scale"] * t["lam"]) @ t["Q"]


@variant("AdaLoRA triple by triple", "adalora.forward")
def adalora_triples(c, t):
    Y = t["X"] @ t["W0"].T
    for p, value, q in zip(t["P"].T, t["lam"], t["Q"], strict=True):
        Y = Y + Y.dtype.type(c["scale"]) * value * np.outer(t["X"] @ q, p)
    return plus_bias(Y, t)


@variant("(IA)3 through the weight", "ia3.forward")
def ia3_weight(c, t):
    if c["feedforward"]:
        return plus_bias(t["X"] @ (t["W0"] * t["l"]).T, t)
    Y = t["X"] @ (t["l"][:, None] * t["W0"]).T
    return Y + t["l"] * t["bias"] if "bias" in t else Y


@variant("OFT on the inputs", "oft.forward")
def oft_inputs(c, t):
    X, n = t["X"].astype(np.float64), len(t["q"])
    b = X.shape[1] // n
    sign = -1 if c.get("side") == "transposed" else 1
    turned = []
    for i, numbers in enumerate(t["q"].astype(np.float64)):
        Q = np.zeros((b, b))
        Q[np.triu_indices(b, 1)] = sign * numbers
        Q = Q - Q.T
        one = np.eye(b)
        R = np.linalg.inv(one + Q) @ (one - Q)
        if c.get("neumann"):
            R = (one - Q) @ (one - Q + Q @ Q - Q @ Q @ Q)
        turned.append(X[:, i * b : (i + 1) * b] @ R.T)
    return plus_bias(np.concatenate(turned, axis=1) @ t["W0"].astype(np.float64).T, t)


# ---- layouts, and what is inserted --------------------------------------------------------------------------


@variant("embedding as a product with one-hot rows", "lora-embedding.forward")
def one_hot(c, t):
    X = np.eye(len(t["W0"]), dtype=t["W0"].dtype)[t["X"]]
    return X @ t["W0"] + scale(c) * (X @ t["A"].T) @ t["B"].T


@variant("q, k and v as layers of their own", "lora-merged-qkv.forward")
def separate_layers(c, t):
    parts, taken, Y = len(c["enabled"]), 0, []
    on = sum(c["enabled"])
    for W, enabled in zip(np.split(t["W0"], parts), c["enabled"], strict=True):
        y = t["X"] @ W.T
        if enabled:
            B, A = np.split(t["B"], on)[taken], np.split(t["A"], on)[taken]
            y, taken = y + scale(c) * (t["X"] @ A.T) @ B.T, taken + 1
        Y.append(y)
    return plus_bias(np.concatenate(Y, axis=1), t)


@variant("stored weight, transposed views", "lora-transposed.forward")
def transposed_views(c, t):
    W = t["W0"].T + scale(c) * t["B"] @ t["A"]
    return plus_bias((W @ t["X"].T).T, t)


@variant("convolution by gathered patches", "lora-conv2d.forward")
def gathered(c, t):
    s, groups = scale(c), c["groups"]
    if c.get("form") == "loralib":
        return patches(t["X"], t["W0"] + s * (t["B"] @ t["A"]).reshape(t["W0"].shape), c, groups, t)
    Z = patches(t["X"], t["A"], c, 1)
    plain = {"stride": 1, "padding": 0, "dilation": 1}
    return patches(t["X"], t["W0"], c, groups, t) + s * patches(Z, t["B"], plain, groups)


def patches(X, W, c, groups, t=None):
    """Gather every patch into a row, and multiply."""
    pads, strides, steps = (pair(c[name]) for name in ("padding", "stride", "dilation"))
    X = np.pad(X, ((0, 0), (0, 0), *((p, p) for p in pads)))
    N, (d, k, kh, kw) = len(X), W.shape
    rows, columns = (
        stride * np.arange((n - step * (m - 1) - 1) // stride + 1)[:, None] + step * np.arange(m)
        for n, m, stride, step in zip(X.shape[2:], (kh, kw), strides, steps, strict=True)
    )
    high, wide = len(rows), len(columns)
    gathered = X[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # (N, k, high, wide, kh, kw)
    Y = []
    for g in range(groups):
        block = (
            gathered[:, g * k : (g + 1) * k].transpose(0, 2, 3, 1, 4, 5).reshape(N, high, wide, k * kh * kw)
        )
        Y.append(block @ W[g * d // groups : (g + 1) * d // groups].reshape(d // groups, -1).T)
    result = np.concatenate(Y, axis=3).transpose(0, 3, 1, 2)
    return result + t["bias"][None, :, None, None] if t is not None and "bias" in t else result


def pair(value):
    """A number for both axes, or one for each."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)


@variant("two softmaxes put together", "prefix-tuning.forward")
def online_softmax(c, t):
    root = math.sqrt(t["Q"].shape[1])
    blocks = []
    for K, V in ((t["P_k"], t["P_v"]), (t["K"], t["V"])):
        scores = (t["Q"] @ K.T) / root
        top = scores.max(axis=1, initial=-np.inf)
        weights = np.exp(scores - top[:, None])
        blocks.append((top, weights.sum(axis=1), weights @ V))
    top = np.maximum(blocks[0][0], blocks[1][0])
    total = sum(np.exp(m - top) * whole for m, whole, _ in blocks)
    return sum(np.exp(m - top)[:, None] * values for m, _, values in blocks) / total[:, None]


@variant("prompt and text one after the other", "prompt-tuning.forward")
def one_after_the_other(c, t):
    return np.concatenate([plus_bias(t["P"] @ t["W0"].T, t), plus_bias(t["X"] @ t["W0"].T, t)])


@variant("adapter by columns", "houlsby.forward", "pfeiffer.forward")
def adapter_columns(c, t):
    h = t["X"].T
    inner = t["W_down"] @ h + t["b_down"][:, None]
    if c["activation"] == "gelu":
        erf = np.vectorize(math.erf, otypes=[np.float64])
        inner = (0.5 * inner) * (1 + erf(inner / math.sqrt(2)).astype(inner.dtype))
    else:
        inner = np.tanh(inner) if c["activation"] == "tanh" else (inner + np.abs(inner)) / 2
    return (h + t["W_up"] @ inner + t["b_up"][:, None]).T


@variant("additive by broadcasting", "additive.merge")
def additive_blocks(c, t):
    (d, k), r = t["W0"].shape, len(t["A"])
    s = t["W0"].dtype.type(c["alpha"] / c["rank"] if "alpha" in c else 1.0)
    blocks = t["W0"].reshape(d, k // r, r) + s * t["B"][:, None, :]
    return (blocks.reshape(d // r, r, k) + s * t["A"][None]).reshape(d, k)


@variant("symmetric with one difference", "symmetric.merge")
def symmetric_difference(c, t):
    both = np.concatenate([t["B"], -t["B0"]], axis=1) @ np.concatenate([t["A"], t["A0"]])
    return t["W0"] + scale(c) * both


@variant("LoRA-XS through A first", "lora-xs.forward")
def xs_inward(c, t):
    return plus_bias(t["X"] @ t["W0"].T + ((t["X"] @ t["A"].T) @ t["R"].T) @ t["B"].T, t)
