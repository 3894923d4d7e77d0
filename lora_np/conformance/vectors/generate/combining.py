"""Vectors of combined adapters, and of batches in which each row has its own.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lora_np.conformance.definitions.combine_mixed import mixed
from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.inputs import HUGE, TINY, Draws
from lora_np.conformance.vectors.generate.plan import Plan, Recipe

LEAST_GAP = 1e-2
"""How far apart what is compared must be, relative to its size, so that rounding never decides."""


class Setting(NamedTuple):
    """Adapters to combine: the weight's shape, their ranks, weights and scales, and how numbers are drawn."""

    comment: str
    shape: tuple[int, int]
    ranks: tuple[int, ...]
    weights: tuple[float, ...]
    scales: tuple[float, ...]
    kind: str = "short"
    flags: tuple[str, ...] = ()
    memory: str = "C"
    size: float = 1.0
    dtypes: tuple[str, ...] = ("float64", "float32")


USUAL = ("MissingScale", "SquaredScale", "WeightsIgnored", "Transposed")
SETTINGS = (
    Setting("two adapters of one rank", (3, 5), (2, 2), (1.0, 1.0), (1.5, 0.375), flags=USUAL),
    Setting("weights that differ", (4, 3), (2, 2), (0.7, 0.3), (2.0, 0.75), flags=USUAL),
    Setting("ranks that differ", (5, 4), (1, 3), (1.0, 0.5), (4.0, 0.3), flags=USUAL),
    Setting(
        "three adapters, ranks that differ", (4, 5), (1, 2, 1), (0.5, 0.3, 0.2), (1.5, 3.0, 8.0), flags=USUAL
    ),
    Setting(
        "a negative weight",
        (3, 4),
        (2, 2),
        (1.0, -0.5),
        (1.5, 2.5),
        flags=("SignFlipped", "SignOnWrongFactor"),
    ),
    Setting("all weights negative", (4, 3), (1, 1), (-1.0, -0.7), (0.75, 1.5), flags=("SignFlipped",)),
    Setting(
        "a weight of zero", (3, 4), (2, 2, 2), (1.0, 0.0, 0.5), (1.5, 2.0, 0.7), flags=("WeightsIgnored",)
    ),
    Setting(
        "weights that sum to more than one",
        (3, 3),
        (1, 1),
        (2.0, 3.0),
        (0.5, 0.3),
        flags=("WeightsNormalized",),
    ),
    Setting("one adapter alone", (4, 5), (2,), (0.75,), (1.5,), flags=("MissingScale", "WeightsIgnored")),
    Setting(
        "the same scale everywhere, not 1", (5, 3), (2, 2), (1.0, 1.0), (0.3, 0.3), flags=("MissingScale",)
    ),
    Setting("a square weight", (3, 3), (1, 1), (0.6, 0.4), (1.5, 4.0), flags=("SquareShapes",)),
    Setting(
        "every bit of the inputs counts",
        (3, 4),
        (2, 2),
        (0.7, 0.3),
        (1.5, 0.3),
        "full",
        ("InputRoundedToBfloat16",),
    ),
    Setting("small whole numbers", (4, 4), (2, 2), (1.0, 0.5), (2.0, 1.0), "integers", ("Integers",)),
    Setting("A near 1e-30", (3, 4), (2, 2), (0.7, 0.3), (1.5, 2.0), flags=("TinyValues",), size=TINY),
    Setting("A near 1e30", (4, 3), (2, 2), (0.7, 0.3), (1.5, 2.0), flags=("HugeValues",), size=HUGE),
    Setting("every side is 1", (1, 1), (1, 1), (0.7, 0.4), (1.5, 2.0), flags=("SingleElement",)),
    Setting("memory order: F", (4, 3), (2, 2), (0.7, 0.3), (1.5, 2.0), flags=("NonContiguous",), memory="F"),
    Setting(
        "memory order: strided",
        (3, 4),
        (2, 2),
        (0.7, 0.3),
        (1.5, 2.0),
        flags=("NonContiguous",),
        memory="strided",
    ),
    Setting(
        "read-only memory",
        (3, 4),
        (2, 2),
        (0.7, 0.3),
        (1.5, 2.0),
        flags=("ReadOnlyInput",),
        memory="readonly",
    ),
    Setting("four adapters", (3, 4), (2, 2, 2, 2), (0.4, 0.3, -0.2, 0.1), (1.5, 2.0, 3.0, 0.7), flags=USUAL),
)
"""Settings for every combination."""

ONE_RANK = tuple(one for one in SETTINGS if len(set(one.ranks)) == 1)
DENSITIES = (0.5, 0.3, 0.75, 1.0, 0.2)
Arrays = dict[str, np.ndarray]


# ---- the inputs ---------------------------------------------------------------------------------------------


def drawn(draws: Draws, one: Setting, dtype: str) -> Arrays:
    """Draw the factors."""
    (d, k), found = one.shape, {}
    for i, rank in enumerate(one.ranks):
        found[f"B.{i}"] = draws.values(one.kind, (d, rank), dtype)
        found[f"A.{i}"] = one.size * draws.values(one.kind, (rank, k), dtype)
    return found


def increments(t: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> list[np.ndarray]:
    """Multiply out in float64."""
    pairs = zip(config["weights"], config["scales"], strict=True)
    return [w * s * (t[f"B.{i}"] @ t[f"A.{i}"]) for i, (w, s) in enumerate(pairs)]


def kept(entries: int, density: float) -> int:
    """⌊density · entries⌋, in units of a thousandth."""
    return entries * round(density * 1000) // 1000


def decided(deltas: list[np.ndarray], density: float) -> bool:
    """Tell whether trimming and electing are decided well beyond rounding, with what is trimmed and what is not."""
    chosen = []
    for delta in deltas:
        sizes = np.sort(np.abs(delta).ravel())[::-1]
        n = kept(sizes.size, density)
        if 0 < n < sizes.size and sizes[0] > 0 and sizes[n - 1] - sizes[n] < LEAST_GAP * sizes[0]:
            return False
        chosen.append(trimmed(delta, density))
    return elected_clearly(chosen)


def elected_clearly(deltas: list[np.ndarray]) -> bool:
    """Tell whether every sum is far from zero beside its parts, or has none."""
    mass = np.sum(np.abs(deltas), axis=0)
    return bool((np.abs(np.sum(deltas, axis=0)) >= LEAST_GAP * mass).all())


def apart(total: np.ndarray, rank: int) -> bool:
    """Tell whether the singular values up to the cut and one beyond are well apart."""
    sigma = np.append(np.linalg.svd(total, compute_uv=False), 0.0)
    return rank == len(sigma) - 1 or bool(sigma[rank - 1] - sigma[rank] >= 0.05 * sigma[0])


Further = Callable[[Draws, Setting, int], dict[str, Any]]
Accept = Callable[[Arrays, dict[str, Any]], bool]


def plans(
    method: str, listed: tuple[Setting, ...], further: Further, accept: Accept, masks: bool = False
) -> list[Plan]:
    """Draw each setting in its element types until nothing is decided by rounding."""
    made = []
    for number, one in enumerate(listed):
        for dtype in one.dtypes:
            draws = Draws(f"{method}/combine/{number}/{dtype}")
            config = {"weights": list(one.weights), "scales": list(one.scales)} | further(draws, one, number)
            arrays = with_masks(draws, one, config, drawn(draws, one, dtype), masks)
            while not accept(arrays, config):
                arrays = with_masks(draws, one, config, drawn(draws, one, dtype), masks)
            inputs = {
                name: Tensor(x, "int64" if name.startswith("keep") else dtype, one.memory)
                for name, x in arrays.items()
            }
            made.append(Plan(config, dtype, inputs, one.comment, flags_of(one, arrays, config)))
    return made


def with_masks(draws: Draws, one: Setting, config: dict[str, Any], arrays: Arrays, masks: bool) -> Arrays:
    """Add what DARE keeps, each entry with the probability `density`."""
    if not masks:
        return arrays
    share = round(config["density"] * 1000)
    keep = [
        draws.array(lambda: float(draws.below(1000) < share), one.shape).astype(np.int64) for _ in one.ranks
    ]
    return arrays | {f"keep.{i}": x for i, x in enumerate(keep)}


def flags_of(one: Setting, arrays: Arrays, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Flag a case that keeps nothing as such."""
    density = config.get("density", 1.0)
    entries = one.shape[0] * one.shape[1]
    nothing = "keep.0" not in arrays and kept(entries, density) == 0
    return (*one.flags, *(("NothingKept",) if nothing else ()))


def plain(_draws: Draws, _one: Setting, _number: int) -> dict[str, Any]:
    """Configure nothing more."""
    return {}


def dense(_draws: Draws, one: Setting, number: int) -> dict[str, Any]:
    """Choose a density; a single entry stays."""
    return {"density": 1.0 if one.shape == (1, 1) else DENSITIES[number % len(DENSITIES)]}


def truncated(_draws: Draws, one: Setting, number: int) -> dict[str, Any]:
    """Choose a rank to cut at, up to the smaller side; below the ranks' sum wherever that is possible."""
    most = min(*one.shape, sum(one.ranks))
    return {"svd_rank": 1 + number % most}


TIED = (
    Setting("equal magnitudes: the first entry stays", (2, 4), (1, 1), (1.0, 1.0), (0.5, 2.0), "ones", ("TiedScores",)),
    Setting("equal magnitudes, three adapters", (3, 3), (1, 1, 1), (1.0, 0.5, 2.0), (1.0, 2.0, 0.5), "ones",
            ("TiedScores", "NoMajority")),
    Setting("sums of zero: no sign is elected", (3, 4), (1, 1), (1.0, -1.0), (0.5, 0.5), "ones",
            ("NoMajority", "TiedScores")),
)  # fmt: skip
"""Settings whose arithmetic is exact, so that equal entries are equal for everyone."""


def tied(method: str, masks: bool = False) -> list[Plan]:
    """List increments of ±1 and powers of two, at every density; what comes out may be zero in parts."""
    made = []
    for number, one in enumerate(TIED):
        for density in (0.25, 0.5, 0.625, 0.75, 1.0):
            for dtype in one.dtypes:
                draws = Draws(f"{method}/tied/{number}/{density}")
                arrays: Arrays = {}
                for i in range(len(one.ranks)):
                    arrays[f"B.{i}"] = np.sign(draws.values("short", (one.shape[0], 1)))
                    arrays[f"A.{i}"] = np.sign(draws.values("short", (1, one.shape[1])))
                config = {"weights": list(one.weights), "scales": list(one.scales), "density": density}
                if masks:
                    config["density"] = 0.5
                    arrays = with_masks(draws, one, config, arrays, masks)
                inputs = {
                    name: Tensor(x, "int64" if x.dtype.kind == "i" else dtype) for name, x in arrays.items()
                }
                made.append(Plan(config, dtype, inputs, one.comment, (*one.flags, "NothingKept")))
    return made


# ---- second roads -------------------------------------------------------------------------------------------


def trimmed(delta: np.ndarray, density: float) -> Any:
    """Trim by a stable sort of arrays."""
    keep = np.zeros(delta.size, dtype=bool)
    keep[np.argsort(-np.abs(delta).ravel(), kind="stable")[: kept(delta.size, density)]] = True
    return np.where(keep.reshape(delta.shape), delta, 0.0)


def agreed(deltas: list[np.ndarray]) -> Any:
    """Elect and average in arrays."""
    stack = np.stack(deltas)
    same = (np.sign(stack) == np.sign(stack.sum(axis=0))) & (stack != 0)
    return np.where(same, stack, 0.0).sum(axis=0) / np.maximum(same.sum(axis=0), 1)


def by_linear(t: Arrays, config: Mapping[str, Any]) -> Any:
    """Multiply out the sum of the increments and every cross term."""
    c = np.multiply(config["weights"], config["scales"])
    return sum(
        np.sqrt(abs(x)) * np.sign(y) * np.sqrt(abs(y)) * (t[f"B.{i}"] @ t[f"A.{j}"])
        for i, x in enumerate(c)
        for j, y in enumerate(c)
    )


def by_svd(t: Arrays, config: Mapping[str, Any]) -> Any:
    """Truncate with LAPACK."""
    U, sigma, Vt = np.linalg.svd(np.sum(increments(t, config), axis=0), full_matrices=False)
    r = config["svd_rank"]
    return (U[:, :r] * sigma[:r]) @ Vt[:r]


def dropped(t: Arrays, config: Mapping[str, Any]) -> list[np.ndarray]:
    """Drop and rescale in arrays."""
    return [delta * t[f"keep.{i}"] / config["density"] for i, delta in enumerate(increments(t, config))]


# ---- mixed batches ------------------------------------------------------------------------------------------

MIXED = (
    ("rows in no order, some without an adapter", (1, -1, 0, 1, -1), (2, 2), (1.5, 0.3), "short", "C"),
    ("ranks that differ", (0, 1, 2, 0), (1, 3, 2), (2.0, 0.75, 4.0), "short", "C"),
    ("every row has the same adapter", (1, 1, 1), (2, 1), (1.5, 2.0), "short", "C"),
    ("no row has an adapter", (-1, -1), (2, 1), (1.5, 2.0), "short", "C"),
    ("an adapter that no row uses", (2, 0, 2), (1, 2, 1), (1.5, 3.0, 0.7), "short", "C"),
    ("one row", (0,), (2, 2), (1.5, 0.7), "short", "C"),
    ("every bit of the inputs counts", (1, 0, -1), (2, 1), (1.5, 0.3), "full", "C"),
    ("small whole numbers", (0, 1, -1, 0), (2, 2), (2.0, 0.5), "integers", "C"),
    ("memory order: strided", (1, 0, -1, 0), (2, 1), (1.5, 0.3), "short", "strided"),
    ("memory order: F", (1, 0, 1), (2, 1), (1.5, 0.3), "short", "F"),
    ("read-only memory", (0, -1, 1), (1, 1), (1.5, 0.3), "short", "readonly"),
)  # fmt: skip


def mixed_plans() -> list[Plan]:
    """List batches; in every second pair of cases there is a bias."""
    made = []
    for number, (comment, rows, ranks, scales, kind, memory) in enumerate(MIXED):
        for dtype in ("float64", "float32"):
            draws, (d, k), N = Draws(f"lora/mixed/{number}/{dtype}"), ((3, 4), (4, 3))[number % 2], len(rows)
            shapes: dict[str, tuple[int, ...]] = {"X": (N, k), "W0": (d, k), "gY": (N, d)}
            if number % 2 == 0:
                shapes["bias"] = (d,)
            for i, rank in enumerate(ranks):
                shapes |= {f"B.{i}": (d, rank), f"A.{i}": (rank, k)}
            inputs = {
                name: Tensor(draws.values(kind, shape, dtype), dtype, memory)
                for name, shape in shapes.items()
            }
            inputs["rows"] = Tensor(np.array(rows), "int64")
            flags = ("RowsExchanged", *(("NothingKept",) if len({-1, *rows}) <= len(ranks) else ()))
            made.append(Plan({"scales": list(scales)}, dtype, inputs, comment, flags))
    return made


def mixed_road(plan: Plan) -> dict[str, Any]:
    """Make one adapted weight for each row, and take gradients by autograd."""
    from autograd import make_vjp
    from autograd import numpy as xp

    t, scales, rows = plan.arrays(), plan.config["scales"], plan.inputs["rows"].values
    factors = [f"{name}.{i}" for i in range(len(scales)) for name in "BA"]

    def layer(X: Any, *values: Any) -> Any:
        p = dict(zip(factors, values, strict=True))
        weights = [
            t["W0"] + (0 if at < 0 else scales[at] * (p[f"B.{at}"] @ p[f"A.{at}"])) for at in rows.tolist()
        ]
        return xp.stack([W @ x for W, x in zip(weights, X, strict=True)]) + t.get("bias", 0.0)

    given = (t["X"], *(t[name] for name in factors))
    pull, Y = make_vjp(layer, argnum=tuple(range(len(given))))(*given)
    return {"Y": Y, **{f"g{name}": g for name, g in zip(("X", *factors), pull(t["gY"]), strict=True)}}


# ---- the files ----------------------------------------------------------------------------------------------


def recipes() -> list[Recipe]:
    """List this module's files."""

    def always(_t: Arrays, _config: Mapping[str, Any]) -> bool:
        return True

    def clear(t: Arrays, config: Mapping[str, Any]) -> bool:
        return decided(increments(t, config), config["density"])

    def something(t: Arrays, config: Mapping[str, Any]) -> bool:
        left = dropped(t, config)
        return bool(np.any(np.sum(left, axis=0))) and elected_clearly(left)

    def cut(t: Arrays, config: Mapping[str, Any]) -> bool:
        return apart(np.sum(increments(t, config), axis=0), config["svd_rank"])

    def one(
        kind: str, made: Callable[[], list[Plan]], road: Any, name: str = "array formula, in float64"
    ) -> Recipe:
        return Recipe(
            f"combine-{kind}",
            "combine",
            made,
            road=lambda p: {"delta": road(p.arrays(), p.config)},
            road_name=name,
        )

    def listed(
        kind: str, settings: Any, further: Further, accept: Accept, *, ties: bool, masks: bool = False
    ) -> Any:
        method = f"combine-{kind}"
        return lambda: [
            *plans(method, settings, further, accept, masks),
            *(tied(method, masks) if ties else ()),
        ]

    def total(t: Arrays, c: Mapping[str, Any]) -> Any:
        return np.sum(increments(t, c), axis=0)

    def sum_of_trimmed(t: Arrays, c: Mapping[str, Any]) -> Any:
        return np.sum([trimmed(x, c["density"]) for x in increments(t, c)], axis=0)

    def ties_of_trimmed(t: Arrays, c: Mapping[str, Any]) -> Any:
        return agreed([trimmed(x, c["density"]) for x in increments(t, c)])

    return [
        one("cat", listed("cat", SETTINGS, plain, always, ties=False), total),
        one("linear", listed("linear", ONE_RANK, plain, always, ties=False), by_linear),
        one("svd", listed("svd", SETTINGS, truncated, cut, ties=False), by_svd, "LAPACK, in float64"),
        one("ties", listed("ties", SETTINGS, dense, clear, ties=True), ties_of_trimmed),
        one("magnitude", listed("magnitude", SETTINGS, dense, clear, ties=True), sum_of_trimmed),
        one(
            "dare",
            listed("dare", SETTINGS, dense, something, ties=False, masks=True),
            lambda t, c: np.sum(dropped(t, c), axis=0),
        ),
        one(
            "dare-ties",
            listed("dare-ties", SETTINGS, dense, something, ties=True, masks=True),
            lambda t, c: agreed(dropped(t, c)),
        ),
        Recipe(
            "lora",
            "mixed",
            mixed_plans,
            road=mixed_road,
            road_name="autograd of one weight for each row",
            formula=mixed,
            header="LoRA in a batch whose rows have adapters of their own: rows[n] is an index, -1 the base alone.",
        ),
    ]
