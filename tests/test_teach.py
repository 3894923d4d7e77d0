"""Checks that teach: every way to be wrong is named, every way to be right passes, and nothing an answer does escapes.

The exercise is a layer's backward pass; expected values are plain loops, so nothing here trusts the engine.
"""

import numpy as np
import pytest

from lora_np.errors import ConfigError
from lora_np.teach import check, hint, judge
from lora_np.teach.checking import hint_text, report
from lora_np.teach.exercise import Exercise, Quiz, Reverse, Suspect, digest
from lora_np.teach.exercises import exercise, exercises
from lora_np.teach.judging import cases

SIZES = ((1, 2, 3, 1, 1.0), (3, 4, 5, 2, 0.5), (4, 6, 5, 3, 2.0), (2, 3, 7, 4, 0.25))


def layers(rng):
    for N, d, k, r, scale in SIZES:
        X, B, A, gY = (rng.normal(size=shape) for shape in ((N, k), (d, r), (r, k), (N, d)))
        yield {"gY": gY, "X": X, "B": B, "A": A, "scale": scale}


def by_loops(gY, X, B, A, scale):
    """gB and gA as sums over single products."""
    (N, d), (r, k) = gY.shape, A.shape
    gB, gA = np.zeros((d, r)), np.zeros((r, k))
    for n in range(N):
        for i in range(d):
            for q in range(r):
                for j in range(k):
                    gB[i, q] += scale * gY[n, i] * X[n, j] * A[q, j]
                    gA[q, j] += scale * gY[n, i] * B[i, q] * X[n, j]
    return gB, gA


def right(gY, X, B, A, scale):
    return scale * gY.T @ (X @ A.T), scale * (gY @ B).T @ X


TASK = Exercise(
    id="04.9",
    title="Both gradients",
    signature="gradients(gY, X, B, A, scale)",
    given=layers,
    expected=by_loops,
    returns=("gB", "gA"),
    oracle="lora.backward",
    hints=("what is asked of you", "where to look for it"),
    equations=("lora-2",),
    suspects=(Suspect("MeanOfRows", "rows are averaged", lambda *a: [g / len(a[1]) for g in right(*a)]),),
)


def twice(f):
    return lambda *arguments: [2 * g for g in f(*arguments)]


def changed(gY, X, B, A, scale):
    B *= scale
    return right(gY, X, B / scale, A, scale)


def endless(*arguments):
    return endless(*arguments)


def nan_somewhere(*arguments):
    gB, gA = right(*arguments)
    gA[0, 0] = np.nan
    return gB, gA


def hidden(*arguments):
    import lora_np as engine

    engine.scaling(1.0, 1)
    return right(*arguments)


WRONG = {
    "not written": (lambda *a: ..., "NotWritten", "not written"),
    "nothing": (lambda *a: None, "NothingReturned", "return"),
    "one thing": (lambda *a: right(*a)[0][0, 0], "WrongCount", "2 are expected: gB, gA"),
    "a part is None": (lambda *a: (right(*a)[0], None), "NothingReturned", "gA"),
    "ragged": (lambda *a: ([[1.0], [1.0, 2.0]], 0.0), "WrongType", "lengths"),
    "an object": (lambda *a: (object(), 0.0), "WrongType", "object"),
    "words": (lambda *a: (right(*a)[0], "gA"), "WrongType", "words"),
    "few arguments": (lambda X: X, "WrongArguments", "gY, X, B, A, scale"),
    "other shapes": (lambda gY, X, B, A, scale: (gY.dot(X), B), "Raises", "two shapes do not fit"),
    "raises": (lambda *a: 1 / 0, "Raises", "ZeroDivisionError"),
    "recursion": (endless, "Raises", "RecursionError"),
    "leaves": (lambda *a: exit(3), "Raises", "SystemExit"),
    "transposed": (lambda *a: (right(*a)[0].T, right(*a)[1]), "WrongShape", "transposed"),
    "a tuple for one": (lambda *a: (right(*a)[0], right(*a)[1], 1), "WrongCount", "3 things"),
    "swapped": (lambda *a: right(*a)[::-1], "OutputsSwapped", "in this order"),
    "in place": (changed, "InputChanged", "writes into its argument B"),
    "NaN": (nan_somewhere, "NotFinite", "1 of 3"),
    "the engine": (hidden, "Forbidden", "lora_np.lora.scaling"),
    "a suspect": (lambda *a: [g / len(a[1]) for g in right(*a)], "MeanOfRows", "averaged"),
    "scale missing": (lambda gY, X, B, A, scale: right(gY, X, B, A, 1.0), "WholeScaled", "scale is missing"),
    "sign": (lambda *a: [-g for g in right(*a)], "SignFlipped", "sign"),
    "twice": (twice(right), "HalfOrDouble", "off by 2"),
    "seven": (lambda *a: [7 * g for g in right(*a)], "ConstantFactor", "off by 7, in every case"),
}


@pytest.mark.parametrize(("answer", "name", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_named(answer, name, says):
    """The error of an answer is measured as the oracle does [oracle-error], and its mistake is named."""
    verdict = judge(TASK, answer)
    assert not verdict.ok
    assert (verdict.name, says in verdict.words) == (name, True), verdict
    assert verdict.passed < verdict.cases == len(SIZES)


def test_right_answers_pass_whatever_road_they_take():
    for answer in (
        right,
        lambda *a: np.array(right(*a)[0]).tolist() and list(right(*a)),
        lambda *a: {"gA": right(*a)[1], "gB": right(*a)[0]},
        lambda *a: tuple(g.astype(np.float32) for g in right(*a)),
        lambda gY, X, B, A, scale: (scale * (gY.T @ X) @ A.T, scale * B.T @ (gY.T @ X)),
        lambda gY, X, B, A, scale: (
            np.einsum("ni,nj,qj->iq", gY, X, A) * scale,
            np.einsum("ni,iq,nj->qj", gY, B, X) * scale,
        ),
        by_loops,
    ):
        verdict = judge(TASK, answer)
        assert verdict.ok, verdict
        assert verdict.passed == verdict.cases


def test_an_answer_that_is_off_by_forty_roundings_is_wrong():
    assert judge(TASK, lambda *a: [g * (1 + 2.0**-53 * 10) for g in by_loops(*a)]).ok
    verdict = judge(TASK, lambda *a: [g * (1 + 2.0**-46) for g in by_loops(*a)])
    assert not verdict.ok


@pytest.mark.parametrize("rows", sorted({N for N, *_ in SIZES}))
def test_one_wrong_case_is_enough(rows):
    verdict = judge(TASK, lambda *a: [g + (len(a[1]) == rows) for g in right(*a)])
    assert (verdict.ok, verdict.passed) == (False, len(SIZES) - 1)


def test_a_factor_is_said_in_the_letters_of_the_exercise():
    task = Exercise(
        id="04.8",
        signature="product(B, A)",
        given=lambda rng: ({"B": g["B"], "A": g["A"]} for g in layers(rng)),
        expected=lambda B, A: B @ A,
    )
    verdict = judge(task, lambda B, A: B @ A / A.shape[0])
    assert verdict.name == "ConstantFactor"
    assert "off by 0.5 = 1/r" in verdict.words


def test_other_cases_come_from_another_seed_and_the_same_from_the_same():
    first, again, other = cases(TASK), cases(TASK), cases(TASK, seed=1)
    assert all((a["X"] == b["X"]).all() for a, b in zip(first, again, strict=True))
    assert not (first[0]["X"] == other[0]["X"]).all()


def test_a_class_and_a_number_are_no_functions():
    verdict = judge(TASK, 3.0)
    assert (verdict.name, "without brackets" in verdict.words) == ("WrongType", True)


def test_calls_through_an_alias_and_numpy_functions_are_seen():
    """What is forbidden is forbidden by any name, wherever NumPy keeps it."""
    task = Exercise(
        id="01.9",
        signature="rank_of(M)",
        given=lambda rng: ({"M": rng.normal(size=(3, n))} for n in (1, 2, 3)),
        expected=lambda M: min(M.shape),
        forbidden=("numpy.linalg.matrix_rank",),
    )
    alias = np.linalg.matrix_rank
    assert judge(task, lambda M: int(alias(M))).name == "Forbidden"
    assert judge(task, lambda M: min(M.shape)).ok
    assert judge(task, lambda M: float(min(M.shape))).ok
    assert judge(task, lambda M: M.shape[0]).name == "Unknown"


def test_what_is_not_unique_is_compared_by_what_is_made_of_it():
    task = Exercise(
        id="02.9",
        signature="factors(M)",
        given=lambda rng: ({"M": rng.normal(size=(4, r)) @ rng.normal(size=(r, 5))} for r in (1, 2, 3)),
        expected=lambda M: (M, np.eye(5)),
        seen=lambda answer, given: {"B A": answer[0] @ answer[1]},
        size=lambda given: {"B A": 100 * np.abs(given["M"]).max()},
    )
    assert judge(task, lambda M: (np.eye(4), M)).ok
    assert judge(task, lambda M: (M, M)).name == "WrongType"
    assert judge(task, lambda M: (np.eye(4), M.T)).name == "WrongType"
    assert judge(task, lambda M: (np.eye(4), 2 * M)).name == "HalfOrDouble"


# ---- a test to write ---------------------------------------------------------------------------------------

MUTANTS = Reverse(
    id="05.9",
    signature="test_sum(add)",
    right=(lambda a, b: a + b, lambda a, b: b + a),
    mutants=(
        Suspect("Product", "it multiplies", lambda a, b: a * b),
        Suspect("Difference", "it subtracts", lambda a, b: a - b),
    ),
)


def asserting(add):
    assert add(2, 3) == 5


@pytest.mark.parametrize(
    ("test", "name", "says"),
    [
        (asserting, "Right", "kills 2 mutants"),
        (lambda add: add(2, 3) == 5, "Right", "kills"),
        (lambda add: add(2, 2) == 4, "MutantSurvives", "multiplies"),
        (lambda add: True, "MutantSurvives", "2 of 2"),
        (lambda add: False, "RejectsRight", "right"),
        (lambda add: add(2), "Raises", "TypeError"),
        (lambda add: ..., "NotWritten", "not written"),
    ],
)
def test_a_students_test_must_accept_what_is_right_and_kill_mutants(test, name, says):
    verdict = judge(MUTANTS, test)
    assert (verdict.name, says in verdict.words) == (name, True), verdict
    assert verdict.ok == (name == "Right")


# ---- a quiz ------------------------------------------------------------------------------------------------

QUIZ = Quiz(
    id="05.quiz",
    answers=tuple(digest("05.quiz", n, letter) for n, letter in enumerate("bd", 1)),
    again=("section 1", "section 2"),
)


@pytest.mark.parametrize(
    ("letters", "name", "says"),
    [
        (("b", "d"), "Right", "2 of 2"),
        ("BD", "Right", "2 of 2"),
        (("b", "a"), "WrongChoice", "question 2: read again section 2"),
        (("b",), "WrongCount", "2 letters"),
        (3, "WrongCount", "2 letters"),
        (None, "WrongCount", "2 letters"),
    ],
)
def test_a_quiz_says_where_to_read_again_and_not_the_answer(letters, name, says):
    verdict = judge(QUIZ, lambda: letters)
    assert (verdict.name, says in verdict.words) == (name, True), verdict
    assert "section" in hint_text(QUIZ, 1)


def test_a_function_that_raises_is_no_answer_to_a_quiz():
    def unwritten():
        raise NotImplementedError("exercise 05.quiz: write it here")

    assert judge(QUIZ, unwritten).name == "NotWritten"


# ---- what is printed ---------------------------------------------------------------------------------------


def test_a_report_has_the_place_and_where_help_is():
    text = report(TASK, judge(TASK, lambda gY, X, B, A, scale: right(gY, X, B, A, 1.0)))
    assert text.startswith("✗ 04.9  gB: ")
    assert "gB[0, 0] is " in text
    assert 'hint("04.9")' in text
    assert report(TASK, judge(TASK, right)).startswith("✓ 04.9  4 cases")


def test_hints_go_from_what_to_where_to_the_equation():
    assert hint_text(TASK, 1).startswith("what is asked of you")
    assert hint_text(TASK, 2).startswith("where to look for it")
    assert hint_text(TASK, 3).startswith("[lora-2]")
    for level in (0, 4, "1"):
        with pytest.raises(ConfigError, match="level"):
            hint_text(TASK, level)


@pytest.mark.parametrize("id", ["05.77", "99.1", "", "five", None])
def test_an_exercise_that_there_is_not_is_refused_with_those_that_there_are(id):
    for function in (exercise, hint, lambda id: check(id, None)):
        with pytest.raises(ConfigError, match=r"expected|exercise"):
            function(id)


def test_lessons_without_a_number_are_refused():
    with pytest.raises(ConfigError, match="lesson"):
        exercises("5")
