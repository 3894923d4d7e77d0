"""What every optimizer shares: parameters as tuples of arrays, learning rates by field, and the checks.  Floor 2."""

from typing import Any, TypeVar

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array
from lora_np.errors import ConfigError, ShapeError, StateError

Params = TypeVar("Params", bound=tuple[Array, ...])
Rate = float | tuple[float, ...]
"""One learning rate for all fields, or one for each."""


def rebuild(params: Params, arrays: list[Array]) -> Params:
    """Make a tuple of the type of `params`."""
    return type(params)(*arrays) if hasattr(params, "_fields") else tuple(arrays)  # type: ignore[return-value]


def zeros_like(params: Params) -> Params:
    """Zeros of the shapes, element types and library of `params`."""
    names_of(params)
    return rebuild(params, [array_namespace(p).zeros_like(p) for p in params])


# ---- what a user can get wrong -----------------------------------------------------------------------------


def names_of(params: Any) -> tuple[str, ...]:
    """Name the fields of a tuple of float arrays; raise unless it is one."""
    if not isinstance(params, tuple):
        raise ConfigError(
            f"params must be a tuple of arrays, got {type(params).__name__}",
            fix="pass LoraParams(B, A), or (W,) for a single array",
        )
    names = tuple(getattr(params, "_fields", ()) or (f"params[{i}]" for i in range(len(params))))
    for name, p in zip(names, params, strict=True):
        checks.require_array(name, p)
    return names


def require_step(params: Any, grads: Any, state: Any, kind: Any, lr: Rate) -> list[float]:
    """Raise unless one step can be taken; return the learning rate of every field."""
    names = names_of(params)
    _require_like("grads", grads, params, names)
    if not isinstance(state, kind):
        raise StateError(
            f"state must be a {kind.__name__}, got {type(state).__name__}",
            fix="begin with the optimizer's own init, and pass on the state that each step returns",
        )
    checks.require_int("state.step", state.step, minimum=0)
    for kept in kind._fields[1:]:
        _require_like(f"state.{kept}", getattr(state, kept), params, names)
    for name, g in zip(names, grads, strict=True):
        checks.require_finite(f"the gradient of {name}", g)
    return _rates(lr, names)


def _require_like(what: str, arrays: Any, params: tuple[Array, ...], names: tuple[str, ...]) -> None:
    """Raise unless `arrays` hold one array for each parameter, of its shape and element type."""
    if not isinstance(arrays, tuple) or len(arrays) != len(params):
        found = f"{len(arrays)} of them" if isinstance(arrays, tuple) else type(arrays).__name__
        raise ShapeError(f"{what} must be a tuple of {len(params)} arrays ({', '.join(names)}), got {found}")
    for name, array, p in zip(names, arrays, params, strict=True):
        checks.require_array(f"{what} of {name}", array)
        if tuple(array.shape) != tuple(p.shape):
            raise ShapeError(
                f"{what} of {name} has shape {tuple(array.shape)}, expected {tuple(p.shape)}",
                fix="a gradient has the shape of its parameter; is the order of the fields the same?",
            )
        checks.require_same_dtype(**{name: p, f"{what} of {name}": array})


def _rates(lr: Any, names: tuple[str, ...]) -> list[float]:
    """Spread the learning rate over the fields; raise unless there is one for each."""
    rates = lr if isinstance(lr, tuple) else (lr,) * len(names)
    if len(rates) != len(names):
        raise ConfigError(f"lr has {len(rates)} rates for {len(names)} parameters: {', '.join(names)}")
    for name, rate in zip(names, rates, strict=True):
        checks.require_number(f"lr of {name}" if isinstance(lr, tuple) else "lr", rate, least=0)
    return [float(rate) for rate in rates]
