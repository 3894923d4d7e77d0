"""Mistakes in the arguments of the methods with a low-rank increment: each is named, under the tensor's own name."""

import contextlib
import inspect
import warnings

import numpy as np
import pytest

from lora_np.errors import (
    ConfigError,
    DTypeError,
    LoraNpError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    RankWarning,
    ShapeError,
    StateError,
)
from lora_np.lora import LoraParams
from lora_np.merging import Merged
from lora_np.methods import (
    adalora,
    adalora_budget,
    additive,
    bitfit,
    lora_fa,
    lora_plus,
    lora_xs,
    rslora,
    symmetric,
    vera,
)
from lora_np.methods import method as find
from tests.test_bad_input_everywhere import NONSENSE
from tests.test_methods_low_rank import CASES, METHODS, draw, hyper

MODULES = (lora_plus, lora_fa, lora_xs, rslora, vera, adalora, adalora_budget, additive, symmetric, bitfit)
FUNCTIONS = {
    f"{module.__name__.rpartition('.')[2]}.{public}": getattr(module, public)
    for module in MODULES
    for public in module.__all__
    if inspect.isfunction(getattr(module, public))
} | {"method": find}
OWN = sorted(set(METHODS) - {"lora", "rslora", "lora-plus", "additive"})  # checked by the engine's own tests


def layer_of(name, rng):
    case = CASES[name]
    return case, draw(case, rng, 3, 4, 6, 2)


def forward(case, layer, **changes):
    layer = layer._replace(**changes)
    return case.module.forward(layer.X, layer.W0, *layer.frozen, layer.p, **hyper(case), bias=layer.bias)


def backward(case, layer, Z, **changes):
    layer = layer._replace(**changes)
    return case.module.backward(layer.gY, layer.X, Z, layer.W0, *layer.frozen, layer.p, **hyper(case))


def merge(case, layer, **changes):
    layer = layer._replace(**changes)
    return case.module.merge(layer.W0, *layer.frozen, layer.p, **hyper(case))


def variants(case, layer, change):
    """Every tensor of the method changed, one at a time: (its name, the layer with the change)."""
    for i, name in enumerate(case.frozen):
        frozen = list(layer.frozen)
        frozen[i] = change(frozen[i])
        yield name, layer._replace(frozen=tuple(frozen))
    for name in case.fields:
        yield name, layer._replace(p=layer.p._replace(**{name: change(getattr(layer.p, name))}))


@pytest.mark.parametrize("name", OWN)
def test_a_tensor_of_another_shape_is_named(name, rng):
    """Rows 13 to 16 of the bad inputs: shape, expectation, and a transpose where it is one."""
    case, layer = layer_of(name, rng)
    for tensor, wrong in variants(case, layer, lambda x: np.concatenate([x, x, x])):
        for call in (forward, merge):
            with pytest.raises((ShapeError, RankError), match=tensor) as caught:
                call(case, wrong)
            assert "transposed" not in str(caught.value)
    for tensor, wrong in variants(case, layer, lambda x: x[None]):
        with pytest.raises(
            ShapeError, match=f"{tensor} has {2 + (tensor not in ('lambda_b', 'lambda_d', 'lam'))} axes"
        ):
            forward(case, wrong)
    for tensor, wrong in variants(case, layer, lambda x: x.T):
        if case.fields.get(tensor, case.frozen.get(tensor)) not in ("r r", "d", "r"):
            with pytest.raises(ShapeError, match=f"{tensor} has shape .* looks transposed"):
                forward(case, wrong)


@pytest.mark.parametrize("name", OWN)
def test_two_ranks_are_a_rank_error(name, rng):
    """Row 15 of the bad inputs."""
    case, layer = layer_of(name, rng)
    letters = {**case.frozen, **case.fields}
    tensor = next(t for t in reversed(letters) if "r" in letters[t])
    if sum("r" in axes for axes in letters.values()) < 2:
        pytest.skip("one tensor has the rank alone")
    axis = letters[tensor].split().index("r")
    for named, wrong in variants(case, layer, lambda x: np.take(x, [0], axis=min(axis, x.ndim - 1))):
        if named == tensor and letters[tensor] != "r r":
            with pytest.raises(RankError, match="expected"):
                forward(case, wrong)


@pytest.mark.parametrize("name", OWN)
def test_another_element_type_is_named(name, rng):
    """Rows 18 to 20 of the bad inputs."""
    case, layer = layer_of(name, rng)
    for tensor, wrong in variants(case, layer, lambda x: x.astype(np.float32)):
        with pytest.raises(DTypeError, match=f"{tensor} is float32"):
            forward(case, wrong)
    for tensor, wrong in variants(case, layer, lambda x: x.astype(int)):
        with pytest.raises(DTypeError, match=f"{tensor} has dtype int64"):
            merge(case, wrong)
    _, Z = forward(case, layer)
    for call in (
        lambda: forward(case, layer, X=layer.X.astype(np.float32)),
        lambda: backward(case, layer, Z.astype(np.float32)),
    ):
        with pytest.raises(DTypeError, match="float32"):
            call()
    with pytest.raises(DTypeError, match="bias is float32"):
        forward(case, layer, bias=layer.bias.astype(np.float32))


@pytest.mark.parametrize("name", OWN)
def test_rows_that_do_not_belong_are_named(name, rng):
    """Rows 12 and 17 of the bad inputs: X, gY, what was kept, the bias."""
    case, layer = layer_of(name, rng)
    _, Z = forward(case, layer)
    cases = [
        (lambda: forward(case, layer, X=layer.X[:, :5]), "X has shape .* expected"),
        (lambda: forward(case, layer, X=np.array(1.0)), "X has shape"),
        (lambda: forward(case, layer, bias=layer.bias[:2]), "bias has shape"),
        (lambda: forward(case, layer, W0=layer.W0[0]), "W0 has 1 axes"),
        (lambda: backward(case, layer, Z, gY=layer.gY[:, :3]), "gY has shape"),
        (lambda: backward(case, layer, Z, gY=layer.gY[:2]), "batch axes differ"),
        (lambda: backward(case, layer, Z[:, :1]), "Z has shape"),
        (lambda: backward(case, layer, Z[:2]), "batch axes differ"),
        (lambda: backward(case, layer, Z, X=layer.X[:2]), "batch axes differ"),
    ]
    for call, words in cases:
        with pytest.raises(ShapeError, match=words):
            call()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"lora", "rslora", "lora-plus"}))
def test_parameters_come_as_their_own_type(name, rng):
    """A plain tuple may hold the tensors in another order; for several frozen ones nothing else would tell."""
    case, layer = layer_of(name, rng)
    _, Z = forward(case, layer)
    wrong = layer._replace(p=tuple(layer.p))
    for call in (lambda: forward(case, wrong), lambda: backward(case, wrong, Z), lambda: merge(case, wrong)):
        with pytest.raises(ConfigError, match=f"p must be {case.kind.__name__}, got tuple"):
            call()


@pytest.mark.parametrize("name", METHODS)
def test_a_scale_must_be_a_finite_number(name, rng):
    case, layer = layer_of(name, rng)
    if not case.scaled:
        assert "scale" not in inspect.signature(case.module.forward).parameters
        return
    _, Z = forward(case, layer)
    tensors, module = (*layer.frozen, layer.p), case.module
    for scale in (float("nan"), float("inf"), "2", None, 1j, True):
        for function, arguments in (
            (module.forward, (layer.X, layer.W0)),
            (module.backward, (layer.gY, layer.X, Z, layer.W0)),
            (module.merge, (layer.W0,)),
            (module.unmerge, (layer.W0,)),
        ):
            with pytest.raises(ConfigError, match="scale"):
                function(*arguments, *tensors, scale=scale)


@pytest.mark.parametrize("name", METHODS)
def test_merging_refuses_what_it_cannot_store_and_says_which_part_it_is(name, rng):
    """Rows 22 to 24 of the bad inputs: NaN in the base or in a tensor, an overflow, a weight that is already merged."""
    case, layer = layer_of(name, rng)
    poisoned = np.where(np.eye(4, 6) > 0, np.nan, layer.W0)
    with pytest.raises(NonFiniteError, match="the base weight W0"):
        merge(case, layer, W0=poisoned)
    with pytest.raises(NonFiniteError, match="the merged weight W"):
        case.module.unmerge(poisoned, *layer.frozen, layer.p, **hyper(case))
    for tensor, wrong in variants(case, layer, lambda x: np.full_like(x, np.inf)):
        for call in (
            merge,
            lambda case, layer: case.module.unmerge(layer.W0, *layer.frozen, layer.p, **hyper(case)),
        ):
            with pytest.raises(NonFiniteError, match=f"the adapter's {tensor} "):
                call(case, wrong)
    half = layer._replace(
        W0=np.full((4, 6), 6e4, np.float16),
        frozen=tuple(
            np.full(x.shape, 30, np.float16) * (-1 if n == case.minus else 1)
            for n, x in zip(case.frozen, layer.frozen, strict=True)
        ),
        p=case.kind(*(np.full(x.shape, 200, np.float16) for x in layer.p)),
    )
    large = {"scale": 500.0} if case.scaled else {}
    with pytest.raises(OverflowInMergeError, match="merging overflows float16"):
        case.module.merge(half.W0, *half.frozen, half.p, **large)
    assert half.W0.tolist() == np.full((4, 6), 6e4, np.float16).tolist()
    with pytest.raises(StateError, match="is a Merged weight"):
        merge(case, layer, W0=Merged(layer.W0))


def test_what_only_one_method_can_get_wrong(rng):
    """Starts, cuts, corrections: the argument, what came, what would do."""
    W0, A, gB = rng.normal(size=(3, 2)), rng.normal(size=(2, 4)), rng.normal(size=(3, 2))
    cases = [
        (lambda: lora_xs.init(rng, W0, 3), RankError, "r = 3 exceeds 2"),
        (lambda: lora_xs.init(rng, W0, 0), ConfigError, "rank r"),
        (lambda: lora_xs.init(rng, W0, 1, sigma=-1), ConfigError, "sigma"),
        (lambda: lora_xs.init(rng, W0[0], 1), ShapeError, "W0 has 1 axes"),
        (lambda: lora_xs.init(rng, W0 * np.nan, 1), NonFiniteError, "M holds"),
        (lambda: lora_xs.init(0, W0, 1), ConfigError, "rng"),
        (lambda: vera.cut(gB, A, 4, 4), ShapeError, r"a \(4, 4\) layer cannot be cut .* at least \(4, 4\)"),
        (lambda: vera.cut(gB, A, 3, 5), ShapeError, r"at least \(3, 5\)"),
        (lambda: vera.cut(gB, A, -1, 4), ConfigError, "d must be"),
        (lambda: vera.cut(gB, A, 3, 1.0), ConfigError, "k must be"),
        (lambda: vera.cut(gB, A[:1], 3, 4), RankError, "A has shape"),
        (lambda: vera.shared_pair(rng, 0, 4, 2), ConfigError, "d must be a positive int"),
        (lambda: vera.shared_pair(rng, 4, 0, 2), ConfigError, "k must be a positive int"),
        (lambda: vera.shared_pair(None, 4, 4, 2), ConfigError, "rng"),
        (lambda: vera.shared_pair(rng, 4, 4, 2, dtype="text"), DTypeError, "text"),
        (lambda: vera.init(4, 2, d_initial=float("nan")), ConfigError, "d_initial"),
        (lambda: vera.init(-1, 2), ConfigError, "d must be"),
        (lambda: vera.init(4, 2, dtype=int), DTypeError, "int64"),
        (lambda: lora_fa.corrected_gradient(gB, A, scale=0), ConfigError, "scale = 0 has the square 0.0"),
        (lambda: lora_fa.corrected_gradient(gB, A, scale=1e-200), ConfigError, "square 0.0"),
        (lambda: lora_fa.corrected_gradient(gB, A, scale=1e200), ConfigError, "square inf"),
        (lambda: lora_fa.corrected_gradient(gB, A, scale="1"), ConfigError, "scale must be a real number"),
        (lambda: lora_fa.corrected_gradient(gB, A[:1], scale=1), RankError, "A has shape"),
        (lambda: lora_fa.corrected_gradient(gB, A.astype(np.float32), scale=1), DTypeError, "A is float32"),
        (lambda: lora_fa.gram_inverse(A, damping=-1), ConfigError, "damping"),
        (lambda: lora_fa.gram_inverse(A[[0, 0]], damping=0), RankError, "linearly dependent rows"),
        (lambda: lora_fa.gram_inverse(gB, damping=0), RankError, "linearly dependent rows"),
        (lambda: lora_fa.gram_inverse(A * np.inf), NonFiniteError, "M holds"),
        (lambda: lora_plus.step(LoraParams(gB, A), LoraParams(gB, A), lr=0.1, ratio=0), ConfigError, "ratio"),
        (lambda: lora_plus.step(LoraParams(gB, A), LoraParams(A, gB), lr=0.1), ShapeError, "gradient"),
        (lambda: rslora.scaling(float("inf"), 2), ConfigError, "alpha"),
        (lambda: rslora.scaling(1.0, -1), ConfigError, "rank r"),
        (
            lambda: bitfit.init(2, bias=np.ones(3)),
            ShapeError,
            r"bias has shape \(3,\), expected \(d\) = \(2\)",
        ),
        (lambda: bitfit.init(-2), ConfigError, "d must be"),
        (lambda: bitfit.init(2, dtype=int), DTypeError, "int64"),
        (lambda: bitfit.forward(np.ones((1, 2)), W0, bitfit.BitfitParams(np.ones(3))), None, ""),
        (
            lambda: bitfit.forward(np.ones((1, 2)), W0, bitfit.BitfitParams(np.ones(2))),
            ShapeError,
            "bias has shape",
        ),
        (lambda: bitfit.forward(np.ones((1, 2)), W0, np.ones(3)), ConfigError, "BitfitParams"),
        (
            lambda: bitfit.backward(np.ones((1, 3)), np.ones((1, 2)), 0, W0, bitfit.init(3)),
            ConfigError,
            "kept must be None",
        ),
        (
            lambda: additive.forward(
                np.ones((1, 4)), np.ones((2, 4)), additive.init(2, 4, 2), bias=np.ones(3)
            ),
            ShapeError,
            "bias",
        ),
        (
            lambda: additive.forward(
                np.ones((1, 4)), np.ones((2, 4)), additive.init(2, 4, 2), bias=np.ones(2, np.float32)
            ),
            DTypeError,
            "bias is float32",
        ),
        (lambda: lora_fa.gram_inverse(A * 0, damping=0), RankError, "linearly dependent rows"),
        (lambda: lora_fa.gram_inverse(np.diag([1.0, 1.0, 3e-16]), damping=0), RankError, "dependent rows"),
        (lambda: lora_fa.gram_inverse(A[0]), ShapeError, "A has 1 axes"),
        (lambda: vera.init(2, 0), ConfigError, "rank r"),
        (
            lambda: additive.forward(np.ones((1, 4)), np.ones((2, 4)), additive.init(2, 4, 2), bias=1),
            DTypeError,
            "bias",
        ),
        (lambda: additive.init(2, 4, 3), ShapeError, "d = 2, k = 4, r = 3"),
    ]
    for call, error, words in cases:
        if error is None:
            call()
            continue
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize(("d", "k", "r"), [(4, 6, 3), (5, 7, 2), (6, 4, 4)])
def test_an_additive_rank_that_does_not_divide_cannot_be_merged(d, k, r):
    """[additive-blocks]  Row 38 of the bad inputs."""
    p = additive.AdditiveParams(np.ones((d, r)), np.ones((r, k)))
    for call in (additive.merge, additive.unmerge):
        with pytest.raises(ShapeError, match=f"d = {d}, k = {k}, r = {r}"):
            call(np.ones((d, k)), p)


@pytest.mark.parametrize("call", [additive.merge, additive.unmerge])
def test_additive_tensors_that_do_not_fit_cannot_be_merged(call):
    """[additive-weight]  Rows 13 to 16 and 20 of the bad inputs."""
    W, B, A = np.ones((4, 6)), np.ones((4, 2)), np.ones((2, 6))
    cases = [
        (additive.AdditiveParams(B.T, A), ShapeError, "B has shape .* looks transposed"),
        (additive.AdditiveParams(B, A[:1]), RankError, "A has shape"),
        (additive.AdditiveParams(B[None], A), ShapeError, "B has 3 axes"),
        (additive.AdditiveParams(B.astype(np.float32), A), DTypeError, "B is float32"),
        (additive.AdditiveParams(B[:, :0], A[:0]), ShapeError, "r = 0"),
    ]
    for p, error, words in cases:
        with pytest.raises(error, match=words):
            call(W, p)


@pytest.mark.parametrize(
    "start",
    [
        lambda rng: vera.shared_pair(rng, 2, 3, 4),
        lambda rng: adalora.init(rng, 2, 3, 4),
        lambda rng: symmetric.init(rng, 2, 3, 4),
        lambda rng: lora_fa.init(rng, 2, 3, 4),
    ],
)
def test_a_rank_above_the_sizes_is_allowed_with_a_warning(start, rng):
    """Row 4 of the bad inputs."""
    with pytest.warns(RankWarning, match=r"rank r = 4 exceeds min\(d, k\) = min\(2, 3\) = 2"):
        start(rng)


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nonsense_in_every_argument_meets_one_of_our_errors(name, kind):
    """A function may have a use for one of these: nothing to refuse then.  Any other exception fails the test."""
    function, value = FUNCTIONS[name], NONSENSE[kind]
    parameters = inspect.signature(function).parameters.values()
    positional = [value for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name: value for p in parameters if p.kind == p.KEYWORD_ONLY}
    with warnings.catch_warnings(), contextlib.suppress(LoraNpError):
        warnings.simplefilter("ignore")
        function(*positional, **keywords)


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("name", METHODS)
def test_nonsense_inside_the_parameters_meets_one_of_our_errors(name, kind, rng):
    """The same for every tensor of every method, one at a time, beside good ones."""
    case, layer = layer_of(name, rng)
    _, Z = forward(case, layer)
    for _, wrong in variants(case, layer, lambda x: NONSENSE[kind]):
        for call, arguments in ((forward, (wrong,)), (backward, (wrong, Z)), (merge, (wrong,))):
            with pytest.raises(LoraNpError):
                call(case, *arguments)
