"""Checking a file of vectors against its schema.  Floor 6.  jsonschema is needed here only, and imported here only."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from lora_np.conformance.vectors.format import SCHEMA, shipped
from lora_np.conformance.vectors.strict_json import read_content
from lora_np.errors import BackendError, VectorFileError


@cache
def _validator() -> Any:
    """Load the shipped schema, itself checked."""
    try:
        import jsonschema
    except ImportError:
        raise BackendError(
            "checking a schema needs jsonschema", fix='pip install "lora-np[vectors]"'
        ) from None
    schema = read_content(shipped() / SCHEMA)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def require_schema(content: Any, path: Path | str) -> None:
    """Raise `VectorFileError` with the place of the first thing in a file's content that the schema forbids."""
    error = min(
        _validator().iter_errors(content), key=lambda found: list(map(str, found.absolute_path)), default=None
    )
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the top"
        raise VectorFileError(f"{path} breaks its schema at {place}: {error.message[:200]}")


def require_valid_text(text: str, path: Path | str) -> None:
    """Raise unless a file's text is JSON that keeps to the schema."""
    require_schema(json.loads(text), path)
