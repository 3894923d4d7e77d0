"""The notebooks as Jupyter, nbgrader and otter-grader see them: `pytest -m notebooks`, slow, and needs those."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="jupytext is not installed")
pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

import nbformat

from lora_np.teach.build import notebooks
from lora_np.teach.build.building import build
from lora_np.teach.exercises import exercise, exercises
from lora_np.teach.lessons import lesson, lessons

pytestmark = pytest.mark.notebooks

NAMES = {one.number: one.name for one in lessons()}
POINTS = {number: [getattr(task, "stars", 1) for task in exercises(number)] for number in NAMES}
RUN = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def executed(text: str, folder: Path) -> list:
    """Run a notebook in Jupyter's way and return its cells; a cell that raises fails the test."""
    path = folder / "lesson.ipynb"
    path.write_text(text)
    package = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(path)],
        cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def printed(cells: list) -> str:
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", ()))


def scores(cells: list) -> list[float]:
    """Read what each check cell is worth, as nbgrader does: the value that the cell shows."""
    return [
        float(output.data["text/plain"])
        for cell in cells
        if cell.metadata.get("nbgrader", {}).get("grade")
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]


@pytest.mark.parametrize("number", NAMES)
def test_a_solution_notebook_runs_and_shows_its_picture(number, tmp_path):
    cells = executed(notebooks.solution_notebook(lesson(number)), tmp_path)
    assert scores(cells) == POINTS[number]
    assert "✗" not in printed(cells)
    (shown,) = [cell for cell in cells if "picture" in cell.metadata.get("tags", ())]
    assert any("application/vnd.plotly.v1+json" in output.get("data", {}) for output in shown.outputs)


@pytest.mark.parametrize("number", list(NAMES)[:1])
def test_a_students_notebook_runs_to_its_end_with_nothing_solved(number, tmp_path):
    cells = executed(notebooks.student_notebook(lesson(number)), tmp_path)
    assert scores(cells) == [0.0] * len(POINTS[number])
    assert "✓" not in printed(cells)


def test_points_are_the_stars():
    assert POINTS["01"][:-1] == [exercise(f"01.{n}").stars for n in range(1, len(POINTS["01"]))]
    assert POINTS["01"][-1] == 1


# ---- nbgrader ----------------------------------------------------------------------------------------------------

NBGRADER = """
import json, shutil, sys, warnings
from pathlib import Path
from traitlets.config import Config
from nbgrader.apps.api import NbGraderAPI

warnings.simplefilter("ignore")
root, name = Path(sys.argv[1]), sys.argv[2]
config = Config()
config.CourseDirectory.root = str(root)
api = NbGraderAPI(config=config)
said = [api.generate_assignment(name)]
release = root / "release" / name / f"{name}.ipynb"
handed_in = {"untouched": release, "solved": root / "source" / name / f"{name}.ipynb"}
for student, file in handed_in.items():
    folder = root / "submitted" / student / name
    folder.mkdir(parents=True)
    shutil.copy(file, folder / file.name)
    said.append(api.autograde(name, student))
scores = {student: api.get_submission(name, student) for student in handed_in}
print(json.dumps({
    "success": [one["success"] for one in said],
    "errors": [one.get("error", "")[-2000:] for one in said],
    "scores": {student: [one["score"], one["max_score"]] for student, one in scores.items()},
}))
"""


def test_nbgrader_makes_its_assignment_and_grades_it(tmp_path):
    """The whole way: the release has no solution; one student hands it in untouched, another hands in the source."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed")
    name, out = NAMES["01"], tmp_path / "out"
    list(build(out, (lesson("01"),)))
    course = out / "nbgrader"
    ended = subprocess.run(
        [sys.executable, "-c", NBGRADER, str(course), name],
        env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["success"] == [True, True, True], found["errors"]
    whole = float(sum(POINTS["01"]))
    assert found["scores"] == {"untouched": [0.0, whole], "solved": [whole, whole]}
    released = (course / "release" / name / f"{name}.ipynb").read_text()
    assert "SOLUTION" not in released
    assert "YOUR CODE HERE" in released


# ---- otter-grader ------------------------------------------------------------------------------------------------


def test_otter_makes_its_assignment(tmp_path):
    """Every exercise becomes a question with its points and one test; the student's notebook has no solution."""
    pytest.importorskip("otter", reason="otter-grader is not installed")
    name, tool = NAMES["01"], Path(sys.executable).parent / "otter"
    (tmp_path / f"{name}.ipynb").write_text(notebooks.otter_master(lesson("01")))
    ended = subprocess.run(
        [str(tool), "assign", f"{name}.ipynb", "made", "--no-pdfs", "--no-run-tests"],
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    text = (tmp_path / "made" / "student" / f"{name}.ipynb").read_text()
    assert "SOLUTION" not in text
    tests = json.loads(text)["metadata"]["otter"]["tests"]
    assert [test["points"] for test in tests.values()] == POINTS["01"]
    assert list(tests) == [f"q{task.id.replace('.', '_')}" for task in exercises("01")]
