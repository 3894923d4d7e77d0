"""The target "peft" on scripts: PEFT's own calls, one for each step.  Floor 6.

Where PEFT has no call for a step, the calls are those that its users make; where it cannot be done, the case is not
claimed.  Nothing is checked or corrected on the way: what PEFT refuses is refused, and what it does is judged.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lora_np.conformance.state.session import run_script
from lora_np.conformance.targets.torch_bridge import array, tensor

CHOICES = {
    "state.change": "followed",
    "state.delete": "refused",
    "state.activate": "unmerged",
    "state.again": "ignored",
    "state.disable": "unmerged",
    "state.load": "unmerged",
}
"""What PEFT's documentation and warnings say it does; "state.base" is not among it: PEFT subtracts."""


def state(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Run a script on a model of one layer."""
    with warnings.catch_warnings(), TemporaryDirectory() as directory:
        warnings.simplefilter("ignore")  # a warning is no refusal
        return run_script(lambda W0: PeftSession(W0, str(config["dtype"]), directory), config, tensors)


class PeftSession:
    """A model of one linear layer, and the PEFT model around it once there is an adapter."""

    def __init__(self, W0: np.ndarray, dtype: str, directory: str) -> None:
        self.W0, self.dtype, self.directory = W0, dtype, directory
        self.model: Any = None
        self.base = self._base()

    def _base(self) -> Any:
        import torch

        d, k = self.W0.shape

        class Model(torch.nn.Module):
            def __init__(self, W0: Any) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(k, d, bias=False, dtype=W0.dtype)
                self.layer.weight.data = W0

            def forward(self, X: Any) -> Any:
                return self.layer(X)

        return Model(tensor(self.W0, self.dtype))

    @property
    def tuner(self) -> Any:
        """PEFT's `LoraModel`."""
        return self.model.base_model

    @property
    def layer(self) -> Any:
        """PEFT's layer."""
        return self.tuner.model.layer

    # ---- which adapters there are ----------------------------------------------------------------------------

    def add(self, name: str, B: np.ndarray, A: np.ndarray, scale: float) -> None:
        """Add an adapter; PEFT activates the first one, which is taken back."""
        import peft

        settings = peft.LoraConfig(
            r=A.shape[0],
            lora_alpha=scale * A.shape[0],
            target_modules=["layer"],
            lora_dropout=0.0,
        )
        if self.model is None:
            self.model = peft.get_peft_model(
                self.base, settings, adapter_name=name, autocast_adapter_dtype=False
            )
            self.tuner.set_adapter([])
            self.model.eval()
        else:
            self.model.add_adapter(name, settings, autocast_adapter_dtype=False)
        self.layer.to(self.layer.get_base_layer().weight.dtype)
        self.train(name, B, A)

    def delete(self, name: str) -> None:
        """Delete an adapter."""
        self.model.delete_adapter(name)

    def train(self, name: str, B: np.ndarray, A: np.ndarray) -> None:
        """Change the parameters in place, as an optimizer does."""
        self.layer.lora_B[name].weight.data.copy_(tensor(B, self.dtype))
        self.layer.lora_A[name].weight.data.copy_(tensor(A, self.dtype))

    def scale(self, name: str, scale: float) -> None:
        """Set the scale as a multiple of the first one."""
        first = self.layer.lora_alpha[name] / self.layer.r[name] if name in self.layer.r else 1.0
        self.layer.set_scale(name, scale / first)

    def combine(self, new: str, names: list[str], weights: list[float]) -> None:
        """Combine by concatenation."""
        self.model.add_weighted_adapter(names, weights, new, combination_type="cat")

    # ---- which of them act, and where ------------------------------------------------------------------------

    def activate(self, names: list[str]) -> None:
        """Set the active adapter; several, or none, through the tuner, as PEFT's documentation does."""
        if len(names) == 1:
            self.model.set_adapter(names[0])
        else:
            self.tuner.set_adapter(list(names))

    def merge(self, names: list[str] | None) -> None:
        """Merge."""
        self.model.merge_adapter(adapter_names=names)

    def unmerge(self, names: list[str] | None) -> None:
        """Unmerge, which PEFT does for all at once; for some of them it has no call."""
        if names is not None and set(self.layer.merged_adapters) - set(names):
            raise NotImplementedError("PEFT unmerges all adapters at once")
        if names is not None and set(names) - set(self.layer.merged_adapters):
            raise NotImplementedError("PEFT's unmerge_adapter takes no names")
        self.model.unmerge_adapter()

    def swap(self, old: str, new: str) -> None:
        """Unmerge, activate the other, merge again: PEFT has no call for it."""
        if (
            new not in self.layer.r
            or old not in self.layer.active_adapters
            or new in self.layer.active_adapters
        ):
            raise NotImplementedError("PEFT has no call that exchanges adapters")
        active = [new if name == old else name for name in self.layer.active_adapters]
        merged = [new if name == old else name for name in self.layer.merged_adapters]
        if merged:
            self.model.unmerge_adapter()
        self.tuner.set_adapter(active)
        if merged:
            self.model.merge_adapter(adapter_names=merged)

    def disable(self) -> None:
        """Disable all adapters."""
        self.tuner.disable_adapter_layers()

    def enable(self) -> None:
        """Enable them."""
        self.tuner.enable_adapter_layers()

    # ---- files -------------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Save the adapters to files; which were active PEFT does not save, so that is noted here."""
        self.model.save_pretrained(self.directory)
        return {"names": list(self.model.peft_config), "active": list(self.layer.active_adapters)}

    def load(self, saved: dict[str, Any]) -> None:
        """Load the files onto the original base."""
        import peft

        first, *others = saved["names"]
        self.base = self._base()
        self.model = peft.PeftModel.from_pretrained(
            self.base, f"{self.directory}/{first}", adapter_name=first, autocast_adapter_dtype=False
        )
        for name in others:
            self.model.load_adapter(f"{self.directory}/{name}", name, autocast_adapter_dtype=False)
        self.layer.to(self.layer.get_base_layer().weight.dtype)
        self.tuner.set_adapter(saved["active"])
        self.model.eval()

    # ---- what comes out --------------------------------------------------------------------------------------

    def weight(self) -> np.ndarray:
        """Return the weight of the base layer as it is."""
        return array(self.base.layer.weight if self.model is None else self.layer.get_base_layer().weight)

    def forward(self, X: np.ndarray) -> np.ndarray:
        """Apply the model."""
        return array((self.model or self.base)(tensor(X, self.dtype)))

    def forward_rows(self, X: np.ndarray, rows: list[str | None]) -> np.ndarray:
        """Send each row through its own adapter."""
        names = [name or "__base__" for name in rows]
        return array(self.model(tensor(X, self.dtype), adapter_names=names))
