"""Threads and the cache of compiled kernels: no threading layer, no fork, no writable package needed."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from lora_np.backends import numba_low_rank, numba_threads
from lora_np.backends.numba_backend import BACKEND, warm
from tests.backend_kernels import kernels

ROOT = Path(__file__).parents[1]

FOUR_THREADS = """
import threading
import numpy as np
from lora_np import LoraParams, backward, forward
from lora_np.backends import get_backend
from lora_np.prune import Adapted
from lora_np.prune.gradients import estimated_product
numba = get_backend("numba")
rng = np.random.default_rng(0)
X, W0, gY = rng.normal(size=(300, 200)), rng.normal(size=(250, 200)), rng.normal(size=(300, 250))
p = LoraParams(rng.normal(size=(250, 4)), rng.normal(size=(4, 200)))
Y, Z = forward(X, W0, p, scale=0.5)
gX, g = backward(gY, X, Z, W0, p, scale=0.5)
failures = []

def work():
    for _ in range(10):
        mine, Z1 = numba.forward(X, W0, p, scale=0.5)
        mineX, h = numba.backward(gY, X, Z1, W0, p, scale=0.5)
        numba.line_sums(Adapted(W0, p, 0.5), estimated_product(p, h), axis=1, form="sum-abs")
        dots = numba.group_dot(gY, Y)
        close = np.allclose(mine, Y) and np.allclose(mineX, gX) and np.allclose(dots, (gY * Y).sum(0))
        if not close:
            failures.append(1)

threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not failures
print("done")
"""


def run(code, *, cwd=ROOT, **environment):
    """Run code in a fresh interpreter; return what it printed, or fail with what it complained of."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_four_threads_enter_the_kernels_at_once_under_any_threading_layer(layer):
    """The `workqueue` layer ends the process when two threads enter a parallel kernel: there is none."""
    assert run(FOUR_THREADS, NUMBA_THREADING_LAYER=layer) == ["done"]


def test_no_kernel_is_parallel_and_every_one_frees_the_gil_and_is_cached():
    compiled = [kernel for functions in kernels().values() for kernel in functions.values()]
    assert len(compiled) >= 6
    for kernel in compiled:
        assert not kernel.targetoptions.get("parallel")
        assert kernel.targetoptions["nogil"]
        assert not {"nnan", "ninf", "fast"} & set(kernel.targetoptions.get("fastmath") or ())
        assert type(kernel._cache).__name__ == "FunctionCache"


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("least", [1, 3, 1000])
def test_slices_cover_the_range_once_and_in_order(n, least, monkeypatch):
    monkeypatch.setattr(numba_threads, "workers", lambda: 4)
    slices = numba_threads.over_slices(lambda start, stop: (start, stop), n, least=least)
    assert [i for start, stop in slices for i in range(start, stop)] == list(range(n))
    assert 1 <= len(slices) <= 4
    assert all(stop - start >= min(least, n) for start, stop in slices)


def test_work_is_spread_over_threads_and_an_error_waits_for_the_others(monkeypatch):
    monkeypatch.setattr(numba_threads, "workers", lambda: 2)
    here, seen, done = threading.get_ident(), set(), []

    def task(start, stop):
        seen.add(threading.get_ident())
        if threading.get_ident() == here:
            raise ZeroDivisionError
        done.append(stop)

    with pytest.raises(ZeroDivisionError):
        numba_threads.over_slices(task, 10, least=1)
    assert len(seen) == 2
    assert done == [5]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_makes_its_own_pool():
    code = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from lora_np.backends import numba_threads as t
t.workers = lambda: 2
assert t.over_slices(lambda a, b: b, 10, least=1) == [5, 10]
child = os.fork()
if child == 0:
    os._exit(0 if t.over_slices(lambda a, b: b, 10, least=1) == [5, 10] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("done")
"""
    assert run(code) == ["done"]


def test_a_read_only_package_is_cached_elsewhere(tmp_path):
    """An installation that the user cannot write to: Numba falls back to the user's own cache folder."""
    site, home = tmp_path / "site", tmp_path / "cache"
    shutil.copytree(ROOT / "lora_np", site / "lora_np", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "lora_np" / "backends" / "__pycache__").write_text("not a folder: nothing can be cached here")
    code = """
import numpy as np, lora_np
from lora_np.backends.numba_low_rank import add_low_rank
print(lora_np.__file__, add_low_rank(np.zeros((2, 2)), np.ones((2, 1)), np.ones((2, 1)), scale=1.0).sum())
"""
    found = run(code, cwd=site, XDG_CACHE_HOME=str(home), HOME=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    assert found == [str(site / "lora_np" / "__init__.py"), "4.0"]
    assert list(home.rglob("*.nbi"))


def test_warm_compiles_what_the_first_calls_need(monkeypatch):
    warm(dtypes=("float32",))
    before = len(numba_low_rank._add_rows.signatures)
    BACKEND.add_low_rank(
        np.zeros((3, 3), np.float32), np.ones((3, 1), np.float32), np.ones((3, 1), np.float32), scale=1.0
    )
    assert len(numba_low_rank._add_rows.signatures) == before
