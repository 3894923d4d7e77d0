"""A case before its answers, and a recipe: the plans of one file with the two roads to their answers.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lora_np.conformance.definitions import Definition, definition
from lora_np.conformance.definitions.definition import Formula
from lora_np.conformance.vectors.format import Output, Tensor

ABOUT_NOTHING = {"ZeroFactor", "ZeroRows", "EmptyBatch", "FullRank", "NothingKept"}
"""Flags of cases that may well have an adapter without effect, or nothing but zeros to compare."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a case is made of.  `outputs` is given only where no formula is to be evaluated."""

    config: Mapping[str, Any]
    dtype: str
    inputs: Mapping[str, Tensor]
    comment: str
    flags: tuple[str, ...] = ()
    result: str = "valid"
    option: tuple[str, str] | None = None
    error: Mapping[str, Any] | None = None
    script: tuple[Mapping[str, Any], ...] = ()
    outputs: Mapping[str, Output] | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the inputs as arrays of float64 (or int64), whatever the element type of the case."""
        return {name: tensor.values for name, tensor in self.inputs.items()}


Road = Callable[[Plan], Mapping[str, np.ndarray]]
"""A second way to all outputs of a plan, in float64, that shares no code with the definition."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """One file: its plans in the order of their ids, and the second road that confirms every answer.

    `road_name` is written into the provenance.  `without` returns the inputs with the adapter taken out of effect
    (B = 0, say): the outputs must then differ, or the case would pass with the adapter deleted.
    `formula` is the definition's operation unless given.  Ids count from 1: later releases append plans.
    """

    method: str
    operation: str
    plans: Callable[[], list[Plan]]
    road: Road | None = None
    road_name: str = ""
    formula: Formula | None = None
    without: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    header: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name below the directory, without its ending."""
        return f"{self.method}/{self.operation}"

    def evaluate(self) -> Formula:
        """Return the formula to compute with."""
        return self.formula or self.definition().operation(self.operation)

    def definition(self) -> Definition:
        """Load the definition of the method."""
        return definition(self.method)
