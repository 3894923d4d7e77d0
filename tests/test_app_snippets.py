"""The card beside every picture: equations and code on it, and a snippet that gives the picture's numbers again."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from tests.app_visits import PATHS, all_pictures

RTOL = 1e-9
"""A snippet may sum in another order than the room, or with another linear algebra: rounding errors of 1e-16 grow by
some thousand operations to 1e-12 at most, and a formula that is wrong shows far above."""

ROUND_OFF = 1e-12
"""Of a column's largest entry: what cancels to nothing has no digits to compare."""

RUNNER = """
import builtins, contextlib, io, json, sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("app", "streamlit", "plotly", "tests"):
            raise ImportError(f"a snippet needs lora_np alone, not {name}")

sys.meta_path.insert(0, Forbidden())
found = []
for snippet in json.load(sys.stdin):
    space = {"__name__": "__main__"}
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(snippet, "snippet", "exec"), space)
        found.append({"numbers": space["numbers"], "said": bool(said.getvalue())})
    except BaseException as error:
        found.append({"error": f"{type(error).__name__}: {error}"})
plain = lambda value: value.tolist() if hasattr(value, "tolist") else list(value)
json.dump(found, sys.stdout, default=plain)
"""


def run_all(snippets: list[str], folder: Path) -> list[dict[str, object]]:
    """Run scripts in one process that has neither the app nor its libraries, each in an empty namespace."""
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps(snippets),
        env=os.environ | {"PYTHONPATH": root},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def same(found, shown) -> bool:
    """Compare two columns: numbers to `RTOL`, all else exactly."""
    if len(found) != len(shown):
        return False
    sizes = [abs(x) for x in shown if isinstance(x, (int, float)) and math.isfinite(x)]
    least = ROUND_OFF * max(sizes, default=0.0)
    for x, y in zip(found, shown, strict=True):
        if isinstance(x, float) and isinstance(y, (int, float)) and not math.isnan(x):
            if not (x == y or math.isclose(x, y, rel_tol=RTOL, abs_tol=least)):
                return False
        elif not (x == y or (x != x and y != y)):
            return False
    return True


def plain(column) -> list:
    return json.loads(json.dumps(list(column), default=lambda value: value.tolist()))


@pytest.mark.parametrize("room", PATHS)
def test_a_snippet_gives_the_pictures_numbers(room, tmp_path):
    """With `lora_np` alone, at the default and at the ends of every control; it prints them, too."""
    seen = {}
    for state, picture in all_pictures(room):
        if picture.card.get("snippet"):
            seen.setdefault((picture.key, picture.card["snippet"]), (state, picture.chart.table))
    scripts = list(dict.fromkeys(snippet for _, snippet in seen))
    found = dict(zip(scripts, run_all(scripts, tmp_path), strict=True))
    wrong = []
    for (key, snippet), (state, table) in seen.items():
        answer = found[snippet]
        numbers = answer.get("numbers", {})
        if not numbers or not answer["said"]:
            wrong.append((key, state, answer.get("error", "no numbers")))
        wrong += [
            (key, state, column)
            for column, values in numbers.items()
            if column not in table or not same(values, plain(table[column]))
        ]
    assert wrong == []


@pytest.mark.parametrize("room", PATHS)
def test_every_picture_has_equations_code_and_a_snippet(room):
    """A measured picture may lack the snippet: nobody else's clock gives its numbers again."""
    lacking = {
        (picture.key, state, part)
        for state, picture in all_pictures(room)
        for part in ("equations", "code", "snippet")
        if not picture.card.get(part) and not (part == "snippet" and picture.card.get("kind") == "measured")
    }
    assert lacking == set()


def test_the_comparison_of_columns_can_fail():
    assert same([1.0, 1e-17], [1.0, 0.0])
    assert same([1, "a", None], [1, "a", None])
    assert same([float("nan")], [float("nan")])
    assert not same([1.0, 2.0], [1.0, 2.0 + 1e-8])
    assert not same([1.0, 1e-11], [1.0, 0.0])
    assert not same([1.0], [1.0, 2.0])
    assert not same(["yes"], ["no"])
    assert not same([float("nan")], [1.0])


def test_a_snippet_that_needs_the_app_is_found(tmp_path):
    found = run_all(["import app.frame", "import plotly", "numbers = {'x': [1]}; print(numbers)"], tmp_path)
    assert ["error" in one for one in found] == [True, True, False]
