r"""Match module names with patterns from a config, in time linear in the name.  Floor 5.

PEFT resolves `rank_pattern` and `alpha_pattern` with ``re.match(rf"(.*\.)?({key})$", name)``.  A pattern that comes
with a file may be made so that backtracking never ends, so Python's `re` never sees it.
"""

from __future__ import annotations


def matches(pattern: str, name: str) -> bool:
    """Tell whether a module name ends in `pattern`, at a dot.

    >>> matches("q_proj", "layers.0.q_proj"), matches("q_proj", "layers.0.kq_proj")
    (True, False)
    """
    return name == pattern or name.endswith("." + pattern)
