"""Every public function of the layer on every array library: equal numbers, same library out, arguments untouched."""

import numpy as np
import pytest

import lora_np
from lora_np import LoraParams, Merged
from tests.conftest import _library

S = 0.25  # a power of two: on small integers every result is exact, in every library


def numbers(library=None):
    """X, W0, p, gY, bias as small integers in float64, in one library."""
    rng = np.random.default_rng(5)
    make = np.asarray if library is None else library.asarray

    def integers(*shape):
        return make(rng.integers(-4, 5, size=shape).astype(np.float64))

    return (
        integers(3, 6),
        integers(5, 6),
        LoraParams(integers(5, 2), integers(2, 6)),
        integers(3, 5),
        integers(5),
    )


def _backward(X, W0, p, gY, bias):
    _, Z = lora_np.forward(X, W0, p, scale=S)
    gX, g = lora_np.backward(gY, X, Z, W0, p, scale=S)
    return gX, *g


def _backward_via_weight(X, W0, p, gY, bias):
    _, W = lora_np.forward_via_weight(X, W0, p, scale=S)
    gX, g = lora_np.backward_via_weight(gY, X, W, p, scale=S)
    return gX, *g


def _merged(X, W0, p, gY, bias):
    state = Merged(W0).merge(p, scale=S)
    return state.W, state.unmerge().W


CALLS = {
    "forward": lambda X, W0, p, gY, bias: lora_np.forward(X, W0, p, scale=S, bias=bias),
    "forward_via_weight": lambda X, W0, p, gY, bias: lora_np.forward_via_weight(X, W0, p, scale=S, bias=bias),
    "backward": _backward,
    "backward_via_weight": _backward_via_weight,
    "project_gradient": lambda X, W0, p, gY, bias: lora_np.project_gradient(W0, p, scale=S),
    "bias_gradient": lambda X, W0, p, gY, bias: (lora_np.bias_gradient(gY),),
    "symmetric_base": lambda X, W0, p, gY, bias: (lora_np.symmetric_base(W0, p, scale=S),),
    "merge": lambda X, W0, p, gY, bias: (lora_np.merge(W0, p, scale=S),),
    "unmerge": lambda X, W0, p, gY, bias: (lora_np.unmerge(W0, p, scale=S),),
    "Merged": _merged,
    "to_row_form": lambda X, W0, p, gY, bias: lora_np.to_row_form(W0, *p),
    "from_row_form": lambda X, W0, p, gY, bias: lora_np.from_row_form(W0.T, p.A.T, p.B.T),
    "promote": lambda X, W0, p, gY, bias: lora_np.promote(X, W0),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_numbers_on_every_library(name, library):
    """Integers and a power of two, so that equality is exact; a read-only library proves that nothing is written."""
    ours, reference = numbers(library), numbers()
    before = [library.to_numpy(x).tobytes() for x in (*ours[:2], *ours[2], *ours[3:])]
    got, want = CALLS[name](*ours), CALLS[name](*reference)
    assert len(got) == len(want)
    for x, y in zip(got, want, strict=True):
        assert type(x) is type(ours[0])
        assert library.to_numpy(x).dtype == y.dtype
        assert np.array_equal(library.to_numpy(x), y)
    assert [library.to_numpy(x).tobytes() for x in (*ours[:2], *ours[2], *ours[3:])] == before


@pytest.mark.parametrize("name", ["forward", "forward_via_weight", "backward", "backward_via_weight"])
@pytest.mark.parametrize("leading", [(), (0,), (2, 3)])
def test_leading_axes_on_every_library(name, leading, library):
    X, W0, p, gY, bias = numbers(library)
    rng = np.random.default_rng(6)
    X, gY = (library.asarray(rng.integers(-4, 5, size=(*leading, n)).astype(float)) for n in (6, 5))
    got = CALLS[name](X, W0, p, gY, bias)
    want = CALLS[name](library.to_numpy(X), *numbers()[1:3], library.to_numpy(gY), numbers()[4])
    for x, y in zip(got, want, strict=True):
        assert np.array_equal(library.to_numpy(x), y)


def test_overflow_and_nan_are_named_on_every_library(library):
    _, W0, p, _, _ = numbers(library)
    with pytest.raises(lora_np.errors.OverflowInMergeError):
        lora_np.merge(W0, LoraParams(p.B * 1e200, p.A * 1e200), scale=1e3)
    with pytest.raises(lora_np.errors.NonFiniteError, match=r"base weight W0 .*index \[0, 0\]"):
        lora_np.merge(library.asarray(np.full((5, 6), np.nan)), p, scale=1.0)


def test_promotion_on_every_library(library):
    x, y = library.asarray(np.ones(2, np.float32)), library.asarray(np.ones(3))
    assert [library.to_numpy(z).dtype for z in lora_np.promote(x, y)] == [np.float64, np.float64]
    assert lora_np.promote() == ()


def test_arrays_of_two_libraries_do_not_promote():
    strict = _library("array-api-strict")
    with pytest.raises(
        lora_np.errors.DTypeError, match="several libraries: array_api_strict, numpy; move them"
    ):
        lora_np.promote(np.ones(2), strict.asarray(np.ones(2)))
