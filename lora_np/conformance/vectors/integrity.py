"""Is a directory of vectors what was written?  Checksums, lists, schema.  Floor 6.  Nothing is computed again here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lora_np.conformance.vectors.format import read_cases
from lora_np.conformance.vectors.schema import require_schema
from lora_np.conformance.vectors.strict_json import read_content
from lora_np.errors import VectorFileError

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  ([^\s/][^\0]*)")


def read_sums(directory: Path) -> dict[str, str]:
    """Read the list of checksums: {"lora/forward.json": digest}.  Raises `VectorFileError`."""
    path = directory / SUMS
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise VectorFileError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise VectorFileError(f"{path} is not UTF-8 text: byte {error.start}") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line)
        if found is None or ".." in found[2].split("/") or "\\" in found[2]:
            raise VectorFileError(
                f"{path}, line {number}: not a checksum and a file below the directory: {line[:80]!r}"
            )
        if found[2] in sums:
            raise VectorFileError(f"{path}, line {number}: {found[2]} is listed twice")
        sums[found[2]] = found[1]
    if not sums:
        raise VectorFileError(f"{path} lists no file")
    return sums


def files_in(directory: Path) -> list[str]:
    """List the files below a directory, without the list of checksums itself.  Raises `VectorFileError`."""
    if not directory.is_dir():
        raise VectorFileError(f"{directory} is not a directory of test vectors")
    paths = (path for path in directory.rglob("*") if path.is_file())
    return sorted(name for path in paths if (name := path.relative_to(directory).as_posix()) != SUMS)


def checksum_problems(directory: Path) -> Iterator[str]:
    """Say what is missing, what nobody listed, and what does not match its checksum."""
    sums, there = read_sums(directory), set(files_in(directory))
    for name in sorted(sums.keys() - there):
        yield f"{directory / name} is listed in {SUMS} but is not there"
    for name in sorted(there - sums.keys()):
        yield f"{directory / name} is not listed in {SUMS}"
    for name in sorted(there & sums.keys()):
        if hashlib.sha256((directory / name).read_bytes()).hexdigest() != sums[name]:
            yield f"{directory / name} does not match its checksum: it was changed or damaged"


def content_problems(directory: Path, name: str) -> Iterator[str]:
    """Say what in one file of vectors breaks the schema, or cannot be read; one line at most."""
    path = directory / name
    try:
        content = read_content(path)
        require_schema(content, path)
        cases = read_cases(content, path)
    except VectorFileError as error:
        yield error.problem
        return
    if content["numberOfTests"] != len(cases):
        yield f"{path} says it has {content['numberOfTests']} tests and has {len(cases)}"
    if f"{content['method']}/{content['operation']}.json" != name:
        yield f"{path} holds {content['method']}/{content['operation']}"
    yield from (f"{path}: {what}" for what in _inconsistencies(content, (case.id for case in cases)))


def _inconsistencies(content: dict[str, object], ids: Iterable[str]) -> Iterator[str]:
    """Say what a schema cannot: ids that stand twice, flags that no note explains."""
    listed = list(ids)
    for id_ in sorted({one for one in listed if listed.count(one) > 1}):
        yield f"the id {id_} stands twice"
    groups: list[dict[str, list[dict[str, list[str]]]]] = content["testGroups"]  # type: ignore[assignment]
    used = {flag for group in groups for test in group["tests"] for flag in test["flags"]}
    for flag in sorted(used - set(content["notes"])):  # type: ignore[call-overload]
        yield f"no note explains the flag {flag}"


def manifest_problems(directory: Path) -> Iterator[str]:
    """Say where the manifest and the files differ."""
    path = directory / MANIFEST
    manifest = read_content(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        yield f"{path} has no list of files"
        return
    listed, there = manifest["files"], {name for name in files_in(directory) if "/" in name}
    for name in sorted(set(listed) ^ there):
        yield f"{directory / name} is {'listed in' if name in listed else 'there but not in'} {MANIFEST}"
    if manifest.get("numberOfTests") != sum(listed.values()):
        yield f"{path}: numberOfTests is {manifest.get('numberOfTests')}, the files add up to {sum(listed.values())}"
