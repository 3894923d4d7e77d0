"""Answers of several parts, each with its own ways to be wrong, and all that can come together.  Floor 6."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from lora_np.teach.exercise import Suspect

Parts = tuple[tuple[Callable[..., Any], str, str], ...]
"""The ways to write one part of an answer, the right one first: a function, the mistake's name, and its words."""


def combined(*parts: Parts) -> Iterator[Suspect]:
    """Combine every way to write each part; the first mistake gives the name, all of them the words.

    Those with the fewest mistakes come first.

    >>> one = ((lambda n: n, "", ""), (lambda n: -n, "SignWrong", "the sign is wrong"))
    >>> [(suspect.name, suspect.wrong(2)) for suspect in combined(one, one)]
    [('SignWrong', (2, -2)), ('SignWrong', (-2, 2)), ('SignWrong', (-2, -2))]
    """
    ways = sorted(itertools.product(*parts), key=lambda way: sum(bool(name) for _, name, _ in way))
    for way in ways[1:]:
        names = [name for _, name, _ in way if name]
        words = "; and ".join(dict.fromkeys(words for _, _, words in way if words))
        yield Suspect(names[0], words, _joined([function for function, _, _ in way]))


def _joined(functions: list[Callable[..., Any]]) -> Callable[..., tuple[Any, ...]]:
    return lambda *arguments: tuple(function(*arguments) for function in functions)
