"""``trunkline calls``: the store, read."""

from typing import Annotated, Any
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.table import Table

from hub.cli.shared import run, state
from hub.config import Settings
from hub.parts import opened
from hub.ports import CallFilter


def calls(
    context: typer.Context,
    call_id: Annotated[str | None, typer.Argument(metavar="ID", help="Print this call's record.")] = None,
    number: Annotated[str | None, typer.Option(help="Of the caller, the line, the callee or a leg.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """The newest call records, or one whole."""
    settings = state(context).settings()
    if call_id is not None:
        run(_one(settings, call_id))
    else:
        run(_newest(settings, CallFilter(number=number), limit))


async def _one(settings: Settings, call_id: str) -> None:
    async with opened(settings) as store:
        record = await store.call(_uuid(call_id))
    if record is None:
        typer.echo(f"trunkline: no call {call_id}", err=True)
        raise typer.Exit(1)
    typer.echo(orjson.dumps(orjson.loads(record), option=orjson.OPT_INDENT_2).decode())


async def _newest(settings: Settings, narrow: CallFilter, limit: int) -> None:
    async with opened(settings) as store:
        page = await store.calls(narrow, limit, None)
    table = Table("started", "call", "source", "direction", "caller", "state", "disposition", "seconds", "sealed")
    for item in page.items:
        record: dict[str, Any] = orjson.loads(item)
        caller = record.get("caller") or {}
        table.add_row(
            *(record.get("started_at", ""), record["call_id"], record["source"], record.get("direction", "")),
            "withheld" if caller.get("withheld") else caller.get("e164", caller.get("number", "")),
            *(record["state"], record["disposition"], str(record.get("duration_seconds", ""))),
            (record.get("sealed") or {}).get("verdict", ""),
        )
    Console(width=None if Console().is_terminal else 200).print(table)


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        typer.echo(f"trunkline: {text!r} is no call id; expected a UUID", err=True)
        raise typer.Exit(2) from None
