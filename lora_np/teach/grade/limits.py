"""What one submission may take, and what it took.  Floor 6.  `take` is for the submission's own process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lora_np.errors import ConfigError

MOST_FILE_BYTES = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one submission may take: seconds in all, in a cell, in a call of an answer; bytes of memory."""

    seconds: float = 60.0
    cell_seconds: float = 30.0
    call_seconds: float = 5.0
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 36_000:
            raise ConfigError(f"the time limit is {self.seconds} s", fix="give 1 to 36000 seconds")
        if not 256 <= self.memory_mb <= 1_000_000:
            raise ConfigError(
                f"the memory limit is {self.memory_mb} MB", fix="give at least 256: NumPy needs 150"
            )


@dataclass
class Usage:
    """What a submission used; the peak is of processes that did not end themselves, on Linux."""

    printed_bytes: int = 0
    peak_mb: float = 0.0
    cpu_seconds: float = 0.0


def take(*, memory_bytes: int, cpu_seconds: int) -> None:
    """Set the limits of the system for this process; what a system does not know is left out."""
    import resource

    wanted: Iterable[tuple[str, int, int]] = (
        ("RLIMIT_AS", memory_bytes, memory_bytes),
        ("RLIMIT_CPU", cpu_seconds, cpu_seconds + 1),
        ("RLIMIT_FSIZE", MOST_FILE_BYTES, MOST_FILE_BYTES),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_NOFILE", 128, 128),
    )
    for name, soft, hard in wanted:
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):  # macOS does not hold the address space
            continue
