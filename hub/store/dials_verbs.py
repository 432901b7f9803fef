"""The verbs of dials over SQL; what each promises stands in ``hub.ports.dialing``.

Whoever says what came of a dial holds its row locked, and its claim has to stand in it. The claim stays there when the
outcome is unknown: the answer of a request that was thought lost may still come, to the one who asked.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import orjson
from sqlalchemy import Row, and_, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.dialing.matching import EARLIEST, LATEST, Heard, Sent, pairs
from hub.dialing.orders import Order
from hub.errors import KeyReused
from hub.ports import Failure, Workload
from hub.ports.dialing import KEY_HOURS, Dial, Placed
from hub.store.dials_rows import Verb, dial_of, order_of, row_of, short, told
from hub.store.dials_tables import dial_keys, dial_traces, dials
from hub.store.dials_traces import TRACES
from hub.store.recordings_rows import with_failure
from hub.store.rows import event_of, outbox_row
from hub.store.tables import events, outbox
from hub.store.transactions import Transactions

LOOSE_FOR: Final = timedelta(hours=24)
"""After that nobody looks any more for the call that a dial became."""

_AT_ONCE: Final = 100
_FREE: Final = {"claim": None, "claimed_until": None}
_ENDED: Final = "whoever sent it ended before the answer was there"
_columns = dials.c


class SqlDials:
    """``hub.ports.dialing.Dials`` over PostgreSQL or SQLite."""

    def __init__(self, transactions: Transactions, dialect: str) -> None:
        self._transactions = transactions
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert

    # --- taking ------------------------------------------------------------------------------------------------------

    async def take(
        self,
        order: Order,
        vendor: str,
        *,
        callee: Mapping[str, str],
        key: str | None,
        now: datetime,
        within: float,
    ) -> Dial:
        """Makes a dial, or returns the one that the key stands for."""
        dial_id = str(uuid4())

        async def work(connection: AsyncConnection) -> Dial:
            if key is not None:
                known = await self._known(connection, order, key, dial_id, now)
                if known is not None:
                    return known
            made = (
                insert(dials)
                .values(row_of(dial_id, order, vendor, callee=callee, key=key, now=now, within=within))
                .returning(dials)
            )
            row = (await connection.execute(made)).one()
            await self._tell(connection, row, "requested", now)
            return dial_of(row)

        return await self._transactions.write(work)

    async def _known(
        self, connection: AsyncConnection, order: Order, key: str, dial_id: str, now: datetime
    ) -> Dial | None:
        """The dial that the key stands for; None where it stands for ours from now on. Raises KeyReused."""
        mine = {"dial_id": dial_id, "digest": order.digest(), "until": now + timedelta(hours=KEY_HOURS)}
        made = self._insert(dial_keys).values(idempotency_key=key, **mine)
        over = made.on_conflict_do_update(index_elements=["idempotency_key"], set_=mine, where=dial_keys.c.until <= now)
        await connection.execute(over)
        kept = (await connection.execute(select(dial_keys).where(dial_keys.c.idempotency_key == key))).one()
        if kept.dial_id == dial_id:
            return None
        if kept.digest != mine["digest"]:
            raise KeyReused("the idempotency key stands for another request of the last 24 hours; expected another key")
        row = await self._row(connection, kept.dial_id)
        return None if row is None else dial_of(row)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def due(self, now: datetime) -> set[str]:
        """The sources that have something to be sent."""
        waiting = self._waiting(now).with_only_columns(_columns.source).distinct()

        async def work(connection: AsyncConnection) -> set[str]:
            return set((await connection.scalars(waiting)).all())

        return await self._transactions.read(work)

    async def claim(self, source: str, now: datetime, limit: int, lease: float, claim: str) -> list[Dial]:
        """Takes what is to be sent, oldest first."""
        query = self._waiting(now).where(_columns.source == source)
        query = query.order_by(_columns.next_at, _columns.dial_id).limit(limit).with_for_update(skip_locked=True)
        until = now + timedelta(seconds=lease)

        async def work(connection: AsyncConnection) -> list[Dial]:
            found = [row.dial_id for row in await connection.execute(query)]
            if not found:
                return []
            taken = update(dials).where(_columns.dial_id.in_(found)).values(claim=claim, claimed_until=until)
            rows = {row.dial_id: row for row in await connection.execute(taken.returning(dials))}
            return [dial_of(rows[one]) for one in found]

        return await self._transactions.write(work)

    def _waiting(self, now: datetime) -> Any:
        free = or_(_columns.claimed_until.is_(None), _columns.claimed_until <= now)
        mine = (_columns.state == "requested") & _columns.sent_at.is_(None)
        return select(dials).where(mine, _columns.next_at <= now, _columns.give_up_at > now, free)

    async def intend(self, dial_id: str, claim: str, now: datetime, lease: float) -> bool:
        """Writes down that it is about to be sent."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, dial_id, claim, "requested")
            if row is None or row.sent_at is not None or now >= row.give_up_at:
                return False
            until = now + timedelta(seconds=lease)
            await self._write(connection, row, sent_at=now, claimed_until=until, attempt=row.attempt + 1, loose=True)
            return True

        return await self._transactions.write(work)

    # --- what came of it ---------------------------------------------------------------------------------------------

    async def accepted(self, dial_id: str, claim: str, placed: Placed, now: datetime) -> bool:
        """The vendor has taken it on: the row, and its event."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, dial_id, claim, "requested", "unknown")
            if row is None:
                return False
            await self._accept(
                connection,
                row,
                now,
                request_id=placed.request_id or None,
                vendor_ids=orjson.dumps(placed.vendor_ids).decode(),
                call_id=placed.call_id,
            )
            return True

        return await self._transactions.write(work)

    async def failed(self, dial_id: str, claim: str, reason: str, now: datetime) -> bool:
        """It will not be placed: the row, and its event."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, dial_id, claim, "requested", "unknown")
            if row is not None:
                await self._fail(connection, row, reason, now)
            return row is not None

        return await self._transactions.write(work)

    async def doubted(self, dial_id: str, claim: str, reason: str, now: datetime) -> bool:
        """It was sent, and nobody knows what came of it."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, dial_id, claim, "requested")
            if row is not None:
                await self._doubt(connection, row, reason, now)
            return row is not None

        return await self._transactions.write(work)

    async def postpone(self, dial_id: str, claim: str, until: datetime, failure: Failure) -> bool:
        """Certainly nothing was sent: the intent is taken back. Also where it was given for unknown meanwhile."""

        async def work(connection: AsyncConnection) -> bool:
            row = await self._mine(connection, dial_id, claim, "requested", "unknown")
            if row is None:
                return False
            history = with_failure(row.history, failure)
            nothing = {"state": "requested", "sent_at": None, "settled_at": None, "reason": None, "loose": False}
            await self._write(connection, row, next_at=until, history=history, **nothing, **_FREE)
            return True

        return await self._transactions.write(work)

    async def sweep(self, now: datetime) -> list[Dial]:
        """What is too late has failed; what was sent by somebody who is gone is unknown."""
        free = or_(_columns.claimed_until.is_(None), _columns.claimed_until <= now)
        over = or_(_columns.sent_at.is_not(None), _columns.give_up_at <= now)
        query = select(dials).where(_columns.state == "requested", over, free).limit(_AT_ONCE)

        async def work(connection: AsyncConnection) -> list[Dial]:
            rows = (await connection.execute(query.with_for_update(skip_locked=True))).all()
            for row in rows:
                if row.sent_at is not None:
                    await self._doubt(connection, row, _ENDED, now)
                else:
                    await self._fail(connection, row, _too_late(row), now)
            return [dial_of(one) for row in rows if (one := await self._row(connection, row.dial_id)) is not None]

        if not await self._transactions.read(_any(query)):
            return []
        return await self._transactions.write(work)

    # --- which call it became ----------------------------------------------------------------------------------------

    async def settle(self, now: datetime) -> list[Dial]:
        """Ties dials to the calls that callbacks have told of since."""
        query = select(dials).where(_columns.loose).order_by(_columns.dial_id)

        async def work(connection: AsyncConnection) -> list[Dial]:
            rows = (await connection.execute(query.with_for_update())).all()
            tied = []
            for source in sorted({row.source for row in rows}):
                mine = [row for row in rows if row.source == source]
                heard = await self._heard(connection, source, mine)
                tied += await self._settle(connection, mine, heard, now)
            return [dial_of(one) for row in tied if (one := await self._row(connection, row)) is not None]

        traced = exists().where(dial_traces.c.source == _columns.source)
        if not await self._transactions.read(_any(query.where(traced))):
            return []
        return await self._transactions.write(work)

    async def _settle(
        self, connection: AsyncConnection, rows: Sequence[Row[Any]], heard: Sequence[Heard], now: datetime
    ) -> list[str]:
        """By the vendor's own id first; then, of what is unknown, by what fits nothing else."""
        by_trace = {call.trace: call for call in reversed(heard)}
        known = {row.dial_id: row for row in rows}
        tied = []
        for row in rows:
            call = by_trace.get(row.request_id) if row.state == "accepted" and row.request_id else None
            if call is not None:
                await self._tie(connection, row, call, now)
                tied.append(row.dial_id)
        asked = {row.request_id for row in rows if row.request_id}
        left = [call for call in heard if call.trace not in asked]
        open_ = [row for row in rows if row.dial_id not in tied and not (row.state == "accepted" and row.request_id)]
        sent = [
            Sent(row.dial_id, order_of(row), row.sent_at, answered=row.state == "requested")
            for row in open_
            if row.sent_at is not None
        ]
        for one, call in pairs(sent, left):
            row = known[one.dial_id]
            if row.state == "accepted":
                await self._tie(connection, row, call, now)
            else:
                ids = orjson.dumps({TRACES[row.vendor]: call.trace}).decode()
                await self._accept(connection, row, now, request_id=call.trace, vendor_ids=ids, call_id=call.call_id)
            tied.append(one.dial_id)
        return tied

    async def _heard(self, connection: AsyncConnection, source: str, rows: Sequence[Row[Any]]) -> list[Heard]:
        """The calls of a source that are nobody's and began since the first of its loose dials was sent."""
        first = min(row.sent_at for row in rows if row.sent_at is not None) - EARLIEST
        taken = exists().where(_columns.call_id == dial_traces.c.call_id)
        query = select(dial_traces).where(dial_traces.c.source == source, dial_traces.c.at >= first, ~taken)
        found = []
        for trace in (await connection.execute(query.order_by(dial_traces.c.at, dial_traces.c.call_id))).all():
            of_call = select(events).where(events.c.call_id == trace.call_id, events.c.folds)
            told_of = [event_of(row) for row in await connection.execute(of_call)]
            found.append(Heard.of(trace.call_id, trace.trace, trace.at, told_of))
        return found

    async def _tie(self, connection: AsyncConnection, row: Row[Any], call: Heard, now: datetime) -> None:
        tied = await self._write(
            connection, row, call_id=call.call_id, request_id=row.request_id or call.trace, loose=False
        )
        await self._tell(connection, tied, "tied", now)

    # --- reading, and forgetting -------------------------------------------------------------------------------------

    async def dial(self, dial_id: str) -> Dial | None:
        """One; None where there is none."""

        async def work(connection: AsyncConnection) -> Dial | None:
            row = await self._row(connection, dial_id)
            return None if row is None else dial_of(row)

        return await self._transactions.read(work)

    async def of_call(self, call_id: str) -> Sequence[Dial]:
        """Those of a call."""
        query = select(dials).where(_columns.call_id == call_id).order_by(_columns.requested_at, _columns.dial_id)

        async def work(connection: AsyncConnection) -> list[Dial]:
            return [dial_of(row) for row in await connection.execute(query)]

        return await self._transactions.read(work)

    async def forget(self, now: datetime) -> int:
        """Removes keys whose time is over, and lets go of calls that nobody looks for any more."""
        before = now - LOOSE_FOR

        async def work(connection: AsyncConnection) -> int:
            await connection.execute(
                update(dials)
                .where(_columns.loose, _columns.state != "requested", _columns.sent_at < before)
                .values(loose=False)
            )
            await connection.execute(delete(dial_traces).where(dial_traces.c.at < before - LATEST))
            gone = await connection.execute(delete(dial_keys).where(dial_keys.c.until <= now))
            return int(gone.rowcount)

        return await self._transactions.write(work)

    async def workload(self, connection: AsyncConnection) -> Workload:
        """Dials that have come to an end, and those that have not: also what callbacks may still settle."""
        waiting = or_(_columns.state == "requested", and_(_columns.state == "unknown", _columns.loose))
        row = (await connection.execute(select(func.count(), func.count(case((waiting, 1)))).select_from(dials))).one()
        return Workload(settled=row[0] - row[1], waiting=row[1])

    # --- beneath -----------------------------------------------------------------------------------------------------

    async def _row(self, connection: AsyncConnection, dial_id: str) -> Row[Any] | None:
        return (await connection.execute(select(dials).where(_columns.dial_id == dial_id))).one_or_none()

    async def _mine(self, connection: AsyncConnection, dial_id: str, claim: str, *states: str) -> Row[Any] | None:
        query = select(dials).where(_columns.dial_id == dial_id, _columns.claim == claim, _columns.state.in_(states))
        return (await connection.execute(query.with_for_update())).one_or_none()

    async def _write(self, connection: AsyncConnection, row: Row[Any], **values: Any) -> Row[Any]:
        written = update(dials).where(_columns.dial_id == row.dial_id).values(**values).returning(dials)
        found: Row[Any] = (await connection.execute(written)).one()
        return found

    async def _accept(self, connection: AsyncConnection, row: Row[Any], now: datetime, **values: Any) -> None:
        rests = {"state": "accepted", "settled_at": now, "next_at": None, "reason": None, "claimed_until": None}
        loose = values["call_id"] is None
        await self._tell(
            connection, await self._write(connection, row, **rests, **values, loose=loose), "accepted", now
        )

    async def _fail(self, connection: AsyncConnection, row: Row[Any], reason: str, now: datetime) -> None:
        rests = {"state": "failed", "settled_at": now, "next_at": None, "claimed_until": None, "loose": False}
        await self._tell(connection, await self._write(connection, row, **rests, reason=short(reason)), "failed", now)

    async def _doubt(self, connection: AsyncConnection, row: Row[Any], reason: str, now: datetime) -> None:
        rests = {"state": "unknown", "settled_at": now, "next_at": None, "claimed_until": None}
        await self._write(connection, row, **rests, reason=short(reason))

    async def _tell(self, connection: AsyncConnection, row: Row[Any], verb: Verb, now: datetime) -> None:
        await connection.execute(insert(outbox), outbox_row(told(row, verb, now)))


def _too_late(row: Row[Any]) -> str:
    seconds = (row.give_up_at - row.requested_at).total_seconds()
    last = orjson.loads(row.history)
    return f"not placed within {seconds:g} s: {last[-1][1] if last else 'nobody was there to send it'}"


def _any(query: Any) -> Any:
    async def work(connection: AsyncConnection) -> bool:
        return bool(await connection.scalar(select(query.exists())))

    return work
