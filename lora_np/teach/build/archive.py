"""One zip for a machine without internet: the students' files and how to use them.  Floor 6.

The same files give the same bytes, whenever and wherever they are packed: the archive stores, it does not compress.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from textwrap import dedent

TOP = "lora-np-tutorials"
"""The folder that everything in the archive lies in."""

READ_ME = dedent("""\
    lora_np: the tutorials

    scripts/     one file a lesson; open it in any editor, fill in the exercises, run it with Python
    notebooks/   the same lessons for Jupyter; take one or the other

    On a machine where lora_np is installed, nothing else is needed and no network is used:

        python scripts/01_rank.py           run a lesson; every check says what holds and what fails
        lora-np tutorials status scripts    what is solved, and what comes next
        lora-np tutorials watch scripts     the same, again on every save
        lora-np app                         the rooms that the lessons link to

    To install lora_np on a machine without internet, carry the packages there. On a machine with internet, with the
    same system and the same version of Python:

        pip download "lora-np[app,tutorials]" --dest packages

    Copy the folder `packages` beside this file. On the machine without internet:

        python -m venv lora-np-environment
        lora-np-environment/bin/pip install --no-index --find-links packages "lora-np[app,tutorials]"

    (On Windows: lora-np-environment\\Scripts\\pip.)
    """)


def archive(files: Mapping[str, bytes]) -> bytes:
    """Pack files, by their path below the top folder, with the instructions.

    >>> archive({"a.py": b"1"}) == archive({"a.py": b"1"})
    True
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for path, content in sorted({"README.txt": READ_ME.encode(), **files}.items()):
            entry = zipfile.ZipInfo(f"{TOP}/{path}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # the same on every system
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content)
    return packed.getvalue()


__all__ = ["READ_ME", "TOP", "archive"]
