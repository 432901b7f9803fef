"""``trunkline backfill``: records of a time, from a vendor that has some."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TaskProgressColumn, TextColumn, TimeElapsedColumn

from hub.cli.operating import DryRun, Json, complain, dump, existing, opened_bus, settings_of
from hub.cli.shared import run
from hub.cli.urls import source_named
from hub.clients import Means, asking, make_records, with_records
from hub.config import Settings
from hub.errors import ConfigurationError
from hub.events import moment, timestamp
from hub.parts import opened, queues, sqlite_path
from hub.polling.backfill import Progress, backfill as fill
from hub.polling.gathering import Gatherer
from hub.ports import Bus

_Time = Annotated[str | None, typer.Option(metavar="TIME", help="2026-11-20T09:15:30Z, or a day in UTC.")]


def backfill(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source whose vendor has records.")],
    since: _Time = None,
    until: _Time = None,
    window: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="Of calls asked for at once.")] = 3600,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Ask a vendor that has records for those of a time; where it calls back too, for what did not come.

    Interrupted, the same command goes on where it was; done to its end, it begins anew.
    """
    now = datetime.now(UTC)
    first, last = moment_of("--since", since), moment_of("--until", until) or now
    if first is None:
        raise ConfigurationError("--since: missing; expected a time like 2026-11-20T09:15:30Z")
    last = min(last, now)
    if first >= last:
        raise ConfigurationError(f"--since: found {since}; expected a time before --until, and before now")
    settings = settings_of(context)
    reached: list[Progress] = []

    def tell(progress: Progress) -> None:
        reached[:] = [progress]
        show(progress)

    try:
        with _bar(source) as show:
            progress = run(_fill(settings, source, first, last, window=window, dry_run=dry_run, tell=tell))
    except KeyboardInterrupt:
        for progress in reached:
            typer.echo(_summary(source, progress, dry_run=dry_run))
        complain("interrupted; the same command goes on")
        raise typer.Exit(1) from None
    if as_json:
        dump(_json(progress, dry_run=dry_run))
    else:
        typer.echo(_summary(source, progress, dry_run=dry_run))
    if progress.problem is not None:
        complain(f"{progress.problem}; done up to {timestamp(progress.upto)}, the same command goes on")
        raise typer.Exit(1)


async def _fill(
    settings: Settings,
    name: str,
    since: datetime,
    until: datetime,
    *,
    window: float,
    dry_run: bool,
    tell: Callable[[Progress], None],
) -> Progress:
    configured = source_named(settings, name)
    with_records(name, configured)
    url = settings.store.url.get_secret_value()
    if url.startswith("sqlite:"):
        existing(sqlite_path(url), "store.url")
    async with asking(settings) as outgoing, opened(settings) as store:
        records = make_records(name, configured, Means(outgoing, store.gaps, settings.gaps.grace))
        async with _bus(settings, dry_run=dry_run) as bus:
            gatherer = Gatherer(records, store, bus)
            return await fill(gatherer, store.polls, since, until, window=window, dry_run=dry_run, tell=tell)


@asynccontextmanager
async def _bus(settings: Settings, *, dry_run: bool) -> AsyncIterator[Bus | None]:
    """The bus with its queues; none for a dry run."""
    if dry_run:
        yield None
        return
    async with opened_bus(settings) as bus:
        await bus.declare(queues(settings))
        yield bus


def moment_of(option: str, text: str | None) -> datetime | None:
    """A time on the command line; None without one. Raises ConfigurationError."""
    if text is None:
        return None
    try:
        return moment(text if "T" in text or " " in text else f"{text}T00:00:00Z")
    except ValueError:
        raise ConfigurationError(f"{option}: found {text!r}; expected a time like 2026-11-20T09:15:30Z") from None


@contextmanager
def _bar(source: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr, as long as the time that is asked for, where a terminal is looking."""
    console = Console(stderr=True)
    columns = (
        TextColumn("backfill {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(source, total=None, said="")

        def show(progress: Progress) -> None:
            total = (progress.until - progress.since).total_seconds()
            done = (progress.upto - progress.since).total_seconds()
            said = f"{progress.upto:%Y-%m-%d %H:%M} {progress.count.new} new, {progress.count.known} known"
            bar.update(task, total=total, completed=done, said=said)

        yield show


def _summary(source: str, progress: Progress, *, dry_run: bool) -> str:
    count = progress.count
    time = f"{timestamp(progress.since)} to {timestamp(progress.upto)}"
    unreadable = f", {count.unreadable} that are no records" if count.unreadable else ""
    done = "would be published" if dry_run else "published"
    return f"{source}: backfill of {time}: {count.new} {done}, {count.known} known{unreadable}"


def _json(progress: Progress, *, dry_run: bool) -> dict[str, object]:
    count = progress.count
    return {
        "since": timestamp(progress.since),
        "upto": timestamp(progress.upto),
        "until": timestamp(progress.until),
        "new": count.new,
        "known": count.known,
        "unreadable": count.unreadable,
        "dry_run": dry_run,
        "problem": progress.problem,
    }
