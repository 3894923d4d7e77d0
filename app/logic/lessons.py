"""The lessons: a student's text in sections, its pictures drawn, its questions judged; no solution gets this far."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from urllib.parse import urlencode

import streamlit as st

from app.rooms import room
from lora_np.errors import BackendError, ConfigError
from lora_np.figures.chart import Chart
from lora_np.teach import lessons
from lora_np.teach.build.notebooks import student_notebook, student_script
from lora_np.teach.build.strip import strip
from lora_np.teach.exercise import Quiz, digest
from lora_np.teach.exercises import exercise
from lora_np.teach.lessons import LINK, Lesson
from lora_np.teach.printing import Printing, printed
from lora_np.teach.sections import Section, question, sections

ALL = "all"
BESIDE = "./"  # where the other rooms are, wherever the app is served
MISSING = (ConfigError, BackendError)  # no lessons here, or nothing to read them with
TIME = re.compile(r"\*\*Time:\*\* (\d+ minutes)")
HINTS = ("What is asked", "Where to look", "The equation")
__all__ = [
    "ALL",
    "HINTS",
    "MISSING",
    "Book",
    "book",
    "drawn",
    "exercise",
    "following",
    "print_out",
    "printouts",
    "prose",
    "question",
    "read_again",
    "shelf",
    "student_notebook",
    "student_script",
    "takes",
]


class Book(NamedTuple):
    """A lesson that is open: its sections."""

    lesson: Lesson
    sections: tuple[Section, ...]

    @property
    def names(self) -> list[str]:
        """What may be read: one section, or all."""
        return [*(section.name for section in self.sections), ALL]

    def read(self, name: str) -> tuple[Section, ...]:
        """Find what is read under a name."""
        return tuple(section for section in self.sections if name in (section.name, ALL))

    def around(self, name: str) -> tuple[Section | None, Section | None]:
        """Find the sections before and after one."""
        before = dict(zip(self.names, [None, *self.sections], strict=False))
        after = dict(zip(self.names, self.sections[1:], strict=False))
        return before.get(name) if name != ALL else None, after.get(name)

    def prints(self, name: str) -> bool:
        """Tell whether there is code to run in what is read."""
        return any(piece.kind == "code" for section in self.read(name) for piece in section.pieces)


@cache
def shelf() -> dict[str, Lesson]:
    """List the lessons that are here, by their numbers."""
    return {lesson.number: lesson for lesson in lessons.lessons()}


@cache
def takes(number: str) -> str:
    """Read how long a lesson takes."""
    found = TIME.search(shelf()[number].text)
    return found[1] if found else ""


@cache
def book(number: str) -> Book:
    """Open a lesson as a student gets it."""
    return Book(shelf()[number], sections(strip(shelf()[number].text)))


def following(number: str) -> Lesson | None:
    """Find the lesson after one; None after the last."""
    return dict(zip(shelf(), list(shelf().values())[1:], strict=False)).get(number)


# ---- what stands in it ---------------------------------------------------------------------------------------


def prose(text: str, reading: Mapping[str, str]) -> str:
    """Give the links of prose their addresses: rooms and lessons beside this one, to be read the same way."""

    def address(link: re.Match[str]) -> str:
        label, kind, target = link.groups()
        path, _, state = (f"lessons?lesson={target}" if kind == "lesson" else target).partition("?")
        query = "&".join(filter(None, (state, urlencode(reading))))
        return f"{label}({BESIDE}{room(path).address}{'?' if query else ''}{query})"

    return LINK.sub(address, text)


@st.cache_data(max_entries=32, show_spinner=False)
def drawn(number: str, cell: int) -> Chart:
    """Run the cell of a lesson's picture, this package's own code, and catch what it shows."""
    pieces = (piece for section in book(number).sections for piece in section.pieces)
    code = ast.parse(next(piece.text for piece in pieces if piece.cell == cell))
    for node in ast.walk(code):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "picture":
            node.func = ast.copy_location(ast.Name("keep", ast.Load()), node.func)
    shown: list[Chart] = []
    exec(compile(code, f"lesson {number}", "exec"), {"__name__": f"lesson_{number}", "keep": shown.append})
    return shown[-1]


@st.cache_resource(show_spinner=False)
def printouts() -> dict[str, dict[int, str]]:
    """Keep what the code of lessons printed, for everybody: by lesson, by cell."""
    return {}


def print_out(number: str) -> Printing:
    """Run a lesson's code, apart from here, and keep what it prints."""
    printouts()[number] = yield from printed(shelf()[number])
    return printouts()[number]


def read_again(number: str, asked: int, letter: str) -> str:
    """Say where to read again after a wrong letter; nothing after the right one."""
    quiz = exercise(f"{number}.quiz")
    assert isinstance(quiz, Quiz)
    right, again = dict(enumerate(zip(quiz.answers, quiz.again, strict=True), 1))[asked]
    return "" if digest(quiz.id, asked, letter) == right else again
