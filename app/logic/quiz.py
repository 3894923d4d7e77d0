"""The quiz and the glossary: read from their files; what was answered, and how much of it was right."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import streamlit as st

from app.rooms import ROOMS

FILES = Path(__file__).parents[1]
ALL = "all topics"
GIVEN = "quiz_given"  # where a session keeps its answers: places of options by the ids of items
MOST_LETTERS = 40  # of a search


class Link(NamedTuple):
    """A room, and the state of its controls that shows something."""

    room: str
    state: Mapping[str, Any]

    @property
    def title(self) -> str | None:
        """The room's title; None where there is no such room."""
        return next((room.title for room in ROOMS if room.path == self.room), None)


class Option(NamedTuple):
    """A possible answer; a wrong one says what its mistake is, and where it is seen."""

    text: str
    mistake: str = ""
    link: Link | None = None


class Item(NamedTuple):
    """A question: its id, which never changes, its topic, its options, and why the right one is right."""

    id: str
    topic: str
    question: str
    because: str
    options: tuple[Option, ...]

    @property
    def answer(self) -> int:
        """The place of the right option: the one without a mistake."""
        return next(place for place, option in enumerate(self.options) if not option.mistake)

    @property
    def texts(self) -> list[str]:
        """The options as they are read."""
        return [option.text for option in self.options]


class Term(NamedTuple):
    """An entry of the glossary."""

    name: str
    text: str
    equation: str
    link: Link


@cache
def items() -> tuple[Item, ...]:
    """Read all questions."""
    return tuple(
        Item(one["id"], one["topic"], one["question"], one["because"], tuple(map(_option, one["option"])))
        for one in _read("quiz.toml")["item"]
    )


@cache
def terms() -> tuple[Term, ...]:
    """Read the glossary, in alphabetical order."""
    found = [
        Term(one["name"], one["text"], one.get("equation", ""), Link(one["room"], one.get("state", {})))
        for one in _read("glossary.toml")["term"]
    ]
    return tuple(sorted(found, key=lambda term: term.name.casefold()))


def _option(one: dict[str, Any]) -> Option:
    link = Link(one["room"], one.get("state", {})) if "room" in one else None
    return Option(one["text"], one.get("mistake", ""), link)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((FILES / name).read_text(encoding="utf-8"))


# ---- choosing ------------------------------------------------------------------------------------------------


def topics() -> list[str]:
    """List the topics, all of them first."""
    return [ALL, *dict.fromkeys(item.topic for item in items())]


def of_topic(topic: str) -> dict[str, Item]:
    """List the questions of a topic by their ids."""
    return {item.id: item for item in items() if topic in (ALL, item.topic)}


def neighbour(ids: Iterable[str], here: str) -> str | None:
    """Find the id that follows; None after the last."""
    rest = iter(ids)
    next((one for one in rest if one == here), None)
    return next(rest, None)


def matching(search: str) -> list[Term]:
    """Find the terms with a piece of text in them; those that have it in their name first."""
    wanted = search.strip()[:MOST_LETTERS].casefold()
    named = [term for term in terms() if wanted in term.name.casefold()]
    return named + [term for term in terms() if term not in named and wanted in term.text.casefold()]


# ---- answering -----------------------------------------------------------------------------------------------


def given() -> dict[str, int]:
    """Read this session's answers; whatever else lies in their place is passed over."""
    stored = st.session_state.get(GIVEN)
    known = of_topic(ALL)
    if not isinstance(stored, dict):
        return {}
    return {
        name: place
        for name, place in stored.items()
        if name in known and type(place) is int and place in range(len(known[name].options))
    }


def give(name: str, key: str) -> None:
    """Keep the option that is marked, as this session's answer; a question is answered once."""
    texts = of_topic(ALL)[name].texts
    marked = st.session_state.get(key)
    if marked in texts:
        st.session_state[GIVEN] = {name: texts.index(marked)} | given()


def restart() -> None:
    """Forget all answers."""
    st.session_state.pop(GIVEN, None)
    for item in items():
        st.session_state.pop(f"quiz_mark_{item.id}", None)
        st.session_state.pop(f"quiz_reveal_{item.id}", None)


def right(answers: Mapping[str, int]) -> int:
    """Count the right ones among answers."""
    return sum(item.answer == answers.get(item.id) for item in items())


def share(answers: Mapping[str, int]) -> float:
    """Say which share of all questions has been answered."""
    return fmean(item.id in answers for item in items())


def by_topic(answers: Mapping[str, int]) -> dict[str, list[Any]]:
    """Count questions, answers and right answers in each topic."""
    names = [topic for topic in topics() if topic != ALL]
    groups = [of_topic(name) for name in names]
    return {
        "topic": names,
        "questions": [len(group) for group in groups],
        "answered": [sum(name in answers for name in group) for group in groups],
        "right": [sum(item.answer == answers.get(item.id) for item in group.values()) for group in groups],
    }
