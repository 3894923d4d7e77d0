"""What an implementer writes: an adapter, about twenty lines around the implementation under test.  Floor 6.

An adapter has the attributes below and one method for each operation that it claims, all of one signature:

    def forward(self, method, config, tensors) -> array, or {name: array}

`method` is "lora", "dora", ...; `config` holds the numbers ("rank", "alpha", ..., and "dtype"); `tensors` maps names
to NumPy arrays ("X", "W0", "B", "A", ...), which must not be written into.  What comes back is one array where the
operation has one output ("Y", "W"), or a mapping with the names of the outputs ("gX", "gB", "gA"), of the element type
of the case (float32 for bfloat16, which NumPy lacks).  Types of 16 bits are for storage: sums are expected in float32.
An operation or a method that is not claimed is not tested, and never counts as a failure; an adapter may also raise
`NotImplementedError` for a case that it does not claim.

Bad input must be refused: any exception will do.  ``options["errors"] = "lora_np"`` claims our error classes and words,
too, and "none" claims nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, runtime_checkable

from lora_np.errors import LoraNpError, TargetError


@runtime_checkable
class Adapter(Protocol):
    """An implementation under test: who it is, what it claims, which choices it makes.

    `capabilities` holds "method.operation" names; "lora.*" claims every operation of a method and "*" everything.
    `options` declares choices for cases that are acceptable either way, such as {"dora.norm": "detached"}; a case whose
    option is not declared is not claimed.  Choices that are all offered, the configuration saying which, are separated
    by commas: "detached, attached".
    """

    name: str
    version: str
    capabilities: Collection[str]
    dtypes: Collection[str]
    options: Mapping[str, str]


def declares(adapter: Adapter, option: str, choice: str) -> bool:
    """Tell whether an adapter declares a choice of an option."""
    return choice in (one.strip() for one in str(adapter.options.get(option, "")).split(","))


def claims(adapter: Adapter, capability: str) -> bool:
    """Tell whether an adapter claims "method.operation"."""
    method = capability.split(".", 1)[0]
    return bool({capability, f"{method}.*", "*"} & set(adapter.capabilities))


SHIPPED: dict[str, str] = {
    "reference": "lora_np.conformance.targets.reference:Reference",
    "numba": "lora_np.conformance.targets.reference:Compiled",
    "naive": "lora_np.conformance.targets.naive:Naive",
    "autograd": "lora_np.conformance.targets.autograd_target:Autograd",
    "torch": "lora_np.conformance.targets.torch_target:Torch",
    "peft": "lora_np.conformance.targets.peft_target:Peft",
    "loralib": "lora_np.conformance.targets.loralib_target:Loralib",
    "conv1d": "lora_np.conformance.targets.conv1d_target:Conv1D",
}
"""The targets that come with the package, by short name."""


def find_adapter(target: str) -> Adapter:
    """Make the adapter of a shipped target, or of "module:Class".

    Raises `TargetError` where the name, the module or the class is not there, or the class lacks an attribute.

    >>> find_adapter("nowhere")
    Traceback (most recent call last):
        ...
    lora_np.errors.TargetError: target 'nowhere' is neither shipped nor of the form module:Class; shipped are ...
    """
    path = SHIPPED.get(target, target)
    module_name, _, class_name = path.partition(":")
    if not class_name:
        raise TargetError(
            f"target {target!r} is neither shipped nor of the form module:Class; "
            f"shipped are {', '.join(sorted(SHIPPED))}"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise TargetError(
            f"target {target!r} cannot be imported: {error}", fix='pip install "lora-np[interop]"'
        ) from error
    if not hasattr(module, class_name):
        raise TargetError(f"module {module_name!r} has no class {class_name!r}")
    try:
        adapter = getattr(module, class_name)()
    except LoraNpError:
        raise
    except Exception as error:
        raise TargetError(f"{path} cannot be made: {type(error).__name__}: {error}") from error
    return require_adapter(adapter)


def own_version() -> str:
    """Return the version of this package, which the targets that are our own code have."""
    try:
        return version("lora-np")
    except PackageNotFoundError:  # run from its source, not installed
        return "unreleased"


def require_adapter(adapter: Any) -> Adapter:
    """Return `adapter` if it has every attribute of one; raise `TargetError` naming what is missing."""
    missing = [name for name in Adapter.__annotations__ if not hasattr(adapter, name)]
    if missing:
        raise TargetError(
            f"{type(adapter).__name__} is not an adapter: it has no {', '.join(missing)}",
            fix="see the docstring of lora_np.conformance.runner.adapter",
        )
    return adapter  # type: ignore[no-any-return]
