"""One line of the bench: times of the contestants, the floor below them, and whether targets are met.  Floor 6."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that ought to be reached: `what` of the two times, at most or at least `limit`."""

    what: str
    over: str
    limit: float
    at_most: bool = True

    def judge(self, times: Mapping[str, float | None]) -> dict[str, Any] | None:
        """Compare two times of a row; None where one of them was not measured.

        >>> Target("numpy", "ours", 3.0, at_most=False).judge({"numpy": 9.0, "ours": 2.0})
        {'target': 'numpy / ours >= 3', 'got': 4.5, 'met': True, 'off': 0.0}
        """
        mine, theirs = times.get(self.what), times.get(self.over)
        if mine is None or theirs is None or theirs == 0:
            return None
        got = mine / theirs
        met = got <= self.limit if self.at_most else got >= self.limit
        sign = "<=" if self.at_most else ">="
        off = 0.0 if met else abs(got / self.limit - 1)
        return {
            "target": f"{self.what} / {self.over} {sign} {self.limit:g}",
            "got": got,
            "met": met,
            "off": off,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one case at one shape; a time is None where the contestant is missing or has no part."""

    case: str
    shape: str
    ours_ms: float
    numpy_ms: float | None = None
    torch_ms: float | None = None
    peft_ms: float | None = None
    frozen_ms: float | None = None
    torch_frozen_ms: float | None = None
    unpacked_ms: float | None = None
    floor_ms: float | None = None
    extra_bytes: int | None = None
    dtype: str = "float32"
    threads: int = 1
    targets: tuple[Target, ...] = ()
    bound: str = ""
    words: str = ""

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """The judged targets, without those whose contestants are missing."""
        times = {name: getattr(self, f"{name}_ms") for name in ("ours", "numpy", "torch", "peft", "frozen")}
        return [verdict for target in self.targets if (verdict := target.judge(times)) is not None]

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain types, for JSON; `met` is None where the row has no target that can be judged.

        >>> row = Row(
        ...     "update", "2x2", ours_ms=1.0, numpy_ms=4.0, targets=(Target("numpy", "ours", 3.0, False),)
        ... )
        >>> row.as_dict()["met"], row.as_dict()["torch_ms"]
        (True, None)
        """
        verdicts = self.verdicts
        met = all(verdict["met"] for verdict in verdicts) if verdicts else None
        return asdict(self) | {
            "target": "; ".join(verdict["target"] for verdict in verdicts) or None,
            "targets": verdicts,
            "met": met,
        }
