"""LoRA on a transposed weight, an embedding and stacked weights: exact values, exact gradients, merging, bad input."""

import warnings
from fractions import Fraction

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np import Merged, lora, merging
from lora_np.conformance.bounds import GOLD
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    RankWarning,
    ShapeError,
    StateError,
)
from lora_np.layouts import LAYOUTS, embedding, layout, merged_qkv, transposed
from lora_np.lora import LoraParams
from tests.exact import exact_error_in_u, floats_of, fractions_of
from tests.naive import layouts as naive

S = 0.25  # a power of two: on small integers every result is exact
SIZES = st.sampled_from([1, 2, 3, 5])
ENABLED = [[True, False, True], [True], [False, True], [True, True, True], [False, False, True]]


def integers(rng, *shape):
    return rng.integers(-4, 5, size=shape).astype(float)


# ---- one description of each layout, so that every test runs on all of them -----------------------------------


class Transposed:
    """The weight stored (k, d)."""

    module, operand, options = transposed, "X", {}

    def draw(self, rng, N, d, k, r, make=integers):
        p = LoraParams(make(rng, d, r), make(rng, r, k))
        return make(rng, N, k), make(rng, k, d), p, make(rng, N, d), make(rng, d)

    def naive(self, X, W, B, A, s, bias=None):
        return naive.transposed(X, W, B, A, s, bias)


class Embedding:
    """A table of k rows, looked up by N tokens."""

    module, operand, options = embedding, "tokens", {}

    def draw(self, rng, N, d, k, r, make=integers):
        p = LoraParams(make(rng, d, r), make(rng, r, k))
        return rng.integers(0, k, size=N), make(rng, k, d), p, make(rng, N, d), None

    def naive(self, X, W, B, A, s, bias=None):
        return naive.embedding(X, W, B, A, s)


class Stacked:
    """Several weights in one; d is the height of a part."""

    module, operand = merged_qkv, "X"

    def __init__(self, enabled):
        self.enabled = enabled
        self.options = {"enabled": enabled}

    def draw(self, rng, N, d, k, r, make=integers):
        n, on = len(self.enabled), sum(self.enabled)
        p = LoraParams(make(rng, d * on, r), make(rng, r * on, k))
        return make(rng, N, k), make(rng, d * n, k), p, make(rng, N, d * n), make(rng, d * n)

    def naive(self, X, W, B, A, s, bias=None):
        return naive.stacked(X, W, B, A, s, self.enabled, bias)


CASES = [Transposed(), Embedding(), *map(Stacked, ENABLED)]
IDS = ["transposed", "embedding", *("".join("01"[on] for on in enabled) for enabled in ENABLED)]
every = pytest.mark.parametrize("case", CASES, ids=IDS)


def forward(case, X, W0, p, s, bias):
    bias_option = {} if bias is None else {"bias": bias}
    return case.module.forward(X, W0, p, scale=s, **case.options, **bias_option)


def backward(case, gY, X, W0, p, s):
    """gX (None for tokens) and the factors' gradients."""
    Z = forward(case, X, W0, p, s, None)[1]
    got = case.module.backward(gY, X, Z, W0, p, scale=s, **case.options)
    return (None, got) if case.operand == "tokens" else got


def fractions(x):
    return [int(t) for t in x] if x.dtype == np.int64 else fractions_of(x)


# ---- values and gradients --------------------------------------------------------------------------------------


@every
@given(N=st.sampled_from([0, 1, 4]), d=SIZES, k=SIZES, r=SIZES, seed=st.integers(0, 2**32 - 1))
def test_values_equal_plain_loops_exactly(case, N, d, k, r, seed):
    """[layout-transposed] [layout-embedding] [layout-qkv]  On integers, r > min(d, k) and empty batches included."""
    X, W0, p, gY, bias = case.draw(np.random.default_rng(seed), N, d, k, r)
    Y, Z = forward(case, X, W0, p, S, bias)
    want = case.naive(
        X.tolist(), W0.tolist(), p.B.tolist(), p.A.tolist(), S, None if bias is None else bias.tolist()
    )
    assert Y.shape == gY.shape
    assert Z.shape == (N, p.A.shape[0])
    assert Y.tolist() == want


@every
@given(
    N=st.sampled_from([1, 3]),
    d=st.integers(1, 3),
    k=st.integers(1, 3),
    r=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_gradients_equal_differences_of_plain_loops_exactly(case, N, d, k, r, seed):
    """[layout-transposed] [layout-embedding-grad] [layout-qkv-grad]  Every entry of every gradient."""
    X, W0, p, gY, _ = case.draw(np.random.default_rng(seed), N, d, k, r)
    gX, g = backward(case, gY, X, W0, p, S)
    tensors = {"X": X.tolist(), "W": W0.tolist(), "B": p.B.tolist(), "A": p.A.tolist(), "s": S}
    assert isinstance(g, LoraParams)
    assert g.B.tolist() == naive.gradient(case.naive, tensors, "B", gY.tolist())
    assert g.A.tolist() == naive.gradient(case.naive, tensors, "A", gY.tolist())
    if gX is not None:
        assert gX.tolist() == naive.gradient(case.naive, tensors, "X", gY.tolist())


@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_stays_within_the_gold_level(case, dtype, rng):
    """Against Fractions, at scales that are no power of two."""

    def normal(rng, *shape):
        return rng.normal(size=shape).astype(dtype)

    s = 1 / 3
    X, W0, p, gY, _ = case.draw(rng, 3, 2, 4, 3, make=normal)
    tensors = {"X": X, "W": W0, "B": p.B, "A": p.A}
    exact = {name: fractions(x) for name, x in tensors.items()} | {"s": Fraction(s)}
    sizes = {name: fractions(np.abs(x)) for name, x in tensors.items()} | {"s": Fraction(s)}
    gX, g = backward(case, gY, X, W0, p, s)
    Y = forward(case, X, W0, p, s, None)[0]
    assert Y.dtype == g.B.dtype == g.A.dtype == dtype
    assert exact_error_in_u(Y, case.naive(**exact), floats_of(case.naive(**sizes))) <= GOLD
    for name, got in {"X": gX, "B": g.B, "A": g.A}.items():
        if got is not None:
            want = naive.gradient(case.naive, exact, name, fractions_of(gY))
            S_ = floats_of(naive.gradient(case.naive, sizes, name, fractions_of(np.abs(gY))))
            assert exact_error_in_u(got, want, S_) <= GOLD, name


@pytest.mark.parametrize("enabled", ENABLED, ids=IDS[2:])
def test_gradients_of_a_stack_equal_those_of_autograd(enabled, rng):
    """[layout-qkv-grad]  Autograd goes through a formula of its own, part by part."""
    X, W0, p, gY, _ = Stacked(enabled).draw(rng, 4, 2, 5, 3, make=lambda rng, *shape: rng.normal(size=shape))
    order = np.cumsum(enabled) - 1

    def loss(X, B, A):
        parts = [
            0.7 * X @ A[3 * i : 3 * i + 3].T @ B[2 * i : 2 * i + 2].T if on else anp.zeros((4, 2))
            for i, on in zip(order, enabled, strict=True)
        ]
        return anp.sum(gY * (X @ W0.T + anp.concatenate(parts, axis=1)))

    gX, g = backward(Stacked(enabled), gY, X, W0, p, 0.7)
    for got, argument in zip((gX, *g), range(3), strict=True):
        assert np.abs(got - grad(loss, argument)(X, *p)).max() <= 1e-14


def test_gradients_of_a_transposed_layer_equal_those_of_autograd(rng):
    """[layout-transposed]"""
    X, W0, p, gY, _ = Transposed().draw(rng, 4, 2, 5, 3, make=lambda rng, *shape: rng.normal(size=shape))

    def loss(X, B, A):
        return anp.sum(gY * (X @ (W0 + 0.7 * (B @ A).T)))

    gX, g = backward(Transposed(), gY, X, W0, p, 0.7)
    for got, argument in zip((gX, *g), range(3), strict=True):
        assert np.abs(got - grad(loss, argument)(X, *p)).max() <= 1e-14


def test_an_embedding_is_the_plain_layer_on_unit_rows(rng):
    """[layout-embedding] [layout-embedding-grad]  Property 15: row t is E[t] + s (B A)ᵀ[t]; gradients by autograd."""
    tokens, E, p, gY, _ = Embedding().draw(rng, 6, 3, 4, 2)
    rows = np.eye(4)[tokens]
    assert (embedding.forward(tokens, E, p, scale=S)[0] == lora.forward(rows, E.T, p, scale=S)[0]).all()
    assert (embedding.forward(tokens, E, p, scale=S)[0] == (E + S * (p.B @ p.A).T)[tokens]).all()

    def loss(B, A):
        return anp.sum(gY * (rows @ E + S * (rows @ A.T) @ B.T))

    g = backward(Embedding(), gY, tokens, E, p, S)[1]
    assert np.array_equal(g.B, grad(loss, 0)(*p))
    assert np.array_equal(g.A, grad(loss, 1)(*p))


def test_a_transposed_weight_gives_the_plain_layer(rng):
    """[layout-transposed]  Property 14: fan_in_fan_out of W0ᵀ is the plain layer, forward, backward and merged."""
    X, W0, p, gY, bias = Transposed().draw(rng, 3, 4, 5, 2)
    plain = np.ascontiguousarray(W0.T)
    Y, Z = transposed.forward(X, W0, p, scale=S, bias=bias)
    want, want_Z = lora.forward(X, plain, p, scale=S, bias=bias)
    assert np.array_equal(Y, want)
    assert np.array_equal(Z, want_Z)
    gX, g = transposed.backward(gY, X, Z, W0, p, scale=S)
    want_gX, want_g = lora.backward(gY, X, Z, plain, p, scale=S)
    assert (gX == want_gX).all()
    assert all((a == b).all() for a, b in zip(g, want_g, strict=True))
    assert (transposed.merge(W0, p, scale=S) == merging.merge(plain, p, scale=S).T).all()


@every
def test_leading_axes_are_a_batch(case, rng):
    """Two leading axes give what one does, and none gives one row."""
    X, W0, p, gY, bias = case.draw(rng, 6, 2, 3, 2)
    Y, Z = forward(case, X, W0, p, S, bias)
    gX, g = backward(case, gY, X, W0, p, S)
    X2, gY2 = X.reshape(2, 3, *X.shape[1:]), gY.reshape(2, 3, -1)
    Y2, Z2 = forward(case, X2, W0, p, S, bias)
    gX2, g2 = backward(case, gY2, X2, W0, p, S)
    assert (Y2.reshape(Y.shape) == Y).all()
    assert (Z2.reshape(Z.shape) == Z).all()
    assert (g2.B == g.B).all()
    assert (g2.A == g.A).all()
    assert gX is None or (gX2.reshape(gX.shape) == gX).all()
    assert (forward(case, X[0], W0, p, S, bias)[0] == Y[0]).all()
    ones = backward(case, gY[0], X[0], W0, p, S)
    assert (ones[1].B == backward(case, gY[:1], X[:1], W0, p, S)[1].B).all()
    empty = backward(case, gY[:0], X[:0], W0, p, S)[1]
    assert not empty.B.any()
    assert not empty.A.any()


# ---- merging ---------------------------------------------------------------------------------------------------


@every
def test_the_merged_weight_computes_what_the_layer_does(case, rng):
    """[layout-transposed] [layout-embedding] [layout-qkv]  With a zero adapter on it; unmerging returns the weight."""
    X, W0, p, _, bias = case.draw(rng, 4, 2, 5, 3)
    zero = LoraParams(np.zeros_like(p.B), np.zeros_like(p.A))
    W = case.module.merge(W0, p, scale=S, **case.options)
    assert W.shape == W0.shape
    assert (forward(case, X, W, zero, S, bias)[0] == forward(case, X, W0, p, S, bias)[0]).all()
    assert (case.module.unmerge(W, p, scale=S, **case.options) == W0).all()


def test_parts_that_are_not_enabled_keep_their_rows(rng):
    """[layout-qkv]  Bit for bit, in the weight and in the output."""
    case = Stacked([True, False, True])
    X, W0, p, _, bias = case.draw(rng, 3, 2, 4, 2, make=lambda rng, *shape: rng.normal(size=shape))
    W = merged_qkv.merge(W0, p, scale=0.3, enabled=[True, False, True])
    assert (W[2:4] == W0[2:4]).all()
    assert (W[:2] != W0[:2]).all()
    Y = merged_qkv.forward(X, W0, p, scale=0.3, enabled=[True, False, True], bias=bias)[0]
    assert (Y[:, 2:4] == (X @ W0.T + bias)[:, 2:4]).all()


def test_the_staircase_has_a_step_for_each_enabled_part(rng):
    """[layout-qkv]  Its product is the increment; everything off the steps is zero."""
    p = LoraParams(integers(rng, 4, 3), integers(rng, 6, 5))
    stairs = merged_qkv.staircase(p, enabled=[False, True, True])
    assert stairs.B.shape == (6, 6)
    assert (stairs.B[2:4, :3] == p.B[:2]).all()
    assert (stairs.B[4:, 3:] == p.B[2:]).all()
    assert np.abs(stairs.B).sum() == np.abs(p.B).sum()


@every
def test_merging_names_what_it_cannot_store(case, rng):
    """Rows 22 to 24 of the bad inputs, through every layout."""
    _, W0, p, _, _ = case.draw(rng, 1, 2, 3, 2)
    huge = LoraParams(np.full_like(p.B, 1e200), np.full_like(p.A, 1e200))
    with pytest.raises(OverflowInMergeError, match="merging overflows"):
        case.module.merge(W0, huge, scale=1.0, **case.options)
    with pytest.raises(NonFiniteError, match="base weight"):
        case.module.merge(np.full_like(W0, np.nan), p, scale=1.0, **case.options)
    with pytest.raises((StateError, DTypeError)):
        case.module.merge(Merged(W0), p, scale=1.0, **case.options)


# ---- the padding row -------------------------------------------------------------------------------------------


def test_the_padding_token_is_looked_up_but_not_trained(rng):
    """[layout-embedding-grad]  Property 15, the padding row: the formula holds for it, its column of A gets zero."""
    tokens, E, p, gY, _ = Embedding().draw(rng, 8, 3, 4, 2)
    tokens[:3] = 2
    Y, Z = embedding.forward(tokens, E, p, scale=S, padding=2)
    assert np.array_equal(Y, embedding.forward(tokens, E, p, scale=S)[0])
    g = embedding.backward(gY, tokens, Z, E, p, scale=S, padding=2)
    free = embedding.backward(gY, tokens, Z, E, p, scale=S)
    others = [0, 1, 3]
    assert free.A[:, 2].any()
    assert not g.A[:, 2].any()
    assert (g.A[:, others] == free.A[:, others]).all()
    assert (g.B == free.B).all()


def test_the_padding_row_stays_as_it_was_from_the_usual_start(rng):
    """[layout-embedding]  A starts at zero, so ten steps of descent leave the padding row alone and move the others."""
    E = rng.normal(size=(5, 3))
    p = embedding.init(rng, 3, 5, 2)
    for _ in range(10):
        tokens, gY = rng.integers(0, 5, size=20), rng.normal(size=(20, 3))
        Z = embedding.forward(tokens, E, p, scale=1.0, padding=1)[1]
        g = embedding.backward(gY, tokens, Z, E, p, scale=1.0, padding=1)
        p = LoraParams(p.B - 0.1 * g.B, p.A - 0.1 * g.A)
    W = embedding.merge(E, p, scale=1.0)
    assert (W[1] == E[1]).all()
    assert (W[[0, 2, 3, 4]] != E[[0, 2, 3, 4]]).all()


# ---- starting --------------------------------------------------------------------------------------------------


def test_every_layout_starts_as_the_frozen_layer(rng):
    """[lora-init] [layout-embedding] [layout-qkv]  One factor is zero, the other is not, and has the stated width."""
    starts = [
        (CASES[0], transposed.init(rng, 4, 5, 2), "A"),
        (CASES[1], embedding.init(rng, 4, 5, 2), "B"),
        (CASES[2], merged_qkv.init(rng, 12, 5, 2, enabled=ENABLED[0]), "A"),
    ]
    for case, p, drawn in starts:
        X, W0, _, _, bias = case.draw(rng, 3, 4, 5, 2)
        zero = p._replace(**{drawn: 0 * getattr(p, drawn)})
        assert (forward(case, X, W0, p, 2.0, bias)[0] == forward(case, X, W0, zero, 2.0, bias)[0]).all()
        assert getattr(p, drawn).all()
    wide = merged_qkv.init(rng, 300, 16, 4, enabled=[True, True, True])
    assert wide.A.shape == (12, 16)
    assert 0.24 < np.abs(wide.A).max() <= 0.25
    single = [float(merged_qkv.init(rng, 1, 1, 1, enabled=[True]).A.item()) for _ in range(60)]
    assert 0.9 < max(single) <= 1
    assert -1 <= min(single) < -0.9
    assert embedding.init(rng, 3, 4, 2, dtype=np.float32).B.dtype == np.float32
    assert abs(embedding.init(rng, 200, 100, 50).B.std() - 1) < 0.02
    with pytest.warns(RankWarning, match="exceeds"):
        assert embedding.init(rng, 3, 0, 1).A.shape == (1, 0)
    with pytest.warns(RankWarning, match="exceeds"):
        merged_qkv.init(rng, 6, 5, 3, enabled=[True, False, True])


# ---- libraries -------------------------------------------------------------------------------------------------


@every
def test_every_library_gives_the_same_bits(case, library, rng):
    """Same library out, arguments untouched (one of the libraries is read-only)."""
    X, W0, p, gY, bias = case.draw(rng, 3, 2, 4, 2)

    def everything(X, W0, p, gY, bias):
        Y, Z = forward(case, X, W0, p, S, bias)
        gX, g = backward(case, gY, X, W0, p, S)
        W = case.module.merge(W0, p, scale=S, **case.options)
        return [
            x for x in (Y, Z, gX, *g, W, case.module.unmerge(W, p, scale=S, **case.options)) if x is not None
        ]

    theirs = [None if x is None else library.asarray(x) for x in (X, W0, gY, bias)]
    their_p = LoraParams(*(library.asarray(x) for x in p))
    before = library.to_numpy(theirs[1]).tobytes()
    got = everything(theirs[0], theirs[1], their_p, theirs[2], theirs[3])
    for one, other in zip(everything(X, W0, p, gY, bias), got, strict=True):
        assert type(other) is type(theirs[1])
        assert (library.to_numpy(other) == one).all()
    assert library.to_numpy(theirs[1]).tobytes() == before


# ---- bad input -------------------------------------------------------------------------------------------------


def test_layouts_are_found_by_name():
    assert [layout(name).__name__.rpartition(".")[2] for name in LAYOUTS] == list(LAYOUTS.values())
    with pytest.raises(ConfigError, match="did you mean 'lora-conv2d'"):
        layout("lora-conv3d")


def test_bad_tokens_are_named(rng):
    """A token outside of the table, one below zero, and embeddings in place of tokens."""
    _, E, p, gY, _ = Embedding().draw(rng, 2, 3, 4, 2)
    tokens, Z = np.array([0, 1]), np.ones((2, 2))
    cases = [
        (
            lambda: embedding.forward(np.array([0, 4]), E, p, scale=S),
            ConfigError,
            r"from 0 to 4, but E has rows 0 to 3 \[",
        ),
        (lambda: embedding.forward(np.array([-1, 2]), E, p, scale=S), ConfigError, "read from the end"),
        (lambda: embedding.forward(np.ones(2), E, p, scale=S), DTypeError, "float64; pass ids"),
        (lambda: embedding.forward([0, 1], E, p, scale=S), DTypeError, "got list"),
        (
            lambda: embedding.forward(tokens, E, p, scale=S, padding=4),
            ConfigError,
            "padding = 4 is no row of E, which has rows 0 to 3",
        ),
        (lambda: embedding.forward(tokens, E, p, scale=S, padding=-1), ConfigError, "padding"),
        (lambda: embedding.forward(tokens, E[0], p, scale=S), ShapeError, "E has 1 axes"),
        (lambda: embedding.backward(gY[:1], tokens, Z, E, p, scale=S), ShapeError, "gY has shape"),
        (lambda: embedding.backward(gY, tokens, Z[:, :1], E, p, scale=S), ShapeError, "Z has shape"),
        (lambda: embedding.backward(gY.astype("f4"), tokens, Z, E, p, scale=S), DTypeError, "gY is float32"),
        (lambda: embedding.init(rng, 3, 4, 0), ConfigError, "rank"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()


def test_bad_stacks_are_named(rng):
    case = Stacked([True, False, True])
    X, W0, p, gY, bias = case.draw(rng, 2, 2, 4, 2)
    Z = X @ p.A.T

    def run(X=X, W0=W0, p=p, enabled=(True, False, True), bias=bias, scale=S):
        return merged_qkv.forward(X, W0, p, scale=scale, enabled=enabled, bias=bias)

    cases = [
        (lambda: run(enabled=[]), ConfigError, "one a part"),
        (lambda: run(enabled=3), ConfigError, "got 3"),
        (lambda: run(enabled=[1, 0, 1]), ConfigError, r"enabled\[0\]: bool required"),
        (lambda: run(enabled=[False] * 3), ConfigError, "names no part"),
        (lambda: run(enabled=[True, False, True, False]), ShapeError, "not 4 equal parts"),
        (lambda: run(enabled=[True, False, False]), RankError, "2 · 1"),
        (lambda: run(p=(p.B[:3], p.A)), ShapeError, "3 rows, which are not 2 equal parts"),
        (lambda: run(p=(p.B[:2], p.A)), ShapeError, "B has shape"),
        (lambda: run(p=(p.B, p.A[:, :3])), ShapeError, "A has shape"),
        (lambda: run(p=p.B), ConfigError, "pair"),
        (lambda: run(X=X[:, :3]), ShapeError, "X has shape"),
        (lambda: run(X=X.astype("f4")), DTypeError, "float32"),
        (lambda: run(W0=W0[0]), ShapeError, "1 axes"),
        (lambda: run(bias=bias[:2]), ShapeError, "bias"),
        (lambda: run(scale=float("nan")), ConfigError, "scale"),
        (
            lambda: merged_qkv.backward(gY[:1], X, Z, W0, p, scale=S, enabled=[True, False, True]),
            ShapeError,
            "batch axes",
        ),
        (lambda: merged_qkv.init(rng, 5, 4, 2, enabled=[True, False]), ShapeError, "d = 5 rows"),
    ]
    for call, error, words in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(error, match=words):
                call()


def test_bad_transposed_weights_are_named(rng):
    X, W0, p, gY, bias = Transposed().draw(rng, 2, 3, 4, 2)
    cases = [
        (lambda: transposed.forward(X, W0.T, p, scale=S), ShapeError, r"W0.T \(4, 3\)|expected \(..., 3\)"),
        (lambda: transposed.forward(X, W0[0], p, scale=S), ShapeError, r"\(k, d\)"),
        (lambda: transposed.unmerge(W0[0], p, scale=S), ShapeError, "W has 1 axes"),
        (lambda: transposed.backward(gY, X, X, W0, p, scale=S), ShapeError, "Z has shape"),
        (lambda: transposed.forward(X, W0, (p.A, p.B), scale=S), ShapeError, "do not fit"),
        (lambda: transposed.forward(X, W0, p, scale=S, bias=bias[:1]), ShapeError, "bias"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()
