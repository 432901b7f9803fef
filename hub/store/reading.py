"""The read verbs: one statement each, along an index.

**Events are paged by ``seq``**, and a reader must not pass over one. PostgreSQL gives numbers when rows are inserted,
not when they are committed: while 7 is still in an open transaction, 8 may already be there to be read, and whoever
goes on after 8 never sees 7. So an event is shown only when every transaction that might hold a smaller number is over.

Which ones are, the rows tell by ``txid``, the number of the transaction they were kept in. ``events_allot`` gives a
transaction its own number and its events theirs in one step that no other can come between, so both rise together: a
smaller ``seq`` is of the same or of an older transaction. Hence an event whose transaction is older than every open one
(``pg_snapshot_xmin``) has all its predecessors before it, committed or rolled back for ever. Without that step, which
is a lock for some microseconds, it would not: of two open transactions the younger could draw the smaller number.

A ``txid`` that the server has yet to give out (``pg_snapshot_xmax``), on a row that can be seen, was given by the
server that the database was moved from, and is long over. The price of all this: in the midst of writing, an event is
shown some milliseconds after its commit. The alternative, a lock held until the commit, would let one stalled worker
stop all others.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.ports import CallFilter, Page
from hub.store.batches import settled
from hub.store.rows import event_item, searchable
from hub.store.tables import CALLBACK, EPOCH, MICROSECOND, Moment, call_numbers, calls, events, microseconds, outbox

NOTHING: Final = Page([], None)
LARGEST: Final = 2**63 - 1


async def call(connection: AsyncConnection, call_id: str) -> bytes | None:
    """The record; None where there is no such call."""
    if not possible(call_id):
        return None
    found = await connection.scalar(select(calls.c.record).where(calls.c.call_id == call_id))
    return None if found is None else str(found).encode()


async def calls_page(connection: AsyncConnection, narrow: CallFilter, limit: int, after: str | None) -> Page:
    """Records, newest first."""
    if not possible(narrow.number, narrow.vendor, narrow.source, narrow.state):
        return NOTHING
    # The numbers' own key is in the order of the page as well.
    place = calls if narrow.number is None else call_numbers
    query = select(calls.c.record, calls.c.started_at, calls.c.call_id)
    if narrow.number is not None:
        query = query.join_from(call_numbers, calls, call_numbers.c.call_id == calls.c.call_id)
        query = query.where(call_numbers.c.number == searchable(narrow.number))
    query = query.where(*_conditions(narrow, place.c.started_at))
    if after is not None:
        moment, call_id = _position(after)
        here = tuple_(literal(moment, Moment), literal(call_id))
        query = query.where(tuple_(place.c.started_at, place.c.call_id) < here)
    query = query.order_by(place.c.started_at.desc(), place.c.call_id.desc())
    rows, more = await _page(connection, query, limit)
    return Page([row.record.encode() for row in rows], _cursor(rows[-1]) if more else None)


async def events_page(connection: AsyncConnection, limit: int, after: str | None, call_id: str | None) -> Page:
    """Events in the order of their keeping."""
    if not possible(call_id):
        return NOTHING
    query = select(events).where(settled(connection.dialect.name)).order_by(events.c.seq)
    if after is not None:
        query = query.where(events.c.seq > _seq(after))
    if call_id is not None:
        query = query.where(events.c.call_id == call_id)
    rows, more = await _page(connection, query, limit)
    return Page([event_item(row) for row in rows], str(rows[-1].seq) if more else None)


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """Rows, counted: exact, and as slow as the indexes are long."""
    totals = {
        "events": select(func.count()).select_from(events),
        "calls": select(func.count()).select_from(calls),
        "sealed": select(func.count()).where(calls.c.sealed_at.is_not(None)),
        "outbox": select(func.count()).select_from(outbox),
        "repeats": select(func.coalesce(func.sum(calls.c.repeats), 0)),
        "callbacks": select(func.count()).where(CALLBACK),
        "derived": select(func.count()).where(events.c.routing_key.like("call.%sealed")),
        "seals": select(func.count()).where(events.c.routing_key.like("call.%.sealed")),
    }
    row = (
        await connection.execute(select(*(query.scalar_subquery().label(name) for name, query in totals.items())))
    ).one()
    return {name: int(getattr(row, name)) for name in totals}


async def next_seal(connection: AsyncConnection) -> datetime | None:
    """When the next call is due."""
    due = select(calls.c.seal_at).where(calls.c.seal_at.is_not(None)).order_by(calls.c.seal_at).limit(1)
    found: datetime | None = await connection.scalar(due)
    return found


async def check(connection: AsyncConnection) -> str | None:
    """One line that says why nothing can be written; None where it can. Fails where there are no tables."""
    await connection.execute(select(calls.c.call_id).limit(1))
    if connection.dialect.name == "postgresql" and await connection.scalar(text("SHOW transaction_read_only")) == "on":
        return "the server takes no writes: it is a standby, or was made read-only"
    return None


def possible(*texts: str | None) -> bool:
    """Whether the database can be asked for these; it keeps no text that has a NUL or half of a surrogate pair."""
    joined = "".join(filter(None, texts))
    return "\0" not in joined and not any("\ud800" <= character <= "\udfff" for character in joined)


async def _page(connection: AsyncConnection, query: Select[Any], limit: int) -> tuple[Sequence[Row[Any]], bool]:
    limit = max(1, limit)
    rows = (await connection.execute(query.limit(limit + 1))).all()
    return rows[:limit], len(rows) > limit


def _conditions(narrow: CallFilter, started_at: ColumnElement[datetime]) -> Iterator[ColumnElement[bool]]:
    for column, wanted in (
        (calls.c.vendor, narrow.vendor),
        (calls.c.source, narrow.source),
        (calls.c.state, narrow.state),
    ):
        if wanted is not None:
            yield column == wanted
    if narrow.since is not None:
        yield started_at >= narrow.since
    if narrow.until is not None:
        yield started_at < narrow.until


def _cursor(row: Row[Any]) -> str:
    return urlsafe_b64encode(f"{microseconds(row.started_at)} {row.call_id}".encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        moment, call_id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ", 1)
        position = EPOCH + int(moment) * MICROSECOND, call_id
    except (ValueError, OverflowError):
        position = None
    if position is None or not possible(position[1]):
        raise ValueError(f"{cursor!r} is not a cursor of ours")
    return position


def _seq(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) > LARGEST:
        raise ValueError(f"{cursor!r} is not a cursor of ours")
    return int(cursor)
