"""What a decomposition must satisfy, with bounds in units of u; matrices with known troubles.

Each of the q = min(m, n) reflections and of the some 10 q rotations that touch a vector errs by a few u relative to
its length.  Errors add at worst, so K = 10 (m + n) + 50 roundings cover them with room (what is measured is below
K / 10), while a dropped factor, a missed pair or one float32 rounding is beyond K by orders.
"""

import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest

from lora_np.conformance.bounds import unit_roundoff
from lora_np.rank.kernels import REFERENCE
from tests.strategies import LAYOUTS, fill, lay_out

ROADS = ["reference", "numba", "numba-python"]
"""The NumPy reference, the compiled kernels, and the compiled kernels' own Python source."""


def kernels_of(road, monkeypatch):
    """The three kernels of one road; skips where Numba is missing."""
    if road == "reference":
        return REFERENCE
    module = pytest.importorskip("lora_np.backends.numba_rank", reason="Numba is not installed")
    if road == "numba-python":
        for name, function in vars(module).copy().items():
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)
    return module.KERNELS


def roundings(M):
    """K for a matrix of this shape."""
    return 10 * (M.shape[0] + M.shape[1]) + 50


def at_unit_size(*arrays):
    """Divide by the power of two that brings the first array's largest entry to [1/2, 1), in long double."""
    top = float(np.abs(arrays[0]).max(initial=0))
    return [np.ldexp(np.asarray(x, dtype=np.longdouble), -math.frexp(top)[1]) for x in arrays]


def assert_orthonormal_columns(Q, K, u):
    """QᵀQ = I within K u, entry by entry."""
    Q = np.asarray(Q, dtype=np.longdouble)
    assert np.abs(Q.T @ Q - np.eye(Q.shape[1])).max(initial=0) <= K * u


def assert_is_svd(M, got):
    """Shapes, types, order, orthonormality, reconstruction, and singular values against LAPACK's."""
    U, sigma, Vt = (np.asarray(x) for x in got)
    (m, n), q, u, K = M.shape, min(M.shape), unit_roundoff(M.dtype), roundings(M)
    assert (U.shape, sigma.shape, Vt.shape) == ((m, q), (q,), (q, n))
    assert {U.dtype, sigma.dtype, Vt.dtype} == {M.dtype}
    assert (sigma >= 0).all()
    assert (sigma[1:] <= sigma[:-1]).all()
    assert_orthonormal_columns(U, K, u)
    assert_orthonormal_columns(Vt.T, K, u)
    floor = 4 * math.ulp(0.0) if M.dtype == np.float64 else 4 * float(np.finfo(M.dtype).smallest_subnormal)
    unit, strengths, floor = at_unit_size(M, sigma, floor)
    size = np.linalg.norm(unit.astype(float))
    gap = np.abs(unit - (U.astype(np.longdouble) * strengths) @ Vt.astype(np.longdouble))
    assert gap.max(initial=0) <= K * (u * size + floor)
    lapack = np.linalg.svd(unit.astype(float), compute_uv=False)  # a second algorithm, on the same numbers
    assert np.abs(strengths - lapack).max(initial=0) <= K * (u * size + floor)


DTYPES = st.sampled_from([np.float64, np.float64, np.float32])


@st.composite
def matrices(draw, dtypes=DTYPES):
    """M (m, n): wide, tall, empty, of low rank, with repeated singular values or equal rows, of any size and layout."""
    sizes = st.sampled_from([0, 1, 1, 2, 3, 5, 7, 8, 12, 13])
    m, n, dtype = draw(sizes), draw(sizes), draw(dtypes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["plain", "plain", "low", "repeated", "twins", "integers", "zero", "wide"]))
    M = fill(
        rng,
        (m, n),
        {"plain": "normal", "low": "zero", "repeated": "normal", "twins": "normal"}.get(kind, kind),
    )
    if kind == "low":
        r = draw(st.integers(0, 3))
        M = rng.normal(size=(m, r)) @ rng.normal(size=(r, n))
    if kind == "repeated" and m and n:
        U, _, Vt = np.linalg.svd(M, full_matrices=False)
        M = (U * rng.integers(0, 3, size=min(m, n))) @ Vt
    if kind == "twins" and m and n:
        M = M[rng.integers(0, m, size=m)][:, rng.integers(0, n, size=n)]
    extreme = {np.float64: [1e-310, 1e-300, 1e300], np.float32: [1e-40, 1e-30, 1e30]}[dtype]
    return lay_out((M * draw(st.sampled_from([1.0, 1.0, *extreme]))).astype(dtype), draw(LAYOUTS))


def hilbert(n):
    """The matrix 1 / (i + j + 1): the classical badly conditioned one."""
    return 1.0 / (np.arange(n)[:, None] + np.arange(n)[None, :] + 1)


def graded(n, decades):
    """A well conditioned matrix of integers whose columns spread over so many decades, and its condition number."""
    rng = np.random.default_rng(7)
    plain = rng.integers(-9, 10, size=(n, n)).astype(float)
    sizes = rng.permutation(2.0 ** -np.linspace(0, decades * math.log2(10), n).round())
    return plain * sizes, float(np.linalg.cond(plain))


def exact(M):
    """Nested lists of Fractions, equal to the floats."""
    return [[Fraction(float(v)) for v in row] for row in M]
