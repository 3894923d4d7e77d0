"""Activations that a transformer's forward pass must keep for its backward pass.  Floor 2.

A model of what an operator-by-operator implementation stores, derived from the parts of the architecture: a linear
layer's input is kept only where its weight, or an adapter beside it, gets a gradient.  With everything trained and
dropout on, a block of GPT's kind keeps s b h (34 + 5 a s / h) bytes, the published figure of Korthikanti et al.
2022 (arXiv 2205.05198), which this model must reproduce.
"""

from __future__ import annotations

from typing import NamedTuple

from lora_np import checks
from lora_np.counts.parts import Architecture, Part
from lora_np.counts.result import Count

_INPUT_OF = {"q": "attn", "k": "attn", "v": "attn", "qkv": "attn", "fc1": "mlp", "gate": "mlp", "up": "mlp"}
"""Targets that read the same array share one stored input."""

_NEED_NO_INPUT = ("B", "R", "P", "E", "magnitude", "b", "d")
"""Tensors whose gradient needs what comes out of the bottleneck, not what goes in."""

_BOTTLENECKS = ("A", "Q", "d", "b")
"""Tensors behind which a narrow array, as wide as their first axis, is kept."""


class Activations(NamedTuple):
    """Bytes kept for backward, by what needs them.

    `norms` their inputs; `attention` q, k, v and the probabilities; `nonlinearity` what the feed-forward function
    needs; `linear_inputs` inputs of layers that are trained or adapted; `bottlenecks` the adapters' narrow arrays;
    `masks` of dropout; `head` the last norm's input and the logits in float32.
    """

    norms: int
    attention: int
    nonlinearity: int
    linear_inputs: int
    bottlenecks: int
    masks: int
    head: int

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(self)


def activation_bytes(
    count: Count,
    *,
    batch: int,
    seq: int,
    itemsize: int = 2,
    checkpointing: bool = False,
    fused_attention: bool = False,
    dropout: bool = False,
) -> Activations:
    """Count the bytes kept between forward and backward.  [memory-activations]

    `checkpointing` keeps each block's input only and, while one block is computed again, that block's arrays;
    `fused_attention` keeps the output and one float32 per head and row instead of the (seq, seq) probabilities.
    Linear in `batch`; 0 is allowed and leaves nothing.  Raises `ConfigError`.

    >>> from lora_np.counts.methods import count
    >>> kept = activation_bytes(count("gpt2", "full"), batch=1, seq=1024, dropout=True)
    >>> (kept.total - kept.head) == 12 * 1024 * 768 * (34 + 5 * 12 * 1024 // 768)
    True
    """
    checks.require_int("batch", batch, minimum=0)
    checks.require_int("seq", seq, minimum=1)
    for name, flag in (
        ("checkpointing", checkpointing),
        ("fused_attention", fused_attention),
        ("dropout", dropout),
    ):
        checks.require_bool(name, flag)
    a, tokens = count.architecture, batch * seq
    kept = Activations(
        norms=_norm_inputs(a) * itemsize * tokens,
        attention=_attention(a, seq, itemsize, fused=fused_attention, dropout=dropout) * tokens,
        nonlinearity=_nonlinearity(a) * itemsize * tokens,
        linear_inputs=_linear_inputs(count, fused=fused_attention) * itemsize * tokens,
        bottlenecks=_bottlenecks(count) * itemsize * tokens,
        masks=2 * a.width * a.layers * tokens if dropout else 0,
        head=_head(count, itemsize) * tokens,
    )
    return _recomputed(kept, a, itemsize * tokens) if checkpointing else kept


def _recomputed(kept: Activations, a: Architecture, row: int) -> Activations:
    """Keep the blocks' inputs and one block's arrays, each term rounded up; the head as it is."""
    one = {name: -(-value // a.layers) for name, value in kept._asdict().items() if name != "head"}
    one["norms"] += a.width * a.layers * row
    return Activations(head=kept.head, **one)


def _in_blocks(a: Architecture) -> list[Part]:
    return [part for part in a.parts if part.place in ("block", "pruned")]


def _norm_inputs(a: Architecture) -> int:
    """Numbers per token, all blocks: each norm keeps what it normalized."""
    return sum(part.count for part in _in_blocks(a) if part.role == "norm")


def _attention(a: Architecture, seq: int, itemsize: int, *, fused: bool, dropout: bool) -> int:
    """Bytes per token, all blocks: q, k, v, and the probabilities or what stands for them."""
    found = 0
    for part in _in_blocks(a):
        rows = part.shape[0] * part.copies
        if part.target in ("q", "k", "v"):
            found += itemsize * rows
        if part.target == "q":
            heads = rows // a.head_width
            per_row = 2 * itemsize + 1 if dropout else itemsize  # before, after, and the mask between
            found += (itemsize * rows + 4 * heads) if fused else heads * seq * per_row
    return found


def _nonlinearity(a: Architecture) -> int:
    """Numbers per token, all blocks: the input of GELU, or the gate, its SiLU and what it multiplies."""
    return sum(
        {"fc1": 1, "gate": 2, "up": 1}.get(part.target, 0) * part.shape[0] * part.copies for part in a.parts
    )


def _linear_inputs(count: Count, *, fused: bool) -> int:
    """Numbers per token, all blocks: the input of every layer whose weight gradient, or adapter, needs it."""
    a = count.architecture
    stored: dict[tuple[str, str], int] = {}
    for row in count.rows:
        needs = row.trainable and row.target and row.name.rpartition(".")[2] not in _NEED_NO_INPUT
        if not needs or (
            fused and row.target == "o"
        ):  # fused attention keeps its output, the input of o, itself
            continue
        place = row.name.partition(".")[0]
        part = next(part for part in a.matrices(row.target) if part.place == place)
        key = (place, _INPUT_OF.get(row.target, row.target))
        stored[key] = max(stored.get(key, 0), part.shape[1] * row.copies)
    return sum(stored.values())


def _bottlenecks(count: Count) -> int:
    """Numbers per token: each low-rank adapter's Z; an adapter layer's input and both sides of its nonlinearity."""
    found = 0
    for row in count.rows:
        if row.added and row.target and row.name.rpartition(".")[2] in _BOTTLENECKS:
            found += row.shape[0] * row.copies
        if row.name.endswith("adapter.down.weight"):
            found += (row.shape[1] + 2 * row.shape[0]) * row.copies
    return found


def _head(count: Count, itemsize: int) -> int:
    """Bytes per token: the last norm's input, the output layer's where it is trained, and logits in float32."""
    a = count.architecture
    if a.family not in ("gpt2", "llama"):
        return 0
    output = "head.lm.weight" if a.family == "llama" else "embed.tokens"
    trained = any(row.name == output and row.trainable for row in count.rows)
    return a.width * itemsize * (1 + trained) + 4 * a.vocab
