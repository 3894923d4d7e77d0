"""One increment, looked at through its factors: spectrum, size, likeness, cut; and what a 16-bit merge loses of it."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.adapters.adapter import LoraAdapter
from lora_np.adapters.inspection import (
    chance_cosine,
    cosine,
    cut_to_rank,
    frobenius,
    increment_norm,
    numbers_saved,
    thin_svd,
)
from lora_np.adapters.rounding import BLOCK, FORMATS, merge_loss, rounded
from lora_np.conformance.exact.rounding import nearest
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    ShapeError,
)
from lora_np.lora import LoraParams
from lora_np.rank import spectrum_report
from lora_np.subspace import random_basis, similarity_grid

EPS = 2.0**-52
SHAPES = [(7, 5, 3), (5, 11, 5), (1, 6, 1), (6, 4, 6), (64, 48, 8)]


def drawn(rng, d, k, r, scale=0.75, dtype=np.float64):
    B, A = rng.standard_normal((d, r)), rng.standard_normal((r, k))
    return LoraAdapter(LoraParams(B.astype(dtype), A.astype(dtype)), scale)


def formed(adapter):
    """The increment multiplied out, in double precision."""
    B, A = (np.asarray(factor, dtype=np.float64) for factor in adapter.p)
    return adapter.scale * (B @ A)


# ---- spectrum ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2.0, -0.3])
@pytest.mark.parametrize(("d", "k", "r"), SHAPES)
def test_the_thin_spectrum_is_lapacks_of_the_formed_product(rng, d, k, r, scale):
    """[increment-thin]"""
    adapter = drawn(rng, d, k, r, scale)
    M, found = formed(adapter), thin_svd(adapter)
    want = np.linalg.svd(M, compute_uv=False)
    q = min(d, k, r)
    close = 30 * max(d, k) * EPS * want[0]
    assert found.sigma.shape == (q,)
    assert np.abs(found.sigma - want[:q]).max() <= close
    assert np.abs(found.matrix() - M).max() <= close
    for U in (found.U, found.Vt.T):
        assert np.abs(U.T @ U - np.eye(q)).max() <= 30 * max(d, k) * EPS


def test_it_runs_on_every_library(library, rng):
    adapter = drawn(rng, 7, 5, 3)
    own = LoraAdapter(LoraParams(*(library.asarray(factor) for factor in adapter.p)), adapter.scale)
    found = thin_svd(own)
    assert np.allclose(
        library.to_numpy(found.sigma), np.linalg.svd(formed(adapter), compute_uv=False)[:3], rtol=1e-13
    )
    assert math.isclose(cosine(own, own), 1.0)
    assert library.to_numpy(cut_to_rank(own, 2).p.B).shape == (7, 2)
    W0 = library.asarray(rng.standard_normal((7, 5)))
    plain = merge_loss(np.array(library.to_numpy(W0)), adapter, dtype="float16")
    assert merge_loss(W0, own, dtype="float16") == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_stored_numbers_are_described_in_double_precision(rng, dtype):
    """A direction a millionth as strong is still told from nothing, though the type's own ε would hide it."""
    B = np.zeros((40, 2), dtype=dtype)
    B[0, 0], B[1, 1] = 1, 2.0**-14
    A = np.zeros((2, 30), dtype=dtype)
    A[0, 0], A[1, 1] = 1, 2.0**-6
    assert thin_svd(LoraAdapter(LoraParams(B, A), 1.0)).sigma.tolist() == [1.0, 2.0**-20]


def test_a_zero_factor_leaves_no_direction():
    """PEFT starts with B = 0: the increment is zero, and nothing of it is divided by."""
    fresh = LoraAdapter(LoraParams(np.zeros((6, 2)), np.ones((2, 5))), 2.0)
    found = thin_svd(fresh)
    report = spectrum_report(found)
    assert (found.U.shape, found.sigma.shape, found.Vt.shape) == ((6, 0), (0,), (0, 5))
    assert (increment_norm(found), report.effective_rank, report.smallest_rank(0.99)) == (0.0, 0.0, 0)


def test_huge_and_tiny_factors_neither_overflow_nor_vanish():
    """1e200 times 1e-200 and a scale of 1e-100: the product is ordinary."""
    p = LoraParams(np.diag([4e200, 1e200]), np.diag([1e-100, 1e-100]))
    assert np.allclose(thin_svd(LoraAdapter(p, 1e-100)).sigma, [4.0, 1.0], rtol=1e-14)
    with pytest.raises(NonFiniteError, match="exceeds the range"):
        thin_svd(LoraAdapter(LoraParams(np.eye(2) * 1e200, np.eye(2) * 1e200), 1.0))


def test_norms_by_whole_numbers(rng):
    """[increment-relative]: ‖ΔW‖ and ‖W0‖ of integers, the squares added as integers."""
    W0 = rng.integers(-9, 10, (5, 7)).astype(float)
    assert frobenius(W0) == math.sqrt(sum(int(w) ** 2 for w in W0.ravel()))
    adapter = LoraAdapter(LoraParams(np.diag([3.0, 2.0]), np.eye(2)), -2.0)
    assert math.isclose(increment_norm(thin_svd(adapter)), math.sqrt(52), rel_tol=4 * EPS)
    assert frobenius(np.zeros((2, 0))) == 0.0


# ---- likeness ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "k", "r"), SHAPES)
def test_the_cosine_is_that_of_the_formed_increments(rng, d, k, r):
    """[increment-cosine], also between different ranks and scales."""
    one, other = drawn(rng, d, k, r, 0.5), drawn(rng, d, k, max(1, r - 1), -3.0)
    x, y = formed(one).ravel(), formed(other).ravel()
    want = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    assert abs(cosine(one, other) - want) <= 30 * max(d, k) * EPS
    assert cosine(thin_svd(one), thin_svd(other)) == cosine(one, other)


def test_the_cosine_of_increments_of_small_integers_is_exact_to_rounding(rng):
    B, A = rng.integers(-3, 4, (2, 4, 2)), rng.integers(-3, 4, (2, 2, 5))
    M = [B[i].astype(int) @ A[i].astype(int) for i in (0, 1)]
    inner, *squares = (int((x * y).sum()) for x, y in ((M[0], M[1]), (M[0], M[0]), (M[1], M[1])))
    one, other = (LoraAdapter(LoraParams(B[i].astype(float), A[i].astype(float)), 1.0) for i in (0, 1))
    assert abs(cosine(one, other) - inner / math.sqrt(squares[0] * squares[1])) < 1e-14


def test_the_cosine_knows_the_same_the_opposite_and_the_unrelated(rng):
    one = drawn(rng, 8, 6, 2)
    twice = LoraAdapter(LoraParams(one.p.B * 5, one.p.A), one.scale)
    turned = one._replace(scale=-0.1)
    assert cosine(one, twice) == pytest.approx(1.0)
    assert cosine(one, turned) == pytest.approx(-1.0)
    e = np.eye(4)
    rows = [LoraAdapter(LoraParams(e[:, i : i + 1], e[:1]), 1.0) for i in (0, 1)]
    assert cosine(*rows) == 0.0


def test_chance_gives_cosines_of_one_over_the_root_of_the_entries(rng):
    """[increment-chance]: the mean of squares over 400 random pairs, to the width that 400 draws allow."""
    d, k = 12, 10
    squares = []
    for _ in range(400):
        pair = [
            LoraAdapter(LoraParams(random_basis(rng, d, 3) * [3.0, 2.0, 1.0], random_basis(rng, k, 3).T), 1.0)
            for _ in range(2)
        ]
        squares.append(cosine(*pair) ** 2)
    width = np.std(squares) / math.sqrt(len(squares))
    assert abs(np.mean(squares) - chance_cosine(d, k) ** 2) < 4 * width
    assert width < chance_cosine(d, k) ** 2 / 5


def test_thin_decompositions_serve_the_similarity_of_subspaces(rng):
    """[subspace-phi] of the thin decomposition is that of LAPACK's directions of the formed increments."""
    one, other = drawn(rng, 9, 7, 3), drawn(rng, 9, 7, 4)
    grids = {side: similarity_grid(thin_svd(one), thin_svd(other), side=side) for side in ("left", "right")}
    (U1, _, V1), (U2, _, V2) = (np.linalg.svd(formed(x), full_matrices=False) for x in (one, other))
    for grid, X, Y in ((grids["left"], U1, U2), (grids["right"], V1.T, V2.T)):
        for i, j in ((1, 1), (2, 3), (3, 4)):
            want = np.sum((X[:, :i].T @ Y[:, :j]) ** 2) / min(i, j)
            assert math.isclose(grid[i - 1, j - 1], want, rel_tol=1e-11)


# ---- cut -----------------------------------------------------------------------------------------------------


def test_a_cut_is_the_nearest_increment_of_its_rank(rng):
    """[increment-cut]: the distance is the tail of LAPACK's spectrum."""
    adapter = drawn(rng, 12, 9, 5)
    M, sigma = formed(adapter), np.linalg.svd(formed(adapter), compute_uv=False)
    for rank in range(1, 6):
        cut = cut_to_rank(adapter, rank)
        assert cut.p.A.shape == (rank, 9)
        assert cut.p.A.dtype == adapter.p.A.dtype
        assert math.isclose(
            np.linalg.norm(M - formed(cut)), math.sqrt((sigma[rank:5] ** 2).sum()), abs_tol=1e-12
        )


def test_the_rank_for_an_energy_is_the_least_that_keeps_it(rng):
    """[increment-cut]: by plain sums of LAPACK's singular values."""
    adapter = drawn(rng, 20, 15, 8)
    squares = np.linalg.svd(formed(adapter), compute_uv=False)[:8] ** 2
    report = spectrum_report(thin_svd(adapter))
    for energy in (0.5, 0.9, 0.95, 0.99):
        kept = next(r for r in range(9) if sum(squares[:r]) >= energy * sum(squares))
        assert report.smallest_rank(energy) == kept
        assert (
            numbers_saved(20, 15, rank=8, kept=kept)
            == sum(f.size for f in adapter.p) - (20 * kept) - kept * 15
        )


# ---- merging in 16 bits --------------------------------------------------------------------------------------

AWKWARD = [0.0, 5e-324, 2.0**-150, 2.0**-134, 2.0**-133, 2.0**-24, 2.0**-25, 3 * 2.0**-26, 2.0**-14]
AWKWARD += [65504.0, 65519.99, 65520.0, 65535.0, 1e38, 3.3895313892515355e38, 3.39e38, 3.4e38, 1e39, 1e300]
AWKWARD += [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-40, 1 - 2.0**-9, 2 - 2.0**-8, 1 + 2.0**-11]
AWKWARD += [1.7976931348623157e308, 2.0**1000]


@pytest.mark.parametrize("dtype", FORMATS)
def test_rounding_awkward_numbers(dtype):
    """[increment-rounded]: ties, powers of two, subnormal numbers, both ends; against exact rationals."""
    x = np.array([sign * value for value in AWKWARD for sign in (1, -1)])
    assert rounded(x, dtype).tolist() == [nearest(Fraction(value), dtype) for value in x.tolist()]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_rounding_any_double(values):
    """[increment-rounded]"""
    for dtype in FORMATS:
        assert rounded(np.array(values), dtype).tolist() == [nearest(Fraction(v), dtype) for v in values]


def test_rounding_every_half_of_numpys_own(rng):
    x = rng.standard_normal(20000) * 10.0 ** rng.integers(-9, 6, 20000)
    with np.errstate(over="ignore"):
        assert (rounded(x, "float16") == x.astype(np.float16).astype(float)).all()


@pytest.mark.interop
def test_rounding_as_torch_does(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = (rng.standard_normal(20000) * 10.0 ** rng.integers(-44, 38, 20000)).astype(np.float32)
    want = torch.from_numpy(x).to(torch.bfloat16).to(torch.float64).numpy()
    assert (rounded(x, "bfloat16") == want).all()


@pytest.mark.parametrize("dtype", FORMATS)
def test_merge_loss_by_exact_rationals(rng, dtype):
    """[increment-rounded] [increment-unchanged]: every entry by Fractions, nothing of the code reused."""
    W0 = rng.standard_normal((6, 5)).astype(np.float32)
    adapter = drawn(rng, 6, 5, 2, 2.0**-9, np.float32)
    adapter.p.B[3] = 0  # a row that no entry of changes
    errors, sizes, changing, unchanged = [], [], 0, 0
    for i in range(6):
        for j in range(5):
            delta = Fraction(adapter.scale) * sum(
                Fraction(float(adapter.p.B[i, t])) * Fraction(float(adapter.p.A[t, j])) for t in range(2)
            )
            base = Fraction(nearest(Fraction(float(W0[i, j])), dtype))
            merged = Fraction(nearest(base + delta, dtype))
            errors.append(abs(merged - base - delta))
            sizes.append(delta)
            changing += delta != 0
            unchanged += delta != 0 and merged == base
    loss = merge_loss(W0, adapter, dtype=dtype)
    assert (loss.changing, loss.unchanged, loss.overflowed) == (changing, unchanged, 0)
    assert 0 < unchanged < changing == 25
    assert loss.unchanged_share == unchanged / 25
    assert math.isclose(loss.largest_error, float(max(errors)), rel_tol=1e-12)
    norm = math.sqrt(sum(float(e) ** 2 for e in errors)) / math.sqrt(sum(float(s) ** 2 for s in sizes))
    assert math.isclose(loss.lost, norm, rel_tol=1e-12)


def test_an_entry_below_half_a_step_stays_and_one_above_moves():
    """[increment-unchanged]: around 1, bfloat16's steps are 2**-7 above and 2**-8 below."""
    e = np.eye(1)

    def unchanged(delta):
        return merge_loss(np.ones((1, 1)), LoraAdapter(LoraParams(e * delta, e), 1.0), dtype="bfloat16")[3]

    assert [unchanged(x) for x in (0.99 * 2.0**-8, 1.01 * 2.0**-8)] == [1, 0]
    assert [unchanged(-x) for x in (0.99 * 2.0**-9, 1.01 * 2.0**-9)] == [1, 0]


def test_blocks_of_rows_add_up(rng):
    """A weight of more entries than one block, against the whole at once."""
    d, k = 2 * BLOCK // 1000 + 7, 1000
    W0, adapter = rng.standard_normal((d, k)).astype(np.float32), drawn(rng, d, k, 2, 1e-3)
    loss = merge_loss(W0, adapter, dtype="float16")
    base, delta = W0.astype(np.float16).astype(float), formed(adapter)
    merged = (base + delta).astype(np.float16).astype(float)
    assert loss.unchanged == int((merged == base).sum())
    assert math.isclose(loss.largest_error, np.abs(merged - base - delta).max(), rel_tol=1e-9)
    assert math.isclose(
        loss.lost, np.linalg.norm(merged - base - delta) / np.linalg.norm(delta), rel_tol=1e-9
    )


def test_what_overflows_is_counted():
    W0 = np.array([[60000.0, 1.0], [70000.0, 2.0]])
    adapter = LoraAdapter(LoraParams(np.array([[1.0], [0.0]]), np.array([[8192.0, 1.0]])), 1.0)
    loss = merge_loss(W0, adapter, dtype="float16")
    assert (loss.overflowed, loss.largest_error, loss.lost) == (2, math.inf, math.inf)
    assert merge_loss(W0, adapter, dtype="bfloat16").overflowed == 0


def test_an_increment_of_zero_loses_nothing():
    loss = merge_loss(
        np.full((2, 2), 1 / 3),
        LoraAdapter(LoraParams(np.zeros((2, 1)), np.ones((1, 2))), 1.0),
        dtype="float16",
    )
    assert (loss.largest_error, loss.lost, loss.changing, loss.unchanged_share) == (0.0, 0.0, 0, 0.0)


# ---- what a user can get wrong -------------------------------------------------------------------------------


def test_bad_input(rng):
    good = drawn(rng, 4, 3, 2)
    broken = LoraAdapter(LoraParams(good.p.B * math.nan, good.p.A), 1.0)
    zero = LoraAdapter(LoraParams(good.p.B * 0, good.p.A), 1.0)
    W0 = np.ones((4, 3))
    for error, words, call in (
        (ConfigError, "LoraAdapter", lambda: thin_svd(good.p)),
        (NonFiniteError, "the B of adapter", lambda: thin_svd(broken)),
        (ShapeError, "different shapes", lambda: cosine(good, drawn(rng, 4, 4, 2))),
        (RankError, "other is zero", lambda: cosine(good, zero)),
        (RankError, "one is zero", lambda: cosine(zero, good)),
        (RankError, "exceeds 2", lambda: cut_to_rank(good, 3)),
        (ConfigError, "rank", lambda: cut_to_rank(good, 0)),
        (RankError, "kept = 3", lambda: numbers_saved(4, 3, rank=2, kept=3)),
        (ConfigError, "d must", lambda: chance_cosine(0, 3)),
        (ConfigError, "'float16'", lambda: merge_loss(W0, good, dtype="float61")),
        (ConfigError, "dtype", lambda: rounded(W0, "float32")),
        (DTypeError, "int64", lambda: rounded(np.arange(3), "float16")),
        (ShapeError, "do not fit", lambda: merge_loss(np.ones((5, 3)), good, dtype="float16")),
        (NonFiniteError, "W0", lambda: merge_loss(W0 * math.inf, good, dtype="float16")),
        (NonFiniteError, "W holds", lambda: frobenius(W0 * math.nan)),
        (
            OverflowInMergeError,
            "multiplying out",
            lambda: merge_loss(
                W0, LoraAdapter(LoraParams(good.p.B * 1e200, good.p.A * 1e200), 1.0), dtype="float16"
            ),
        ),
    ):
        with pytest.raises(error, match=words):
            call()
