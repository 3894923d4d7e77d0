"""Subspace similarity and amplification: known angles, LAPACK, invariances, random controls, the paper's figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, NonFiniteError, RankError, ShapeError
from lora_np.rank import svd
from lora_np.subspace import (
    Amplification,
    amplification,
    amplification_own,
    amplification_random,
    grassmann_distance,
    random_basis,
    similarity,
    similarity_grid,
)
from tests.naive import subspace as naive

U = 2.0**-53
CLOSE = 2**10 * U
"""A singular direction errs by about n u σ1 / gap: here n ≤ 20, σ1 / gap ≤ 10, and φ doubles it."""


def frame(rng, n, r):
    """r orthonormal columns, by LAPACK."""
    return np.linalg.qr(rng.normal(size=(n, r)))[0]


def with_directions(rng, V, side, other=9):
    """A matrix whose right (or left) singular vectors are the columns of V, in this order, with clear gaps."""
    r = V.shape[1]
    sigma = np.arange(r, 0, -1.0) + 1
    M = (frame(rng, other, r) * sigma) @ V.T
    return M if side == "right" else M.T


# ---- similarity against other roads ------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_spaces_of_coordinate_axes_share_the_axes_they_share(rng, side):
    """[subspace-phi]  Property 43: on axes, φ counts: |I ∩ J| / min(i, j)."""
    n, first, second = 9, [4, 0, 7, 2], [0, 5, 4, 8, 7]
    A1, A2 = (with_directions(rng, np.eye(n)[:, axes], side) for axes in (first, second))
    for i in range(1, 5):
        for j in range(1, 6):
            want = naive.phi_of_axes(first[:i], second[:j])
            assert abs(similarity(A1, A2, i, j, side=side) - want) <= CLOSE


@pytest.mark.parametrize("side", ["left", "right"])
def test_similarity_agrees_with_loops_over_lapack_directions(rng, side):
    """[subspace-phi]  Σ of squared inner products over all pairs, over min(i, j); the side decides which vectors."""
    A1, A2 = (with_directions(rng, frame(rng, 8, r), side) for r in (3, 5))
    bases = [np.linalg.svd(M) for M in (A1, A2)]
    first, second = (b.Vh if side == "right" else b.U.T for b in bases)
    for i in range(1, 4):
        for j in range(1, 6):
            want = naive.phi(first[:i].tolist(), second[:j].tolist())
            assert abs(similarity(A1, A2, i, j, side=side) - want) <= CLOSE


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, np.pi / 2])
def test_two_lines_at_an_angle_by_hand(angle):
    """[subspace-phi] [subspace-distance]  One direction each: φ = cos² θ and d = |sin θ|."""
    A1, A2 = np.array([[1.0, 0.0]]), np.array([[np.cos(angle), np.sin(angle)]])
    assert abs(similarity(A1, A2, 1, 1, side="right") - np.cos(angle) ** 2) <= 16 * U
    assert abs(grassmann_distance(A1, A2, 1, 1, side="right") - np.sin(angle)) <= 1e-7


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_grid_holds_every_pair(rng, side):
    """[subspace-phi]  Entry [i − 1, j − 1] is φ(i, j); times min(i, j) it never falls along either axis."""
    A1, A2 = (with_directions(rng, frame(rng, 9, r), side) for r in (4, 6))
    grid = similarity_grid(A1, A2, side=side)
    assert grid.shape == (4, 6)
    for i in range(1, 5):
        for j in range(1, 7):
            assert abs(grid[i - 1, j - 1] - similarity(A1, A2, i, j, side=side)) <= 16 * U
    shared = grid * np.minimum.outer(np.arange(1, 5), np.arange(1, 7))
    assert (np.diff(shared, axis=0) >= -CLOSE).all()
    assert (np.diff(shared, axis=1) >= -CLOSE).all()


def test_a_decomposition_may_stand_for_its_matrix(rng):
    """[subspace-phi]  It is taken as it is: the numbers agree."""
    A1, A2 = (with_directions(rng, frame(rng, 7, 3), "right") for _ in range(2))
    for call in (similarity, grassmann_distance):
        once = call(svd(A1), svd(A2), 2, 3, side="right")
        assert abs(once - call(A1, A2, 2, 3, side="right")) <= CLOSE


# ---- properties --------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    n=st.integers(1, 8),
    side=st.sampled_from(["left", "right"]),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_similarity_lies_in_the_unit_interval_and_does_not_care_for_the_order(seed, rows, n, side, dtype):
    """[subspace-phi]  Property 43: φ in [0, 1] with no rounding past the ends; φ(A, A, i, i) = 1; symmetric."""
    rng = np.random.default_rng(seed)
    A1, A2 = (rng.normal(size=(r, n)).astype(dtype) for r in rows)
    A1, A2 = (A1, A2) if side == "right" else (A1.T, A2.T)
    grid = similarity_grid(A1, A2, side=side)
    assert grid.dtype == dtype
    assert (grid >= 0).all()
    assert (grid <= 1).all()
    far = 2**10 * float(np.finfo(dtype).eps)
    assert abs(grid - similarity_grid(A2, A1, side=side).T).max() <= far
    assert abs(np.diag(similarity_grid(A1, A1, side=side)) - 1).max() <= far


@given(seed=st.integers(0, 2**32 - 1), side=st.sampled_from(["left", "right"]))
def test_similarity_knows_the_subspace_and_not_the_basis(seed, side):
    """[subspace-phi]  Property 43: signs, sizes, rotations of the other side, and of both together, leave it."""
    rng = np.random.default_rng(seed)
    A1, A2 = (with_directions(rng, frame(rng, 8, 3), side) for _ in range(2))
    Q, R = frame(rng, 9, 9), frame(rng, 8, 8)
    other = (lambda M: Q @ M) if side == "right" else (lambda M: M @ Q)
    both = (lambda M: M @ R) if side == "right" else (lambda M: R @ M)
    plain = similarity_grid(A1, A2, side=side)
    for same in (
        similarity_grid(-7.5 * A1, A2, side=side),
        similarity_grid(other(A1), A2, side=side),
        similarity_grid(both(A1), both(A2), side=side),
    ):
        assert abs(same - plain).max() <= 4 * CLOSE


def test_the_side_matters(rng):
    """[subspace-phi]  The same matrices are alike on one side and not on the other."""
    V = np.eye(6)[:, :2]
    A1 = np.eye(5)[:, :2] @ np.diag([3.0, 2.0]) @ V.T
    A2 = np.eye(5)[:, 3:] @ np.diag([3.0, 2.0]) @ V.T
    assert similarity(A1, A2, 2, 2, side="right") == pytest.approx(1, abs=CLOSE)
    assert similarity(A1, A2, 2, 2, side="left") == pytest.approx(0, abs=CLOSE)


# ---- distance ----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), i=st.integers(1, 4), j=st.integers(1, 4))
def test_similarity_is_one_minus_the_squared_distance_over_p(seed, i, j):
    """[subspace-distance]  Property 43, as corrected: φ = 1 − d²/p; the printed (1 − d²)/p is not φ for p > 1."""
    rng = np.random.default_rng(seed)
    A1, A2 = (with_directions(rng, frame(rng, 9, 4), "right") for _ in range(2))
    phi, p = similarity(A1, A2, i, j, side="right"), min(i, j)
    d = grassmann_distance(A1, A2, i, j, side="right")
    assert abs(phi - (1 - d**2 / p)) <= 4 * CLOSE
    if p > 1:
        assert abs(phi - (1 - d**2) / p) > 0.4, "p − 1 over p, at least a half"


def test_the_distance_runs_from_zero_to_the_root_of_p(rng):
    """[subspace-distance]  The same space: 0; orthogonal ones: √p."""
    A1, A2 = (with_directions(rng, np.eye(8)[:, axes], "right") for axes in ([0, 1, 2], [5, 6, 7]))
    assert grassmann_distance(A1, A1, 3, 3, side="right") <= 1e-6
    for p in (1, 2, 3):
        assert abs(grassmann_distance(A1, A2, p, 3, side="right") - np.sqrt(p)) <= CLOSE


# ---- amplification -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r", "delta_norm", "projected", "factor", "printed"),
    [(4, 6.91, 0.32, 21.59, 21.5), (64, 3.57, 1.90, 1.88, 2)],
)
def test_the_factors_of_the_papers_table_7(r, delta_norm, projected, factor, printed):
    """[subspace-amplification]  Property 45: 6.91 / 0.32 = 21.59, printed as 21.5; 3.57 / 1.90 = 1.88, "about 2"."""
    assert Amplification(delta_norm, projected).factor == pytest.approx(factor, abs=0.005)
    assert Amplification(delta_norm, projected).factor == pytest.approx(printed, abs=0.13)


def test_amplification_of_directions_that_the_weight_does_not_stress(rng):
    """[subspace-amplification]  Property 45: W has 8, 4, 2, 1 in four directions; ΔW has 3 and 6 in the last two.

    ‖ΔW‖ = √(9 + 36) = √45, ‖UᵀWV‖ = √(4 + 1) = √5: factor 3.  Built with LAPACK's frames, d ≠ k.
    """
    left, right = frame(rng, 9, 4), frame(rng, 7, 4)
    W = (left * [8.0, 4.0, 2.0, 1.0]) @ right.T
    delta_W = (left[:, 2:] * [3.0, 6.0]) @ right[:, 2:].T
    found = amplification(W, delta_W, 2)
    assert found.delta_norm == pytest.approx(np.sqrt(45), rel=CLOSE)
    assert found.projected_norm == pytest.approx(np.sqrt(5), rel=CLOSE)
    assert found.factor == pytest.approx(3, rel=CLOSE)
    assert amplification(W, delta_W, 1).projected_norm == pytest.approx(1, rel=CLOSE)


def test_the_weights_own_directions_hold_the_most(rng):
    """[subspace-amplification]  Property 45: √(σ1² + … + σr²) by LAPACK, and no other directions give more."""
    W = with_directions(rng, frame(rng, 7, 5), "right")
    delta_W = rng.normal(size=(9, 3)) @ rng.normal(size=(3, 7))
    sigma = np.linalg.svd(W, compute_uv=False)
    for r in (1, 2, 3):
        own = amplification_own(W, delta_W, r)
        assert own.projected_norm == pytest.approx(np.sqrt((sigma[:r] ** 2).sum()), rel=CLOSE)
        assert amplification(W, delta_W, r).projected_norm <= own.projected_norm
        assert amplification_random(rng, W, delta_W, r).projected_norm <= own.projected_norm
        assert own.delta_norm == pytest.approx(np.linalg.norm(delta_W), rel=CLOSE)


def test_an_increment_where_the_weight_has_nothing_amplifies_without_bound():
    """[subspace-amplification]  The factor is infinite, not an error."""
    W, delta_W = np.zeros((3, 3)), np.ones((3, 3))
    assert amplification(W, delta_W, 1).factor == np.inf


@pytest.mark.parametrize("factor", [2.0**-600, 2.0**600])
def test_norms_of_tiny_and_huge_matrices(rng, factor):
    """[subspace-amplification]  Squares would vanish or overflow: the factor is that of plain sizes, bit for bit."""
    W, delta_W = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    assert amplification(factor * W, factor * delta_W, 2).factor == amplification(W, delta_W, 2).factor


def test_a_low_rank_increment_of_a_large_weight_is_decomposed_by_its_rank(rng):
    """[subspace-amplification]  A (200, 150) increment of rank 3, against LAPACK."""
    W = rng.normal(size=(200, 150))
    delta_W = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 150))
    left, _, right = np.linalg.svd(delta_W)
    want = np.linalg.norm(left[:, :3].T @ W @ right[:3].T)
    assert amplification(W, delta_W, 3).projected_norm == pytest.approx(want, rel=1e-12)
    with pytest.raises(RankError, match="exceeds 3, the rank of delta_W"):
        amplification(W, delta_W, 4)


# ---- random controls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "r"), [(1, 1), (6, 6), (50, 3)])
def test_a_random_basis_is_orthonormal(rng, n, r):
    """[subspace-random]  UᵀU = I to rounding."""
    basis = random_basis(rng, n, r)
    assert basis.shape == (n, r)
    assert abs(basis.T @ basis - np.eye(r)).max() <= 64 * U


def test_chance_gives_a_similarity_of_the_larger_dimension_over_n():
    """[subspace-random]  E φ = max(i, j) / n for every i and j, within five standard errors."""
    rng, n, r, draws = np.random.default_rng(43), 12, 4, 100
    grids = np.array(
        [
            similarity_grid(rng.normal(size=(r, n)), rng.normal(size=(r, n)), side="right")
            for _ in range(draws)
        ]
    )
    want = np.maximum.outer(np.arange(1, r + 1), np.arange(1, r + 1)) / n
    assert (abs(grids.mean(axis=0) - want) <= 5 * grids.std(axis=0) / np.sqrt(draws)).all()


def test_chance_gives_r_over_the_root_of_dk_of_the_weight():
    """[subspace-random]  E ‖UᵀWV‖² = r² ‖W‖² / (d k), within five standard errors."""
    rng, draws, r = np.random.default_rng(7), 150, 2
    W, delta_W = rng.normal(size=(8, 6)), np.ones((8, 6))
    squares = [amplification_random(rng, W, delta_W, r).projected_norm ** 2 for _ in range(draws)]
    want = r**2 * np.linalg.norm(W) ** 2 / 48
    assert abs(np.mean(squares) - want) <= 5 * np.std(squares) / np.sqrt(draws)


@pytest.mark.parametrize(("r", "printed"), [(4, 0.02), (64, 0.33)])
def test_the_papers_random_column_is_what_chance_gives(r, printed):
    """[subspace-random]  Table 7: ‖Wq‖ = 61.95 and d = k = 12288, so r 61.95 / 12288: 0.0202 and 0.323."""
    assert r * 61.95 / 12288 == pytest.approx(printed, abs=0.0075)


# ---- libraries and bad input -------------------------------------------------------------------------------


def test_every_library_gives_the_same_numbers(library, rng):
    """[subspace-phi] [subspace-distance] [subspace-amplification]  Grids come back in the library that came in."""
    A1, A2 = (with_directions(rng, frame(rng, 7, 3), "right", other=5) for _ in range(2))
    theirs = library.asarray(A1), library.asarray(A2)
    grid = similarity_grid(*theirs, side="right")
    assert type(grid) is type(theirs[0])
    assert abs(library.to_numpy(grid) - similarity_grid(A1, A2, side="right")).max() <= CLOSE
    for call in (
        lambda M1, M2: similarity(M1, M2, 2, 3, side="left"),
        lambda M1, M2: grassmann_distance(M1, M2, 2, 3, side="left"),
        lambda M1, M2: amplification(M1, M2, 2).factor,
        lambda M1, M2: amplification_own(M1, M2, 2).factor,
        lambda M1, M2: amplification_random(np.random.default_rng(1), M1, M2, 2).factor,
    ):
        got = call(*theirs)
        assert isinstance(got, float)
        assert got == pytest.approx(call(A1, A2), rel=CLOSE)


@pytest.mark.parametrize("call", [similarity, grassmann_distance])
@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"i": 0}, ConfigError, ["i must be a positive int", "0"]),
        ({"j": 2.0}, ConfigError, ["j must be", "float"]),
        ({"i": 4}, RankError, ["i = 4 exceeds 3, the rank of A1", "1 to 3"]),
        ({"j": 9}, RankError, ["j = 9 exceeds 3, the rank of A2"]),
        ({"A1": np.zeros((3, 7))}, RankError, ["A1 is zero"]),
        ({"A2": np.zeros((0, 7))}, RankError, ["A2 is zero"]),
        ({"A2": np.ones((3, 7))}, RankError, ["j = 2 exceeds 1, the rank of A2"]),
        ({"side": "top"}, ConfigError, ["side", "'left'", "'right'"]),
        ({"A2": np.ones((3, 6))}, ShapeError, ["columns (inputs)", "7 and 6", "other side"]),
        ({"A1": np.ones(7)}, ShapeError, ["A1", "1 axes"]),
        ({"A1": np.full((3, 7), np.nan)}, NonFiniteError, ["A1", "21 non-finite"]),
        ({"A1": np.ones((3, 7), dtype=np.float32)}, DTypeError, ["float32", "float64", "promote"]),
        ({"A1": np.ones((3, 7), dtype=int)}, DTypeError, ["A1", "int64"]),
    ],
)
def test_bad_arguments_are_named(rng, call, changed, error, words):
    A1, A2 = (with_directions(rng, frame(rng, 7, 3), "right", other=4) for _ in range(2))
    arguments = {"A1": A1, "A2": A2, "i": 2, "j": 2, "side": "right"} | changed
    with pytest.raises(error) as caught:
        call(**arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_there_is_no_default_side(rng):
    with pytest.raises(TypeError, match="side"):
        similarity(np.eye(2), np.eye(2), 1, 1)


def test_bad_arguments_of_amplification_are_named(rng):
    W = np.ones((5, 4))
    cases = [
        (lambda: amplification(W, np.zeros((5, 4)), 1), RankError, "delta_W is zero"),
        (lambda: amplification_own(np.zeros((5, 4)), W, 1), RankError, "W is zero"),
        (lambda: amplification(W, W, 2), RankError, "r = 2 exceeds 1, the rank of delta_W"),
        (lambda: amplification_random(rng, W, W, 5), RankError, "r = 5 .* n = 4"),
        (lambda: amplification_random(0, W, W, 1), ConfigError, "rng"),
        (lambda: amplification(W, W.T, 1), ShapeError, "delta_W has shape"),
        (lambda: amplification(W, W, 0), ConfigError, "r must be"),
        (lambda: amplification(np.full((5, 4), np.inf), W, 1), NonFiniteError, "W holds 20"),
        (lambda: amplification(W, W.astype(np.float32), 1), DTypeError, "float32"),
        (lambda: random_basis(rng, 0, 1), ConfigError, "n must be"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words):
            call()


@given(seed=st.integers(0, 2**32 - 1), r=st.integers(1, 4))
def test_phi_is_blind_to_the_singular_values(seed, r):
    """[subspace-phi]  Only the directions count, and their order: σ may change as long as it falls."""
    rng = np.random.default_rng(seed)
    V, other = frame(rng, 8, r), with_directions(rng, frame(rng, 8, 4), "right")
    left, sigma = frame(rng, 9, r), np.cumsum(rng.uniform(0.5, 3, size=r))[::-1]
    changed = (left * sigma) @ V.T
    plain = with_directions(rng, V, "right")
    gap = similarity_grid(changed, other, side="right") - similarity_grid(plain, other, side="right")
    assert abs(gap).max() <= 4 * CLOSE
