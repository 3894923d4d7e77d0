"""Rows split over one shared thread pool around kernels that release the GIL.  Floor 3.

No kernel of this package is compiled with ``parallel=True``: Numba's `workqueue` threading layer ends the whole
process when two threads enter it at once, and its OpenMP layer does not survive a fork.  A plain kernel compiled with
`nogil` may be entered by any number of threads, so two of them on two halves of the rows are as fast and always safe.
The pool has NUMBA_NUM_THREADS workers (all cores unless that variable says less), is made at first use, and is made
again in a forked child.  A kernel never submits work itself, so waiting cannot deadlock.
"""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np
from numba import config, njit

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile element by element arithmetic: nothing reordered, cached on disk, free of the GIL."""
    return njit(cache=True, nogil=True)(function)  # type: ignore[return-value]


def summing_kernel(function: F) -> F:
    """Compile a kernel that sums: sums may be reordered and fused, so they vectorize; a NaN that enters comes out."""
    return njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function)  # type: ignore[return-value]


def kernels_take(*arrays: object) -> bool:
    """Tell whether kernels can run on these: plain NumPy arrays of float32 or float64, of whatever layout."""
    return all(type(x) is np.ndarray and x.dtype in (np.float32, np.float64) for x in arrays)


def workers() -> int:
    """Return how many threads may run kernels at once."""
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Make the pool of this process; its threads are started as they are needed."""
    return ThreadPoolExecutor(max_workers=workers(), thread_name_prefix="lora_np")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork: the child makes its own pool
    os.register_at_fork(after_in_child=_pool.cache_clear)


def over_slices(task: Callable[[int, int], T], n: int, *, least: int) -> list[T]:
    """Call `task(start, stop)` on slices that cover range(n), `least` or more each; return the results in order.

    The calling thread takes the last slice, so a small job never touches the pool.

    >>> over_slices(lambda start, stop: (start, stop), 5, least=10)
    [(0, 5)]
    """
    parts = max(1, min(workers(), n // max(least, 1)))
    cuts = [n * part // parts for part in range(parts + 1)]
    futures = [_pool().submit(task, *pair) for pair in itertools.pairwise(cuts[:-1])]
    try:
        last = task(cuts[-2], cuts[-1])
    finally:
        wait(futures)  # nobody may still be writing when this returns, even by an error
    return [*(future.result() for future in futures), last]
