"""LoRA and its kin, in twenty ways."""

import math

import numpy as np

from tests.variants.writing import variant

KIN = ("lora", "rslora", "lora-plus", "pissa", "milora", "olora")


def scale(c):
    """alpha / r, or alpha r^(−1/2)."""
    return c["alpha"] * c["rank"] ** -0.5 if c["method"] == "rslora" else c["alpha"] / c["rank"]


def every(operation, methods=KIN):
    """Name one operation of several methods."""
    return [f"{method}.{operation}" for method in methods]


def plus_bias(Y, t):
    """Add the bias, if there is one."""
    return Y + t["bias"] if "bias" in t else Y


# ---- products written in other ways -------------------------------------------------------------------------


@variant("einsum", *every("forward"))
def einsum_forward(c, t):
    return plus_bias(
        np.einsum("nk,dk->nd", t["X"], t["W0"])
        + scale(c) * np.einsum("nk,rk,dr->nd", t["X"], t["A"], t["B"]),
        t,
    )


@variant("einsum", *every("backward"))
def einsum_backward(c, t):
    s, gY, X, B, A = scale(c), t["gY"], t["X"], t["B"], t["A"]
    return {
        "gX": np.einsum("nd,dk->nk", gY, t["W0"]) + s * np.einsum("nd,dr,rk->nk", gY, B, A),
        "gB": s * np.einsum("nd,nk,rk->dr", gY, X, A),
        "gA": s * np.einsum("dr,nd,nk->rk", B, gY, X),
    }


@variant("einsum", *every("merge"))
def einsum_merge(c, t):
    return t["W0"] + scale(c) * np.einsum("dr,rk->dk", t["B"], t["A"])


@variant("tensordot", *every("forward"))
def tensordot_forward(c, t):
    Z = np.tensordot(t["X"], t["A"], axes=([1], [1]))
    Y = np.tensordot(t["X"], t["W0"], axes=([1], [1]))
    return plus_bias(Y + np.tensordot(Z, t["B"], axes=([1], [1])) * scale(c), t)


@variant("tensordot", *every("merge"))
def tensordot_merge(c, t):
    return np.tensordot(t["B"], t["A"], axes=1) * scale(c) + t["W0"]


@variant("increment first", *every("forward"))
def increment_first(c, t):
    return plus_bias(t["X"] @ t["W0"].T + t["X"] @ (scale(c) * (t["B"] @ t["A"])).T, t)


@variant("merged weight first", *every("forward"))
def merged_first(c, t):
    return plus_bias(t["X"] @ (t["W0"] + scale(c) * t["B"] @ t["A"]).T, t)


@variant("merged weight first", *every("backward"))
def projected_gradient(c, t):
    s, gW = scale(c), t["gY"].T @ t["X"]
    return {
        "gX": t["gY"] @ (t["W0"] + s * t["B"] @ t["A"]),
        "gB": s * gW @ t["A"].T,
        "gA": s * t["B"].T @ gW,
    }


@variant("scale in B", *every("forward"))
def scale_in_b(c, t):
    return plus_bias(t["X"] @ t["W0"].T + (t["X"] @ t["A"].T) @ (scale(c) * t["B"]).T, t)


@variant("scale in B", *every("merge"))
def merge_with_scale_in_b(c, t):
    return (scale(c) * t["B"]) @ t["A"] + t["W0"]


@variant("scale in X", *every("forward"))
def scale_in_x(c, t):
    return plus_bias(((scale(c) * t["X"]) @ t["A"].T) @ t["B"].T + t["X"] @ t["W0"].T, t)


@variant("roots of the scale in both factors", *every("merge"))
def roots_of_the_scale(c, t):
    root = math.sqrt(scale(c))
    return t["W0"] + (root * t["B"]) @ (root * t["A"])


@variant("roots of the scale in both factors", *every("unmerge"))
def roots_of_the_scale_taken_out(c, t):
    root = math.sqrt(scale(c))
    return t["W"] - (root * t["B"]) @ (root * t["A"])


@variant("sum of outer products", *every("merge"))
def outer_products(c, t):
    W = np.array(t["W0"])
    for b, a in zip(t["B"].T, t["A"], strict=True):
        W += W.dtype.type(scale(c)) * np.outer(b, a)
    return W


@variant("sum of outer products", *every("unmerge"))
def outer_products_taken_out(c, t):
    W = np.array(t["W"])
    for b, a in zip(t["B"].T[::-1], t["A"][::-1], strict=True):
        W -= W.dtype.type(scale(c)) * np.outer(b, a)
    return W


@variant("one product for W0 and A", *every("forward"))
def packed(c, t):
    d = len(t["W0"])
    both = t["X"] @ np.concatenate([t["W0"], t["A"]]).T
    return plus_bias(both[:, :d] + scale(c) * both[:, d:] @ t["B"].T, t)


@variant("one product for W0 and A", *every("backward"))
def packed_backward(c, t):
    gZ = scale(c) * (t["gY"] @ t["B"])
    Z = t["X"] @ t["A"].T
    return {
        "gX": np.concatenate([t["gY"], gZ], axis=1) @ np.concatenate([t["W0"], t["A"]]),
        "gB": scale(c) * (Z.T @ t["gY"]).T,
        "gA": (t["X"].T @ gZ).T,
    }


@variant("rows as columns", *every("forward"))
def columns(c, t):
    x = t["X"].T
    y = t["W0"] @ x + scale(c) * (t["B"] @ (t["A"] @ x))
    return (y if "bias" not in t else y + t["bias"][:, None]).T


@variant("rows as columns", *every("backward"))
def columns_backward(c, t):
    x, g, s = t["X"].T, t["gY"].T, scale(c)
    return {
        "gX": (t["W0"].T @ g + s * (t["A"].T @ (t["B"].T @ g))).T,
        "gB": s * g @ (t["A"] @ x).T,
        "gA": s * (t["B"].T @ g) @ x.T,
    }


@variant("Fortran order", *every("forward"))
def fortran(c, t):
    f = {name: np.asfortranarray(array) for name, array in t.items()}
    return np.asfortranarray(tensordot_forward(c, f))


@variant("Fortran order", *every("backward"))
def fortran_backward(c, t):
    f = {name: np.asfortranarray(array) for name, array in t.items()}
    return {name: np.asfortranarray(g) for name, g in columns_backward(c, f).items()}


# ---- sums in other orders, and in more bits -----------------------------------------------------------------


def product(P, Q, add):
    """P Q, with each sum taken by `add` of the list of its terms."""
    result = np.zeros((P.shape[0], Q.shape[1]), dtype=np.result_type(P, Q))
    for i in range(P.shape[0]):
        for j in range(Q.shape[1]):
            result[i, j] = add([P[i, m] * Q[m, j] for m in range(P.shape[1])])
    return result


def in_order(terms):
    """From the first to the last."""
    return sum(terms[1:], start=terms[0]) if terms else 0.0


def backwards(terms):
    """From the last to the first."""
    return in_order(terms[::-1])


def in_blocks(terms, size=2):
    """Blocks first, then their sums."""
    return in_order([in_order(terms[i : i + size]) for i in range(0, len(terms), size)])


def pairwise(terms):
    """Halves of halves."""
    if len(terms) < 2:
        return in_order(terms)
    return pairwise(terms[: len(terms) // 2]) + pairwise(terms[len(terms) // 2 :])


def compensated(terms):
    """Kahan's sum."""
    total = lost = terms[0] * 0 if terms else 0.0
    for term in terms:
        y = term - lost
        new = total + y
        lost = (new - total) - y
        total = new
    return total


def by_size(terms):
    """The smallest first."""
    return in_order(sorted(terms, key=abs))


def correctly(terms):
    """Rounded once."""
    return math.fsum(float(term) for term in terms)


def with_sums(name, add):
    """Register forward, backward and merge with one way to add."""

    @variant(name, *every("forward", KIN[:2]))
    def forward(c, t):
        Z = product(t["X"], t["A"].T, add)
        return plus_bias(product(t["X"], t["W0"].T, add) + scale(c) * product(Z, t["B"].T, add), t)

    @variant(name, *every("backward", KIN[:2]))
    def backward(c, t):
        s, gY, X = scale(c), t["gY"], t["X"]
        gZ = product(gY, t["B"], add)
        return {
            "gX": product(gY, t["W0"], add) + s * product(gZ, t["A"], add),
            "gB": s * product(gY.T, product(X, t["A"].T, add), add),
            "gA": s * product(gZ.T, X, add),
        }

    @variant(name, *every("merge", KIN[:2]))
    def merge(c, t):
        return t["W0"] + scale(c) * product(t["B"], t["A"], add)


for name, add in (
    ("plain loops", in_order),
    ("reversed sums", backwards),
    ("blocked sums", in_blocks),
    ("pairwise sums", pairwise),
    ("Kahan's sums", compensated),
    ("smallest terms first", by_size),
    ("correctly rounded sums", correctly),
):
    with_sums(name, add)


def in_wider(dtype):
    """Compute in a wider type, round once."""
    return lambda function: lambda c, t: function(c, {name: array.astype(dtype) for name, array in t.items()})


variant("float64 inside", *every("forward"))(in_wider(np.float64)(packed))
variant("float64 inside", *every("backward"))(in_wider(np.float64)(packed_backward))
variant("extended precision inside", *every("forward"))(in_wider(np.longdouble)(columns))
variant("extended precision inside", *every("backward"))(in_wider(np.longdouble)(columns_backward))
variant("extended precision inside", *every("merge"))(in_wider(np.longdouble)(einsum_merge))


@variant("one row at a time", *every("forward"))
def row_by_row(c, t):
    Y = np.zeros((len(t["X"]), len(t["W0"])), dtype=t["W0"].dtype)
    for n, x in enumerate(t["X"]):
        Y[n] = t["W0"].dot(x) + t["B"].dot(t["A"].dot(x)) * scale(c)
    return plus_bias(Y, t)


@variant("one row at a time", *every("backward"))
def accumulated(c, t):
    gX, gB, gA = (np.zeros_like(t[name]) for name in ("X", "B", "A"))
    for n, (x, g) in enumerate(zip(t["X"], t["gY"], strict=True)):
        z, gz = t["A"].dot(x), t["B"].T.dot(g)
        gX[n] = t["W0"].T.dot(g) + scale(c) * t["A"].T.dot(gz)
        gB += gB.dtype.type(scale(c)) * np.outer(g, z)
        gA += gA.dtype.type(scale(c)) * np.outer(gz, x)
    return {"gX": gX, "gB": gB, "gA": gA}


@variant("complex step", *every("backward"))
def complex_step(c, t):
    h = 2.0**-400
    z = {name: array.astype(complex) for name, array in t.items()}

    def slope(name):
        g = np.zeros(t[name].shape)
        for index in np.ndindex(*g.shape):
            moved = np.array(z[name])
            moved[index] += 1j * h
            Y = increment_first(c, {**z, name: moved})
            g[index] = (t["gY"].astype(float) * Y.imag).sum() / h
        return g

    return {f"g{name}": slope(name) for name in ("X", "B", "A")}
