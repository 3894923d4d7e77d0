"""From a plan to a case: correctly rounded answers, confirmed by a second road, or a refusal to write.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_np.conformance.bounds import error_in_u
from lora_np.conformance.definitions.definition import Formula
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.rounding import UnsafeRoundingError, nearest_certain, rounded_up
from lora_np.conformance.vectors.format import Case, Output, Tensor, is_finite
from lora_np.conformance.vectors.generate.plan import ABOUT_NOTHING, Plan, Recipe

BITS = (320, 640, 1280)
"""Working precisions, one after the other until every answer rounds one way only (Ziv's strategy)."""

LEAST_SHARE = 1e-3
"""The part of S that the adapter must have in some element."""


class RefusedError(RuntimeError):
    """A case that must not be written: two roads disagree, or it would check nothing."""


# ---- numbers into the formula, and out of it ----------------------------------------------------------------


def exact_tensor(tensor: Tensor) -> Any:
    """Make nested lists of exact numbers; whole numbers of an integer tensor stay int."""
    numbers = tensor.values.tolist()
    return each(Exact.of, numbers) if tensor.dtype.startswith(("float", "bfloat")) else numbers


def exact_config(value: Any) -> Any:
    """Make every float of a configuration an exact number."""
    if isinstance(value, Mapping):
        return {key: exact_config(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact_config(item) for item in value]
    return Exact.of(value) if isinstance(value, float) else value


def evaluate(
    formula: Formula, inputs: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[list[float], list[float], int]]:
    """Evaluate a formula on exact numbers: for each output its values rounded correctly, their sizes S, and K."""
    for bits in BITS:
        with precision(bits):
            try:
                results = formula(inputs, exact_config(config))
                return {name: _rounded(flat(nested)) for name, nested in results.items()}
            except UnsafeRoundingError:
                continue
    raise RefusedError(f"{BITS[-1]} bits do not suffice to round every answer")


def _rounded(numbers: list[Any]) -> tuple[list[float], list[float], int]:
    """Round; a plain number, such as the gradient by what nothing depends on, is exact and of size 0."""
    exact = [x if isinstance(x, Exact) else Exact(Exact.of(x).value, 0.0) for x in numbers]
    return (
        [nearest_certain(x) for x in exact],
        [rounded_up(x.size) for x in exact],
        max((x.roundings for x in exact), default=0),
    )


# ---- the case, and what speaks against it -------------------------------------------------------------------


def answered(recipe: Recipe, plan: Plan, number: int) -> Case:
    """Make the case with its answers.  Raises `RefusedError`."""
    return Case(
        id=f"{recipe.name}#{number}",
        method=recipe.method,
        operation=recipe.operation,
        config=plan.config,
        dtype=plan.dtype,
        inputs=plan.inputs,
        outputs=_outputs(recipe, plan, f"{recipe.name}#{number}, {plan.comment}"),
        result=plan.result,
        flags=plan.flags,
        comment=plan.comment,
        option=plan.option,
        error=plan.error,
        script=plan.script,
        provenance={"generator": "exact arithmetic", "second": recipe.road_name} if recipe.road_name else {},
    )


def _outputs(recipe: Recipe, plan: Plan, where: str) -> Mapping[str, Output]:
    if plan.outputs is not None or plan.result == "invalid":
        return plan.outputs or {}
    if recipe.road is None:
        raise RefusedError(f"{where}: there is no second road")
    inputs = {name: exact_tensor(tensor) for name, tensor in plan.inputs.items()}
    config = {**plan.config, "script": plan.script} if plan.script else plan.config
    results = evaluate(recipe.evaluate(), inputs, config)
    second = recipe.road(plan)
    if set(second) != set(results):
        raise RefusedError(f"{where}: outputs {sorted(results)}, by the second road {sorted(second)}")
    outputs = {
        name: _output(numbers, np.asarray(second[name]), f"{where}, {name}")
        for name, numbers in results.items()
    }
    if not ABOUT_NOTHING & set(plan.flags):
        _require_content(outputs, where)
        if recipe.without is not None:
            without = evaluate(recipe.evaluate(), recipe.without(inputs), plan.config)
            _require_share(outputs, without, where)
    return outputs


def _output(numbers: tuple[list[float], list[float], int], second: np.ndarray, where: str) -> Output:
    """Shape the answers as the second road's array, and require agreement within the bound."""
    values, sizes, K = numbers
    if len(values) != second.size:
        raise RefusedError(f"{where}: {len(values)} numbers, by the second road {second.shape}")
    output = Output(np.array(values).reshape(second.shape), np.array(sizes).reshape(second.shape), K)
    if not is_finite(output):
        raise RefusedError(f"{where}: an answer is not finite")
    error = error_in_u(second.astype(np.float64), output.want, output.size, roundings=K)
    if error > K + 1:  # + 1: the answer itself is rounded
        raise RefusedError(
            f"{where}: the second road is {error:.3g} u S away, and {K} roundings explain {K + 1}"
        )
    return output


def _require_content(outputs: Mapping[str, Output], where: str) -> None:
    """Refuse a case with an output of nothing but zeros."""
    for name, output in outputs.items():
        if not output.want.any():
            raise RefusedError(f"{where}: {name} is zero")


def _require_share(
    outputs: Mapping[str, Output], without: Mapping[str, tuple[list[float], list[float], int]], where: str
) -> None:
    """Refuse a case that would pass, or nearly so, with the adapter deleted."""
    for name, output in outputs.items():
        share = np.abs(output.want.ravel() - np.array(without[name][0]))
        if not (share >= LEAST_SHARE * output.size.ravel()).any():
            raise RefusedError(f"{where}: without the adapter {name} is nearly the same")
