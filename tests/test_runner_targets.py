"""The targets that ship and need nothing more: each passes what it claims."""

import numpy as np
import pytest

from lora_np.conformance import check
from lora_np.conformance.runner.adapter import claims, find_adapter
from lora_np.conformance.targets.layers import LAYERS
from lora_np.conformance.targets.operations import OPERATIONS
from lora_np.conformance.vectors.format import read_all
from lora_np.methods import METHODS

CASES = read_all()
FILES = sorted({case.capability for case in CASES})


def sample(most=8):
    """Take cases of every capability, spread over its file."""
    for capability in FILES:
        cases = [case for case in CASES if case.capability == capability]
        yield from cases[:: max(1, len(cases) // most)]


@pytest.mark.parametrize("target", ["reference", "naive", "autograd", "numba"])
def test_a_shipped_target_passes_a_sample_at_gold(target):
    """Every method and operation, by four roads: arrays, plain loops and the tape, autograd, compiled loops."""
    report = check(target, cases=sample(), isolated=False)
    assert [f"{record.id}: {record.problem}" for record in report.failures] == []
    assert report.passed >= {"reference": 700, "naive": 600, "autograd": 500, "numba": 70}[target]


def test_the_reference_claims_every_file():
    reference = find_adapter("reference")
    assert [
        name for name in FILES if not claims(reference, name) and not name.endswith((".state", ".train"))
    ] == []


def test_every_method_has_a_row():
    assert set(METHODS) - {"prefix-tuning"} <= LAYERS.keys()
    assert all("." in name for name in OPERATIONS)


def test_sixteen_bits_are_stored_and_computed_in_float32():
    """float16 sums of 3,000 products would be off by far more than one rounding of the result."""
    rng = np.random.default_rng(3)
    X, W0 = (rng.uniform(-1, 1, size).astype(np.float16) for size in ((2, 3000), (4, 3000)))
    B, A = (rng.uniform(-1, 1, size).astype(np.float16) for size in ((4, 2), (2, 3000)))
    config = {"rank": 2, "alpha": 2.0, "dtype": "float16"}
    Y = find_adapter("reference").forward("lora", config, {"X": X, "W0": W0, "B": B, "A": A})
    wide = [x.astype(np.float64) for x in (X, W0, B, A)]
    want = wide[0] @ wide[1].T + (wide[0] @ wide[3].T) @ wide[2].T
    assert Y.dtype == np.float16
    assert (abs(Y - want) <= 2.0**-11 * abs(want) + 1e-3).all()


def test_adapters_are_combined_on_their_increments():
    """Where nothing is dropped and no factor is cut, each way is the weighted sum; linear adds cross terms.

    [combine-cat] [combine-sum]
    """
    rng, d, k, r = np.random.default_rng(1), 4, 5, 2
    t = {f"B.{i}": rng.normal(size=(d, r)) for i in (0, 1)} | {
        f"A.{i}": rng.normal(size=(r, k)) for i in (0, 1)
    }
    t |= {f"keep.{i}": np.ones((d, k), dtype=bool) for i in (0, 1)}
    config = {"scales": [1.0, 2.0], "weights": [0.5, 0.25], "density": 1.0, "svd_rank": 4, "dtype": "float64"}
    want = sum(config["weights"][i] * config["scales"][i] * t[f"B.{i}"] @ t[f"A.{i}"] for i in (0, 1))
    combine = find_adapter("reference").combine
    for kind in ("cat", "svd", "dare", "magnitude"):
        assert abs(combine(f"combine-{kind}", config, t)["delta"] - want).max() < 1e-14
    for kind in ("linear", "ties", "dare-ties"):
        assert combine(f"combine-{kind}", config, t)["delta"].shape == (d, k)


@pytest.mark.parametrize("target", ["reference", "naive"])
def test_an_operation_that_nobody_has_is_no_attribute(target):
    adapter = find_adapter(target)
    assert not hasattr(adapter, "_private")
    with pytest.raises((AttributeError, KeyError)):
        adapter.levitate("lora", {}, {})
