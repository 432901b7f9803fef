"""The ledger's verbs: what was accepted and is not kept, who has what in hand, what failed.

**Totals without a hot row.** Events are never removed, so a checkpoint, ``upto`` and how many there were up to it,
stays true for ever, and the total is that and the few that came after. Nobody who keeps events writes to it: a counter
in their transaction would make them wait for one another. The checkpoint moves only over events that no smaller number
can follow any more: ``reading`` says which those are.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.ports import Attempt, Held, Presence, Suspect, SuspectState, Totals
from hub.store.batches import batch, insert_new, settled
from hub.store.tables import CALLBACK, attempts, calls, checkpoint, events, leases, outbox, presence, relayed, suspects

FORGOTTEN: Final = timedelta(hours=1)
_AT_ONCE: Final = 100  # rows of relayed ids


class Books:
    """The statements, made once."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._ids = batch(dialect, suspects, "event_id")
        among = select(self._ids.rows.c.event_id)
        there = exists().where(events.c.id == self._ids.rows.c.event_id)
        self._lacks = among.where(~there)
        self._new = batch(dialect, suspects, "worker", "event_id", "since", "state")
        self._suspect = insert_new(dialect, suspects, self._new, "worker", "event_id").returning(suspects.c.event_id)
        self._judge = update(suspects).where(
            suspects.c.worker == self._new.rows.c.worker, suspects.c.event_id == self._new.rows.c.event_id
        )
        self._judge = self._judge.where(suspects.c.state != "discarded").values(state=self._new.rows.c.state)
        self._clear = delete(suspects).where(suspects.c.event_id.in_(among), suspects.c.state != "discarded")
        self._attempted = batch(dialect, attempts, *_ATTEMPT)
        self._attempts = select(attempts).order_by(attempts.c.seq)
        self._among = among

    # --- totals ------------------------------------------------------------------------------------------------------

    async def totals(self, connection: AsyncConnection) -> Totals:
        """In one statement: of one moment."""
        base = select(checkpoint.c.upto).scalar_subquery()
        since = select(func.count()).where(events.c.seq > base)
        sums = {
            "events": select(checkpoint.c.events).scalar_subquery() + since.scalar_subquery(),
            "callbacks": select(checkpoint.c.callbacks).scalar_subquery() + since.where(CALLBACK).scalar_subquery(),
            "repeats": select(func.coalesce(func.sum(calls.c.repeats), 0)).where(calls.c.repeats > 0).scalar_subquery(),
            "outbox": select(func.count()).select_from(outbox).scalar_subquery(),
        }
        row = (await connection.execute(select(*(query.label(name) for name, query in sums.items())))).one()
        return Totals(**{name: int(getattr(row, name)) for name in sums})

    async def checkpoint(self, connection: AsyncConnection, limit: int) -> int:
        """Moves the checkpoint over what is settled."""
        before = (await connection.execute(select(checkpoint).with_for_update())).one()
        fresh = select(events.c.seq).where(events.c.seq > before.upto, events.c.seq <= before.upto + limit)
        upto = await connection.scalar(select(func.max(fresh.where(settled(self._dialect)).subquery().c.seq)))
        if upto is None:
            # Numbers that were drawn and rolled back leave gaps, and one may be as long as the limit.
            following = select(func.min(events.c.seq)).where(events.c.seq > before.upto, settled(self._dialect))
            first = await connection.scalar(following)
            if first is not None and first > before.upto + limit:
                await connection.execute(update(checkpoint).values(upto=first - 1))
            return 0
        counted = select(func.count(), func.count().filter(CALLBACK)).where(
            events.c.seq > before.upto, events.c.seq <= upto
        )
        number, callbacks = (await connection.execute(counted)).one()
        more = {"events": before.events + number, "callbacks": before.callbacks + callbacks}
        await connection.execute(update(checkpoint).values(upto=upto, **more))
        return int(number)

    # --- suspects ----------------------------------------------------------------------------------------------------

    async def lacks(self, connection: AsyncConnection, ids: Collection[str]) -> set[str]:
        """One look into the index for each."""
        return set(await connection.scalars(self._lacks, self._ids.bind(_rows(ids))))

    async def suspect(self, connection: AsyncConnection, worker: str, ids: Collection[str], now: datetime) -> int:
        """Inserts those that are neither kept nor known."""
        missing = sorted(await self.lacks(connection, ids))
        if not missing:
            return 0
        rows = [{"worker": worker, "event_id": one, "since": now, "state": "open"} for one in missing]
        return len((await connection.scalars(self._suspect, self._new.bind(rows))).all())

    async def suspects(self, connection: AsyncConnection, worker: str, limit: int) -> list[Suspect]:
        """Lost ones first: they are what everybody asks for."""
        query = select(suspects).where(suspects.c.worker == worker, suspects.c.state != "discarded")
        rank = case({"lost": 0, "open": 1}, value=suspects.c.state, else_=2)
        query = query.order_by(rank, suspects.c.since, suspects.c.event_id).limit(limit)
        return [Suspect(row.event_id, row.since, row.state) for row in await connection.execute(query)]

    async def judge(
        self, connection: AsyncConnection, worker: str, verdicts: Mapping[str, SuspectState], now: datetime
    ) -> int:
        """Updates; inserts what an operator discards before anybody suspected it."""
        rows = [
            {"worker": worker, "event_id": event_id, "since": now, "state": state}
            for event_id, state in sorted(verdicts.items())
        ]
        changed = (await connection.execute(self._judge, self._new.bind(rows))).rowcount
        discarded = [row for row in rows if row["state"] == "discarded"]
        if discarded:
            changed += len((await connection.scalars(self._suspect, self._new.bind(discarded))).all())
        return int(changed)

    async def reopen(self, connection: AsyncConnection, worker: str) -> int:
        """Dead ones are open again."""
        dead = update(suspects).where(suspects.c.worker == worker, suspects.c.state == "dead")
        return int((await connection.execute(dead.values(state="open"))).rowcount)

    async def clear(self, connection: AsyncConnection, worker: str, ids: Collection[str]) -> None:
        """Deletes."""
        await connection.execute(self._clear.where(suspects.c.worker == worker), self._ids.bind(_rows(ids)))

    async def recheck(self, connection: AsyncConnection, worker: str, before: datetime, now: datetime) -> int:
        """Takes the oldest notes, so that two processes look for different ones."""
        notes = select(relayed).where(relayed.c.at <= before).order_by(relayed.c.seq).limit(_AT_ONCE)
        rows = (await connection.execute(notes.with_for_update(skip_locked=True))).all()
        if not rows:
            return 0
        ids = {event_id for row in rows for event_id in row.ids.split("\n")}
        await connection.execute(delete(relayed).where(relayed.c.seq.in_([row.seq for row in rows])))
        return await self.suspect(connection, worker, ids, now)

    async def unreturned(self, connection: AsyncConnection, limit: int) -> set[str]:
        """From the youngest note on, until there are enough."""
        found: set[str] = set()
        notes = select(relayed.c.ids).order_by(relayed.c.seq.desc()).limit(_AT_ONCE)
        for ids in await connection.scalars(notes):
            found.update(ids.split("\n"))
            if len(found) >= limit:
                break
        return found

    # --- presence ----------------------------------------------------------------------------------------------------

    async def present(self, connection: AsyncConnection, mine: Presence) -> list[Presence]:
        """Writes one row, reads the others."""
        row = _presence_row(mine)
        new = {name: value for name, value in row.items() if name != "process"}
        await connection.execute(
            self._insert(presence).values(row).on_conflict_do_update(index_elements=["process"], set_=new)
        )
        rows = await self.presences(connection)
        silent = [one.process for one in rows if one.seen_at < mine.seen_at - FORGOTTEN]
        if silent:
            await connection.execute(delete(presence).where(presence.c.process.in_(silent)))
        return [one for one in rows if one.process != mine.process and one.process not in silent]

    async def presences(self, connection: AsyncConnection) -> list[Presence]:
        """Every row."""
        return [_presence(row) for row in await connection.execute(select(presence).order_by(presence.c.process))]

    async def leave(self, connection: AsyncConnection, process: str) -> None:
        """Deletes one row."""
        await connection.execute(delete(presence).where(presence.c.process == process))

    async def lead(self, connection: AsyncConnection, name: str, holder: str, now: datetime, lease: float) -> bool:
        """Takes a lease that is its own, free or over; one that ends further ahead than one can is over too.

        For no seconds it is given back, where it is its own: another's ends further ahead than that, and stays.
        """
        until, beyond = now + timedelta(seconds=lease), now + timedelta(seconds=2 * lease)
        mine = {"name": name, "holder": holder, "until": until}
        takeable = [leases.c.holder == holder, leases.c.until <= now]
        if lease > 0:
            takeable.append(leases.c.until > beyond)
        take = (
            self._insert(leases)
            .values(mine)
            .on_conflict_do_update(
                index_elements=["name"],
                set_={"holder": holder, "until": until},
                where=or_(*takeable),
            )
        )
        return bool(await connection.scalar(take.returning(leases.c.holder)) == holder)

    # --- attempts ----------------------------------------------------------------------------------------------------

    async def attempted(self, connection: AsyncConnection, given: Sequence[Attempt]) -> None:
        """Inserts."""
        rows = [{name: _kept(getattr(one, name)) for name in _ATTEMPT} for one in given]
        columns = select(*self._attempted.rows.c)
        await connection.execute(
            attempts.insert().from_select(list(self._attempted.columns), columns), self._attempted.bind(rows)
        )

    async def attempts(self, connection: AsyncConnection, ids: Collection[str], call_id: str | None) -> list[Attempt]:
        """Along one of two indexes."""
        if call_id is not None:
            rows = await connection.execute(self._attempts.where(attempts.c.call_id == call_id))
        else:
            named = self._attempts.where(attempts.c.event_id.in_(self._among))
            rows = await connection.execute(named, self._ids.bind(_rows(ids)))
        return [Attempt(**{name: getattr(row, name) for name in _ATTEMPT}) for row in rows]


_ATTEMPT: Final = ("worker", "event_id", "call_id", "attempt", "outcome", "reason", "at", "until")


def _rows(ids: Collection[str]) -> list[dict[str, str]]:
    return [{"event_id": one} for one in ids]


def _kept(value: Any) -> Any:
    """A stranger's text without what PostgreSQL does not keep."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _presence_row(one: Presence) -> dict[str, Any]:
    held = one.held
    return {
        "process": one.process,
        "worker": one.worker,
        "beat": one.beat,
        "registered": one.registered,
        "watermark": one.watermark,
        "epoch": held.epoch,
        "taken": held.taken,
        "done": held.done,
        "in_hand": held.count,
        "seen_at": one.seen_at,
    }


def _presence(row: Row[Any]) -> Presence:
    held = Held(row.epoch, row.taken, row.done, row.in_hand)
    return Presence(row.process, row.worker, row.beat, row.registered, row.watermark, held, row.seen_at)
