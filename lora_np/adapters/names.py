"""Names of adapters: which may be given, and which are meant.  Floor 2.

A name becomes a part of tensor names and of file names, so it holds no dot, no slash and nothing unprintable.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from lora_np.errors import AdapterNameError, StateError, UnknownAdapterError

_FORBIDDEN = './\\:*?"<>|'


def require_new_name(name: Any, taken: Iterable[str]) -> None:
    """Raise `AdapterNameError` unless `name` may be given to a new adapter; name the character that offends.

    >>> require_new_name("digits-2", taken=["digits"])
    """
    taken = list(taken)
    if not isinstance(name, str):
        raise AdapterNameError(
            f"an adapter's name must be a str, got {type(name).__name__} {name!r}",
            fix="name it, e.g. 'digits'",
        )
    if not name:
        raise AdapterNameError("an adapter's name is empty", fix="name it, e.g. 'digits'")
    for place, character in enumerate(name):
        if character in _FORBIDDEN or not character.isprintable():
            raise AdapterNameError(
                f"the adapter name {name!r} holds {character!r} at position {place}",
                fix="names go into tensor names and paths: use letters, digits, '-' and '_'",
            )
    if name in taken:
        raise AdapterNameError(
            f"an adapter named {name!r} exists already; there are {taken}",
            fix="delete it first, or choose another name",
        )


def require_known(name: Any, known: Iterable[str]) -> None:
    """Raise `UnknownAdapterError` unless `name` is there; suggest the nearest.

    >>> require_known("digits", known=["digits"])
    """
    known = list(known)
    if not isinstance(name, str) or name not in known:
        close = difflib.get_close_matches(str(name), known, n=1)
        raise UnknownAdapterError(
            f"no adapter is named {name!r}; there are {known}",
            fix=f"did you mean {close[0]!r}?" if close else "",
        )


def require_distinct(names: Any, known: Iterable[str]) -> tuple[str, ...]:
    """Return `names`, one name or a list of them, as a tuple of known names, none of them twice.

    >>> require_distinct("a", known=["a", "b"]), require_distinct(["b", "a"], known=["a", "b"])
    (('a',), ('b', 'a'))
    """
    known = list(known)
    listed = (names,) if isinstance(names, str) else names
    if not isinstance(listed, (list, tuple)):
        raise UnknownAdapterError(f"names must be a list of adapter names, got {type(names).__name__}")
    for name in listed:
        require_known(name, known)
    for name in listed:
        places = [place for place, other in enumerate(listed) if other == name]
        if len(places) > 1:
            raise StateError(
                f"adapter {name!r} is named {len(places)} times, at positions {places}", fix="name it once"
            )
    return tuple(listed)
