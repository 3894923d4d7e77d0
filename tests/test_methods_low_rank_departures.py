"""The table of PEFT's departures in the low-rank methods, and each measured row again with the package installed here.

The rows are observations of PEFT 0.21.2; another version may have mended one, so they are held for that version only.
"""

import json
import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from importlib import metadata, resources

import numpy as np
import pytest

from lora_np.methods import adalora, adalora_budget, lora_fa, vera
from lora_np.methods import method as find

ROWS = {
    row["id"]: row
    for row in json.loads(
        resources.files("lora_np.conformance")
        .joinpath("published/departures/low_rank.json")
        .read_text("utf-8")
    )
}
REPRODUCED: dict[str, Callable] = {}


def reproduces(*ids):
    """Register a function as the reproducer of rows."""

    def register(function):
        REPRODUCED.update(dict.fromkeys(ids, function))
        return function

    return register


def test_the_table_is_complete_and_sorted():
    rows = list(ROWS.values())
    assert [row["id"] for row in rows] == sorted(ROWS)
    for row in rows:
        assert list(row) == ["id", "method", "paper", "peft", "effect", "here", "verdict"]
        assert row["id"].startswith(row["method"])
        assert find(row["method"])
        assert row["verdict"] in ("by design", "defect", "precision")
        assert all(isinstance(value, str) and value.strip() == value and value for value in row.values())


@pytest.fixture(scope="module")
def released():
    """torch and peft 0.21.2; skips where they are not installed."""
    pytest.importorskip("torch", reason="torch is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = pytest.importorskip("peft", reason="peft is not installed")
    if metadata.version("peft") != "0.21.2":
        pytest.skip(f"the rows are of PEFT 0.21.2; installed is {metadata.version('peft')}")
    return peft


def network(d=5, k=7, dtype="float64"):
    """Two linear layers, d x k and d x d."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2 = torch.nn.Linear(k, d), torch.nn.Linear(d, d)

        def forward(self, x):
            return self.l2(self.l1(x))

    torch.manual_seed(0)
    return Network().to(getattr(torch, dtype))


def adapted(peft, config, **sizes):
    return peft.get_peft_model(network(**sizes), config)


def ada(peft, **changes):
    settings = {"init_r": 4, "target_r": 2, "lora_alpha": 8, "total_step": 10, "target_modules": ["l1", "l2"]}
    return peft.AdaLoraConfig(**{**settings, **changes})


def with_gradients(model, value=1.0):
    import torch

    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.full_like(p, value)
    return model


def kept_by(pattern):
    return sum(sum(mask) for mask in pattern.values())


@reproduces("adalora-scale", "adalora-alpha-not-positive", "adalora-use-rslora-ignored")
def the_scale_of_adalora(peft):
    def scale(**changes):
        layer = adapted(peft, ada(peft, **changes)).base_model.model.l1
        return float(layer.scaling["default"] / (layer.ranknum["default"] + 1e-5))

    assert scale() == adalora.scaling(8, 4)
    assert round(scale(), 6) == 1.999995
    assert scale(lora_alpha=0) == scale(lora_alpha=-3) == adalora.scaling(4, 4)
    assert adalora.scaling(0, 4) == 0
    assert scale(use_rslora=True) == scale()


@reproduces("adalora-budget-equal-ranks")
def equal_ranks_crash(peft):
    for initial in (4, 2):
        model = with_gradients(adapted(peft, ada(peft, init_r=initial, target_r=4)))
        with pytest.raises(RuntimeError, match="kthvalue"):
            model.base_model.update_and_allocate(1)
    assert adalora_budget.budget(1, total=10, initial=8, final=8) == 8


@reproduces("adalora-budget-printed", "adalora-budget-rounding")
def the_schedule(peft):
    allocator = adapted(peft, ada(peft, tinit=10, tfinal=30, total_step=100)).base_model.rankallocator
    allocator.init_bgt, allocator.target_bgt = 12, 8
    for t in range(101):
        want = adalora_budget.budget(t, total=100, initial=12, final=8, warmup=10, cooldown=30)
        assert allocator.budget_schedule(t)[0] == want
    printed = [8 + 4 * (1 - Fraction(t - 10 - 30, 100 - 10 - 30)) ** 3 for t in (10, 70)]
    assert [float(b) for b in printed] == [21.5, 8.5]
    allocator.init_bgt, allocator.target_bgt = 129, 4
    allocator.peft_config.tinit = allocator.peft_config.tfinal = 0
    allocator.peft_config.total_step = 5
    assert allocator.budget_schedule(2)[0] == 30
    assert adalora_budget.budget(2, total=5, initial=129, final=4) == 31


@reproduces("adalora-budget-ties")
def ties_lose_more_than_asked(peft):
    import torch

    model = adapted(peft, ada(peft))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.fill_(1.0)
    allocator = with_gradients(model).base_model.rankallocator
    allocator.update_ipt(model)
    assert kept_by(allocator.mask_to_budget(model, 6)) == 0
    assert sum(int(m.sum()) for m in adalora_budget.keep([np.ones(4), np.ones(4)], 6)) == 6


@reproduces("adalora-penalty-form")
def the_penalty(peft):
    import torch

    class Lossy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return type("Output", (), {"loss": 0 * self.net(x).sum()})()

    model = peft.get_peft_model(Lossy(), ada(peft, orth_reg_weight=0.5))
    layers = (model.base_model.model.net.l1, model.base_model.model.net.l2)
    norms, ours = [], 0.0
    with torch.no_grad():
        for layer in layers:
            P, Q = layer.lora_B["default"].normal_(), layer.lora_A["default"].normal_()
            norms += [float(torch.linalg.norm(x - torch.eye(4))) for x in (P.T @ P, Q @ Q.T)]
            ours += float(adalora.penalty(adalora.AdaloraParams(P.numpy(), np.zeros(4), Q.numpy())))
        found = float(model.base_model(torch.zeros(1, 7).double()).loss)
    assert math.isclose(found, 0.5 * sum(norms) / 4, rel_tol=1e-12)
    assert math.isclose(ours, sum(norm**2 for norm in norms), rel_tol=1e-12)


@reproduces("adalora-penalty-skipped")
def the_penalty_is_skipped_without_a_task(peft):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 11}
    config = LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2)
    ids, added = torch.tensor([[1, 2, 3, 4]]), {}
    for task in (None, "CAUSAL_LM"):
        base = LlamaForCausalLM(config)
        with torch.no_grad():
            plain = float(base(input_ids=ids, labels=ids).loss)
            model = peft.get_peft_model(base, ada(peft, target_modules=["q_proj"], task_type=task))
            added[task] = float(model(input_ids=ids, labels=ids).loss) - plain
    assert added[None] == 0
    assert added["CAUSAL_LM"] > 0.9


@reproduces("adalora-sensitivity-order")
def the_sensitivity_takes_what_weights_there_are(peft):
    import torch

    assert peft.AdaLoraModel.update_and_allocate.__doc__.index("optimizer.step()") < (
        peft.AdaLoraModel.update_and_allocate.__doc__.index("update_and_allocate(i_step)")
    )
    model = adapted(peft, ada(peft))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    model(torch.ones(6, 7).double()).pow(2).mean().backward()
    allocator = model.base_model.rankallocator
    allocator.update_ipt(model)
    assert max(float(values.max()) for values in allocator.ipt.values()) == 0
    optimizer.step()
    allocator.update_ipt(model)
    assert max(float(values.max()) for values in allocator.ipt.values()) > 0


@reproduces("bitfit-only-beside-lora")
def biases_are_trained_beside_lora(peft):
    import torch

    with pytest.raises(ValueError, match="positive integer"):
        adapted(peft, peft.LoraConfig(r=0, target_modules=["l1"], bias="all"))
    base, x = network(), torch.ones(3, 7).double()
    before = base(x).detach()
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["l1"], bias="all"))
    assert {"lora_A", "lora_B", "bias"} == {
        next(word for word in ("lora_A", "lora_B", "bias") if word in name)
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    with torch.no_grad():
        model.base_model.model.l2.bias.add_(1.0)
    with (
        pytest.warns(UserWarning, match="Careful, disabling adapter layers with bias"),
        model.disable_adapter(),
    ):
        assert torch.allclose(model(x) - before, torch.ones(3, 5).double())


def one_lora_fa_step(peft, dtype, **lora):
    """The corrected gradient that PEFT's optimizer sees, and the gradient and A it came from."""
    import torch
    from peft.optimizers import create_lorafa_optimizer

    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["l1", "l2"], **lora)
    model = adapted(peft, config, d=6, k=40, dtype=dtype)
    optimizer = create_lorafa_optimizer(model, r=4, lora_alpha=8, lr=1e-3)
    model(torch.randn(9, 40, dtype=getattr(torch, dtype))).pow(2).sum().backward()
    layer = model.base_model.model.l1
    A, gB = (
        layer.lora_A["default"].weight.detach().numpy(),
        layer.lora_B["default"].weight.grad.numpy().copy(),
    )
    optimizer.step()
    state = next(state for name, state in optimizer.state.items() if "l1" in name)
    return state["exp_avg_B"].numpy() / np.asarray(1 - 0.9, dtype=dtype), gB, A


@reproduces("lora-fa-bfloat16", "lora-fa-damping")
def the_correction(peft):
    from peft.optimizers.lorafa import is_bf16_available

    got, gB, A = one_lora_fa_step(peft, "float64")
    ours = lora_fa.corrected_gradient(gB, A, scale=2.0)
    assert np.allclose(got, ours, rtol=0, atol=1e-13 * abs(ours).max())
    got, gB, A = one_lora_fa_step(peft, "float32")
    ours = lora_fa.corrected_gradient(gB, A, scale=2.0)
    error = np.linalg.norm(got - ours) / np.linalg.norm(ours)
    assert (1e-3 < error < 5e-3) if is_bf16_available() else error < 1e-5
    gram = A @ A.T
    assert (np.diag(gram + np.float32(1e-8) * np.eye(4, dtype=np.float32)) == np.diag(gram)).all()


@reproduces("lora-fa-dora")
def lora_fa_cannot_pair_dora(peft):
    with pytest.raises(TypeError, match="NoneType"):
        one_lora_fa_step(peft, "float64", use_dora=True)


@reproduces("lora-init-kaiming")
def the_start_of_lora(peft):
    layer = adapted(peft, peft.LoraConfig(r=40, target_modules=["l1"]), k=4000).base_model.model.l1
    A = layer.lora_A["default"].weight.detach().numpy()
    assert 0.999 < abs(A).max() * math.sqrt(4000) <= 1
    config = peft.LoraConfig(r=40, target_modules=["l1"], init_lora_weights="gaussian")
    A = adapted(peft, config, k=4000).base_model.model.l1.lora_A["default"].weight.detach().numpy()
    assert abs(A.std() * 40 - 1) < 5 / math.sqrt(2 * A.size)
    assert not layer.lora_B["default"].weight.any()


@reproduces("lora-plus-embedding", "lora-plus-other-parameters", "lora-plus-ratio-unchecked")
def the_groups_of_lora_plus(peft):
    import torch
    from peft.optimizers import create_loraplus_optimizer

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.l1, self.head = (
                torch.nn.Embedding(11, 7),
                torch.nn.Linear(7, 5),
                torch.nn.Linear(5, 2),
            )

        def forward(self, x):
            return self.head(self.l1(self.emb(x)))

    config = peft.LoraConfig(r=2, target_modules=["emb", "l1"], modules_to_save=["head"], bias="all")
    model = peft.get_peft_model(Classifier(), config)
    names = {id(p): name for name, p in model.named_parameters()}

    def rates(ratio):
        optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-4, loraplus_lr_ratio=ratio)
        return {
            names[id(p)].split("model.model.")[-1]: g["lr"]
            for g in optimizer.param_groups
            for p in g["params"]
        }

    found = rates(16)
    assert found["l1.lora_A.default.weight"] == found["head.modules_to_save.default.weight"] == 1e-4
    assert found["l1.lora_B.default.weight"] == found["head.modules_to_save.default.bias"] == 16e-4
    assert found["emb.lora_embedding_A.default"] == found["emb.lora_embedding_B.default"] == 1e-6
    assert math.isnan(rates(float("nan"))["l1.lora_B.default.weight"])
    assert rates(0)["l1.lora_B.default.weight"] == 0


@reproduces("rslora-flag-as-word")
def a_word_turns_rslora_on(peft):
    config = peft.LoraConfig(r=4, lora_alpha=8, use_rslora="false", target_modules=["l1"])
    assert adapted(peft, config).base_model.model.l1.scaling == {"default": 4.0}


@reproduces("vera-init", "vera-pair-saved")
def the_pair_of_vera(peft):
    model = adapted(peft, peft.VeraConfig(r=30, target_modules=["l1"]), d=500, k=700)
    A, B = (x["default"].numpy() for x in (model.base_model.vera_A, model.base_model.vera_B))
    for x, fan in ((A, 700), (B, 30)):
        assert 0.999 * math.sqrt(6) < abs(x).max() * math.sqrt(fan) <= math.sqrt(6)
    layer = model.base_model.model.l1
    start = vera.init(500, 30, dtype=np.float32)  # PEFT draws and fills in float32, and widens afterwards
    assert layer.vera_lambda_d["default"].detach().numpy().dtype == np.float64
    assert (layer.vera_lambda_d["default"].detach().numpy() == start.lambda_d.astype(float)).all()
    assert (layer.vera_lambda_b["default"].detach().numpy() == start.lambda_b).all()
    assert {"base_model.vera_A", "base_model.vera_B"} <= set(peft.get_peft_model_state_dict(model))


@reproduces("vera-second-adapter-rank")
def a_second_vera_of_lower_rank_crashes(peft):
    import torch

    model = adapted(peft, peft.VeraConfig(r=3, target_modules=["l1"]), dtype="float32")
    model.add_adapter("second", peft.VeraConfig(r=2, target_modules=["l1"]))
    model.set_adapter("second")
    with pytest.raises(RuntimeError, match=r"size of tensor a \(2\) must match the size of tensor b \(3\)"):
        model(torch.ones(2, 7))
    with pytest.raises(ValueError, match="with a lower rank was added after the first one"):
        model.add_adapter("third", peft.VeraConfig(r=4, target_modules=["l1"]))


@pytest.mark.interop
@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_seen_in_the_released_package(row, released):
    """No row without a reproducer, and every reproducer still finds what the row says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        REPRODUCED[row](released)


def test_no_reproducer_is_left_over():
    assert set(REPRODUCED) == set(ROWS)
