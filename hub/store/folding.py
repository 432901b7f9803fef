"""The two transactions that make records: applying new events, and sealing what is due.

Both hold their calls' rows locked from before they read the events until they commit. So a call is folded by one
transaction at a time, each sees all that the one before it kept, and the last of them writes the record of the whole
set: the same, however the events were spread over transactions and processes.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Column, Table, delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.calls import Folded, Timing, applies, fold, key, reused
from hub.calls.facts import asked_for, received, received_at
from hub.events import Event
from hub.ports import Applied
from hub.store.batches import allot, batch, insert_new
from hub.store.changes import Change, Touched, applied, sealed
from hub.store.dials_traces import note
from hub.store.failures import CONVERSIONS, BadData, bad_data
from hub.store.rows import event_of, event_row, fit, outbox_row
from hub.store.tables import call_numbers, calls, events, outbox, repeats

REUSED: Final = "request_id_reused"
UNFOLDED: Final = {"state": "in_progress", "record": "{}", "revision": 0, "conflicts": 0, "numbers": ""}

_log = structlog.get_logger("store")


class Folding:
    """The statements, made once, and the order they are run in."""

    def __init__(self, dialect: str, expected: Callable[[str], frozenset[str]], timing: Timing) -> None:
        self._expected = expected
        self._timing = timing

        self._ids = batch(dialect, calls, "call_id")
        among = select(self._ids.rows.c.call_id)
        self._first = batch(dialect, calls, "call_id", "vendor", "source", "started_at", *UNFOLDED)
        self._create = insert_new(dialect, calls, self._first, "call_id").returning(calls.c.call_id)
        self._remove = delete(calls).where(calls.c.call_id.in_(among))
        self._lock = select(calls).where(calls.c.call_id.in_(among)).order_by(calls.c.call_id).with_for_update()
        self._due = select(calls).order_by(calls.c.seal_at).with_for_update(skip_locked=True)
        self._postpone = update(calls).where(calls.c.call_id.in_(among))

        self._known = select(events).where(events.c.call_id.in_(among), events.c.folds).order_by(events.c.seq)
        self._kept = batch(dialect, events, *_names(events, without={"txid"}))
        self._keep = insert_new(dialect, events, self._kept, "id").returning(events.c.id)

        self._repeated = batch(dialect, repeats, "event_id", "received_at")
        self._repeat = insert_new(dialect, repeats, self._repeated, "event_id", "received_at").returning(*repeats.c)
        self._counted = batch(dialect, calls, "call_id", "repeats")
        more = self._counted.rows.c
        self._count = (
            update(calls).where(calls.c.call_id == more.call_id).values(repeats=calls.c.repeats + more.repeats)
        )
        self._changed = batch(dialect, calls, *_names(calls, without={"vendor", "source", "repeats"}))
        new = self._changed.rows.c
        values = {name: new[name] for name in self._changed.columns if name != "call_id"}
        self._write = update(calls).where(calls.c.call_id == new.call_id).values(values)
        self._entries = batch(dialect, call_numbers, *_names(call_numbers))
        self._enter = insert_new(dialect, call_numbers, self._entries, "number", "started_at", "call_id")
        self._leave = delete(call_numbers).where(tuple_(*call_numbers.c).in_(select(*self._entries.rows.c)))

    async def apply(self, connection: AsyncConnection, given: Sequence[Event], now: datetime) -> Applied:
        """Keeps what is new, and brings the records of its calls up to it."""
        distinct: dict[str, Event] = {}
        for event in given:
            distinct.setdefault(event.id, event)
            fit(event)
        touched = _touched(distinct.values())
        apart = sorted((event for event in distinct.values() if not applies(event)), key=lambda event: event.id)

        numbers = await allot(connection, len(distinct))
        await self._take(connection, touched)
        refused = self._choose(touched.values())
        again = _repeats(given, touched)
        kept = await self._keep_new(connection, touched.values(), apart, numbers, now)
        await note(connection, [event for call in touched.values() for event in call.new])
        await self._drop_empty(connection, touched.values())
        changes = [self._change(applied, call, now) for call in touched.values() if call.new]
        await self._store(connection, changes)
        if again:
            await self._count_repeats(connection, again)
        return Applied(
            new=kept,
            repeated=len(given) - kept - len(refused),
            refused=refused,
            conflicts=sum(change.conflicts for change in changes),
            derived=sum(len(change.derived) for change in changes),
        )

    async def seal(self, connection: AsyncConnection, now: datetime, limit: int) -> int:
        """Seals calls that are due and that nobody else is about to seal; returns how many."""
        due = await connection.execute(self._due.where(calls.c.seal_at <= now).limit(limit))
        touched = {row.call_id: Touched.locked(row) for row in due}
        await self._read_known(connection, touched)
        changes, unfit = [], []
        for call in touched.values():
            try:
                changes.append(self._change(sealed, call, now))
            except BadData as error:
                _log.exception("store.call_not_sealed", call_id=call.call_id, reason=str(error))
                unfit.append({"call_id": call.call_id})
        await self._store(connection, changes)
        if unfit:  # a later version may know how: they must not stand before all others until then
            later = self._postpone.values(seal_at=now + timedelta(seconds=self._timing.longest))
            await connection.execute(later, self._ids.bind(unfit))
        return len(changes)

    async def _take(self, connection: AsyncConnection, touched: Mapping[str, Touched]) -> None:
        """Locks the calls, those of which nothing is known yet too, and reads what is known of them.

        No two transactions can wait for each other in a circle. First the rows that are missing are made, in the order
        of their ids, and only then are the rows that were there locked, in that order too: whoever waits for another's
        new row holds only new rows of smaller ids, and whoever waits for an old row has made all of its own.
        """
        if not touched:
            return
        order = sorted(touched)
        created = await connection.scalars(self._create, self._first.bind([_first(touched[name]) for name in order]))
        new = set(created)
        for row in await connection.execute(self._lock, self._ids.bind([{"call_id": name} for name in order])):
            touched[row.call_id].before = row
        await self._read_known(connection, {name: call for name, call in touched.items() if name not in new})

    async def _read_known(self, connection: AsyncConnection, touched: Mapping[str, Touched]) -> None:
        if not touched:
            return
        for row in await connection.execute(self._known, self._ids.bind([{"call_id": name} for name in touched])):
            touched[row.call_id].known.append(event_of(row))

    def _choose(self, touched: Iterable[Touched]) -> dict[str, str]:
        """Picks each call's new events; returns those that are refused for good, and why."""
        refused: dict[str, str] = {}
        for call in touched:
            known = {event.id for event in call.known}
            for event in call.candidates:
                if event.id in known:
                    continue
                if self._reused(call, event):
                    refused[event.id] = REUSED
                else:
                    call.new.append(event)
        return refused

    def _reused(self, call: Touched, event: Event) -> bool:
        try:
            return reused(call.events, event, self._timing)
        except CONVERSIONS as error:
            raise bad_data(error) from error

    async def _keep_new(
        self,
        connection: AsyncConnection,
        touched: Iterable[Touched],
        apart: Sequence[Event],
        numbers: Sequence[int | None],
        now: datetime,
    ) -> int:
        """Inserts the events, and takes those that were here already out of their calls' new ones; returns how many.

        An event of a call is inserted by who holds the call's lock. Those apart come last, in the order of their ids:
        whoever waits for another's insertion of one holds none that the other has yet to insert.
        """
        new = [event for call in touched for event in call.new] + list(apart)
        if not new:
            return 0
        rows = [{"seq": seq, **event_row(event, now)} for event, seq in zip(new, numbers, strict=False)]
        kept = set(await connection.scalars(self._keep, self._kept.bind(rows)))
        for call in touched:
            call.new = [event for event in call.new if event.id in kept]
        return len(kept)

    async def _count_repeats(self, connection: AsyncConnection, given: Mapping[tuple[str, str], str]) -> None:
        """Counts each repetition once, by its call, whose lock we hold."""
        rows = [{"event_id": event_id, "received_at": moment} for event_id, moment in given]
        fresh = await connection.execute(self._repeat, self._repeated.bind(rows))
        counts = Counter(given[row.event_id, row.received_at] for row in fresh)
        if counts:
            more = [{"call_id": call_id, "repeats": count} for call_id, count in counts.items()]
            await connection.execute(self._count, self._counted.bind(more))

    async def _drop_empty(self, connection: AsyncConnection, touched: Iterable[Touched]) -> None:
        """Takes back the rows that were made for calls whose events are here, kept for something else."""
        empty = [{"call_id": call.call_id} for call in touched if not call.events]
        if empty:
            await connection.execute(self._remove, self._ids.bind(empty))

    def _change(self, make: Callable[[Touched, Folded, datetime], Change], call: Touched, now: datetime) -> Change:
        try:
            return make(call, fold(call.events, self._expected(call.before.source), self._timing), now)
        except CONVERSIONS as error:  # values of a shape that the fold does not know: the newest event's fault
            raise bad_data(error) from error

    async def _store(self, connection: AsyncConnection, changes: Sequence[Change]) -> None:
        if not changes:
            return
        await connection.execute(self._write, self._changed.bind([change.row for change in changes]))
        if gone := [entry for change in changes for entry in change.gone]:
            await connection.execute(self._leave, self._entries.bind(gone))
        if come := [entry for change in changes for entry in change.come]:
            await connection.execute(self._enter, self._entries.bind(come))
        if derived := [outbox_row(event) for change in changes for event in change.derived]:
            await connection.execute(insert(outbox), derived)


def _repeats(given: Sequence[Event], touched: Mapping[str, Touched]) -> dict[tuple[str, str], str]:
    """What a vendor sent again of what it had sent before: event and time of receipt, and the call of each.

    The same id received at another time is the vendor's repetition; received at the same time it is the bus's own
    redelivery.
    """
    first = {event.id: event for call in touched.values() for event in (*reversed(call.candidates), *call.known)}
    return {
        (event.id, received(event)): key(event)
        for event in given
        if event.id in first and received(event) != received(first[event.id]) and not asked_for(event)
    }


def _touched(distinct: Iterable[Event]) -> dict[str, Touched]:
    touched: dict[str, Touched] = {}
    for event in distinct:
        if applies(event):
            name = key(event)
            touched.setdefault(name, Touched(name)).candidates.append(event)
    return touched


def _first(call: Touched) -> dict[str, Any]:
    event = call.candidates[0]
    try:
        start = received_at(event)
    except CONVERSIONS as error:
        raise bad_data(error) from error
    return {
        "call_id": call.call_id,
        "vendor": event.vendor,
        "source": event.source,
        "started_at": start,
        **UNFOLDED,
    }


def _names(table: Table, without: Collection[str] = ()) -> list[str]:
    columns: list[Column[Any]] = list(table.c)
    return [column.name for column in columns if column.name not in without]
