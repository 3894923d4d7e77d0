"""`lora-np app`: open the rooms in a browser, from a checkout or from an installed package.  Floor 6."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INSTALLED = Path(__file__).parents[1] / "_app"
"""Where a built package keeps the app; a checkout has it beside `lora_np`."""


def home(installed: Path = INSTALLED) -> Path:
    """Find the folder that holds `app/` and `.streamlit/`; raises `ConfigError` where there is none.

    >>> (home() / "app" / "main.py").is_file()
    True
    """
    from lora_np.errors import ConfigError

    for folder in (installed, installed.parents[1]):
        if (folder / "app" / "main.py").is_file():
            return folder
    raise ConfigError(
        f"the app is neither in {installed} nor in {installed.parents[1]}",
        fix="install lora-np from a wheel or from a whole checkout",
    )


def serve(
    port: Annotated[int | None, typer.Option(help="The port; Streamlit's own choice if left out.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Open the app: rank, cost, training, merging, pruning to see and to move. No network is needed or used.

    Ctrl-C ends it.
    """
    import importlib.util
    import subprocess
    import sys

    from lora_np.errors import BackendError

    if importlib.util.find_spec("streamlit") is None:
        raise BackendError("the app needs Streamlit", fix="pip install 'lora-np[app]'")
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py"]
    command += [] if port is None else ["--server.port", str(port)]
    command += [] if browser else ["--server.headless", "true"]
    try:
        raise typer.Exit(subprocess.run(command, cwd=home(), check=False).returncode)
    except KeyboardInterrupt:  # the server had it too, and ends by itself
        raise typer.Exit(0) from None
