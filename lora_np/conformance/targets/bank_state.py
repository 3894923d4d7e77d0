"""The reference's `state`: an `AdapterBank` that scripts run on.  Floor 6.

The bank is a value, so a step replaces it; what fails leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_np.adapters.bank import AdapterBank
from lora_np.adapters.cat import combine_cat
from lora_np.adapters.mixed import forward_mixed
from lora_np.adapters.names import require_known, require_new_name
from lora_np.conformance.state.session import run_script
from lora_np.lora import LoraParams

CHOICES = {
    "state.change": "refused",
    "state.delete": "refused",
    "state.activate": "kept",
    "state.again": "refused",
    "state.disable": "kept",
    "state.load": "merged",
    "state.base": "restored",
}
"""What a bank does where there are several good answers."""


class BankSession:
    """The present bank."""

    def __init__(self, W0: np.ndarray) -> None:
        self.bank = AdapterBank(W0)

    def add(self, name: str, B: Any, A: Any, scale: float) -> None:
        """Add an adapter."""
        self.bank = self.bank.add(name, LoraParams(B, A), scale=scale)

    def delete(self, name: str) -> None:
        """Delete an adapter."""
        self.bank = self.bank.delete(name)

    def activate(self, names: list[str]) -> None:
        """Let these act."""
        self.bank = self.bank.activate(names)

    def merge(self, names: list[str] | None) -> None:
        """Merge."""
        self.bank = self.bank.merge(names)

    def unmerge(self, names: list[str] | None) -> None:
        """Unmerge."""
        self.bank = self.bank.unmerge(names)

    def scale(self, name: str, scale: float) -> None:
        """Rescale."""
        self.bank = self.bank.scale(name, scale)

    def train(self, name: str, B: Any, A: Any) -> None:
        """Take trained factors."""
        self.bank = self.bank.train_step(name, LoraParams(B, A))

    def swap(self, old: str, new: str) -> None:
        """Exchange one for another."""
        self.bank = self.bank.swap(old, new)

    def combine(self, new: str, names: list[str], weights: list[float]) -> None:
        """Put the factors side by side."""
        require_new_name(new, self.bank.adapters)
        for name in names:
            require_known(name, self.bank.adapters)
        combined = combine_cat([self.bank.adapters[name] for name in names], weights=weights)
        self.bank = self.bank.add(new, combined.p, scale=combined.scale)

    def disable(self) -> None:
        """Let the base alone act."""
        self.bank = self.bank.disable()

    def enable(self) -> None:
        """Let the active ones act again."""
        self.bank = self.bank.enable()

    def save(self) -> Mapping[str, Any]:
        """Write the bank down as arrays."""
        return self.bank.snapshot()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take what was written down."""
        self.bank = self.bank.restore(saved)

    def weight(self) -> Any:
        """Return the weight."""
        return self.bank.weight()

    def forward(self, X: np.ndarray) -> Any:
        """Apply the layer."""
        return self.bank.forward(X)

    def forward_rows(self, X: np.ndarray, rows: list[str | None]) -> Any:
        """Apply to each row its own adapter."""
        return forward_mixed(X, self.bank.W0, self.bank.adapters, rows)[0]


def state(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Run a script; what is refused must be refused in our words."""
    return run_script(BankSession, config, tensors, words=True)
