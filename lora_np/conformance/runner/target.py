"""The two ways to reach a target: in a process of its own, or in this one.  Floor 6.

A process can be killed whatever hangs in it, so it is taken wherever the target can be made there: by its name, or
because the adapter can be pickled.  An adapter that exists only here (a class in a notebook, in a function) is called
in this process; a hang in its Python code is interrupted, one in C code is not.
"""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from lora_np.conformance.runner.adapter import SHIPPED, Adapter, find_adapter, require_adapter
from lora_np.conformance.runner.answer import Answer
from lora_np.conformance.runner.calling import call
from lora_np.conformance.runner.remote import Claims, Remote
from lora_np.conformance.runner.serve import command_for, environment
from lora_np.conformance.vectors.format import Case
from lora_np.errors import TargetError

LIMIT = 10.0
"""Seconds for one case, unless told otherwise."""


class Target(Protocol):
    """What answers cases, and what it says of itself."""

    claims: Claims

    def ask(self, case: Case) -> Answer:
        """Ask for the outputs of a case; raises nothing for what the target does."""

    def close(self) -> None:
        """End what was started."""


class Here:
    """An adapter called in this process."""

    def __init__(self, adapter: Adapter, *, limit: float = LIMIT) -> None:
        self.adapter, self.limit = require_adapter(adapter), limit
        self.claims = Claims(
            str(adapter.name),
            str(adapter.version),
            tuple(sorted(adapter.capabilities)),
            tuple(sorted(adapter.dtypes)),
            dict(adapter.options),
        )

    def ask(self, case: Case) -> Answer:
        """Call the adapter."""
        return call(self.adapter, case, limit=self.limit)

    def close(self) -> None:
        """Nothing was started."""


def reach(target: str | Adapter, *, isolated: bool | None = None, limit: float = LIMIT) -> Target:
    """Reach a target by its name, or an adapter; `isolated` insists on a process of its own, or on this one.

    Raises `TargetError`.
    """
    if isolated is False:
        return Here(find_adapter(target) if isinstance(target, str) else target, limit=limit)
    if not isinstance(target, str):
        require_adapter(target)
        if not _can_travel(target):
            if isolated:
                raise TargetError(
                    f"{type(target).__qualname__} cannot be made in another process",
                    fix="define the class at the top of a module that can be imported",
                )
            return Here(target, limit=limit)
    elif ":" not in target and target not in SHIPPED:
        find_adapter(target)  # raises, with the list of names
    return Remote(command_for(target), limit=limit, env=environment())


def reach_command(command: str | Sequence[str], *, limit: float = LIMIT) -> Remote:
    """Start a command that speaks the protocol; a text is split as a shell would.  Raises `TargetError`."""
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise TargetError(f"cannot split the command {command!r}: {error}") from None
    if not words:
        raise TargetError("the command is empty", fix='name a program, e.g. --command "node client.js"')
    return Remote(words, limit=limit)


def _can_travel(adapter: Adapter) -> bool:
    """Tell whether an adapter arrives whole in another process, where there is no ``__main__`` of ours."""
    kind = type(adapter)
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        return False
    with suppress(Exception):
        pickle.dumps(adapter)
        return True
    return False
