"""``trunkline respool``: what the rules would do, and what they have done."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from hub.cli.backfilling import moment_of
from hub.cli.operating import Json, dump, either, existing, settings_of, show
from hub.cli.shared import run
from hub.config import Settings
from hub.errors import ConfigurationError, Permanent
from hub.parts import EveryStore, opened, sqlite_path
from hub.ports import CallFilter
from workers.respool.foretelling import Foreteller, Foretold
from workers.respool.lists import Lists

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Contacts that go back into a dialer's work: what the rules do.",
)
_PAGE = 200
_Time = Annotated[str | None, typer.Option(metavar="TIME", help="2026-11-20T09:15:30Z, or a day in UTC.")]


@app.callback()
def _group() -> None:
    """Contacts that go back into a dialer's work: what the rules do."""


@app.command()
def plan(
    context: typer.Context,
    call_id: Annotated[str | None, typer.Argument(metavar="[CALL_ID]", help="Of one call.")] = None,
    since: _Time = None,
    until: _Time = None,
    limit: Annotated[int, typer.Option(min=1, help="Calls at most.")] = 1000,
    as_json: Json = False,
) -> None:
    """What would be done for a call, or for those of a time, and why; and why not for the others. Does nothing."""
    settings = settings_of(context)
    first, last = moment_of("--since", since), moment_of("--until", until)
    either([call_id] if call_id else [], [since, until])
    if call_id is None and first is None:
        raise ConfigurationError("respool plan: found neither CALL_ID nor --since; expected one of them")
    if first is not None and last is not None and first >= last:
        raise ConfigurationError(f"--since: found {since}; expected a time before --until")
    told, more = run(_foretold(settings, call_id, first, last, limit))
    if as_json:
        dump([one.shown() for one in told])
        return
    if call_id is not None:
        for line in (line for one in told for line in _lines(one.shown())):
            typer.echo(line)
        return
    show(_table(told), len(told), more=more)


async def _foretold(
    settings: Settings, call_id: str | None, since: datetime | None, until: datetime | None, limit: int
) -> tuple[list[Foretold], bool]:
    lists = Lists(settings)
    url = settings.store.url.get_secret_value()
    if url.startswith("sqlite:"):
        existing(sqlite_path(url), "store.url")
    async with opened(settings) as store:
        await store.ping()
        foreteller = Foreteller(settings, store, lists.now, datetime.now(UTC))
        if call_id is not None:
            record = await store.call(call_id)
            if record is None:
                raise Permanent(f"no call {call_id}")
            return await foreteller.of(orjson.loads(record)), False
        return await _of_time(store, foreteller, CallFilter(since=since, until=until), limit)


async def _of_time(
    store: EveryStore, foreteller: Foreteller, narrow: CallFilter, limit: int
) -> tuple[list[Foretold], bool]:
    found: list[Foretold] = []
    after: str | None = None
    calls = 0
    while calls < limit:
        page = await store.calls(narrow, min(_PAGE, limit - calls), after)
        calls += len(page.items)
        for item in page.items:
            found += await foreteller.of(orjson.loads(item))
        after = page.next
        if not after:
            return found, False
    return found, True


def _table(told: Sequence[Foretold]) -> Table:
    table = Table("call", "ended", "disposition", "does", "attempt", "contact", "dialer", "campaign", "at", "why")
    for one in told:
        said = one.shown()
        columns = ("call_id", "ended_at", "disposition", "action", "attempt", "contact", "dialer", "campaign", "at")
        table.add_row(*(str(said.get(name) or "") for name in columns), str(said["why"]))
    return table


def _lines(said: Mapping[str, Any]) -> list[str]:
    others = said.get("rules", {})
    rest = {name: value for name, value in said.items() if name != "rules" and value not in (None, [], "")}
    lines = [f"{name:<12} {', '.join(value) if isinstance(value, list) else value}" for name, value in rest.items()]
    return [*lines, *(f"{'not by rule':<12} {name}: {why}" for name, why in others.items()), ""]
