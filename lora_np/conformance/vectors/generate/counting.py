"""Vectors of parameter counts: shapes of real networks, and what the LoRA paper's tables print.  Floor 6."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.plan import Plan, Recipe

SHAPES = (
    ("GPT-2: fused attention", [[2304, 768]], 12),
    ("BERT: q and v", [[768, 768], [768, 768]], 12),
    ("Llama-3-8B: q and v of grouped heads", [[4096, 4096], [1024, 4096]], 32),
    ("Llama-2-7B: the feed-forward layer", [[11008, 4096], [11008, 4096], [4096, 11008]], 32),
    ("sides that differ", [[6, 10], [12, 4]], 1),
    ("a prime side", [[7, 12]], 3),
)
RANKS = (1, 4, 8, 64)
METHODS = ("lora", "dora", "adalora", "lora-fa", "lora-xs", "vera", "loha", "lokr")
GPT3 = {"width": 12288, "layers": 96}

PAPER: tuple[tuple[str, dict[str, Any], int], ...] = (
    *(
        (f"GPT-3, AdapterH r = {r}", {"of": "adapter-h", **GPT3, "rank": r}, want)
        for r, want in ((1, 7_078_080), (4, 21_234_432), (8, 40_109_568), (16, 77_859_840), (64, 304_361_472))
    ),
    *(
        (f"GPT-3, PreEmbed l_p = {p}", {"of": "prefix-embedding", **GPT3, "prefix": p, "infix": 8}, want)
        for p, want in ((32, 491_520), (64, 884_736), (128, 1_671_168), (256, 3_244_032), (512, 6_389_760))
    ),
    *(
        (f"GPT-3, PreLayer l_p = {p}, l_i = {i}", {"of": "prefix-layer", **GPT3, "prefix": p, "infix": i}, want)
        for p, i, want in ((2, 2, 4_718_592), (8, 0, 9_437_184), (8, 8, 18_874_368), (32, 4, 42_467_328),
                           (64, 0, 75_497_472))
    ),
    *(
        (
            f"GPT-3, LoRA r = {r} on {n} matrices",
            {"of": "lora", "shapes": [[12288, 12288]] * n, "copies": 96, "rank": r},
            want,
        )
        for n, r, want in (
            (2, 1, 4_718_592),
            (2, 2, 9_437_184),
            (2, 4, 18_874_368),
            (2, 8, 37_748_736),
            (2, 64, 301_989_888),
            (4, 1, 9_437_184),
            (4, 2, 18_874_368),
            (4, 64, 603_979_776),
        )
    ),
)  # fmt: skip
"""Rows of the paper's tables 4, 13 and 15, with the numbers that section 5.1's formulas give."""


def counts() -> list[Plan]:
    """List methods beside matrices, adapters and prefixes, then the paper's rows."""
    flags = ("FrozenCounted",)
    made = [
        Plan({"of": method, "shapes": shapes, "copies": copies, "rank": rank}, "float64", {}, comment, flags)
        for comment, shapes, copies in SHAPES
        for at, method in enumerate(METHODS)
        for rank in (RANKS[at % 2], RANKS[2 + at % 2])
        if rank <= min(min(shape) for shape in shapes)
    ]
    made += [
        Plan({"of": "oft", "shapes": [[12, 8]], "copies": 2, "block": b}, "float64", {}, "blocks", flags)
        for b in (1, 2, 4, 8)
    ]
    made += [
        Plan({"of": kind, "width": d, "layers": L, "rank": r}, "float64", {}, "adapters", flags)
        for kind in ("adapter-h", "adapter-l", "adapter-p")
        for d, L, r in ((768, 12, 64), (6, 2, 1))
    ]
    blocks = {"of": "oft"}
    made = [
        Plan(one.config, one.dtype, {}, one.comment, ("NothingKept",))
        if one.config["of"] == blocks["of"] and one.config["block"] == 1
        else one
        for one in made
    ]
    return made + [Plan(config, "float64", {}, comment, ("PaperTable",)) for comment, config, _ in PAPER]


def count_road(plan: Plan) -> dict[str, Any]:
    """Make the tensors' shapes and add up their products; the paper's rows are numbers that stand here."""
    printed = [want for comment, config, want in PAPER if config == plan.config]
    if printed:
        return {"trainable": np.asarray(printed[0])}
    c = plan.config
    tensors = (
        network(c) if "width" in c else [one for d, k in c["shapes"] for one in beside(c, d, k)] * c["copies"]
    )
    return {"trainable": np.asarray(sum(math.prod(shape) for shape in tensors))}


def network(c: Any) -> Any:
    """List the tensors of adapters between layers."""
    d, r, L = c["width"], c["rank"], c["layers"]
    one: list[tuple[int, ...]] = [(r, d), (r,), (d, r), (d,)]
    norms: list[tuple[int, ...]] = [(d,), (d,)]
    return (one * 2 if c["of"] == "adapter-h" else one + norms if c["of"] == "adapter-l" else one) * L


def beside(c: Any, d: int, k: int) -> list[tuple[int, ...]]:
    """List the tensors that are trained beside one matrix."""
    if c["of"] == "oft":
        return [(k // c["block"], math.comb(c["block"], 2))]
    r = c["rank"]
    B, A = (d, r), (r, k)
    tables: dict[str, list[tuple[int, ...]]] = {
        "lora": [B, A],
        "dora": [B, A, (d,)],
        "adalora": [B, (r,), A],
        "lora-fa": [B],
        "lora-xs": [(r, r)],
        "vera": [(d,), (r,)],
        "loha": [B, A, B, A],
    }
    if c["of"] in tables:
        return tables[c["of"]]
    (q, n), (m, p) = ((near_root(d), near_root(k)), (d // near_root(d), k // near_root(k)))
    return [(q, n), *([(m, r), (r, p)] if r < max(m, p) / 2 else [(m, p)])]


def near_root(n: int) -> int:
    """Find the largest divisor up to the root, from the root down."""
    m = math.isqrt(n)
    while n % m:
        m -= 1
    return m


def recipes() -> list[Recipe]:
    """List this module's file."""
    return [
        Recipe("count", "count", counts, road=count_road, road_name="shapes of the tensors; printed tables")
    ]
