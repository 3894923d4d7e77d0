"""What structural pruning leaves: the same architecture with smaller blocks.  Floor 2.

Which heads and channels go is `lora_np.prune`'s business; here only how many parameters stay.
"""

from __future__ import annotations

from dataclasses import replace

from lora_np import checks
from lora_np.counts.architectures import architecture as find
from lora_np.counts.parts import Architecture, Part
from lora_np.errors import ConfigError


def after_pruning(
    architecture: str | Architecture, *, heads: int = 0, channels: int = 0, layers: int | None = None
) -> Architecture:
    """Remove attention heads and feed-forward channels from some of the blocks.  [count-pruned]

    A head takes its rows of q, k, v and its columns of o, a channel its rows of fc1 (or gate and up) and its column
    of fc2 (or down), with their biases.  With grouped queries whole groups go: `heads` counts query heads and must
    be a multiple of the group.  `layers` is how many blocks are pruned, all if left out.  Raises `ConfigError`.

    >>> after_pruning("llama-7b", heads=8, channels=2752, layers=26).total  # LLM-Pruner at ratio 0.25
    5422977024
    """
    a = find(architecture)
    a.require_uniform("after_pruning")
    layers = a.layers if layers is None else layers
    for name, value, limit in (("heads", heads, a.heads), ("channels", channels, a.ff)):
        checks.require_int(name, value, minimum=0)
        if value >= limit:
            raise ConfigError(
                f"{name} = {value} would empty the blocks of {a.name}: each has {limit}, {limit - value} would remain"
            )
    checks.require_int("layers", layers, minimum=0)
    if layers > a.layers:
        raise ConfigError(f"layers = {layers} exceeds the {a.layers} blocks of {a.name}")
    group = a.heads // a.kv_heads
    if heads % group:
        raise ConfigError(
            f"heads = {heads} splits a group of {group} query heads that share one key head in {a.name}",
            fix=f"remove a multiple of {group}",
        )
    parts: list[Part] = []
    for part in a.parts:
        if part.place != "block" or layers == 0:
            parts.append(part)
            continue
        if part.copies > layers:
            parts.append(replace(part, copies=part.copies - layers))
        name = part.name.replace("block.", "pruned.", 1)
        parts.append(Part(name, _shrunk(a, part, heads, channels), layers, part.role, part.target))
    return replace(a, name=f"{a.name}, pruned", parts=tuple(parts))


def _shrunk(a: Architecture, part: Part, heads: int, channels: int) -> tuple[int, ...]:
    """Shrink one part of a block: rows go from its first axis, columns from its second."""
    module = part.name.split(".")[-2]
    kv_heads = heads * a.kv_heads // a.heads
    rows = {"q": heads * a.head_width, "k": kv_heads * a.head_width, "v": kv_heads * a.head_width}
    rows |= dict.fromkeys(("fc1", "gate", "up"), channels)
    columns = {"o": heads * a.head_width, "fc2": channels, "down": channels}
    gone = (rows.get(module, 0), columns.get(module, 0))
    return tuple(size - less for size, less in zip(part.shape, gone, strict=False))
