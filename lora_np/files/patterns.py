r"""Match module names with patterns from a config, in bounded time.  Floor 5.

PEFT resolves `rank_pattern` and `alpha_pattern` with ``re.match(rf"(.*\.)?({key})$", name)``, the first match wins.  A
pattern that comes with a file may be made so that backtracking never ends; so Python's `re` never sees it.  Here all
ways through a pattern are followed at once, one character after the other, and every step is counted.  Look-around,
back references and flags are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lora_np.errors import ConfigError
from lora_np.files.json_text import shown
from lora_np.files.pattern_program import Step, program

T = TypeVar("T")
_LONGEST_NAME = 1000
_MOST_PAIRS = 1_000_000  # of a pattern and a name
_MOST_STEPS = 3_000_000  # of all patterns and names together: a second or two
_COST = 10  # of following one step of a program, where looking up what it led to before costs 1
_META = frozenset("\\^$*+?{}[]|()")


def resolve(patterns: Mapping[str, T], names: Iterable[str], default: T) -> dict[str, T]:
    r"""Return for each name the value of the first pattern that it ends in, at a dot; else the default.

    Raises `ConfigError` for a pattern that cannot be evaluated, or not in bounded time.

    >>> resolve({r"layers\.[01]\.q": 4, "q": 2}, ["layers.1.q", "layers.2.q", "v"], 8)
    {'layers.1.q': 4, 'layers.2.q': 2, 'v': 8}
    """
    names = list(names)
    if len(patterns) * len(names) > _MOST_PAIRS:
        raise ConfigError(
            f"{len(patterns)} patterns for {len(names)} modules are too many: the limit is {_MOST_PAIRS} pairs",
            fix="state the common rank and alpha as r and lora_alpha",
        )
    budget = _Budget()
    tests = [(_test(pattern, budget), value) for pattern, value in patterns.items()]
    return {name: next((value for fits, value in tests if fits(name)), default) for name in names}


@dataclass(slots=True)
class _Budget:
    """Steps that are left for all patterns together."""

    left: int = _MOST_STEPS

    def spend(self, steps: int, pattern: str) -> None:
        """Count steps; raise when they are used up."""
        self.left -= steps
        if self.left < 0:
            raise ConfigError(
                f"the pattern {shown(pattern)} takes too long: it is not evaluated as backtracking (50 ms limit), and "
                f"the {_MOST_STEPS} steps that all patterns may take are used up"
            )


def _test(pattern: str, budget: _Budget) -> Callable[[str], bool]:
    """Return the test for one pattern; most are plain names and need no machine."""
    if not _META.intersection(pattern):
        return lambda name: _plainly(pattern, name)
    return _Machine(pattern, program(pattern), budget).fits


def _plainly(pattern: str, name: str) -> bool:
    """Tell whether a name ends in a plain pattern, at a dot; a dot in the pattern stands for any character."""
    start = len(name) - len(pattern)
    if start < 0 or (start > 0 and name[start - 1] != "."):
        return False
    return name.endswith(pattern) or (
        "." in pattern and all(want in (".", got) for want, got in zip(pattern, name[start:], strict=True))
    )


@dataclass(slots=True)
class _Machine:
    """All ways through a program at once; a set of places is followed by a set of places for each character."""

    pattern: str
    steps: tuple[Step, ...]
    budget: _Budget
    known: dict[tuple[frozenset[int], str], frozenset[int]] = field(default_factory=dict)

    def fits(self, name: str) -> bool:
        """Tell whether the whole name is matched."""
        if len(name) > _LONGEST_NAME:
            raise ConfigError(
                f"the module name {shown(name)} has {len(name)} characters, the limit for patterns is {_LONGEST_NAME}"
            )
        self.budget.spend(len(name), self.pattern)
        places = self._reached({0}, at_start=True, at_end=not name)
        for i, character in enumerate(name):
            if i == len(name) - 1:
                places = self._after(places, character, at_end=True)
            else:
                key = (places, character)
                if key not in self.known:
                    self.known[key] = self._after(places, character, at_end=False)
                places = self.known[key]
        return len(self.steps) - 1 in places

    def _after(self, places: frozenset[int], character: str, *, at_end: bool) -> frozenset[int]:
        """Return the places one character further."""
        taken = {i + 1 for i in places if self.steps[i].takes(character)}
        return self._reached(taken, at_start=False, at_end=at_end)

    def _reached(self, places: Iterable[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """Follow all steps that take no character."""
        self.budget.spend(_COST * len(self.steps), self.pattern)
        seen: set[int] = set()
        waiting = list(places)
        while waiting:
            i = waiting.pop()
            if i not in seen:
                seen.add(i)
                waiting += self.steps[i].onwards(i, at_start=at_start, at_end=at_end)
        return frozenset(seen)
