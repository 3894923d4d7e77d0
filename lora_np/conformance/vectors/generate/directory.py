"""Writing the vectors' directory: checked files, the manifest, the checksums.  Floor 6."""

from __future__ import annotations

from pathlib import Path

from lora_np.conformance.vectors.generate.files import checksums_text, manifest_text
from lora_np.conformance.vectors.integrity import MANIFEST, SUMS
from lora_np.conformance.vectors.schema import require_valid_text


def write_checked(directory: Path, name: str, text: str) -> None:
    """Write one file of vectors, if it keeps to the schema."""
    path = directory / name
    require_valid_text(text, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def write_lists(directory: Path) -> None:
    """Write the manifest and the checksums of everything that is there."""
    vectors = {
        path.relative_to(directory).as_posix(): path.read_text("utf-8") for path in directory.glob("*/*.json")
    }
    (directory / MANIFEST).write_text(manifest_text(vectors), encoding="utf-8", newline="\n")
    texts = {
        path.relative_to(directory).as_posix(): path.read_text("utf-8")
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != SUMS
    }
    (directory / SUMS).write_text(checksums_text(texts), encoding="utf-8", newline="\n")
