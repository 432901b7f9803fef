"""``trunkline replay``: kept events published again for one worker, or for one queue of somebody else's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from hub.cli.operating import (
    DryRun,
    Json,
    Yes,
    bar,
    complain,
    dump,
    either,
    existing,
    opened_bus,
    positive,
    settings_of,
)
from hub.cli.shared import run
from hub.config import Settings
from hub.errors import ConfigurationError
from hub.events import moment
from hub.operating.replay import MOST, Replay, Report, Target, Wanted
from hub.parts import opened, replay_targets, sqlite_path


def replay(
    context: typer.Context,
    worker: Annotated[str | None, typer.Argument(metavar="WORKER", help="Whose work it is; or --queue.")] = None,
    queue: Annotated[str | None, typer.Option(help="Anybody's queue, for instance my.app.")] = None,
    call: Annotated[str | None, typer.Option(metavar="ID", help="All events of a call.")] = None,
    event: Annotated[list[str] | None, typer.Option(metavar="ID", help="An event; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Kept then or later: 2026-11-20T09:15:30Z.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Kept before.")] = None,
    vendor: Annotated[str | None, typer.Option()] = None,
    source: Annotated[str | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option("--type", help="For instance call.ended.")] = None,
    after: Annotated[int, typer.Option(min=0, metavar="PLACE", help="Go on where an earlier one ended.")] = 0,
    rate: Annotated[float | None, typer.Option(help="Events a second at most.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what a worker has had its effect for.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Publish kept events again for one worker or queue. Without --call or --event a dry run, unless --yes."""
    positive(rate)
    wanted = _wanted(call, event, (since, until, vendor, source, kind))
    settings = settings_of(context)
    only_say = dry_run or not (wanted.named or yes)
    last: list[Report] = []

    async def work() -> Report:
        async with _replay(settings, worker, queue) as (verb, target):
            return await verb.run(target, wanted, after=after, rate=rate, again=again, dry_run=only_say, progress=tell)

    def tell(report: Report) -> None:
        last[:] = [report]
        show(report.published + report.skipped, report.chosen)

    try:
        with bar("replay") as show:
            report = run(work())
    except KeyboardInterrupt:
        _say_where(last)
        raise typer.Exit(1) from None
    if as_json:
        dump(report.shown())
    else:
        _say(report, yes_would=not dry_run)
    complaints = _complaints(report, wanted)
    for line in complaints:
        complain(line)
    if complaints:
        raise typer.Exit(1)


def _wanted(call: str | None, ids: list[str] | None, filters: tuple[str | None, ...]) -> Wanted:
    """Which events. Raises ConfigurationError where it does not make sense."""
    either(ids, (call,))
    either([call] if call else ids, filters)
    if ids and len(ids) > MOST:
        raise ConfigurationError(f"--event: found {len(ids)} of them; expected {MOST} at most")
    since, until, vendor, source, kind = filters
    return Wanted(
        ids=ids or None,
        call=None if call is None else _uuid(call),
        vendor=vendor,
        source=source,
        type=kind,
        since=_moment("--since", since),
        until=_moment("--until", until),
    )


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ConfigurationError(f"--call: found {text!r}; expected a UUID") from None


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else moment(text)
    except ValueError:
        raise ConfigurationError(f"{option}: found {text!r}; expected a time like 2026-11-20T09:15:30Z") from None


def _say(report: Report, *, yes_would: bool) -> None:
    """One line of what was done, or would be."""
    skipped = f", {report.skipped} skipped: it has had its effect for them" if report.skipped else ""
    if report.dry_run:
        hint = "; --yes does it" if yes_would and report.published else ""
        typer.echo(f"{report.target}: replay: {report.published} would be published{skipped} (dry run{hint})")
    else:
        typer.echo(f"{report.target}: replay: {report.published} of {report.chosen} published{skipped}")
    if report.not_taken:
        kinds = ", ".join(sorted(report.not_taken))
        typer.echo(f"{sum(report.not_taken.values())} others are not of its work: {kinds}")


def _say_where(last: list[Report]) -> None:
    """After Ctrl-C: how far it came."""
    for report in last:
        typer.echo(
            f"{report.target}: replay: {report.published} of {report.chosen} published, {report.skipped} skipped"
        )
        complain(f"interrupted; --after {report.after} goes on")
    if not last:
        complain("interrupted; nothing was published")


def _complaints(report: Report, wanted: Wanted) -> list[str]:
    lines = [f"{report.problem}; --after {report.after} goes on"] if report.problem else []
    lines += [f"no event {event_id}" for event_id in report.missing]
    if wanted.call is not None and not (report.chosen or report.not_taken):
        lines.append(f"no event of call {wanted.call}")
    if wanted.ids is not None and report.not_taken:
        lines.append(f"{report.target} does not take all of them")
    return lines


@asynccontextmanager
async def _replay(settings: Settings, worker: str | None, queue: str | None) -> AsyncIterator[tuple[Replay, Target]]:
    url = settings.store.url.get_secret_value()
    if url.startswith("sqlite:"):
        existing(sqlite_path(url), "store.url")
    async with opened_bus(settings) as bus, opened(settings) as store:
        verb = Replay(bus, store, replay_targets(settings))
        try:
            target = verb.target(worker, queue)
        except ValueError as wrong:
            raise ConfigurationError(str(wrong)) from None
        yield verb, target
