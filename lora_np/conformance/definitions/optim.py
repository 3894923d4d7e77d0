"""Runs of an optimizer over given gradients, number by number, each with the bound of its whole run.  Floor 6.

Parameters `p` move by the gradients g.0, g.1, ..., over and over, and are compared as p.1, p.10, ... after as many
steps as config["checkpoints"] says.  Values are taken in mpmath's working precision,
which for rules without division or root is set so high that nothing is ever rounded.

The bound is followed along: to first order the error of a step's result is what its operands carry, times the step's
own derivative, and one u for each rounding times the number that is rounded.  Those numbers are added up in S, so
S grows linearly with the steps where nothing forgets, and stays where an average does.  A number of the
configuration counts as rounded to the element type, 1 − βᵗ as computed by t multiplications in double precision or
better.  K is what a step written in another order may round more often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, filled
from lora_np.conformance.exact.functions import precision, sqrt
from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.number import Exact, high_precision
from lora_np.conformance.exact.rounding import fraction_of

ROUNDINGS = 4

Run = Iterator[tuple[Any, float]]
"""The parameter after each step, and its S."""

Rule = Callable[[Any, Iterator[Any], Config], Run]
"""From a parameter, its gradients and the configuration to its run."""


def number(x: Any) -> Any:
    """Take an exact number in working precision; leave a float alone."""
    return high_precision(x.value) if isinstance(x, Exact) else x


def root(x: Any) -> Any:
    """√x in the kind of x."""
    return sqrt(x) if isinstance(x, float) else sqrt(Exact(x, 0.0)).value


def training(rule: Rule, bits: int) -> Callable[[Tensors, Config], dict[str, Any]]:
    """Write the operation "train" of a rule, exact where a step adds at most `bits` bits (0: it rounds)."""

    def train(t: Tensors, config: Config) -> dict[str, Any]:
        """Run every number of p on its own, and note it at the checkpoints."""
        if bits and isinstance(config["lr"], Exact):
            with precision(bits * (config["checkpoints"][-1] + 4)):
                return {name: each(as_fraction, x) for name, x in runs(t, config).items()}
        return runs(t, config)

    def runs(t: Tensors, config: Config) -> dict[str, Any]:
        known = {name: number(x) for name, x in config.items() if name != "checkpoints"}
        cycle = [flat(t[f"g.{i}"]) for i in range(sum(name.startswith("g.") for name in t))]
        noted_runs = [
            noted(
                rule(number(p), over_and_over([number(g[i]) for g in cycle]), known), config["checkpoints"], p
            )
            for i, p in enumerate(flat(t["p"]))
        ]
        return {
            f"p.{step}": filled(t["p"], iter([run[at] for run in noted_runs]))
            for at, step in enumerate(config["checkpoints"])
        }

    return train


def as_fraction(x: Exact) -> Exact:
    """Take a number that was never rounded as the rational that it is."""
    return Exact(fraction_of(x.value), x.size, x.roundings)


def over_and_over(gradients: list[Any]) -> Iterator[Any]:
    """Repeat without end."""
    while True:
        yield from gradients


def noted(run: Run, checkpoints: list[int], like: Any) -> list[Any]:
    """Take down a run at its checkpoints, in the kind of number of `like`."""
    found = []
    for step, (value, size) in zip(range(1, checkpoints[-1] + 1), run, strict=False):
        if step in checkpoints:
            found.append(Exact(value, size, ROUNDINGS) if isinstance(like, Exact) else value)
    return found


# ---- gradient descent ---------------------------------------------------------------------------------------


def sgd(p: Any, gradients: Iterator[Any], c: Config) -> Run:
    """Move to p − lr g."""
    S = 0.0
    for g in gradients:
        move = c["lr"] * g
        p = p - move
        S += 2 * size(move) + size(p)
        yield p, S


def momentum(p: Any, gradients: Iterator[Any], c: Config) -> Run:
    """Move to p − lr v, after v ← μ v + g."""
    v, S, S_v, mu = 0 * p, 0.0, 0.0, size(c["momentum"])
    for g in gradients:
        S_v = mu * S_v + 2 * mu * size(v)
        v = c["momentum"] * v + g
        S_v += size(v)
        p = p - c["lr"] * v
        S += size(c["lr"]) * (S_v + 2 * size(v)) + size(p)
        yield p, S


# ---- Adam ---------------------------------------------------------------------------------------------------


def updates(gradients: Iterator[Any], c: Config) -> Run:
    """m̂ / (√v̂ + eps) at each step: averages m of g and v of g², divided by 1 − β1ᵗ and 1 − β2ᵗ."""
    m, v, S_m, S_v = 0 * c["lr"], 0 * c["lr"], 0.0, 0.0
    rest1, rest2 = 1, 1
    beta1, beta2 = size(c["beta1"]), size(c["beta2"])
    for t, g in enumerate(gradients, start=1):
        S_m = beta1 * (S_m + 2 * size(m)) + 3 * (1 - beta1) * size(g)
        S_v = beta2 * (S_v + 2 * size(v)) + 3 * (1 - beta2) * size(g) ** 2
        m = c["beta1"] * m + (1 - c["beta1"]) * g
        v = c["beta2"] * v + (1 - c["beta2"]) * (g * g)
        S_m, S_v = S_m + size(m), S_v + size(v)
        rest1, rest2 = rest1 * c["beta1"], rest2 * c["beta2"]
        mean, square = m / (1 - rest1), v / (1 - rest2)
        S_mean = S_m / size(1 - rest1) + size(mean) * (1 + t * size(rest1) / size(1 - rest1))
        S_square = S_v / size(1 - rest2) + size(square) * (1 + t * size(rest2) / size(1 - rest2))
        below = root(square)
        S_below = S_square / (2 * size(below)) + size(below) if square else 0.0
        below = below + c["eps"]
        update = mean / below
        share = (S_below + size(below) + size(c["eps"])) / size(below)
        yield update, S_mean / size(below) + size(update) * (1 + share)


def adam(p: Any, gradients: Iterator[Any], c: Config) -> Run:
    """Move to p − lr m̂ / (√v̂ + eps)."""
    return adamw(p, gradients, {**c, "weight_decay": 0 * c["lr"]})


def adamw(p: Any, gradients: Iterator[Any], c: Config) -> Run:
    """Move to p − lr λ p − lr m̂ / (√v̂ + eps): the decay stands beside the averages."""
    S, lr = 0.0, size(c["lr"])
    decay = c["lr"] * c["weight_decay"]
    for update, S_update in updates(gradients, c):
        S = (1 - size(decay)) * S + (2 * size(p) if decay else 0.0)
        p = p - decay * p - c["lr"] * update
        S += lr * (S_update + 2 * size(update)) + size(p)
        yield p, S


def size(x: Any) -> float:
    """|x| as a float."""
    return float(abs(x))


def optimizer(method: str, rule: Rule, *, bits: int = 0) -> Definition:
    """Define an optimizer: no layer, only its run."""
    train = training(rule, bits)
    return Definition(method, trainable=(), forward=train, others={"train": train}, inputs=())
