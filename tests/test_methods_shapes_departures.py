"""Where PEFT departs from the papers of DoRA to OFT: every row of the table is run against the installed release.

Each function below has the name of its row and reproduces what the row says; a row without one fails.
"""

import importlib.metadata
import json
import warnings
from importlib import resources

import numpy as np
import pytest

from lora_np import LoraParams
from lora_np.methods import dora, lokr, oft, olora, pissa
from lora_np.methods.dora import DoraParams
from lora_np.methods.lokr import factorization
from lora_np.methods.oft import OftParams

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore"),  # those of torch and PEFT themselves
]
torch = pytest.importorskip("torch", reason="torch is not installed")
peft = pytest.importorskip("peft", reason="PEFT is not installed")

TABLE = json.loads(
    resources.files("lora_np.conformance").joinpath("published/departures/shapes.json").read_text("utf-8")
)
ROWS = {row["id"]: row for row in TABLE}
KEYS = ["id", "method", "paper", "peft", "effect", "here", "verdict"]


class Net(torch.nn.Module):
    """One linear layer."""

    def __init__(self, d, k, layer=None):
        super().__init__()
        self.lin = layer or torch.nn.Linear(k, d, bias=False)

    def forward(self, X):
        return self.lin(X)


def layer(config, d=5, k=6, *, dtype=torch.float64, W0=None):
    """A layer of d outputs and k inputs under a configuration, its seed fixed."""
    torch.manual_seed(0)
    net = Net(d, k).to(dtype)
    if W0 is not None:
        net.lin.weight.data = W0.clone()
    model = peft.get_peft_model(net, config).to(dtype).eval()
    return model, model.base_model.model.lin


def base(lin):
    return lin.get_base_layer().weight.data


def there_and_back(lin):
    """The relative error of the base after merging and unmerging."""
    before = base(lin).clone()
    lin.merge()
    lin.unmerge()
    return float((base(lin) - before).norm() / before.norm())


def lora(**options):
    return peft.LoraConfig(target_modules=["lin"], **{"r": 2, "lora_alpha": 4, **options})


def dora_params(lin):
    """B, A and m of a DoRA layer, as our parameters."""
    tensors = (
        lin.lora_B["default"].weight,
        lin.lora_A["default"].weight,
        lin.lora_magnitude_vector["default"].weight,
    )
    return DoraParams(*(t.detach().numpy() for t in tensors))


# ---- DoRA --------------------------------------------------------------------------------------------------


def dora_norm_axis():
    _, lin = layer(lora(use_dora=True))
    m = dora_params(lin).m
    assert m.shape == (5,)
    np.testing.assert_allclose(m, base(lin).norm(dim=1), rtol=1e-14)


def dora_norm_detached():
    model, lin = layer(lora(use_dora=True, init_lora_weights=False))
    lin.lora_B["default"].weight.data *= 3
    X, gY = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    (model(X) * gY).sum().backward()
    theirs, p, W0 = lin.lora_B["default"].weight.grad.numpy(), dora_params(lin), base(lin).numpy()
    _, kept = dora.forward(X.numpy(), W0, p, scale=2.0)
    ours = {
        norm: dora.backward(gY.numpy(), X.numpy(), kept, W0, p, scale=2.0, norm=norm)[1].B
        for norm in dora.NORMS
    }
    np.testing.assert_allclose(theirs, ours["detached"], rtol=1e-12)
    assert np.linalg.norm(theirs - ours["attached"]) > 0.1 * np.linalg.norm(ours["attached"])


def dora_start_length():
    _, lin = layer(lora(use_dora=True, init_lora_weights=False))
    p, W0 = dora_params(lin), base(lin).numpy()
    np.testing.assert_allclose(p.m, np.linalg.norm(W0 + 2 * p.B @ p.A, axis=1), rtol=1e-14)
    assert abs(p.m - np.linalg.norm(W0, axis=1)).max() > 0.01


def dora_zero_magnitude():
    _, lin = layer(lora(use_dora=True))
    lin.lora_magnitude_vector["default"].weight.data[1] = 0
    lin.merge()
    lin.unmerge()
    assert int((~torch.isfinite(base(lin))).sum()) == 6


def dora_zero_row():
    W0 = torch.ones(5, 6, dtype=torch.float64)
    W0[2] = 0
    model, lin = layer(lora(use_dora=True), W0=W0)
    assert int(torch.isnan(model(torch.ones(3, 6, dtype=torch.float64))).sum()) == 3
    lin.merge()
    assert int(torch.isnan(base(lin)).sum()) == 6


# ---- (IA)³, LoHa, LoKr -------------------------------------------------------------------------------------


def ia3_unmerge_epsilon():
    for size, error in ((1, 1e-8), (1e-3, 1e-5), (1e-6, 1e-2), (0, 1)):
        _, lin = layer(peft.IA3Config(target_modules=["lin"], feedforward_modules=[]))
        lin.ia3_l["default"].data[:] = size
        assert there_and_back(lin) == pytest.approx(error, rel=0.02)
    lin.ia3_l["default"].data[:] = -1e-8
    assert there_and_back(lin) == np.inf or np.isnan(there_and_back(lin))


def loha_scale_single():
    model, lin = layer(peft.LoHaConfig(r=3, alpha=1, init_weights=False, target_modules=["lin"]))
    first, second, third, fourth = (
        getattr(lin, f"hada_{n}")["default"] for n in ("w1_a", "w1_b", "w2_a", "w2_b")
    )
    want = (first @ second) * (third @ fourth) / 3
    eye = torch.eye(6, dtype=torch.float64)
    for got in (lin.get_delta_weight("default"), (model(eye) - eye @ base(lin).T).T):
        assert float(((got - want).norm() / want.norm()).detach()) == pytest.approx(2.98e-8, rel=0.01)


def loha_start():
    _, lin = layer(peft.LoHaConfig(r=3, target_modules=["lin"]), 200, 300)
    spread = [float(getattr(lin, f"hada_{n}")["default"].std()) for n in ("w1_a", "w1_b", "w2_a", "w2_b")]
    assert spread == pytest.approx([1 / 3, 1 / 30, 1 / 3, 0], rel=0.1)


def lokr_full_scale():
    _, lin = layer(peft.LoKrConfig(r=100, alpha=4, target_modules=["lin"]), 200, 300)
    assert lin.lokr_w1["default"].shape == (10, 15)
    assert lin.lokr_w2["default"].shape == (20, 20)
    assert lin.scaling["default"] == 0.04 == lokr.scaling(4, 100)


def lokr_split():
    split = pytest.importorskip("peft.tuners.lokr.layer").factorization
    assert split(12, 6) == (6, 2)
    assert "always less than or equal to the second" in " ".join(split.__doc__.split())
    assert factorization(12, 6) == (3, 4)
    sizes = []
    for factor in (100, -1):
        _, lin = layer(peft.LoKrConfig(r=2, decompose_factor=factor, target_modules=["lin"]), 200, 300)
        sizes.append(sum(x.numel() for name, x in lin.named_parameters() if "lokr" in name))
    assert sizes == [10_006, 230]


def lokr_start():
    zeros = {}
    for way in (True, "lycoris"):
        _, lin = layer(peft.LoKrConfig(r=2, init_weights=way, target_modules=["lin"]), 200, 300)
        names = ("lokr_w1", "lokr_w2_a", "lokr_w2_b")
        zeros[way] = [name for name in names if not getattr(lin, name)["default"].any()]
    assert zeros == {True: ["lokr_w1"], "lycoris": ["lokr_w2_b"]}


# ---- OFT ---------------------------------------------------------------------------------------------------


def rotated(q, **options):
    """An OFT layer with blocks of 3 and these parameters."""
    _, lin = layer(peft.OFTConfig(target_modules=["lin"], oft_block_size=3, r=0, **options))
    lin.oft_R["default"].weight.data = torch.from_numpy(q)
    return lin


def oft_block_adjusted():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, lin = layer(peft.OFTConfig(target_modules=["lin"], oft_block_size=4, r=0))
    assert lin.oft_block_size == {"default": 3}
    assert any("Adjusted `oft_block_size` to (3)" in str(w.message) for w in caught)


def oft_cayley_side():
    q = 0.01 * np.random.default_rng(0).normal(size=(2, 3))
    R = {
        way: rotated(q, use_cayley_neumann=way).get_delta_weight("default").numpy(force=True)
        for way in (True, False)
    }
    assert abs(R[True] - R[False]).max() > 1e-2
    assert abs(R[True] - R[False].T).max() < 1e-6
    for way, word in ((True, {"neumann": 5}), (False, {"side": "transposed"})):
        lin = rotated(q, use_cayley_neumann=way)
        W0 = base(lin).numpy().copy()
        lin.merge()
        np.testing.assert_allclose(base(lin), oft.merge(W0, OftParams(q), **word), rtol=0, atol=1e-15)


def oft_terms():
    q = np.random.default_rng(0).normal(size=(2, 3))
    three, four, five = (
        rotated(q, num_cayley_neumann_terms=n).get_delta_weight("default").numpy(force=True)
        for n in (3, 4, 5)
    )
    assert (three == four).all()
    assert (three != five).any()


def oft_unmerge_single():
    lin = rotated(0.3 * np.random.default_rng(0).normal(size=(2, 3)))
    assert 1e-9 < there_and_back(lin) < 1e-6


# ---- starts ------------------------------------------------------------------------------------------------


def started(way, **options):
    """W0 and the tensors of a layer of float32 that starts from its weight."""
    W0 = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 6)).astype("f4"))
    _, lin = layer(lora(init_lora_weights=way, **options), 8, 6, dtype=torch.float32, W0=W0)
    p = LoraParams(
        lin.lora_B["default"].weight.numpy(force=True), lin.lora_A["default"].weight.numpy(force=True)
    )
    return W0.numpy(), base(lin).numpy(), p


def milora_absent():
    with pytest.raises(ValueError, match="Unknown initialization"):
        layer(lora(init_lora_weights="milora"))
    _, lin = layer(lora(init_lora_weights="mica"), dtype=torch.float32)
    assert not lin.lora_A["default"].weight.any()
    assert not lin.lora_B["default"].weight.requires_grad


def olora_conv1d():
    conv1d = pytest.importorskip("transformers.pytorch_utils", reason="transformers is not installed").Conv1D
    for k, d in ((4, 6), (5, 5)):
        torch.manual_seed(0)
        net, X = Net(d, k, conv1d(d, k)), torch.randn(3, k)
        want = net(X)
        model = peft.get_peft_model(net, lora(init_lora_weights="olora", fan_in_fan_out=True)).eval()
        if k != d:
            with pytest.raises(RuntimeError, match="cannot be multiplied"):
                model(X)
        else:
            assert float((model(X) - want).norm() / want.norm()) > 0.1


def olora_float64():
    with pytest.raises(TypeError, match="float64"):
        layer(lora(init_lora_weights="olora"))


def olora_scale():
    W0, found, p = started("olora")
    want, q = olora.init(W0.astype(float), 2, scale=2.0)
    np.testing.assert_allclose(found, want, atol=1e-5)
    np.testing.assert_allclose(p.B @ p.A, q.B @ q.A, atol=1e-5)
    np.testing.assert_allclose(found[:, 0], -W0[:, 0], rtol=1e-4, atol=1e-5)


def pissa_float64():
    with pytest.raises(TypeError, match="float32, float16, or bfloat16"):
        layer(lora(init_lora_weights="pissa"))


def pissa_rank_above():
    _, lin = layer(lora(r=8, init_lora_weights="pissa"), 5, 4, dtype=torch.float32)
    assert lin.r["default"] == 8
    assert lin.lora_A["default"].weight.shape == (4, 4)
    assert lin.scaling["default"] == 4 / 8


def pissa_saved_rank(folder):
    W0, found, p0 = started("pissa")
    want, _ = pissa.init(W0.astype(float), 2, scale=2.0)
    np.testing.assert_allclose(found, want, atol=1e-5)
    model, lin = layer(lora(init_lora_weights="pissa"), 8, 6, dtype=torch.float32, W0=torch.from_numpy(W0))
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(folder / "start")
    model.peft_config["default"].init_lora_weights = "pissa"
    lin.lora_B["default"].weight.data += 1
    model.save_pretrained(folder / "plain")
    model.save_pretrained(
        folder / "converted", path_initial_model_for_weight_conversion=str(folder / "start")
    )
    configs = [
        json.loads((folder / name / "adapter_config.json").read_text()) for name in ("plain", "converted")
    ]
    assert [(c["r"], c["lora_alpha"]) for c in configs] == [(2, 4), (4, 8)]
    safetensors = pytest.importorskip("safetensors.numpy")
    saved = safetensors.load_file(folder / "converted" / "adapter_model.safetensors")
    B, A = (next(x for name, x in saved.items() if f"lora_{letter}" in name) for letter in "BA")
    both = pissa.as_lora(LoraParams(p0.B + np.float32(1), p0.A), p0)
    assert (both.B == B).all()
    assert (both.A == A).all()


# ---- the table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_the_row_is_what_the_installed_release_does(name, tmp_path):
    """[dora-weight] [ia3-merge] [loha-delta] [lokr-split] [oft-cayley] [olora-start] [pissa-start] [start-increment]"""
    reproduce = globals()[name.replace("-", "_")]
    reproduce(tmp_path) if name == "pissa-saved-rank" else reproduce()


def test_the_table_is_complete_sorted_and_of_the_installed_release():
    """Seven words a row, none empty; a verdict is one of three."""
    assert [row["id"] for row in TABLE] == sorted(ROWS)
    assert len(TABLE) == len(ROWS)
    for row in TABLE:
        assert list(row) == KEYS
        assert all(isinstance(x, str) and x for x in row.values())
        assert row["verdict"] in ("by design", "defect", "precision")
        assert row["id"].startswith(row["method"])
    assert importlib.metadata.version("peft") == "0.21.2", (
        "run every row again and read them before moving on"
    )
