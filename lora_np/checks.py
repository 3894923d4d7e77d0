"""Checks of arguments: the one place that decides whether an argument will do.  Floor 0.

Each check returns nothing and raises one of our errors, naming the argument, what came and what was expected.
They read shapes, types and Python numbers only, so they cost microseconds and run under autograd's boxes;
`require_finite` alone reads the data, and is called where a NaN would be stored or decide something.  They stand in
one file, a few lines over the usual size, so that there is one place to look.
"""

import difflib
import functools
import math
import numbers
import warnings
from collections.abc import Iterable
from typing import Any

from lora_np._typing import Array
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    RankWarning,
    ShapeError,
)

_FLOATS = ("float16", "bfloat16", "float32", "float64", "longdouble", "float128")


def dtype_name(x: Array) -> str:
    """Name the element type of an array of any library, e.g. ``"float32"``."""
    return _name(x.dtype)


@functools.lru_cache(maxsize=64, typed=True)  # typed: dtypes of two libraries must not be compared
def _name(dtype: Any) -> str:
    """Name an element type; remembered, because NumPy spells it out anew each time, at the cost of a small product."""
    return str(dtype).rpartition(".")[2]


# ---- arrays ------------------------------------------------------------------------------------------------


def require_array(name: str, x: Any) -> None:
    """Raise unless `x` is an array of real floating numbers."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        ragged = isinstance(x, (list, tuple)) and _is_ragged(x)
        found = "a ragged list (rows of different lengths)" if ragged else f"{type(x).__name__}"
        error = ShapeError if ragged else DTypeError
        raise error(
            f"{name} must be an array of floats, got {found}",
            fix="make every row equally long" if ragged else f"pass np.asarray({name}, dtype=float)",
        )
    dtype = dtype_name(x)
    if dtype not in _FLOATS:
        raise DTypeError(
            f"{name} has dtype {dtype}, expected a real floating type (float32 or float64)",
            fix=f"cast to float first: {name}.astype(np.float64)"
            if dtype.startswith(("int", "uint", "bool"))
            else "only real floating numbers can be used here",
        )


def _is_ragged(x: Any) -> bool:
    """Tell whether nested sequences differ in length or depth somewhere."""
    return _nested_shape(x) is None


def _nested_shape(x: Any) -> tuple[int, ...] | None:
    """Return the shape of nested sequences, None where they are ragged."""
    if not isinstance(x, (list, tuple)):
        return ()
    shapes = {_nested_shape(row) for row in x}
    if None in shapes or len(shapes) > 1:
        return None
    return (len(x), *next(iter(shapes), ()))  # type: ignore[misc]


def require_ndim(name: str, x: Array, ndim: int, letters: str) -> None:
    """Raise unless array `x` of floats has exactly `ndim` axes, named by `letters`, e.g. ``"d, k"``."""
    require_array(name, x)
    if x.ndim != ndim:
        raise ShapeError(f"{name} has {x.ndim} axes (shape {tuple(x.shape)}), expected {ndim}: ({letters})")


def require_shape(name: str, x: Any, shape: tuple[int, ...], letters: str) -> None:
    """Raise unless array `x` of floats has exactly this shape, its axes named by `letters`, e.g. ``"r, k"``."""
    require_ndim(name, x, len(shape), letters)
    if tuple(x.shape) != shape:
        raise ShapeError(f"{name} has shape {tuple(x.shape)}, expected ({letters}) = {shape}")


def require_no_overflow(W: Array, what: str) -> None:
    """Raise if finite parts gave a sum beyond the element type; `what` was done, e.g. "merging"."""
    from array_api_compat import array_namespace

    xp = array_namespace(W)
    fits = xp.isfinite(W)
    if bool(xp.all(fits)):
        return
    lost = int(xp.sum(xp.astype(~fits, xp.int64)))
    kept = float(xp.max(xp.where(fits, xp.abs(W), xp.zeros_like(W))))
    where = [int(axis[0]) for axis in xp.nonzero(~fits)]
    raise OverflowInMergeError(
        f"{what} overflows {dtype_name(W)} to inf (not NaN): {lost} of {math.prod(W.shape)} entries exceed "
        f"its largest value {float(xp.finfo(W.dtype).max):g}, the first at index {where}; max abs of the others "
        f"is {kept:g}",
        fix="merge in a wider type; the base is untouched",
    )


def require_same_dtype(**arrays: Array) -> None:
    """Raise if the arrays, given by name, do not share one element type."""
    named = {name: dtype_name(x) for name, x in arrays.items()}
    if len(set(named.values())) > 1:
        listed = ", ".join(f"{name} is {dtype}" for name, dtype in named.items())
        raise DTypeError(
            f"the arrays mix element types: {listed}; expected one",
            fix=f"promote them first: {', '.join(named)} = lora_np.promote({', '.join(named)})",
        )


def require_finite(name: str, x: Array) -> None:
    """Raise if array `x` holds a NaN or an infinity; count them and give the first index."""
    from array_api_compat import array_namespace  # a function's import: checks load no package at import

    xp = array_namespace(x)
    bad = ~xp.isfinite(x)
    count = int(xp.sum(xp.astype(bad, xp.int64)))
    if count:
        where = tuple(int(axis[0]) for axis in xp.nonzero(bad)) if x.ndim else ()
        value = float(x[where])
        raise NonFiniteError(
            f"{name} holds {count} non-finite value{'s' * (count > 1)}, the first ({value}) at index {list(where)}",
            fix=f"find where {name} was made; a finite array of shape {tuple(x.shape)} is needed",
        )


# ---- hyper-parameters --------------------------------------------------------------------------------------


def require_int(name: str, value: Any, *, minimum: int, fix: str = "") -> None:
    """Raise unless `value` is a whole number (no bool, no float) of at least `minimum`."""
    what = {0: "a non-negative int", 1: "a positive int"}.get(minimum, f"an int of at least {minimum}")
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be {what}, got {type(value).__name__} {value!r}", fix=fix)
    if value < minimum:
        raise ConfigError(f"{name} must be {what}, got {value}", fix=fix)


def require_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise unless `value` is a finite real number in the stated range (`above` and `below` are excluded)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a real number, got {type(value).__name__} {value!r}")
    number = _as_float(value)
    if not math.isfinite(number):
        raise ConfigError(f"{name} must be finite, got {number}")
    if not (above < number < below and least <= number <= most):
        lower = f"({above:g}" if above > least else f"[{least:g}"
        upper = f"{below:g})" if below < most else f"{most:g}]"
        raise ConfigError(f"{name} must lie in {lower}, {upper}, got {value}")


def _as_float(value: Any) -> float:
    """Convert a real number; one beyond the largest float counts as infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def require_instance(name: str, value: Any, kind: type, fix: str = "") -> None:
    """Raise unless `value` is of our class `kind`, which only its maker makes rightly."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, got {type(value).__name__}", fix=fix)


def require_bool(name: str, value: Any) -> None:
    """Raise unless `value` is True or False; a string such as "false" would count as true."""
    if not isinstance(value, bool):
        raise ConfigError(
            f"{name}: bool required, got {type(value).__name__} {value!r}", fix="pass True or False"
        )


def require_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise unless `value` is one of the `known` names; suggest the nearest."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        close = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}", fix=hint)


def require_rank(rank: Any, d: int | None = None, k: int | None = None, *, stacklevel: int = 3) -> None:
    """Raise unless `rank` is a positive int; warn where it exceeds min(d, k)."""
    require_int("rank r", rank, minimum=1, fix="omit the adapter to disable LoRA")
    if d is not None and k is not None and rank > min(d, k):
        warnings.warn(
            f"rank r = {rank} exceeds min(d, k) = min({d}, {k}) = {min(d, k)}: no extra rank is gained",
            RankWarning,
            stacklevel=stacklevel,
        )


def require_rng(rng: Any) -> None:
    """Raise unless `rng` is a `numpy.random.Generator`: randomness enters by name, never by a global seed."""
    import numpy as np  # a function's import: this file names no array library

    if not isinstance(rng, np.random.Generator):
        raise ConfigError(
            f"rng must be a numpy.random.Generator, got {type(rng).__name__}",
            fix="pass np.random.default_rng(seed)",
        )


def require_float_dtype(dtype: Any) -> None:
    """Raise unless `dtype` names a real floating type of NumPy."""
    import numpy as np  # a function's import: this file names no array library

    try:
        found = np.dtype(dtype).name
    except TypeError:
        found = repr(dtype)
    if found not in _FLOATS:
        raise DTypeError(
            f"dtype must be a real floating type, got {found}", fix="pass np.float32 or np.float64"
        )


def require_labels(y: Any, classes: int | None = None) -> None:
    """Raise unless `y` is a vector of whole numbers, below `classes` where that is given."""
    dtype = "" if not hasattr(y, "dtype") else dtype_name(y)
    if not dtype.startswith(("int", "uint")):
        raise DTypeError(
            f"y must be an array of class numbers (ints), got {dtype or type(y).__name__}",
            fix="pass one whole number a row, not one-hot rows",
        )
    if y.ndim != 1:
        raise ShapeError(f"y has {y.ndim} axes (shape {tuple(y.shape)}), expected 1: (N)")
    if classes is not None and y.shape[0]:
        from array_api_compat import array_namespace

        xp = array_namespace(y)
        low, high = int(xp.min(y)), int(xp.max(y))
        if low < 0 or high >= classes:
            raise ConfigError(f"y holds class numbers from {low} to {high}, expected 0 to {classes - 1}")


# ---- the LoRA layer ----------------------------------------------------------------------------------------


def require_pair(name: str, p: Any) -> None:
    """Raise unless `p` is a tuple or list of two: (B, A)."""
    if not isinstance(p, (tuple, list)) or len(p) != 2:
        found = f"{type(p).__name__} of {len(p)}" if isinstance(p, (tuple, list)) else type(p).__name__
        raise ConfigError(f"{name} must be the pair (B, A), got {found}", fix="pass LoraParams(B=..., A=...)")


def require_factors(p: Any, d: int | None = None, k: int | None = None) -> None:
    """Raise unless ``p = (B, A)`` are (d, r) and (r, k) of one rank; name a swap or a transpose."""
    require_pair("p", p)
    B, A = p
    require_ndim("B", B, 2, "d, r")
    require_ndim("A", A, 2, "r, k")
    require_same_dtype(B=B, A=A)
    shapes = f"B {tuple(B.shape)} and A {tuple(A.shape)}"
    d, k = (B.shape[0] if d is None else d), (A.shape[1] if k is None else k)
    if B.shape[0] == d and A.shape[1] == k:
        if B.shape[1] != A.shape[0]:
            raise RankError(
                f"B has rank {B.shape[1]} (its columns) and A has rank {A.shape[0]} (its rows): {shapes}"
            )
        return
    if A.shape[0] == d and B.shape[1] == k and A.shape[1] == B.shape[0]:
        fix = "A is (r, k), B is (d, r); these look swapped: LoraParams(B=..., A=...)"
    elif A.shape[0] == k and A.shape[1] != k:
        fix = f"A is (r, k); this one looks transposed: A.T has shape {tuple(A.shape[::-1])}"
    elif B.shape[1] == d and B.shape[0] != d:
        fix = f"B is (d, r); this one looks transposed: B.T has shape {tuple(B.shape[::-1])}"
    else:
        fix = "A is (r, k), B is (d, r)"
    raise ShapeError(f"{shapes} do not fit a weight of shape (d, k) = ({d}, {k})", fix=fix)


def require_rows(name: str, x: Any, width: int, letter: str) -> None:
    """Raise unless `x` is an array of floats whose last axis is `width`: (..., width)."""
    require_array(name, x)
    if x.ndim == 0 or x.shape[-1] != width:
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)}, expected (..., {width}): its last axis is {letter}"
        )


def require_weight(name: str, W: Any, p: Any, scale: Any) -> None:
    """Raise unless a weight W (d, k), its factors p = (B, A) and the scale fit together, of one element type."""
    require_ndim(name, W, 2, "d, k")
    require_factors(p, *W.shape)
    require_same_dtype(**{name: W, "B": p[0], "A": p[1]})
    require_number("scale", scale)


def require_layer(X: Any, W: Any, p: Any, scale: Any, bias: Any = None, *, name: str = "W0") -> None:
    """Raise unless X (..., k), a weight (d, k), p = (B, A) and bias (d,) make one layer of one element type."""
    require_ndim(name, W, 2, "d, k")
    d, k = W.shape
    require_rows("X", X, k, f"k, the width of {name} {tuple(W.shape)}")
    require_factors(p, d, k)
    require_same_dtype(**{"X": X, name: W, "B": p[0], "A": p[1]})
    require_number("scale", scale)
    if bias is not None:
        require_array("bias", bias)
        if tuple(bias.shape) != (d,):
            raise ShapeError(f"bias has shape {tuple(bias.shape)}, expected (d,) = ({d},)")
        require_same_dtype(**{name: W, "bias": bias})


def require_same_rows(**arrays: Array) -> None:
    """Raise unless the arrays, given by name, share their leading (batch) axes."""
    leading = {name: tuple(x.shape[:-1]) for name, x in arrays.items()}
    if len(set(leading.values())) > 1:
        listed = ", ".join(f"{name} {tuple(x.shape)}" for name, x in arrays.items())
        raise ShapeError(
            f"batch axes differ: {listed}", fix="every array needs the same rows in the same order"
        )
