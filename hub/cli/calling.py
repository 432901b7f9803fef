"""``trunkline vendor call``: any operation of a vendor's client, by its name."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from hub.cli.operating import settings_of
from hub.cli.shared import run
from hub.cli.urls import source_named
from hub.clients import asking, make_client
from hub.config import Settings
from hub.errors import ConfigurationError
from hub.vendors.operations import Operation

_MOST: Final = 16 << 20  # bytes of a parameter's file


def call(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source's name in the configuration.")],
    operation: Annotated[
        str | None, typer.Argument(metavar="OPERATION", help="As docs/vendors.md has it; without it, all are listed.")
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="JSON may come from a file: leads=@leads.json.")
    ] = None,
) -> None:
    """Call an operation of a vendor's client by its name, and print the answer as JSON."""
    settings = settings_of(context)
    run(_call(settings, source, operation, parameters or []))


async def _call(settings: Settings, name: str, operation: str | None, parameters: list[str]) -> None:
    source = source_named(settings, name)
    async with asking(settings) as outgoing:
        desk = make_client(name, source, outgoing)
        if operation is None:
            for one in desk.operations.values():
                typer.echo(_described(one))
            return
        wanted = desk.operations.get(operation)
        if wanted is None:
            known = ", ".join(desk.operations)
            raise ConfigurationError(f"operation: found {operation[:60]!r}; expected one of {known}")
        values = wanted.read(_given(wanted, parameters))
        try:
            answer = await wanted.run(desk.client, values)
        finally:
            await desk.close()
    typer.echo(_shown(answer))


def _described(operation: Operation[Any]) -> str:
    takes = [one.name if one.required else f"[{one.name}]" for one in operation.parameters]
    words = " ".join([operation.name, *takes])
    return f"{words}\n    {operation.doc} ({operation.standing}{', changes something' if operation.changes else ''})"


def _given(operation: Operation[Any], parameters: list[str]) -> dict[str, str]:
    """Texts by name. Raises ConfigurationError where one has no name, or two have the same."""
    kinds = {one.name: one.kind for one in operation.parameters}
    given: dict[str, str] = {}
    for parameter in parameters:
        name, mark, value = parameter.partition("=")
        if not mark or not name:
            raise ConfigurationError(f"{operation.name}: found a parameter without a name; expected KEY=VALUE")
        if name in given:
            raise ConfigurationError(f"{operation.name}: found {name[:40]} twice; expected it once")
        given[name] = _file(name, value[1:]) if kinds.get(name) == "json" and value.startswith("@") else value
    return given


def _file(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MOST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: found @{path}; expected a file of JSON: {error}") from None


def _shown(answer: Any) -> str:
    try:
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # half a character, which JSON can write and no terminal can
        return json.dumps(answer, indent=2)
