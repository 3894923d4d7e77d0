"""Getting a backend by its name, and the best one that this machine has.  Floor 3.

Nothing is remembered: no current backend, no switch.  ``LORA_NP_DISABLE_NUMBA=1`` in the environment makes Numba
count as missing, to see that everything works without it.
"""

import importlib
import importlib.util
import os

from lora_np import checks
from lora_np.backends.record import REFERENCE, Backend
from lora_np.errors import BackendError

BACKENDS = ("numpy", "numba", "cupy")
_INSTALL = {
    "numba": "pip install numba (and leave LORA_NP_DISABLE_NUMBA unset)",
    "cupy": 'pip install "lora-np[gpu-cuda12]" or "lora-np[gpu-cuda13]", on a machine with an NVIDIA GPU',
}


def get_backend(name: str) -> Backend:
    """Return the record of functions of one backend.

    Raises `ConfigError` for a name that is none of `BACKENDS`, `BackendError` where its package is missing.

    >>> get_backend("numpy").forward is REFERENCE.forward
    True
    """
    checks.require_one_of("backend", name, BACKENDS)
    if name == "numpy":
        return REFERENCE
    try:
        if _hidden(name):
            raise ImportError("LORA_NP_DISABLE_NUMBA is set")
        backend: Backend = importlib.import_module(f"lora_np.backends.{name}_backend").BACKEND
    except ImportError as error:
        raise BackendError(f"the {name} backend cannot be loaded: {error}", fix=_INSTALL[name]) from error
    return backend


def available_backends() -> tuple[str, ...]:
    """Name the backends whose package is installed; whether it also loads, `get_backend` tells.

    >>> "numpy" in available_backends()
    True
    """
    return tuple(
        name
        for name in BACKENDS
        if name == "numpy" or (not _hidden(name) and importlib.util.find_spec(name) is not None)
    )


def best_backend() -> Backend:
    """Return the fastest backend for NumPy arrays: Numba's where it loads, else the reference.

    Never CuPy's: its arrays live on the GPU, so whoever has made some has chosen already.

    >>> best_backend().name in ("numba", "numpy")
    True
    """
    try:
        return get_backend("numba")
    except BackendError:
        return REFERENCE


def _hidden(name: str) -> bool:
    """Tell whether the environment says that a backend's package counts as missing."""
    return name == "numba" and os.environ.get("LORA_NP_DISABLE_NUMBA", "0") not in ("", "0")
