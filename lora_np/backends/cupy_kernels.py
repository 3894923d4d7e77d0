"""Fused kernels for the GPU: the rank-r update, Adam, and importance by rows.  Floor 3.

Sources of CUDA C, compiled by CuPy when they are first used and cached by it on disk.  Each does in one pass what the
reference does in several; none checks its arguments, `cupy_backend` does.
"""

import functools
from typing import Any

import cupy

add_low_rank = cupy.ElementwiseKernel(
    "raw T Z, raw T B, T s, int64 d, int64 r",
    "T y",
    """
    T sum = 0;
    for (long long q = 0; q < r; ++q) {
        sum += Z[(i / d) * r + q] * B[(i % d) * r + q];
    }
    y += s * sum;
    """,
    "lora_np_add_low_rank",
)
"""y += s Σ_q Z_nq B_iq at every place (n, i) of Y; Z and B contiguous."""

adam = cupy.ElementwiseKernel(
    "T p, T g, T m, T v, T rate, T kept, T beta1, T beta2, T rest1, T rest2, T bias1, T bias2, T eps",
    "T p1, T m1, T v1",
    """
    m1 = beta1 * m + rest1 * g;
    v1 = beta2 * v + rest2 * (g * g);
    p1 = kept * p - rate * ((m1 / bias1) / (sqrt(v1 / bias2) + eps));
    """,
    "lora_np_adam",
)
"""One step of Adam, number by number, into new arrays."""

dots = cupy.ReductionKernel(
    "T g, T value, T bias", "T y", "g * (value - bias)", "a + b", "y = a", "0", "lora_np_dots"
)
"""Σ_n g_ni (value_ni − bias_i), with axis=0."""

_ROW_SUMS = """
extern "C" __global__ void row_sums(
    const REAL* W0, const REAL* B, const REAL* A, const REAL* U, const REAL* V, REAL* sums,
    long long k, long long r, long long m, int square)
{
    __shared__ REAL part[THREADS];
    const long long row = blockIdx.x;
    REAL total = 0;
    for (long long j = threadIdx.x; j < k; j += THREADS) {
        REAL w = W0[row * k + j], g = 0;
        for (long long q = 0; q < r; ++q) w += B[row * r + q] * A[q * k + j];
        for (long long q = 0; q < m; ++q) g += U[row * m + q] * V[q * k + j];
        const REAL term = g * w;
        total += square ? term * term : (term < 0 ? -term : term);
    }
    part[threadIdx.x] = total;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) sums[row] = part[0];
}
"""
THREADS = 256


@functools.cache
def _row_sums(real: str) -> Any:
    """Compile the row sums for one element type."""
    return cupy.RawKernel(_ROW_SUMS.replace("REAL", real).replace("THREADS", str(THREADS)), "row_sums")


def row_sums(W0: Any, B: Any, A: Any, U: Any, V: Any, *, square: bool) -> Any:
    """Sum (U V ∘ (W0 + B A))², or its absolute value, over each row; one block of threads for a row."""
    d, k = W0.shape
    sums = cupy.empty(d, dtype=W0.dtype)
    arrays = [cupy.ascontiguousarray(x) for x in (W0, B, A, U, V)]
    real = {"float32": "float", "float64": "double"}[str(W0.dtype)]
    sizes = tuple(cupy.int64(n) for n in (k, B.shape[1], U.shape[1]))
    if d:
        _row_sums(real)((d,), (THREADS,), (*arrays, sums, *sizes, cupy.int32(square)))
    return sums
