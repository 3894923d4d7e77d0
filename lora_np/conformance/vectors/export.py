"""Writing the vectors to a directory of the user's: whole, or not at all.  Floor 6."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lora_np.conformance.vectors.format import shipped
from lora_np.conformance.vectors.integrity import MANIFEST, SUMS, checksum_problems, files_in
from lora_np.errors import ConfigError, VectorFileError


def export(directory: Path) -> int:
    """Copy the shipped vectors to `directory`, and tell how many files that is.

    A directory that holds an earlier export is replaced; one that holds anything else is refused, and so is a file.
    The copy is made beside it, checked, and then takes its name.  Raises `ConfigError`, `VectorFileError`.
    """
    _require_free(directory)
    parent = directory.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=parent, prefix=f".{directory.name}."))
    except OSError as error:
        raise ConfigError(f"cannot write beside {directory}: {error.strerror}") from None
    try:
        shutil.copytree(shipped(), copy, dirs_exist_ok=True)
        problem = next(checksum_problems(copy), None)
        if problem is not None:
            raise VectorFileError(f"the shipped vectors are damaged: {problem}", fix="install lora-np again")
        copy.chmod(0o777 & ~_umask())
        _take_place(copy, directory)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    return len(files_in(directory)) + 1


def _require_free(directory: Path) -> None:
    """Raise unless nothing would be lost."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise ConfigError(f"{directory} is not a directory", fix="name one that does not exist yet")
    if directory.is_dir() and any(directory.iterdir()):
        theirs = {path.name for path in directory.iterdir()}
        if not {MANIFEST, SUMS} <= theirs:
            raise ConfigError(
                f"{directory} is not empty and holds no export",
                fix="name a directory that does not exist yet",
            )
        extra = next((problem for problem in checksum_problems(directory) if "not listed" in problem), None)
        if extra is not None:
            raise ConfigError(f"{extra}, so it is not ours to replace", fix="move it away first")


def _take_place(copy: Path, directory: Path) -> None:
    """Let the finished copy take the name; what was there goes away only then."""
    if not directory.exists():
        copy.rename(directory)
        return
    old = Path(tempfile.mkdtemp(dir=copy.parent, prefix=f".{directory.name}.old."))
    directory.rename(old / "old")
    try:
        copy.rename(directory)
    except BaseException:
        (old / "old").rename(directory)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    """Read the permissions mask; there is no other way than to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
