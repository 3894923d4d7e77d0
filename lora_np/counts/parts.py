"""What a network is to one who counts: a list of named tensors, each repeated some number of times.  Floor 2.

Nothing here knows a closed formula: embeddings, norms and biases are counted from parts, and the key and value
matrices of grouped-query attention have the width they have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lora_np.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Part:
    """One parameter tensor; a matrix has shape (out, in).

    `name` starts with its place: embed, block, pruned (a block after pruning), conv, final or head.  `role` is
    matrix, bias, norm or embedding.  `target` is the short word by which methods address a matrix: q, k, v, o, fc1,
    fc2, gate, up, down.
    """

    name: str
    shape: tuple[int, ...]
    copies: int
    role: str
    target: str = ""

    @property
    def place(self) -> str:
        """The first word of the name."""
        return self.name.partition(".")[0]

    @property
    def count(self) -> int:
        """How many numbers it holds, all copies together."""
        return math.prod(self.shape) * self.copies


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network as a list of parts, with the few sizes that formulas name.

    `width` is the model dimension d, `layers` the number of blocks L, `fused` the projections that checkpoints keep
    as one matrix, `peft_names` what PEFT calls the targets ("{i}" stands for the block's index).
    """

    name: str
    family: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    ff: int
    vocab: int
    parts: tuple[Part, ...]
    source: str
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    peft_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of parameters."""
        return sum(part.count for part in self.parts)

    @property
    def targets(self) -> tuple[str, ...]:
        """The short names of the matrices of a block, in the order they are applied, then the fused ones."""
        return tuple(dict.fromkeys(part.target for part in self.parts if part.target)) + tuple(self.fused)

    @property
    def uniform(self) -> bool:
        """Whether all blocks are alike: not so after pruning some of them."""
        return not any(part.place == "pruned" for part in self.parts)

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layer multiplies two projections (gate and up)."""
        return "gate" in self.targets

    def matrices(self, target: str) -> tuple[Part, ...]:
        """Find the matrices of one target; a fused one is stacked from its parts.

        >>> from lora_np.counts.architectures import architecture
        >>> architecture("gpt2").matrices("qkv")[0].shape
        (2304, 768)
        """
        if target not in self.fused:
            return tuple(part for part in self.parts if part.target == target)
        stacks = [self.matrices(single) for single in self.fused[target]]
        return tuple(
            Part(
                f"{pieces[0].name.rpartition('.')[0].rpartition('.')[0]}.{target}.weight",
                (sum(piece.shape[0] for piece in pieces), pieces[0].shape[1]),
                pieces[0].copies,
                "matrix",
                target,
            )
            for pieces in zip(*stacks, strict=True)
        )

    def require_uniform(self, what: str) -> None:
        """Raise `ConfigError` where blocks differ, for an option that counts blocks."""
        if not self.uniform:
            raise ConfigError(
                f"{what} needs blocks that are all alike; {self.name} has pruned and unpruned ones",
                fix=f"leave {what} out, or count before pruning",
            )


# ---- pieces that all families are built from -----------------------------------------------------------------


def linear(
    name: str, out: int, width: int, *, copies: int, target: str = "", bias: bool = True
) -> list[Part]:
    """Make a dense layer: its matrix (out, in) and, where it has one, its bias."""
    weight = Part(f"{name}.weight", (out, width), copies, "matrix", target)
    return [weight, Part(f"{name}.bias", (out,), copies, "bias")] if bias else [weight]


def norm(name: str, width: int, *, copies: int = 1, bias: bool = True) -> list[Part]:
    """Make a layer norm, or without bias a root-mean-square norm."""
    weight = Part(f"{name}.weight", (width,), copies, "norm")
    return [weight, Part(f"{name}.bias", (width,), copies, "bias")] if bias else [weight]


def embedding(name: str, *shape: int) -> list[Part]:
    """Make an embedding table."""
    return [Part(f"embed.{name}", shape, 1, "embedding")]
