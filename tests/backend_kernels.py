"""Every compiled kernel of the backends, and a way to run all of them as the plain Python they are written in."""

import contextlib
from unittest import mock

MODULES = ("numba_low_rank", "numba_importance", "numba_optim")


def kernels():
    """Map each kernel module to its compiled functions by name."""
    import importlib

    found = {}
    for name in MODULES:
        module = importlib.import_module(f"lora_np.backends.{name}")
        found[module] = {key: value for key, value in vars(module).items() if hasattr(value, "py_func")}
    return found


@contextlib.contextmanager
def as_python(active=True):
    """Run every kernel uncompiled, as its `.py_func`."""
    with contextlib.ExitStack() as stack:
        for module, functions in kernels().items() if active else ():
            for key, function in functions.items():
                stack.enter_context(mock.patch.object(module, key, function.py_func))
        yield
