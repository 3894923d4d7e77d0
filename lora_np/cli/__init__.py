"""The commands of `lora-np`, one file each.  Floor 6.

Every command prints for people (rich tables, progress bars) and, with ``--json``, for programs.  A mistake of the
user ends with one clear line and exit status 2.
"""

import sys


def main() -> None:
    """Run the `lora-np` command."""
    import typer

    from lora_np.cli.app import app
    from lora_np.errors import LoraNpError

    try:
        typer.main.get_command(app)(prog_name="lora-np")
    except LoraNpError as error:
        typer.echo(f"lora-np: {error}", err=True)
        sys.exit(2)
