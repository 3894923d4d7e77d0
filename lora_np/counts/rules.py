"""One rule per method: which tensors it trains, and which it adds.  Floor 2.

A rule takes the architecture and its settled options and returns a `Change`.  The options are checked before, in
`options`; what a rule cannot know from shapes (an initialization, a scale) changes no count and is not here.  One short
rule a method, so the file is a little longer than most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lora_np.counts.parts import Architecture, Part
from lora_np.counts.result import Row
from lora_np.errors import ConfigError

Options = Mapping[str, Any]
Factor = tuple[str, tuple[int, ...]]


class Change(NamedTuple):
    """What a method does: how many copies of each part it trains, and the tensors it adds."""

    trains: Callable[[Part], int]
    adds: tuple[Row, ...] = ()


def _nothing(_part: Part) -> int:
    """Train no part of the network itself."""
    return 0


def _added(
    name: str,
    shape: tuple[int, ...],
    copies: int,
    *,
    trainable: bool = True,
    saved: bool = True,
    target: str = "",
) -> Row:
    """Make a row that the method adds."""
    return Row(name, shape, copies, trainable, True, saved, "adapter", target)


def _per_matrix(
    a: Architecture,
    o: Options,
    factors: Callable[[int, int, int], list[Factor]],
    frozen: Mapping[str, bool] | None = None,
) -> tuple[Row, ...]:
    """Add tensors to every targeted matrix: `factors` maps (out, in, rank) to their names and shapes.

    `frozen` names those that are not trained and says whether a file must hold them all the same.
    """
    frozen = frozen or {}
    rows = []
    for target in o["targets"]:
        for part in a.matrices(target):
            d, k = part.shape
            for suffix, shape in factors(d, k, o["rank"][target] if "rank" in o else 0):
                marks = {
                    "trainable": suffix not in frozen,
                    "saved": frozen.get(suffix, True),
                    "target": target,
                }
                name = f"{part.name.removesuffix('.weight')}.{suffix}"
                rows.append(_added(name, shape, o.get("layers") or part.copies, **marks))
    return tuple(rows)


# ---- parts of the network itself -------------------------------------------------------------------------------


def full(_a: Architecture, _o: Options) -> Change:
    """Train everything.  [count-full]"""
    return Change(lambda part: part.copies)


def bitfit(a: Architecture, _o: Options) -> Change:
    """Train every bias vector, those of the norms and the embeddings' norm included, but of no head.  [count-bitfit]"""
    if not any(part.role == "bias" for part in a.parts):
        raise ConfigError(
            f"{a.name} has no bias vectors: bitfit would train nothing", fix="choose another method"
        )
    return Change(lambda part: part.copies * (part.role == "bias" and part.place != "head"))


def top_blocks(a: Architecture, _o: Options) -> Change:
    """Train the last two blocks.  [count-subset]"""
    a.require_uniform("ft-top2")
    return Change(lambda part: min(2, part.copies) * (part.place == "block"))


def linear_probe(a: Architecture, o: Options) -> Change:
    """Train a new output layer on the frozen features.  [count-subset]"""
    classes = o["classes"]
    return Change(
        _nothing,
        (_added("head.probe.weight", (classes, a.width), 1), _added("head.probe.bias", (classes,), 1)),
    )


# ---- extra inputs and extra layers -----------------------------------------------------------------------------


def prefix_embedding(a: Architecture, o: Options) -> Change:
    """Train embeddings of extra tokens before and inside the input.  [count-prefix-embedding]"""
    return Change(_nothing, (_added("prefix.embeddings", (o["prefix"] + o["infix"], a.width), 1),))


def prompt(a: Architecture, o: Options) -> Change:
    """Train embeddings of extra tokens before the input only.  [count-prefix-embedding]"""
    return prefix_embedding(a, {**o, "infix": 0})


def prefix_layer(a: Architecture, o: Options) -> Change:
    """Train the activations of extra tokens after every block.  [count-prefix-layer]"""
    return Change(_nothing, (_added("prefix.activations", (o["prefix"] + o["infix"], a.width), a.layers),))


def prefix_kv(a: Architecture, o: Options) -> Change:
    """Train keys and values of extra tokens in every block, as PEFT stores them.  [count-prefix-kv]"""
    rows = [
        _added(f"{part.name.removesuffix('.weight')}.prefix", (o["prefix"], part.shape[0]), part.copies)
        for target in ("k", "v")
        for part in a.matrices(target)
    ]
    return Change(_nothing, tuple(rows))


def adapter(per_block: int, *, norms: bool) -> Callable[[Architecture, Options], Change]:
    """Make the rule of adapters with `per_block` bottlenecks in a block, and norms of their own.  [count-adapter]"""

    def rule(a: Architecture, o: Options) -> Change:
        blocks = o.get("layers", a.layers)
        d, r = a.width, o["rank"]
        shapes = {"down.weight": (r, d), "down.bias": (r,), "up.weight": (d, r), "up.bias": (d,)}
        rows = [_added(f"block.adapter.{name}", shape, per_block * blocks) for name, shape in shapes.items()]
        if norms:
            rows += [_added(f"block.adapter.norm.{name}", (d,), blocks) for name in ("weight", "bias")]
        return Change(_nothing, tuple(rows))

    return rule


# ---- the LoRA family: tensors beside each targeted matrix ------------------------------------------------------


def lora(a: Architecture, o: Options) -> Change:
    """Train B (d, r) and A (r, k) beside each targeted (d, k) matrix.  [count-lora]"""
    return Change(_nothing, _per_matrix(a, o, lambda d, k, r: [("B", (d, r)), ("A", (r, k))]))


def lora_fa(a: Architecture, o: Options) -> Change:
    """Train B alone; A stays as drawn, and must be saved with it.  [count-lora-fa]"""
    return Change(_nothing, _per_matrix(a, o, lambda d, k, r: [("B", (d, r)), ("A", (r, k))], {"A": True}))


def symmetric(a: Architecture, o: Options) -> Change:
    """Train LoRA's factors; the pair they started from stays, and must be saved with them.  [count-lora]"""
    shapes: Callable[[int, int, int], list[Factor]] = lambda d, k, r: [  # noqa: E731
        *(("B", (d, r)), ("A", (r, k))),
        *(("B0", (d, r)), ("A0", (r, k))),
    ]
    return Change(_nothing, _per_matrix(a, o, shapes, {"B0": True, "A0": True}))


def lora_xs(a: Architecture, o: Options) -> Change:
    """Train an (r, r) matrix between factors taken from the weight's own SVD.  [count-lora-xs]"""
    shapes: Callable[[int, int, int], list[Factor]] = lambda d, k, r: [  # noqa: E731
        ("B", (d, r)),
        ("R", (r, r)),
        ("A", (r, k)),
    ]
    return Change(_nothing, _per_matrix(a, o, shapes, {"B": False, "A": False}))


def dora(a: Architecture, o: Options) -> Change:
    """Train LoRA's factors and the norm of each row.  [count-dora]"""
    return Change(
        _nothing, _per_matrix(a, o, lambda d, k, r: [("B", (d, r)), ("A", (r, k)), ("magnitude", (d,))])
    )


def adalora(a: Architecture, o: Options) -> Change:
    """Train P (d, r), the diagonal Λ and Q (r, k), before any of the rank is given up.  [count-adalora]"""
    return Change(_nothing, _per_matrix(a, o, lambda d, k, r: [("P", (d, r)), ("E", (r,)), ("Q", (r, k))]))


def vera(a: Architecture, o: Options) -> Change:
    """Train two vectors per matrix around one frozen random pair that all of them share.  [count-vera]

    The shared pair is as large as the largest targeted matrix needs and comes from a seed, so no file holds it.
    """
    rank = max(o["rank"].values())
    if set(o["rank"].values()) != {rank}:
        raise ConfigError(
            "vera shares its matrices, so all targets have one rank", fix="give rank as one int"
        )
    vectors = _per_matrix(a, o, lambda d, _k, r: [("b", (d,)), ("d", (r,))])
    shapes = [part.shape for target in o["targets"] for part in a.matrices(target)]
    B = _added("shared.B", (max(shape[0] for shape in shapes), rank), 1, trainable=False, saved=False)
    A = _added("shared.A", (rank, max(shape[1] for shape in shapes)), 1, trainable=False, saved=False)
    return Change(_nothing, (*vectors, B, A))


def loha(a: Architecture, o: Options) -> Change:
    """Train two pairs of factors, whose products are multiplied entry by entry.  [count-loha]"""
    return Change(
        _nothing,
        _per_matrix(a, o, lambda d, k, r: [("B1", (d, r)), ("A1", (r, k)), ("B2", (d, r)), ("A2", (r, k))]),
    )


def balanced_split(n: int) -> tuple[int, int]:
    """Split n into two whole factors as near to its root as they come, the smaller first.  [count-lokr]

    >>> balanced_split(768), balanced_split(7)
    ((24, 32), (1, 7))
    """
    small = next(m for m in range(math.isqrt(n), 0, -1) if n % m == 0)
    return small, n // small


def lokr(a: Architecture, o: Options) -> Change:
    """Train the two factors of a Kronecker product, the larger one itself of low rank where that is smaller.

    d = l m and k = n p are split near their roots; C1 (l, n) is full; C2 (m, p) is full too, unless
    r < max(m, p) / 2.  [count-lokr]
    """

    def factors(d: int, k: int, r: int) -> list[Factor]:
        (rows1, rows2), (columns1, columns2) = balanced_split(d), balanced_split(k)
        low = 2 * r < max(rows2, columns2)
        second = [("C2b", (rows2, r)), ("C2a", (r, columns2))] if low else [("C2", (rows2, columns2))]
        return [("C1", (rows1, columns1)), *second]

    return Change(_nothing, _per_matrix(a, o, factors))


def ia3(a: Architecture, o: Options) -> Change:
    """Train one factor per output of a targeted matrix, per input of a feed-forward output matrix.  [count-ia3]"""

    def factors(target: str) -> Callable[[int, int, int], list[Factor]]:
        scales_input = target in ("fc2", "down")
        return lambda d, k, _r: [("scale", (k if scales_input else d,))]

    rows = [_per_matrix(a, {**o, "targets": (target,)}, factors(target)) for target in o["targets"]]
    return Change(_nothing, tuple(row for group in rows for row in group))


def oft(a: Architecture, o: Options) -> Change:
    """Train skew-symmetric blocks of width b on each targeted matrix's input.  [count-oft]"""
    b = o["block"]
    for target in o["targets"]:
        for part in a.matrices(target):
            if part.shape[1] % b:
                raise ConfigError(
                    f"block = {b} does not divide {part.shape[1]}, the inputs of {target} in {a.name}",
                    fix="choose a divisor",
                )
    return Change(_nothing, _per_matrix(a, o, lambda _d, k, _r: [("skew", (k // b, b * (b - 1) // 2))]))


def both(
    first: Callable[[Architecture, Options], Change], second: Callable[[Architecture, Options], Change]
) -> Callable[[Architecture, Options], Change]:
    """Combine two rules that only add."""
    return lambda a, o: Change(_nothing, first(a, o).adds + second(a, o).adds)
