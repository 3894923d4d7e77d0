r"""A pattern as a list of steps that `patterns` follows.  Floor 5.

The part of Python's regular expressions that names of modules need: characters, ``.``, ``\d \w \s`` and their
opposites, sets, groups, ``|``, ``* + ? {m,n}`` (lazy or not: the same names match), ``^`` and ``$``.
Nothing is matched here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lora_np.errors import ConfigError
from lora_np.files.json_text import shown

_MOST_STEPS = 1000
_DEEPEST = 50
_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: take a character, go on at several places, or ask for the start or the end."""

    test: Callable[[str], bool] | None = None
    jumps: tuple[int, ...] | None = None  # relative places to go on at, without taking a character
    at: str = ""  # "start" or "end": go on only there

    def takes(self, character: str) -> bool:
        """Tell whether this step takes the character."""
        return self.test is not None and self.test(character)

    def onwards(self, i: int, *, at_start: bool, at_end: bool) -> list[int]:
        """Return the places reached from place i without taking a character."""
        if self.at:
            return [i + 1] if (at_start if self.at == "start" else at_end) else []
        return [] if self.jumps is None else [i + jump for jump in self.jumps]


Steps = list[Step]


def program(pattern: str) -> tuple[Step, ...]:
    r"""Return the steps of ``(.*\.)?(pattern)$``; the last one is reached where a name matches.

    Raises `ConfigError` where the pattern is not one, or holds more than is evaluated here.

    >>> len(program("a|b"))
    11
    """
    ending = _Parser(pattern).whole()
    before = [*_repeated([Step(test=_any)], 0, None), Step(test=".".__eq__)]
    steps = [*_repeated(before, 0, 1), *ending, Step(at="end"), Step()]
    return tuple(steps)


class _Parser:
    """Recursive descent over the text of a pattern."""

    def __init__(self, pattern: str) -> None:
        self.text, self.place, self.depth = pattern, 0, 0

    def whole(self) -> Steps:
        """Parse all of it."""
        steps = self.choice()
        if self.place < len(self.text):
            self.refuse("a bracket closes that none opened")
        return steps

    def choice(self) -> Steps:
        """Parse alternatives: a|b."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse(f"it is nested deeper than {_DEEPEST}")
        steps = self.sequence()
        while self.took("|"):
            other = self.sequence()
            steps = [Step(jumps=(1, len(steps) + 2)), *steps, Step(jumps=(len(other) + 1,)), *other]
            self.require_short(steps)
        self.depth -= 1
        return steps

    def sequence(self) -> Steps:
        """Parse one thing after the other."""
        steps: Steps = []
        while self.place < len(self.text) and self.text[self.place] not in "|)":
            steps += self.quantified(self.one())
            self.require_short(steps)
        return steps

    def one(self) -> Steps:
        """Parse a character, a set, or a group."""
        c = self.next()
        if c == "(":
            if self.took("?") and not self.took(":"):
                self.refuse("look-around, names and flags of groups are not evaluated")
            steps = self.choice()
            if not self.took(")"):
                self.refuse("a bracket is not closed")
            return steps
        if c in "*+?{":
            self.refuse(f"there is nothing that {c} could repeat")
        if c in "^$":
            return [Step(at="start" if c == "^" else "end")]
        if c == "[":
            return [Step(test=self.set_())]
        if c == ".":
            return [Step(test=_any)]
        return [Step(test=self.escaped() if c == "\\" else c.__eq__)]

    def quantified(self, steps: Steps) -> Steps:
        """Parse what follows a thing: * + ? {m,n}, lazy or not."""
        least, most = self.count()
        if (least, most) == (1, 1):
            return steps
        if len(steps) == 1 and steps[0].at:
            self.refuse("the start or the end is repeated")
        if self.took("+"):
            self.refuse("possessive repetition is not evaluated")
        self.took("?")
        if self.place < len(self.text) and self.text[self.place] in "*+?{":
            self.refuse("a repetition is repeated")
        if max(least, most or 0) * len(steps) > _MOST_STEPS:
            self.refuse(f"it repeats too much: the limit is {_MOST_STEPS} steps")
        return _repeated(steps, least, most)

    def count(self) -> tuple[int, int | None]:
        """Parse how often; (1, 1) where nothing says it."""
        for mark, bounds in {"*": (0, None), "+": (1, None), "?": (0, 1)}.items():
            if self.took(mark):
                return bounds
        if not self.took("{"):
            return 1, 1
        inside, closed, _ = self.text[self.place :].partition("}")
        low, comma, high = inside.partition(",")
        numbers = [part for part in (low, high) if part]
        if not closed or not numbers or not all(n.isascii() and n.isdigit() and len(n) < 5 for n in numbers):
            self.refuse("a brace must be {m}, {m,} or {m,n}")
        self.place += len(inside) + 1
        least = int(low or 0)
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            self.refuse("a brace names more at least than at most")
        return least, most

    def escaped(self) -> Callable[[str], bool]:
        """Parse what follows a backslash."""
        c = self.next()
        if c.lower() in _CLASSES:
            test = _CLASSES[c.lower()]
            return test if c.islower() else lambda x: not test(x)
        if c.isalnum():
            self.refuse(f"\\{c} is not evaluated")
        return c.__eq__

    def set_(self) -> Callable[[str], bool]:
        """Parse a set of characters: [a-z_], [^0]."""
        negated = self.took("^")
        tests: list[Callable[[str], bool]] = []
        while not tests or not self.took("]"):  # a bracket that comes first stands for itself
            low = self.next()
            if low == "\\":
                tests.append(self.escaped())
            elif self.text.startswith("-", self.place) and not self.text.startswith("-]", self.place):
                self.place += 1
                high = self.next()
                if high in "\\[" or high < low:
                    self.refuse(f"the range {low}-{high} is not evaluated")
                tests.append(_between(low, high))
            else:
                tests.append(low.__eq__)
        return lambda x: any(test(x) for test in tests) is not negated

    def next(self) -> str:
        """Take one character."""
        if self.place >= len(self.text):
            self.refuse("it ends too early")
        self.place += 1
        return self.text[self.place - 1]

    def took(self, c: str) -> bool:
        """Take the character if it is the next one."""
        there = self.text.startswith(c, self.place)
        self.place += there
        return there

    def require_short(self, steps: Steps) -> None:
        """Raise where a pattern has become too long."""
        if len(steps) > _MOST_STEPS:
            self.refuse(f"it is too long: the limit is {_MOST_STEPS} steps")

    def refuse(self, why: str) -> None:
        """Raise `ConfigError`."""
        raise ConfigError(
            f"the pattern {shown(self.text)} cannot be evaluated at character {self.place}: {why}"
        )


def _between(low: str, high: str) -> Callable[[str], bool]:
    """Return the test for a range of characters."""
    return lambda c: low <= c <= high


def _any(c: str) -> bool:
    """Take any character, as the dot does."""
    return c != "\n"


def _repeated(steps: Steps, least: int, most: int | None) -> Steps:
    """Return steps repeated so often; jumps are relative, so copies need no change."""
    if most is None:
        loop = [Step(jumps=(1, len(steps) + 2)), *steps, Step(jumps=(-len(steps) - 1,))]
        return steps * least + loop
    made = steps * least
    tail: Steps = []
    for _ in range(most - least):
        tail = [Step(jumps=(1, len(steps) + len(tail) + 1)), *steps, *tail]
    return made + tail
