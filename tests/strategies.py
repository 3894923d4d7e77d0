"""Hypothesis strategies named by shape, with the awkward shapes, layouts, types and magnitudes.

`layers()` draws X (N, k), W0 (d, k), B (d, r), A (r, k), gY (N, d), bias (d,) and a scale.  Sizes run over 0, 1,
primes and r > min(d, k); layouts over C, Fortran, strided, negative stride and read-only; element types over double,
single and half; values over normal numbers, small integers (on which float arithmetic is exact), tiny, huge,
subnormal ones, and zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from lora_np import LoraParams

SIZES = st.sampled_from([1, 1, 2, 3, 5, 7, 11, 12])
SIZES_WITH_ZERO = st.one_of(SIZES, st.just(0))
LAYOUTS = st.sampled_from(["C", "F", "strided", "reversed", "readonly"])
MAGNITUDES = st.sampled_from(["normal", "normal", "integers", "tiny", "huge", "wide", "zero"])
SCALES = st.sampled_from([1.0, 0.25, 2.0, 1 / 3, -0.7, 16 / 7])
DTYPES = st.sampled_from([np.float64, np.float64, np.float32])
ALL_DTYPES = st.sampled_from([np.float64, np.float32, np.float16])
LAYER_MAGNITUDES = {  # what fits an element type, so that products of three numbers stay finite
    np.float64: [MAGNITUDES, st.sampled_from(["normal", "1e30", "1e-30"])],
    np.float32: [MAGNITUDES],
    np.float16: [st.sampled_from(["normal", "integers", "zero"])],
}
NEAR_UNDERFLOW = st.sampled_from(["normal", "subnormal", "zero"])


class Layer(NamedTuple):
    """All arrays of one LoRA layer and its batch; `roundings` counts K operations, and how far an underflow grows."""

    X: np.ndarray
    W0: np.ndarray
    p: LoraParams
    gY: np.ndarray
    bias: np.ndarray
    scale: float

    def roundings(self, K: int) -> float:
        """K, times the largest sum that a number lost to underflow can be multiplied with afterwards."""
        largest = max((float(abs(x).max()) for x in (self.X, self.gY, *self.p) if x.size), default=0.0)
        width = max(*self.W0.shape, *self.p.A.shape, len(self.X))
        return K * (1 + width * (1 + abs(self.scale)) * (1 + largest))


def lay_out(array: np.ndarray, layout: str) -> np.ndarray:
    """Return equal numbers in another memory layout."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "strided":
        wide = np.full(tuple(2 * n for n in array.shape), np.nan, dtype=array.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
        view[...] = array
        return view
    if layout == "reversed":
        back = tuple(slice(None, None, -1) for _ in array.shape)
        return np.ascontiguousarray(array[back])[back]
    copy = np.array(array)
    copy.flags.writeable = layout != "readonly"
    return copy


def fill(rng: np.random.Generator, shape: tuple[int, ...], magnitude: str, dtype=np.float64) -> np.ndarray:
    """Draw float64 numbers of one magnitude; "subnormal" ones straddle the smallest normal number of `dtype`."""
    if magnitude == "integers":
        return rng.integers(-4, 5, size=shape).astype(float)
    if magnitude == "zero":
        return np.zeros(shape)
    normal = rng.normal(size=shape)
    if magnitude == "wide":
        return normal * 10.0 ** rng.uniform(-6, 6, size=shape)
    if magnitude == "subnormal":
        return normal * float(np.finfo(dtype).smallest_normal)
    return normal * {"normal": 1.0, "tiny": 1e-9, "huge": 1e9, "1e30": 1e30, "1e-30": 1e-30}[magnitude]


@st.composite
def arrays(draw, *shape: int, dtype=np.float64, magnitudes=MAGNITUDES) -> np.ndarray:
    """One array of the given shape, in a drawn layout and magnitude."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return lay_out(fill(rng, shape, draw(magnitudes), dtype).astype(dtype), draw(LAYOUTS))


@st.composite
def matrices_mn(draw, sizes=SIZES_WITH_ZERO, dtype=np.float64, magnitudes=MAGNITUDES) -> np.ndarray:
    """A matrix M (m, n)."""
    return draw(arrays(draw(sizes), draw(sizes), dtype=dtype, magnitudes=magnitudes))


@st.composite
def layers(draw, dtypes=DTYPES, magnitudes=None, sizes=SIZES, rows=SIZES_WITH_ZERO) -> Layer:
    """A whole layer: X (N, k), W0 (d, k), B (d, r), A (r, k), gY (N, d), bias (d,), scale."""
    N, d, k, r = draw(rows), draw(sizes), draw(sizes), draw(sizes)
    dtype = draw(dtypes)
    magnitudes = (
        draw(st.sampled_from([*LAYER_MAGNITUDES[dtype], NEAR_UNDERFLOW]))
        if magnitudes is None
        else magnitudes
    )

    def array(*shape: int) -> np.ndarray:
        return draw(arrays(*shape, dtype=dtype, magnitudes=magnitudes))

    return Layer(
        array(N, k), array(d, k), LoraParams(array(d, r), array(r, k)), array(N, d), array(d), draw(SCALES)
    )
