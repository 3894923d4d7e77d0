"""The lessons run, pass their own checks, fail them all without their solutions, and keep their form."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed")

from lora_np.errors import BackendError, ConfigError
from lora_np.teach import lessons as shelf
from lora_np.teach.exercises import exercises
from lora_np.teach.lessons import cells, lesson, lessons, prose
from tests.lesson_form import complaints, unfounded
from tests.lesson_runs import master, run, stripped

NUMBERS = [lesson.number for lesson in lessons()]


@pytest.fixture(params=NUMBERS)
def number(request):
    return request.param


# ---- they run ----------------------------------------------------------------------------------------------------


def test_a_lesson_runs_from_anywhere_without_numba_and_every_check_passes(number):
    """Lessons 01 to 13 run where Numba cannot be imported; nothing warns."""
    ended = master(number)
    assert (ended.status, ended.errors) == (0, "")
    assert "✗" not in ended.output
    assert ended.output.count("✓") == len(exercises(number))


def test_without_its_solutions_a_lesson_runs_through_and_every_check_fails(number):
    ended = stripped(number)
    assert (ended.status, ended.errors) == (0, "")
    assert "✓" not in ended.output
    assert ended.output.count("✗") == len(exercises(number))


def test_a_lesson_prints_what_its_prose_speaks_of_and_not_much_more(number):
    output = master(number).output
    assert unfounded(lesson(number).text, output) == []
    assert len(output.splitlines()) <= 150


def test_a_lesson_prints_the_same_when_it_runs_again(number):
    """The stripped lesson is another run of the same code: what is left beside checks and measured times is equal."""
    other = ("✓", "✗", "hint(", "measured")

    def without_checks(output: str) -> list[str]:
        return [line for line in output.splitlines() if not line.lstrip().startswith(other)]

    assert without_checks(master(number).output) == without_checks(stripped(number).output)


def test_the_picture_runs_alone(number, tmp_path):
    """The app shows just this cell; in a script it says in a sentence what it shows."""
    (cell,) = [cell for cell in cells(lesson(number).text) if "picture" in cell.tags]
    alone = tmp_path / "picture.py"
    alone.write_text(cell.text)
    ended = run(alone)
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.startswith("Picture: ")
    assert ended.output.rstrip().endswith(".")


# ---- their form --------------------------------------------------------------------------------------------------


def test_a_lesson_keeps_the_form(number):
    """Header, headings, equations, links, tags, exercises, quiz: see tests/lesson_form.py."""
    assert complaints(number, lesson(number).text) == []


FAULTS = {  # what is planted, (old, new) -> a word of the complaint
    "no time": ("**Time:**", "**When:**", "Time"),
    "another number": ("# # {number} · ", "# # 99 · ", "title"),
    "a second title": ("# ## Exit quiz", "# # Exit quiz", "one title"),
    "a heading too deep": ("# ## Exit quiz", "# #### Exit quiz", "skip a level"),
    "no last section": ("# ## Where next", "# ## And then", "last sections"),
    "an open solution": ("# END SOLUTION", "", "has no"),
    "a marker misspelt": ("# BEGIN SOLUTION", "# BEGIN  SOLUTION", "no marker"),
    "a check of another exercise": ('check("{number}.2", ', 'check("{number}.3", ', "in order"),
    "a check that does more": ('check("{number}.1", ', 'print(1)\ncheck("{number}.1", ', "exactly"),
    "no picture": ('tags=["picture"]', "", "picture"),
    "a tag nobody knows": ('tags=["picture"]', 'tags=["figure"]', "tags"),
    "an exercise without stars": ("### Exercise {number}.1 ★", "### Exercise {number}.1 ", "heading says"),
    "a choice too few": ("# - d) ", "# - also ", "a) to d)"),
    "quiz explained to students": ('tags=["solution"]', "", "solution"),
    "an unknown equation": ("\n#\n# [", "\n#\n# [un", "no equation"),
    "a room there is not": ("](app:", "](app:no", "no room"),
    "a lesson there is not": ("# ## Where next\n", "# ## Where next\n# [x](lesson:77)\n", "no lesson 77"),
    "a file": ("# ## Where next\n", "# ## Where next\n# [x](notes.md)\n", "notes.md"),
    "LaTeX": ("# ## Where next\n", "# ## Where next\n# $$x$$\n", "LaTeX"),
    "a framework": ("import numpy as np\n", "import numpy as np\nimport torch\n", "torch"),
    "no seed": ("import numpy as np\n", "import numpy as np\n\nnp.random.seed(0)\n", "randomness"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_form_is_noticed(fault):
    number, text = NUMBERS[0], lesson(NUMBERS[0]).text
    old, new, word = (part.format(number=number) for part in FAULTS[fault])
    assert old in text
    assert any(word in words for words in complaints(number, text.replace(old, new, 1)))


def test_using_a_students_function_is_noticed():
    number, text = NUMBERS[0], lesson(NUMBERS[0]).text
    function = exercises(number)[0].signature.partition("(")[0]
    later = text.replace(
        "# %% [markdown]\n# ## Exit quiz", f"# %%\nprint({function})\n\n# %% [markdown]\n# ## Exit quiz"
    )
    assert any("the student's" in words for words in complaints(number, later))
    earlier = text.replace("    # BEGIN SOLUTION\n", "    # BEGIN SOLUTION\n    unknown_name()\n", 1)
    assert any("unknown_name" in words for words in complaints(number, earlier))


PLAIN = "# %% [markdown]\n# We measure {}.\n\n# %%\nprint({})"


@pytest.mark.parametrize(
    ("told", "printed", "lost"),
    [
        ("3.25 and 1,024", "3.25, 1024", []),
        ("3.25", "3.26", ["3.25"]),
        ("26 %", "0.26", []),
        ("26%", "0.27", ["26%"]),
        ("1,024 numbers", "1023", ["1,024"]),
        ("12 numbers, about 1e-10", "0", []),
        ("`7.5` and [the room](app:rank?rank_r=1.25)", "0", []),
    ],
)
def test_a_number_of_the_prose_must_be_printed(told, printed, lost):
    assert unfounded(PLAIN.format(told, "'words'"), printed) == lost
    assert unfounded(PLAIN.format(told, printed), "") == lost


# ---- finding and reading them ------------------------------------------------------------------------------------


def test_a_lesson_that_there_is_not_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no lesson has the number '5'.*there are: 01"):
        lesson("5")


def test_an_installed_package_has_them_first(tmp_path):
    folder = tmp_path / "lora_np" / "_app" / "tutorials"
    folder.mkdir(parents=True)
    (folder / "01_rank.py").write_text("# %% [markdown]\n# # 01 · Another title\n")
    assert shelf.home(folder) == folder
    assert [(one.number, one.slug, one.name, one.title) for one in lessons(folder)] == [
        ("01", "rank", "01_rank", "Another title")
    ]


def test_where_there_are_none_both_places_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"neither in .*_app.* nor in .*tutorials"):
        shelf.home(tmp_path / "lora_np" / "_app" / "tutorials")


def test_a_lesson_without_a_title_is_named(tmp_path):
    (tmp_path / "03_x.py").write_text("# %%\n")
    with pytest.raises(ConfigError, match=r"03_x.py has no title"):
        lessons(tmp_path)


def test_without_jupytext_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(BackendError, match=r"lora-np\[tutorials\]"):
        cells("")


def test_prose_is_made_ready_for_its_place():
    text = "See [lesson 01](lesson:01) and [Home](app:home?x=1).\n\n[lora-merge]\n\nNot [lora-merge] here."
    ready = prose(text, app="/", to_lesson=lambda one: f"#{one.slug}")
    assert "[lesson 01](#rank) and [Home](/?x=1)" in ready
    assert ready.count("$$") == 2
    assert "Not [lora-merge] here." in ready
    assert prose("[lora-2]", row_form=True) != prose("[lora-2]")
    for wrong in ("[no-such-key]", "[x](lesson:99)"):
        with pytest.raises(ConfigError):
            prose(wrong)


def test_lessons_import_nothing_heavy_until_they_are_read():
    code = "import sys, lora_np.teach.lessons; print('jupytext' in sys.modules, 'nbformat' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
        env=dict(os.environ),
    )  # fmt: skip
    assert ended.stdout.split() == ["False", "False"]
