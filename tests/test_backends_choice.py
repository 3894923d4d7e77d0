"""Getting a backend by name, and doing without Numba."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lora_np import lora, merging, optim, prune, rank
from lora_np.backends import BACKENDS, REFERENCE, Backend, available_backends, best_backend, get_backend
from lora_np.errors import BackendError, ConfigError

ROOT = Path(__file__).parents[1]


def run(code, **environment):
    """Run code in a fresh interpreter, warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_numpy_backend_is_the_reference_itself():
    backend = get_backend("numpy")
    assert backend is REFERENCE
    assert backend.overrides == ()
    for module, names in {
        lora: ("forward", "backward", "forward_via_weight", "backward_via_weight"),
        merging: ("merge", "unmerge"),
        prune: ("importance", "line_sums", "group_dot", "group_dot_columns"),
        optim: ("sgd_step", "momentum_step", "adam_step", "adamw_step"),
        rank: ("matrix_rank", "rank_factorization", "svd"),
    }.items():
        for name in names:
            assert getattr(backend, name) is getattr(module, name)


def test_a_record_is_frozen_and_whole():
    with pytest.raises(AttributeError):
        REFERENCE.forward = None
    assert all(callable(function) for function in REFERENCE[1:])
    assert pickle.loads(pickle.dumps(REFERENCE)) == REFERENCE


@pytest.mark.parametrize(("typo", "meant"), [("nunba", "numba"), ("nump", "numpy"), ("cuppy", "cupy")])
def test_a_typo_lists_the_backends_and_names_the_nearest(typo, meant):
    """Bad input, row 43."""
    with pytest.raises(ConfigError) as raised:
        get_backend(typo)
    message = str(raised.value)
    assert all(repr(name) in message for name in BACKENDS)
    assert typo in message
    assert f"did you mean {meant!r}" in message


@pytest.mark.parametrize("nonsense", [None, 3, ["numba"]])
def test_a_name_of_another_type_is_refused(nonsense):
    with pytest.raises(ConfigError, match="backend"):
        get_backend(nonsense)


def test_numba_overrides_what_it_makes_faster_and_nothing_else():
    pytest.importorskip("numba")
    backend = get_backend("numba")
    assert isinstance(backend, Backend)
    assert {"forward", "backward", "add_low_rank", "importance", "group_dot", "adam_step"} <= set(
        backend.overrides
    )
    assert backend.merge is merging.merge
    assert best_backend() is backend
    assert "numba" in available_backends()


def test_a_missing_package_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "lora_np.backends.cupy_backend", raising=False)
    assert "cupy" not in available_backends()
    with pytest.raises(BackendError, match=r"lora-np\[gpu-cuda12\]") as raised:
        get_backend("cupy")
    assert isinstance(raised.value, ImportError)


def test_the_environment_can_hide_numba(monkeypatch):
    monkeypatch.setenv("LORA_NP_DISABLE_NUMBA", "1")
    assert "numba" not in available_backends()
    assert best_backend() is REFERENCE
    with pytest.raises(BackendError, match="LORA_NP_DISABLE_NUMBA"):
        get_backend("numba")
    monkeypatch.setenv("LORA_NP_DISABLE_NUMBA", "0")
    pytest.importorskip("numba")
    assert best_backend().name == "numba"


def test_everything_works_where_numba_cannot_be_imported():
    code = """
import sys
sys.modules["numba"] = None
import numpy as np
from lora_np.backends import available_backends, best_backend
from lora_np.bench import time_linear
backend = best_backend()
from lora_np import init
p = init(np.random.default_rng(0), 3, 4, 2)
Y, Z = backend.forward(np.ones((5, 4)), np.eye(3, 4), p, scale=1.0)
assert Y.shape == (5, 3)
assert time_linear(4, 4, 4, 2, budget_s=0.0)["lora-2"].forward_ms > 0
print(backend.name, *available_backends())
"""
    assert run(code)[:2] == ["numpy", "numpy"]


def test_importing_the_backends_and_the_bench_loads_no_optional_package():
    code = "import sys, lora_np.backends, lora_np.bench.run; print(*{m.split('.')[0] for m in sys.modules})"
    assert not set(run(code)) & {"numba", "cupy", "torch", "peft", "rich", "typer", "threadpoolctl"}


def test_the_reference_backend_runs_on_every_library(library, rng):
    arrays = [library.asarray(rng.integers(-3, 4, size=shape).astype(float)) for shape in ((5, 4), (3, 4))]
    p = lora.LoraParams(*(library.asarray(np.ones(shape)) for shape in ((3, 2), (2, 4))))
    Y, Z = best_backend().forward(*arrays, p, scale=0.5)
    X, W0 = (library.to_numpy(x) for x in arrays)
    assert (library.to_numpy(Y) == X @ (W0 + 1.0).T).all()
    assert (library.to_numpy(Z) == X.sum(axis=1, keepdims=True)).all()
