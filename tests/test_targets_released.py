"""The targets of released software: tensors go in as checkpoints are loaded, and nothing is mended on the way."""

import numpy as np
import pytest

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="PEFT is not installed")
pytest.importorskip("loralib", reason="loralib is not installed")

from lora_np.conformance.runner.adapter import find_adapter  # noqa: E402
from lora_np.conformance.targets.peft_combining import KINDS, combine  # noqa: E402
from lora_np.conformance.targets.torch_bridge import array, pulled_back, tensor  # noqa: E402

CONFIG = {"rank": 2, "alpha": 3.0, "dtype": "float64"}


def tensors(d=4, k=3, **shapes):
    """Random tensors of a layer of rank 2, and further ones."""
    rng = np.random.default_rng(0)
    shapes = {"X": (5, k), "W0": (d, k), "B": (d, 2), "A": (2, k), **shapes}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["peft", "loralib", "conv1d", "torch"])
def test_forward_is_the_formula_and_inputs_are_not_written(name):
    t = tensors()
    before = {key: x.copy() for key, x in t.items()}
    if name == "loralib":
        found = find_adapter(name).forward("lora-transposed", CONFIG, {**t, "W0": t["W0"].T.copy()})
    else:
        found = find_adapter(name).forward("lora", CONFIG, t)
    np.testing.assert_allclose(found, t["X"] @ (t["W0"] + 1.5 * t["B"] @ t["A"]).T, rtol=1e-12)
    for key, x in t.items():
        np.testing.assert_array_equal(x, before[key])


@pytest.mark.parametrize("name", ["peft", "loralib", "conv1d"])
@pytest.mark.parametrize("wrong", [(4, 2, 1), (4, 3), (3, 2)])
def test_a_factor_of_another_shape_is_refused_as_a_checkpoint_is(name, wrong):
    with pytest.raises(RuntimeError, match="size mismatch"):
        find_adapter(name).forward("lora", CONFIG, tensors(B=wrong))


@pytest.mark.parametrize("name", ["torch", "loralib"])
def test_rows_of_another_element_type_go_in_as_they_are(name):
    t = tensors()
    with pytest.raises(RuntimeError, match="type"):
        find_adapter(name).forward("lora", CONFIG, {**t, "X": t["X"].astype(np.float32)})


def test_a_matrix_of_lokr_that_is_none_is_refused():
    t = tensors(C=(2, 1, 1), D=(2, 3))
    with pytest.raises(ValueError, match="no checkpoint"):
        find_adapter("peft").forward("lokr", {**CONFIG, "second": "full"}, t)


def test_a_setting_that_peft_lacks_is_refused():
    t = tensors(q=(1, 3))
    with pytest.raises(ValueError, match="no such setting"):
        find_adapter("peft").forward("oft", {"neumann": None, "side": "left", "dtype": "float64"}, t)


def test_bfloat16_comes_as_float32_and_other_types_as_they_are():
    x = np.ones(2, dtype=np.float32)
    assert tensor(x, "bfloat16").dtype == torch.bfloat16
    assert array(tensor(x, "bfloat16")).dtype == np.float32
    assert tensor(x, "float64").dtype == torch.float32
    assert tensor(np.ones(2, dtype=np.int64), "float32").dtype == torch.int64


def test_the_gradient_of_what_takes_no_part_is_zero():
    x, y = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = pulled_back(2 * x, torch.ones(2), {"x": x, "y": y})
    np.testing.assert_array_equal(found["gx"], [2, 2])
    np.testing.assert_array_equal(found["gy"], [0, 0, 0])


# ---- combining ----------------------------------------------------------------------------------------------


def adapters(ranks, d=4, k=5):
    rng = np.random.default_rng(1)
    factors = {f"B.{i}": rng.standard_normal((d, r)) for i, r in enumerate(ranks)}
    return factors | {f"A.{i}": rng.standard_normal((r, k)) for i, r in enumerate(ranks)}


SETTINGS = {"weights": [0.5, 2.0], "scales": [1.5, 0.75], "dtype": "float64"}


def increments(t):
    pairs = enumerate(zip(SETTINGS["weights"], SETTINGS["scales"], strict=True))
    return [w * s * t[f"B.{i}"] @ t[f"A.{i}"] for i, (w, s) in pairs]


@pytest.mark.parametrize("kind", ["combine-cat", "combine-svd"])
def test_sums_are_read_back_from_the_new_adapter(kind):
    t = adapters((1, 2))
    found = combine(kind, {**SETTINGS, "svd_rank": 3}, t)["delta"]
    np.testing.assert_allclose(found, sum(increments(t)), rtol=1e-9)


def test_dare_drops_what_the_case_says():
    t = adapters((2, 2))
    keep = {f"keep.{i}": np.eye(4, 5, i, dtype=np.int64) for i in range(2)}
    found = combine("combine-dare", {**SETTINGS, "density": 0.5}, t | keep)["delta"]
    want = sum(delta * keep[f"keep.{i}"] / 0.5 for i, delta in enumerate(increments(t)))
    np.testing.assert_allclose(found, want, rtol=1e-12)


def test_stabilized_adapters_have_the_same_increments_before_they_are_combined():
    t = adapters((4, 4))
    target = find_adapter("lora_np.conformance.targets.peft_combining:Stabilized")
    found = target.combine("combine-cat", SETTINGS, t)["delta"]
    np.testing.assert_allclose(found, np.sqrt(8) * sum(increments(t)), rtol=1e-9)  # PEFT's mistake


def test_peft_claims_every_combination_and_conv1d_none():
    assert {f"{kind}.combine" for kind in KINDS} <= set(find_adapter("peft").capabilities)
    assert not [one for one in find_adapter("conv1d").capabilities if one.endswith(".combine")]
