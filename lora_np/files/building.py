"""From the tensors of one module to its record: in the paper's shapes, with its scale.  Floor 5.  Opens no file."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lora_np._typing import Array
from lora_np.errors import DTypeError, RankError, ShapeError
from lora_np.files.config import PeftConfig
from lora_np.files.header import Header
from lora_np.files.json_text import shown
from lora_np.files.module import ModuleAdapter
from lora_np.files.names import module_name
from lora_np.files.sources import Source
from lora_np.files.tensors import STORED, read_tensor
from lora_np.lora import LoraParams

VECTORS = ("magnitude", "bias")  # PEFT has no adapter with both


class Stated:
    """What config or caller state of the modules; the config's patterns are resolved once, for all of them."""

    def __init__(self, config: PeftConfig | None, given: float | None, modules: list[str]) -> None:
        self.config, self.given = config, given
        self.ranks = {} if config is None else config.ranks_for(modules)
        self.alphas = {} if config is None else config.alphas_for(modules)
        self.fan_in_fan_out = config is not None and config.fan_in_fan_out

    def scale(self, module: str, rank: int) -> float:
        """Return s of a module; 1 where nobody states it."""
        if self.config is not None:
            return self.config.scale_of(self.alphas[module], rank)
        return 1.0 if self.given is None else float(self.given)

    def require_rank(self, module: str, rank: int, where: str) -> None:
        """Raise `RankError` unless a file has the rank that the config states."""
        if self.config is not None and rank != self.ranks[module]:
            raise RankError(
                f"{where}: lora_A has rank {rank}, the config says r = {self.ranks[module]}",
                fix="use the config that belongs to this file, or state the rank in rank_pattern",
            )


def read_module(
    source: Source,
    header: Header,
    stem: str,
    names: Mapping[str, str],
    stated: Stated,
) -> ModuleAdapter:
    """Read the tensors of one module into the paper's shapes."""
    where = f"module {shown(stem)} of {source.label}"
    arrays = {part: read_tensor(source, name, header.tensors[name]) for part, name in names.items()}
    stored = {part: header.tensors[name].dtype for part, name in names.items()}
    factors = {dtype for part, dtype in stored.items() if part not in VECTORS}
    if len(factors) > 1:
        raise DTypeError(f"the factors of {where} mix element types: {', '.join(sorted(factors))}")
    embedding = "embedding_A" in arrays
    A, B = (arrays[f"embedding_{part}" if embedding else part] for part in "AB")
    kind = "embedding" if embedding else "conv2d" if A.ndim == 4 else "linear"
    p, window = _factors(A, B, kind, where)
    name, rank = module_name(stem), int(p.A.shape[0])
    stated.require_rank(name, rank, where)
    return ModuleAdapter(
        name=name,
        params=p,
        scale=stated.scale(name, rank),
        alpha=stated.alphas.get(name),
        scale_assumed=stated.config is None and stated.given is None,
        dtype=STORED[factors.pop()],
        vector_dtype=next((STORED[stored[part]] for part in VECTORS if part in stored), None),
        kind=kind,
        transposed=kind == "embedding" or (kind == "linear" and stated.fan_in_fan_out),
        window=window,
        magnitude=_vector(arrays.get("magnitude"), p, f"the magnitude of {where}"),
        bias=_vector(arrays.get("bias"), p, f"the bias of {where}"),
        stem=stem,
    )


def _factors(A: Array, B: Array, kind: str, where: str) -> tuple[LoraParams, tuple[int, int, int] | None]:
    """Return B (d, r) and A (r, k), and the window of a convolution; refuse what does not fit together."""
    shapes = f"lora_A {tuple(A.shape)} and lora_B {tuple(B.shape)}"
    window = None
    if kind == "conv2d":
        if B.ndim != 4 or B.shape[2:] != (1, 1):
            raise ShapeError(f"{where}: {shapes}, expected (r, channels, height, width) and (d, r, 1, 1)")
        window = tuple(int(n) for n in A.shape[1:])
        A, B = A.reshape(A.shape[0], math.prod(window)), B.reshape(B.shape[:2])
    if A.ndim != 2 or B.ndim != 2:
        raise ShapeError(f"{where}: {shapes}, expected (r, k) and (d, r)")
    if A.shape[0] != B.shape[1]:
        raise RankError(
            f"{where}: {shapes} disagree on the rank", fix="convolutions in groups cannot be read"
        )
    if 0 in A.shape + B.shape:
        raise ShapeError(f"{where}: {shapes} are empty")
    return LoraParams(B=B, A=A), window  # type: ignore[return-value]


def _vector(x: Array | None, p: LoraParams, what: str) -> Array | None:
    """Return a vector of one number for each output, whatever axes of length 1 it was saved with."""
    if x is None:
        return None
    if x.size != p.B.shape[0]:
        raise ShapeError(
            f"{what} has shape {tuple(x.shape)}, expected {p.B.shape[0]} numbers, one for each output"
        )
    return x.reshape(-1)
