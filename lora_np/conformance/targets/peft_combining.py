"""PEFT's `add_weighted_adapter`, behind the operation `combine`; and the target "peft-rslora".  Floor 6.

The adapters of a case are added to a layer one by one, and the increment of the combination is read back.  TIES, DARE
and trimming are defined on increments, so PEFT's forms that work on increments are asked (ties_svd and its like).
These decompose the combined increment in the end, and what they hand to `torch.linalg.svd` is read: how the
decomposition rounds is the matter of "combine-svd".  DARE draws with `torch.bernoulli`, which hands out the
case's draws here.

"peft-rslora" combines the same increments out of adapters that are scaled by alpha / sqrt(r).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from lora_np.conformance.targets.torch_bridge import Tensors, array, tensor

Config = Mapping[str, Any]
KINDS = {
    "combine-cat": "cat",
    "combine-linear": "linear",
    "combine-svd": "svd",
    "combine-ties": "ties_svd",
    "combine-dare": "dare_linear_svd",
    "combine-dare-ties": "dare_ties_svd",
    "combine-magnitude": "magnitude_prune_svd",
}
"""What PEFT calls each combination of increments."""

CAPABILITIES = tuple(f"{method}.combine" for method in KINDS)


def combine(method: str, config: Config, tensors: Tensors, *, stabilized: bool = False) -> Any:
    """Combine the adapters B.0, A.0, B.1, A.1, ... and return the increment."""
    import torch

    t = {name: tensor(x, config["dtype"]) for name, x in tensors.items()}
    count = sum(name.startswith("B.") for name in t)
    names = [f"adapter{i}" for i in range(count)]
    model = _model(config, t, names, stabilized)
    further: dict[str, Any] = {"density": config["density"]} if "density" in config else {}
    if KINDS[method].endswith("svd"):
        further["svd_rank"] = config.get("svd_rank", min(t["B.0"].shape[0], t["A.0"].shape[1]))
    draws = iter([t[f"keep.{i}"].to(t["B.0"].dtype) for i in range(count) if f"keep.{i}" in t])
    decomposed: list[Any] = []
    svd = torch.linalg.svd

    def watched(increment: Any, **settings: Any) -> Any:
        decomposed.append(increment.clone())
        return svd(increment, **settings)

    with ExitStack() as stack:
        stack.enter_context(patch.object(torch.linalg, "svd", watched))
        if "keep.0" in t:
            stack.enter_context(patch.object(torch, "bernoulli", lambda *_, **__: next(draws)))
        model.base_model.add_weighted_adapter(
            names, config["weights"], "combined", combination_type=KINDS[method], **further
        )
    layer: Any = model.base_model.model.layer
    if decomposed and method != "combine-svd":
        return {"delta": array(layer.scaling["combined"] * decomposed[0])}
    return {"delta": array(layer.get_delta_weight("combined"))}


def _model(config: Config, t: Mapping[str, Any], names: list[str], stabilized: bool) -> Any:
    """Make a layer with every adapter of the case on it, loaded as a checkpoint is."""
    import peft
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            B, A = t["B.0"], t["A.0"]
            self.layer = torch.nn.Linear(
                A.shape[-1], B.shape[0], bias=False, dtype=getattr(torch, config["dtype"])
            )

    settings = []
    for i, scale in enumerate(config["scales"]):
        rank = t[f"A.{i}"].shape[0]
        alpha = scale * (math.sqrt(rank) if stabilized else rank)
        settings.append(
            peft.LoraConfig(r=rank, lora_alpha=alpha, use_rslora=stabilized, target_modules=["layer"])
        )
    model: Any = peft.get_peft_model(
        Model(), settings[0], adapter_name=names[0], autocast_adapter_dtype=False
    )
    for name, one in zip(names[1:], settings[1:], strict=True):
        model.add_adapter(name, one, autocast_adapter_dtype=False)
    layer = model.base_model.model.layer.to(getattr(torch, config["dtype"]))
    for i, name in enumerate(names):
        factors = {f"lora_{factor}.{name}.weight": t[f"{factor}.{i}"] for factor in "BA"}
        layer.load_state_dict(factors, strict=False)
    return model


class Stabilized:
    """PEFT, combining adapters of rsLoRA."""

    name = "peft-rslora"
    dtypes: tuple[str, ...] = ("float32", "float64")
    options: Mapping[str, str] = {}
    capabilities = CAPABILITIES

    def __init__(self) -> None:
        import peft
        import torch

        torch.set_num_threads(1)
        self.version = str(peft.__version__)

    def combine(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Combine adapters whose scale is alpha / sqrt(r)."""
        return combine(method, config, tensors, stabilized=True)
