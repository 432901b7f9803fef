"""The verbs of respooling over SQL; what each promises stands in ``hub.ports.respool``.

Whoever plans or decides for a contact holds the locks of its numbers, in their order, before any row: two that are
about the same contact follow one another, whichever process, dialer or rule they come from. SQLite has one writer.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, Select, and_, delete, exists, func, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.events import Event, timestamp
from hub.ports import Workload
from hub.ports.respool import (
    WORKER,
    Accepted,
    Dying,
    Follow,
    GivenUp,
    Outcome,
    Postponed,
    Taken,
    Took,
    Unknown,
)
from hub.respooling.planning import (
    ALREADY,
    DIALER,
    NO_RULE,
    REACHED,
    UNFIT,
    Facts,
    Judge,
    Planned,
    Refuse,
    Respool,
    Send,
    State,
    Verdict,
    Wait,
)
from hub.respooling.rules import reached
from hub.store.batches import batch, insert_new
from hub.store.recordings_rows import message_text, text_message
from hub.store.respool_rows import FRESH, changeable, respool_id, respool_of, row_of, told
from hub.store.respool_tables import respool_events, respool_numbers, respool_tally, respools
from hub.store.rows import outbox_row, searchable
from hub.store.tables import call_numbers, calls, inbox, outbox
from hub.store.transactions import Transactions

SKEW: Final = timedelta(seconds=60)
"""By which the dialer's clock may be behind ours."""

REPORTED_WITHIN: Final = timedelta(days=3)
"""A call to the number that begins later than that after its time is nobody's report."""

_CALLS: Final = 200  # latest ones of a number that are looked at
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 8))")
_ABANDONED: Final = "the process ended between asking and writing down the answer"
_c = respools.c
_OPEN: Final = or_(_c.state.in_(("waiting", "sending")), and_(_c.state == "unknown", _c.grave.is_(None)))
_UNSETTLED: Final = or_(_OPEN, _c.grave == "dying")


class SqlRespools:
    """``hub.ports.respool.Respools`` over PostgreSQL or SQLite."""

    def __init__(self, transactions: Transactions, dialect: str) -> None:
        self._transactions = transactions
        self._dialect = dialect
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._noted = batch(dialect, inbox, "worker", "event_id", "done_at")
        self._note = insert_new(dialect, inbox, self._noted, "worker", "event_id").returning(inbox.c.event_id)

    # --- taking ------------------------------------------------------------------------------------------------------

    async def take(self, taken: Sequence[Taken], follow: Follow, now: datetime) -> Took:
        """Writes down what sealed calls come to."""
        if not taken:
            return Took(0, 0, 0)
        distinct = {one.message.id: one for one in taken}
        return await self._transactions.write(lambda connection: self._take(connection, distinct, follow, now))

    async def _take(
        self, connection: AsyncConnection, distinct: Mapping[str, Taken], follow: Follow, now: datetime
    ) -> Took:
        numbers = {number for one in distinct.values() for number in _numbers(one)}
        await self._alone_with(connection, numbers | await self._beside(connection, distinct.values()))
        rows = [{"worker": WORKER, "event_id": name, "done_at": now} for name in sorted(distinct)]
        new = set(await connection.scalars(self._note, self._noted.bind(rows)))
        planned = told_of = 0
        for name, one in sorted(distinct.items(), key=lambda item: (item[1].ended_at, item[0])):
            if name not in new and not one.again:
                continue
            ours = await self._brought_about(connection, one)
            row = _reported_by(ours, one)
            if row is not None:
                told_of += 1
                planned += await self._reported(connection, row, one, follow, now)
            elif one.planned is not None and not ours:
                planned += await self._plan(connection, one.planned, one, now)
            planned += await self._begun_anew(connection, one, now)
        await self._count(connection, len(new))  # last: everybody counts in one row
        return Took(len(new), planned, told_of)

    async def _brought_about(self, connection: AsyncConnection, one: Taken) -> Sequence[Row[Any]]:
        """The attempts that may have brought a call about; a dialer may make several calls of one."""
        if one.number is None:
            return []
        query = self._chained(one.number, one.started_at).order_by(_c.respool_id).with_for_update()
        if not one.outbound:
            query = query.where(_c.dialer == one.source, _c.campaign == one.campaign)
        rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
        return rows

    def _chained(self, number: str, at: datetime) -> Select[Any]:
        joined = select(respools).join(respool_numbers, respool_numbers.c.respool_id == _c.respool_id)
        return joined.where(
            respool_numbers.c.number == number,
            _c.state.in_(("sending", "accepted", "unknown")),
            _c.intent_at <= at + SKEW,
            func.coalesce(_c.at, _c.intent_at) >= at - REPORTED_WITHIN,
        )

    async def _reported(
        self, connection: AsyncConnection, row: Row[Any], one: Taken, follow: Follow, now: datetime
    ) -> int:
        await self._write(connection, row, report=one.call_id, outcome=one.outcome)
        if row.state == "unknown":
            await self._accept(connection, row, now, at=one.started_at)
        planned = follow(respool_of(row), one)
        after = await self._after(connection, row)
        if planned is not None:
            if after is not None and after.state == "waiting" and after.intent_at is None:
                # Whoever has it in hand knows another time: it is looked at anew.
                await self._write(connection, after, due_at=planned.due_at, next_at=planned.next_at, **_FREE)
            return await self._plan(connection, planned, one, now)
        if after is not None and after.state == "waiting":
            await self._refuse(connection, after, REACHED if one.outcome == "answered" else UNFIT, now)
        return 0

    async def _after(self, connection: AsyncConnection, row: Row[Any]) -> Row[Any] | None:
        """The attempt after this one, where it was planned without waiting for a report."""
        same = (_c.contact == row.contact) & (_c.campaign == row.campaign) & (_c.cause == row.cause)
        query = select(respools).where(same, _c.attempt == row.attempt + 1).with_for_update()
        return (await connection.execute(query)).one_or_none()

    async def _plan(self, connection: AsyncConnection, planned: Planned, one: Taken | None, now: datetime) -> int:
        """Makes the row, once; whether it waits now and did not before."""
        name = respool_id(planned)
        before = await self._locked(connection, name)
        if one is not None:
            event = {"event_id": one.message.id, "respool_id": name, "message": message_text(one.message)}
            await connection.execute(self._insert(respool_events).values(event).on_conflict_do_nothing())
        if before is not None or (one is not None and await self._elsewhere(connection, planned, one)):
            return 0
        other = await self._open_row(connection, planned)
        await connection.execute(insert(respools).values(row_of(planned)))
        for number in planned.numbers:
            await connection.execute(insert(respool_numbers).values(number=number, respool_id=name))
        reason = planned.refused or (ALREADY if other is not None else None)
        if reason is None:
            return 1
        row = await self._locked(connection, name)
        if row is not None:
            await self._refuse(connection, row, reason, now)
        return 0

    async def _elsewhere(self, connection: AsyncConnection, planned: Planned, one: Taken) -> bool:
        """Whether a call has begun another chain already: by rules that were others then. One outcome is one chain.

        What was certainly not done is in nobody's way, and what may have been gives way to an operator's own word.
        """
        others = select(respools).where(
            _c.cause == planned.cause,
            ~and_(_c.contact == planned.contact, _c.campaign == planned.campaign),
            _c.state != "refused",
        )
        rows = (await connection.execute(others)).all()
        return any(row.state != "unknown" or not one.again for row in rows)

    async def _begun_anew(self, connection: AsyncConnection, one: Taken, now: datetime) -> int:
        """Takes what a call led to out of the dead letters, where it certainly was not done; how many wait now.

        A repetition of its event looks the same as one that an operator puts back. So what may have been done wants the
        operator's own word. What the rule says of the dialer may have been mended meanwhile.
        """
        linked = select(respools).join(respool_events, respool_events.c.respool_id == _c.respool_id)
        undone = _c.state.in_(("refused", "unknown") if one.again else ("refused",))
        query = linked.where(respool_events.c.event_id == one.message.id, _c.grave == "buried", undone)
        waiting = 0
        for row in (await connection.execute(query.order_by(_c.respool_id).with_for_update())).all():
            anew = FRESH | {"round": row.round + 1, "next_at": now, "due_at": now}
            if one.planned is not None and one.planned.cause == row.cause:
                if (one.planned.contact, one.planned.campaign) != (row.contact, row.campaign):
                    continue  # its rules want another chain of it by now, and one outcome is one chain
                anew |= changeable(one.planned)
            await self._write(connection, row, **anew)
            fresh = await self._locked(connection, row.respool_id)
            assert fresh is not None  # noqa: S101  we hold it
            if await self._open_row(connection, respool_of(fresh).planned) is None:
                waiting += 1
            else:
                await self._refuse(connection, fresh, ALREADY, now)
        return waiting

    async def _open_row(self, connection: AsyncConnection, planned: Planned) -> Row[Any] | None:
        joined = select(respools).join(respool_numbers, respool_numbers.c.respool_id == _c.respool_id)
        query = joined.where(
            respool_numbers.c.number.in_(planned.numbers),
            _c.campaign == planned.campaign,
            ~and_(_c.contact == planned.contact, _c.cause == planned.cause),  # its own chain is in nobody's way
            _OPEN,
        )
        return (await connection.execute(query.order_by(_c.due_at, _c.respool_id).limit(1))).first()

    # --- sending -----------------------------------------------------------------------------------------------------

    async def claim(self, dialer: str, claim: str, now: datetime, limit: int, lease: float) -> list[Respool]:
        """Takes what is due, the longest due first."""
        beyond = now + timedelta(seconds=2 * lease)  # further ahead than a lease can be: the clock was set back
        until = _c.claimed_until
        free = or_(until.is_(None), until <= now, until > beyond)
        query = select(respools).where(_c.dialer == dialer, _c.state == "waiting", _c.next_at <= now, free)
        query = query.order_by(_c.next_at, _c.respool_id).limit(limit).with_for_update(skip_locked=True)

        async def work(connection: AsyncConnection) -> list[Respool]:
            rows = (await connection.execute(query)).all()
            if rows:
                mine = _c.respool_id.in_([row.respool_id for row in rows])
                taken = {"claim": claim, "claimed_until": now + timedelta(seconds=lease)}
                await connection.execute(update(respools).where(mine).values(taken))
            return [replace(respool_of(row), claim=claim) for row in rows]

        return await self._transactions.write(work)

    async def decide(
        self, respool: Respool, judge: Judge, day: datetime, now: datetime, lease: float
    ) -> Verdict | None:
        """Judges under the contact's lock, and writes the verdict down."""

        async def work(connection: AsyncConnection) -> Verdict | None:
            await self._alone_with(connection, {respool.planned.contact, *respool.planned.numbers})
            row = await self._locked(connection, respool.respool_id)
            if row is None or row.claim != respool.claim or row.state != "waiting":
                return None
            verdict = judge(await self._facts(connection, respool.planned, day))
            match verdict:
                case Send():
                    await self._write(
                        connection,
                        row,
                        state="sending",
                        intent_at=now,
                        claimed_until=now + timedelta(seconds=lease),
                        number=verdict.numbers[0],
                        at=verdict.at,
                        reason=None,
                    )
                case Wait():
                    await self._write(connection, row, next_at=verdict.until, reason=verdict.reason, **_FREE)
                case Refuse():
                    await self._refuse(connection, row, verdict.reason, now)
            return verdict

        return await self._transactions.write(work)

    async def conclude(self, respool: Respool, outcome: Outcome, now: datetime) -> bool:
        """What came of it, with its event."""

        async def work(connection: AsyncConnection) -> bool:
            following = outcome.following if isinstance(outcome, Accepted) else None
            await self._alone_with(connection, following.numbers if following else ())
            row = await self._locked(connection, respool.respool_id)
            ours = row is not None and row.claim == respool.claim and row.round == respool.round
            if row is None or not ours or row.state not in {"sending", "unknown"}:
                return False
            match outcome:
                case Accepted():
                    await self._accept(connection, row, now, at=row.at, remote_id=outcome.remote_id)
                    if following is not None and row.report is None:
                        await self._plan(connection, following, None, now)
                        await self._inherit(connection, row, respool_id(following))
                case Postponed():
                    tries = row.tries + outcome.counted
                    again = {"next_at": outcome.until, "reason": outcome.reason, "tries": tries}
                    await self._write(connection, row, state="waiting", intent_at=None, at=None, **again, **_FREE)
                case GivenUp():
                    await self._refuse(connection, row, DIALER, now, detail=outcome.reason, grave="dying")
                case Unknown():
                    await self._doubt(connection, row, outcome.reason, now)
            return True

        return await self._transactions.write(work)

    async def abandoned(self, now: datetime, limit: int) -> list[Respool]:
        """Those whose process never said what came of its intent."""
        query = select(respools).where(_c.state == "sending", _c.claimed_until <= now)
        query = query.order_by(_c.respool_id).limit(limit).with_for_update(skip_locked=True)

        async def work(connection: AsyncConnection) -> list[Respool]:
            rows = (await connection.execute(query)).all()
            for row in rows:
                await self._doubt(connection, row, _ABANDONED, now)
            return [respool_of(row) for row in rows]

        return await self._transactions.write(work)

    async def _doubt(self, connection: AsyncConnection, row: Row[Any], reason: str, now: datetime) -> None:
        if row.report is not None:  # the dialer's call is known, so the dialer took it
            await self._accept(connection, row, now, at=row.at)
            return
        await self._write(connection, row, state="unknown", reason=reason, settled_at=now, next_at=None)

    async def disowned(
        self, dialers: Collection[str], due_before: datetime, now: datetime, limit: int
    ) -> list[Respool]:
        """Refuses what no rule's dialer takes any more."""
        free = or_(_c.claimed_until.is_(None), _c.claimed_until <= now)
        query = select(respools).where(_c.state == "waiting", _c.next_at <= due_before, free)
        query = query.where(_c.dialer.not_in(sorted(dialers))).order_by(_c.respool_id).limit(limit)

        async def work(connection: AsyncConnection) -> list[Respool]:
            rows = (await connection.execute(query.with_for_update(skip_locked=True))).all()
            for row in rows:
                await self._refuse(connection, row, NO_RULE, now)
            return [respool_of(row) for row in rows]

        if not await self._transactions.read(lambda connection: connection.scalar(select(query.exists()))):
            return []
        return await self._transactions.write(work)

    async def next_due(self, dialer: str) -> datetime | None:
        """When the next one of a dialer can be claimed."""
        waiting = select(func.min(func.coalesce(_c.claimed_until, _c.next_at)))
        query = waiting.where(_c.dialer == dialer, _c.state == "waiting")
        return await self._transactions.read(lambda connection: connection.scalar(query))

    # --- what was given up -------------------------------------------------------------------------------------------

    async def dying(self, doubtful_before: datetime, limit: int) -> list[Dying]:
        """What is to become dead letters."""
        doubtful = and_(_c.state == "unknown", _c.grave.is_(None), _c.settled_at <= doubtful_before)
        query = select(respools).where(or_(_c.grave == "dying", doubtful)).order_by(_c.respool_id).limit(limit)

        async def work(connection: AsyncConnection) -> list[Dying]:
            found = []
            for row in (await connection.execute(query)).all():
                events = select(respool_events.c.message).where(respool_events.c.respool_id == row.respool_id)
                messages = await connection.scalars(events.order_by(respool_events.c.event_id))
                said = f"{row.state}: {row.reason}" if row.state == "unknown" else str(row.reason)
                found.append(Dying(respool_of(row), said, tuple(map(text_message, messages))))
            return found

        return await self._transactions.read(work)

    async def buried(self, dying: Dying) -> None:
        """It is a dead letter now, and its events are new again should they come back."""
        ids = [message.id for message in dying.messages]

        async def work(connection: AsyncConnection) -> None:
            row = await self._locked(connection, dying.respool.respool_id)
            if row is None or row.round != dying.respool.round or row.state not in {"refused", "unknown"}:
                return
            await self._write(connection, row, grave="buried")
            gone = delete(inbox).where(inbox.c.worker == WORKER, inbox.c.event_id.in_(ids)).returning(inbox.c.event_id)
            await self._count(connection, -len((await connection.scalars(gone)).all()))

        await self._transactions.write(work)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def facts(self, planned: Planned, day: datetime) -> Facts:
        """What is known of a contact."""
        return await self._transactions.read(lambda connection: self._facts(connection, planned, day))

    async def _facts(self, connection: AsyncConnection, planned: Planned, day: datetime) -> Facts:
        ours = or_(_c.contact == planned.contact, _c.number.in_(planned.numbers))
        dial_at = func.coalesce(_c.at, _c.intent_at)  # what is handed over ahead of its time counts on its own day
        dialled = select(func.count(), func.count().filter(dial_at >= day)).where(ours, _c.intent_at.is_not(None))
        total, today = (await connection.execute(dialled)).one()
        return Facts(await self._reached(connection, planned), int(today), int(total))

    async def _reached(self, connection: AsyncConnection, planned: Planned) -> str | None:
        """The latest call since the cause that one of the numbers was spoken with in, over all sources."""
        own = call_numbers.c.number.in_([searchable(number) for number in planned.numbers])
        query = (
            select(calls.c.call_id, calls.c.record)
            .join_from(call_numbers, calls, call_numbers.c.call_id == calls.c.call_id)
            .where(own, call_numbers.c.started_at >= planned.since)
            .order_by(call_numbers.c.started_at.desc())
            .limit(_CALLS)
        )
        for row in await connection.execute(query):
            answered = planned.details.get("answered", False) and row.call_id == planned.cause
            if not answered and reached(orjson.loads(row.record), planned.numbers):
                return str(row.call_id)
        return None

    async def of_call(self, call_id: str) -> list[Respool]:
        """Attempts that a call caused, or is the report of."""
        return await self._all(select(respools).where(or_(_c.cause == call_id, _c.report == call_id)))

    async def open_for(self, planned: Planned) -> Respool | None:
        """The attempt that stands in another's way."""

        async def work(connection: AsyncConnection) -> Respool | None:
            row = await self._open_row(connection, planned)
            return None if row is None else respool_of(row)

        return await self._transactions.read(work)

    async def chained(self, number: str, since: datetime) -> Respool | None:
        """The attempt that a call to a number was brought about by."""
        found = await self._all(self._chained(number, since))
        return next((one for one in found if one.report is None), found[-1] if found else None)

    async def waiting(self, limit: int) -> list[Respool]:
        """Those that are not settled."""
        return await self._all(select(respools).where(_OPEN).order_by(_c.next_at).limit(limit))

    async def _all(self, query: Select[Any]) -> list[Respool]:
        async def work(connection: AsyncConnection) -> list[Respool]:
            ordered = query.order_by(_c.due_at, _c.attempt, _c.respool_id)
            return [respool_of(row) for row in await connection.execute(ordered)]

        return await self._transactions.read(work)

    async def standings(self) -> Mapping[tuple[str, State], int]:
        """How many there are that are not settled."""
        query = select(_c.dialer, _c.state, func.count().label("count")).where(_OPEN).group_by(_c.dialer, _c.state)

        async def work(connection: AsyncConnection) -> dict[tuple[str, State], int]:
            return {(row.dialer, row.state): int(row[2]) for row in await connection.execute(query)}

        return await self._transactions.read(work)

    async def workload(self, connection: AsyncConnection) -> Workload:
        """Of the events that were taken and are not among the dead letters."""
        alive = exists().where(inbox.c.worker == WORKER, inbox.c.event_id == respool_events.c.event_id)
        joined = respool_events.join(respools, _c.respool_id == respool_events.c.respool_id)
        waiting = select(func.count(respool_events.c.event_id.distinct())).select_from(joined).where(_UNSETTLED, alive)
        every = await connection.scalar(select(respool_tally.c.taken))
        open_ = int(await connection.scalar(waiting) or 0)
        return Workload(settled=int(every or 0) - open_, waiting=open_)

    # --- statements --------------------------------------------------------------------------------------------------

    async def _accept(self, connection: AsyncConnection, row: Row[Any], now: datetime, **values: Any) -> None:
        after = {"state": "accepted", "settled_at": now, "next_at": None, "reason": None, **values}
        await self._write(connection, row, **after)
        at = values.get("at") or row.at or now
        more = {"at": timestamp(at), "number": row.number, "remote_id": values.get("remote_id")}
        await self._tell(connection, told(row, "accepted", now, **more))

    async def _refuse(  # noqa: PLR0917  what a refusal has
        self,
        connection: AsyncConnection,
        row: Row[Any],
        reason: str,
        now: datetime,
        detail: str | None = None,
        grave: str | None = None,
    ) -> None:
        said = reason if detail is None else f"{reason}: {detail}"
        nothing = {"intent_at": None, "at": None, "next_at": None}
        await self._write(
            connection, row, state="refused", reason=said, settled_at=now, grave=grave, **nothing, **_FREE
        )
        await self._tell(connection, told(row, "refused", now, reason=reason, detail=detail))

    async def _inherit(self, connection: AsyncConnection, row: Row[Any], heir: str) -> None:
        """What follows without a report comes from the same events."""
        events = select(respool_events).where(respool_events.c.respool_id == row.respool_id)
        for one in (await connection.execute(events)).all():
            made = {"event_id": one.event_id, "respool_id": heir, "message": one.message}
            await connection.execute(self._insert(respool_events).values(made).on_conflict_do_nothing())

    async def _locked(self, connection: AsyncConnection, name: str) -> Row[Any] | None:
        query = select(respools).where(_c.respool_id == name).with_for_update()
        return (await connection.execute(query)).one_or_none()

    async def _write(self, connection: AsyncConnection, row: Row[Any], **values: Any) -> None:
        await connection.execute(update(respools).where(_c.respool_id == row.respool_id).values(**values))

    async def _tell(self, connection: AsyncConnection, event: Event) -> None:
        await connection.execute(insert(outbox), outbox_row(event))

    async def _count(self, connection: AsyncConnection, more: int) -> None:
        if more:
            add = self._insert(respool_tally).values(id=1, taken=more)
            counted = {"taken": respool_tally.c.taken + add.excluded.taken}
            await connection.execute(add.on_conflict_do_update(index_elements=["id"], set_=counted))

    async def _beside(self, connection: AsyncConnection, taken: Iterable[Taken]) -> set[str]:
        """The other numbers of the contacts whom dialers have called: a report plans for all of them."""
        called = {one.number for one in taken if one.number}
        if not called or self._dialect != "postgresql":
            return set()
        mine = select(respool_numbers.c.respool_id).where(respool_numbers.c.number.in_(called))
        theirs = select(respool_numbers.c.number).where(respool_numbers.c.respool_id.in_(mine)).distinct()
        return set(await connection.scalars(theirs))

    async def _alone_with(self, connection: AsyncConnection, numbers: Collection[str]) -> None:
        """From here to the end of the transaction nobody else plans or decides for these numbers."""
        if self._dialect == "postgresql":
            for number in sorted(numbers):
                await connection.execute(_LOCK, {"key": number})


_FREE: Final = {"claim": None, "claimed_until": None}


def _reported_by(rows: Sequence[Row[Any]], one: Taken) -> Row[Any] | None:
    """The attempt that a call is the report of: the first call that an attempt brought about is, and stays it.

    Repeated, it is the same one's; else the dialer's own word counts before that of another source.
    """
    return min(
        (row for row in rows if row.report in {None, one.call_id}),
        key=lambda row: (
            row.report != one.call_id,
            row.dialer != one.source,
            row.campaign != one.campaign,
            row.intent_at,
            row.respool_id,
        ),
        default=None,
    )


def _numbers(one: Taken) -> set[str]:
    """Whose contact's lock a sealed call needs."""
    planned = set(one.planned.numbers) if one.planned else set()
    return planned | ({one.number} if one.number else set())
