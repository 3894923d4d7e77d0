"""The registry of equations refuses a key that stands twice, and its formulas are set with commands of TeX."""

import re

import pytest

from lora_np import equations
from lora_np.equations import EQUATIONS
from lora_np.equations._entry import table
from lora_np.errors import ConfigError

ROW = ("a-b", "x", None, "Words.", "nowhere")


def test_a_key_twice_in_one_subject_is_refused():
    with pytest.raises(KeyError, match="'a-b' stands twice"):
        table(ROW, ROW)


def test_a_key_in_two_subjects_is_refused(monkeypatch):
    class Subject:
        EQUATIONS = table(ROW)

    monkeypatch.setattr(equations, "_SUBJECTS", (Subject, Subject))
    with pytest.raises(ConfigError, match=r"stand in two subjects: \['a-b'\]"):
        equations._join()


def test_without_a_row_form_of_its_own_an_equation_is_written_alike_in_both():
    assert table(ROW)["a-b"].latex_row == "x"


def test_no_command_of_tex_swallows_the_letter_after_it():
    """A space that strings lost when they were joined: no formula is set with a command nobody knows."""
    swallowed = re.compile(r"\\q?quad[A-Za-z]")
    assert swallowed.search(r"x,\quady")
    for entry in EQUATIONS.values():
        assert not swallowed.search(entry.latex), entry.key
        assert not swallowed.search(entry.latex_row), entry.key
