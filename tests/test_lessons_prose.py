"""The words of the lessons: spelt as a dictionary has them, in sentences that a second-year student reads once.

Spelling is held by pyspellchecker, because it brings its word list and asks no network; words of our trade are in
`tests/words.txt`, one a line, in order.  Readability is held by textstat's automated readability index, a school
grade computed from letters a word and words a sentence: it is the one that needs no syllable list, which would have
to be fetched.  Formulas, code and tables are taken out first.
"""

import re
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed")
pytest.importorskip("spellchecker", reason="pyspellchecker is not installed")
pytest.importorskip("textstat", reason="textstat is not installed")

import spellchecker
import textstat

from lora_np.teach.lessons import cells, home, lessons

WORDS = Path(__file__).with_name("words.txt")
WORD = r"[A-Za-z]+(?:['’][a-z]+)?"
HARDEST, LONGEST, MEAN = 5.0, 36, 12.0
"""A school grade; words in the longest sentence; words in a sentence on average."""


def prose(name: str) -> str:
    """Read the prose of a lesson, or of the teacher's page."""
    path = home() / name
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    found = cells(path.read_text(encoding="utf-8"))
    return "\n\n".join(cell.text for cell in found if cell.kind == "markdown")


def plain(text: str) -> str:
    """Take out what is not a sentence: code, links' targets, headings, tables, keys of equations."""
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", " this ", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"https?://\S+", " ", text)
    return re.sub(r"^(?:\||\[[a-z0-9-]+\]$|#+ |    ).*$", "", text, flags=re.MULTILINE)


def sentences(text: str) -> list[list[str]]:
    """Split into sentences of words: those with a verb's worth of them, formulas dropped."""
    parts = re.split(r"(?<=[.!?:;])[\s*]+|\n\s*\n|\n\s*(?:[-*]|\d\.) ", plain(text))
    found = [re.findall(r"[A-Za-z]{2,}(?:['’-][A-Za-z]+)*|\b[aAI]\b", part) for part in parts]
    return [words for words in found if len(words) >= 4]


@cache
def dictionary() -> spellchecker.SpellChecker:
    return spellchecker.SpellChecker()


@cache
def known() -> frozenset[str]:
    return frozenset(WORDS.read_text(encoding="utf-8").split())


def misspelt(text: str) -> list[str]:
    """List words in small letters that neither the dictionary nor our list has; names and symbols are capital."""
    words = {word.replace("’", "'") for word in re.findall(rf"(?<![\w\\'’]){WORD}(?![\w_(])", plain(text))}
    words = {word.removesuffix("'s") for word in words if word.islower() and len(word) > 2}
    return sorted(dictionary().unknown(words) - known())


def hard(text: str) -> list[str]:
    """List what makes a text hard to read."""
    said = sentences(text)
    grade = textstat.automated_readability_index(" ".join(f"{' '.join(words)}." for words in said))
    longest, mean = max(said, key=len), sum(map(len, said)) / len(said)
    found = [f"grade {grade:.1f}"] if grade > HARDEST else []
    found += [f"a sentence of {len(longest)} words: {' '.join(longest)}"] if len(longest) > LONGEST else []
    return found + ([f"{mean:.1f} words a sentence"] if mean > MEAN else [])


NAMES = [lesson.path.name for lesson in lessons()] + ["TEACHING.md"]


@pytest.mark.parametrize("name", NAMES)
def test_every_word_is_spelt_right(name):
    assert misspelt(prose(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_text_is_easy_to_read(name):
    assert hard(prose(name)) == []


def test_a_misspelt_word_is_found_and_code_is_none():
    text = (
        "We recieve the gradiant of W₀ in `fooobar` and [a link](app:baaar).\n\n[lora-xyzq]\n\n| taable |\n"
    )
    assert misspelt(text) == ["gradiant", "recieve"]


def test_hard_prose_is_found():
    easy = "The layer adds a thin change. It trains only the change. " * 3
    assert hard(easy) == []
    endless = "the layer adds a change and " * 10 + "it ends."
    assert hard(easy + endless)[0].startswith("a sentence of 62 words")
    heavy = (
        "Notwithstanding considerable methodological heterogeneity, parameterizations predominantly characterize "
        * 3
    )
    assert hard(heavy + ".")[0].startswith("grade")


def test_our_words_are_in_order_and_none_is_the_dictionarys():
    words = WORDS.read_text(encoding="utf-8").split()
    assert words == sorted(set(words))
    assert dictionary().unknown(words) == set(words)
