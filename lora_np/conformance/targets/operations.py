"""Operations that are not a layer's: starting points, optimizer steps, AdaLoRA's rules.  Floor 6.

Each is a small function from configuration and tensors to outputs by name, under its capability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from lora_np.adapters.adapter import LoraAdapter
from lora_np.conformance.targets import bank_state, layers
from lora_np.conformance.targets.pruning import PRUNING, numbered
from lora_np.conformance.targets.training import TRAINING
from lora_np.lora import LoraParams, scaling

Config = Mapping[str, Any]
Tensors = Mapping[str, np.ndarray]
Function = Callable[[Config, Tensors], Any]


# ---- starting points: products and projectors, which do not depend on the signs of singular vectors ---------------


def decomposed(method: str, config: Config, t: Tensors) -> dict[str, Any]:
    """Start at a part of W0's decomposition: the base that is left, B A, and B Bᵀ."""
    W_base, p = (
        layers.LAYERS[method].load(config).init(t["W0"], config["rank"], **layers.keywords(method, config))
    )
    return {"W_base": W_base, "BA": p.B @ p.A, "BBt": p.B @ p.B.T}


def lora_xs_init(config: Config, t: Tensors) -> dict[str, Any]:
    """Freeze the factors at the largest part of W0's decomposition."""
    from lora_np.methods.lora_xs import init

    B, A, _ = init(np.random.default_rng(0), t["W0"], config["rank"])
    return {"BA": B @ A, "BBt": B @ B.T}


def dora_init(_: Config, t: Tensors) -> dict[str, Any]:
    """Start the lengths at the rows of W0."""
    from lora_np.methods.dora import init

    return {"m": init(np.random.default_rng(0), t["W0"], 1).m}


def ia3_init(config: Config, t: Tensors) -> dict[str, Any]:
    """Start at ones."""
    from lora_np.methods.ia3 import init

    return {"l": init(*t["W0"].shape, feedforward=config["feedforward"], dtype=t["W0"].dtype).l}


# ---- prefix tuning: attention in place of a linear layer ------------------------------------------------------------


def prefix_forward(_: Config, t: Tensors) -> Any:
    """Attend to the prefix and the text."""
    from lora_np.methods.prefix_tuning import PrefixParams, forward

    return forward(t["Q"], t["K"], t["V"], PrefixParams(t["P_k"], t["P_v"]))[0]


def prefix_backward(_: Config, t: Tensors) -> dict[str, Any]:
    """Pull gY back to queries, keys, values and the prefix."""
    from lora_np.methods.prefix_tuning import PrefixParams, backward, forward

    p = PrefixParams(t["P_k"], t["P_v"])
    _, S = forward(t["Q"], t["K"], t["V"], p)
    given, g = backward(t["gY"], t["Q"], S, t["K"], t["V"], p)
    return {f"g{name}": x for name, x in {**given._asdict(), **g._asdict()}.items()}


# ---- steps ------------------------------------------------------------------------------------------------------


def lora_plus_step(config: Config, t: Tensors) -> dict[str, Any]:
    """Step B faster than A, by plain descent or by Adam."""
    from lora_np.methods import lora_plus
    from lora_np.optim.adam import AdamState

    p, g = LoraParams(t["B"], t["A"]), LoraParams(t["gB"], t["gA"])
    rates = {"lr": config["lr"], "ratio": config["ratio"]}
    if config["optimizer"] == "sgd":
        return lora_plus.step(p, g, **rates)._asdict()
    state = AdamState(config["step"] - 1, LoraParams(t["mB"], t["mA"]), LoraParams(t["vB"], t["vA"]))
    betas = (config["beta1"], config["beta2"])
    return lora_plus.adam_step(p, g, state, betas=betas, eps=config["eps"], **rates)[0]._asdict()


def lora_fa_step(config: Config, t: Tensors) -> dict[str, Any]:
    """Correct the gradient of B."""
    from lora_np.methods.lora_fa import corrected_gradient

    scale = scaling(config["alpha"], config["rank"])
    return {"gB": corrected_gradient(t["gB"], t["A"], scale=scale, damping=config["damping"])}


# ---- AdaLoRA's rules --------------------------------------------------------------------------------------------


def _triplets(t: Tensors, before: str = "") -> Any:
    from lora_np.methods.adalora import AdaloraParams

    return AdaloraParams(*(t[f"{before}{name}"] for name in AdaloraParams._fields))


def adalora_penalty(_: Config, t: Tensors) -> dict[str, Any]:
    """Measure how far P and Q are from orthogonal, and pull that back."""
    from lora_np.methods.adalora import AdaloraParams, penalty, penalty_gradient

    p = AdaloraParams(t["P"], np.zeros(t["P"].shape[1], dtype=t["P"].dtype), t["Q"])
    g = penalty_gradient(p)
    return {"penalty": np.asarray(penalty(p)), "gP": g.P, "gQ": g.Q}


def adalora_importance(config: Config, t: Tensors) -> dict[str, Any]:
    """Smooth the sensitivities, and score the triplets."""
    from lora_np.methods.adalora_budget import History, smooth, triplet_scores

    history = History(_triplets(t, "mean."), _triplets(t, "spread."))
    new = smooth(history, _triplets(t), _triplets(t, "g"), beta1=config["beta1"], beta2=config["beta2"])
    kinds = (("mean", new.mean), ("spread", new.spread))
    found = {f"{kind}.{name}": x for kind, p in kinds for name, x in p._asdict().items()}
    return {**found, "scores": triplet_scores(new)}


def adalora_schedule(config: Config, _: Tensors) -> dict[str, Any]:
    """Say how many triplets may stay."""
    from lora_np.methods.adalora_budget import budget

    names = ("total", "initial", "final", "warmup", "cooldown")
    return {"budget": np.asarray(budget(config["step"], **{name: config[name] for name in names}))}


def adalora_budget(config: Config, t: Tensors) -> dict[str, Any]:
    """Choose the triplets that stay."""
    from lora_np.methods.adalora_budget import keep

    kept = keep(numbered(t, "scores"), config["budget"])
    return {f"keep.{i}": one for i, one in enumerate(kept)}


# ---- several adapters as one, compared on the increment s B A ------------------------------------------------------


def combine(kind: str, config: Config, t: Tensors) -> dict[str, Any]:
    """Combine the adapters B.0, A.0, B.1, A.1, ..., as `kind` says."""
    module = import_module(f"lora_np.adapters.{kind.replace('-ties', '')}")
    pairs = zip(numbered(t, "B"), numbered(t, "A"), config["scales"], strict=True)
    adapters = [LoraAdapter(LoraParams(B, A), scale) for B, A, scale in pairs]
    drawn = (numbered(t, "keep"),) if kind.startswith("dare") else ()
    names = ("weights",) if kind in ("cat", "linear", "svd") else ("weights", "density")
    keywords = {name: config[name] for name in names if name in config}
    if kind == "svd":
        keywords["rank"] = config["svd_rank"]
    found = getattr(module, f"combine_{kind.replace('-', '_')}")(adapters, *drawn, **keywords)
    found = found.adapter if kind == "svd" else found
    return {"delta": found.delta() if isinstance(found, LoraAdapter) else found}


def mixed(config: Config, t: Tensors) -> dict[str, Any]:
    """Apply to each row its own adapter, or none, and pull gY back."""
    from lora_np.adapters.mixed import backward_mixed, forward_mixed

    pairs = zip(numbered(t, "B"), numbered(t, "A"), config["scales"], strict=True)
    adapters = {str(i): LoraAdapter(LoraParams(B, A), scale) for i, (B, A, scale) in enumerate(pairs)}
    rows = [None if at < 0 else str(at) for at in t["rows"].tolist()]
    Y, Z = forward_mixed(t["X"], t["W0"], adapters, rows, bias=t.get("bias"))
    gX, found = backward_mixed(t["gY"], t["X"], Z, t["W0"], adapters, rows)
    factors = {f"g{name}.{i}": x for i, g in found.items() for name, x in g._asdict().items()}
    return {"Y": Y, "gX": gX, **factors}


OPERATIONS: dict[str, Function] = {
    "lora.state": bank_state.state,
    "lora.mixed": mixed,
    **PRUNING,
    **TRAINING,
    **{f"{method}.init": partial(decomposed, method) for method in ("pissa", "milora", "olora")},
    "lora-xs.init": lora_xs_init,
    "dora.init": dora_init,
    "ia3.init": ia3_init,
    "prefix-tuning.forward": prefix_forward,
    "prefix-tuning.backward": prefix_backward,
    "lora-plus.step": lora_plus_step,
    "lora-fa.step": lora_fa_step,
    "adalora.penalty": adalora_penalty,
    "adalora.importance": adalora_importance,
    "adalora.schedule": adalora_schedule,
    "adalora.budget": adalora_budget,
    **{
        f"combine-{kind}.combine": partial(combine, kind)
        for kind in ("cat", "linear", "svd", "ties", "dare", "dare-ties", "magnitude")
    },
}
"""Every such operation by its capability."""
