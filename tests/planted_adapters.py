"""Adapters with planted mistakes, where any process finds them, and small cases to run them on."""

import os
import signal
import time
from typing import ClassVar

import numpy as np

from lora_np.conformance.vectors.format import Case, Output, Tensor
from lora_np.errors import TargetError

W0 = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
X = np.array([[1.0, -2.0, 4.0], [0.5, 8.0, -1.0]])
B, A = np.array([[2.0], [-1.0]]), np.array([[1.0, 3.0, -0.5]])


def lora_case(
    number=1, *, dtype="float64", operation="forward", result="valid", error=None, memory="C", **config
):
    """A case of LoRA with alpha / r = 2, whose numbers are small and whose answers are exact.

    Y = X W0ᵀ + 2 (X Aᵀ) Bᵀ, by hand: W = W0 + 2 B A = [[5, 14, 1], [2, -1, 7]].
    """
    tensors = {"X": X, "W0": W0, "B": B, "A": A}
    outputs = {"Y": Output(np.array([[-19.0, 32.0], [113.5, -14.0]]), np.full((2, 2), 64.0), 8)}
    if operation == "merge":
        del tensors["X"]
        outputs = {"W": Output(np.array([[5.0, 14.0, 1.0], [2.0, -1.0, 7.0]]), np.full((2, 3), 16.0), 4)}
    return Case(
        id=f"lora/{operation}#{number}",
        method="lora",
        operation=operation,
        config={"rank": 1, "alpha": 2.0, **config},
        dtype=dtype,
        inputs={name: Tensor(x, dtype, memory) for name, x in tensors.items()},
        outputs=outputs if result != "invalid" else {},
        result=result,
        error=error,
        comment="small whole numbers",
        flags=("MissingScale",),
    )


class Right:
    """LoRA, right: the forward pass and merging."""

    name, version = "right", "1.0"
    capabilities = ("lora.*",)
    dtypes = ("float64", "float32", "float16", "bfloat16")
    options: ClassVar[dict] = {}

    def forward(self, method, config, t):
        s = config["alpha"] / config["rank"]
        return t["X"] @ t["W0"].T + s * (t["X"] @ t["A"].T) @ t["B"].T

    def merge(self, method, config, t):
        return t["W0"] + config["alpha"] / config["rank"] * t["B"] @ t["A"]


class Doubles(Right):
    """The same in double precision only."""

    dtypes = ("float64",)


class Planted(Right):
    """Right, unless config["mistake"] says otherwise."""

    name = "planted"

    def forward(self, method, config, t):
        Y = super().forward(method, config, t)
        return getattr(self, config.get("mistake", "none"))(Y, t)

    def none(self, Y, t):
        return Y

    def raises(self, Y, t):
        raise RuntimeError("no luck today")

    def leaves(self, Y, t):
        raise SystemExit(3)

    def not_claimed(self, Y, t):
        raise NotImplementedError("no such ranks")

    def hangs(self, Y, t):
        time.sleep(60)

    def swallows(self, Y, t):
        """Hangs, and catches what interrupts it, once."""
        try:
            time.sleep(60)
        except BaseException:
            time.sleep(60)

    def hangs_in_c(self, Y, t):
        return max(range(10**14))

    def crashes(self, Y, t):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)

    def exits(self, Y, t):
        print("so long", file=os.fdopen(os.dup(2), "w"), flush=True)
        os._exit(7)

    def wrong_shape(self, Y, t):
        return Y.T[:1]

    def wrong_dtype(self, Y, t):
        return Y.astype(np.float32)

    def whole_numbers(self, Y, t):
        return Y.astype(np.int64)

    def complex_numbers(self, Y, t):
        return Y.astype(complex)

    def wrong_type(self, Y, t):
        return Y.tolist()

    def nothing(self, Y, t):
        return None

    def mutates(self, Y, t):
        t["W0"][0, 0] += 1
        return Y

    def mutates_and_raises(self, Y, t):
        t["A"][0, 0] += 1
        raise RuntimeError("no luck today")

    def nan(self, Y, t):
        Y[0, 1] = np.nan
        return Y

    def infinite(self, Y, t):
        Y[1, 1] = -np.inf
        return Y

    def missing(self, Y, t):
        return {}

    def renamed(self, Y, t):
        return {"y": Y}

    def surplus(self, Y, t):
        return {"Y": Y, "Z": Y}

    def named(self, Y, t):
        return {"Y": Y}

    def one_wrong(self, Y, t):
        Y[1, 0] *= 1 + 1e-12
        return Y

    def junk(self, Y, t):
        print("debug: got here")
        os.write(1, b"{not json}\n")
        return Y


MISTAKES = {  # name of the mistake -> the verdict and what the sentence about it must say
    "none": ("pass", ""),
    "named": ("pass", ""),
    "junk": ("pass", ""),
    "raises": ("error", "raised RuntimeError: no luck today"),
    "leaves": ("error", "raised SystemExit"),
    "not_claimed": ("not-claimed", ""),
    "wrong_shape": ("fail", "Y has shape (1, 2), expected (2, 2)"),
    "wrong_dtype": ("fail", "Y has element type float32, expected float64"),
    "whole_numbers": ("fail", "Y has element type int64, expected float64"),
    "complex_numbers": ("fail", "returned Y of element type complex128, which holds no real numbers"),
    "wrong_type": ("fail", "returned list for Y, not a NumPy array"),
    "nothing": ("fail", "returned NoneType for Y, not a NumPy array"),
    "mutates": ("fail", "wrote into its inputs W0"),
    "mutates_and_raises": ("fail", "wrote into its inputs A"),
    "nan": ("fail", "Y[0, 1]: got nan, want 32"),
    "infinite": ("fail", "Y[1, 1]: got -inf, want -14"),
    "missing": ("fail", "Y is missing; returned were no outputs"),
    "renamed": ("fail", "Y is missing; returned were y; wrong too: y"),
    "surplus": ("fail", "Z is not expected; wanted are Y"),
    "one_wrong": ("fail", "Y[1, 0]: got 113.50000000011"),
}
LOST = {  # the same for mistakes after which there is no answer
    "hangs": "no answer within",
    "swallows": "no answer within",
    "hangs_in_c": "no answer within",
    "crashes": "the process was ended by SIGSEGV",
    "exits": "the process ended with status 7: 'so long'",
}


class Broken(Right):
    """Cannot be made."""

    def __init__(self):
        raise OSError("the library is not there")


class Refused(Right):
    """Cannot be made here, and says so in our words."""

    def __init__(self):
        raise TargetError("not today")


class Shifted(Doubles):
    """Merges one too many."""

    def merge(self, method, config, t):
        return super().merge(method, config, t) + np.ones((), dtype=t["W0"].dtype)


class Silent(Right):
    """Claims an operation that it lacks."""

    merge = None
