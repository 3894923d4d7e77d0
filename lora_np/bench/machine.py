"""What the bench ran on, and the two rates that bound everything: products per second and bytes per second.  Floor 6.

A floor is the larger of the time the arithmetic takes at the measured rate of a large matrix product and the time the
unavoidable traffic takes at the measured bandwidth of a copy.  Neither is a promise: thin products are slower.
"""

import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lora_np.bench.measure import in_turns

PACKAGES = ("lora-np", "numpy", "numba", "torch", "peft")


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor, its threads, the packages, and the measured rates in float32."""

    processor: str
    cores: int
    blas: str
    blas_threads: int
    kernel_threads: int
    python: str
    versions: dict[str, str | None]
    gemm_gflops: float
    copy_gbytes: float

    def floor_ms(self, flops: float, bytes_moved: float) -> float:
        """Bound a time from below: the arithmetic or the traffic, whichever takes longer.

        >>> Machine("", 2, "", 2, 2, "", {}, gemm_gflops=100.0, copy_gbytes=10.0).floor_ms(1e9, 2e8)
        20.0
        """
        return max(flops / self.gemm_gflops, bytes_moved / self.copy_gbytes) / 1e6

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain types, for JSON."""
        return asdict(self)


def look(*, budget_s: float = 2.0) -> Machine:
    """Describe this machine and measure its two rates.

    >>> look(budget_s=0.0).gemm_gflops > 0
    True
    """
    gemm, copy = _rates(budget_s)
    blas, threads = blas_and_threads()
    return Machine(
        processor=_processor(),
        cores=_cores(),
        blas=blas,
        blas_threads=threads,
        kernel_threads=_kernel_threads(),
        python=platform.python_version(),
        versions={name: _version(name) for name in PACKAGES},
        gemm_gflops=gemm,
        copy_gbytes=copy,
    )


def blas_and_threads() -> tuple[str, int]:
    """Name NumPy's BLAS and how many threads it uses."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        return "unknown", _cores()
    mine = next((pool for pool in pools if "numpy" in str(pool.get("filepath"))), pools[0])
    return f"{mine['internal_api']} {mine.get('version') or ''}".strip(), int(mine["num_threads"])


def _rates(budget_s: float) -> tuple[float, float]:
    """Measure a product of 1024² matrices, in GFLOP/s, and a copy of 64 MB, in GB/s read and written."""
    n = 1024
    M, out = np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    source, target = np.ones(2**24, np.float32), np.empty(2**24, np.float32)
    fastest = in_turns(
        {"gemm": lambda: np.matmul(M, M, out=out), "copy": lambda: np.copyto(target, source)},
        budget_s=budget_s,
    )
    return 2 * n**3 / fastest["gemm"] / 1e6, 2 * source.nbytes / fastest["copy"] / 1e6


def _processor() -> str:
    """Name the processor as the system does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kernel_threads() -> int:
    """Count the threads of compiled kernels; 1 where there are none."""
    from lora_np.backends import best_backend

    if best_backend().name != "numba":
        return 1
    from lora_np.backends.numba_threads import workers

    return workers()


def _version(package: str) -> str | None:
    """Return an installed package's version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
