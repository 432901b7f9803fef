"""``trunkline outbox``: what was damaged on the ingress's own disk, or refused by the bus again and again.

The outbox is a file of the ingress, and these commands work on it while the ingress runs: on its machine, as its user.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from hub.cli.operating import Json, Yes, complain, dump, existing, settings_of, show as show_table
from hub.cli.shared import T, run
from hub.config import Settings
from hub.disk import Damaged, Disk
from hub.errors import ConfigurationError
from hub.events import timestamp
from hub.parts import make_disk

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What was set aside on the ingress's own disk, and damaged files."
)

_Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Numbers from the list; without any, all.")]
_ALL = 1_000_000


@app.command()
def salvage(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A file that a start moved aside, or a copy.")]
) -> None:
    """Put what can still be read of a damaged file back; twice does no harm. The file stays as it is."""
    settings = settings_of(context)
    if not file.is_file():
        raise ConfigurationError(f"found no file {file}; expected one that a start has moved aside, or a copy")
    if file.resolve() == settings.outbox.path.resolve():
        raise ConfigurationError(f"{file} is the outbox itself; expected one that a start has moved aside, or a copy")
    path = settings.outbox.path
    existing(path.parent, "outbox.path")
    done = run(_with_disk(settings, lambda disk: disk.salvage(file)))
    typer.echo(
        f"salvage: {done.events} events and {done.requests} requests put back, {done.there} were there already,"
        f" {done.unreadable} are damaged and stay in {file}"
    )


@app.command("list")
def list_(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1, max=1000)] = 50, as_json: Json = False
) -> None:
    """The rows that were set aside: damaged, or refused by the bus again and again."""
    found = run(_on_the_disk(settings_of(context), lambda disk: disk.damaged(limit + 1)))
    if as_json:
        dump([_shown(one) for one in found[:limit]])
    else:
        show_table(_table(found[:limit]), len(found[:limit]), more=len(found) > limit)


@app.command()
def retry(context: typer.Context, ids: _Ids = None, yes: Yes = False) -> None:
    """Put rows that are whole back into the outbox, or into the quarantine. Exits 1 where one is not whole."""
    settings = settings_of(context)
    chosen = _chosen(settings, ids)
    if not (ids or yes):
        typer.echo(f"retry: {len(chosen)} would be (dry run; --yes does it)")
        return
    done = run(_on_the_disk(settings, lambda disk: disk.put_back(chosen)))
    typer.echo(f"retry: {len(done)} of {len(chosen)} done")
    for number in chosen:
        if number not in done:
            complain(f"{number} is damaged, or not there: it stays")
    if len(done) < len(chosen):
        raise typer.Exit(1)


@app.command()
def discard(context: typer.Context, ids: _Ids = None, yes: Yes = False) -> None:
    """Forget rows that were set aside, for good."""
    settings = settings_of(context)
    chosen = _chosen(settings, ids)
    if not (ids or yes):
        typer.echo(f"discard: {len(chosen)} would be (dry run; --yes does it)")
        return
    done = run(_on_the_disk(settings, lambda disk: disk.discard(chosen)))
    typer.echo(f"discard: {done} of {len(chosen)} done")
    if done < len(chosen):
        raise typer.Exit(1)


def _chosen(settings: Settings, ids: list[int] | None) -> list[int]:
    if ids:
        return ids
    return [one.id for one in run(_on_the_disk(settings, lambda disk: disk.damaged(_ALL)))]


def _shown(one: Damaged) -> dict[str, Any]:
    """It as an item of a list: what can be read as text is text."""
    content = {
        name: value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
        for name, value in one.content.items()
    }
    told = {"id": one.id, "table": one.origin, "seq": one.seq, "reason": one.reason, "at": timestamp(one.at)}
    return {**told, "content": content}


def _table(found: list[Damaged]) -> Table:
    table = Table("set aside", "id", "table", "seq", "bytes", "reason")
    for one in found:
        size = sum(len(value) for value in one.content.values() if isinstance(value, bytes))
        table.add_row(timestamp(one.at), str(one.id), one.origin, str(one.seq), str(size), one.reason)
    return table


async def _on_the_disk(settings: Settings, use: Callable[[Disk], Awaitable[T]]) -> T:
    existing(settings.outbox.path, "outbox.path")
    return await _with_disk(settings, use)


async def _with_disk(settings: Settings, use: Callable[[Disk], Awaitable[T]]) -> T:
    disk = make_disk(settings)
    await disk.start()
    try:
        return await use(disk)
    finally:
        await disk.close()
