"""Which file of a checkpoint holds which tensor, and that it lies where it may.  Floor 5.

A large checkpoint is several files and an index, {"weight_map": {tensor: file}}.  The file names come from the index,
so they must be plain names of files in its folder; a link may lead from there into the blobs of the same Hugging Face
cache entry, and nowhere else.
"""

from __future__ import annotations

import os
from pathlib import Path

from lora_np.errors import (
    AdapterFileError,
    HeaderJSONError,
    HeaderSchemaError,
    HeaderTooLargeError,
    UnsafeFormatError,
    UnsafePathError,
)
from lora_np.files.header import read_safetensors_header
from lora_np.files.json_text import parse_object, shown
from lora_np.files.sources import Limits, opened

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def catalogue(path: Path, limits: Limits) -> dict[str, Path]:
    """Return {tensor: file} of a checkpoint: a folder, an index, or one file.

    Raises `AdapterFileError` and its kinds, `DTypeError`.
    """
    if os.path.isdir(path):  # false, not an error, for a path that cannot be
        path = _main_file(path)
    if path.name.endswith(".json"):
        return _indexed(path, limits)
    return dict.fromkeys(read_safetensors_header(path, limits=limits).tensors, path)


def _main_file(folder: Path) -> Path:
    """Return the index or the single file of a folder."""
    for name in (INDEX, SINGLE):
        if os.path.exists(folder / name):
            return inside(folder, name)
    others = sorted(folder.glob("*.safetensors"))[:2]
    if len(others) == 1:
        return others[0]
    if any(folder.glob("pytorch_model*.bin")):
        raise UnsafeFormatError(
            f"{folder} holds pytorch_model.bin, a pickle, refused: can execute code; convert to safetensors"
        )
    raise AdapterFileError(f"{folder} holds neither {SINGLE} nor {INDEX}", fix="name the file itself")


def _indexed(path: Path, limits: Limits) -> dict[str, Path]:
    """Read an index; every file that it names must lie in its folder."""
    with opened(path) as source:
        if source.size > limits.header_bytes:
            raise HeaderTooLargeError(
                f"{path} has {source.size} bytes, the limit is {limits.header_bytes}; it was not read"
            )
        text = source.read(0, source.size)
    found = parse_object(text, str(path), HeaderJSONError, depth=8, objects=1000).get("weight_map")
    if not isinstance(found, dict) or not all(type(name) is str for name in found.values()):
        raise HeaderSchemaError(f"{path}: weight_map must map tensors to file names, got {shown(found)}")
    if len(found) > limits.tensors:
        raise HeaderJSONError(f"{path} names {len(found)} tensors, the limit is {limits.tensors}")
    files = {name: inside(path.parent, name) for name in set(found.values())}
    return {tensor: files[name] for tensor, name in found.items()}


def inside(root: Path, name: str) -> Path:
    """Return the path of a file that a file names; raise `UnsafePathError` unless it lies in `root`."""
    plain = name not in ("", ".", "..") and not set(name) & set("/\\:\0")
    if not plain:
        raise UnsafePathError(
            f"the file name {shown(name)} leaves the folder {root}",
            fix="an index names files of its own folder",
        )
    path = root / name
    target = Path(os.path.realpath(path))  # of a link that leads round in a circle, itself
    if not any(target.is_relative_to(allowed) for allowed in _allowed(Path(os.path.realpath(root)))):
        raise UnsafePathError(
            f"{path} is a link to {target}, outside of {root}", fix="put the file itself there"
        )
    return path


def _allowed(root: Path) -> tuple[Path, ...]:
    """Return the folders that files of `root` may lie in: itself, and the blobs of a cache that it is a snapshot in."""
    return (root, root.parents[1] / "blobs") if root.parent.name == "snapshots" else (root,)
