"""``trunkline destinations``: how each is, over the configured store."""

from typing import Annotated

import typer
from rich.table import Table

from hub.cli.operating import Json, dump, settings_of, show
from hub.cli.shared import run
from hub.config import Settings
from hub.errors import ConfigurationError
from hub.operating.destinations import Destinations
from hub.parts import opened

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where calls are forwarded to: how each is.")
_Name = Annotated[str, typer.Argument(metavar="NAME", help="As configured.")]


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Every destination, what it is owed, and its last failure."""
    found = run(_listed(settings_of(context)))
    if as_json:
        dump(found)
        return
    table = Table("name", "kind", "state", "waiting", "done", "dead", "oldest waiting", "last error")
    for one in found:
        table.add_row(*(str(one[name] if one[name] is not None else "") for name in _COLUMNS))
    show(table, len(found), more=False)


@app.command()
def enable(context: typer.Context, name: _Name) -> None:
    """Send again what a disabled destination is owed."""
    _switch(settings_of(context), name, on=True)


@app.command()
def disable(context: typer.Context, name: _Name) -> None:
    """Send nothing there; what it is owed waits."""
    _switch(settings_of(context), name, on=False)


_COLUMNS = ("name", "kind", "state", "waiting", "done", "dead", "oldest_waiting", "last_error")


async def _listed(settings: Settings) -> list[dict[str, object]]:
    async with opened(settings) as store:
        return await Destinations(settings.destinations, store.forwarding).listed()


def _switch(settings: Settings, name: str, *, on: bool) -> None:
    if name not in settings.destinations:
        known = ", ".join(sorted(settings.destinations)) or "none is configured"
        raise ConfigurationError(f"destination: found {name!r}; expected one of {known}")
    changed = run(_switched(settings, name, on=on))
    typer.echo(f"{name}: {'enabled' if on else 'disabled'}{'' if changed else ', as it was'}")


async def _switched(settings: Settings, name: str, *, on: bool) -> bool:
    async with opened(settings) as store:
        return await Destinations(settings.destinations, store.forwarding).switch(name, on=on)
