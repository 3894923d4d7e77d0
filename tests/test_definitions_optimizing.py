"""The definitions of long runs: steps by hand, bounds that hold, and a Hessian by differences."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest

from lora_np.conformance.definitions import definition
from lora_np.conformance.definitions.optim_lora import Growth, gradients, train
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.rounding import fraction_of

ADAM = {"lr": 2.0, "beta1": 0.5, "beta2": 0.5, "eps": 1.0}


def run(method, p, *gradients_in_turn, checkpoints=(1,), **config):
    """Run on floats."""
    t = {"p": p, **{f"g.{i}": g for i, g in enumerate(gradients_in_turn)}}
    return definition(method).operation("train")(t, {**config, "checkpoints": list(checkpoints)})


def test_gradients_come_in_turn():
    found = run("sgd", [1.0], [4.0], [-8.0], checkpoints=(1, 2, 3), lr=0.25)
    assert found == {"p.1": [0.0], "p.2": [2.0], "p.3": [1.0]}


def test_the_heavy_ball_starts_at_rest():
    found = run("momentum", [[1.0]], [[1.0]], checkpoints=(1, 2), lr=0.5, momentum=0.5)
    assert found == {"p.1": [[0.5]], "p.2": [[-0.25]]}


def test_adam_takes_the_bias_out_and_has_eps_outside_the_root():
    assert run("adam", [1.0], [3.0], **ADAM) == {"p.1": [1 - 2 * 3 / (3 + 1)]}


def test_adamw_decays_beside_the_averages():
    assert run("adamw", [1.0], [0.0], **{**ADAM, "lr": 0.5}, weight_decay=0.5) == {"p.1": [0.75]}


CASES = [
    ("sgd", {"lr": 0.01}),
    ("momentum", {"lr": 0.01, "momentum": 0.9}),
    ("adam", {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    ("adamw", {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("method", "config"), CASES)
def test_a_run_on_floats_stays_within_the_bound_of_the_exact_run(method, config):
    floats = ([0.3, -1.7], [0.1, 0.9], [-0.7, 0.3])
    rounded = run(method, *floats, checkpoints=(1, 30), **config)
    with precision():
        known = {name: Exact.of(x) for name, x in config.items()}
        exact = run(method, *each(Exact.of, list(floats)), checkpoints=(1, 30), **known)
        for name, numbers in exact.items():
            for x, want in zip(rounded[name], numbers, strict=True):
                error = abs(fraction_of(want.value) - F(x))
                assert error <= want.roundings * 2.0**-53 * want.size


LESSON = {
    "X": [[1.0, 0.5], [0.25, -1.0]],
    "W0": [[0.5, 1.0], [-1.0, 0.5]],
    "T": [[0.5, -1.0], [0.25, 1.0]],
    "B": [[0.5], [1.0]],
    "A": [[1.0, -0.5]],
}


def test_the_hessian_is_the_derivative_of_the_gradients():
    h = 1e-6
    X, W0, T = LESSON["X"], LESSON["W0"], LESSON["T"]
    point = np.array(flat(LESSON["B"]) + flat(LESSON["A"]))

    def slope(v):
        B, A = v[:2].reshape(2, 1).tolist(), v[2:].reshape(1, 2).tolist()
        return np.array([x for g in gradients(X, W0, T, B, A, 1.5) for x in flat(g)])

    want = [(slope(point + h * e) - slope(point - h * e)) / (2 * h) for e in np.eye(4)]
    found = Growth(X, W0, T, 1.5, 0.1).hessian(point[:2].reshape(2, 1), point[2:].reshape(1, 2))
    assert found == pytest.approx(np.array(want), abs=1e-8)
    assert found == pytest.approx(found.T)


def test_a_layer_learns_and_its_bound_grows():
    config = {"rank": 1, "alpha": 1.5, "lr": 0.1, "checkpoints": [1, 50]}
    floats = train(LESSON, config)
    with precision():
        known = {name: Exact.of(x) if isinstance(x, float) else x for name, x in config.items()}
        exact = train({name: each(Exact.of, x) for name, x in LESSON.items()}, known)
    for name, array in exact.items():
        for x, want in zip(flat(floats[name]), flat(array), strict=True):
            assert abs(x - float(want.value)) <= want.roundings * 2.0**-53 * want.size
    assert flat(exact["B.1"])[0].size < flat(exact["B.50"])[0].size
