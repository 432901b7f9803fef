"""``trunkline quarantine``: requests with the right token that could not be used, on the ingress's own disk.

The quarantine is a file of the ingress, and SQLite lets a second process work on it while the ingress runs. So these
commands belong on the ingress's machine, as its user; from elsewhere the same verbs are under ``/v1/quarantine``.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import typer
from rich.table import Table

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
    settings_of,
    show as show_table,
    summary,
)
from hub.cli.shared import run
from hub.config import Settings
from hub.disk import Kept, Narrow
from hub.operating.quarantine import MOST, Quarantine, Report, shown
from hub.parts import make_bus, make_decoders, make_disk, queues

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Requests with the right token that could not be used."
)

_Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Of requests; without any, the filters choose.")]
_Source = Annotated[str | None, typer.Option()]
_Reason = Annotated[str | None, typer.Option(help="event, undecodable, signature or identity.")]
_Limit = Annotated[int, typer.Option(min=1, max=MOST)]


@app.command("list")
def list_(
    context: typer.Context,
    source: _Source = None,
    reason: _Reason = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """The oldest requests in quarantine."""
    found, after = run(_page(settings_of(context), limit, Narrow(source=source, reason=reason)))
    if as_json:
        dump([shown(kept) for kept in found])
    else:
        show_table(_table(found), len(found), more=after is not None)


@app.command()
def show(context: typer.Context, quarantine_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """A request whole, as JSON; its body in base64."""
    found, _ = run(_page(settings_of(context), 1, Narrow(ids=[quarantine_id])))
    if not found:
        complain(f"no request {quarantine_id} in quarantine")
        raise typer.Exit(1)
    dump(shown(found[0]))


@app.command()
def retry(
    context: typer.Context,
    ids: _Ids = None,
    source: _Source = None,
    reason: _Reason = None,
    limit: _Limit = MOST,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Try requests again with today's configuration. Exits 1 where one stays. Without IDs a dry run, unless --yes."""
    _act(context, "retry", ids, Narrow(ids or None, source, reason), limit, yes=yes, dry_run=dry_run, as_json=as_json)


@app.command()
def discard(
    context: typer.Context,
    ids: _Ids = None,
    source: _Source = None,
    reason: _Reason = None,
    limit: _Limit = MOST,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Forget requests for good. Without IDs a dry run, unless --yes."""
    _act(context, "discard", ids, Narrow(ids or None, source, reason), limit, yes=yes, dry_run=dry_run, as_json=as_json)


def _act(
    context: typer.Context,
    verb: str,
    ids: list[str] | None,
    narrow: Narrow,
    limit: int,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    settings = settings_of(context)
    either(ids, (narrow.source, narrow.reason))
    only_say = dry_run or not (ids or yes)

    async def work() -> Report:
        async with _quarantine(settings, publishing=verb == "retry" and not only_say) as quarantine:
            do = quarantine.retry if verb == "retry" else quarantine.discard
            return await do(narrow, limit=limit, dry_run=only_say, progress=tell)

    with bar(verb) as tell:
        report = run(work())
    if as_json:
        dump(report.shown())
    else:
        chosen = len(report.ids) - len(report.stayed) if only_say else len(report.ids)
        more = not ids and len(report.ids) == limit
        summary(verb, done=report.done, chosen=chosen, dry_run=only_say, yes_would=not dry_run, more=more)
    complaints = [f"{one.quarantine_id} stays: {one.reason}: {one.detail}" for one in report.stayed]
    complaints += [f"no request {quarantine_id} in quarantine" for quarantine_id in report.missing]
    for line in complaints:
        complain(line)
    if complaints:
        raise typer.Exit(1)


def _table(found: list[Kept]) -> Table:
    table = Table("received", "id", "source", "method", "bytes", "reason", "detail")
    for kept in found:
        item: dict[str, Any] = shown(kept)
        table.add_row(
            *(item["received_at"], kept.quarantine_id, item["source"], item["method"]),
            *(str(len(kept.request.body)), item["reason"], item["detail"]),
        )
    return table


async def _page(settings: Settings, limit: int, narrow: Narrow) -> tuple[list[Kept], int | None]:
    async with _quarantine(settings, publishing=False) as quarantine:
        return await quarantine.page(limit, 0, narrow)


@asynccontextmanager
async def _quarantine(settings: Settings, *, publishing: bool) -> AsyncIterator[Quarantine]:
    existing(settings.outbox.path, "outbox.path")
    decoders = make_decoders(settings)
    disk = make_disk(settings)
    async with AsyncExitStack() as stack:
        await disk.start()
        stack.push_async_callback(disk.close)
        bus = make_bus(settings)
        if publishing:
            bus = await stack.enter_async_context(opened_bus(settings))
            # As at the hub's own start: a queue that does not exist yet would miss what is published now.
            await bus.declare(queues(settings))
        yield Quarantine(disk, bus, decoders)
