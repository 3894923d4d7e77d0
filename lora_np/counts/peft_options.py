"""A count's settings in PEFT's words, to paste into a `LoraConfig`.  Floor 2.  Does not import PEFT."""

from __future__ import annotations

from typing import Any

from lora_np import checks
from lora_np.counts.result import Count
from lora_np.errors import ConfigError

_FLAGS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


def peft_options(count: Count, *, alpha: float) -> dict[str, Any]:
    """Translate a count of lora, rslora or dora into the arguments of `peft.LoraConfig`.  [count-lora]

    Raises `ConfigError` for another method, and for a target that PEFT cannot name: GPT-2's q, k and v are one
    fused matrix there, so name `qkv`.

    >>> from lora_np.counts.methods import count
    >>> peft_options(count("llama-7b", "lora", rank={"q": 8, "v": 4}), alpha=16)
    {'r': 8, 'lora_alpha': 16, 'target_modules': ['q_proj', 'v_proj'], 'rank_pattern': {'v_proj': 4}}
    """
    checks.require_instance("count", count, Count, fix="pass what counts.count(...) returns")
    checks.require_number("alpha", alpha)
    if count.method not in _FLAGS:
        raise ConfigError(
            f"method {count.method!r} has no LoraConfig here; expected one of {', '.join(map(repr, _FLAGS))}"
        )
    a, ranks = count.architecture, count.options["rank"]
    names: dict[str, list[str]] = {}
    for target in count.options["targets"]:
        if target not in a.peft_names:
            known = ", ".join(a.peft_names) or "none"
            raise ConfigError(f"PEFT has no name for {target!r} in {a.name}", fix=f"it can name: {known}")
        pattern = a.peft_names[target]
        blocks = range(a.layers) if "{i}" in pattern else range(1)
        names[target] = [pattern.format(i=i) for i in blocks]
    rank = max(ranks.values())
    other = {
        name: ranks[target] for target, found in names.items() for name in found if ranks[target] != rank
    }
    options = {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": [n for found in names.values() for n in found],
    }
    if other:
        options["rank_pattern"] = other
    if "layers" in count.options:
        options["layers_to_transform"] = list(range(count.options["layers"]))
    return options | _FLAGS[count.method]
