"""What a lesson's code prints, run apart: by cell, up to an error, and not for ever; and its pieces when it is odd."""

import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed")

from lora_np.errors import ConfigError
from lora_np.teach.lessons import Lesson
from lora_np.teach.printing import printed
from lora_np.teach.sections import Piece, question, sections

TEXT = """# %% [markdown]
# # 01 · A small one
#
# ## 1. First
# %%
x = 2
print("x is", x)
# %% tags=["exercise"]
def f():
    # BEGIN SOLUTION
    return 1
    # END SOLUTION
# %% tags=["check"]
check("01.1", f)
# %%
print(x * 21)
{more}
# %%
print("last")
"""


def run(tmp_path, more="", **how):
    path = tmp_path / "01_small.py"
    path.write_text(TEXT.format(more=more), encoding="utf-8")
    steps, shares = printed(Lesson("01", "small", "A small one", path), **how), []
    try:
        while True:
            shares.append(next(steps)[0])
    except StopIteration as ended:
        return ended.value, shares


def test_each_cell_prints_its_own_and_no_exercise_is_run(tmp_path):
    told, shares = run(tmp_path)
    assert told == {1: "x is 2\n", 4: "42\n", 5: "last\n"}
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)


def test_an_error_is_printed_where_it_happens_and_ends_the_run(tmp_path):
    told, _ = run(tmp_path, more="# %%\nprint('so far')\n1 / 0")
    assert told[5] == "so far\nZeroDivisionError: division by zero"
    assert 6 not in told


def test_what_never_ends_is_ended(tmp_path):
    told, _ = run(tmp_path, more="# %%\nwhile True: pass", seconds=8.0)
    assert told in ({1: "x is 2\n", 4: "42\n"}, {})  # or the machine had no time to begin


def test_a_question_needs_choices():
    with pytest.raises(ConfigError, match="question 2 offers 1 choices"):
        question(Piece("question", "Which?\n\na) this one", "2"))


def test_choices_may_be_marked_and_wrapped():
    text = "Which\nof them?\n\n* a) this\n  one\n* b) that\n\nc) none\n"
    asked = question(Piece("question", text, "1"))
    assert asked.choices == {"a": "this one", "b": "that", "c": "none"}
    assert asked.text == "Which\nof them?"


def test_the_last_words_stay_with_the_quiz():
    text = "# %% [markdown]\n# ## Exit quiz\n#\n# **1.** Which?\n#\n# - a) x\n# - b) y\n#\n# ## Where next\n#\n# On."
    (_, quiz) = sections(text)
    assert (quiz.name, [piece.kind for piece in quiz.pieces]) == ("quiz", ["question", "heading", "prose"])
