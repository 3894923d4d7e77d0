"""Tasks: the digits as they are, a shift of them, and a teacher whose change has a known rank.  Floor 4.

Both tasks of a pair hold out the same digits, so nothing that is held out was ever trained on, shifted or not.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float, Int
from lora_np.datasets.digits import Labelled, load_digits, rows
from lora_np.datasets.shift import invert, permute_classes, rotate, subset
from lora_np.datasets.split import stratified_split
from lora_np.errors import RankError


class Task(NamedTuple):
    """Rows to train on and rows held out, with the class of each."""

    X: Float[Array, "N k"]
    y: Int[Array, " N"]
    X_test: Float[Array, "n k"]
    y_test: Int[Array, " n"]


class Regression(NamedTuple):
    """Rows and targets to train on and held out, the weight W0 to start from, and the change that the targets hold."""

    X: Float[Array, "N k"]
    T: Float[Array, "N d"]
    X_test: Float[Array, "n k"]
    T_test: Float[Array, "n d"]
    W0: Float[Array, "d k"]
    delta: Float[Array, "d k"]


class Shift(NamedTuple):
    """What becomes of the digits in the first task and in the second, and in words."""

    first: Callable[[Labelled], Labelled]
    second: Callable[[Labelled], Labelled]
    words: str


def _same(data: Labelled) -> Labelled:
    return data


def _rotated(degrees: float) -> Callable[[Labelled], Labelled]:
    return lambda data: Labelled(rotate(data.X, degrees), data.y)


SHIFTS: Mapping[str, Shift] = MappingProxyType(
    {
        "rotated-45": Shift(_same, _rotated(45), "every digit turned by an eighth, blurred a little"),
        "rotated-90": Shift(_same, _rotated(90), "every digit turned by a quarter, no pixel lost"),
        "inverted": Shift(
            _same,
            lambda data: Labelled(invert(data.X), data.y),
            "ink and paper swapped: W would have to flip sign",
        ),
        "renamed": Shift(
            _same,
            lambda data: Labelled(data.X, permute_classes(data.y, [(3 * c + 1) % 10 for c in range(10)])),
            "the same digits under other names: the last layer alone could learn it",
        ),
        "new-classes": Shift(
            lambda data: subset(data, range(5)),
            lambda data: subset(data, range(5, 10)),
            "0 to 4 first, then only 5 to 9",
        ),
    }
)


def digit_tasks(
    rng: np.random.Generator, *, shift: str = "rotated-45", held_out: float = 0.2
) -> tuple[Task, Task]:
    """Make the task to pretrain on and the shifted one to adapt to.

    A class has the same number in both, 0 to 9.  Raises `ConfigError`.

    >>> base, turned = digit_tasks(np.random.default_rng(0))
    >>> base.X.shape, base.X_test.shape, bool((base.y == turned.y).all())
    ((1438, 64), (359, 64), True)
    """
    checks.require_one_of("shift", shift, SHIFTS)
    data = load_digits()
    train, test = stratified_split(data.y, held_out=held_out, rng=rng)

    def task(change: Callable[[Labelled], Labelled]) -> Task:
        seen, unseen = (change(Labelled(data.X[part], data.y[part])) for part in (train, test))
        return Task(rows(seen.X), seen.y, rows(unseen.X), unseen.y)

    return task(SHIFTS[shift].first), task(SHIFTS[shift].second)


def teacher_student(
    rng: np.random.Generator, *, rank: int, d: int = 32, k: int = 32, rows: int = 64, noise: float = 0.0
) -> Regression:
    """Make targets from a weight that differs from W0 by a change of a known rank.  [net-teacher]

    T = X (W0 + ΔW*)ᵀ + ν E with ΔW* = Σ_i σ_i u_i v_iᵀ, random directions, and σ_i in equal steps from 3 down to 1.
    As many rows are held out, without noise: what counts there is the change itself.  Raises `ConfigError`,
    `RankError`.

    >>> task = teacher_student(np.random.default_rng(0), rank=2)
    >>> np.linalg.svd(task.delta, compute_uv=False)[:3].round(6).tolist()
    [3.0, 1.0, 0.0]
    """
    checks.require_rng(rng)
    for name, size in (("d", d), ("k", k), ("rows", rows)):
        checks.require_int(name, size, minimum=1)
    checks.require_rank(rank)
    if rank > min(d, k):
        raise RankError(f"rank = {rank} exceeds min(d, k) = {min(d, k)}", fix=f"choose rank <= {min(d, k)}")
    checks.require_number("noise", noise, least=0.0)
    U, V = (np.linalg.qr(rng.normal(size=(side, rank)))[0] for side in (d, k))
    delta = (U * np.linspace(3.0, 1.0, rank)) @ V.T  # (d, k)
    W0 = rng.normal(size=(d, k)) / np.sqrt(k)
    X, X_test = rng.normal(size=(2, rows, k))
    T, T_test = (rows_ @ (W0 + delta).T for rows_ in (X, X_test))
    return Regression(X, T + noise * rng.normal(size=T.shape), X_test, T_test, W0, delta)
