"""Which directions an increment uses: subspace similarity, and how much it amplifies.  Floor 2.

The measures of section 7 of the LoRA paper, from this package's own singular value decomposition.  A similarity
needs its side said: right singular vectors live in the input space (use them for A), left ones in the output space
(use them for B).  Where two singular values around the cut are equal the subspace is not unique, and neither is
the answer; nothing here warns of that.  An `SVD` may be given in the place of a matrix, to decompose it once.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import RankError, ShapeError
from lora_np.rank import SVD, rank_factorization, svd

SIDES = ("left", "right")


# ---- similarity of two subspaces ---------------------------------------------------------------------------


def similarity(A1: Array | SVD, A2: Array | SVD, i: int, j: int, *, side: str) -> float:
    """Compare the top i singular directions of one matrix with the top j of another.  [subspace-phi]

    φ = ‖U1ᵢᵀ U2ⱼ‖²_F / min(i, j), from 0 (orthogonal) to 1 (one contains the other).  `side` is ``"right"`` or
    ``"left"``.  Two random subspaces of n dimensions have φ = max(i, j) / n on average.  Raises `ShapeError`,
    `DTypeError`, `ConfigError`, `NonFiniteError`, and `RankError` for i or j beyond the matrix's rank.

    >>> A1, A2 = np.diag([3.0, 2.0, 1.0]), np.diag([1.0, 2.0, 3.0])
    >>> round(similarity(A1, A2, 2, 2, side="right"), 12), round(similarity(A1, A2, 2, 3, side="right"), 12)
    (0.5, 1.0)
    """
    overlap = _overlaps(A1, A2, i, j, side=side)
    xp = array_namespace(overlap)
    return min(float(xp.sum(overlap * overlap)) / min(i, j), 1.0)


def similarity_grid(A1: Array | SVD, A2: Array | SVD, *, side: str) -> Float[Array, "p q"]:
    """Compare the top i directions with the top j, for all i and j at once.  [subspace-phi]

    Entry [i − 1, j − 1] is `similarity(A1, A2, i, j)`, for i and j up to the ranks.  One product U1ᵀ U2 serves all
    of them: its squares are summed cumulatively along both axes.  Raises what `similarity` raises.

    >>> similarity_grid(np.diag([3.0, 2.0]), np.diag([2.0, 3.0]), side="left").round(12)
    array([[0., 1.],
           [1., 1.]])
    """
    overlap = _overlaps(A1, A2, None, None, side=side)
    xp, (p, q) = array_namespace(overlap), overlap.shape
    summed = xp.cumulative_sum(xp.cumulative_sum(overlap * overlap, axis=0), axis=1)
    rows, columns = (xp.astype(xp.arange(1, n + 1), overlap.dtype) for n in (p, q))
    smaller = xp.minimum(rows[:, None], columns[None, :])
    return xp.minimum(summed / smaller, xp.ones_like(summed))


def grassmann_distance(A1: Array | SVD, A2: Array | SVD, i: int, j: int, *, side: str) -> float:
    """Measure how far the top i directions of one matrix are from the top j of another.  [subspace-distance]

    d = √(Σ (1 − σ²)) = √(p − Σ σ²) with p = min(i, j) and σ the singular values of U1ᵢᵀ U2ⱼ, the cosines of the
    principal angles.  So φ = 1 − d² / p.  Raises what `similarity` raises.

    >>> A1, A2 = np.diag([3.0, 2.0, 1.0]), np.diag([1.0, 2.0, 3.0])
    >>> round(grassmann_distance(A1, A2, 1, 1, side="right"), 12)
    1.0
    """
    cosines = svd(_overlaps(A1, A2, i, j, side=side)).sigma
    xp = array_namespace(cosines)
    sines = xp.maximum((1 - cosines) * (1 + cosines), xp.zeros_like(cosines))
    return math.sqrt(float(xp.sum(sines)))


# ---- amplification -----------------------------------------------------------------------------------------


class Amplification(NamedTuple):
    """How strong an increment is, and how strong the weight is in the same directions.  [subspace-amplification]"""

    delta_norm: float
    """‖ΔW‖_F"""
    projected_norm: float
    """‖Uᵀ W V‖_F"""

    @property
    def factor(self) -> float:
        """‖ΔW‖_F / ‖Uᵀ W V‖_F; infinite where the weight has nothing in these directions."""
        return self.delta_norm / self.projected_norm if self.projected_norm else math.inf


def amplification(W: Float[Array, "d k"], delta_W: Float[Array, "d k"], r: int) -> Amplification:
    """Say by how much the increment amplifies directions that the weight has.  [subspace-amplification]

    ‖ΔW‖_F / ‖Uᵀ W V‖_F with U, V the top r left and right singular vectors of ΔW.  A large factor: ΔW strengthens
    what W has, but W does not stress.  Raises `ShapeError`, `DTypeError`, `ConfigError`, `NonFiniteError`, and
    `RankError` for r beyond the rank of ΔW.

    >>> round(amplification(np.diag([4.0, 0.5]), np.diag([0.0, 3.0]), 1).factor, 12)
    6.0
    """
    _require_pair(W, delta_W)
    U, V = _directions("delta_W", _decompose(delta_W), r)
    return Amplification(_norm(delta_W), _norm(U.T @ W @ V))


def amplification_own(W: Float[Array, "d k"], delta_W: Float[Array, "d k"], r: int) -> Amplification:
    """Repeat the measurement in the weight's own top r directions, a control.  [subspace-amplification]

    U, V are of W itself, so ‖Uᵀ W V‖_F = √(σ1² + … + σr²), the most that r directions can give.  Raises what
    `amplification` raises, with the rank of W.

    >>> round(amplification_own(np.diag([4.0, 0.5]), np.diag([0.0, 3.0]), 1).factor, 12)
    0.75
    """
    _require_pair(W, delta_W)
    U, V = _directions("W", _decompose(W), r)
    return Amplification(_norm(delta_W), _norm(U.T @ W @ V))


def amplification_random(
    rng: np.random.Generator, W: Float[Array, "d k"], delta_W: Float[Array, "d k"], r: int
) -> Amplification:
    """Repeat the measurement in r random directions, the control of the paper.  [subspace-random]

    U, V from `random_basis`: ‖Uᵀ W V‖_F is r ‖W‖_F / √(d k) in the mean of squares.  Raises what `amplification`
    raises, with min(d, k) for the rank.

    >>> W, delta_W = np.ones((6, 4)), np.full((6, 4), 2.0)
    >>> round(amplification_random(np.random.default_rng(0), W, delta_W, 4).delta_norm, 12)
    9.797958971133
    """
    _require_pair(W, delta_W)
    xp = array_namespace(W)
    U, V = (xp.asarray(random_basis(rng, n, r), dtype=W.dtype) for n in W.shape)
    return Amplification(_norm(delta_W), _norm(U.T @ W @ V))


def random_basis(rng: np.random.Generator, n: int, r: int) -> Float[Array, "n r"]:
    """Draw r orthonormal columns, all directions of n-dimensional space alike.  [subspace-random]

    The left singular vectors of a Gaussian matrix.  Raises `ConfigError`, and `RankError` for r > n.

    >>> U = random_basis(np.random.default_rng(0), 5, 2)
    >>> bool(abs(U.T @ U - np.eye(2)).max() < 1e-15)
    True
    """
    checks.require_rng(rng)
    checks.require_int("n", n, minimum=1)
    checks.require_int("r", r, minimum=1)
    if r > n:
        raise RankError(
            f"r = {r} orthonormal columns do not fit into n = {n} dimensions", fix=f"choose r <= {n}"
        )
    return svd(rng.standard_normal((n, r))).U


# ---- directions --------------------------------------------------------------------------------------------


def _overlaps(A1: Any, A2: Any, i: int | None, j: int | None, *, side: str) -> Float[Array, "i j"]:
    """U1ᵢᵀ U2ⱼ: the cosines between the singular directions of both matrices; None means all."""
    checks.require_one_of("side", side, SIDES)
    first, second = (
        M if isinstance(M, SVD) else _decompose(_require_matrix(n, M)) for n, M in (("A1", A1), ("A2", A2))
    )
    checks.require_same_dtype(A1=first.U, A2=second.U)
    U1, U2 = (found.Vt.T if side == "right" else found.U for found in (first, second))
    if U1.shape[0] != U2.shape[0]:
        axis = "columns (inputs)" if side == "right" else "rows (outputs)"
        raise ShapeError(
            f"A1 and A2 differ in {axis}: {U1.shape[0]} and {U2.shape[0]}",
            fix=f"side={side!r} compares their {axis}; is the other side meant?",
        )
    i, j = (_count(*case) for case in (("i", i, "A1", first), ("j", j, "A2", second)))
    return U1[:, :i].T @ U2[:, :j]  # (i, j)


def _decompose(M: Float[Array, "m n"]) -> SVD:
    """Decompose M = Q C by QR and then C alone: where the rank is low, the rotations work on few rows.

    subtle: what lies below the rank is rounding noise, and rotating noise is most of the work on a large matrix.
    """
    Q, C = rank_factorization(M, "qr")
    small = svd(C)
    return SVD(Q @ small.U, small.sigma, small.Vt)


def _directions(name: str, found: SVD, r: int) -> tuple[Float[Array, "d r"], Float[Array, "k r"]]:
    """Take the top r left and right singular vectors."""
    r = _count("r", r, name, found)
    return found.U[:, :r], found.Vt[:r, :].T


def _count(letter: str, count: int | None, name: str, found: SVD) -> int:
    """How many directions to take, by default all; raise beyond the rank: what lies there is arbitrary."""
    rank = _rank(found)
    if rank == 0:
        raise RankError(
            f"{name} is zero: it has no directions", fix="train it first, or use the other factor"
        )
    if count is None:
        return rank
    checks.require_int(letter, count, minimum=1)
    if count > rank:
        raise RankError(
            f"{letter} = {count} exceeds {rank}, the rank of {name}: directions beyond it are arbitrary",
            fix=f"choose {letter} from 1 to {rank}",
        )
    return int(count)


def _rank(found: SVD) -> int:
    """Count the singular values above max(m, n) ε sigma_1."""
    if not found.sigma.shape[0]:
        return 0
    xp, size = array_namespace(found.sigma), max(found.U.shape[0], found.Vt.shape[1])
    cut = size * float(xp.finfo(found.sigma.dtype).eps) * float(found.sigma[0])
    return int(xp.sum(xp.astype(found.sigma > cut, xp.int64)))


def _norm(M: Float[Array, "m n"]) -> float:
    """‖M‖_F, with M brought to unit size so that its squares neither overflow nor vanish."""
    xp = array_namespace(M)
    top = float(xp.max(xp.abs(M))) if math.prod(M.shape) else 0.0
    return top * math.sqrt(float(xp.sum((M / top) ** 2))) if top else 0.0


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_matrix(name: str, M: Any) -> Array:
    """Return M; raise unless it is a finite matrix."""
    checks.require_ndim(name, M, 2, "m, n")
    checks.require_finite(name, M)
    return M


def _require_pair(W: Array, delta_W: Array) -> None:
    """Raise unless both are finite matrices of one shape and element type."""
    _require_matrix("W", W)
    _require_matrix("delta_W", delta_W)
    if tuple(W.shape) != tuple(delta_W.shape):
        raise ShapeError(
            f"delta_W has shape {tuple(delta_W.shape)}, expected {tuple(W.shape)}, the shape of W"
        )
    checks.require_same_dtype(W=W, delta_W=delta_W)
