"""Tasks: the digits as they are, and a shift of them.  Floor 4.

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


class Task(NamedTuple):
    """Rows to train on and rows held out, with the class of each."""

    X: Float[Array, "N k"]
    y: Int[Array, " N"]
    X_test: Float[Array, "n k"]
    y_test: Int[Array, " n"]


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
