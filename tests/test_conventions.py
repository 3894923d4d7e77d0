"""The dictionary between the paper's matrices and the row form, and explicit promotion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lora_np
from lora_np.errors import DTypeError, RankError, ShapeError
from tests.naive import lora as naive
from tests.strategies import layers


@given(layer=layers(magnitudes=st.just("integers")))
def test_the_row_form_is_the_same_layer(layer):
    """Property 10: seed 001's X (W + A B), A (n, r), B (r, m), equals ours, on integers exactly.  [lora-1]"""
    W, A, B = (M.tolist() for M in lora_np.to_row_form(layer.W0, *layer.p))
    Y, _ = lora_np.forward(layer.X, layer.W0, layer.p, scale=1.0)
    AB = naive.matmul(A, B)
    summed = [[w + v for w, v in zip(*rows, strict=True)] for rows in zip(W, AB, strict=True)]
    assert Y.tolist() == naive.matmul(layer.X.tolist(), summed)


@given(layer=layers())
def test_there_and_back_are_the_same_arrays(layer):
    """Property 10: the dictionary is one transpose, without a copy."""
    there = lora_np.to_row_form(layer.W0, *layer.p)
    back = lora_np.from_row_form(*there)
    for x, y in zip(back, (layer.W0, *layer.p), strict=True):
        assert np.shares_memory(x, y) or x.size == 0
        assert np.array_equal(x, y)


def test_each_factor_keeps_its_side():
    """A touches the input in both forms, B the output: shapes (n, r) and (r, m) with n = k = 3, m = d = 5."""
    W, A, B = lora_np.to_row_form(np.zeros((5, 3)), np.zeros((5, 2)), np.zeros((2, 3)))
    assert (W.shape, A.shape, B.shape) == ((3, 5), (3, 2), (2, 5))


def test_mistakes_in_row_form_are_told_in_row_form():
    """Rows 13, 15: the message speaks of the (n, r) and (r, m) that were passed, not of their transposes."""
    W, A, B = np.zeros((3, 5)), np.zeros((3, 2)), np.zeros((2, 5))
    with pytest.raises(
        ShapeError, match=r"A \(2, 5\) and B \(3, 2\) .*\(n, m\) = \(3, 5\); in row form A is \(n, r\)"
    ):
        lora_np.from_row_form(W, B, A)
    with pytest.raises(RankError, match=r"A has rank 2 .* B has rank 4"):
        lora_np.from_row_form(W, A, np.zeros((4, 5)))
    with pytest.raises(DTypeError, match=r"W is float64, A is float32.*promote"):
        lora_np.from_row_form(W, A.astype(np.float32), B)
    with pytest.raises(DTypeError, match=r"W0 is float32.*promote"):
        lora_np.to_row_form(W.T.astype(np.float32), B.T, A.T)


@pytest.mark.parametrize(
    ("given_", "common"),
    [(["float16", "float32"], "float32"), (["float32", "float64"], "float64"), (["float16"], "float16")],
)
def test_promotion_takes_the_smallest_type_that_holds_all(given_, common):
    arrays = [np.ones(2, dtype) for dtype in given_]
    assert [x.dtype.name for x in lora_np.promote(*arrays)] == [common] * len(given_)
    assert [x.dtype.name for x in arrays] == given_
