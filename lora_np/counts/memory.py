"""Memory of training: weights, gradients, optimizer state, activations; and the files it leaves.  Floor 2.

All figures are bytes of numbers that must exist at once in the worst moment of a step.  Not counted: fragmentation,
work space of kernels, communication buffers, and the tokens that prefix methods add to a sequence.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from lora_np import checks
from lora_np.counts.activations import activation_bytes
from lora_np.counts.result import Count, Row
from lora_np.errors import ConfigError

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of one number."""

QUANTIZED = ("int8", "nf4", "nf4-double")
"""Formats of a frozen base: 8 bits with a scale per row; 4 bits with a scale per 64, and scales in 8 bits."""

STATES = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
"""How many numbers an optimizer keeps for each trainable one."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes held during a training step, by what holds them."""

    weights: int
    gradients: int
    optimizer: int
    master: int
    activations: int

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(asdict(self).values())

    def as_dict(self) -> dict[str, int]:
        """Each term and the total, by name."""
        return {**asdict(self), "total": self.total}


def training_memory(
    count: Count,
    *,
    batch: int = 1,
    seq: int = 512,
    dtype: str = "bfloat16",
    base_dtype: str | None = None,
    optimizer: str = "adamw",
    state_dtype: str = "float32",
    master_weights: bool = False,
    checkpointing: bool = False,
    fused_attention: bool = False,
    dropout: bool = False,
) -> Memory:
    """Add up what one training step holds.  [memory-training]

    M = b_W P_frozen + (b + b_g) P_trainable + b_s n_s P_trainable + activations: weights of frozen parts in
    `base_dtype` (of `BYTES` or `QUANTIZED`; `dtype` if left out), trainable ones and gradients in `dtype`, n_s
    states each in `state_dtype`, with `master_weights` a float32 copy of what is trained; activations as in
    `activations.activation_bytes`.  Raises `ConfigError`.

    >>> from lora_np.counts.methods import count
    >>> full = training_memory(count("gpt3-175b", "full"), state_dtype="bfloat16", batch=0)
    >>> round(full.weights / 1e9), round((full.weights + full.optimizer) / 1e9)
    (349, 1048)
    """
    base = dtype if base_dtype is None else base_dtype
    checks.require_one_of("dtype", dtype, BYTES)
    checks.require_one_of("base_dtype", base, (*BYTES, *QUANTIZED))
    checks.require_one_of("optimizer", optimizer, STATES)
    checks.require_one_of("state_dtype", state_dtype, BYTES)
    for name, flag in (("master_weights", master_weights), ("checkpointing", checkpointing)):
        checks.require_bool(name, flag)
    return Memory(
        weights=weight_bytes(count, dtype=dtype, base_dtype=base),
        gradients=count.trainable * BYTES[dtype],
        optimizer=count.trainable * STATES[optimizer] * BYTES[state_dtype],
        master=count.trainable * BYTES["float32"] if master_weights else 0,
        activations=activation_bytes(
            count,
            batch=batch,
            seq=seq,
            itemsize=BYTES[dtype],
            checkpointing=checkpointing,
            fused_attention=fused_attention,
            dropout=dropout,
        ).total,
    )


def weight_bytes(count: Count, *, dtype: str = "bfloat16", base_dtype: str = "bfloat16") -> int:
    """Bytes of all weights: frozen parts of the network in `base_dtype`, all others in `dtype`.  [memory-nf4]

    A quantized format holds the blocks' matrices only; embeddings, norms, biases and heads stay in `dtype`.
    Raises `ConfigError` for a quantized matrix that is to be trained.

    >>> from lora_np.counts.methods import count
    >>> weight_bytes(count("llama-7b", "lora"), base_dtype="nf4")
    4175962112
    """
    checks.require_instance("count", count, Count, fix="pass what counts.count(...) returns")
    checks.require_one_of("dtype", dtype, BYTES)
    checks.require_one_of("base_dtype", base_dtype, [*BYTES, *QUANTIZED])
    return sum(_row_bytes(row, dtype, base_dtype) for row in count.rows)


def _row_bytes(row: Row, dtype: str, base_dtype: str) -> int:
    if base_dtype not in QUANTIZED:
        return row.count * BYTES[dtype if row.added or row.trainable else base_dtype]
    if row.added or not row.target:
        return row.count * BYTES[dtype]
    if row.trainable:
        raise ConfigError(
            f"base_dtype {base_dtype!r} cannot be trained, and this method trains {row.name}",
            fix="choose a method that freezes the matrices, or a floating base_dtype",
        )
    return row.copies * quantized_bytes(row.shape, base_dtype)


def quantized_bytes(shape: tuple[int, ...], base_dtype: str) -> int:
    """Bytes of one quantized matrix, scales included.  [memory-nf4]

    int8: 1 each and a float32 per row.  nf4: 4 bits each and a float32 per block of 64, so 4.5 bits; nf4-double:
    the block scales in 8 bits with a float32 per 256 of them, so 4.127 bits.

    >>> 8 * quantized_bytes((4096, 4096), "nf4") / 4096**2
    4.5
    """
    checks.require_one_of("base_dtype", base_dtype, QUANTIZED)
    n = math.prod(shape)
    blocks = -(-n // 64)
    if base_dtype == "int8":
        return n + 4 * shape[0]
    if base_dtype == "nf4":
        return -(-n // 2) + 4 * blocks
    return -(-n // 2) + blocks + 4 * -(-blocks // 256)


def adapter_file_bytes(count: Count, *, dtype: str = "float32") -> int:
    """Bytes of the numbers in the file that keeps the result: an adapter, or for `full` the model.  [memory-adapter]

    The header of a safetensors file (some kilobytes of names) comes on top.  Raises `ConfigError`.

    >>> from lora_np.counts.methods import count
    >>> adapter_file_bytes(count("gpt3-175b", "lora", rank=4), dtype="float16")
    37748736
    """
    checks.require_one_of("dtype", dtype, BYTES)
    return count.saved * BYTES[dtype]


def checkpoint_bytes(
    count: Count, *, dtype: str = "float32", optimizer: str = "adamw", state_dtype: str = "float32"
) -> int:
    """Bytes of a checkpoint from which training can go on: the adapter's file and the optimizer's state.

    The frozen base is not in it.  [memory-adapter]  Raises `ConfigError`.

    >>> from lora_np.counts.methods import count
    >>> checkpoint_bytes(count("gpt2", "lora", rank=4))
    1769472
    """
    checks.require_one_of("optimizer", optimizer, STATES)
    checks.require_one_of("state_dtype", state_dtype, BYTES)
    states = count.trainable * STATES[optimizer] * BYTES[state_dtype]
    return adapter_file_bytes(count, dtype=dtype) + states
