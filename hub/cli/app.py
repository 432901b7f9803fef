"""The commands, put together."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hub.cli import checks, configuration, reading, serving, simulating, vendor
from hub.cli.shared import State
from hub.errors import ConfigurationError, TrunklineError

app = typer.Typer(
    name="trunkline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The event-driven hub between call-centre telephone vendors and everything else.",
)


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="trunkline.toml; else TRUNKLINE_CONFIG, else ./")
    ] = None,
) -> None:
    context.obj = State(config)


app.command("up")(serving.up)
app.command("ingress")(serving.ingress)
app.command("worker")(serving.worker)
app.command("init")(configuration.init)
app.command("simulate")(simulating.simulate)
app.command("calls")(reading.calls)
app.command("explain")(reading.explain)
app.command("doctor")(checks.doctor)
app.add_typer(vendor.app, name="vendor")
app.add_typer(configuration.app, name="config")
app.add_typer(checks.db, name="db")


def main() -> None:
    """Runs a command; ends the process with its exit code."""
    try:
        app()
    except ConfigurationError as error:
        _complain(error)
        sys.exit(2)
    except TrunklineError as error:
        _complain(error)
        sys.exit(1)


def _complain(error: Exception) -> None:
    typer.echo(f"trunkline: {error}", err=True)
