"""What the room on methods shows: how many numbers each method trains, and the rank its increment reaches.  Floor 6.

The rank is measured on a small layer away from its start: every trained number drawn anew, as training would leave it
somewhere.  A method that has no merge has no increment of the weight; its rank is None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lora_np._typing import Array, Float
from lora_np.conformance.published import Departure, departures
from lora_np.counts import Architecture, Part, count
from lora_np.counts.methods import METHODS as COUNTED
from lora_np.figures.listing_scene import own_lines, taken_over
from lora_np.methods import METHODS, method
from lora_np.rank import SVD, svd

D, K = 24, 32  # the layer that ranks are measured on
SCALE = 0.5
BLOCK = 8  # OFT's, on every layer here
NOTHING = 1e-9  # a singular value below this share of the largest is rounding


class Start(NamedTuple):
    """A layer at its start: the weight it is built on, what is frozen beside it, what is trained, and the options."""

    base: Float[Array, "d k"]
    frozen: tuple[Array, ...]
    p: Any
    options: Mapping[str, Any]


def _low_rank(name: str, rng: np.random.Generator, W0: Array, rank: int) -> Start:
    """Start a method whose init draws its factors from sizes: what it returns before them is frozen."""
    made = method(name).init(rng, *W0.shape, rank)
    alone = hasattr(made, "_fields")
    return Start(W0, () if alone else made[:-1], made if alone else made[-1], {"scale": SCALE})


def _split(name: str, _rng: np.random.Generator, W0: Array, rank: int) -> Start:
    """Start a method that takes its factors out of the weight."""
    base, p = method(name).init(W0, rank, scale=SCALE)
    return Start(base, (), p, {"scale": SCALE})


def _lora_xs(name: str, rng: np.random.Generator, W0: Array, rank: int) -> Start:
    B, A, p = method(name).init(rng, W0, rank)
    return Start(W0, (B, A), p, {})


def _vera(name: str, rng: np.random.Generator, W0: Array, rank: int) -> Start:
    pair = method(name).shared_pair(rng, *W0.shape, rank)
    return Start(W0, pair, method(name).init(W0.shape[0], rank), {})


def _additive(name: str, _rng: np.random.Generator, W0: Array, rank: int) -> Start:
    return Start(W0, (), method(name).init(*W0.shape, rank), {"scale": SCALE})


def _dora(name: str, rng: np.random.Generator, W0: Array, rank: int) -> Start:
    return Start(W0, (), method(name).init(rng, W0, rank), {"scale": SCALE})


def _oft(name: str, _rng: np.random.Generator, W0: Array, _rank: int) -> Start:
    return Start(W0, (), method(name).init(W0.shape[1], BLOCK), {})


def _ia3(name: str, _rng: np.random.Generator, W0: Array, _rank: int) -> Start:
    return Start(W0, (), method(name).init(*W0.shape, feedforward=False), {"feedforward": False})


def _bitfit(name: str, _rng: np.random.Generator, W0: Array, _rank: int) -> Start:
    return Start(W0, (), method(name).init(W0.shape[0]), {})


def _of_width(name: str, rng: np.random.Generator, W0: Array, rank: int) -> Start:
    """Start a module of a block: a bottleneck of `rank` numbers."""
    return Start(W0, (), method(name).init(rng, W0.shape[1], rank), {})


def _rows(name: str, rng: np.random.Generator, W0: Array, rank: int) -> Start:
    """Start extra tokens, `rank` of them."""
    return Start(W0, (), method(name).init(rng, rank, W0.shape[1]), {})


_STARTS: Mapping[str, Callable[[str, np.random.Generator, Array, int], Start]] = {
    **dict.fromkeys(("pissa", "milora", "olora"), _split),
    **dict.fromkeys(("houlsby", "pfeiffer"), _of_width),
    **dict.fromkeys(("prefix-tuning", "prompt-tuning"), _rows),
    **{"lora-xs": _lora_xs, "vera": _vera, "additive": _additive, "dora": _dora},
    **{"oft": _oft, "ia3": _ia3, "bitfit": _bitfit},
}
"""How a layer of each method starts; those that are not here start from sizes and a rank."""


def start(name: str, rng: np.random.Generator, W0: Float[Array, "d k"], rank: int) -> Start:
    """Make a layer of a method at its start; `rank` is a bottleneck's width, or a number of tokens, where it must.

    >>> start("lora", np.random.default_rng(0), np.eye(4), 2).p.A.shape
    (2, 4)
    """
    return _STARTS.get(name, _low_rank)(name, rng, W0, rank)


def increment(name: str, rng: np.random.Generator, *, rank: int) -> Float[Array, "d k"]:
    """Merge a layer whose trained numbers are all drawn anew, and subtract the weight it started from.  [lora-delta]

    ΔW = merge(W_base, ...) − W0, (24, 32).

    >>> increment("lora", np.random.default_rng(0), rank=4).shape
    (24, 32)
    """
    W0 = rng.normal(size=(D, K))
    base, frozen, p, options = start(name, rng, W0, rank)
    drawn = type(p)(*(rng.normal(size=tensor.shape) for tensor in p))
    merged: Array = method(name).merge(base, *frozen, drawn, **options)
    return merged - W0


def reached_rank(name: str, *, rank: int, decompose: Callable[[Array], SVD] = svd) -> int | None:
    """Measure the rank of a random increment: singular values above 1e-9 of the largest.  [rank-svd]

    `decompose` is the SVD to take, this package's plain one or a backend's.

    >>> reached_rank("lora", rank=4), reached_rank("loha", rank=4), reached_rank("bitfit", rank=4)
    (4, 16, None)
    """
    if not hasattr(method(name), "merge"):
        return None
    sigma = decompose(increment(name, np.random.default_rng(0), rank=rank)).sigma
    return int(np.sum(sigma > NOTHING * sigma[0]))


# ---- trained numbers ---------------------------------------------------------------------------------------


def one_layer(d: int, k: int) -> Architecture:
    """Make a network of one block: its matrix q is (d, k), keys and values are k wide, and it has one bias."""
    square = (k, k)
    parts = (
        Part("block.q.weight", (d, k), 1, "matrix", "q"),
        Part("block.q.bias", (d,), 1, "bias"),
        Part("block.k.weight", square, 1, "matrix", "k"),
        Part("block.v.weight", square, 1, "matrix", "v"),
    )
    return Architecture("one layer", "one layer", k, 1, 1, 1, k, k, 1, parts, "a single layer")


def trained(name: str, *, d: int, k: int, rank: int) -> int:
    """Count the numbers that a method trains at one (d, k) layer, or in the block around it.  [count-lora]

    `rank` is the bottleneck of an adapter and the number of extra tokens, too; OFT's blocks are 8 wide.

    >>> trained("lora", d=768, k=768, rank=8), trained("vera", d=768, k=768, rank=8)
    (12288, 776)
    """
    known = COUNTED[name].options
    given = {"rank": rank, "prefix": rank, "block": BLOCK, "targets": "q"}
    options = {option: value for option, value in given.items() if option in known}
    return count(one_layer(d, k), name, **options).trainable  # type: ignore[arg-type]


# ---- the whole room ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One method beside LoRA: lines of its own by part, parts it shares, trained numbers, rank, merge and unmerge."""

    name: str
    lines: Mapping[str, int]
    shared: tuple[str, ...]
    trained: int
    rank: int | None
    merges: bool
    unmerges: bool

    @property
    def own(self) -> int:
        """All lines that LoRA does not have."""
        return sum(self.lines.values())


def methods_scene(
    d: int, k: int, rank: int, *, decompose: Callable[[Array], SVD] = svd
) -> tuple[MethodRow, ...]:
    """Set every method beside LoRA on a (d, k) layer.

    >>> [row.name for row in methods_scene(64, 64, 4) if row.own == 0]
    ['lora']
    """
    return tuple(
        MethodRow(
            name,
            own_lines(name),
            tuple(taken_over(name)),
            trained(name, d=d, k=k, rank=rank),
            reached_rank(name, rank=rank, decompose=decompose),
            hasattr(method(name), "merge"),
            hasattr(method(name), "unmerge"),
        )
        for name in METHODS
    )


def departures_of(name: str) -> list[Departure]:
    """List where PEFT does otherwise than a method's paper.

    >>> [row.verdict for row in departures_of("loha")]
    ['precision', 'by design']
    """
    return [row for row in departures() if row.method == name]
