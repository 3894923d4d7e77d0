"""Writing a file whole or not at all.  Floor 0.  Knows nothing of what is in it."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write to a new file beside `path`, which then takes its name: no reader sees half, a failure changes nothing.

    Raises `OSError` where the directory cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder, "a.json"), b"{}")
    ...     os.listdir(folder)
    ['a.json']
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(
        temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666
    )  # less the user's umask, as `open` does
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
