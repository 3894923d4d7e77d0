"""What a report says of the machine: versions, the linear algebra library, processor and threads.  Floor 6."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from lora_np.bench.machine import blas_and_threads
from lora_np.conformance.runner.adapter import own_version


def environment() -> dict[str, str]:
    """Describe this machine and what computes on it; what cannot be found out is left out.

    >>> sorted(environment())[:3]
    ['blas', 'cpu', 'lora_np']
    """
    blas, threads = blas_and_threads()
    found = {
        "lora_np": own_version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "cpu": _cpu(),
        "threads": f"{threads} of the linear algebra library, {os.cpu_count() or 1} processors",
        "system": platform.platform(),
    }
    return {key: value for key, value in found.items() if value}


def _cpu() -> str:
    """Name the processor."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
