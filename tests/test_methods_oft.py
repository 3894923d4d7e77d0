"""OFT: rotations made exactly and by five terms, both in the paper's letters, their gradients, and both sides."""

from fractions import Fraction

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    NotInvertibleError,
    ShapeError,
)
from lora_np.methods import oft
from lora_np.methods.oft import OftParams
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import methods_products as naive
from tests.naive.lora import matmul, transpose

WAYS = {None: naive.cayley, 5: naive.cayley_neumann}
EVERY = pytest.mark.parametrize(("neumann", "side"), [(n, s) for n in WAYS for s in oft.SIDES])
LEVEL = 64.0  # a solve with a matrix whose condition is at most √(1 + ‖Q‖²)


def draw(rng, N=3, d=4, blocks=2, b=3, size=0.5, dtype=np.float64):
    """X, W0, p, gY, bias."""
    p = OftParams((size * rng.normal(size=(blocks, b * (b - 1) // 2))).astype(dtype))
    k = blocks * b
    X, W0, gY, bias = (rng.normal(size=s).astype(dtype) for s in ((N, k), (d, k), (N, d), (d,)))
    return X, W0, p, gY, bias


def exact_weight(W0, p, neumann, side):
    """(R W)ᵀ on Fractions, R the paper's; the other side is that of −q."""
    sign = 1 if side == "paper" else -1
    q = [[sign * x for x in row] for row in fractions_of(p.q)]
    return naive.oft_weight(fractions_of(W0), q, WAYS[neumann])


def spread(W0, p):
    """What rounding is measured against: a rotation mixes a row's block, and Q's powers grow."""
    rows = np.abs(np.asarray(W0, float)).reshape(len(W0), len(p.q), -1)
    growth = 1 + np.abs(p.q.astype(float)).sum(axis=1)
    mixed = np.broadcast_to(rows.sum(axis=2, keepdims=True), rows.shape) * growth[None, :, None] ** 4
    return mixed.reshape(W0.shape)


class TestAgainstThePaperInLoops:
    @given(
        st.integers(0, 2**32 - 1),
        st.sampled_from([1, 2, 3, 4]),
        st.sampled_from([1, 2]),
        st.sampled_from([None, 5]),
        st.sampled_from(oft.SIDES),
        st.sampled_from([np.float64, np.float32]),
    )
    def test_weights_and_outputs(self, seed, b, blocks, neumann, side, dtype):
        """[oft-weight] [oft-cayley] [oft-neumann]  z = (R W)ᵀ x with R = (I + Q)(I − Q)⁻¹ or five terms, exactly."""
        X, W0, p, _, bias = draw(np.random.default_rng(seed), 2, 3, blocks, b, dtype=dtype)
        W = exact_weight(W0, p, neumann, side)
        got = oft.merge(W0, p, neumann=neumann, side=side)
        assert got.dtype == dtype
        assert exact_error_in_u(got, W, spread(W0, p)) <= LEVEL
        Y, R = oft.forward(X, W0, p, neumann=neumann, side=side, bias=bias)
        assert R.shape == (blocks, b, b)
        want = naive.apply(fractions_of(X), W, fractions_of(bias))
        assert exact_error_in_u(Y, want, abs(X).astype(float) @ spread(W0, p).T + abs(bias)) <= LEVEL

    @EVERY
    def test_gradients_are_central_differences_on_fractions(self, neumann, side, rng):
        """[oft-grad] [oft-neumann-grad]  With a step of 2⁻⁶⁰ and no rounding at all."""
        X, W0, p, gY, _ = draw(rng, 2, 2, 2, 3)
        exact, upstream = {"X": fractions_of(X), "q": fractions_of(p.q)}, fractions_of(gY)
        sign = 1 if side == "paper" else -1

        def loss(name, tensor):
            t = {**exact, name: tensor}
            q = [[sign * x for x in row] for row in t["q"]]
            return naive.loss(
                upstream, naive.apply(t["X"], naive.oft_weight(fractions_of(W0), q, WAYS[neumann]))
            )

        gX, g = backward(X, W0, p, gY, neumann, side)
        size = 10 * (abs(gY) @ abs(W0)).sum() * abs(X).sum()
        for name, got in {"X": gX, "q": g.q}.items():
            want = naive.central_gradient(lambda tensor, n=name: loss(n, tensor), exact[name])
            assert np.linalg.norm(got) > 1e-2
            assert exact_error_in_u(got, want, np.full(got.shape, size)) <= GOLD, name


def backward(X, W0, p, gY, neumann=None, side="paper"):
    _, R = oft.forward(X, W0, p, neumann=neumann, side=side)
    return oft.backward(gY, X, R, W0, p, neumann=neumann, side=side)


@EVERY
@pytest.mark.parametrize(("blocks", "b"), [(1, 5), (3, 2), (4, 1)])
def test_gradients_agree_with_autograd(neumann, side, blocks, b, rng):
    """[oft-grad] [oft-neumann-grad]  Autograd differentiates an inverse, or a sum of powers."""
    X, W0, p, gY, _ = draw(rng, 7, 4, blocks, b)
    pairs = [(i, j) for i in range(b) for j in range(i + 1, b)]
    basis = np.zeros((len(pairs), b, b))
    for t, (i, j) in enumerate(pairs):
        basis[t, i, j], basis[t, j, i] = 1, -1
    sign, I = (1 if side == "paper" else -1), np.eye(b)  # noqa: E741

    def loss(X, q):
        total = 0
        for n in range(blocks):
            Q = sign * anp.tensordot(q[n], basis, axes=1)
            powers = [I, Q, Q @ Q, Q @ Q @ Q, Q @ Q @ Q @ Q]
            series = powers[0] - 2 * powers[1] + 2 * powers[2] - 2 * powers[3] + powers[4]
            R = series if neumann else (I - Q) @ anp.linalg.inv(I + Q)
            cut = slice(n * b, (n + 1) * b)
            total = total + anp.sum(gY * (X[:, cut] @ (W0[:, cut] @ R).T))
        return total

    wants = grad(loss, argnum=(0, 1))(X, p.q)
    gX, g = backward(X, W0, p, gY, neumann, side)
    for got, want in zip((gX, g.q), wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * (1 + abs(want).max(initial=0)))


class TestRotations:
    def test_they_are_orthogonal(self, rng):
        """[oft-cayley]  R Rᵀ = I and det R = 1, so the rows of W keep their lengths and their angles."""
        _, W0, p, _, _ = draw(rng, d=6, blocks=3, b=4, size=3.0)
        for R in oft.rotation(p):
            assert error_in_u(R @ R.T, np.eye(4), np.full((4, 4), 4.0)) <= GOLD
            assert np.linalg.det(R) == pytest.approx(1, abs=1e-12)
        W = oft.merge(W0, p)
        assert error_in_u(W @ W.T, W0 @ W0.T, abs(W0) @ abs(W0).T * 8) <= LEVEL

    def test_five_terms_are_the_rotation_up_to_the_fourth_power(self, rng):
        """[oft-neumann]  (I − Q)² (I + Q²) = R (I − Q⁴), exactly on Fractions, in both letters."""
        numbers = [Fraction(int(x), 8) for x in rng.integers(-9, 10, size=6)]
        Q = naive.skew(numbers, 4)
        square = matmul(Q, Q)
        minus = naive.add(naive.identity(4), [[-x for x in row] for row in matmul(square, square)])
        five = naive.cayley_neumann(numbers, 4)
        assert five == matmul(naive.cayley(numbers, 4), minus)
        plus = naive.add(naive.identity(4), Q)
        assert five == matmul(matmul(plus, plus), naive.add(naive.identity(4), square))

    def test_the_error_of_five_terms_falls_with_the_fourth_power(self, rng):
        """[oft-neumann]  Halve Q, and what is missing shrinks sixteenfold."""
        _, _, p, _, _ = draw(rng, size=0.02)
        gaps = [
            abs(oft.rotation(OftParams(q)) - oft.rotation(OftParams(q), neumann=5)).max()
            for q in (p.q, p.q / 2)
        ]
        assert gaps[0] / gaps[1] == pytest.approx(16, rel=0.02)

    def test_the_paper_s_letter_is_the_transpose(self, rng):
        """[oft-cayley]  Stored (d, k), W0 R with R = R_pᵀ; and the other side is −q, or Rᵀ."""
        numbers = [Fraction(int(x), 4) for x in rng.integers(-9, 10, size=3)]
        p = OftParams(np.array([[float(x) for x in numbers]]))
        want = transpose(naive.cayley(numbers, 3))
        assert exact_error_in_u(oft.rotation(p)[0], want, np.full((3, 3), 8.0)) <= GOLD
        other = oft.rotation(p, side="transposed")
        assert (other == oft.rotation(OftParams(-p.q))).all()
        assert error_in_u(other[0], oft.rotation(p)[0].T, np.full((3, 3), 8.0)) <= GOLD

    @EVERY
    def test_the_start_is_the_frozen_layer_bit_for_bit(self, neumann, side, rng):
        """[oft-weight]  Q = 0; the first derivative there is −2 Q on the right, in every way of making R."""
        X, W0, _, gY, bias = draw(rng)
        p = oft.init(6, 3)
        word = {"neumann": neumann, "side": side}
        assert (oft.forward(X, W0, p, bias=bias, **word)[0] == X @ W0.T + bias).all()
        assert (oft.merge(W0, p, **word) == W0).all()
        gW = (gY.T @ X).reshape(-1, 2, 3).transpose(1, 0, 2)
        inner = np.einsum("ndi,ndj->nij", W0.reshape(-1, 2, 3).transpose(1, 0, 2), gW)
        sign = -2 if side == "paper" else 2
        want = sign * np.stack(
            [(inner - inner.transpose(0, 2, 1))[:, i, j] for i, j in ((0, 1), (0, 2), (1, 2))], 1
        )
        np.testing.assert_allclose(backward(X, W0, p, gY, **word)[1].q, want, rtol=1e-12)
        assert oft.init(4, 2, dtype=np.float32).q.dtype == np.float32

    @EVERY
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
    def test_unmerging_returns_the_weight(self, neumann, side, dtype, rng):
        """[oft-weight] [oft-neumann]  Also of the five terms, which are no rotation; half precision too."""
        _, W0, p, _, _ = draw(rng, d=7, blocks=3, b=4, size=0.2, dtype=dtype)
        W = oft.merge(W0, p, neumann=neumann, side=side)
        assert W.dtype == dtype
        assert error_in_u(oft.unmerge(W, p, neumann=neumann, side=side), W0, spread(W0, p)) <= GOLD

    def test_a_quarter_turn_of_five_terms_cannot_be_undone(self):
        """[oft-neumann]  I − Q⁴ is then singular: the weight is annihilated; the exact form is a rotation still."""
        p, W0 = OftParams(np.array([[1.0]])), np.eye(2)
        assert (oft.merge(W0, p, neumann=5) == 0).all()
        with pytest.raises(NotInvertibleError, match="keep a snapshot"):
            oft.unmerge(W0, p, neumann=5)
        with pytest.raises(NotInvertibleError, match="keep a snapshot"):
            oft.unmerge(np.full((1, 2), 1e300), OftParams(np.array([[1 - 2.0**-50]])), neumann=5)
        assert (oft.unmerge(oft.merge(W0, p), p) == W0).all()

    def test_leading_axes_are_batch_axes_and_no_rows_are_rows(self, rng):
        """[oft-weight] [oft-grad]"""
        X, W0, p, gY, _ = draw(rng, N=6)
        gX, g = backward(X, W0, p, gY)
        deep, other = backward(X.reshape(2, 3, 6), W0, p, gY.reshape(2, 3, 4))
        assert (deep.reshape(6, 6) == gX).all()
        assert (other.q == g.q).all()
        gX, g = backward(X[:0], W0, p, gY[:0])
        assert gX.shape == (0, 6)
        assert (g.q == 0).all()
        empty = oft.init(0, 3)
        assert oft.merge(np.zeros((2, 0)), empty).shape == (2, 0)


@EVERY
def test_every_library_gives_the_same_numbers(library, neumann, side, rng):
    """[oft-weight] [oft-grad] [oft-neumann-grad]  Same library out, arguments untouched."""
    X, W0, p, gY, bias = draw(rng)
    word = {"neumann": neumann, "side": side}

    def everything(X, W0, p, gY, bias):
        Y, R = oft.forward(X, W0, p, bias=bias, **word)
        gX, g = oft.backward(gY, X, R, W0, p, **word)
        W = oft.merge(W0, p, **word)
        return [Y, R, gX, *g, W, oft.unmerge(W, p, **word)]

    theirs = [library.asarray(x) for x in (X, W0, p.q, gY, bias)]
    got = everything(theirs[0], theirs[1], OftParams(theirs[2]), theirs[3], theirs[4])
    for one, other in zip(everything(X, W0, p, gY, bias), got, strict=True):
        assert type(other) is type(theirs[0])
        np.testing.assert_allclose(library.to_numpy(other), one, rtol=1e-11, atol=1e-13)
    assert (library.to_numpy(theirs[1]) == W0).all()


def test_bad_input_is_named(rng):
    """[oft-weight]"""
    X, W0, p, gY, _ = draw(rng)
    cases = [
        (ConfigError, r"tensors \(q\)", lambda: oft.merge(W0, (p.q, p.q))),
        (ShapeError, "q has 2 numbers a block", lambda: oft.merge(W0, OftParams(p.q[:, :2]))),
        (ShapeError, "1 blocks of 3.*do not fill k = 6", lambda: oft.merge(W0, OftParams(p.q[:1]))),
        (ShapeError, "q has 1 axes", lambda: oft.rotation(OftParams(p.q[0]))),
        (ConfigError, "neumann must be None or 5", lambda: oft.merge(W0, p, neumann=4)),
        (ConfigError, "neumann must be None or 5", lambda: oft.rotation(p, neumann=True)),
        (ConfigError, "side", lambda: oft.merge(W0, p, side="peft")),
        (DTypeError, "q is float32", lambda: oft.merge(W0, OftParams(p.q.astype("f4")))),
        (ShapeError, "R has shape", lambda: oft.backward(gY, X, X, W0, p)),
        (ShapeError, "gY has shape", lambda: oft.backward(X, X, oft.rotation(p), W0, p)),
        (NonFiniteError, "adapter's q", lambda: oft.merge(W0, OftParams(p.q * np.inf))),
        (ShapeError, "do not fill k = 7", lambda: oft.init(7, 3)),
        (ConfigError, "block", lambda: oft.init(6, 0)),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()
