"""`count`: the parameters of any architecture under any method, and the table of methods.  Floor 2.

A method is its rule (in `rules`), the options it takes with their defaults, its formula in words and its source.
Methods that differ in scale, start or learning rate only share LoRA's count and stand in one row.  Not here, since
they train the whole weight or change it as they go: GaLore, Flora, random projection; BOFT, whose count depends on
how its butterflies are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from lora_np import checks
from lora_np.counts import rules
from lora_np.counts.architectures import architecture as find
from lora_np.counts.options import settle
from lora_np.counts.parts import Architecture
from lora_np.counts.result import Count, Row
from lora_np.counts.rules import Change, Options


class Method(NamedTuple):
    """One way to fine-tune: its rule, options with defaults (None: required), formula and source."""

    rule: Callable[[Architecture, Options], Change]
    options: Mapping[str, Any]
    key: str
    formula: str
    source: str


_LORA: Mapping[str, Any] = {"rank": 8, "targets": "q,v", "layers": "all"}
_ADAPTER: Mapping[str, Any] = {"rank": None}
_PREFIX: Mapping[str, Any] = {"prefix": None, "infix": 0}
_IA3: Mapping[str, Any] = {"targets": "k,v,fc2,down"}

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "full": Method(rules.full, {}, "count-full", "all of them", "fine-tuning"),
        "bitfit": Method(rules.bitfit, {}, "count-bitfit", "every bias vector", "Zaken et al., 2106.10199"),
        "ft-top2": Method(
            rules.top_blocks, {}, "count-subset", "the last two blocks", "Li & Liang, 2101.00190"
        ),
        "linear-probe": Method(
            rules.linear_probe, {"classes": 2}, "count-subset", "c (d + 1)", "a new output layer"
        ),
        "prefix-embedding": Method(
            rules.prefix_embedding, _PREFIX, "count-prefix-embedding", "d (lp + li)", "LoRA, section 5.1"
        ),
        "prefix-layer": Method(
            rules.prefix_layer, _PREFIX, "count-prefix-layer", "L d (lp + li)", "LoRA, section 5.1"
        ),
        "prefix-kv": Method(
            rules.prefix_kv, {"prefix": None}, "count-prefix-kv", "2 L n d_kv", "Li & Liang; PEFT's storage"
        ),
        "adapter-h": Method(
            rules.adapter(2, norms=False),
            _ADAPTER,
            "count-adapter",
            "2L (2dr + r + d)",
            "Houlsby, 1902.00751",
        ),
        "adapter-l": Method(
            rules.adapter(1, norms=True),
            _ADAPTER,
            "count-adapter",
            "L (2dr + r + d) + 2Ld",
            "Lin, 2004.03829",
        ),
        "adapter-p": Method(
            rules.adapter(1, norms=False),
            _ADAPTER,
            "count-adapter",
            "L (2dr + r + d)",
            "Pfeiffer, 2005.00247",
        ),
        "adapter-d": Method(
            rules.adapter(1, norms=False),
            {"rank": None, "layers": "all"},
            "count-adapter",
            "layers (2dr + r + d)",
            "AdapterDrop, 2010.11918",
        ),
        "houlsby": Method(
            rules.adapter(2, norms=False),
            _ADAPTER,
            "count-adapter",
            "2L (2dr + r + d)",
            "Houlsby, 1902.00751; adapter-h under the method's own name",
        ),
        "pfeiffer": Method(
            rules.adapter(1, norms=False),
            _ADAPTER,
            "count-adapter",
            "L (2dr + r + d)",
            "Pfeiffer, 2005.00247; adapter-p under the method's own name",
        ),
        "prefix-tuning": Method(
            rules.prefix_kv,
            {"prefix": None},
            "count-prefix-kv",
            "2 L n d_kv",
            "Li & Liang, 2101.00190, without its reparametrization",
        ),
        "prompt-tuning": Method(
            rules.prompt, {"prefix": None}, "count-prefix-embedding", "d l", "Lester et al., 2104.08691"
        ),
        "ia3": Method(
            rules.ia3, _IA3, "count-ia3", "Σ d over k, v + Σ k over fc2 or down", "Liu, 2205.05638"
        ),
        **{
            name: Method(rules.lora, _LORA, "count-lora", "Σ r (d + k)", source)
            for name, source in {
                "lora": "Hu et al., 2106.09685",
                "rslora": "Kalajdzievski, 2312.03732",
                "lora-plus": "Hayou et al., 2402.12354",
                "pissa": "Meng et al., 2404.02948",
                "milora": "Wang et al., 2406.09044",
                "olora": "Büyükakyüz, 2406.01775",
                "lora-ga": "Wang et al., 2407.05000",
                "qlora": "Dettmers et al., 2305.14314",
                "additive": "seed 001, the variant with block identities",
            }.items()
        },
        "symmetric": Method(
            rules.symmetric, _LORA, "count-lora", "Σ r (d + k)", "seed 001, both factors away from zero"
        ),
        "dora": Method(rules.dora, _LORA, "count-dora", "Σ r (d + k) + d", "Liu et al., 2402.09353"),
        "adalora": Method(
            rules.adalora, _LORA, "count-adalora", "Σ r (d + k + 1)", "Zhang et al., 2303.10512"
        ),
        "lora-fa": Method(rules.lora_fa, _LORA, "count-lora-fa", "Σ r d", "Zhang et al., 2308.03303"),
        "lora-xs": Method(rules.lora_xs, _LORA, "count-lora-xs", "Σ r²", "Bałazy et al., 2405.17604"),
        "vera": Method(rules.vera, {**_LORA, "rank": 256}, "count-vera", "Σ d + r", "Kopiczko, 2310.11454"),
        "loha": Method(rules.loha, _LORA, "count-loha", "Σ 2r (d + k)", "Hyeon-Woo et al., 2108.06098"),
        "lokr": Method(rules.lokr, _LORA, "count-lokr", "Σ l n + r (m + p)", "LyCORIS, 2309.14859"),
        "oft": Method(
            rules.oft,
            {"block": 32, "targets": "q,v", "layers": "all"},
            "count-oft",
            "Σ k (b − 1) / 2",
            "Qiu, 2306.07280",
        ),
        "lora-pe": Method(
            rules.both(rules.lora, rules.prefix_embedding),
            {**_LORA, **_PREFIX},
            "count-lora",
            "Σ r (d + k) + d (lp + li)",
            "LoRA, appendix E",
        ),
        "lora-pl": Method(
            rules.both(rules.lora, rules.prefix_layer),
            {**_LORA, **_PREFIX},
            "count-lora",
            "Σ r (d + k) + L d (lp + li)",
            "LoRA, appendix E",
        ),
    }
)
"""Every method by name."""


def count(
    architecture: str | Architecture,
    method: str,
    *,
    rank: int | Mapping[str, int] | None = None,
    targets: str | Iterable[str] | None = None,
    layers: int | None = None,
    prefix: int | None = None,
    infix: int | None = None,
    classes: int | None = None,
    block: int | None = None,
) -> Count:
    """Count the parameters of an architecture under a method, tensor by tensor.  [count-lora] [count-full]

    `rank` is r (for adapters the bottleneck), one for all targets or one per target; `targets` are short names,
    "q,v" or ("q", "v"), words of `options.GROUPS`, or PEFT's names; `layers` is how many blocks get the adapter;
    `prefix` and `infix` are the lengths lp and li.  What is left out takes the method's default, LoRA's being
    rank 8 on q and v.  Raises `ConfigError`, also for an option that the method does not have.

    >>> count("gpt3-175b", "lora", rank=4, targets="q,v").trainable
    18874368
    >>> count("llama-3-8b", "lora", rank={"q": 8, "v": 4}).trainable  # v is (1024, 4096)
    2752512
    """
    a = find(architecture)
    checks.require_one_of("method", method, METHODS)
    given = {
        "rank": rank,
        "targets": targets,
        "layers": layers,
        "prefix": prefix,
        "infix": infix,
        "classes": classes,
        "block": block,
    }
    options = settle(
        a,
        method,
        METHODS[method].options,
        {name: value for name, value in given.items() if value is not None},
    )
    change = METHODS[method].rule(a, options)
    return Count(a, method, options, _base_rows(a, change) + change.adds)


def _base_rows(a: Architecture, change: Change) -> tuple[Row, ...]:
    """List the network's parts; one that is trained in some blocks only becomes two rows."""
    rows = []
    for part in a.parts:
        trained = change.trains(part)
        for copies, flag in ((part.copies - trained, False), (trained, True)):
            if copies:
                rows.append(Row(part.name, part.shape, copies, flag, False, flag, part.role, part.target))
    return tuple(rows)
