"""`lora-np params`: count the parameters of an architecture under a method.  Floor 6.

Only reads options and prints; every number comes from `lora_np.counts`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lora_np.counts import Count


def params(
    arch: Annotated[str | None, typer.Argument(help="An architecture; left out, all are listed.")] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="How it is fine-tuned.")] = "lora",
    rank: Annotated[
        str | None, typer.Option("--rank", "-r", help="The rank, 8, or one per target: q=8,v=4.")
    ] = None,
    targets: Annotated[
        str | None, typer.Option("--targets", "-t", help="Matrices: q,v or all-linear.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="How many blocks get the adapter.")] = None,
    prefix: Annotated[int | None, typer.Option(help="Length of a prefix, lp.")] = None,
    infix: Annotated[int | None, typer.Option(help="Length of an infix, li.")] = None,
    classes: Annotated[int | None, typer.Option(help="Classes of a linear probe.")] = None,
    block: Annotated[int | None, typer.Option(help="Block size of oft.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object for programs.")] = False,
) -> None:
    """Count trainable and total parameters of ARCH under a fine-tuning method.

    For example: lora-np params gpt3-175b --method lora --rank 4 --targets q,v
    """
    if arch is None:
        _list_known(as_json=as_json)
        return
    from lora_np.counts import count

    result = count(
        arch,
        method,
        rank=_read_rank(rank),
        targets=targets,
        layers=layers,
        prefix=prefix,
        infix=infix,
        classes=classes,
        block=block,
    )
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        _show(result)


def _read_rank(text: str | None) -> Any:
    """Read "8" or "q=8,v=4"; anything else raises `ConfigError`."""
    from lora_np.errors import ConfigError

    if text is None:
        return None
    pairs = [piece.partition("=") for piece in text.split(",")]
    try:
        if len(pairs) == 1 and not pairs[0][1]:
            return int(text)
        return {target.strip(): int(value) for target, _, value in pairs}
    except ValueError:
        raise ConfigError(
            f"rank must be a positive int or pairs of target=int, got {text!r}",
            fix="for example 8, or q=8,v=4",
        ) from None


def _show(result: Count) -> None:
    """Print the count for people: the sums, what is trained, and the files and memory it leads to."""
    from rich.console import Console
    from rich.table import Table

    from lora_np.counts import METHODS, adapter_file_bytes, training_memory

    a, way = result.architecture, METHODS[result.method]
    chosen = ", ".join(f"{name} {_words(value)}" for name, value in result.options.items())
    table = Table(title=f"{a.name} · {result.method}{' · ' + chosen if chosen else ''}", caption=way.formula)
    for column in ("tensor", "shape", "copies", "numbers"):
        table.add_column(column, justify="left" if column == "tensor" else "right")
    for row in (row for row in result.rows if row.trainable):
        table.add_row(row.name, " x ".join(map(str, row.shape)), str(row.copies), f"{row.count:,}")
    console = Console()
    console.print(table)
    console.print(f"trainable {result.trainable:,} of {result.total:,} ({100 * result.share:.4g} %)")
    file, memory = adapter_file_bytes(result, dtype="float16"), training_memory(result, batch=0)
    console.print(f"saved file, 16 bit: {_size(file)}")
    console.print(
        f"training, 16-bit weights, AdamW in 32 bit, activations aside: {_size(memory.total)}"
        f" (weights {_size(memory.weights)}, gradients {_size(memory.gradients)},"
        f" optimizer {_size(memory.optimizer)})"
    )
    console.print(f"architecture: {a.source}; method: {way.source}", style="dim")


def _words(value: Any) -> str:
    """Write an option: a mapping whose values are all the same as that value."""
    if isinstance(value, dict):
        same = len(set(value.values())) == 1
        return str(next(iter(value.values()))) if same else ",".join(f"{k}={v}" for k, v in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _size(count: int) -> str:
    """Write bytes in the largest decimal unit that leaves a digit before the point."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.3g} {unit}"
    return f"{count} B"


def _list_known(*, as_json: bool) -> None:
    """Print all architectures and methods."""
    from lora_np.counts import ARCHITECTURES, GROUPS, METHODS

    if as_json:
        known = {
            "architectures": {name: a.total for name, a in ARCHITECTURES.items()},
            "methods": {name: list(way.options) for name, way in METHODS.items()},
        }
        typer.echo(json.dumps(known, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    networks = Table(title="Architectures")
    for column in ("architecture", "parameters", "width", "blocks", "heads"):
        networks.add_column(column, justify="left" if column == "architecture" else "right", no_wrap=True)
    for a in ARCHITECTURES.values():
        heads = str(a.heads) if a.heads == a.kv_heads else f"{a.heads} / {a.kv_heads} kv"
        networks.add_row(a.name, f"{a.total:,}", str(a.width), str(a.layers), heads)
    ways = Table("method", "options", "trainable", "source", title="Methods")
    for name, way in METHODS.items():
        ways.add_row(name, ", ".join(way.options), way.formula, way.source)
    console = Console()
    console.print(networks)
    console.print(ways)
    for words in dict.fromkeys(a.targets for a in ARCHITECTURES.values()):
        names = [a.name for a in ARCHITECTURES.values() if a.targets == words]
        console.print(f"targets of {', '.join(names)}: {', '.join(words)}")
    console.print(f"words for several targets: {', '.join(GROUPS)}")
