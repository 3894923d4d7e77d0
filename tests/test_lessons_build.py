"""What is built of the lessons: no solution in a student's hands, one source for every tool, nobody's work lost."""

import ast
import io
import json
import zipfile

import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed")

import nbformat

from lora_np.errors import ConfigError
from lora_np.teach.build import building, notebooks
from lora_np.teach.build.archive import TOP, archive
from lora_np.teach.build.building import MANIFEST, build
from lora_np.teach.build.strip import chunks, strip, without_solutions
from lora_np.teach.lessons import Lesson, lessons

MASTER = '''\
# %% [markdown]
# # 01 · A small lesson
#
# See [lesson 01](lesson:01) and [the Rank room](app:rank?rank_r=4).
#
# [lora-merge]
#
# ### Exercise 01.1 ★★ · Double

# %%
import numpy as np


# %% tags=["exercise"]
def double(x):
    """Return 2 x."""
    # BEGIN SOLUTION
    secret = 2 * x
    if True:
        return secret
    # END SOLUTION


# %% tags=["check"]
check("01.1", double)


# %% tags=["exercise"]
def quiz():
    # BEGIN SOLUTION
    return "b", "c"
    # END SOLUTION


# %% tags=["check"]
check("01.quiz", quiz)

# %% [markdown] tags=["solution"]
# The secret of the quiz.

# %% [markdown]
# The end.
'''


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "01_small.py"
    path.write_text(MASTER)
    return Lesson("01", "small", "A small lesson", path)


def cells_of(text):
    return nbformat.reads(text, as_version=4).cells


# ---- solutions out -----------------------------------------------------------------------------------------------


def test_a_stub_stands_for_each_solution_and_names_its_exercise():
    bare = strip(MASTER)
    assert "secret" not in bare
    assert '    """Return 2 x."""\n    raise NotImplementedError("exercise 01.1: write it here")\n' in bare
    assert 'def quiz():\n    raise NotImplementedError("exercise 01.quiz: write it here")\n' in bare
    assert bare.endswith("# The end.\n")
    ast.parse(bare)


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_stripping_twice_is_stripping_once(lesson):
    bare = strip(lesson.text)
    assert strip(bare) == bare != lesson.text
    assert "SOLUTION" not in bare
    assert len(chunks(bare)) < len(chunks(lesson.text))


def test_a_text_without_solutions_stays_as_it_is():
    for text in (
        "",
        "x = 1",
        "# %%\nx = 1\n",
        "# %% [markdown]\n# # BEGIN SOLUTION is a marker\n",
        "\r\n# %%\r\n",
    ):
        assert strip(text) == text


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["# BEGIN SOLUTION", "x"], "line 12: the solution has no '# END SOLUTION'"),
        (["# END SOLUTION"], "line 12: '# END SOLUTION', but no solution is open"),
        (["# BEGIN SOLUTION", "# BEGIN SOLUTION"], "line 13: .* the solution of line 12 is still open"),
        (["x  # BEGIN SOLUTION", "# END SOLUTION"], "line 12: .* is no marker"),
        (["# begin solution", "# END SOLUTION"], "line 12: .* is no marker"),
        (["#BEGIN SOLUTION"], "line 12: .* is no marker"),
    ],
)
def test_markers_that_do_not_fit_are_named_with_their_line(lines, said):
    with pytest.raises(ConfigError, match=said):
        strip("\n" * 10 + "# %%\n" + "\n".join(lines) + "\n# %%\n# END SOLUTION\n")


def test_the_error_names_the_lesson(small, tmp_path):
    small.path.write_text(MASTER.replace("# END SOLUTION", "", 1))
    with pytest.raises(ConfigError, match=r"01_small.py: line \d+: the solution has no"):
        list(build(tmp_path / "out", (small,)))
    assert not (tmp_path / "out").exists()


def test_a_solution_of_several_parts_leaves_several_stubs():
    code = "# BEGIN SOLUTION\nx\n# END SOLUTION\ny\n  # BEGIN SOLUTION\n  z\n  # END SOLUTION"
    assert without_solutions(code, "").split("\n") == [
        'raise NotImplementedError("exercise: write it here")',
        "y",
        '  raise NotImplementedError("exercise: write it here")',
    ]


# ---- scripts and notebooks ---------------------------------------------------------------------------------------


def test_a_students_script_has_words_for_equations_and_addresses_for_links(small):
    script = notebooks.student_script(small)
    assert (
        "# See [lesson 01](01_rank.py) and [the Rank room](http://localhost:8501/rank?rank_r=4).\n" in script
    )
    assert "# [lora-merge] After training, add the increment to the weight" in script
    assert "secret" not in script
    ast.parse(script)


def test_a_students_notebook_is_what_nbgrader_reads(small):
    cells = cells_of(notebooks.student_notebook(small))
    marked = [cell.metadata.nbgrader for cell in cells if "nbgrader" in cell.metadata]
    assert [(m.grade_id, m.grade, m.locked, m.solution, m.get("points")) for m in marked] == [
        ("answer-01-1", False, False, True, None),
        ("check-01-1", True, True, False, 2),
        ("answer-01-quiz", False, False, True, None),
        ("check-01-quiz", True, True, False, 1),
    ]
    assert {(m.schema_version, m.task) for m in marked} == {(3, False)}
    text = "\n".join(cell.source for cell in cells)
    assert 'raise NotImplementedError("exercise 01.1: write it here")' in text
    assert '2 * check("01.1", double)  # points' in text
    assert "SOLUTION" not in text
    assert "secret" not in text
    assert "$$\nW = W_0" in text
    assert "(01_rank.ipynb)" in text


def test_a_solution_notebook_has_everything(small):
    text = "\n".join(cell.source for cell in cells_of(notebooks.solution_notebook(small)))
    assert text.count("# BEGIN SOLUTION") == text.count("# END SOLUTION") == 2
    assert "The secret of the quiz." in text


def test_the_sources_of_the_graders_explain_nothing(small):
    for made in (notebooks.nbgrader_source(small), notebooks.otter_master(small)):
        text = "\n".join(cell.source for cell in cells_of(made))
        assert "# BEGIN SOLUTION" in text
        assert "The secret of the quiz." not in text


def test_otters_raw_cells_open_and_close_each_question(small):
    raw = [cell.source for cell in cells_of(notebooks.otter_master(small)) if cell.cell_type == "raw"]
    assert raw[0] == "# ASSIGNMENT CONFIG\nname: 01_small"
    assert raw[1:7] == [
        "# BEGIN QUESTION\nname: q01_1\npoints: 2", "# BEGIN SOLUTION", "# END SOLUTION",
        "# BEGIN TESTS", "# END TESTS", "# END QUESTION",
    ]  # fmt: skip
    assert len(raw) == 13


def test_the_same_cell_has_the_same_name_in_every_build(small):
    whole = {cell.id: cell.cell_type for cell in cells_of(notebooks.solution_notebook(small))}
    for make in (notebooks.student_notebook, notebooks.nbgrader_source):
        ids = [cell.id for cell in cells_of(make(small))]
        assert len(set(ids)) == len(ids)
        assert set(ids) < whole.keys()


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_every_lesson_builds_into_valid_notebooks_without_solutions(lesson):
    made = building.contents(lesson)
    for path, content in made.items():
        text = content.decode()
        if path.endswith(".ipynb"):
            nbformat.validate(json.loads(text))
        assert path.startswith("student/") != ("BEGIN SOLUTION" in text)


# ---- the folder --------------------------------------------------------------------------------------------------


def whole(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_build_has_a_place_for_everybody(small, tmp_path):
    out = tmp_path / "deep" / "out"
    assert list(build(out, (small,))) == ["01_small"]
    assert whole(out).keys() == {
        "student/scripts/01_small.py", "student/notebooks/01_small.ipynb", "solutions/01_small.ipynb",
        "nbgrader/source/01_small/01_small.ipynb", "otter/01_small.ipynb", f"{TOP}.zip", MANIFEST,
    }  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_same_lessons_give_the_same_bytes(small, tmp_path):
    for name in ("one", "two"):
        list(build(tmp_path / name, (small,)))
    assert whole(tmp_path / "one") == whole(tmp_path / "two")


def test_an_untouched_build_is_replaced(small, tmp_path):
    out = tmp_path / "out"
    list(build(out, (small,)))
    small.path.write_text(MASTER.replace("The end.", "The very end."))
    list(build(out, (small,)))
    assert "The very end." in (out / "student/scripts/01_small.py").read_text()


def test_what_somebody_wrote_is_never_overwritten(small, tmp_path):
    out = tmp_path / "out"
    list(build(out, (small,)))
    mine = out / "student/scripts/01_small.py"
    mine.write_text("my work")
    before = whole(out)
    with pytest.raises(ConfigError, match=r"did not write: student/scripts/01_small.py"):
        list(build(out, (small,)))
    assert whole(out) == before


@pytest.mark.parametrize("manifest", [None, "", "[]", '{"notes.txt": "0"}'])
def test_a_folder_of_somebody_else_is_refused(small, tmp_path, manifest):
    for name in ("notes.txt", "a.txt", "b.txt", "c.txt"):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    if manifest is not None:
        (tmp_path / "out" / MANIFEST).write_text(manifest)
    with pytest.raises(ConfigError, match=r"did not write: a.txt, b.txt, c.txt and 1 more"):
        list(build(tmp_path / "out", (small,)))


def test_a_file_in_the_way_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="is a file"):
        list(build(small.path, (small,)))


def test_a_file_that_comes_while_it_builds_is_kept(small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    steps = build(out, (small,))
    next(steps)
    (out / "late.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"late.txt"):
        next(steps)
    assert [path.name for path in out.iterdir()] == ["late.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_small.py", "out"]


def test_if_the_new_folder_cannot_take_its_place_the_old_one_stays(small, tmp_path, monkeypatch):
    out = tmp_path / "out"
    list(build(out, (small,)))
    before, replace, calls = whole(out), type(out).replace, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(type(out), "replace", second_fails)
    with pytest.raises(OSError, match="Permission"):
        list(build(out, (small,)))
    assert whole(out) == before


def test_the_archive_holds_the_students_files_and_how_to_use_them(small, tmp_path):
    list(build(tmp_path / "out", (small,)))
    with zipfile.ZipFile(tmp_path / "out" / f"{TOP}.zip") as packed:
        assert packed.namelist() == [
            f"{TOP}/README.txt", f"{TOP}/notebooks/01_small.ipynb", f"{TOP}/scripts/01_small.py",
        ]  # fmt: skip
        texts = [packed.read(name).decode() for name in packed.namelist()]
    assert not any("secret" in text for text in texts)
    assert "--no-index" in texts[0]


def test_the_archives_bytes_depend_on_the_files_alone():
    one = archive({"b": b"2", "a": b"1"})
    assert one == archive({"a": b"1", "b": b"2"}) != archive({"a": b"1", "b": b"3"})
    with zipfile.ZipFile(io.BytesIO(one)) as packed:
        assert {
            (info.date_time, info.compress_type, info.external_attr >> 16) for info in packed.infolist()
        } == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0o644)}
