"""What was heard of a source's calls, read for those who look for what was not."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.events import Event
from hub.ports.gaps import Cycle
from hub.store.batches import batch
from hub.store.rows import event_of
from hub.store.tables import CALLBACK, calls, events
from hub.store.transactions import Transactions

_TOLD: Final = exists().where(events.c.call_id == calls.c.call_id, CALLBACK)


class GapBook:
    """``hub.ports.gaps.Gaps``."""

    def __init__(self, transactions: Transactions, dialect: str) -> None:
        self._transactions = transactions
        self._ids = batch(dialect, calls, "call_id")

    async def heard(self, source: str, since: datetime, until: datetime) -> dict[str, list[Event]]:
        """Along the source's calls, and the events of each."""
        return await self._events(select(calls.c.call_id).where(_begun(source, since, until)), None)

    async def heard_of(self, call_ids: Collection[str]) -> dict[str, list[Event]]:
        """Along the calls' own events."""
        if not call_ids:
            return {}
        return await self._events(select(self._ids.rows.c.call_id), call_ids)

    async def _events(self, wanted: Select[tuple[Any]], call_ids: Collection[str] | None) -> dict[str, list[Event]]:
        query = select(events).where(events.c.folds, events.c.call_id.in_(wanted)).order_by(events.c.seq)
        values = {} if call_ids is None else self._ids.bind([{"call_id": name} for name in sorted(call_ids)])

        async def work(connection: AsyncConnection) -> dict[str, list[Event]]:
            found: defaultdict[str, list[Event]] = defaultdict(list)
            for row in await connection.execute(query, values):
                found[row.call_id].append(event_of(row))
            return dict(found)

        return await self._transactions.read(work)

    async def begun(self, source: str, spans: Sequence[tuple[datetime, datetime]]) -> list[int]:
        """A range of one index for each."""

        async def work(connection: AsyncConnection) -> list[int]:
            queries = (
                select(func.count()).select_from(calls).where(_begun(source, since, until), _TOLD)
                for since, until in spans
            )
            return [int(await connection.scalar(query) or 0) for query in queries]

        return await self._transactions.read(work)

    async def extent(self, source: str) -> tuple[datetime, datetime] | None:
        """From both ends of the same index."""
        told = select(calls.c.started_at).where(calls.c.source == source, _TOLD).limit(1)

        async def work(connection: AsyncConnection) -> tuple[datetime, datetime] | None:
            first = await connection.scalar(told.order_by(calls.c.started_at))
            last = await connection.scalar(told.order_by(calls.c.started_at.desc()))
            return None if first is None or last is None else (first, last)

        return await self._transactions.read(work)

    async def cycle(self, source: str, since: datetime, until: datetime) -> Cycle:
        """The calls' verdicts, and their callbacks counted."""
        mine = and_(_begun(source, since, until), calls.c.sealed_at.is_not(None))
        verdicts = select(calls.c.verdict, calls.c.missing, func.count().label("times")).where(mine, _TOLD)
        heard = select(func.count()).select_from(events.join(calls, events.c.call_id == calls.c.call_id))

        async def work(connection: AsyncConnection) -> Cycle:
            rows = (await connection.execute(verdicts.group_by(calls.c.verdict, calls.c.missing))).all()
            return Cycle(
                callbacks=int(await connection.scalar(heard.where(mine, CALLBACK)) or 0),
                missing=sum(len(orjson.loads(row.missing or "[]")) * row.times for row in rows),
                calls=sum(row.times for row in rows),
                gaps=sum(row.times for row in rows if row.verdict == "gap"),
            )

        return await self._transactions.read(work)


def _begun(source: str, since: datetime, until: datetime) -> ColumnElement[bool]:
    return and_(calls.c.source == source, calls.c.started_at >= since, calls.c.started_at < until)
