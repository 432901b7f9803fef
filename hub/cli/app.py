"""The commands, put together."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.exceptions import Abort, TyperException

from hub.cli import (
    checks,
    configuration,
    dead,
    explaining,
    outbox,
    quarantine,
    reading,
    replay,
    serving,
    simulating,
    vendor,
)
from hub.cli.shared import State
from hub.errors import ConfigurationError, Stuck, TrunklineError

EXIT_AGAIN: Final = 75  # sysexits.h, EX_TEMPFAIL: it may go better the next time

app = typer.Typer(
    name="trunkline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # [worker] is a table of the file, not a colour
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
app.command("explain")(explaining.explain)
app.command("doctor")(checks.doctor)
app.command("replay")(replay.replay)
app.add_typer(dead.app, name="dead")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(outbox.app, name="outbox")
app.add_typer(vendor.app, name="vendor")
app.add_typer(configuration.app, name="config")
app.add_typer(checks.db, name="db")


def main() -> None:
    """Runs a command; ends the process with its exit code."""
    try:
        status = app(standalone_mode=False)  # so that a wrong usage is told in one line, like a wrong configuration
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # no command at all: the help is the answer
            typer.echo(message, err=True)
        else:
            _complain(" ".join(message.split()))
        sys.exit(2)
    except Abort:
        sys.exit(1)
    except ConfigurationError as error:
        _complain(error)
        sys.exit(2)
    except Stuck as error:
        _complain(error)
        sys.exit(EXIT_AGAIN)
    except TrunklineError as error:
        _complain(error)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(error: Exception | str) -> None:
    typer.echo(f"trunkline: {error}", err=True)
