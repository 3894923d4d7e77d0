"""What a count returns: one row per tensor, and their sums.  Floor 2."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_np.counts.parts import Architecture


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor, `copies` times: of the network, or `added` to it by the method.

    `saved` says whether an adapter's file must hold it; `target` names the matrix it belongs to.
    """

    name: str
    shape: tuple[int, ...]
    copies: int
    trainable: bool
    added: bool
    saved: bool
    role: str
    target: str = ""

    @property
    def count(self) -> int:
        """How many numbers it holds, all copies together."""
        return math.prod(self.shape) * self.copies


@dataclass(frozen=True, slots=True)
class Count:
    """The parameters of an architecture under a fine-tuning method.  [count-share]

    `base` is the network alone, `added` what the method adds, `total` their sum; `trainable` + `frozen` = `total`;
    `share` = trainable / total; `saved` is what a file that stores the result of the training must hold.
    """

    architecture: Architecture
    method: str
    options: Mapping[str, Any]
    rows: tuple[Row, ...]

    def _sum(self, **wanted: bool) -> int:
        return sum(
            row.count for row in self.rows if all(getattr(row, name) is flag for name, flag in wanted.items())
        )

    @property
    def trainable(self) -> int:
        """Parameters that get a gradient."""
        return self._sum(trainable=True)

    @property
    def frozen(self) -> int:
        """Parameters that stay as they are."""
        return self._sum(trainable=False)

    @property
    def total(self) -> int:
        """All parameters present during training."""
        return self.base + self.added

    @property
    def base(self) -> int:
        """Parameters of the network alone."""
        return self._sum(added=False)

    @property
    def added(self) -> int:
        """Parameters that the method adds."""
        return self._sum(added=True)

    @property
    def saved(self) -> int:
        """Parameters that a file with the result must hold."""
        return self._sum(saved=True)

    @property
    def share(self) -> float:
        """Trainable over total."""
        return self.trainable / self.total

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Write it as plain numbers, lists and words, ready for JSON."""
        return {
            "architecture": self.architecture.name,
            "method": self.method,
            "options": {name: _plain(value) for name, value in self.options.items()},
            **{
                name: getattr(self, name)
                for name in ("trainable", "total", "frozen", "base", "added", "saved")
            },
            "share": self.share,
            "rows": [
                {
                    "name": row.name,
                    "shape": list(row.shape),
                    "copies": row.copies,
                    "count": row.count,
                    "trainable": row.trainable,
                    "added": row.added,
                }
                for row in self.rows
            ],
        }


def _plain(value: Any) -> Any:
    """Turn mappings and tuples into what JSON knows."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
