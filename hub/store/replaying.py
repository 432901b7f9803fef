"""The kept events once more, as they were published; and the inbox of workers whose effect must not be repeated.

What is chosen by a time or a source has no index of its own: it is looked for along ``seq``, a stretch at a time, so
that no statement is long, however many events there are. Ids and calls have theirs, and are one stretch.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.ports import EventFilter, Stored
from hub.store.batches import batch, insert_new, settled
from hub.store.reading import possible
from hub.store.rows import stored_of
from hub.store.tables import events, inbox

STRETCH: Final = 20_000
"""Numbers of events that one statement looks at."""

Stretch = tuple[int, int]
"""Behind the first number, up to the second."""


def stretches(narrow: EventFilter, after: int, upto: int) -> Iterator[Stretch]:
    """What to look at, in its order."""
    if after >= upto or not possible(narrow.call_id, narrow.source):
        return
    if narrow.ids is not None or narrow.call_id is not None:
        yield after, upto
        return
    for start in range(after, upto, STRETCH):
        yield start, min(start + STRETCH, upto)


async def newest(connection: AsyncConnection) -> int:
    """The number of the newest event before which none can come any more; 0 where there is none."""
    query = select(events.c.seq).where(settled(connection.dialect.name)).order_by(events.c.seq.desc()).limit(1)
    return await connection.scalar(query) or 0


async def count(connection: AsyncConnection, narrow: EventFilter, stretch: Stretch) -> dict[str, int]:
    """How many events of each routing key there are in a stretch."""
    query = _narrowed(select(events.c.routing_key, func.count().label("found")), narrow, stretch)
    return {row.routing_key: row.found for row in await connection.execute(query.group_by(events.c.routing_key))}


async def page(connection: AsyncConnection, narrow: EventFilter, stretch: Stretch, limit: int) -> list[Stored]:
    """The first events of a stretch."""
    query = _narrowed(select(events), narrow, stretch).order_by(events.c.seq).limit(limit)
    return [stored_of(row) for row in await connection.execute(query)]


async def done(connection: AsyncConnection, worker: str, ids: Collection[str]) -> frozenset[str]:
    """Those of the events that are in the worker's inbox."""
    query = select(inbox.c.event_id).where(inbox.c.worker == worker, inbox.c.event_id.in_(ids))
    return frozenset(await connection.scalars(query))


async def note(connection: AsyncConnection, worker: str, ids: Collection[str], now: datetime) -> None:
    """Puts events into the worker's inbox; those that are there stay as they are."""
    dialect = connection.dialect.name
    rows = batch(dialect, inbox, "worker", "event_id", "done_at")
    noted = [{"worker": worker, "event_id": event_id, "done_at": now} for event_id in ids]
    await connection.execute(insert_new(dialect, inbox, rows, "worker", "event_id"), rows.bind(noted))


def _narrowed(query: Select[Any], narrow: EventFilter, stretch: Stretch) -> Select[Any]:
    return query.where(*_conditions(narrow, stretch))


def _conditions(narrow: EventFilter, stretch: Stretch) -> Iterator[ColumnElement[bool]]:
    start, end = stretch
    yield events.c.seq > start
    yield events.c.seq <= end
    if narrow.ids is not None:
        yield events.c.id.in_([one for one in narrow.ids if possible(one)])
    if narrow.call_id is not None:
        yield events.c.call_id == narrow.call_id
    if narrow.source is not None:
        yield events.c.source == narrow.source
    if narrow.routing_keys is not None:
        yield events.c.routing_key.in_(narrow.routing_keys)
    if narrow.since is not None:
        yield events.c.kept_at >= narrow.since
    if narrow.until is not None:
        yield events.c.kept_at < narrow.until
