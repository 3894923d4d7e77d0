"""Adapters that PEFT itself saves are read as PyTorch holds them, and PEFT loads what is written here.

The increment is compared with PEFT's own `get_delta_weight`, the file with PyTorch's tensors, bit for bit.
"""

import json

import numpy as np
import pytest

from lora_np import errors
from lora_np.files import read_adapter, read_base, write_adapter
from lora_np.merging import merge

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore"),  # PEFT's own warnings, of which it has many
]

CASES = {
    "linear": {"target_modules": ["q", "v"]},
    "expression": {"target_modules": r"layer\.[01]|q"},
    "rank-stabilized": {"target_modules": ["q"], "use_rslora": True},
    "patterns": {
        "target_modules": ["q", "v", "layer.0"],
        "rank_pattern": {"^q": 5, r"layer\.\d": 1},
        "alpha_pattern": {"v|q": 3, "0": 7},
    },
    "dora": {"target_modules": ["q", "conv", "embed"], "use_dora": True},
    "embedding": {"target_modules": ["embed"]},
    "convolution": {"target_modules": ["conv"]},
    "transposed": {"target_modules": ["gpt"], "fan_in_fan_out": True},
    "all": {"target_modules": ["q", "v", "embed", "conv", "gpt", "layer.0"], "modules_to_save": ["head"]},
    "biases": {"target_modules": ["q", "v"], "bias": "all"},
    "own bias": {"target_modules": ["q", "v"], "bias": "lora_only"},
    "bias of B": {"target_modules": ["q"], "lora_bias": True},
    "tokens": {"target_modules": ["q"], "trainable_token_indices": {"embed": [1, 3]}},
}

ALL_TYPES = [("all", dtype) for dtype in ("float16", "float64")]


class Model(torch.nn.Module):
    """One layer of each kind that PEFT adapts."""

    config = {"model_type": "none"}  # noqa: RUF012 (PEFT wants a dict here)

    def __init__(self):
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.q, self.v = torch.nn.Linear(6, 4), torch.nn.Linear(6, 6, bias=False)
        self.gpt = Conv1D(9, 6)  # stores (inputs, outputs)
        self.conv = torch.nn.Conv2d(2, 5, (3, 2))
        self.layer = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 8)])
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.q(self.embed(x)))


def saved(folder, dtype=torch.float32, **options):
    """Let PEFT make an adapter with random factors and save it; return its model."""
    torch.manual_seed(0)
    model = Model().to(dtype)
    model = peft.get_peft_model(
        model, peft.LoraConfig(r=2, lora_alpha=7, **options), autocast_adapter_dtype=False
    )
    for name, parameter in model.named_parameters():
        if "lora" in name or "tokens_delta" in name:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    return model


def layer_of(model, name):
    """Return the adapted layer of a module."""
    return model.base_model.model.get_submodule(name)


def is_transposed(layer):
    """Tell whether a layer stores (inputs, outputs); of a model with both kinds, PEFT's config says it of the last."""
    return isinstance(layer, peft.tuners.lora.layer.Embedding) or getattr(layer, "fan_in_fan_out", False)


def peft_increment(model, name):
    """Return what PEFT adds to the weight of a module."""
    return layer_of(model, name).get_delta_weight("default").detach()


@pytest.mark.parametrize(("case", "dtype"), [*((case, "float32") for case in CASES), *ALL_TYPES])
def test_an_adapter_of_peft_is_read_as_pytorch_holds_it(tmp_path, case, dtype):
    model = saved(tmp_path, getattr(torch, dtype), **CASES[case])
    read = read_adapter(tmp_path)
    adapted = [
        name.removeprefix("base_model.model.")
        for name, layer in model.named_modules()
        if isinstance(layer, peft.tuners.lora.layer.LoraLayer)
    ]
    assert set(read.modules) == set(adapted)
    for name, module in read.modules.items():
        layer = layer_of(model, name)
        assert module.scale == pytest.approx(layer.scaling["default"], rel=1e-15)
        assert (module.rank, module.dtype) == (layer.r["default"], dtype)
        declared = module.base_shape if module.transposed is is_transposed(layer) else module.base_shape[::-1]
        assert tuple(layer.get_base_layer().weight.shape) == declared
        pair = (
            (layer.lora_embedding_A, layer.lora_embedding_B)
            if module.kind == "embedding"
            else (layer.lora_A, layer.lora_B)
        )
        A, B = (part["default"] if module.kind == "embedding" else part["default"].weight for part in pair)
        assert np.array_equal(module.params.A, A.detach().double().numpy().reshape(module.params.A.shape))
        assert np.array_equal(module.params.B, B.detach().double().numpy().reshape(module.params.B.shape))


@pytest.mark.parametrize("case", [case for case in CASES if case != "tokens"])
def test_the_increment_is_the_one_that_peft_adds(tmp_path, case):
    """Double precision on both sides: what differs is the order of r additions."""
    model = saved(tmp_path, torch.float64, **CASES[case])
    for name, module in read_adapter(tmp_path).modules.items():
        ours = module.lora.delta()
        theirs = peft_increment(model, name).numpy()
        stored = ours.T if is_transposed(layer_of(model, name)) else ours.reshape(theirs.shape)
        slack = 2.0**-50 * module.scale * (np.abs(module.params.B) @ np.abs(module.params.A)).max()
        assert np.abs(stored - theirs).max() <= slack


@pytest.mark.parametrize(("case", "dtype"), [*((case, "bfloat16") for case in CASES), *ALL_TYPES])
def test_peft_loads_what_was_written(tmp_path, case, dtype):
    from safetensors.torch import load_file

    model = saved(tmp_path / "theirs", getattr(torch, dtype), **CASES[case])
    write_adapter(tmp_path / "ours", read_adapter(tmp_path / "theirs"))
    theirs, ours = (load_file(tmp_path / side / "adapter_model.safetensors") for side in ("theirs", "ours"))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], ours[key]) and theirs[key].dtype == ours[key].dtype for key in ours)
    configs = [
        json.loads((tmp_path / side / "adapter_config.json").read_text()) for side in ("theirs", "ours")
    ]
    assert configs[0] == configs[1]
    torch.manual_seed(0)
    loaded = peft.PeftModel.from_pretrained(
        Model().to(getattr(torch, dtype)), tmp_path / "ours", autocast_adapter_dtype=False
    )
    state = model.state_dict()
    assert [key for key, x in loaded.state_dict().items() if not torch.equal(x, state[key])] == []


def test_merging_into_the_base_gives_the_weights_that_peft_merges(tmp_path):
    """One rounding of W and one of each of r terms apart, relative to the largest entry."""
    from safetensors.torch import save_file

    model = saved(tmp_path, torch.float64, **CASES["all"])
    base = {
        key.replace(".base_layer", ""): x
        for key, x in model.base_model.model.state_dict().items()
        if "lora" not in key
    }
    base = {
        key: x.contiguous()
        for key, x in base.items()
        if "modules_to_save" not in key and "original" not in key
    }
    save_file(base, tmp_path / "base.safetensors")
    adapter = read_adapter(tmp_path)
    weights = read_base(tmp_path / "base.safetensors", adapter.modules)
    merged = model.merge_and_unload().state_dict()
    assert set(weights) == set(adapter.modules) == {"q", "v", "embed", "conv", "gpt", "layer.0"}
    for name, module in adapter.modules.items():
        ours = merge(weights[name], module.params, scale=module.scale)
        theirs = merged[f"{name}.weight"].numpy()
        stored = ours.T if name in ("gpt", "embed") else ours.reshape(theirs.shape)
        assert np.abs(stored - theirs).max() <= 2.0**-49 * np.abs(theirs).max()


def test_an_adapter_made_here_is_loaded_by_peft(tmp_path, rng):
    from lora_np.files import make_adapter
    from lora_np.lora import LoraParams

    params = {
        "q": LoraParams(B=rng.normal(size=(4, 3)), A=rng.normal(size=(3, 6))),
        "v": LoraParams(B=rng.normal(size=(6, 1)), A=rng.normal(size=(1, 6))),
    }
    write_adapter(tmp_path, make_adapter(params, alpha=5))
    loaded = peft.PeftModel.from_pretrained(Model().double(), tmp_path, autocast_adapter_dtype=False)
    for name, (B, A) in params.items():
        theirs = peft_increment(loaded, name).numpy()
        assert (
            np.abs(5 / B.shape[1] * (B @ A) - theirs).max()
            <= 2.0**-50 * 25 * np.abs(B).max() * np.abs(A).max()
        )


@pytest.mark.parametrize(
    "options",
    [
        (peft.IA3Config, {"target_modules": ["q"], "feedforward_modules": []}),
        (peft.LoHaConfig, {"target_modules": ["q"]}),
    ],
    ids=["ia3", "loha"],
)
def test_other_methods_are_refused_by_name(tmp_path, options):
    kind, settings = options
    peft.get_peft_model(Model(), kind(**settings)).save_pretrained(tmp_path)
    with pytest.raises(errors.ConfigError, match="peft_type must be one of 'LORA'"):
        read_adapter(tmp_path)


def test_convolutions_in_groups_are_refused(tmp_path):
    model = Model()
    model.conv = torch.nn.Conv2d(4, 6, 3, groups=2)
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["conv"])).save_pretrained(tmp_path)
    with pytest.raises(errors.RankError, match="convolutions in groups cannot be read"):
        read_adapter(tmp_path)
