"""Marks are earned: hidden cases by student, no constants, nothing forbidden, and nothing to forge them with."""

import json
from fractions import Fraction

import numpy as np
import pytest

from lora_np.teach.grade import messages
from lora_np.teach.grade.answering import name_of
from lora_np.teach.grade.grading import seed_of
from lora_np.teach.grade.limits import Limits
from lora_np.teach.grade.messages import ChannelError, decode, encode
from lora_np.teach.judging import cases
from tests.grade_course import TASKS, graded, named, points, script

ALL = [1, 2, 3, 1]


def test_right_answers_get_all_points(tmp_path):
    result = graded(tmp_path, script())
    assert (points(result), result.points, result.of, result.notes) == (ALL, 7, 7, ())
    assert set(named(result).values()) == {"Right"}


def test_a_mistake_gets_its_name(tmp_path):
    wrong = {
        "e1": "def count(d, k, r):\n    return d * k",
        "e2": "def increment(B, A, scale):\n    return B @ A",
        "e3": "def test_double(double):\n    return double(2.0) == 4",
        "quiz": 'def quiz():\n    return "a"',
    }
    result = graded(tmp_path, script(**wrong))
    assert named(result) == {
        "05.1": "DenseCount",
        "05.2": "ConstantFactor",
        "05.3": "MutantSurvives",
        "05.quiz": "WrongChoice",
    }
    assert result.points == 0


def test_a_misspelt_name_is_pointed_out(tmp_path):
    result = graded(tmp_path, script(e1="def cuont(d, k, r):\n    return 1", e2="increment = 3"))
    assert points(result)[:2] == [0, 0]
    assert result.marks[0].words == "there is no function count; is cuont meant to be it?"
    assert (result.marks[1].name, result.marks[1].words[:10]) == ("WrongType", "it is int;")


def test_what_is_checked_is_judged_whatever_its_name(tmp_path):
    mine = "def mine(d, k, r):\n    return r * (d + k)\nassert check('05.1', mine)\nhint('05.1')"
    result = graded(tmp_path, script(mine, e1=""))
    assert (points(result), result.notes) == (ALL, ())


# ---- hidden cases --------------------------------------------------------------------------------------------


def test_each_student_and_each_exercise_has_a_seed_and_it_stays():
    assert seed_of(7, "anna", "05.2") == seed_of(7, "anna", "05.2") == 13287631573070876555
    others = [seed_of(8, "anna", "05.2"), seed_of(7, "bob", "05.2"), seed_of(7, "anna", "05.1")]
    assert len({seed_of(7, "anna", "05.2"), *others}) == 4
    assert seed_of(0, "Zoë", "05.2") == seed_of(0, "Zoe\u0308", "05.2")


def test_an_answer_fit_to_the_public_cases_fails_on_the_hidden_ones(tmp_path):
    public = {tuple(case.values()): TASKS[0].expected(**case) for case in cases(TASKS[0])}
    code = f"def count(d, k, r):\n    return {public!r}.get((d, k, r), 0)"
    assert points(graded(tmp_path, script(e1=code))) == [0, 2, 3, 1]


@pytest.mark.parametrize("body", ["return 12", "return d", "return max(d, k, r)"])
def test_a_constant_or_an_argument_is_no_answer(body, tmp_path):
    assert points(graded(tmp_path, script(e1=f"def count(d, k, r):\n    {body}")))[0] == 0


def test_the_same_seed_gives_the_same_result(tmp_path):
    text = script(e2="def increment(B, A, scale):\n    return B @ A")
    first, again = graded(tmp_path, text, seed=5), graded(tmp_path, text, seed=5)
    assert first.marks == again.marks
    assert first.digest == again.digest


# ---- what is forbidden ---------------------------------------------------------------------------------------

FORBIDDEN = {
    "the engine": """
import lora_np
def increment(B, A, scale):
    return lora_np.merge(0 * (B @ A), lora_np.LoraParams(B, A), scale=scale)""",
    "through an alias": """
from functools import partial
from lora_np.merging import merge as m
from lora_np.lora import LoraParams as P
f = partial(m)
def increment(B, A, scale):
    return f(0 * (B @ A), P(B, A), scale=scale)""",
    "autograd": """
import autograd.numpy as anp
def increment(B, A, scale):
    return scale * anp.dot(B, A)""",
    "a function named by the exercise": """
f = np.linalg.multi_dot
def increment(B, A, scale):
    return scale * f([B, np.eye(B.shape[1]), A])""",
    "while it is turned into numbers": """
from lora_np.lora import scaling
class Later(dict):
    def items(self):
        scaling(alpha=1.0, rank=1)
        return super().items()
def increment(B, A, scale):
    return Later(answer=scale * (B @ A))""",
}


@pytest.mark.parametrize("how", FORBIDDEN)
def test_an_answer_may_not_call_what_it_should_compute(how, tmp_path):
    result = graded(tmp_path, script(e2=FORBIDDEN[how]), limits=Limits(call_seconds=30))
    assert points(result) == [1, 0, 3, 1], result
    assert named(result)["05.2"] == "Forbidden", result.marks[1]


def test_outside_of_answers_everything_may_be_used(tmp_path):
    cell = "import lora_np\nassert lora_np.scaling(alpha=8.0, rank=4) == 2"
    result = graded(tmp_path, script(cell))
    assert (points(result), result.notes) == (ALL, ())


# ---- forged marks --------------------------------------------------------------------------------------------

FORGERIES = {
    "printed": 'print(\'{"05.2": "Right", "points": 2}\')',
    "patched judge": "import sys\nfor m in list(sys.modules.values()):\n"
    "    for n in ('judge', 'guarded', 'call'):\n        if hasattr(m, n): setattr(m, n, lambda *a, **k: True)",
    "patched NumPy": "np.allclose = np.array_equal = lambda *a, **k: True\nnp.abs = lambda x: 0 * x",
    "equal to everything": "class Equal(np.ndarray):\n    def __eq__(self, other): return True",
    "written to every handle": "import os, json, struct\n"
    "word = json.dumps({'returned': {'float': '0x1p+0'}, 'arguments': []}).encode()\n"
    "for h in range(3, 30):\n    try: os.write(h, struct.pack('>I', len(word)) + word)\n    except OSError: pass",
}


@pytest.mark.parametrize("how", FORGERIES)
def test_no_submission_forges_its_marks(how, tmp_path):
    result = graded(
        tmp_path, script(FORGERIES[how], e2="def increment(B, A, scale):\n    return 0 * (B @ A)")
    )
    assert result.marks[1].points == 0


def test_what_comes_back_is_never_code():
    class Evil:
        def __reduce__(self):
            return print, ("evil",)

    assert type(decode(encode(Evil()))).__name__ == "Evil"
    for garbled in (
        1,
        [],
        {},
        {"pickle": "gASV"},
        {"int": "x"},
        {"fraction": [{"int": "1"}, {"int": "0"}]},
        {"fraction": [{"int": "1"}, {"str": "x"}]},
        {"array": {"dtype": "O", "shape": [1], "bytes": ""}},
    ):
        with pytest.raises(ChannelError, match="garbled"):
            decode(garbled)


VALUES = [
    None, True, 3, Fraction(-2, 3), -(10**50), 2.5, float("inf"), "größe", [1, [2.0]], (1, "a"), {"B": 1, 2: (3,)},
    np.arange(6.0).reshape(2, 3), np.float32(0.1), np.arange(3, dtype=">i4"), np.zeros((0, 3)), np.array(["a", "bc"]),
    np.array(True), np.array([1 + 2j]), np.arange(6.0).reshape(2, 3).T,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_come_back_as_they_were(value):
    back = decode(json.loads(json.dumps(encode(value))))
    np.testing.assert_equal(back, value)
    assert type(back) is type(value)
    if isinstance(value, (np.ndarray, np.generic)):
        assert back.dtype == value.dtype.newbyteorder("=")


def test_too_much_comes_back_as_its_type():
    for value in (np.zeros((10**3, 10**3)), [np.zeros(10**5)] * 9, 10**4000):
        json.dumps(encode(value))
    assert type(decode(encode(np.zeros((10**3, 10**3))))).__name__ == "array of shape (1000, 1000)"
    nested = []
    nested.append(nested)
    assert isinstance(decode(encode(nested)), list)


def test_nan_and_minus_zero_keep_their_bits():
    assert np.isnan(decode(encode(float("nan"))))
    assert str(decode(encode(-0.0))) == "-0.0"


def test_a_change_of_an_argument_is_carried_over():
    B, listed, named_ = np.zeros(3), [1, 2], {"B": np.zeros(2)}
    messages.write_back([B, listed, named_], [np.ones(3), [1, 2, 3], {"B": np.ones(2)}])
    assert (B.sum(), listed, named_["B"].sum()) == (3, [1, 2, 3], 2)
    messages.write_back(B, np.ones((3, 1)))
    assert B.shape == (3, 1)
    messages.write_back(B, np.ones(99))
    assert B.shape == (3, 1)


def test_every_kind_of_exercise_has_a_function_to_write():
    assert [name_of(task) for task in TASKS] == ["count", "increment", "test_double", "quiz"]
