"""The language of scripts: what a step may be, how it is read, and how it is said in words.  Floor 6.

Nothing runs here.

A script is a list of steps, plain JSON.  A tensor is named as the case's inputs are, a real number is {"hex": text}:

    {"do": "add", "name": "a", "B": "a.B", "A": "a.A", "scale": {"hex": "0x1p+1"}}     does not activate it
    {"do": "delete", "name": "a"}
    {"do": "activate", "names": ["a", "b"]}      these act and no others
    {"do": "merge", "names": ["a"]}              active adapters; without names, all that are not merged yet
    {"do": "unmerge", "names": ["a"]}            without names, all
    {"do": "scale", "name": "a", "scale": {"hex": ...}}
    {"do": "train", "name": "a", "B": "a2.B", "A": "a2.A"}      a step of training made these factors
    {"do": "swap", "old": "a", "new": "b"}       b takes the place of a, merged where that was merged
    {"do": "combine", "new": "c", "names": ["a", "b"], "weights": [...]}      adds the weighted sum of increments
    {"do": "disable"}, {"do": "enable"}          disabled, the base alone acts
    {"do": "save"}, {"do": "load"}               what is loaded replaces everything
    {"do": "forward", "X": "X2"}                 other rows
    {"do": "forward", "rows": ["a", null, "b"]}  each row through its own adapter, or none

Each step says in "expect" how the outputs after it are called: {"weight": "W.3", "Y": "Y.3"}; and, where it must be
refused, {"refused": {"class": ..., "mentions": [...]}} besides: then the output "refused.3" is 1, and nothing changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_np.errors import VectorFileError

Step = Mapping[str, Any]

ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "add": (("name", "B", "A", "scale"), ()),
    "delete": (("name",), ()),
    "activate": (("names",), ()),
    "merge": ((), ("names",)),
    "unmerge": ((), ("names",)),
    "scale": (("name", "scale"), ()),
    "train": (("name", "B", "A"), ()),
    "swap": (("old", "new"), ()),
    "combine": (("new", "names", "weights"), ()),
    "disable": ((), ()),
    "enable": ((), ()),
    "save": ((), ()),
    "load": ((), ()),
    "forward": ((), ("X", "rows")),
}
"""The arguments of each step: those that are needed, and those that may be left out."""


def read(script: Sequence[Step]) -> list[dict[str, Any]]:
    """Check a script and read its numbers.  Raises `VectorFileError` with the step that is at fault.

    >>> read([{"do": "scale", "name": "a", "scale": {"hex": "0x1p+1"}, "expect": {}}])[0]["scale"]
    2.0
    """
    steps = [_numbers(step) for step in script]
    for number, step in enumerate(steps, start=1):
        verb = step.get("do")
        if verb not in ARGUMENTS:
            raise VectorFileError(f"step {number} does {verb!r}, one of {', '.join(ARGUMENTS)} expected")
        needed, further = ARGUMENTS[verb]
        given = step.keys() - {"do", "expect"}
        if not set(needed) <= given <= {*needed, *further}:
            raise VectorFileError(
                f"step {number} ({verb}) has the arguments {sorted(given)}, expected {sorted(needed)}"
                + (f" and, if wanted, {sorted(further)}" if further else "")
            )
    return steps


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"hex"}:
            return float.fromhex(value["hex"])
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


def arguments(step: Step) -> dict[str, Any]:
    """Return a step's arguments by name."""
    return {key: value for key, value in step.items() if key not in ("do", "expect")}


def outputs_of(step: Step, number: int) -> Iterator[str]:
    """Name the outputs that a step is expected to have."""
    expected = step.get("expect", {})
    if "refused" in expected:
        yield f"refused.{number}"
    yield from (expected[key] for key in ("weight", "Y") if key in expected)


def in_words(step: Step) -> str:
    """Say what a step does.

    >>> in_words({"do": "merge", "names": ["a", "b"]}), in_words({"do": "swap", "old": "a", "new": "b"})
    ("merge ['a', 'b']", "swap 'a' 'b'")
    """
    shown = [repr(value) for key, value in arguments(step).items() if key not in ("B", "A")]
    return " ".join([step["do"], *shown])
