"""Make a class of made-up students: `python -m tests.synthetic_submissions DIR [200]`, then `lora-np grade DIR`.

Each hands in one or two lessons as the student's script or notebook, with answers of the collection in place of the
solutions: some all right, some with the mistakes that students make.  One in ten is bad in a way of its own: broken,
endless, or up to something.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

from lora_np.teach.exercises import exercises
from lora_np.teach.grade.answering import name_of
from lora_np.teach.grade.reading import read
from lora_np.teach.lessons import Lesson, lessons
from tests.answers import LESSONS, submissions

BAD = {
    "empty": "",
    "no syntax": "def f(:\n",
    "endless": "# %%\nwhile True:\n    pass\n",
    "processes": "# %%\nimport os\nwhile True:\n    os.fork()\n",
    "outside": "# %%\nopen('/tmp/from_a_submission', 'w').write('x')\n",
    "prints": "# %%\nfor _ in range(100):\n    print('x' * 10**6)\n",
    "memory": "# %%\nx = [b'x' * 10**8 for _ in range(10**6)]\n",
    "exit": "# %%\nimport os\nos._exit(0)\n",
    "network": "# %%\nimport urllib.request\nurllib.request.urlopen('http://example.com')\n",
    "no notebook": None,
}
"""What is done before the lesson; None stands for a notebook that is not JSON."""

_CELL = re.compile(r'^# %% tags=\["exercise"\]\n(?P<code>.*?)(?=^# %%)', re.MULTILINE | re.DOTALL)


def handed_in(lesson: Lesson, answers: dict[str, str]) -> str:
    """Write a lesson with these answers, by exercise; the others as in the master."""

    def replaced(cell: re.Match[str]) -> str:
        found = re.search(r"^def (\w+)", cell["code"], re.MULTILINE)
        answer = answers.get(found[1]) if found else None
        return cell[0] if answer is None else f'# %% tags=["exercise"]\nimport numpy as np\n{answer}\n\n'

    return _CELL.sub(replaced, lesson.text)


def notebook(script: str, scratch: Path) -> str:
    """Write a script's code as a notebook."""
    scratch.write_text(script, encoding="utf-8")
    cells = [
        {"cell_type": "code", "source": cell.code, "metadata": {"tags": cell.tags}, "outputs": []}
        for cell in read(scratch)
    ]
    scratch.unlink()
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def answers_of(number: str, rng: np.random.Generator) -> dict[str, str]:
    """Draw a student's answers to a lesson, by the functions' names: three in four of them right."""
    drawn: dict[str, str] = {}
    for task in exercises(number):
        if number not in LESSONS or rng.random() < 0.25:
            continue  # as in the master
        wants_right = rng.random() < 0.67
        fitting = [
            one.code
            for one in submissions(number)
            if one.id == task.id and (one.name == "Right") == wants_right
        ]
        if fitting:
            drawn[name_of(task)] = fitting[rng.integers(len(fitting))]
    return drawn


def make(folder: Path, count: int, *, seed: int = 0, chosen: tuple[Lesson, ...] | None = None) -> None:
    """Write `count` submissions; the same for the same seed."""
    rng, ladder = np.random.default_rng(seed), chosen or lessons()
    folder.mkdir(parents=True, exist_ok=True)
    ways = list(BAD)
    for number in range(count):
        lesson = ladder[number % len(ladder)]
        student, name = folder / f"student_{number:03}", lesson.name
        student.mkdir()
        text = handed_in(lesson, answers_of(lesson.number, rng))
        if number % 10 == 7:
            way = ways[number // 10 % len(ways)]
            (student / f"how_{way.replace(' ', '_')}.txt").write_text("")
            if BAD[way] is None:
                (student / f"{name}.ipynb").write_text('{"cells": [', encoding="utf-8")
                continue
            text = BAD[way] + text if BAD[way] else ""
        if number % 2:
            content = notebook(text, student / "scratch.py") if text.strip() else ""
            (student / f"{name}.ipynb").write_text(content, encoding="utf-8")
        else:
            (student / f"{name}.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
