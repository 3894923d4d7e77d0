"""The functions under test, by name: the reference, a backend, or anyone's with a mistake planted in it.  Floor 6.

Checks reach the code only through an `Implementation`, so that the same checks run on whatever claims to compute
the same.  The names are those of the public functions; where two floors use one name, its subject is put before it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lora_np import gradient_view, lora, merging, optim, prune, rank
from lora_np.backends import REFERENCE, Backend, available_backends, get_backend
from lora_np.conformance.verify.devices import on_device
from lora_np.errors import BackendError
from lora_np.nn import activations, dense, losses, network

Function = Callable[..., Any]


@dataclass(frozen=True)
class Implementation:
    """A name and functions; `own` names those that are not the reference's.

    >>> broken = reference().replaced("broken", scaling=lambda alpha, rank, **_: alpha)
    >>> broken.scaling(8, 4), broken.is_asked(("scaling",)), broken.is_asked(("forward",))
    (8, True, False)
    """

    name: str
    functions: Mapping[str, Function]
    own: frozenset[str]

    def __getattr__(self, name: str) -> Function:
        """Look up a function under test."""
        try:
            return self.functions[name]
        except KeyError:
            raise AttributeError(f"implementation {self.name!r} has no function {name!r}") from None

    def is_asked(self, uses: Iterable[str]) -> bool:
        """Tell whether a check of these functions says anything that the reference's own checks do not."""
        return bool(self.own.intersection(uses))

    def replaced(self, name: str, **functions: Function) -> Implementation:
        """Make an implementation with some functions of its own."""
        return Implementation(name, {**self.functions, **functions}, frozenset(functions))


@functools.cache
def reference() -> Implementation:
    """Return the NumPy reference: every function that a check calls."""
    functions: dict[str, Function] = {
        name: getattr(module, name) for module, names in _NAMES.items() for name in names
    }
    functions |= {
        "optim_sgd_step": optim.sgd_step,
        "optim_momentum_step": optim.momentum_step,
        "optim_adam_step": optim.adam_step,
        "optim_adamw_step": optim.adamw_step,
        "dense_backward": dense.backward,
        "network_forward": network.forward,
        "network_backward": network.backward,
        "add_low_rank": REFERENCE.add_low_rank,
        "exact_gradient": prune.gradients.exact,
        "estimated_gradient": prune.gradients.estimated,
        "previous_step_gradient": prune.gradients.from_previous_step,
    }
    return Implementation("numpy", functions, frozenset(functions))


_NAMES: dict[Any, tuple[str, ...]] = {
    lora: (
        "forward",
        "forward_via_weight",
        "backward",
        "backward_via_weight",
        "project_gradient",
        "bias_gradient",
        "symmetric_base",
        "scaling",
    ),
    merging: ("merge", "unmerge", "Merged"),
    gradient_view: (
        "sgd_step",
        "adam_step",
        "weight_step",
        "effective_gradient",
        "effective_update",
        "first_order_update",
        "second_order_update",
        "additive_weight",
        "additive_gradient",
        "additive_forward",
        "additive_backward",
        "block_identity",
    ),
    prune: ("importance", "group_dot", "group_dot_columns", "masked", "shrink"),
    activations: ("relu_pullback", "gelu_pullback", "tanh_pullback"),
    losses: ("cross_entropy_gradient",),
    rank: ("matrix_rank", "rank_factorization", "svd", "truncate"),
}


def of_backend(backend: Backend) -> Implementation:
    """Put a backend's own functions in the place of the reference's; its arrays come and go as NumPy's.

    >>> of_backend(REFERENCE).own
    frozenset()
    """
    own = {_RENAMED.get(name, name): getattr(backend, name) for name in backend.overrides}
    if backend.name == "cupy":
        own = {name: on_device(function, "cupy") for name, function in own.items()}
    return reference().replaced(backend.name, **own)


_RENAMED = {f"{name}_step": f"optim_{name}_step" for name in ("sgd", "momentum", "adam", "adamw")}


def available() -> list[Implementation]:
    """List the reference and every backend that this machine can load, as implementations."""
    found = [reference()]
    for name in available_backends():
        if name != "numpy":
            try:
                found.append(of_backend(get_backend(name)))
            except BackendError:  # installed, but it cannot be loaded here
                continue
    return found
