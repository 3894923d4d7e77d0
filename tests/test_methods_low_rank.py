"""Every method with a low-rank increment against its weight written out in loops, in one table of cases.

Forward, backward and merge are compared with plain loops over Fractions, and the gradients with autograd too.
"""

import math
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import methods
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.counts import count
from lora_np.errors import ConfigError
from lora_np.gradient_view import AdditiveParams
from lora_np.lora import LoraParams
from lora_np.methods import (
    adalora,
    additive,
    bitfit,
    lora,
    lora_fa,
    lora_plus,
    lora_xs,
    rslora,
    symmetric,
    vera,
)
from tests.exact import exact_error_in_u, floats_of, fractions_of
from tests.naive import gradient_view as naive_additive
from tests.naive import methods_low_rank as naive

S = 0.25  # a power of two: on small integers every result is exact


class Case(NamedTuple):
    """One method: its module, its tensors by shape, the rest of its keywords, and its definition in loops.

    `weight(W0, *frozen, *p, s)` and `gradients(gW, *frozen, *p, s)` are the loops; `minus` names the frozen tensor
    that enters with a minus, so that absolute values can be taken of the whole formula.
    """

    module: Any
    kind: Callable[..., Any]
    fields: dict[str, str]
    frozen: dict[str, str]
    weight: Callable[..., Any]
    gradients: Callable[..., Any]
    scaled: bool = True
    minus: str = ""


def product(W0, B, A, s):
    return naive.product_weight(W0, B, A, s)


LORA = ({"B": "d r", "A": "r k"}, {}, product, naive.product_gradients)
CASES = {
    "lora": Case(lora, LoraParams, *LORA),
    "rslora": Case(rslora, LoraParams, *LORA),
    "lora-plus": Case(lora_plus, LoraParams, *LORA),
    "lora-fa": Case(
        lora_fa,
        lora_fa.LoraFaParams,
        {"B": "d r"},
        {"A": "r k"},
        lambda W0, A, B, s: naive.product_weight(W0, B, A, s),
        lambda gW, A, B, s: naive.product_gradients(gW, B, A, s)[:1],
    ),
    "lora-xs": Case(
        lora_xs,
        lora_xs.LoraXsParams,
        {"R": "r r"},
        {"B": "d r", "A": "r k"},
        lambda W0, B, A, R, s: naive.xs_weight(W0, B, A, R),
        lambda gW, B, A, R, s: (naive.xs_gradient(gW, B, A),),
        scaled=False,
    ),
    "vera": Case(
        vera,
        vera.VeraParams,
        {"lambda_b": "d", "lambda_d": "r"},
        {"B": "d r", "A": "r k"},
        lambda W0, B, A, lambda_b, lambda_d, s: naive.vera_weight(W0, B, A, lambda_b, lambda_d),
        lambda gW, B, A, lambda_b, lambda_d, s: naive.vera_gradients(gW, B, A, lambda_b, lambda_d),
        scaled=False,
    ),
    "adalora": Case(
        adalora,
        adalora.AdaloraParams,
        {"P": "d r", "lam": "r", "Q": "r k"},
        {},
        naive.adalora_weight,
        naive.adalora_gradients,
    ),
    "additive": Case(
        additive,
        AdditiveParams,
        {"B": "d r", "A": "r k"},
        {},
        naive_additive.additive_weight,
        lambda gW, B, A, s: naive_additive.additive_gradient(gW, len(A), s),
    ),
    "symmetric": Case(
        symmetric,
        LoraParams,
        {"B": "d r", "A": "r k"},
        {"B0": "d r", "A0": "r k"},
        lambda W0, B0, A0, B, A, s: naive.symmetric_weight(W0, B0, A0, B, A, s),
        lambda gW, B0, A0, B, A, s: naive.product_gradients(gW, B, A, s),
        minus="B0",
    ),
}
METHODS = sorted(CASES)


class Layer(NamedTuple):
    """The arrays of one layer: rows, weight, frozen tensors, parameters, output gradient, bias."""

    X: np.ndarray
    W0: np.ndarray
    frozen: tuple[np.ndarray, ...]
    p: Any
    gY: np.ndarray
    bias: np.ndarray


def draw(case, rng, N, d, k, r, *, integers=True, dtype=np.float64):
    """Draw a layer of small integers, on which float arithmetic is exact, or of normal numbers."""
    sizes = {"d": d, "k": k, "r": r}

    def array(*shape):
        x = rng.integers(-3, 4, size=shape) if integers else rng.normal(size=shape)
        return x.astype(dtype)

    def tensors(table):
        return tuple(array(*(sizes[letter] for letter in letters.split())) for letters in table.values())

    return Layer(
        array(N, k),
        array(d, k),
        tensors(case.frozen),
        case.kind(*tensors(case.fields)),
        array(N, d),
        array(d),
    )


def hyper(case, scale=S):
    return {"scale": scale} if case.scaled else {}


def run(case, layer, scale=S):
    """Y, gX and the gradients of the method, by name."""
    module = case.module
    Y, kept = module.forward(layer.X, layer.W0, *layer.frozen, layer.p, **hyper(case, scale), bias=layer.bias)
    gX, g = module.backward(layer.gY, layer.X, kept, layer.W0, *layer.frozen, layer.p, **hyper(case, scale))
    assert type(g) is case.kind
    return {"Y": Y, "gX": gX, **{f"g{name}": value for name, value in g._asdict().items()}}


def by_loops(case, layer, scale=S, absolute=False):
    """The same from the definition, on Fractions: the weight entry by entry, and the chain rule through it."""

    def exact(x):
        return fractions_of(abs(x) if absolute else x)

    s = fractions_of(abs(scale) if absolute else scale)
    frozen = [
        fractions_of(-abs(x)) if absolute and name == case.minus else exact(x)
        for name, x in zip(case.frozen, layer.frozen, strict=True)
    ]
    p = [exact(x) for x in layer.p]
    (d, k), X, gY = layer.W0.shape, exact(layer.X), exact(layer.gY)
    W = case.weight(exact(layer.W0), *frozen, *p, s)
    gW = naive.weight_gradient(gY, X, d, k)
    gradients = case.gradients(gW, *frozen, *p, s)
    return {
        "W": W,
        "Y": naive.layer(X, W, exact(layer.bias)),
        "gX": naive.input_gradient(gY, W, k),
        **{f"g{name}": value for name, value in zip(case.kind._fields, gradients, strict=True)},
    }


@st.composite
def shapes(draw, N=(0, 1, 2, 4)):
    """N, d, k and r with r dividing d and k, and r > min(d, k) beside it for all methods but the additive one."""
    r = draw(st.integers(1, 3))
    return draw(st.sampled_from(N)), r * draw(st.integers(1, 3)), r * draw(st.integers(1, 3)), r


# ---- forward, backward, merge ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@given(shape=shapes(), seed=st.integers(0, 2**32 - 1))
def test_forward_and_backward_are_those_of_the_weight_to_the_bit(name, shape, seed):
    """Properties 1, 2 and 17 to 20, on small integers.

    [lora-2] [lora-fa-layer] [lora-fa-grad] [lora-xs-layer] [lora-xs-grad] [vera-layer] [vera-grad] [adalora-layer]
    [adalora-grad] [lora-symmetric] [symmetric-grad] [additive-blocks]
    """
    case = CASES[name]
    layer = draw(case, np.random.default_rng(seed), *shape)
    want = by_loops(case, layer)
    for output, got in run(case, layer).items():
        assert exact_error_in_u(got, want[output], np.zeros(got.shape)) == 0, output


@pytest.mark.parametrize("name", sorted(set(CASES) - {"additive"}))
@pytest.mark.parametrize("shape", [(3, 2, 3, 5), (1, 1, 7, 3), (2, 5, 1, 2)])
def test_a_rank_above_the_sizes_and_odd_shapes_come_out_exactly(name, shape, rng):
    case = CASES[name]
    layer = draw(case, rng, *shape)
    want = by_loops(case, layer)
    for output, got in run(case, layer).items():
        assert exact_error_in_u(got, want[output], np.zeros(got.shape)) == 0, output


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1 / 3, -0.7, 16 / 7])
@pytest.mark.parametrize("name", METHODS)
def test_any_floats_stay_within_sixteen_u(name, scale, dtype, rng):
    """The error of each output, in units of u and of the formula's own size, is at the gold level."""
    case = CASES[name]
    layer = draw(case, rng, 4, 6, 9, 3, integers=False, dtype=dtype)
    scale = scale if case.scaled else 1.0
    want, sizes = by_loops(case, layer, scale), by_loops(case, layer, scale, absolute=True)
    got = run(case, layer, scale)
    got["W"] = case.module.merge(layer.W0, *layer.frozen, layer.p, **hyper(case, scale))
    for output, value in got.items():
        assert value.dtype == dtype
        assert exact_error_in_u(value, want[output], floats_of(sizes[output])) <= GOLD, output


def forward_for_autograd(name, layer, X, p):
    """The method's own forward; the additive one's block sums take no autograd boxes, so its definition instead."""
    case, (d, k) = CASES[name], layer.W0.shape
    if name == "additive":
        B, A = p
        r = A.shape[0]
        wide, tall = np.tile(np.eye(r), k // r), np.tile(np.eye(r), d // r)
        return X @ (layer.W0 + 0.7 * (B @ wide + tall.T @ A)).T + layer.bias
    return case.module.forward(
        X, layer.W0, *layer.frozen, case.kind(*p), **hyper(case, 0.7), bias=layer.bias
    )[0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(5, 4, 6, 2), (2, 3, 3, 1), (7, 3, 9, 3)])
def test_gradients_agree_with_autograd(name, shape, rng):
    """Properties 17 to 19: autograd differentiates a loss of the method's own forward, with a nonlinearity on top.

    [lora-fa-grad] [lora-xs-grad] [vera-grad] [adalora-grad] [symmetric-grad]
    """
    case = CASES[name]
    layer = draw(case, rng, *shape, integers=False)
    layer = layer._replace(X=layer.X / 8)
    C = layer.gY

    def loss(X, *p):
        return anp.sum(anp.tanh(forward_for_autograd(name, layer, X, p)) * C)

    Y = run(case, layer, 0.7)["Y"]
    layer = layer._replace(gY=C / np.cosh(Y) ** 2)
    wants = autograd.grad(loss, argnum=tuple(range(1 + len(layer.p))))(layer.X, *layer.p)
    sizes = by_loops(case, layer, 0.7, absolute=True)
    got = run(case, layer, 0.7)
    del got["Y"]
    for (output, value), want in zip(got.items(), wants, strict=True):
        assert np.linalg.norm(want) > 1e-3, output
        assert error_in_u(value, want, floats_of(sizes[output])) <= 4 * GOLD, output


@pytest.mark.parametrize("name", METHODS)
@given(shape=shapes(), seed=st.integers(0, 2**32 - 1))
def test_merging_computes_the_weight_and_unmerging_takes_it_back(name, shape, seed):
    """Properties 29 and 30, on small integers: every bit.

    [lora-merge] [lora-unmerge] [lora-xs-layer] [vera-layer] [adalora-layer] [additive-weight] [lora-symmetric]
    """
    case = CASES[name]
    layer = draw(case, np.random.default_rng(seed), *shape)
    W = case.module.merge(layer.W0, *layer.frozen, layer.p, **hyper(case))
    assert exact_error_in_u(W, by_loops(case, layer)["W"], np.zeros(W.shape)) == 0
    assert (layer.X @ W.T + layer.bias == run(case, layer)["Y"]).all()
    assert (case.module.unmerge(W, *layer.frozen, layer.p, **hyper(case)) == layer.W0).all()


@pytest.mark.parametrize("name", METHODS)
def test_leading_axes_are_batch_axes(name, rng):
    """Property 11: the same numbers as on the flattened batch."""
    case = CASES[name]
    flat = draw(case, rng, 6, 4, 6, 2)
    deep = flat._replace(X=flat.X.reshape(2, 3, 6), gY=flat.gY.reshape(2, 3, 4))
    want, got = run(case, flat), run(case, deep)
    assert (got.pop("Y") == want.pop("Y").reshape(2, 3, 4)).all()
    assert (got.pop("gX") == want.pop("gX").reshape(2, 3, 6)).all()
    assert all((got[output] == want[output]).all() for output in want)


@pytest.mark.parametrize("name", METHODS)
def test_without_a_bias_none_is_added(name, rng):
    case = CASES[name]
    layer = draw(case, rng, 3, 4, 6, 2)
    Y, _ = case.module.forward(layer.X, layer.W0, *layer.frozen, layer.p, **hyper(case))
    assert (Y + layer.bias == run(case, layer)["Y"]).all()


@pytest.mark.parametrize("name", METHODS)
def test_every_library_gives_the_same_bits(name, library, rng):
    """NumPy, read-only arrays and the strict namespace: equal numbers, the same library out."""
    case = CASES[name]
    mine = draw(case, rng, 3, 4, 6, 2)
    theirs = Layer(
        *(library.asarray(x) for x in mine[:2]),
        tuple(library.asarray(x) for x in mine.frozen),
        case.kind(*(library.asarray(x) for x in mine.p)),
        *(library.asarray(x) for x in mine[4:]),
    )
    want, got = run(case, mine), run(case, theirs)
    for module, layer, results in ((case.module, mine, want), (case.module, theirs, got)):
        results["W"] = module.merge(layer.W0, *layer.frozen, layer.p, **hyper(case))
        results["W0"] = module.unmerge(results["W"], *layer.frozen, layer.p, **hyper(case))
    for output in want:
        assert type(got[output]) is type(theirs.X)
        assert (library.to_numpy(got[output]) == want[output]).all(), output
    assert (library.to_numpy(theirs.W0) == mine.W0).all()


@pytest.mark.parametrize("name", METHODS)
def test_no_array_as_large_as_the_weight_is_made(name, rng):
    """Property 3: forward and backward of a (1024, 1024) layer on 4 rows stay far below its 8 MiB."""
    case = CASES[name]
    layer = draw(case, rng, 4, 1024, 1024, 4)
    tracemalloc.start()
    run(case, layer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < layer.W0.nbytes / 8


# ---- the table of methods ----------------------------------------------------------------------------------


def test_a_method_is_found_by_its_name():
    """[lora-scale-rs]  Names are those of the papers; modules are theirs with underscores."""
    assert methods.method("lora-plus") is lora_plus
    assert methods.method("bitfit") is bitfit
    assert methods.method("rslora").scaling(8, 4) == 4.0


@pytest.mark.parametrize("name", ["LORAX", "LORA", "lora_plus", "", None, 3, "adalora_budget"])
def test_an_unknown_method_is_answered_with_the_list(name):
    """Row 11 of the bad inputs: the list of methods, and the nearest where there is one."""
    with pytest.raises(ConfigError, match="method must be one of 'lora', 'rslora'"):
        methods.method(name)


def test_the_nearest_name_is_suggested():
    with pytest.raises(ConfigError, match="did you mean 'lora-plus'"):
        methods.method("lora_plus")
    with pytest.raises(ConfigError, match="did you mean 'lora'"):
        methods.method("lorax")


def test_the_docstring_lists_every_method_in_order():
    listed = methods.__doc__.partition("`adapters`.\n")[2]
    places = [re.search(rf"(?<![\w-]){name}(?![\w-])", listed).start() for name in methods.METHODS]
    assert places == sorted(places)


def test_every_method_named_has_its_file_and_its_paragraphs():
    for name in methods.METHODS:
        module = methods.method(name)
        assert module.__name__ == f"lora_np.methods.{name.replace('-', '_')}"
        assert all(hasattr(module, part) for part in ("init", "forward", "backward")), name
        assert hasattr(module, "merge") == hasattr(module, "unmerge"), name


@pytest.mark.parametrize("name", [*METHODS, "bitfit"])
def test_every_method_has_its_count_and_it_is_the_size_of_its_tensors(name):
    """[count-lora] [count-lora-fa] [count-lora-xs] [count-vera] [count-adalora] [count-bitfit]

    GPT-2's query, 768 x 768 in 12 blocks at rank 8: what is trained is what the method's type holds.
    """
    if name == "bitfit":
        found = count("gpt2", "bitfit")
        assert found.trainable == sum(row.count for row in found if row.name.endswith("bias"))
        return
    case, sizes = CASES[name], {"d": 768, "k": 768, "r": 8}
    found = count("gpt2", name, rank=8, targets="q")

    def numbers(table):
        return sum(math.prod(sizes[letter] for letter in letters.split()) for letters in table.values())

    assert found.trainable == 12 * numbers(case.fields)
    shared = 1 if name == "vera" else 12  # one pair for all layers
    assert found.added == found.trainable + shared * numbers(case.frozen)


def test_naming_the_package_loads_no_method():
    code = "import sys, lora_np.methods; print(*(name for name in sys.modules if name.startswith('lora_np.methods.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
