"""Finite tensors whose product outgrows the element type: the overflow is named, not a NaN that nobody passed."""

import numpy as np
import pytest

from lora_np.errors import OverflowInMergeError
from lora_np.methods import adalora, lora_xs, vera

BIG, W0 = 1e30, np.zeros((2, 2), np.float32)


def full(*shape):
    return np.full(shape, BIG, np.float32)


MERGES = {
    "vera": lambda m: m(W0, full(2, 1), full(1, 2), vera.VeraParams(full(2), full(1))),
    "lora-xs": lambda m: m(W0, full(2, 1), full(1, 2), lora_xs.LoraXsParams(full(1, 1))),
    "adalora": lambda m: m(W0, adalora.AdaloraParams(full(2, 1), full(1), full(1, 2)), scale=1.0),
}


@pytest.mark.parametrize("step", ["merge", "unmerge"])
@pytest.mark.parametrize("name", MERGES)
def test_an_overflow_on_the_way_is_called_one(name, step):
    module = {"vera": vera, "lora-xs": lora_xs, "adalora": adalora}[name]
    with pytest.raises(OverflowInMergeError, match=rf"{step[:-1]}ing overflows float32 to inf \(not NaN\)"):
        MERGES[name](getattr(module, step))
