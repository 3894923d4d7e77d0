"""What a user can get wrong in a call on the layer: our class, the name, what came, what was expected, the fix.

Every case passes one wrong argument to every public function that takes it, and compares the bytes of all arguments
before and after: a failing call changes nothing.
"""

import datetime
import re
import warnings

import numpy as np
import pytest

import lora_np
from lora_np import LoraParams, Merged
from lora_np.errors import ConfigError, DTypeError, LoraNpError, NonFiniteError, RankError, ShapeError

N, D, K, R = 4, 5, 6, 2


def valid():
    """One right value for every argument name of the layer's functions."""
    rng = np.random.default_rng(8)
    return {
        "X": rng.normal(size=(N, K)),
        "W0": rng.normal(size=(D, K)),
        "W": rng.normal(size=(D, K)),
        "gW": rng.normal(size=(D, K)),
        "B": rng.normal(size=(D, R)),
        "A": rng.normal(size=(R, K)),
        "gY": rng.normal(size=(N, D)),
        "Z": rng.normal(size=(N, R)),
        "bias": rng.normal(size=D),
        "scale": 0.5,
    }


def _p(a):
    return a["p"] if "p" in a else LoraParams(a["B"], a["A"])


FUNCTIONS = {  # name -> (argument names, call)
    "forward": (
        ("X", "W0", "B", "A", "scale", "bias"),
        lambda a: lora_np.forward(a["X"], a["W0"], _p(a), scale=a["scale"], bias=a["bias"]),
    ),
    "forward_via_weight": (
        ("X", "W0", "B", "A", "scale", "bias"),
        lambda a: lora_np.forward_via_weight(a["X"], a["W0"], _p(a), scale=a["scale"], bias=a["bias"]),
    ),
    "backward": (
        ("gY", "X", "Z", "W0", "B", "A", "scale"),
        lambda a: lora_np.backward(a["gY"], a["X"], a["Z"], a["W0"], _p(a), scale=a["scale"]),
    ),
    "backward_via_weight": (
        ("gY", "X", "W", "B", "A", "scale"),
        lambda a: lora_np.backward_via_weight(a["gY"], a["X"], a["W"], _p(a), scale=a["scale"]),
    ),
    "project_gradient": (
        ("gW", "B", "A", "scale"),
        lambda a: lora_np.project_gradient(a["gW"], _p(a), scale=a["scale"]),
    ),
    "bias_gradient": (("gY",), lambda a: lora_np.bias_gradient(a["gY"])),
    "symmetric_base": (
        ("W0", "B", "A", "scale"),
        lambda a: lora_np.symmetric_base(a["W0"], _p(a), scale=a["scale"]),
    ),
    "merge": (("W0", "B", "A", "scale"), lambda a: lora_np.merge(a["W0"], _p(a), scale=a["scale"])),
    "unmerge": (("W", "B", "A", "scale"), lambda a: lora_np.unmerge(a["W"], _p(a), scale=a["scale"])),
    "Merged.merge": (("W0", "B", "A", "scale"), lambda a: Merged(a["W0"]).merge(_p(a), scale=a["scale"])),
    "to_row_form": (("W0", "B", "A"), lambda a: lora_np.to_row_form(a["W0"], a["B"], a["A"])),
}


def refuse(function, wrong, error, *says):
    """Call with one wrong argument; the error is ours, says what it must, and no argument changed a byte."""
    arguments = {**valid(), **wrong}
    arrays = {name: x for name, x in arguments.items() if isinstance(x, np.ndarray) and x.dtype != object}
    before = {name: x.tobytes() for name, x in arrays.items()}
    with pytest.raises(LoraNpError) as caught:
        FUNCTIONS[function][1](arguments)
    assert type(caught.value) is error, caught.value
    for part in says:
        assert part in str(caught.value), caught.value
    assert {name: x.tobytes() for name, x in arrays.items()} == before


def taking(*names):
    """Every (function, argument) pair with one of these arguments; all array arguments where none is named."""
    wanted = names or ("X", "W0", "W", "gW", "B", "A", "gY", "Z", "bias")
    return [
        pytest.param(function, name, id=f"{function}-{name}")
        for function, (takes, _) in FUNCTIONS.items()
        for name in takes
        if name in wanted
    ]


@pytest.mark.parametrize(("function", "name"), taking())
class TestAnyArray:
    def test_every_valid_call_passes(self, function, name):
        FUNCTIONS[function][1](valid())

    @pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
    def test_row_18_whole_numbers(self, function, name, dtype):
        x = np.ones(valid()[name].shape, dtype)
        refuse(function, {name: x}, DTypeError, f"{name} ", x.dtype.name, "cast to float", "astype")

    @pytest.mark.parametrize(
        "x",
        [
            np.ones((2, 2), object),
            np.array([["a"]]),
            np.array([[datetime.datetime(2026, 1, 1)]], "datetime64[s]"),
            np.ones((2, 2), complex),
        ],
        ids=["object", "str", "datetime", "complex"],
    )
    def test_row_19_other_element_types(self, function, name, x):
        refuse(function, {name: x}, DTypeError, f"{name} ", "real floating", str(x.dtype))

    @pytest.mark.parametrize("x", [None, 3.0, "weights", [[1.0, 2.0], [3.0, 4.0]], {}])
    def test_row_17_no_array_at_all(self, function, name, x):
        if name == "bias" and x is None:
            pytest.skip("no bias is allowed")
        refuse(function, {name: x}, DTypeError, f"{name} ", type(x).__name__, "np.asarray")

    def test_row_17_ragged_list(self, function, name):
        refuse(function, {name: [[1.0, 2.0], [3.0]]}, ShapeError, f"{name} ", "ragged", "equally long")

    def test_row_17_scalar(self, function, name):
        refuse(function, {name: np.float64(3.0)}, ShapeError, f"{name} ")
        refuse(function, {name: np.array(3.0)}, ShapeError, f"{name} ")

    def test_row_20_mixed_types(self, function, name):
        if function == "bias_gradient":
            pytest.skip("takes one array")
        wrong = {name: valid()[name].astype(np.float32)}
        refuse(function, wrong, DTypeError, "float32", "float64", f"{name} ", "lora_np.promote(")


@pytest.mark.parametrize(("function", "name"), taking("X", "Z", "gY"))
def test_row_12_wrong_width(function, name):
    """Both shapes, the names, and what was expected."""
    if function == "bias_gradient":
        pytest.skip("takes any width")
    width = valid()[name].shape[-1]
    x = np.ones((N, width + 1))
    refuse(function, {name: x}, ShapeError, f"{name} has shape ({N}, {width + 1}), expected (..., {width})")


def test_row_12_names_the_weight_too():
    refuse(
        "forward", {"X": np.ones((N, 7))}, ShapeError, "X has shape (4, 7)", "W0 (5, 6)", "expected (..., 6)"
    )


@pytest.mark.parametrize(("function", "name"), taking("B"))
class TestFactors:
    def test_row_13_swapped(self, function, name):
        a = valid()
        refuse(
            function, {"B": a["A"], "A": a["B"]}, ShapeError, "A is (r, k), B is (d, r); these look swapped"
        )

    def test_row_14_transposed(self, function, name):
        a = valid()
        refuse(function, {"A": a["A"].T}, ShapeError, "looks transposed", "A (6, 2)", "A.T has shape (2, 6)")
        refuse(function, {"B": a["B"].T}, ShapeError, "looks transposed", "B (2, 5)", "B.T has shape (5, 2)")

    def test_row_14_of_no_layer_at_all(self, function, name):
        refuse(
            function,
            {"A": np.ones((R, 9))},
            ShapeError,
            "A (2, 9)",
            "(d, k) = (5, 6)",
            "A is (r, k), B is (d, r)",
        )

    def test_row_15_two_ranks(self, function, name):
        refuse(
            function, {"B": np.ones((D, 3))}, RankError, "B has rank 3", "A has rank 2", "(5, 3)", "(2, 6)"
        )

    @pytest.mark.parametrize("p", [None, 3, LoraParams, (np.ones(2),), "BA", np.ones((2, 2, 2))])
    def test_no_pair_at_all(self, function, name, p):
        if function != "to_row_form":
            refuse(function, {"p": p}, ConfigError, "p must be the pair (B, A)", "LoraParams(B=..., A=...)")


@pytest.mark.parametrize(("function", "name"), taking("W0", "W", "gW", "B", "A"))
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_row_16_a_matrix_with_other_than_two_axes(function, name, shape):
    refuse(
        function,
        {name: np.ones(shape)},
        ShapeError,
        f"{name} ",
        f"{len(shape)} axes",
        str(shape),
        "expected 2",
    )


@pytest.mark.parametrize(("function", "name"), taking("X", "Z"))
def test_batches_that_differ(function, name):
    if function.startswith("backward"):
        x = np.ones((N + 1, valid()[name].shape[1]))
        refuse(function, {name: x}, ShapeError, "batch axes differ", name, "(5, ")


@pytest.mark.parametrize(("function", "name"), taking("bias"))
@pytest.mark.parametrize("shape", [(4,), (1, 5), (5, 1)])
def test_a_bias_of_another_shape(function, name, shape):
    refuse(function, {"bias": np.ones(shape)}, ShapeError, f"bias has shape {shape}", "expected (d,) = (5,)")


@pytest.mark.parametrize(("function", "name"), taking("scale"))
@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (np.nan, "scale must be finite, got nan"),
        (np.inf, "scale must be finite, got inf"),
        (10**400, "scale must be finite, got inf"),
        ("2", "scale must be a real number, got str '2'"),
        (2j, "scale must be a real number, got complex"),
        (True, "scale must be a real number, got bool True"),
        (None, "scale must be a real number, got NoneType None"),
        (np.ones(3), "scale must be a real number, got ndarray"),
    ],
)
def test_a_scale_that_is_no_number(function, name, scale, says):
    if function == "to_row_form":
        return
    refuse(function, {"scale": scale}, ConfigError, says)


class TestHyperParameters:
    @pytest.mark.parametrize(
        ("rank", "says"),
        [
            (0, "r must be a positive int, got 0; omit the adapter to disable LoRA"),
            (-1, "r must be a positive int, got -1"),
            (2.0, "r must be a positive int, got float 2.0"),
            (True, "got bool True"),
            ("4", "got str '4'"),
            (None, "got NoneType None"),
        ],
    )
    def test_rows_1_to_3_ranks(self, rank, says):
        rng = np.random.default_rng(0)
        calls = [
            lambda: lora_np.init(rng, 5, 6, rank),
            lambda: lora_np.scaling(8, rank),
            lambda: lora_np.LoraConfig(rank=rank, alpha=8),
        ]
        state = rng.bit_generator.state
        for call in calls:
            with pytest.raises(ConfigError, match=re.escape(says)):
                call()
        assert rng.bit_generator.state == state, "a refused call draws nothing"

    @pytest.mark.parametrize("alpha", [np.nan, np.inf, -np.inf])
    def test_row_5_alpha_is_finite(self, alpha):
        for call in (lambda: lora_np.scaling(alpha, 4), lambda: lora_np.LoraConfig(rank=4, alpha=alpha)):
            with pytest.raises(ConfigError, match=f"alpha must be finite, got {alpha}"):
                call()

    @pytest.mark.parametrize(
        ("alpha", "kind"), [("8", "str '8'"), (8j, "complex 8j"), (None, "NoneType None")]
    )
    def test_row_6_alpha_is_a_number(self, alpha, kind):
        with pytest.raises(ConfigError, match=re.escape(f"alpha must be a real number, got {kind}")):
            lora_np.scaling(alpha, 4)

    @pytest.mark.parametrize("value", ["false", 1, None])
    def test_row_9_use_rslora_is_a_bool(self, value):
        says = f"use_rslora: bool required, got {type(value).__name__} {value!r}"
        with pytest.raises(ConfigError, match=re.escape(says)):
            lora_np.LoraConfig(rank=4, alpha=8, use_rslora=value)

    def test_row_11_an_unknown_scheme(self):
        with pytest.raises(ConfigError, match=r"'kaiming', 'gaussian'.*got 'kaming'; did you mean 'kaiming'"):
            lora_np.init(np.random.default_rng(0), 5, 6, 2, scheme="kaming")
        with pytest.raises(ConfigError, match="scheme must be one of"):
            lora_np.init(np.random.default_rng(0), 5, 6, 2, scheme=3)

    @pytest.mark.parametrize("rng", [None, 0, np.random, np.random.RandomState(0)])
    def test_randomness_is_a_generator(self, rng):
        with pytest.raises(
            ConfigError, match=r"rng must be a numpy.random.Generator, got .*default_rng\(seed\)"
        ):
            lora_np.init(rng, 5, 6, 2)

    @pytest.mark.parametrize("dtype", [np.int64, "complex128", object, "no such type", bool])
    def test_an_element_type_that_is_not_floating(self, dtype):
        with pytest.raises(DTypeError, match="dtype must be a real floating type, got"):
            lora_np.init(np.random.default_rng(0), 5, 6, 2, dtype=dtype)

    @pytest.mark.parametrize(
        ("d", "k", "says"), [(-1, 6, "d must be"), (5, 2.0, "k must be"), ("5", 6, "d must be")]
    )
    def test_sizes_are_whole(self, d, k, says):
        with pytest.raises(ConfigError, match=f"{says} a non-negative int, got"):
            lora_np.init(np.random.default_rng(0), d, k, 2)

    @pytest.mark.parametrize("adapter", ["", None, 3])
    def test_a_merged_adapter_has_a_name(self, adapter):
        a = valid()
        with pytest.raises(ConfigError, match="adapter must be a name, got"):
            Merged(a["W0"]).merge(_p(a), scale=1.0, adapter=adapter)

    def test_an_unknown_equation(self):
        with pytest.raises(ConfigError, match=r"no equation has the key 'lora-3'; close: .*lora-2"):
            lora_np.equations.equation("lora-3")


@pytest.mark.parametrize(("function", "name"), taking("W0", "W", "B", "A"))
def test_row_23_nan_is_named_where_it_would_be_stored(function, name):
    """Merging stores its sum, so a NaN is named; forward and backward let it through, and never hide it."""
    x = valid()[name]
    x[1, 0] = np.nan
    owner = {"W0": "base weight", "W": "merged weight", "B": "adapter's B", "A": "adapter's A"}[name]
    if "merge" in function:
        refuse(function, {name: x}, NonFiniteError, owner, "index [1, 0]", "1 non-finite")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = FUNCTIONS[function][1]({**valid(), name: x})
        flat = [
            y
            for part in (got if isinstance(got, tuple) else (got,))
            for y in (part if isinstance(part, tuple) else (part,))
        ]
        assert any(np.isnan(y).any() for y in flat)
