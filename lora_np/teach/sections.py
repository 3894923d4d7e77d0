"""A lesson in sections, each a list of pieces: prose, equations, code, pictures, exercises, questions.  Floor 6.

This is for whoever shows a lesson piece by piece, as the app does.  It reads a student's text: an exercise is what is
to be written and its check, and nothing here knows an answer.  What a piece looks like is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, NamedTuple

from lora_np.errors import ConfigError
from lora_np.teach.build.strip import CHECK
from lora_np.teach.lessons import EQUATION_LINE, Cell, cells

START, QUIZ = "start", "quiz"
QUIZ_TITLE, LAST_TITLE = "Exit quiz", "Where next"
TITLE = re.compile(r"^# \d\d · .*$", re.MULTILINE)
HEADING = re.compile(r"^## (?:\d+[ .·]*)?(.+?)\s*$", re.MULTILINE)
QUESTION = re.compile(r"^\*\*(\d)\.\*\* ", re.MULTILINE)
CHOICE = re.compile(r"^(?:[-*] )?([a-d])\) ", re.MULTILINE)

Kind = Literal["heading", "prose", "equation", "code", "picture", "exercise", "question"]


class Piece(NamedTuple):
    """One thing to show: its kind, its text; the exercise it is, or the number of its question; its cell's place."""

    kind: Kind
    text: str
    id: str = ""
    cell: int = -1


class Section(NamedTuple):
    """A part of a lesson: a short name ("start", "1", "2", ..., "quiz"), its title, its pieces."""

    name: str
    title: str
    pieces: tuple[Piece, ...]


class Question(NamedTuple):
    """A question of a quiz: its number from 1, what is asked, and what may be chosen, by letter."""

    number: int
    text: str
    choices: dict[str, str]


def sections(text: str) -> tuple[Section, ...]:
    r"""Split a lesson's text, solutions out of it, into its sections; the first is what stands before any heading.

    >>> text = "# %% [markdown]\n# Hello.\n#\n# ## 1 · One row\n# Look:\n#\n# [lora-2]\n\n# %%\nx = 1"
    >>> [
    ...     (section.name, section.title, [piece.kind for piece in section.pieces])
    ...     for section in sections(text)
    ... ]
    [('start', '', ['prose']), ('1', 'One row', ['prose', 'equation', 'code'])]
    """
    found: list[tuple[str, list[Piece]]] = [("", [])]
    for piece in chain.from_iterable(_pieces(cells(text))):
        if piece.kind == "heading" and piece.text != LAST_TITLE:  # what comes last stays with the quiz
            found.append((piece.text, []))
        else:
            found[-1][1].append(piece)
    names = [START, *(QUIZ if title == QUIZ_TITLE else str(n) for n, (title, _) in enumerate(found[1:], 1))]
    return tuple(Section(name, title, tuple(part)) for name, (title, part) in zip(names, found, strict=True))


def question(piece: Piece) -> Question:
    r"""Read a question and its choices.

    >>> question(Piece("question", "Which?\n\n- a) this\n- b) that\n", id="2"))
    Question(number=2, text='Which?', choices={'a': 'this', 'b': 'that'})
    """
    asked, *parts = CHOICE.split(piece.text)
    choices = {letter: " ".join(words.split()) for letter, words in zip(parts[::2], parts[1::2], strict=True)}
    if len(choices) < 2:
        raise ConfigError(
            f"question {piece.id} offers {len(choices)} choices", fix="write a line `a) ...` for each"
        )
    return Question(int(piece.id), asked.strip(), choices)


# ---- from cells to pieces --------------------------------------------------------------------------------------


def _pieces(found: Iterable[Cell]) -> Iterator[Iterable[Piece]]:
    """Give the pieces of each cell: an exercise goes with the check after it, a quiz is its questions."""
    waiting: list[str] = []
    for place, cell in enumerate(found):
        if cell.kind == "markdown":
            if "solution" not in cell.tags:
                yield _headed(TITLE.sub("", cell.text))
        elif "exercise" in cell.tags:
            waiting.append(cell.text.strip())
        elif "check" in cell.tags:
            id = next((id for id, _ in CHECK.findall(cell.text)), "")
            if not id.endswith(".quiz"):
                yield [Piece("exercise", "\n\n\n".join([*waiting, cell.text.strip()]), id, place)]
            waiting = []
        elif cell.text.strip():
            yield [Piece("picture" if "picture" in cell.tags else "code", cell.text.strip(), cell=place)]


def _headed(text: str) -> Iterator[Piece]:
    """Split prose at the headings of sections."""
    start, *parts = HEADING.split(text)
    yield from _asked(start)
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        yield Piece("heading", title)
        yield from _asked(body)


def _asked(text: str) -> Iterator[Piece]:
    """Split prose into what is read, and the questions after it."""
    start, *parts = QUESTION.split(text)
    yield from _read(start)
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        yield Piece("question", body, number)


def _read(text: str) -> Iterator[Piece]:
    """Split prose at its equations."""
    start, *parts = EQUATION_LINE.split(text)
    yield from _spoken(start)
    for key, body in zip(parts[::2], parts[1::2], strict=True):
        yield Piece("equation", key)
        yield from _spoken(body)


def _spoken(text: str) -> Iterator[Piece]:
    """Give prose, if there is any."""
    if text.strip():
        yield Piece("prose", text.strip())


__all__ = ["Piece", "Question", "Section", "question", "sections"]
