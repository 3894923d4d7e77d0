"""adapter_config.json: what PEFT kept of the settings, checked.  Floor 5.

Keys that say nothing here are kept as they came.  `target_modules` may be a regular expression; it is kept as text and
never evaluated: which modules are adapted is read off the tensors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lora_np import checks
from lora_np.errors import ConfigError, ConfigFileError
from lora_np.files.json_text import parse_object, require_no_constants, shown
from lora_np.files.patterns import resolve
from lora_np.files.sources import Limits, MemorySource, Source, opened
from lora_np.lora import scaling

_DEPTH, _OBJECTS = 64, 10_000
_BIAS = ("none", "all", "lora_only")
_OTHER_MEANING = ("use_qalora", "use_bdlora", "kasa_config")  # A and B mean something else with these
_SHIFTED = ("pissa", "olora", "corda", "lora_ga", "mica")
PEFT_NAMES = {  # our name -> PEFT's, where they differ
    "alpha": "lora_alpha",
    "base_model_name": "base_model_name_or_path",
}


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """The settings of a LoRA adapter, under PEFT's names, but `alpha` for lora_alpha.

    >>> config = PeftConfig(r=4, alpha=8, alpha_pattern={"q": 16})
    >>> config.alphas_for(["layers.0.q", "layers.0.v"]), config.scale_of(16.0, 4)
    ({'layers.0.q': 16.0, 'layers.0.v': 8.0}, 4.0)
    """

    r: int
    alpha: float
    peft_type: str = "LORA"
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    fan_in_fan_out: bool = False
    bias: str = "none"
    target_modules: str | tuple[str, ...] | None = None
    modules_to_save: tuple[str, ...] = ()
    base_model_name: str | None = None
    init_lora_weights: Any = True
    other: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_lora(self.peft_type)
        scaling(self.alpha, self.r, use_rslora=self.use_rslora)
        for name in ("use_dora", "lora_bias", "fan_in_fan_out"):
            checks.require_bool(name, getattr(self, name))
        checks.require_one_of("bias", self.bias, _BIAS)
        if self.base_model_name is not None and not isinstance(self.base_model_name, str):
            raise ConfigError(f"base_model_name_or_path must be text, got {shown(self.base_model_name)}")
        for key, rank in _pairs("rank_pattern", self.rank_pattern):
            checks.require_int(f"rank_pattern[{shown(key)}]", rank, minimum=1)
        for key, alpha in _pairs("alpha_pattern", self.alpha_pattern):
            checks.require_number(f"alpha_pattern[{shown(key)}]", alpha)
        changed = [key for key in _OTHER_MEANING if self.other.get(key)]
        if changed:
            raise ConfigError(
                f"{changed[0]} is set: A and B are not the factors of s B A then, and are not read"
            )

    @property
    def shifts_base(self) -> bool:
        """Tell whether training began from a changed base weight, W0 - s B0 A0, so that s B A adds to that one.

        >>> PeftConfig(r=4, alpha=8, init_lora_weights="pissa_niter_4").shifts_base
        True
        """
        return str(self.init_lora_weights).startswith(_SHIFTED)

    def ranks_for(self, modules: Iterable[str]) -> dict[str, int]:
        """Return the rank that the config states for each module.  Raises `ConfigError` as `resolve` does."""
        return resolve(self.rank_pattern, modules, self.r)

    def alphas_for(self, modules: Iterable[str]) -> dict[str, float]:
        """Return the alpha that the config states for each module.  Raises `ConfigError` as `resolve` does."""
        alphas = resolve(self.alpha_pattern, modules, self.alpha)
        return {name: float(alpha) for name, alpha in alphas.items()}

    def scale_of(self, alpha: float, rank: int) -> float:
        """Return s for a module of this alpha and rank.  [lora-scale] [lora-scale-rs]"""
        return scaling(alpha, rank, use_rslora=self.use_rslora)


def read_config(path: Path, limits: Limits) -> PeftConfig:
    """Read an adapter_config.json.  Raises `ConfigFileError`, `ConfigError`."""
    if not os.path.exists(path):  # false, not an error, for a path that cannot be
        raise ConfigFileError(
            f"{path} is missing", fix="an adapter is adapter_config.json beside its tensors"
        )
    with opened(path) as file:
        return config_of(file, limits)


def config_from_bytes(content: bytes, limits: Limits) -> PeftConfig:
    """Read the bytes of an adapter_config.json.  Raises `ConfigFileError`, `ConfigError`."""
    return config_of(MemorySource(content, "the uploaded adapter_config.json"), limits)


def config_of(source: Source, limits: Limits) -> PeftConfig:
    """Read an open adapter_config.json."""
    if source.size > limits.config_bytes:
        raise ConfigFileError(
            f"{source.label} has {source.size} bytes, the limit is {limits.config_bytes}; it was not read"
        )
    text = source.read(0, source.size)
    found = parse_object(text, source.label, ConfigFileError, depth=_DEPTH, objects=_OBJECTS)
    require_no_constants(text, source.label, ConfigFileError)
    _require_lora(found.get("peft_type"))
    lacking = [key for key in ("r", "lora_alpha") if key not in found]
    if lacking:
        raise ConfigFileError(f"{source.label} lacks {' and '.join(lacking)}")
    return _config(found)


def _config(found: dict[str, Any]) -> PeftConfig:
    """Make the record of a parsed file; None stands for what was not set."""
    names = {name: PEFT_NAMES.get(name, name) for name in PeftConfig.__slots__ if name != "other"}
    known = {name: found[key] for name, key in names.items() if found.get(key) is not None}
    for name in ("target_modules", "modules_to_save"):
        if name in known and not (name == "target_modules" and isinstance(known[name], str)):
            known[name] = _texts(name, known[name])
    for name in ("rank_pattern", "alpha_pattern"):
        known[name] = MappingProxyType(dict(_pairs(name, known.get(name, {}))))
    other = {key: value for key, value in found.items() if key not in names.values()}
    return PeftConfig(**known, other=MappingProxyType(other))


def _require_lora(peft_type: Any) -> None:
    """Raise unless the method is LoRA."""
    if peft_type != "LORA":
        raise ConfigError(
            f"peft_type must be one of 'LORA', got {shown(peft_type)}", fix="other methods cannot be read yet"
        )


def _texts(name: str, found: Any) -> tuple[str, ...]:
    """Return a list of names as a tuple."""
    if not isinstance(found, list) or not all(type(value) is str for value in found):
        raise ConfigError(f"{name} must be a list of module names, got {shown(found)}")
    return tuple(found)


def _pairs(name: str, found: Any) -> list[tuple[str, Any]]:
    """Return the pairs of a mapping."""
    if not isinstance(found, Mapping):
        raise ConfigError(f"{name} must map patterns to numbers, got {shown(found)}")
    return list(found.items())
