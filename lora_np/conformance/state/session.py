"""Running a script on an implementation.  Floor 6.  Nothing here knows what numbers are expected.

An implementer writes a small class, as `Session` below, and the adapter's method is one line:

    def state(self, method, config, tensors):
        return run_script(MySession, config, tensors)

A method that is missing, or raises `NotImplementedError`, takes the cases that need it out of what is claimed.  A step
that must be refused raises, whatever it raises; what `forward` and `weight` give afterwards must be what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lora_np.conformance.state import scripts
from lora_np.conformance.state.scripts import Step


class Session(Protocol):
    """One base weight with named adapters.  Only what the scripts of interest use must be there."""

    def add(self, name: str, B: np.ndarray, A: np.ndarray, scale: float) -> Any:
        """Add an adapter that does not act yet."""

    def delete(self, name: str) -> Any:
        """Remove an adapter."""

    def activate(self, names: list[str]) -> Any:
        """Let these adapters act, and no others."""

    def merge(self, names: list[str] | None) -> Any:
        """Put active adapters into the weight; None: all that are not merged yet."""

    def unmerge(self, names: list[str] | None) -> Any:
        """Take them out again; None: all."""

    def scale(self, name: str, scale: float) -> Any:
        """Give an adapter another scale."""

    def train(self, name: str, B: np.ndarray, A: np.ndarray) -> Any:
        """Give an adapter the factors that training made."""

    def swap(self, old: str, new: str) -> Any:
        """Put one adapter in the place of another, merged where that was merged."""

    def combine(self, new: str, names: list[str], weights: list[float]) -> Any:
        """Add the weighted sum of increments as an adapter of scale 1."""

    def disable(self) -> Any:
        """Let the base alone act."""

    def enable(self) -> Any:
        """Let the active adapters act again."""

    def save(self) -> Any:
        """Return everything, in any form."""

    def load(self, saved: Any) -> Any:
        """Put what `save` returned in place of everything."""

    def weight(self) -> np.ndarray:
        """Return the weight with what is merged."""

    def forward(self, X: np.ndarray) -> np.ndarray:
        """Apply the layer to rows."""

    def forward_rows(self, X: np.ndarray, rows: list[str | None]) -> np.ndarray:
        """Apply to each row its own adapter, or none."""


class StepError(RuntimeError):
    """A step failed that should not."""


def run_script(
    make: Callable[[np.ndarray], Any],
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    *,
    words: bool = False,
) -> dict[str, np.ndarray | int]:
    """Take every step of config["script"] on ``make(W0)``; return weight and output after each, by name.

    A step that must be refused gives "refused.3": 1 if it was; with `words`, if it was with the class and the words
    that the script asks for.  Raises `StepError` where another step fails, and `NotImplementedError`.
    """
    session = make(tensors["W0"])
    outputs: dict[str, Any] = {}
    store: dict[str, Any] = {}
    astray = False
    for number, step in enumerate(scripts.read(config["script"]), start=1):
        refusal = step["expect"].get("refused")
        try:
            Y = take(session, step, tensors, store)
            if refusal is not None:
                outputs[f"refused.{number}"], astray = 0, True
        except NotImplementedError:
            raise
        except Exception as error:
            if astray and refusal is None:
                break  # what must be refused was not: no wonder
            if refusal is None:
                raise _failed(f"step {number}", step, error) from error
            outputs[f"refused.{number}"], Y = int(not words or _as_due(error, refusal)), None
        try:
            outputs[step["expect"]["Y"]] = session.forward(tensors["X"]) if Y is None else Y
            outputs[step["expect"]["weight"]] = session.weight()
        except NotImplementedError:
            raise
        except Exception as error:
            raise _failed(f"after step {number}", step, error) from error
    return outputs


def take(session: Any, step: Step, tensors: Mapping[str, np.ndarray], store: dict[str, Any]) -> Any:
    """Take one step; return its own output where it has one.  What is saved goes into `store`."""
    if step["do"] == "forward":
        return _forward(session, step, tensors)
    if step["do"] == "save":
        store["saved"] = _method(session, "save")()
    elif step["do"] == "load":
        _method(session, "load")(store["saved"])
    else:
        _method(session, step["do"])(**_arguments(step, tensors))
    return None


def _failed(where: str, step: Step, error: Exception) -> StepError:
    return StepError(f"{where} ({scripts.in_words(step)}): {type(error).__name__}: {error}")


def _method(session: Any, name: str) -> Callable[..., Any]:
    found = getattr(session, name, None)
    if found is None:
        raise NotImplementedError(f"{type(session).__name__} has no {name}")
    return found  # type: ignore[no-any-return]


def _arguments(step: Step, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the arguments of a step, with arrays for the names of tensors."""
    named = scripts.arguments(step)
    if step["do"] in ("merge", "unmerge"):
        named.setdefault("names", None)
    return {key: tensors[value] if key in ("B", "A") else value for key, value in named.items()}


def _forward(session: Any, step: Step, tensors: Mapping[str, np.ndarray]) -> Any:
    X, rows = tensors[step.get("X", "X")], step.get("rows")
    return session.forward(X) if rows is None else _method(session, "forward_rows")(X, rows)


def _as_due(error: Exception, refusal: Mapping[str, Any]) -> bool:
    """Tell whether a refusal has the class and the words that are asked for."""
    mentions: Sequence[str] = refusal.get("mentions", ())
    return type(error).__name__ == refusal["class"] and all(word in str(error) for word in mentions)
