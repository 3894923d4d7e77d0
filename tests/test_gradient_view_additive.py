"""The additive increment: entry by entry, its gradients by blocks, its rank, and what leaves it unchanged."""

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np import gradient_view, optim
from lora_np.conformance.bounds import error_in_u, gamma_in_u
from lora_np.errors import ConfigError, DTypeError, RankError, ShapeError
from lora_np.gradient_view import (
    AdditiveParams,
    additive_backward,
    additive_forward,
    additive_gauge,
    additive_gradient,
    additive_init,
    additive_weight,
    block_identity,
)
from tests.exact import fractions_of
from tests.naive import gradient_view as naive

S = 0.25  # a power of two: no rounding on small integers


class Layer(NamedTuple):
    X: np.ndarray
    W0: np.ndarray
    p: AdditiveParams
    gY: np.ndarray


def integers(rng, *shape):
    return rng.integers(-4, 5, size=shape).astype(float)


@st.composite
def integer_layers(draw):
    """A layer of small integers whose rank divides both sizes, also with no rows and no blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    r, N = draw(st.integers(1, 4)), draw(st.integers(0, 4))
    d, k = r * draw(st.integers(1, 4)), r * draw(st.integers(1, 4))
    p = AdditiveParams(integers(rng, d, r), integers(rng, r, k))
    return Layer(integers(rng, N, k), integers(rng, d, k), p, integers(rng, N, d))


@given(integer_layers())
def test_the_weight_is_the_sum_entry_by_entry(layer):
    """[additive-weight] [additive-blocks]  Properties 54 and 57: exactly W0 + s (B E_k + E_dᵀ A), kron and loops."""
    _, W0, p, _ = layer
    (d, k), r = W0.shape, p.A.shape[0]
    W = additive_weight(W0, p, scale=S)
    assert fractions_of(W) == naive.additive_weight(*(fractions_of(x) for x in (W0, *p, S)))
    wide, tall = block_identity(r, k // r), block_identity(r, d // r)
    assert (wide == np.kron(np.ones((1, k // r)), np.eye(r))).all()
    assert (W0 + S * (p.B @ wide + tall.T @ p.A) == W).all()


def test_for_rank_one_it_is_a_number_of_the_row_and_one_of_the_column(rng):
    """[additive-weight]  Property 54: W_ij = W0_ij + s (b_i + a_j)."""
    b, a, W0 = integers(rng, 5), integers(rng, 3), integers(rng, 5, 3)
    W = additive_weight(W0, AdditiveParams(b[:, None], a[None, :]), scale=S)
    for i in range(5):
        for j in range(3):
            assert W[i, j] == W0[i, j] + S * (b[i] + a[j])


@given(integer_layers())
def test_the_gradients_are_sums_of_blocks(layer):
    """[additive-blocks-grad]  Property 57: every entry of gW goes to the two numbers its weight was made of."""
    _, gW, p, _ = layer
    r = p.A.shape[0]
    g = additive_gradient(gW, p, scale=S)
    gB, gA = naive.additive_gradient(fractions_of(gW), r, fractions_of(S))
    assert fractions_of(g.B) == gB
    assert fractions_of(g.A) == gA


def test_for_rank_one_the_gradients_are_row_sums_and_column_sums(rng):
    """[additive-grad]  Property 55."""
    gW = integers(rng, 5, 3)
    g = additive_gradient(gW, additive_init(5, 3, 1), scale=S)
    assert (g.B[:, 0] == S * gW.sum(axis=1)).all()
    assert (g.A[0] == S * gW.sum(axis=0)).all()


@given(integer_layers())
def test_forward_and_backward_equal_those_of_the_weight(layer):
    """[additive-blocks] [additive-blocks-grad]  Through block sums or through the weight: every bit the same."""
    X, W0, p, gY = layer
    W = additive_weight(W0, p, scale=S)
    Y, Z = additive_forward(X, W0, p, scale=S)
    assert (X @ W.T == Y).all()
    gX, g = additive_backward(gY, X, Z, W0, p, scale=S)
    want = additive_gradient(gY.T @ X, p, scale=S)
    assert (gY @ W == gX).all()
    assert (g.B == want.B).all()
    assert (g.A == want.A).all()


@pytest.mark.parametrize("r", [1, 2, 3])
def test_gradients_agree_with_autograd(rng, r):
    """[additive-blocks-grad] [additive-grad]  On any floats, in float64, within twice the derived bound."""
    N, d, k = 7, 6, 12
    X, W0, gY = rng.normal(size=(N, k)), rng.normal(size=(d, k)), rng.normal(size=(N, d))
    p = AdditiveParams(rng.normal(size=(d, r)), rng.normal(size=(r, k)))
    wide, tall = block_identity(r, k // r), block_identity(r, d // r)

    def loss(X, B, A):
        return (gY * (X @ (W0 + 0.7 * (B @ wide + tall.T @ A)).T)).sum()

    want = [grad(loss, i)(X, *p) for i in range(3)]
    _, Z = additive_forward(X, W0, p, scale=0.7)
    gX, g = additive_backward(gY, X, Z, W0, p, scale=0.7)
    gW = abs(gY).T @ abs(X)
    sizes = [
        abs(gY) @ (abs(W0) + 0.7 * (abs(p.B) @ wide + tall.T @ abs(p.A))),
        *additive_gradient(gW, p, scale=0.7),
    ]
    for got, other, size in zip((gX, *g), want, sizes, strict=True):
        assert error_in_u(got, other, size) <= 2 * gamma_in_u(N + d + k + 6, np.float64)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_the_increment_has_rank_2r_and_not_r(rng, r):
    """[additive-weight] [additive-blocks]  Property 56: 2 for r = 1, where LoRA has 1; and 2r for generic factors."""
    d, k = 4 * r, 5 * r
    p = AdditiveParams(rng.normal(size=(d, r)), rng.normal(size=(r, k)))
    delta = additive_weight(np.zeros((d, k)), p, scale=S)
    assert np.linalg.matrix_rank(delta) == 2 * r
    assert np.linalg.matrix_rank(additive_weight(np.zeros((d, k)), p._replace(A=0 * p.A), scale=S)) == r


@given(integer_layers(), st.integers(0, 2**32 - 1))
def test_a_constant_may_move_from_one_factor_to_the_other(layer, seed):
    """[additive-gauge]  Property 57: b + c and a − c, or blocks of them, leave the weight in every bit."""
    _, W0, p, _ = layer
    r = p.A.shape[0]
    C = integers(np.random.default_rng(seed), r, r)
    moved = additive_gauge(p, C)
    assert (additive_weight(W0, moved, scale=S) == additive_weight(W0, p, scale=S)).all()
    assert (moved.B[:r] == p.B[:r] + C).all()
    assert (moved.A[:, :r] == p.A[:, :r] - C).all()


def test_both_factors_may_start_at_zero(rng):
    """[additive-grad]  Unlike LoRA's, the gradients do not vanish there, and a step moves both."""
    W0, p = integers(rng, 4, 6), additive_init(4, 6, 2)
    assert (additive_weight(W0, p, scale=S) == W0).all()
    g = additive_gradient(W0 + 5, p, scale=S)
    moved, _ = optim.sgd_step(p, g, optim.sgd_init(p), lr=0.5)
    assert type(moved) is AdditiveParams
    assert moved.B.any()
    assert moved.A.any()


def test_leading_axes_are_batch_axes(rng):
    """[additive-blocks]  The same numbers as on the flattened batch."""
    X, W0, gY = integers(rng, 2, 3, 6), integers(rng, 4, 6), integers(rng, 2, 3, 4)
    p = AdditiveParams(integers(rng, 4, 2), integers(rng, 2, 6))
    Y, Z = additive_forward(X, W0, p, scale=S)
    gX, g = additive_backward(gY, X, Z, W0, p, scale=S)
    flat_Y, flat_Z = additive_forward(X.reshape(6, 6), W0, p, scale=S)
    flat_gX, flat_g = additive_backward(gY.reshape(6, 4), X.reshape(6, 6), flat_Z, W0, p, scale=S)
    assert (flat_Y.reshape(2, 3, 4) == Y).all()
    assert (flat_gX.reshape(2, 3, 6) == gX).all()
    assert (g.B == flat_g.B).all()
    assert (g.A == flat_g.A).all()


def test_no_array_as_large_as_the_weight_is_made(rng):
    """[additive-blocks]  Forward and backward of a (1024, 1024) layer on 4 rows stay far below its 8 MiB."""
    n, r = 1024, 4
    X, W0, gY = rng.normal(size=(4, n)), rng.normal(size=(n, n)), rng.normal(size=(4, n))
    p = AdditiveParams(rng.normal(size=(n, r)), rng.normal(size=(r, n)))
    tracemalloc.start()
    _, Z = additive_forward(X, W0, p, scale=S)
    additive_backward(gY, X, Z, W0, p, scale=S)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < W0.nbytes / 8


def test_every_library_gives_the_same_bits(library, rng):
    """[additive-blocks] [additive-gauge]  Same library out, arguments untouched."""
    X, W0, gY, C = integers(rng, 3, 6), integers(rng, 4, 6), integers(rng, 3, 4), integers(rng, 2, 2)
    p = AdditiveParams(integers(rng, 4, 2), integers(rng, 2, 6))

    def everything(X, W0, p, gY, C):
        Y, Z = additive_forward(X, W0, p, scale=S)
        gX, g = additive_backward(gY, X, Z, W0, p, scale=S)
        return (
            *(Y, Z, gX, *g, additive_weight(W0, p, scale=S)),
            *additive_gradient(W0, p, scale=S),
            *additive_gauge(p, C),
        )

    theirs = [library.asarray(x) for x in (X, W0, gY, C)]
    their_p = AdditiveParams(*(library.asarray(x) for x in p))
    got = everything(theirs[0], theirs[1], their_p, theirs[2], theirs[3])
    for one, other in zip(everything(X, W0, p, gY, C), got, strict=True):
        assert type(other) is type(theirs[0])
        assert (library.to_numpy(other) == one).all()
    assert (library.to_numpy(theirs[1]) == W0).all()


# ---- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "k", "r"), [(4, 6, 4), (4, 6, 3), (5, 7, 2), (1, 2, 2)])
def test_a_rank_that_does_not_divide_is_named(d, k, r):
    """[additive-blocks]  Row 38 of the bad inputs: the sizes and the rank are in the message."""
    p = AdditiveParams(np.ones((d, r)), np.ones((r, k)))
    X, Z, gY, W0 = np.ones((2, k)), np.ones((2, r)), np.ones((2, d)), np.ones((d, k))
    for call in (
        lambda: additive_init(d, k, r),
        lambda: additive_weight(W0, p, scale=S),
        lambda: additive_gradient(W0, p, scale=S),
        lambda: additive_forward(X, W0, p, scale=S),
        lambda: additive_backward(gY, X, Z, W0, p, scale=S),
        lambda: additive_gauge(p, np.ones((r, r))),
    ):
        with pytest.raises(ShapeError, match=f"d = {d}, k = {k}, r = {r}"):
            call()


def test_factors_of_rank_zero_are_refused():
    with pytest.raises(ShapeError, match="r = 0"):
        additive_weight(np.ones((2, 2)), AdditiveParams(np.ones((2, 0)), np.ones((0, 2))), scale=S)


def test_other_bad_arguments_are_named():
    W0, p = np.ones((4, 6)), additive_init(4, 6, 2)
    X, Z, gY = np.ones((3, 6)), np.ones((3, 2)), np.ones((3, 4))
    cases = [
        (lambda: additive_weight(W0[0], p, scale=S), ShapeError, "1 axes"),
        (lambda: additive_weight(W0, (p.A, p.B), scale=S), ShapeError, "do not fit"),
        (lambda: additive_weight(W0, (p.B, p.A[:1]), scale=S), RankError, "rank 2"),
        (lambda: additive_weight(W0, p, scale=float("nan")), ConfigError, "scale"),
        (lambda: additive_weight(W0.astype(np.float32), p, scale=S), DTypeError, "float32"),
        (lambda: additive_forward(X[:, :5], W0, p, scale=S), ShapeError, "expected"),
        (lambda: additive_backward(gY[:2], X, Z, W0, p, scale=S), ShapeError, "batch axes differ"),
        (lambda: additive_backward(gY, X, Z[:, :1], W0, p, scale=S), ShapeError, "Z has shape"),
        (lambda: additive_backward(gY.astype(np.float32), X, Z, W0, p, scale=S), DTypeError, "gY is float32"),
        (lambda: additive_gauge(p, np.ones((2, 3))), ShapeError, "C has shape"),
        (lambda: additive_init(4, 6, 2.0), ConfigError, "rank r"),
        (lambda: additive_init(4, 6, 2, dtype=int), DTypeError, "int64"),
        (lambda: block_identity(2, -1), ConfigError, "blocks"),
        (lambda: block_identity(2, 1, dtype="text"), DTypeError, "text"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()


def test_all_names_are_those_of_the_package():
    """Every public name of the gradient view is exported once."""
    assert sorted(gradient_view.__all__) == sorted(set(gradient_view.__all__))
    assert all(hasattr(gradient_view, name) for name in gradient_view.__all__)
