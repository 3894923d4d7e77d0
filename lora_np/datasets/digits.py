"""The UCI optical digits: 1797 images of 8 x 8, read from a file beside this one.  Floor 4.

Origin, licence and citation stand in `digits.md`.  The file's checksum is verified each time it is read, and
nothing in it is ever unpickled.  Splitting and shifting are in `split` and `shift`.
"""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float, Int
from lora_np.errors import DatasetError

PATH = Path(__file__).with_name("digits.npz")
SHA256 = "b7cea48b52e3af95952073ec30ff1b8cdecdc34dbdf2af3bce0d09f1c2a567c2"
SIDE = 8
DARKEST = 16


class Labelled(NamedTuple):
    """Images and the class of each."""

    X: Float[Array, "N s s"]
    y: Int[Array, " N"]


def load_digits(path: str | Path = PATH) -> Labelled:
    """Read the digits: images with pixels in [0, 1] (sixteenths, exact in any float type) and labels 0 to 9.

    Raises `DatasetError` where the file is missing or its bytes are not the ones that shipped.

    >>> X, y = load_digits()
    >>> X.shape, float(X.max()), y[:3]
    ((1797, 8, 8), 1.0, array([0, 1, 2]))
    """
    stored = np.load(io.BytesIO(_verified_bytes(Path(path))), allow_pickle=False)
    return Labelled(stored["X"].astype(np.float64) / DARKEST, stored["y"].astype(np.int64))


def rows(images: Float[Array, "N s s"]) -> Float[Array, "N k"]:
    """Write each image as one row of k = s² numbers, line after line: what a dense layer takes.

    >>> rows(np.zeros((5, 8, 8))).shape
    (5, 64)
    """
    checks.require_ndim("images", images, 3, "N, s, s")
    return images.reshape(images.shape[0], -1)


def _verified_bytes(path: Path) -> bytes:
    """Read a file whose checksum must be the one that shipped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"the digits cannot be read from {path}: {error.strerror}",
            fix="reinstall lora-np; the file is part of the package",
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DatasetError(
            f"the digits at {path} have sha256 {found[:12]}…, expected {SHA256[:12]}… ({len(content)} bytes)",
            fix="the file was changed or cut short: reinstall lora-np",
        )
    return content
