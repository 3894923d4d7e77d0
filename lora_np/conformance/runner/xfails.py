"""Expected failures: case ids with a reason and an end, kept by the implementer.  Floor 6.

    ["lora/forward#17"]
    reason = "the scale is kept in float32"
    until = "2027.05"                        # the last release of the vectors for which this holds

They are strict: a case that passes though it is expected to fail, fails the run, and so does an entry that names no
case or has expired.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lora_np.conformance.vectors.format import SUITE
from lora_np.errors import ConfigError, XfailsFileError

_KEYS = ("reason", "until")
_FIX = 'write ["lora/forward#17"], then reason = "..." and until = "2027.05" on lines of their own'


class Expected(NamedTuple):
    """Why a case fails, and the last release of the vectors for which that is accepted ("" for no end)."""

    reason: str
    until: str = ""

    def expired(self, suite: str = SUITE) -> bool:
        """Tell whether a release of the vectors is later than the end.

        >>> Expected("float32 scale", "2027.05").expired("2027.11")
        True
        """
        return bool(self.until) and _release(suite) > _release(self.until)


def _release(text: str) -> tuple[int, int]:
    year, month = text.split(".")[:2]
    return int(year), int(month)


def read_xfails(path: Path) -> dict[str, Expected]:
    """Read a file of expected failures.  Raises `XfailsFileError` with path, line or entry, and how to mend it."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise XfailsFileError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise XfailsFileError(f"{path} is not UTF-8 text: byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise XfailsFileError(f"{path} is not TOML: {error}", fix=_FIX) from None
    except RecursionError:
        raise XfailsFileError(f"{path} is nested too deeply", fix=_FIX) from None
    return {case_id: _entry(path, text, case_id, stored) for case_id, stored in content.items()}


def _entry(path: Path, text: str, case_id: str, stored: Any) -> Expected:
    """Take one entry, or raise naming its line."""
    line = next((n for n, one in enumerate(text.splitlines(), 1) if case_id in one), 0)
    where = f"{path}, line {line}, entry {case_id!r}"
    if not re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", case_id):
        raise XfailsFileError(f"{where}: not the id of a case, such as lora/forward#17", fix=_FIX)
    if not isinstance(stored, dict):
        raise XfailsFileError(f"{where}: expected a table, got {type(stored).__name__}", fix=_FIX)
    for key in _KEYS:
        if not isinstance(stored.get(key), str) or not stored[key].strip():
            found = f"got {stored[key]!r}" if key in stored else "it has none"
            raise XfailsFileError(f"{where}: {key} must be a text that says something, {found}", fix=_FIX)
    if unknown := sorted(set(stored) - set(_KEYS)):
        raise XfailsFileError(f"{where}: unknown key {unknown[0]!r}", fix=_FIX)
    if not re.fullmatch(r"\d{4}\.(0[1-9]|1[0-2])", stored["until"]):
        raise XfailsFileError(
            f"{where}: until must be a release of the vectors, year and month, got {stored['until']!r}",
            fix=_FIX,
        )
    return Expected(stored["reason"], stored["until"])


def require_expected(failures: Mapping[str, str | Expected] | None) -> dict[str, Expected]:
    """Take expected failures as {id: reason}.  Raises `ConfigError` where a reason says nothing."""
    found = {}
    for case_id, reason in (failures or {}).items():
        expected = reason if isinstance(reason, Expected) else Expected(reason)
        if not isinstance(expected.reason, str) or not expected.reason.strip():
            raise ConfigError(
                f"expected_failures[{case_id!r}] must say why, got {expected.reason!r}", fix="give a reason"
            )
        found[case_id] = expected
    return found


def complaints(expected: Mapping[str, Expected], known: Collection[str], suite: str = SUITE) -> list[str]:
    """Name the entries that have expired or belong to no case."""
    expired = [
        f"{case_id} was expected to fail until {entry.until}, and this is {suite}: mend it or give it a new end"
        for case_id, entry in expected.items()
        if entry.expired(suite)
    ]
    unknown = [
        f"{case_id} is expected to fail, but there is no such case"
        for case_id in expected
        if case_id not in known
    ]
    return expired + unknown
