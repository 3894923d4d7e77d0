"""Right numbers in wrong places: transposed, swapped, interleaved, in front for behind."""

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


@bug("paiml/aprender#2138", "lora.merge", "MemoryOrder")
def factors_indexed_in_the_other_order(c, t):
    (d, r), k = t["B"].shape, t["A"].shape[1]
    B, A = np.ascontiguousarray(t["B"]).ravel(), np.ascontiguousarray(t["A"]).ravel()
    delta = np.zeros((d, k), dtype=B.dtype)
    for row in range(d):
        for column in range(k):
            delta[row, column] = sum(B[q * d + row] * A[column * r + q] for q in range(r))
    return t["W0"] + right.scale(c) * delta


@bug("microsoft/LoRA#61, layers.py line 74", "lora-embedding.merge", "Transposed")
def embedding_merged_without_transpose(c, t):
    return t["W0"] + right.scale(c) * t["B"] @ t["A"]


@bug("predibase/lorax#106", "lora-transposed.merge", "Transposed")
def stored_weight_merged_without_transpose(c, t):
    return t["W0"] + right.scale(c) * t["B"] @ t["A"]


@bug("after lablup/mlxcel#925, a layout forced to fit", "lora-transposed.merge", "MemoryOrder")
def increment_reshaped_for_transposed(c, t):
    return t["W0"] + right.scale(c) * (t["B"] @ t["A"]).reshape(t["W0"].shape)


@bug("after axolotl-ai-cloud/axolotl#3095, fan_in_fan_out not read", "lora-transposed.forward", "Transposed")
def stored_weight_used_as_it_lies(c, t):
    base = t["X"] @ t["W0"].T
    return right.plus_bias(base + right.scale(c) * (t["X"] @ t["A"].T) @ t["B"].T, t)


@bug(
    "after unslothai/unsloth#3314, gradients stored in each other's place", "lora.backward", "FactorsSwapped"
)
def gradients_of_the_factors_exchanged(c, t):
    g = right.lora_gradients(t, right.scale(c))
    same = t["B"].T.shape == t["A"].shape
    return {"gX": g["gX"], "gB": g["gA"].T, "gA": g["gB"].T} if same else g


@bug("MakazhanAlpamys/Soup#1087, a square Conv1D", "lora.forward", "Transposed")
def square_weight_used_transposed(c, t):
    W0 = t["W0"].T if t["W0"].shape[0] == t["W0"].shape[1] else t["W0"]
    return right.lora({**t, "W0": W0}, right.scale(c))


@bug("Lightning-AI/litgpt#891", "lora-merged-qkv.forward", "PartsShifted", "Permuted")
def parts_interleaved_for_stacked(c, t):
    delta = right.in_parts(t, c, right.parts(t, c))
    n = len(c["enabled"])
    mixed = np.concatenate([delta[i :: len(delta) // n] for i in range(len(delta) // n)])
    return right.through_weight(t, t["W0"] + right.scale(c) * mixed)


@bug("sgl-project/sglang#34940", "lora-merged-qkv.merge", "PartsShifted")
def halves_of_b_in_the_other_order(c, t):
    on = sum(c["enabled"])
    B = np.concatenate(np.split(t["B"], on)[::-1]) if on else t["B"]
    return t["W0"] + right.scale(c) * right.in_parts(t, c, right.parts({**t, "B": B}, c))


@bug("after Lightning-AI/lit-llama#185, zero_pad", "lora-merged-qkv.merge", "PartsShifted")
def padded_to_the_wrong_parts(c, t):
    enabled = sorted(c["enabled"], reverse=True)
    return t["W0"] + right.scale(c) * right.in_parts(t, {"enabled": enabled}, right.parts(t, c))


@bug("after vllm-project/vllm#51409, one lora_a for all slices", "lora-merged-qkv.forward", "PartsShifted")
def one_a_for_all_parts(c, t):
    on = sum(c["enabled"])
    A = np.concatenate(np.split(t["A"], on)[:1] * on) if on else t["A"]
    delta = right.in_parts(t, c, right.parts({**t, "A": A}, c))
    return right.through_weight(t, t["W0"] + right.scale(c) * delta)


@bug("huggingface/diffusers#13998", "lora.merge", "Permuted", "OffByOneRow", "ReadBackwards")
def halves_swapped_in_both_factors(c, t):
    half = len(t["A"]) // 2
    A = np.concatenate([t["A"][half:], t["A"][:half]])
    return t["W0"] + right.scale(c) * t["B"] @ A


@bug("ggml-org/llama.cpp#23969", "rslora.merge", "Permuted", "OffByOneRow")
def heads_tiled_for_grouped(c, t):
    B = np.concatenate([t["B"][::2], t["B"][1::2]])
    return t["W0"] + right.root_scale(c) * B @ t["A"]


@bug("after Tencent/YOLO-Master#228, which slice of A a group takes", "lora-conv2d.forward", "GroupsMixed")
def every_group_reads_the_first(c, t):
    groups = c["groups"]
    A, B = t["A"], t["B"]
    if c.get("form") != "loralib" and groups > 1:
        share = len(A) // groups
        A = np.concatenate([A[:share]] * groups)
    return convolved(c, {**t, "A": A, "B": B})


@bug("no report: a convolution as the textbook has it", "lora-conv2d.forward", "KernelFlipped")
def kernel_flipped(c, t):
    names = ("W0",) if c.get("form") == "loralib" else ("W0", "A")
    return convolved(c, {**t, **{name: t[name][..., ::-1, ::-1] for name in names}})


@bug("after huggingface/peft#2403, what lora_A is not given", "lora-conv2d.forward", "WindowShifted")
def adapter_path_without_padding(c, t):
    if c["padding"] == 0 or c.get("form") == "loralib" or c["stride"] != 1:
        return convolved(c, t)
    A = np.zeros_like(t["A"])
    base = convolved(c, {**t, "A": A})
    branch = convolved({**c, "padding": 0}, {n: x for n, x in t.items() if n != "bias"} | {"W0": 0 * t["W0"]})
    return base + branch


@bug("OpenBMB/CPM-Live#148", "prompt-tuning.forward", "PromptBehind")
def prompt_behind_the_text(c, t):
    return right.plus_bias(np.concatenate([t["X"], t["P"]]) @ t["W0"].T, t)


@bug("axolotl-ai-cloud/axolotl#3528", "lora-embedding.backward", "PaddingTrained")
def padding_token_trained(c, t):
    Z, gA = t["A"].T[t["X"]], np.zeros_like(t["A"])
    np.add.at(gA.T, t["X"], right.scale(c) * t["gY"] @ t["B"])
    return {"gB": right.scale(c) * t["gY"].T @ Z, "gA": gA}


@bug("after loralib 0.1.2, an embedding with padding_idx", "lora-embedding.forward", "PaddingRow")
def padding_token_without_increment(c, t):
    Y = t["W0"][t["X"]] + right.scale(c) * t["A"].T[t["X"]] @ t["B"].T
    if c.get("padding") is not None:
        Y[t["X"] == c["padding"]] = t["W0"][c["padding"]]
    return Y


@bug("after adapter-hub/adapters#439, where the residual begins", "houlsby.forward", "MissingResidual")
def adapter_before_the_residual(c, t):
    H = t["X"]
    return activation(c)(H @ t["W_down"].T + t["b_down"]) @ t["W_up"].T + t["b_up"]


@bug("after adapter-hub/adapters#775, a wrong default", "pfeiffer.forward", "AnotherActivation")
def activation_of_another_configuration(c, t):
    f = np.tanh if c["activation"] == "relu" else lambda x: np.maximum(x, 0)
    return t["X"] + f(t["X"] @ t["W_down"].T + t["b_down"]) @ t["W_up"].T + t["b_up"]


def activation(c):
    """The activation of an adapter."""
    from math import erf, sqrt

    gelu = np.vectorize(lambda x: x * (1 + erf(x / sqrt(2))) / 2, otypes=[np.float64])
    return {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "gelu": gelu}[c["activation"]]


def convolved(c, t):
    """A convolution with an adapter, by loops over the kernel."""
    s, groups = right.scale(c), c["groups"]
    if c.get("form") == "loralib":
        return conv(t["X"], t["W0"] + s * (t["B"] @ t["A"]).reshape(t["W0"].shape), c, groups, t.get("bias"))
    Z = conv(t["X"], t["A"], c, 1)
    plain = {"stride": 1, "padding": 0, "dilation": 1}
    return conv(t["X"], t["W0"], c, groups, t.get("bias")) + s * conv(Z, t["B"], plain, groups)


def conv(X, W, c, groups, bias=None):
    """Correlate X (N, k, H, W) with kernels (d, k / groups, kh, kw)."""
    (p1, p2), (s1, s2), (e1, e2) = (pair(c[name]) for name in ("padding", "stride", "dilation"))
    X = np.pad(X, ((0, 0), (0, 0), (p1, p1), (p2, p2)))
    d, k, kh, kw = W.shape
    high, wide = (X.shape[2] - e1 * (kh - 1) - 1) // s1 + 1, (X.shape[3] - e2 * (kw - 1) - 1) // s2 + 1
    Y = np.zeros((len(X), d, high, wide), dtype=X.dtype)
    for o in range(d):
        first = o // (d // groups) * k
        for i in range(kh):
            for j in range(kw):
                window = X[:, first : first + k, i * e1 :, j * e2 :]
                window = window[:, :, : (high - 1) * s1 + 1 : s1, : (wide - 1) * s2 + 1 : s2]
                Y[:, o] += (window * W[o, :, i, j][None, :, None, None]).sum(axis=1)
    return Y if bias is None else Y + bias[:, None, None]


def pair(value):
    """A number for both axes, or one for each."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)
