"""``trunkline recordings import``: a vendor's archive of audio into custody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from hub.cli.operating import DryRun, Json, bar, complain, dump, settings_of
from hub.cli.shared import run
from hub.config import FocalScopeSource, Settings
from hub.errors import ConfigurationError
from hub.parts import make_custody, opened
from hub.vendors.focalscope.archive import monitor
from workers.recordings.importing import Import, Outcome, Report

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Audio of calls: an archive's, imported.")
_SHOWN: Final = 20
_WORDS: Final[Mapping[Outcome, str]] = {
    "stored": "stored",
    "again": "stored before",
    "version": "kept beside other audio of the same recording",
    "deleted": "deleted before, as the retention says",
    "found": "would be stored",
    "silent": "calls without audio",
    "no_call": "of calls that are not known here",
    "error": "not usable",
}


@app.callback()
def _recordings() -> None:
    """Audio of calls."""


@app.command("import")
def import_(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="FocalScope's archive: with the folder monitor.")],
    source: Annotated[str | None, typer.Option(help="Whose calls they are; needed where there are several.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Store the audio of FocalScope's archive with the calls that it is of; twice does no harm."""
    settings = settings_of(context)
    name = _source(settings, source)
    try:
        monitor(directory)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    report = run(_import(settings, name, directory, dry_run=dry_run))
    if as_json:
        dump({"outcomes": report.outcomes, "no_call": report.strangers, "troubles": report.troubles})
    else:
        _tell(report, dry_run=dry_run)
    for trouble in report.troubles:
        complain(trouble)
    if report.outcomes["error"]:
        raise typer.Exit(1)


def _source(settings: Settings, named: str | None) -> str:
    known = [name for name, source in settings.sources.items() if isinstance(source, FocalScopeSource)]
    if named is None and len(known) == 1:
        return known[0]
    if named not in known:
        raise ConfigurationError(f"--source: found {named or 'none'}; expected one of {', '.join(known) or 'none'}")
    return named


async def _import(settings: Settings, source: str, directory: Path, *, dry_run: bool) -> Report:
    custody = make_custody(settings)
    await custody.start()
    async with opened(settings) as store:
        await store.ping()
        with bar("recordings") as tell:
            done = 0

            def on_entry(total: int) -> None:
                nonlocal done
                done += 1
                tell(done, total)

            return await Import(settings, source, store, custody).run(directory, dry_run=dry_run, on_entry=on_entry)


def _tell(report: Report, *, dry_run: bool) -> None:
    for outcome, words in _WORDS.items():
        if count := report.outcomes[outcome]:
            typer.echo(f"{count:>8} {words}")
    for guid in report.strangers[:_SHOWN]:
        typer.echo(f"no call has a leg {guid}")
    if len(report.strangers) > _SHOWN:
        typer.echo(f"and {len(report.strangers) - _SHOWN} more: --json")
    if not report.outcomes:
        typer.echo("the archive is empty")
    elif dry_run:
        typer.echo("nothing was stored (dry run)")
