"""The table of commands.  Floor 6.  Each command's code is imported when it runs, not when `lora-np` starts."""

import typer

from lora_np.cli import bench, conformance, grade, inspect, params, serve, tutorials, vectors, verify

app = typer.Typer(
    help="LoRA and LoRAPrune in NumPy: count, verify, measure, look.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("params")(params.params)
app.command("inspect")(inspect.inspect)
app.command("verify")(verify.verify)
app.command("bench")(bench.bench)
app.command("conformance")(conformance.conformance)
app.command("grade")(grade.grade)
app.command("app")(serve.serve)
app.add_typer(tutorials.app, name="tutorials")
app.add_typer(vectors.app, name="vectors")
