"""The commands, put together. Each is imported when it is called (``hub.cli.lazy``)."""

import sys
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer
from typer.exceptions import Abort, TyperException

from hub.cli.lazy import Elsewhere, LazyGroup
from hub.errors import ConfigurationError, Stuck, TrunklineError

EXIT_AGAIN: Final = 75  # sysexits.h, EX_TEMPFAIL: it may go better the next time


class _Commands(LazyGroup):
    elsewhere: ClassVar = {
        "up": Elsewhere(
            "hub.cli.serving:up",
            "Run the ingress and all workers in one process; write a configuration first where there is none.",
        ),
        "ingress": Elsewhere("hub.cli.serving:ingress", "Run the HTTP door."),
        "worker": Elsewhere(
            "hub.cli.serving:worker", "Run workers without an HTTP door; health and metrics where [worker] port is set."
        ),
        "init": Elsewhere(
            "hub.cli.configuration:init",
            "Write a commented trunkline.toml with fresh random tokens, and print the URLs to paste.",
        ),
        "simulate": Elsewhere("hub.cli.simulating:simulate", "Play vendor scenarios against a hub."),
        "calls": Elsewhere("hub.cli.reading:calls", "The newest call records, or one whole."),
        "explain": Elsewhere(
            "hub.cli.explaining:explain", "Where an event is; of a call every event, in the order they were kept."
        ),
        "doctor": Elsewhere(
            "hub.cli.checks:doctor",
            "Check the configuration, broker, database, bindings and disk: one line each; exit 1 if any is bad.",
        ),
        "replay": Elsewhere("hub.cli.replay:replay", "Publish kept events again for one worker or queue."),
        "backfill": Elsewhere(
            "hub.cli.backfilling:backfill",
            "Ask a vendor that has records for those of a time; where it calls back too, for what did not come.",
        ),
        "dial": Elsewhere("hub.cli.dialing:dial", "Have a running hub place a call."),
        "dead": Elsewhere("hub.cli.dead:app", "What workers gave up, kept with its reason."),
        "destinations": Elsewhere("hub.cli.destinations:app", "Where calls are forwarded to: how each is."),
        "quarantine": Elsewhere("hub.cli.quarantine:app", "Requests with the right token that could not be used."),
        "outbox": Elsewhere("hub.cli.outbox:app", "What was set aside on the ingress's own disk, and damaged files."),
        "recordings": Elsewhere("hub.cli.recordings:app", "Audio of calls: an archive's, imported."),
        "respool": Elsewhere(
            "hub.cli.respooling:app", "Contacts that go back into a dialer's work: what the rules do."
        ),
        "vendor": Elsewhere("hub.cli.vendor:app", "Set a vendor up: its URLs, its callbacks checked, a sample sent."),
        "config": Elsewhere("hub.cli.configuration:app", "The configuration in force, and its schema."),
        "db": Elsewhere("hub.cli.schema:app", "The database's schema."),
    }


app = typer.Typer(
    name="trunkline",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # [worker] is a table of the file, not a colour
    help="The event-driven hub between call-centre telephone vendors and everything else.",
)


@app.callback()
def _options(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="trunkline.toml; else TRUNKLINE_CONFIG, else ./")
    ] = None,
) -> None:
    """What stands before every command; ``hub.cli.shared`` reads it."""


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
