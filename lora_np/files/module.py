"""What an adapter file holds, as records: one per adapted module, and the file.  Floor 5.

Factors stand in the paper's shapes, whatever the kind of module: an embedding's increment is that of its transposed
table, a convolution's that of its filters laid out as rows.  Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter
from lora_np.files.config import PeftConfig
from lora_np.files.names import PREFIX
from lora_np.files.tensors import STORED
from lora_np.lora import LoraParams

KINDS = ("linear", "embedding", "conv2d")


@dataclass(frozen=True, slots=True, eq=False)
class ModuleAdapter:
    """The adapter of one module: ΔW = s B A, with B (d, r) and A (r, k).  [lora-delta]

    ``"linear"``     W is (d, k), or its transpose (Conv1D of GPT-2) where `transposed`
    ``"embedding"``  W is (k, d), its rows the tokens: always `transposed`
    ``"conv2d"``     W is (d, channels, height, width), k the product of the last three

    `scale_assumed` tells that no config stated alpha and nobody gave a scale: then `scale` is 1 and `alpha` None.
    """

    name: str
    params: LoraParams
    scale: float
    alpha: float | None = None
    scale_assumed: bool = False
    dtype: str = "float32"  # as stored: float16 and bfloat16 are read as float32
    kind: str = "linear"
    transposed: bool = False
    window: tuple[int, int, int] | None = None  # channels, height, width of a convolution
    magnitude: Float[Array, " d"] | None = None  # DoRA's, one for each output
    bias: Float[Array, " d"] | None = None  # of B, trained with it and multiplied by s as well
    stem: str = ""  # the module's name in the file
    vector_dtype: str | None = None  # of the magnitude or bias, where it was stored in another type

    @property
    def rank(self) -> int:
        """The rank r of the factors."""
        return int(self.params.A.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, k) of the increment."""
        return int(self.params.B.shape[0]), int(self.params.A.shape[1])

    @property
    def base_shape(self) -> tuple[int, ...]:
        """The shape in which the base model keeps this module's weight."""
        d, k = self.shape
        if self.window is not None:
            return (d, *self.window)
        return (k, d) if self.transposed else (d, k)

    @property
    def lora(self) -> LoraAdapter:
        """The factors with their scale, as `lora_np.adapters` takes them."""
        return LoraAdapter(self.params, self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFile:
    """An adapter as a file holds it: settings, modules by name, and whatever else was saved.

    `config` is None where the tensors came alone.
    """

    config: PeftConfig | None
    modules: Mapping[str, ModuleAdapter]
    extra: Mapping[str, Array] = field(
        default_factory=dict
    )  # biases and modules saved whole, by name in the file
    extra_dtypes: Mapping[str, str] = field(default_factory=dict)  # as stored
    size_bytes: int = 0


def make_adapter(
    params: Mapping[str, LoraParams],
    *,
    alpha: float,
    use_rslora: bool = False,
    dtype: str | None = None,
    base_model_name: str | None = None,
) -> AdapterFile:
    """Make the adapter of linear modules, ready to be written, from factors by module name.  [lora-scale]

    `r` is the largest rank; modules of another stand in `rank_pattern`.  Raises `ConfigError`, and what the checks of
    factors raise.

    >>> import numpy as np
    >>> p = LoraParams(B=np.ones((3, 1)), A=np.ones((1, 2)))
    >>> make_adapter({"q": p}, alpha=2).modules["q"].scale
    2.0
    """
    checks.require_instance("params", params, Mapping)
    if dtype is not None:
        checks.require_one_of("dtype", dtype, STORED.values())
    for p in params.values():
        checks.require_factors(p)
    ranks = {name: int(p[1].shape[0]) for name, p in params.items()}
    r = max(ranks.values(), default=1)
    config = PeftConfig(
        r=r,
        alpha=alpha,
        rank_pattern=MappingProxyType({name: rank for name, rank in ranks.items() if rank != r}),
        use_rslora=use_rslora,
        target_modules=tuple(params),
        base_model_name=base_model_name,
    )
    modules = {
        name: ModuleAdapter(
            name,
            LoraParams(*p),
            config.scale_of(alpha, ranks[name]),
            float(alpha),
            dtype=dtype or checks.dtype_name(p[0]),
            stem=PREFIX + name,
        )
        for name, p in params.items()
    }
    return AdapterFile(config, MappingProxyType(modules))
