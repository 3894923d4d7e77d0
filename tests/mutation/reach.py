"""Which functions a piece of work enters."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any


@contextmanager
def entered(codes: Mapping[CodeType, str]) -> Iterator[set[str]]:
    """Collect the names of those `codes` that are called inside the block, in any thread started there."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code in codes:
            found.add(codes[frame.f_code])

    previous = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(previous)
        threading.setprofile(None)
