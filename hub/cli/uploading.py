"""``trunkline vendor upload``: a list of numbers to a dialer, out of CSV."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hub.cli.operating import DryRun, Json, complain, dump, settings_of
from hub.cli.shared import run
from hub.cli.urls import source_named
from hub.clients import asking, make_client
from hub.config import Settings, UContactSource
from hub.errors import ConfigurationError, Doubtful
from hub.vendors.ucontact.acts import read_file
from hub.vendors.ucontact.bases import PART, Base, read_base
from hub.vendors.ucontact.uploading import Uploaded, planned, upload as send

_Tell = Callable[[int], None]


def upload(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A uContact source.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, with a header or in the vendor's order.")],
    campaign: Annotated[str, typer.Option(help="The dialer, with its arrow.")],
    name: Annotated[str | None, typer.Option(help="Of the list; the file's name without it.")] = None,
    username: Annotated[str, typer.Option(help="Who uploads it.")] = "trunkline",
    timezones: Annotated[bool, typer.Option("--timezones", help="Every record says its state.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Records in one request.")] = PART,
    from_line: Annotated[int, typer.Option(min=1, help="Go on there.")] = 1,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Upload a list of numbers to a dialer, once every value of it is checked.

    A list of more than --rows goes in parts, each a list of its own. Where one fails, the rest is not sent, and the
    line is told at which --from-line goes on.
    """
    settings = settings_of(context)
    configured = source_named(settings, source)
    if not isinstance(configured, UContactSource):
        raise ConfigurationError(f"sources.{source}: its vendor takes no lists from files; expected ucontact")
    text = read_file(file)
    state = configured.names.get("uploadbaseTimezone.state", "state")
    with _bar("check", text.count("\n") + 1) as tell:
        base = read_base(text, campaign=campaign, timezones=timezones, state=state, tell=tell).checked()
    title = name or file.stem
    left = sum(part.rows for part, _ in planned(base, name=title, part=rows, from_line=from_line))
    if dry_run:
        _told(Uploaded(left), as_json=as_json, dry_run=True)
        return
    reached: list[Uploaded] = []
    with _bar("upload", left) as show:

        def told(progress: Uploaded) -> None:
            reached[:] = [progress]
            show(progress.rows)

        async def sent() -> Uploaded:
            return await _sent(
                settings,
                source,
                base,
                told,
                name=title,
                campaign=campaign,
                username=username,
                timezones=timezones,
                part=rows,
                from_line=from_line,
            )

        try:
            progress = run(sent())
        except KeyboardInterrupt:
            if not reached:
                raise
            progress = reached[0]
            if progress.line is not None:
                progress.problem, progress.doubtful = Doubtful("interrupted"), True
    _told(progress, as_json=as_json, dry_run=False)
    if progress.line is not None:
        doubt = "; it may have been taken all the same: look before you go on" if progress.doubtful else ""
        complain(f"{progress.problem}; the part from line {progress.line} was not confirmed{doubt}")
        raise typer.Exit(1)


async def _sent(
    settings: Settings, source: str, base: Base, tell: Callable[[Uploaded], None], **how: object
) -> Uploaded:
    async with asking(settings) as outgoing:
        desk = make_client(source, source_named(settings, source), outgoing)
        try:
            return await send(desk.client, base, tell=tell, **how)  # type: ignore[arg-type]  # from the options above
        finally:
            await desk.close()


@contextmanager
def _bar(what: str, total: int) -> Iterator[_Tell]:
    """A bar on stderr, where a terminal is looking."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def show(done: int) -> None:
            progress.update(task, completed=done)

        yield show


def _told(progress: Uploaded, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        dump({**progress.shown(), "dry_run": dry_run})
        return
    if dry_run:
        typer.echo(f"{progress.of} records can be sent")
        return
    names = ", ".join(progress.files) or "no list"
    typer.echo(f"{progress.rows} of {progress.of} records taken: {names}")
