"""What each method with a low-rank increment has of its own: its scale, its start, its step, its identities."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from lora_np import gradient_view, merging, optim
from lora_np import lora as engine
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.lora import LoraParams
from lora_np.methods import additive, bitfit, lora, lora_fa, lora_plus, lora_xs, rslora, symmetric, vera
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import methods_low_rank as naive
from tests.naive import optim as naive_optim

U = Fraction(2) ** -53


def normal(rng, *shape):
    return rng.normal(size=shape)


# ---- lora, rslora, lora-plus -------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [lora, rslora, lora_plus, lora_fa, symmetric])
def test_where_the_layer_is_loras_it_is_the_engines_own(module):
    """No copy of the layer's arithmetic: one place to be right."""
    if module in (lora, rslora, lora_plus):
        assert module.forward is engine.forward
        assert module.backward is engine.backward
        assert module.init is engine.init
        assert module.merge is merging.merge
        assert module.unmerge is merging.unmerge
    if module is not rslora:
        assert module.scaling is engine.scaling


@pytest.mark.parametrize("alpha", [1, 16, 0.3, -2.5, 0])
def test_the_stable_scale_is_alpha_over_the_root_of_the_rank(alpha):
    """[lora-scale-rs]  Property 71: s² r = alpha² within rounding, exactly for square ranks; sqrt(r) times LoRA's."""
    for r in range(1, 70):
        s, plain = rslora.scaling(alpha, r), lora.scaling(alpha, r)
        exact = Fraction(alpha) ** 2
        assert abs(Fraction(s) ** 2 * r - exact) <= 5 * U * exact
        assert abs(Fraction(plain) * r - Fraction(alpha)) <= U * abs(Fraction(alpha))
        assert math.copysign(1, s) == math.copysign(1, alpha)
        if math.isqrt(r) ** 2 == r:
            assert s == alpha / math.isqrt(r)
    assert rslora.scaling(alpha, 1) == lora.scaling(alpha, 1)


def test_one_plain_step_moves_b_faster_than_a(rng):
    """[lora-plus-step] [optim-lora-plus]  A − lr gA and B − ratio lr gB, on dyadic numbers exactly."""
    p = LoraParams(
        rng.integers(-4, 5, size=(5, 2)).astype(float), rng.integers(-4, 5, size=(2, 3)).astype(float)
    )
    g = LoraParams(
        rng.integers(-4, 5, size=(5, 2)).astype(float), rng.integers(-4, 5, size=(2, 3)).astype(float)
    )
    moved = lora_plus.step(p, g, lr=0.125, ratio=8)
    assert type(moved) is LoraParams
    assert moved.B.tolist() == [
        [b - x for b, x in zip(*rows, strict=True)] for rows in zip(p.B.tolist(), g.B.tolist(), strict=True)
    ]
    assert moved.A.tolist() == [
        [a - x / 8 for a, x in zip(*rows, strict=True)]
        for rows in zip(p.A.tolist(), g.A.tolist(), strict=True)
    ]
    plain, _ = optim.sgd_step(p, g, optim.sgd_init(p), lr=0.125)
    same = lora_plus.step(p, g, lr=0.125, ratio=1)
    assert (same.B == plain.B).all()
    assert (same.A == plain.A).all()
    assert (lora_plus.step(p, g, lr=0.125).B == p.B - 2 * g.B).all()  # the ratio is 16 unless given


def test_adam_with_two_rates_keeps_the_ratio(rng):
    """[lora-plus-adam] [optim-adam]  Three steps in Decimals of 50 digits, each factor with its own rate.

    The ratio must stand outside Adam: a gradient multiplied by it gives the same step.
    """
    p = LoraParams(normal(rng, 3, 2), normal(rng, 2, 4))
    grads = [LoraParams(normal(rng, 3, 2), normal(rng, 2, 4)) for _ in range(3)]
    lr, ratio, betas, eps = 0.01, 8.0, (0.8, 0.95), 1e-4
    moved, state = p, lora_plus.adam_init(p)
    for g in grads:
        moved, state = lora_plus.adam_step(moved, g, state, lr=lr, ratio=ratio, betas=betas, eps=eps)
    assert state.step == 3
    for field, rate in (("B", ratio * lr), ("A", lr)):
        flat = [Decimal(x) for x in getattr(p, field).ravel().tolist()]
        seen = [[Decimal(x) for x in getattr(g, field).ravel().tolist()] for g in grads]
        numbers = (Decimal(rate), Decimal(betas[0]), Decimal(betas[1]), Decimal(eps))
        want = naive_optim.adam(flat, seen, *numbers, Decimal.sqrt)
        size = naive_optim.adam_size(flat, seen, *numbers, Decimal.sqrt)
        got = getattr(moved, field).ravel()
        assert exact_error_in_u(got, [Fraction(x) for x in want], [float(x) for x in size]) <= 2 * GOLD
    first, _ = lora_plus.adam_step(p, grads[0], lora_plus.adam_init(p), lr=lr)
    assert np.allclose((first.B - p.B) / np.sign(grads[0].B), -16 * lr, rtol=1e-5)
    assert np.allclose((first.A - p.A) / np.sign(grads[0].A), -lr, rtol=1e-5)


# ---- lora-fa -----------------------------------------------------------------------------------------------


def test_lora_fa_starts_where_lora_starts():
    """[lora-init]  The same draws from the same seed; A comes apart from what is trained."""
    A, p = lora_fa.init(np.random.default_rng(7), 6, 9, 4, dtype=np.float32)
    both = lora.init(np.random.default_rng(7), 6, 9, 4, dtype=np.float32)
    assert p._fields == ("B",)
    assert (A == both.A).all()
    assert (p.B == both.B).all()
    assert A.dtype == p.B.dtype == np.float32


def test_its_backward_reads_no_number_of_the_input(rng):
    """[lora-fa-grad]  NaN in place of X, and every result stays."""
    X, W0, A, B, gY = (
        normal(rng, 5, 4),
        normal(rng, 3, 4),
        normal(rng, 2, 4),
        normal(rng, 3, 2),
        normal(rng, 5, 3),
    )
    p = lora_fa.LoraFaParams(B)
    _, Z = lora_fa.forward(X, W0, A, p, scale=0.7)
    want = lora_fa.backward(gY, X, Z, W0, A, p, scale=0.7)
    got = lora_fa.backward(gY, np.full_like(X, np.nan), Z, W0, A, p, scale=0.7)
    assert (got[0] == want[0]).all()
    assert (got[1].B == want[1].B).all()


@pytest.mark.parametrize(("r", "k"), [(3, 8), (4, 4), (1, 5), (5, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_correction_is_the_damped_inverse(r, k, dtype, rng):
    """[lora-fa-correction]  Against Fractions, inverted by Gauss and Jordan; also for r > k, where A Aᵀ is singular.

    The error is measured against ‖gB‖ ‖inverse‖ / s² and may grow with the condition of [A √δ], not with its square.
    """
    A, gB, s, damping = normal(rng, r, k).astype(dtype), normal(rng, 6, r).astype(dtype), 0.7, 2.0**-27
    exact = fractions_of(A)
    gram = naive.matmul(exact, naive.transpose(exact))
    for i in range(r):
        gram[i][i] += Fraction(damping)
    inverse = naive.inverse(gram)
    square = Fraction(s) ** 2
    want = [[value / square for value in row] for row in naive.matmul(fractions_of(gB), inverse)]
    got = lora_fa.corrected_gradient(gB, A, scale=s, damping=damping)
    assert got.dtype == dtype
    size = np.linalg.norm(gB.astype(float)) * np.linalg.norm(np.array(inverse, dtype=float)) / s**2
    condition = math.sqrt(np.linalg.cond(np.array(gram, dtype=float)))
    assert exact_error_in_u(got, want, np.full(gB.shape, size)) <= GOLD * condition


def test_the_default_damping_is_the_released_one(rng):
    """[lora-fa-correction]  1e-8: seen on an A so small that it decides."""
    A, gB = np.array([[1e-4, 0.0], [0.0, 1.0]]), np.ones((1, 2))
    got = lora_fa.corrected_gradient(gB, A, scale=1.0)
    assert np.allclose(got, [[1 / 2e-8, 1 / (1 + 1e-8)]], rtol=1e-12)


def test_without_damping_the_corrected_step_is_the_nearest_to_the_full_gradient(rng):
    """[lora-fa-correction]  s ĝ A is gW projected on A's rows: the rest is orthogonal to them."""
    A, gW, s = normal(rng, 3, 8), normal(rng, 5, 8), 0.3
    gB = s * gW @ A.T  # what backward gives
    corrected = lora_fa.corrected_gradient(gB, A, scale=s, damping=0.0)
    rest = gW - s * corrected @ A
    assert abs(rest @ A.T).max() < 1e-13
    for _ in range(20):
        other = corrected + 1e-3 * normal(rng, 5, 3)
        assert np.linalg.norm(gW - s * other @ A) > np.linalg.norm(rest)
    assert np.linalg.norm(gW - s * gB @ A) > np.linalg.norm(rest)


def test_a_nearly_dependent_row_is_still_inverted_without_damping():
    """[lora-fa-correction]  Down to r ε σ_1; a rank of zero has an empty inverse."""
    K = lora_fa.gram_inverse(np.diag([1.0, 1.0, 2e-15]), damping=0)
    assert np.allclose(np.diag(K), [1, 1, 1 / 4e-30], rtol=1e-12)
    assert lora_fa.gram_inverse(np.ones((0, 3)), damping=0).shape == (0, 0)


def test_the_inverse_is_made_once_and_in_every_library(rng, library):
    """[lora-fa-correction]  A is frozen: `gram_inverse` in float64, symmetric, of the same library."""
    A = normal(rng, 3, 5).astype(np.float32)
    K = lora_fa.gram_inverse(library.asarray(A))
    got = library.to_numpy(K)
    assert got.dtype == np.float64
    assert np.allclose(got, np.linalg.inv(A.astype(float) @ A.T.astype(float) + 1e-8 * np.eye(3)), rtol=1e-9)
    gB = library.asarray(normal(rng, 4, 3).astype(np.float32))
    assert type(lora_fa.corrected_gradient(gB, library.asarray(A), scale=2.0)) is type(gB)


# ---- lora-xs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "k", "r"), [(6, 9, 3), (9, 6, 2), (5, 5, 5), (4, 1, 1)])
def test_its_frozen_factors_are_the_weights_best_approximation(d, k, r, rng):
    """[lora-xs-init]  Against LAPACK, by products: B A is the truncated SVD, and the strengths stand on A's side."""
    W0 = normal(rng, d, k)
    B, A, p = lora_xs.init(rng, W0, r)
    U, sigma, Vt = np.linalg.svd(W0, full_matrices=False)
    bound = 40 * np.finfo(float).eps * sigma[0]
    assert np.allclose(B @ A, (U[:, :r] * sigma[:r]) @ Vt[:r], atol=bound, rtol=0)
    assert np.allclose(B.T @ B, np.eye(r), atol=1e-14, rtol=0)
    assert np.allclose(A @ A.T, np.diag(sigma[:r] ** 2), atol=bound * sigma[0], rtol=0)
    assert p.R.shape == (r, r)


def test_the_middle_starts_as_a_narrow_gaussian():
    """[lora-xs-init]  Width 1e-5 unless given, mean 0, kurtosis 3, one seed one draw, the weight's element type."""
    W0 = np.eye(150)
    _, _, p = lora_xs.init(np.random.default_rng(3), W0, 150)
    n, R = p.R.size, p.R / 1e-5
    assert abs(R.mean()) < 5 / math.sqrt(n)
    assert abs(R.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((R**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert (lora_xs.init(np.random.default_rng(3), W0, 150)[2].R == p.R).all()
    wide = lora_xs.init(np.random.default_rng(3), W0[:3, :3], 2, sigma=2.0)[2].R
    narrow = lora_xs.init(np.random.default_rng(3), W0[:3, :3], 2)[2].R
    assert np.allclose(wide, 2e5 * narrow, rtol=1e-14)
    B, A, p = lora_xs.init(np.random.default_rng(3), W0[:3, :4].astype(np.float32), 2)
    assert B.dtype == A.dtype == p.R.dtype == np.float32


def test_its_start_runs_in_every_library(rng, library):
    """[lora-xs-init]"""
    W0 = normal(rng, 4, 5)
    mine = lora_xs.init(np.random.default_rng(3), W0, 2)
    theirs = lora_xs.init(np.random.default_rng(3), library.asarray(W0), 2)
    for one, other in zip((*mine[:2], mine[2].R), (*theirs[:2], theirs[2].R), strict=True):
        assert type(other) is type(library.asarray(W0))
        assert np.allclose(library.to_numpy(other), one, atol=1e-14)


# ---- vera --------------------------------------------------------------------------------------------------


def test_one_seed_gives_one_pair_bit_for_bit():
    """[vera-init]  Property 79: files need not hold it."""
    one = vera.shared_pair(np.random.default_rng(5), 30, 20, 8)
    other = vera.shared_pair(np.random.default_rng(5), 30, 20, 8)
    assert all((x == y).all() for x, y in zip(one, other, strict=True))
    assert (vera.shared_pair(np.random.default_rng(6), 30, 20, 8)[0] != one[0]).any()


def test_the_pair_is_kaimings_uniform():
    """[vera-init]  Gain √2 on the fan-in: bounds √(6/k) for A and √(6/r) for B; variance 2/fan."""
    B, A = vera.shared_pair(np.random.default_rng(1), 400, 300, 50)
    assert B.shape == (400, 50)
    assert A.shape == (50, 300)
    for x, fan in ((A, 300), (B, 50)):
        bound = math.sqrt(6 / fan)
        assert 0.999 * bound < abs(x).max() <= bound
        assert x.min() < -0.999 * bound
        assert abs(x.var() * fan / 2 - 1) < 5 * math.sqrt(0.8 / x.size)
    assert vera.shared_pair(np.random.default_rng(1), 4, 3, 2, dtype=np.float32)[0].dtype == np.float32


def test_a_layer_cuts_its_own_pair_out_of_the_shared_one(rng, library):
    """[vera-cut]  Property 79: the first rows of B, the first columns of A; or the whole."""
    B, A = normal(rng, 6, 2), normal(rng, 2, 5)
    b, a = vera.cut(library.asarray(B), library.asarray(A), 4, 3)
    assert (library.to_numpy(b) == B[:4]).all()
    assert (library.to_numpy(a) == A[:, :3]).all()
    whole = vera.cut(B, A, 6, 5)
    assert (whole[0] == B).all()
    assert (whole[1] == A).all()
    assert [x.shape for x in vera.cut(B, A, 0, 0)] == [(0, 2), (2, 0)]


def test_vera_starts_as_the_frozen_layer(rng):
    """[vera-init]  lambda_b = 0 stops the branch, not its own gradient; lambda_d's gradient vanishes there."""
    B, A = vera.shared_pair(rng, 5, 4, 3)
    p = vera.init(5, 3)
    assert p.lambda_d.tolist() == [0.1] * 3
    assert vera.init(5, 3, d_initial=-2, dtype=np.float32).lambda_d.tolist() == [-2.0] * 3
    assert vera.init(5, 3, dtype=np.float32).lambda_b.dtype == np.float32
    assert vera.init(0, 3).lambda_b.shape == (0,)
    X, W0, gY = normal(rng, 6, 4), normal(rng, 5, 4), normal(rng, 6, 5)
    Y, Z = vera.forward(X, W0, B, A, p)
    assert (Y == X @ W0.T).all()
    _, g = vera.backward(gY, X, Z, W0, B, A, p)
    assert g.lambda_b.all()
    assert not g.lambda_d.any()


# ---- additive, symmetric, bitfit ---------------------------------------------------------------------------


@pytest.mark.parametrize("r", [1, 2, 3])
def test_the_additive_merge_is_the_sum_of_the_gradient_view(r, rng):
    """[additive-weight] [additive-blocks]  Properties 54 and 57: the product that merging forms is that sum."""
    W0 = normal(rng, 4 * r, 3 * r)
    p = gradient_view.AdditiveParams(normal(rng, 4 * r, r), normal(rng, r, 3 * r))
    want = gradient_view.additive_weight(W0, p, scale=0.7)
    got = additive.merge(W0, p, scale=0.7)
    assert error_in_u(got, want, abs(W0) + abs(want - W0)) <= 4
    back = additive.unmerge(got, p, scale=0.7)
    assert error_in_u(back, W0, abs(W0) + 2 * abs(want - W0)) <= GOLD
    if r == 1:
        assert np.allclose(got, W0 + 0.7 * (p.B + p.A), rtol=1e-14)


def test_the_additive_method_starts_at_zero_with_gradients_that_are_not(rng):
    """[additive-grad] [additive-blocks-grad]  Properties 55 and 56: sums over rows and columns; s is 1 unless given."""
    p = additive.init(4, 6, 1)
    X, W0, gY = normal(rng, 5, 6), normal(rng, 4, 6), normal(rng, 5, 4)
    Y, Z = additive.forward(X, W0, p)
    assert (Y == X @ W0.T).all()
    _, g = additive.backward(gY, X, Z, W0, p)
    gW = gY.T @ X
    assert np.allclose(g.B[:, 0], gW.sum(axis=1), atol=1e-13)
    assert np.allclose(g.A[0], gW.sum(axis=0), atol=1e-13)
    full = p._replace(B=g.B, A=g.A)
    assert np.linalg.matrix_rank(additive.merge(np.zeros((4, 6)), full)) == 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_symmetric_start_is_the_frozen_layer_to_the_bit(dtype, rng):
    """[lora-symmetric]  Property 46: for factors far from zero, in any element type; both gradients are there."""
    B0, A0, p = symmetric.init(rng, 7, 5, 3, dtype=dtype)
    X, W0, gY = (normal(rng, *shape).astype(dtype) for shape in ((4, 5), (7, 5), (4, 7)))
    Y, Z = symmetric.forward(X, W0, B0, A0, p, scale=1.7)
    assert Y.dtype == dtype
    assert (Y == X @ W0.T).all()
    _, g = symmetric.backward(gY, X, Z, W0, B0, A0, p, scale=1.7)
    assert g.B.any()
    assert g.A.any()
    assert (p.B != 0).all()
    assert (p.A != 0).all()


def test_it_is_lora_on_the_shifted_weight(rng):
    """[lora-symmetric] [symmetric-grad]  The engine's layer on W0 − s B0 A0 gives the same numbers up to rounding."""
    X, W0, gY = normal(rng, 4, 5), normal(rng, 7, 5), normal(rng, 4, 7)
    B0, A0, p = normal(rng, 7, 2), normal(rng, 2, 5), LoraParams(normal(rng, 7, 2), normal(rng, 2, 5))
    shifted = engine.symmetric_base(W0, LoraParams(B0, A0), scale=0.3)
    want, Z = engine.forward(X, shifted, p, scale=0.3)
    got, kept = symmetric.forward(X, W0, B0, A0, p, scale=0.3)
    assert (kept == Z).all()
    assert np.allclose(got, want, atol=1e-13, rtol=0)
    gX, g = engine.backward(gY, X, Z, shifted, p, scale=0.3)
    got_gX, got_g = symmetric.backward(gY, X, kept, W0, B0, A0, p, scale=0.3)
    assert np.allclose(got_gX, gX, atol=1e-13, rtol=0)
    assert (got_g.B == g.B).all()
    assert (got_g.A == g.A).all()


def test_only_the_bias_is_trained(rng, library):
    """[bitfit-layer] [bitfit-grad] [lora-grad-bias]  On small integers: the layer, gY W0, the sum of rows."""
    X, W0, bias, gY = (
        rng.integers(-4, 5, size=shape).astype(float) for shape in ((5, 3), (2, 3), (2,), (5, 2))
    )
    p = bitfit.BitfitParams(library.asarray(bias))
    theirs = [library.asarray(x) for x in (X, W0, gY)]
    Y, kept = bitfit.forward(theirs[0], theirs[1], p)
    assert kept is None
    assert library.to_numpy(Y).tolist() == naive.layer(X.tolist(), W0.tolist(), bias.tolist())
    gX, g = bitfit.backward(theirs[2], theirs[0], kept, theirs[1], p)
    assert library.to_numpy(gX).tolist() == naive.input_gradient(gY.tolist(), W0.tolist(), 3)
    assert type(g) is bitfit.BitfitParams
    assert library.to_numpy(g.bias).tolist() == [sum(column) for column in zip(*gY.tolist(), strict=True)]
    assert (
        library.to_numpy(bitfit.backward(theirs[2], theirs[0] * np.nan, None, theirs[1], p)[0]) == gY @ W0
    ).all()


def test_bitfit_starts_at_the_layers_own_bias():
    """[bitfit-layer]"""
    own = np.array([1.0, 2.0], dtype=np.float32)
    assert bitfit.init(2, bias=own).bias is own
    assert bitfit.init(3, dtype=np.float32).bias.tolist() == [0.0, 0.0, 0.0]
    assert bitfit.init(3, dtype=np.float32).bias.dtype == np.float32
    assert bitfit.init(0).bias.shape == (0,)
    deep = bitfit.forward(np.ones((2, 3, 4)), np.ones((5, 4)), bitfit.init(5))[0]
    assert deep.shape == (2, 3, 5)
