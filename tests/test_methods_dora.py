"""DoRA: weights against 200-bit loops, both gradients, zero rows, and coming back from a merged weight."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.bounds import error_in_u
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    NotInvertibleError,
    OverflowInMergeError,
    RankError,
    ShapeError,
    ZeroNormError,
)
from lora_np.methods import dora
from lora_np.methods.dora import DoraParams
from tests.exact import exact_error_in_u, floats_of, fractions_of
from tests.naive import methods_products as naive

LEVEL = 64.0  # the norm divides: four times the level of a sum of products
S = 1 / 3


def draw(rng, N=4, d=5, k=6, r=2, dtype=np.float64):
    """X, W0, p, gY and a bias of one layer."""
    p = DoraParams(rng.normal(size=(d, r)), rng.normal(size=(r, k)), rng.normal(size=d))
    arrays = rng.normal(size=(N, k)), rng.normal(size=(d, k)), rng.normal(size=(N, d)), rng.normal(size=d)
    X, W0, gY, bias = (x.astype(dtype) for x in arrays)
    return X, W0, DoraParams(*(x.astype(dtype) for x in p)), gY, bias


def sizes(W0, p):
    """What rounding is measured against: |m| / ‖V‖ (|W0| + s|B||A|), and how much ‖V‖ cancelled."""
    parts = abs(W0) + S * (abs(p.B) @ abs(p.A))
    lengths = np.linalg.norm(W0 + S * (p.B @ p.A), axis=1)
    cancelled = 1 + np.linalg.norm(parts, axis=1) / lengths
    return (cancelled * abs(p.m) / lengths)[:, None] * parts, lengths, cancelled


SHAPES = st.tuples(st.sampled_from([0, 1, 3]), *[st.sampled_from([1, 2, 3, 5])] * 3)


class TestAgainstLoops:
    @given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([np.float64, np.float32]))
    def test_forward_and_merge(self, shape, seed, dtype):
        """[dora-weight]  Every output and weight within 64 u of the value computed with 200 bits."""
        X, W0, p, _, bias = draw(np.random.default_rng(seed), *shape, dtype=dtype)
        W = naive.dora_weight(*(fractions_of(x) for x in (W0, *p)), fractions_of(S))
        size, _, _ = sizes(*(W0.astype(float), DoraParams(*(x.astype(float) for x in p))))
        got = dora.merge(W0, p, scale=S)
        assert got.dtype == dtype
        assert exact_error_in_u(got, W, size) <= LEVEL
        Y, _ = dora.forward(X, W0, p, scale=S, bias=bias)
        if len(X):
            want = naive.apply(fractions_of(X), W, fractions_of(bias))
            assert exact_error_in_u(Y, want, abs(X).astype(float) @ size.T + abs(bias)) <= LEVEL
        assert Y.shape == (len(X), len(W0))

    @pytest.mark.parametrize("norm", dora.NORMS)
    @pytest.mark.parametrize("shape", [(1, 1, 2, 1), (3, 4, 5, 2), (2, 3, 2, 4)])
    def test_gradients_are_differences_of_the_loss(self, norm, shape, rng):
        """[dora-grad-m] [dora-grad-attached] [dora-grad-detached]  Property 75: central differences with 200 bits.

        Detached means that the lengths stay constants while B, A and m move.
        """
        X, W0, p, gY, _ = draw(rng, *shape)
        exact = {"X": X, "B": p.B, "A": p.A, "m": p.m}
        exact = {name: fractions_of(x) for name, x in exact.items()}
        base, upstream, s = fractions_of(W0), fractions_of(gY), fractions_of(S)
        V = naive.add(base, naive.increment(exact["B"], exact["A"], s))
        lengths = naive.row_lengths(V) if norm == "detached" else None

        def loss(name, tensor):
            t = {**exact, name: tensor}
            W = naive.dora_weight(base, t["B"], t["A"], t["m"], s, lengths)
            return naive.loss(upstream, naive.apply(t["X"], W))

        gX, g = backward(X, W0, p, gY, norm)
        size, n, cancelled = sizes(W0, p)
        gW = abs(gY).T @ abs(X)
        D = (cancelled / n)[:, None] * (abs(W0) + S * (abs(p.B) @ abs(p.A)))
        gm = (gW * D).sum(axis=1)
        gV = (cancelled * abs(p.m) / n)[:, None] * (gW + gm[:, None] * D)
        bounds = {"X": abs(gY) @ size, "B": S * gV @ abs(p.A).T, "A": S * abs(p.B).T @ gV, "m": gm}
        for name, got in {"X": gX, **g._asdict()}.items():
            want = naive.central_gradient(lambda tensor, name=name: loss(name, tensor), exact[name])
            assert exact_error_in_u(got, want, bounds[name]) <= LEVEL, name


def backward(X, W0, p, gY, norm):
    """gX and the gradients of one layer."""
    _, kept = dora.forward(X, W0, p, scale=S)
    return dora.backward(gY, X, kept, W0, p, scale=S, norm=norm)


def loss_of(gY, W0, lengths=None):
    """The loss for autograd; `lengths` stand for the norm where it is a constant."""

    def loss(X, B, A, m):
        V = W0 + S * (B @ A)
        n = anp.sqrt(anp.sum(V**2, axis=1)) if lengths is None else lengths
        return anp.sum(gY * (X @ ((m / n)[:, None] * V).T))

    return loss


class TestTheTwoGradients:
    @pytest.mark.parametrize("norm", dora.NORMS)
    def test_each_is_what_autograd_finds_with_the_norm_in_or_out_of_the_graph(self, norm, rng):
        """[dora-grad-attached] [dora-grad-detached]  Property 75."""
        X, W0, p, gY, _ = draw(rng, 7, 5, 6, 3)
        lengths = None if norm == "attached" else dora.row_lengths(W0, p, scale=S)
        wants = grad(loss_of(gY, W0, lengths), argnum=(0, 1, 2, 3))(X, *p)
        gX, g = backward(X, W0, p, gY, norm)
        for got, want in zip((gX, *g), wants, strict=True):
            assert np.linalg.norm(want) > 1e-2
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * abs(want).max())

    def test_they_differ_in_the_factors_only(self, rng):
        """[dora-grad-detached]  Property 75: the same gX and gm; for B and A not even the same direction."""
        X, W0, p, gY, _ = draw(rng, 1, 5, 6, 4)
        W0 = W0 / 10
        (gX, detached), (other, attached) = (backward(X, W0, p, gY, norm) for norm in dora.NORMS)
        assert (gX == other).all()
        assert (detached.m == attached.m).all()
        cosine = (detached.B * attached.B).sum() / np.linalg.norm(detached.B) / np.linalg.norm(attached.B)
        assert cosine < 0.9

    def test_the_attached_one_has_no_part_along_a_row(self, rng):
        """[dora-grad-attached]  Property 74: stretching rows of V changes nothing, so B's and W0's pull cancel."""
        X, W0, p, gY, _ = draw(rng)
        stretch = rng.normal(size=len(W0))

        def along(t):
            W = dora.merge(
                (1 + t * stretch)[:, None] * W0, p._replace(B=(1 + t * stretch)[:, None] * p.B), scale=S
            )
            return (gY * (X @ W.T)).sum()

        assert abs(along(1e-3) - along(-1e-3)) < 1e-12
        _, kept = dora.forward(X, W0, p, scale=S)
        full = p._replace(B=np.eye(len(W0)), A=np.zeros_like(W0))  # s A is then the whole increment
        _, kept = dora.forward(X, kept.V, full, scale=S)
        gV = dora.backward(gY, X, kept, kept.V, full, scale=S, norm="attached")[1].A / S
        assert abs((gV * kept.V).sum(axis=1)).max() < 1e-13 * abs(gV).max() * abs(kept.V).sum(axis=1).max()


class TestIdentities:
    def test_rows_of_the_merged_weight_have_length_m(self, rng):
        """[dora-weight]  Property 72: within 4 u."""
        _, W0, p, _, _ = draw(rng, d=40, k=30)
        got = np.linalg.norm(dora.merge(W0, p, scale=S), axis=1)
        assert error_in_u(got, abs(p.m), abs(p.m)) <= 4

    def test_the_start_is_the_frozen_layer_bit_for_bit(self, rng):
        """[dora-weight]  Property 73: m = ‖W0‖ and B = 0."""
        X, W0, _, _, bias = draw(rng)
        p = dora.init(rng, W0, 2)
        assert (p.m == dora.row_lengths(W0, p, scale=S)).all()
        np.testing.assert_allclose(p.m, np.linalg.norm(W0, axis=1), rtol=1e-15)
        assert (dora.forward(X, W0, p, scale=S, bias=bias)[0] == X @ W0.T + bias).all()
        assert (dora.merge(W0, p, scale=S) == W0).all()

    def test_positive_stretching_of_the_rows_of_v_is_not_seen(self, rng):
        """[dora-weight]  Property 74: by powers of two not a bit changes; by a negative number the sign does."""
        _, W0, p, _, _ = draw(rng)
        by = (2.0 ** np.arange(-2, 3))[:, None]
        assert (dora.merge(by * W0, p._replace(B=by * p.B), scale=S) == dora.merge(W0, p, scale=S)).all()
        assert (dora.merge(-W0, p._replace(B=-p.B), scale=S) == -dora.merge(W0, p, scale=S)).all()

    @pytest.mark.parametrize("size", [2.0**-600, 2.0**-40, 2.0**600])
    def test_rows_of_any_size_have_a_length(self, size, rng):
        """[dora-weight]  Squares of such rows would vanish or overflow; a power of two changes no bit of W."""
        _, W0, p, _, _ = draw(rng)
        got = dora.merge(size * W0, p._replace(B=size * p.B), scale=S)
        assert (got == dora.merge(W0, p, scale=S)).all()

    def test_a_small_case_by_hand(self):
        """[dora-weight] [dora-grad-m]  V = (3, 4), ‖V‖ = 5, m = 10: W = (6, 8); gW = (1, 2): gm = 3/5 + 8/5."""
        W0, p = np.array([[3.0, 4.0]]), DoraParams(np.zeros((1, 1)), np.ones((1, 2)), np.array([10.0]))
        X = np.array([[1.0, 2.0]])
        Y, kept = dora.forward(X, W0, p, scale=S)
        assert Y == [[22.0]]
        assert kept.lengths == [5.0]
        g = dora.backward(np.ones((1, 1)), X, kept, W0, p, scale=1.0)[1]
        assert error_in_u(g.m, np.array([2.2]), np.array([2.2])) <= 2
        assert g.B == [[6.0]]  # 2 (1 + 2)

    def test_leading_axes_are_batch_axes(self, rng):
        """[dora-weight] [dora-grad-m]"""
        X, W0, p, gY, _ = draw(rng, N=6)
        gX, g = backward(X, W0, p, gY, "attached")
        other, deep = backward(X.reshape(2, 3, -1), W0, p, gY.reshape(2, 3, -1), "attached")
        assert (other.reshape(gX.shape) == gX).all()
        assert all((a == b).all() for a, b in zip(g, deep, strict=True))


class TestMergedWeights:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_unmerging_returns_the_weight(self, dtype, rng):
        """[dora-unmerge]  Within 64 u of |W| ‖V‖ / |m| + s|B||A|, the two parts that are subtracted."""
        _, W0, p, _, _ = draw(rng, d=30, k=20, dtype=dtype)
        lengths = dora.row_lengths(W0, p, scale=S)
        W = dora.merge(W0, p, scale=S)
        back = dora.unmerge(W, lengths, p, scale=S)
        size = abs(W * (lengths / p.m)[:, None]) + abs(W0) + 2 * S * (abs(p.B) @ abs(p.A))
        assert error_in_u(back, W0, size) <= LEVEL

    def test_the_merged_weight_alone_does_not_know_the_lengths(self, rng):
        """[dora-unmerge]  Two bases with the same directions merge to the same weight."""
        _, W0, p, _, _ = draw(rng)
        assert (dora.merge(2 * W0, p._replace(B=2 * p.B), scale=S) == dora.merge(W0, p, scale=S)).all()

    def test_a_length_of_zero_cannot_be_undone(self, rng):
        """[dora-unmerge]  The rows are named."""
        _, W0, p, _, _ = draw(rng)
        p.m[[1, 3]] = 0
        lengths = dora.row_lengths(W0, p, scale=S)
        with pytest.raises(NotInvertibleError, match=r"rows 1, 3.*keep a snapshot"):
            dora.unmerge(dora.merge(W0, p, scale=S), lengths, p, scale=S)

    def test_nothing_that_is_not_finite_is_stored(self, rng):
        """[dora-weight]"""
        _, W0, p, _, _ = draw(rng)
        lengths = dora.row_lengths(W0, p, scale=S)
        broken = W0.copy()
        broken[0, 0] = np.nan
        with pytest.raises(NonFiniteError, match="base weight W0"):
            dora.merge(broken, p, scale=S)
        with pytest.raises(NonFiniteError, match="adapter's m"):
            dora.merge(W0, p._replace(m=p.m * np.inf), scale=S)
        with pytest.raises(NonFiniteError, match="merged weight W "):
            dora.unmerge(broken, lengths, p, scale=S)
        with pytest.raises(OverflowInMergeError):
            dora.unmerge(W0 * 1e200, lengths, p._replace(m=np.full(5, 1e-200)), scale=S)


class TestZeroRows:
    @pytest.fixture
    def layer(self, rng):
        X, W0, p, gY, _ = draw(rng)
        W0[2], p.B[2], p.m[2] = 0, 0, 0
        return X, W0, p, gY

    def test_they_are_named_and_nothing_is_computed(self, layer):
        """[dora-weight]  A row of zeros has no direction."""
        X, W0, p, _ = layer
        for call in (
            lambda: dora.forward(X, W0, p, scale=S),
            lambda: dora.merge(W0, p, scale=S),
            lambda: dora.row_lengths(W0, p, scale=S),
        ):
            with pytest.raises(ZeroNormError, match=r"row 2: .*eps"):
                call()
        many = DoraParams(np.zeros((12, 1)), np.zeros((1, 3)), np.ones(12))
        with pytest.raises(ZeroNormError, match="rows 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"):
            dora.merge(np.zeros((12, 3)), many, scale=S)
        with pytest.raises(ZeroNormError, match="row 0"):
            dora.merge(np.zeros((1, 0)), DoraParams(np.zeros((1, 1)), np.zeros((1, 0)), np.ones(1)), scale=S)

    def test_a_length_that_cannot_vanish_lets_them_pass(self, layer):
        """[dora-weight] [dora-grad-attached]  With eps the row stays zero, and the gradient is still the gradient."""
        X, W0, p, gY = layer
        Y, kept = dora.forward(X, W0, p, scale=S, eps=0.5)
        assert (Y[:, 2] == 0).all()
        assert kept.lengths[2] == 0.5
        _, g = dora.backward(gY, X, kept, W0, p, scale=S, norm="attached")

        def loss(X, B, A, m):
            V = W0 + S * (B @ A)
            return anp.sum(gY * (X @ ((m / anp.sqrt(anp.sum(V**2, axis=1) + 0.25))[:, None] * V).T))

        for got, want in zip(g, grad(loss, argnum=(1, 2, 3))(X, *p), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)

    def test_a_width_of_zero_has_the_length_eps(self):
        """[dora-weight]"""
        p = DoraParams(np.zeros((2, 1)), np.zeros((1, 0)), np.ones(2))
        assert (dora.row_lengths(np.zeros((2, 0)), p, scale=S, eps=0.5) == 0.5).all()


def test_every_library_gives_the_same_numbers(library, rng):
    """[dora-weight] [dora-grad-attached] [dora-unmerge]  Same library out, arguments untouched."""
    X, W0, p, gY, bias = draw(rng)

    def everything(X, W0, p, gY, bias):
        Y, kept = dora.forward(X, W0, p, scale=S, bias=bias)
        found = [Y, *kept, dora.merge(W0, p, scale=S)]
        found.append(dora.unmerge(found[-1], dora.row_lengths(W0, p, scale=S), p, scale=S))
        for norm in dora.NORMS:
            gX, g = dora.backward(gY, X, kept, W0, p, scale=S, norm=norm)
            found += [gX, *g]
        return found

    theirs = [library.asarray(x) for x in (X, W0, gY, bias)]
    q = DoraParams(*(library.asarray(x) for x in p))
    got = everything(theirs[0], theirs[1], q, theirs[2], theirs[3])
    for a, b in zip(got, everything(X, W0, p, gY, bias), strict=True):
        assert type(a) is type(theirs[0])
        np.testing.assert_allclose(library.to_numpy(a), b, rtol=1e-12, atol=1e-14)
    assert type(dora.init(rng, theirs[1], 2).B) is type(theirs[1])


def test_bad_input_is_named(rng):
    """[dora-weight]"""
    X, W0, p, gY, bias = draw(rng)
    _, kept = dora.forward(X, W0, p, scale=S)
    cases = [
        (ConfigError, "B, A, m", lambda: dora.forward(X, W0, p[:2], scale=S)),
        (ConfigError, "B, A, m", lambda: dora.forward(X, W0, None, scale=S)),
        (ShapeError, "m has shape", lambda: dora.forward(X, W0, p._replace(m=p.m[:2]), scale=S)),
        (DTypeError, "m is float32", lambda: dora.forward(X, W0, p._replace(m=p.m.astype("f4")), scale=S)),
        (DTypeError, "m must be an array", lambda: dora.forward(X, W0, p._replace(m=[1.0] * 5), scale=S)),
        (RankError, "rank", lambda: dora.forward(X, W0, p._replace(B=p.B[:, :1]), scale=S)),
        (ShapeError, "X has shape", lambda: dora.forward(X[:, :3], W0, p, scale=S)),
        (ShapeError, "bias has shape", lambda: dora.forward(X, W0, p, scale=S, bias=bias[:1])),
        (DTypeError, "bias is float32", lambda: dora.forward(X, W0, p, scale=S, bias=bias.astype("f4"))),
        (ConfigError, "eps", lambda: dora.forward(X, W0, p, scale=S, eps=-1.0)),
        (ConfigError, "scale", lambda: dora.forward(X, W0, p, scale=np.nan)),
        (ConfigError, "norm", lambda: dora.backward(gY, X, kept, W0, p, scale=S, norm="attach")),
        (ConfigError, "kept", lambda: dora.backward(gY, X, X, W0, p, scale=S)),
        (ShapeError, "kept.V", lambda: dora.backward(gY, X, kept._replace(V=W0[:1]), W0, p, scale=S)),
        (
            ShapeError,
            "kept.lengths",
            lambda: dora.backward(gY, X, kept._replace(lengths=bias[:1]), W0, p, scale=S),
        ),
        (ShapeError, "gY has shape", lambda: dora.backward(gY[:, :1], X, kept, W0, p, scale=S)),
        (ShapeError, "batch axes", lambda: dora.backward(gY[:1], X, kept, W0, p, scale=S)),
        (ShapeError, "lengths", lambda: dora.unmerge(W0, bias[:1], p, scale=S)),
        (ShapeError, "W0 has 1", lambda: dora.init(rng, bias, 1)),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()


def test_the_loops_know_a_case_by_hand():
    """The referee is tested: (3, 4) has length 5 to 200 bits."""
    W = naive.dora_weight(*(fractions_of(np.array(x, float)) for x in ([[3, 4]], [[0]], [[0, 0]], [10])), 1)
    assert (floats_of(W) == [[6.0, 8.0]]).all()
