"""What ``trunkline dead``, ``quarantine`` and ``replay`` share: opening what the hub has open, choosing, telling."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hub import logs
from hub.cli.shared import state
from hub.config import Settings
from hub.configured import secrets_in
from hub.errors import ConfigurationError, NotDurable
from hub.parts import make_bus, sqlite_path
from hub.ports import Bus

Yes = Annotated[bool, typer.Option("--yes", help="Do it, where no ID is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Tell = Callable[[int, int], None]

_PATIENCE: Final = 5.0  # seconds for a broker to answer
_COLUMNS: Final = 200  # where no terminal says how many there are


def settings_of(context: typer.Context) -> Settings:
    """The settings, and a log that does not write between the lines of a table."""
    settings = state(context).settings()
    if settings.log.level != "debug":
        logs.configure("error", settings.log.format, secrets_in(settings))
        for library in ("aiormq", "aio_pika"):
            logging.getLogger(library).setLevel(logging.CRITICAL)  # what they complain of is told in our one line
    return settings


@asynccontextmanager
async def opened_bus(settings: Settings) -> AsyncIterator[Bus]:
    """The configured bus, once it answers. Raises NotDurable, and ConfigurationError where the hub never ran."""
    url = settings.bus.urls[0]
    if url.startswith("sqlite:"):
        existing(sqlite_path(url), "bus.url")
    bus = make_bus(settings)
    await bus.start()
    try:
        try:
            async with asyncio.timeout(_PATIENCE):
                while not bus.state()[0]:  # noqa: ASYNC110  the bus tells nobody that it is there
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise NotDurable(f"the bus cannot be reached: {bus.state()[1]}") from None
        yield bus
    finally:
        await bus.close()


def existing(path: Path, key: str) -> None:
    """Raises ConfigurationError where the hub has no such file here: an empty one would only mislead."""
    if not path.exists():
        raise ConfigurationError(f"{key}: found no file {path}; expected the hub's own, on the machine where it runs")


def positive(rate: float | None) -> None:
    """Raises ConfigurationError for a rate at which nothing would ever be done."""
    if rate is not None and not rate > 0:
        raise ConfigurationError(f"--rate: found {rate}; expected more than 0")


def either(ids: Sequence[str] | None, filters: Iterable[str | None]) -> None:
    """Raises ConfigurationError where both are given: which of them is meant?"""
    if ids and any(filters):
        raise ConfigurationError("found IDs and filters; expected one of them")


@contextmanager
def bar(verb: str) -> Iterator[Tell]:
    """A progress bar on stderr, once there is progress to tell and a terminal to tell it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(verb, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


def show(table: Table, count: int, *, more: bool) -> None:
    """A list, or that it is empty."""
    if not count:
        typer.echo("none")
        return
    console = Console()
    (console if console.is_terminal else Console(width=_COLUMNS)).print(table)
    if more:
        typer.echo(f"{count} shown, and there are more: --limit")


def dump(item: Any) -> None:
    """JSON for machines, and for whoever wants all of it."""
    typer.echo(orjson.dumps(item, option=orjson.OPT_INDENT_2).decode())


def summary(what: str, *, done: int, chosen: int, dry_run: bool, yes_would: bool, more: bool) -> None:
    """One line of what was done, or would be; ``more``: the limit was reached."""
    left = "; there may be more" if more else ""
    if dry_run:
        hint = "; --yes does it" if yes_would and chosen else ""
        typer.echo(f"{what}: {chosen} would be{left} (dry run{hint})")
    else:
        typer.echo(f"{what}: {done} of {chosen} done{left}")


def complain(line: str) -> None:
    """One line on stderr."""
    typer.echo(f"trunkline: {line}", err=True)
