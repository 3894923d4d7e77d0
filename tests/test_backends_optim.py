"""The fused Adam and AdamW against plain loops in extended precision, and the reference."""

import numpy as np
import pytest

from lora_np.backends import REFERENCE, get_backend
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import LoraNpError
from lora_np.lora import LoraParams
from lora_np.optim import AdamState, adam_init
from tests.backend_kernels import as_python
from tests.naive import optim as naive

pytest.importorskip("numba")
NUMBA = get_backend("numba")
both_ways = pytest.mark.parametrize("plain", [False, True], ids=["compiled", "py_func"])


@both_ways
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [None, 0.25])
def test_several_steps_equal_sums_written_out(rng, plain, dtype, decay):
    """[optim-adam] [optim-adamw]"""
    p = start = LoraParams(*(rng.standard_normal(s).astype(dtype) for s in ((5, 2), (2, 3))))
    gradients = [LoraParams(*(rng.standard_normal(x.shape).astype(dtype) for x in p)) for _ in range(4)]
    settings = {"lr": 0.125, "betas": (0.75, 0.9375), "eps": 2.0**-10}
    state = adam_init(p)
    with as_python(plain):
        for g in gradients:
            if decay is None:
                p, state = NUMBA.adam_step(p, g, state, **settings)
            else:
                p, state = NUMBA.adamw_step(p, g, state, weight_decay=decay, **settings)
    assert type(p) is LoraParams
    assert state.step == 4
    for field, x in p._asdict().items():
        first, *steps = (
            [np.longdouble(number) for number in getattr(q, field).ravel()] for q in (start, *gradients)
        )
        want = naive.adam(first, steps, 0.125, 0.75, 0.9375, 2.0**-10, np.sqrt, decay or 0)
        size = naive.adam_size(first, steps, 0.125, 0.75, 0.9375, 2.0**-10, np.sqrt)
        assert x.dtype == dtype
        assert error_in_u(x.ravel(), np.array(want), np.array(size)) <= 4 * GOLD


@pytest.mark.parametrize("size", [0, 1, 100_001])
def test_a_step_equals_the_reference_also_over_threads(rng, size):
    """The usual betas in float32, where 1 − β has to be rounded after it is taken."""
    p, g = ((rng.standard_normal(size, dtype=np.float32),) for _ in range(2))
    want, kept = REFERENCE.adam_step(p, g, adam_init(p), lr=1e-3)
    got, state = NUMBA.adam_step(p, g, adam_init(p), lr=1e-3)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
    np.testing.assert_allclose(state.first[0], kept.first[0], rtol=1e-6)
    np.testing.assert_allclose(state.second[0], kept.second[0], rtol=1e-6)


def test_nothing_is_written_and_rates_differ_by_field(rng):
    p = LoraParams(np.ones((2, 1)), np.ones((1, 2)))
    g = LoraParams(np.ones((2, 1)), np.ones((1, 2)))
    state = adam_init(p)
    for x in (*p, *g, *state.first, *state.second):
        x.flags.writeable = False
    moved, _ = NUMBA.adam_step(p, g, state, lr=(0.5, 0.0), eps=1e-8)
    assert moved.A.tolist() == [[1, 1]]
    np.testing.assert_allclose(moved.B, 0.5, rtol=1e-6)


ONE = (np.ones(2),)
STATE = adam_init(ONE)


@pytest.mark.parametrize(
    "bad",
    [
        {"grads": (np.array([1.0, np.nan]),)},
        {"grads": (np.array([1.0, 1e200]),)},
        {"grads": (np.ones(3),)},
        {"grads": (np.ones(2, np.float32),)},
        {"grads": [np.ones(2)]},
        {"params": [np.ones(2)]},
        {"params": (np.ones(2, int),)},
        {"state": None},
        {"state": AdamState(-1, *STATE[1:])},
        {"lr": -1.0},
        {"lr": (1.0, 1.0)},
        {"lr": "1"},
        {"betas": (0.9, 1.0)},
        {"betas": 0.9},
        {"eps": 0.0},
        {"eps": 1e-320},
    ],
)
@pytest.mark.parametrize("step", ["adam_step", "adamw_step"])
def test_errors_are_those_of_the_reference_and_nothing_is_changed(bad, step):
    arguments = {"params": ONE, "grads": ONE, "state": STATE, "lr": 0.1} | bad
    with pytest.raises(LoraNpError) as want:
        getattr(REFERENCE, step)(**arguments)
    with pytest.raises(LoraNpError) as got:
        getattr(NUMBA, step)(**arguments)
    assert (type(got.value), str(got.value)) == (type(want.value), str(want.value))
    assert ONE[0].tolist() == [1, 1]
    assert STATE.first[0].tolist() == [0, 0]


@pytest.mark.parametrize("decay", [-0.5, "no", float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(LoraNpError, match="weight_decay"):
        NUMBA.adamw_step(ONE, ONE, STATE, lr=0.1, weight_decay=decay)


def test_other_layouts_go_to_the_reference(rng):
    p, g = (rng.normal(size=(4, 6))[:, ::2],), (np.ones((4, 3)),)
    got, _ = NUMBA.adam_step(p, g, adam_init(p), lr=0.1)
    want, _ = REFERENCE.adam_step(p, g, adam_init(p), lr=0.1)
    assert (got[0] == want[0]).all()
