"""``trunkline dead``: what workers gave up, on the configured bus.

The bus is asked as any process of the hub asks it: RabbitMQ from anywhere, the embedded file on its own machine.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from hub.cli.operating import (
    DryRun,
    Json,
    Tell,
    Yes,
    bar,
    complain,
    dump,
    either,
    opened_bus,
    positive,
    settings_of,
    show as show_table,
    summary,
)
from hub.cli.shared import run
from hub.config import Settings
from hub.errors import ConfigurationError
from hub.operating.dead_letters import MOST, DeadLetters, Filter, Found, Report, Verb
from hub.parts import WORKERS, opened, worker_queues

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What workers gave up, kept with its reason.")

_Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Of events; without any, the filters choose.")]
_Worker = Annotated[str | None, typer.Option(help="Whose; every worker's without it.")]
_Reason = Annotated[str | None, typer.Option(help="A part of the reason, in any case.")]
_Vendor = Annotated[str | None, typer.Option()]
_Source = Annotated[str | None, typer.Option()]
_Type = Annotated[str | None, typer.Option("--type", help="For instance call.ended.")]
_Limit = Annotated[int, typer.Option(min=1, max=MOST, help="Of each worker.")]


@app.command("list")
def list_(
    context: typer.Context,
    worker: _Worker = None,
    reason: _Reason = None,
    vendor: _Vendor = None,
    source: _Source = None,
    kind: _Type = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST)] = 50,
    as_json: Json = False,
) -> None:
    """The oldest dead letters."""
    settings, which = settings_of(context), Filter(reason, vendor, source, kind)
    _known(worker)
    found, after = run(_with_letters(settings, lambda letters: letters.page(limit, None, which, worker)))
    if as_json:
        dump([one.shown() for one in found])
    else:
        show_table(_table(found), len(found), more=after is not None)


@app.command()
def show(
    context: typer.Context, event_id: Annotated[str, typer.Argument(metavar="ID")], worker: _Worker = None
) -> None:
    """A dead letter whole, as JSON: its payload, and every attempt that is remembered."""
    settings = settings_of(context)
    _known(worker)
    found = run(_with_letters(settings, lambda letters: letters.find(event_id, worker)))
    for one in found:
        dump(one.shown_whole())
    if not found:
        complain(f"no dead letter {event_id}")
        raise typer.Exit(1)


@app.command()
def requeue(
    context: typer.Context,
    ids: _Ids = None,
    worker: _Worker = None,
    reason: _Reason = None,
    vendor: _Vendor = None,
    source: _Source = None,
    kind: _Type = None,
    limit: _Limit = MOST,
    rate: Annotated[float | None, typer.Option(help="Letters a second at most.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put dead letters back into their work, as if nothing had happened. Without IDs a dry run, unless --yes."""
    positive(rate)
    order = _Order("requeue", ids, Filter(reason, vendor, source, kind), worker, limit, rate)
    order.carry_out(settings_of(context), yes=yes, dry_run=dry_run, as_json=as_json)


@app.command()
def discard(
    context: typer.Context,
    ids: _Ids = None,
    worker: _Worker = None,
    reason: _Reason = None,
    vendor: _Vendor = None,
    source: _Source = None,
    kind: _Type = None,
    limit: _Limit = MOST,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Forget dead letters for good. Without IDs a dry run, unless --yes."""
    order = _Order("discard", ids, Filter(reason, vendor, source, kind), worker, limit)
    order.carry_out(settings_of(context), yes=yes, dry_run=dry_run, as_json=as_json)


class _Order:
    """What to do with which letters."""

    def __init__(
        self,
        verb: Verb,
        ids: list[str] | None,
        which: Filter,
        worker: str | None,
        limit: int,
        rate: float | None = None,
    ) -> None:
        """Raises ConfigurationError where it does not make sense."""
        _known(worker)
        either(ids, (which.reason, which.vendor, which.source, which.type))
        self._verb = verb
        self._ids = ids or None
        self._which = which
        self._worker = worker
        self._limit = limit
        self._rate = rate

    def carry_out(self, settings: Settings, *, yes: bool, dry_run: bool, as_json: bool) -> None:
        """Does it, and says what was done; exits 1 where something is missing or went wrong."""
        only_say = dry_run or not (self._ids or yes)
        with bar(self._verb) as tell:
            reports = run(_with_letters(settings, lambda letters: self._reports(letters, tell, dry_run=only_say)))
        concerned = [one for one in reports if one.ids or one.problem] or reports  # most workers have nothing of it
        if as_json:
            dump([report.shown() for report in concerned])
        else:
            for one in concerned:
                what, chosen = f"{one.worker}: {one.verb}", len(one.ids)
                more = self._ids is None and chosen == self._limit
                summary(what, done=one.done, chosen=chosen, dry_run=only_say, yes_would=not dry_run, more=more)
        complaints = [f"{one.worker}: {one.problem}" for one in reports if one.problem]
        # An event is asked for wherever it may be: it is missing where no worker gave it up.
        missing = set.intersection(*(set(one.missing) for one in reports))
        complaints += [f"no dead letter {event_id}" for event_id in sorted(missing)]
        for line in complaints:
            complain(line)
        if complaints:
            raise typer.Exit(1)

    async def _reports(self, letters: DeadLetters, tell: Tell, *, dry_run: bool) -> list[Report]:
        return [
            await letters.act(
                self._verb,
                worker,
                ids=self._ids,
                which=self._which,
                limit=self._limit,
                rate=self._rate,
                dry_run=dry_run,
                progress=tell,
            )
            for worker in ([self._worker] if self._worker else sorted(letters.workers))
        ]


def _table(found: list[Found]) -> Table:
    table = Table("died", "worker", "event", "type", "source", "attempt", "reason")
    for one in found:
        item = one.shown()
        table.add_row(
            *(item["died_at"], one.worker, one.letter.id, item["type"] or item["routing_key"]),
            *(f"{item['vendor']}/{item['source']}", str(one.letter.attempt), one.letter.reason),
        )
    return table


async def _with_letters(settings: Settings, use: Callable[[DeadLetters], Awaitable[T]]) -> T:
    async with _letters(settings) as letters:
        return await use(letters)


@asynccontextmanager
async def _letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    async with opened_bus(settings) as bus, opened(settings) as store:
        yield DeadLetters(bus, worker_queues(settings), store)


def _known(worker: str | None) -> None:
    if worker is not None and worker not in WORKERS:
        raise ConfigurationError(f"--worker: found {worker!r}; expected one of {', '.join(sorted(WORKERS))}")
