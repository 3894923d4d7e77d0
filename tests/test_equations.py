"""The registry of equations refuses a key that stands twice, in one subject or in two."""

import pytest

from lora_np import equations
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
