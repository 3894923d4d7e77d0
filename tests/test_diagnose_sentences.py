"""What the diagnoser says: the sentence, the element, the order of names, and when it says nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from lora_np.conformance.diagnose import Diagnosis, diagnose, diagnoses, verdict
from lora_np.conformance.exact.rounding import smallest
from lora_np.conformance.vectors.format import Case, Output, Tensor, read_all

U = 2.0**-53


def made(
    want: np.ndarray, *, method: str = "lora", operation: str = "count", dtype: str = "float64", **inputs
) -> Case:
    """Make a case with one output of size |want| + 1, of an operation that no formula knows unless given."""
    want = np.asarray(want, dtype=np.float64)
    config = {"rank": 2, "alpha": 3.0}
    tensors = {name: Tensor(np.asarray(array), dtype) for name, array in inputs.items()}
    return Case(
        "made/up#1", method, operation, config, dtype, tensors, {"Y": Output(want, np.abs(want) + 1, 4)}
    )


def layer(
    rows: int = 3, d: int = 4, k: int = 5, r: int = 2, seed: int = 1
) -> tuple[Case, dict[str, np.ndarray]]:
    """Make a case of lora.forward whose inputs have all their bits."""
    rng = np.random.default_rng(seed)
    t = {"X": rng.normal(size=(rows, k)), "W0": rng.normal(size=(d, k)), "B": rng.normal(size=(d, r))}
    t |= {"A": rng.normal(size=(r, k))}
    Y = forward(t)
    case = made(Y, operation="forward", **t)
    return case, t


def forward(t: dict[str, np.ndarray], s: float = 1.5) -> np.ndarray:
    """X W0ᵀ + s X Aᵀ Bᵀ."""
    return t["X"] @ t["W0"].T + s * (t["X"] @ t["A"].T) @ t["B"].T


def named(case: Case, got: np.ndarray) -> str:
    """The name of the first diagnosis, or an empty text."""
    found = diagnose(case, {"Y": got})
    return "" if found is None else found.name


# ---- the sentence -------------------------------------------------------------------------------------------


def test_the_sentence_counts_the_elements_names_the_factor_and_shows_the_first_wrong_one():
    case, t = layer()
    found = diagnose(case, {"Y": forward(t, 1.0)})
    assert found is not None
    assert found.name == "MissingScale"
    assert found.sentence.startswith(
        "all 12 elements are wrong: off by 1/s in the increment: is the scale missing?"
    )
    assert (found.output, found.index) == ("Y", (0, 0))
    assert found.got == forward(t, 1.0)[0, 0]
    assert found.want == case.outputs["Y"].want[0, 0]
    assert found.got.hex() in str(found)
    assert str(found).endswith("[MissingScale]")


def test_one_factor_over_everything_is_said_as_a_factor():
    case = made([[1.0, 2.0], [3.0, -4.0]])
    found = diagnose(case, {"Y": case.outputs["Y"].want * 0.25})
    assert found is not None
    assert "all 4 elements are off by 0.25" in found.sentence


def test_a_single_element_is_singular_and_a_scalar_has_no_index():
    case = made(np.array(2.0))
    found = diagnose(case, {"Y": np.array(-2.0)})
    assert found is not None
    assert found.name == "SignFlipped"
    assert found.sentence.startswith("all 1 element is")
    assert found.index == ()
    assert str(found).startswith("Y: got")


def test_where_only_some_elements_are_wrong_their_place_is_said():
    case = made(np.arange(1.0, 13.0).reshape(3, 4))
    got = case.outputs["Y"].want.copy()
    got[1] += [0.3, -0.7, 0.1, 0.2]
    found = diagnose(case, {"Y": got})
    assert found is not None
    assert found.name == "PartlyWrong"
    assert "4 of 12 elements are wrong: all of it at [1] of axis 0" in found.sentence
    assert found.index == (1, 0)


# ---- nothing to say -----------------------------------------------------------------------------------------


def test_right_answers_have_no_diagnosis():
    for case in read_all(include="lora/forward"):
        assert diagnose(case, {name: output.want for name, output in case.outputs.items()}) is None


def test_noise_has_no_explanation():
    """Every element is off in its own way: no name is better than a wrong one."""
    case = made(np.arange(1.0, 13.0).reshape(3, 4))
    noise = np.random.default_rng(0).normal(size=(3, 4))
    assert diagnose(case, {"Y": noise}) is None


def test_a_missing_or_surplus_output_is_not_looked_at():
    case = made([1.0, 2.0])
    assert diagnose(case, {}) is None
    assert diagnose(case, {"Z": np.zeros(3)}) is None
    assert diagnoses(case, {"Y": np.array([1.0, 2.0])}) == []


def test_an_error_just_above_the_bound_has_no_name():
    case = made([1.0, 2.0, 3.0])
    got = case.outputs["Y"].want + np.array([40 * U * 2, 0, 0])
    assert named(case, got) == ""


def test_what_underflow_takes_is_no_mistake():
    case = made(np.zeros(2))
    assert diagnose(case, {"Y": np.full(2, smallest("float64"))}) is None


# ---- what can be seen in the numbers ------------------------------------------------------------------------

PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NotFinite": lambda Y: np.where(Y > 5, np.nan, Y),
    "AllZero": lambda Y: 0 * Y,
    "SignFlipped": lambda Y: -Y,
    "Permuted": lambda Y: Y[[1, 3, 0, 2]],
    "OffByOneRow": lambda Y: np.roll(Y, 1, axis=0),
    "ReadBackwards": lambda Y: Y[::-1],
    "MemoryOrder": lambda Y: Y.T.reshape(Y.shape),
    "ConstantFactor": lambda Y: 0.123 * Y,
    "ConstantAdded": lambda Y: Y + 0.7,
    "FactorPerSlice": lambda Y: Y * np.array([[0.3], [1.7], [2.3], [0.9]]),
    "EpsilonAdded": lambda Y: Y + 1e-8,
    "ComputedInFloat32": lambda Y: Y.astype(np.float32),
    "ComputedInFloat16": lambda Y: Y.astype(np.float16),
    "AccumulatedInFloat32": lambda Y: Y * (1 + 3e-8 * np.cos(np.arange(12.0)).reshape(4, 3)),
    "OnlyOneRow": lambda Y: np.broadcast_to(Y[:1], Y.shape),
    "SignLost": np.abs,
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_needs_no_formula_is_named(name):
    Y = np.random.default_rng(3).normal(size=(4, 3)) * 4
    case = made(Y)
    found = diagnoses(case, {"Y": PLAIN[name](Y)})
    assert name in [one.name for one in found]
    assert found[0].name == name


def test_a_transposed_shape_and_a_lost_axis_are_named_where_the_numbers_are_right():
    case = made(np.arange(1.0, 7.0).reshape(2, 3))
    Y = case.outputs["Y"].want
    assert named(case, Y.T) == "Transposed"
    assert named(case, Y[None]) == "AxisLost"
    assert named(case, Y[:, :2]) == ""
    assert named(case, Y.T + 1) == ""


# ---- precision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["X", "W0", "B", "A"])
def test_an_input_rounded_on_the_way_is_named(name, dtype):
    case, t = layer()
    found = diagnose(case, {"Y": forward({**t, name: rounded(t[name], dtype)})})
    assert found is not None
    assert found.name == f"InputRoundedTo{dtype.capitalize()}"
    assert f"{name} rounded to {dtype}" in found.sentence


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_scale_or_an_increment_rounded_on_the_way_is_named(dtype):
    case, t = layer()
    case.config["alpha"] = 1.0  # type: ignore[index]
    case.config["rank"] = 3  # type: ignore[index]
    want = forward(t, 1 / 3)
    case = Case(
        **{name: getattr(case, name) for name in ("id", "method", "operation", "config", "dtype", "inputs")}
        | {"outputs": {"Y": Output(want, np.abs(want) + 1, 4)}}
    )
    s = float(rounded(np.array(1 / 3), dtype))
    assert named(case, forward(t, s)) == f"ScaleRoundedTo{dtype.capitalize()}"
    delta = rounded(1 / 3 * t["B"] @ t["A"], dtype)
    assert named(case, t["X"] @ (t["W0"] + delta).T) == f"IncrementRoundedTo{dtype.capitalize()}"


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """Round to a type of fewer bits, by another road than the diagnoser's."""
    if dtype != "bfloat16":
        return array.astype(dtype).astype(np.float64)
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(mantissa * 2.0**8) / 2.0**8, exponent)


# ---- several outputs, several cases -------------------------------------------------------------------------


def two(first: str, second: str) -> list[Diagnosis]:
    """Two diagnoses of one case, by name."""
    return [Diagnosis(name, "", "Y", (0,), 0.0, 1.0, rank) for rank, name in enumerate((first, second))]


def test_a_name_that_explains_all_outputs_goes_before_one_that_explains_the_first():
    """The gradient of B alone would pass as a mean over two rows; with that of A it is the rank that divides."""
    case = next(c for c in read_all(include="lora/backward") if c.dtype == "float64")
    assert case.config["rank"] == len(case.inputs["gY"].values) == 2
    want = {name: output.want for name, output in case.outputs.items()}
    base = case.inputs["gY"].values @ case.inputs["W0"].values
    got = {"gX": base + (want["gX"] - base) / 2, "gB": want["gB"] / 2, "gA": want["gA"] / 2}
    names = [one.name for one in diagnoses(case, got)]
    assert "RankDivided" in names
    assert "MeanForSum" not in names
    assert "MeanForSum" in [one.name for one in diagnoses(case, want | {"gB": got["gB"], "gA": got["gA"]})]


def test_the_verdict_is_the_name_that_explains_most_cases_and_the_simpler_of_two():
    assert verdict([]) is None
    assert verdict([[], []]) is None
    lists = [
        two("Transposed", "SquaredScale"),
        two("SquaredScale", "Permuted"),
        two("Transposed", "SquaredScale"),
    ]
    best = verdict(lists)
    assert best is not None
    assert best.name == "SquaredScale"
    tied = verdict([two("Transposed", "Permuted"), two("Transposed", "Permuted")])
    assert tied is not None
    assert tied.name == "Transposed"


def test_a_place_never_goes_before_an_explanation():
    lists = [two("MissingScale", "PartlyWrong"), [two("x", "PartlyWrong")[1]], [two("x", "PartlyWrong")[1]]]
    best = verdict(lists)
    assert best is not None
    assert best.name == "MissingScale"
