"""How a row ends: when everything that was accepted has come to rest, its account is drawn, published and held."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.report import Account, ids, publish, reckon
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site

REST: Final = at(quick=90.0, full=900.0)  # seconds; a killed process has leases of 15, the rest is for a busy machine
CONNECTIONS: Final = 24  # of a load: what is in the hands of all processes at once


@dataclass(frozen=True, slots=True)
class Books:
    """What the hub says at the end."""

    ledger: Mapping[str, Any]
    events: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    at_rest: bool = True


async def account(
    row: str,
    here: Site,
    load: Load,
    *,
    planned: int,
    injected: int,
    recoveries: Iterable[float] = (),
    oracle: bool = True,
    within: float = REST,
) -> Account:
    """Waits until the hub is at rest, then draws the account of the row, publishes it and holds it to the promises."""
    books = await at_rest(here, load, within)
    directory = here.directory / "oracle" if oracle else None
    if directory is not None:
        directory.mkdir()
    made = await reckon(
        row,
        load,
        books.events,
        books.calls,
        planned=planned,
        injected=injected,
        recoveries=recoveries,
        ledger=books.ledger,
        oracle=directory,
    )
    publish(made)
    assert books.at_rest, f"not at rest {within:g} s after the load: {books.ledger}"
    made.check()
    assert intact(here.directory / "outbox.db")
    return made


async def at_rest(here: Site, load: Load, within: float = REST) -> Books:
    """The hub's books, once nothing is in flight and every call is sealed that can be.

    Where that does not come about in time, they are returned as they are: the account says what is missing.
    """
    last: dict[str, Any] = {}

    async def look() -> Books | None:
        status, ledger = await here.get("/v1/ledger")
        last.update(ledger if status == 200 else {})
        if status != 200 or ledger["workers"]["persistence"]["in_flight"]:
            return None
        books = Books(ledger, await here.pages("/v1/events"), await here.pages("/v1/calls"))
        return books if _sealed(books, load) else None

    try:
        return await until(look, within=within)
    except TimeoutError:
        return Books(last, await here.pages("/v1/events"), await here.pages("/v1/calls"), at_rest=False)


def _sealed(books: Books, load: Load) -> bool:
    """Whether every accepted event is there, and every call sealed of which nothing was lost on the way to us."""
    told = {event["id"] for event in books.events}
    failed = [result.step for result in load.results if result.status != 200]
    broken = {step.call.key for step in failed if not ids(step) <= told}
    sealed = {event["subject"] for event in books.events if ".sealed." in event["type"]}
    return load.accepted <= told and {call["call_id"] for call in books.calls} <= sealed | broken


def intact(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with a journal."""
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
