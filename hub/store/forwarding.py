"""Forwarding's statements on work and wants: taking events, claiming work, saying what came of it.

Whoever changes work holds its row locked, rows in the order of their keys, tallies last: nobody waits in a circle.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, bindparam, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.events import Message
from hub.ports import HISTORY, HISTORY_REASON, Failure, Workload
from hub.ports.forwarding import WORKER, Again, Done, Dying, Given, GivenUp, Outcome, Tried, Wanted, Work
from hub.store.batches import Batch, batch, insert_new
from hub.store.forwarding_tables import taken, tallies, tries, wants, work
from hub.store.tables import EPOCH, MICROSECOND, inbox, microseconds

TAKEN: Final = "taken"
OPEN: Final = ("waiting", "dying")
_FRESH: Final = {"state": "done", "wanted": 0, "done": 0, "attempt": 0, "history": "[]"}
_CHANGING: Final = (
    *("destination", "key", "state", "wanted", "done", "attempt", "next_at", "since", "claim", "claimed_until"),
    *("intent_at", "remote_id", "digest", "revision", "reason", "history"),
)
_TRIED: Final = (
    *("destination", "key", "call_id", "attempt", "at", "seconds", "step", "request", "status", "answer"),
    *("outcome", "reason"),
)

Place = tuple[str, str]
"""Destination and key."""


class Forwards:
    """The statements, made once."""

    def __init__(self, dialect: str) -> None:
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._noted = batch(dialect, inbox, "worker", "event_id", "done_at")
        self._note = insert_new(dialect, inbox, self._noted, "worker", "event_id").returning(inbox.c.event_id)
        self._ids = batch(dialect, wants, "event_id")
        self._among = select(self._ids.rows.c.event_id)
        self._places = batch(dialect, work, "destination", "key")
        there = select(*self._places.rows.c)
        self._first = batch(dialect, work, "destination", "key", "call_id", "since", *_FRESH)
        self._create = insert_new(dialect, work, self._first, "destination", "key")
        mine = tuple_(work.c.destination, work.c.key).in_(there)
        self._lock = select(work).where(mine).order_by(work.c.destination, work.c.key).with_for_update()
        self._changed = batch(dialect, work, *_CHANGING)
        self._change = _updated(work, self._changed, "destination", "key")
        self._wanted = batch(dialect, wants, "destination", "event_id", "key", "number", "state")
        want = self._insert(wants).from_select(list(self._wanted.columns), _rows(dialect, self._wanted))
        self._want = want.on_conflict_do_update(
            index_elements=["destination", "event_id"],
            set_={name: want.excluded[name] for name in ("key", "number", "state")},
        )
        self._kept = batch(dialect, taken, "event_id", "routing_key", "headers", "body", "taken_at")
        self._keep = insert_new(dialect, taken, self._kept, "event_id")
        self._drop = delete(taken).where(
            taken.c.event_id.in_(self._among),
            ~exists().where(wants.c.event_id == taken.c.event_id, wants.c.state.in_(OPEN)),
        )
        ended = batch(dialect, wants, "destination", "key", "number", "state")
        self._ended, rows = ended, ended.rows.c
        self._end = (
            update(wants)
            .where(wants.c.destination == rows.destination, wants.c.key == rows.key, wants.c.number <= rows.number)
            .where(wants.c.state == "waiting")
            .values(state=rows.state)
            .returning(wants.c.event_id)
        )
        self._tried = batch(dialect, tries, *_TRIED)
        self._try = tries.insert().from_select(list(self._tried.columns), select(*self._tried.rows.c))
        self._due_wants = (
            select(wants.c.destination, wants.c.key, taken)
            .join_from(wants, taken, taken.c.event_id == wants.c.event_id)
            .where(tuple_(wants.c.destination, wants.c.key).in_(there), wants.c.state == "waiting")
            .order_by(wants.c.number)
        )

    # --- taking ------------------------------------------------------------------------------------------------------

    async def take(self, connection: AsyncConnection, given: Sequence[Given], now: datetime) -> int:
        """Inbox, events, work, wants."""
        distinct = {one.message.id: one for one in given}
        rows = [{"worker": WORKER, "event_id": name, "done_at": now} for name in sorted(distinct)]
        new = set(await connection.scalars(self._note, self._noted.bind(rows)))
        due = [one for name, one in sorted(distinct.items()) if one.goings and (name in new or one.again)]
        if due:
            await self._want_all(connection, due, now)
        await self.count(connection, {TAKEN: len(new)})
        return len(new)

    async def _want_all(self, connection: AsyncConnection, due: Sequence[Given], now: datetime) -> None:
        calls = {
            (going.destination, going.key): one.message.headers.get("ce-subject") for one in due for going in one.goings
        }
        fresh = [
            {"destination": name, "key": key, "call_id": call_id, "since": now, **_FRESH}
            for (name, key), call_id in sorted(calls.items())
        ]
        await connection.execute(self._create, self._first.bind(fresh))
        rows = await self._locked(connection, calls)
        ids = self._ids.bind([{"event_id": one.message.id} for one in due])
        before = await connection.execute(select(wants).where(wants.c.event_id.in_(self._among)), ids)
        states = {(row.destination, row.event_id): row.state for row in before}
        wanted, kept = [], {}
        for one in due:
            for going in one.goings:
                state = states.get((going.destination, one.message.id))
                if state == "waiting" or (state == "done" and not one.again):
                    continue
                row = rows[going.destination, going.key]
                _wake(row, now, again=one.again)
                kept[one.message.id] = _kept(one.message, now)
                wanted.append(
                    {
                        "destination": going.destination,
                        "event_id": one.message.id,
                        "key": going.key,
                        "number": row["wanted"],
                        "state": "waiting",
                    }
                )
        if wanted:
            await connection.execute(self._keep, self._kept.bind(list(kept.values())))
            await connection.execute(self._want, self._wanted.bind(wanted))
            await connection.execute(self._change, self._changed.bind(list(rows.values())))

    async def _locked(self, connection: AsyncConnection, places: Collection[Place]) -> dict[Place, dict[str, Any]]:
        named = [{"destination": name, "key": key} for name, key in sorted(places)]
        found = await connection.execute(self._lock, self._places.bind(named))
        return {(row.destination, row.key): dict(row._mapping) for row in found}  # noqa: SLF001  its public name

    # --- claiming ----------------------------------------------------------------------------------------------------

    async def claim(  # noqa: PLR0917  what a claim says
        self, connection: AsyncConnection, destination: str, claim: str, now: datetime, limit: int, lease: float
    ) -> list[Work]:
        """The longest due first; a claim that ends further ahead than one can is over: the clock was set back."""
        until, beyond = now + timedelta(seconds=lease), now + timedelta(seconds=2 * lease)
        held = work.c.claimed_until
        free = or_(held.is_(None), held <= now, held > beyond)
        due = select(work).where(work.c.destination == destination, work.c.state == "waiting", work.c.next_at <= now)
        due = due.where(free).order_by(work.c.next_at).limit(limit).with_for_update(skip_locked=True)
        rows = (await connection.execute(due)).all()
        if not rows:
            return []
        named = self._places.bind([{"destination": row.destination, "key": row.key} for row in rows])
        mine = tuple_(work.c.destination, work.c.key).in_(select(*self._places.rows.c))
        await connection.execute(update(work).where(mine).values(claim=claim, claimed_until=until), named)
        found: dict[str, list[Wanted]] = {row.key: [] for row in rows}
        for want in await connection.execute(self._due_wants, named):
            message = Message(want.routing_key, orjson.loads(want.headers), want.body.encode())
            found[want.key].append(Wanted(message, want.taken_at))
        return [_work(row, claim, found[row.key]) for row in rows]

    async def extend(
        self, connection: AsyncConnection, works: Sequence[Work], now: datetime, lease: float, *, intent: bool
    ) -> list[bool]:
        """Looks at each row's claim under its lock."""
        rows = await self._locked(connection, {(one.destination, one.key) for one in works})
        mine = [_is_mine(rows.get((one.destination, one.key)), one) for one in works]
        changed = []
        for one, ours in zip(works, mine, strict=True):
            if ours:
                row = rows[one.destination, one.key]
                row["claimed_until"] = now + timedelta(seconds=lease)
                row["intent_at"] = now if intent else row["intent_at"]
                changed.append(row)
        if changed:
            await connection.execute(self._change, self._changed.bind(changed))
        return mine

    # --- concluding --------------------------------------------------------------------------------------------------

    async def conclude(
        self, connection: AsyncConnection, outcomes: Sequence[Outcome], tried: Sequence[Tried], now: datetime
    ) -> None:
        """Work, its wants, what was tried, the tallies."""
        if tried:
            await connection.execute(self._try, self._tried.bind([_tried_row(one) for one in tried]))
        rows = await self._locked(connection, {(one.work.destination, one.work.key) for one in outcomes})
        ended, finished = [], Counter[str]()
        for outcome in outcomes:
            row = rows.get((outcome.work.destination, outcome.work.key))
            if row is None:
                continue
            if not _is_mine(row, outcome.work):
                _salvage(row, outcome)
                continue
            state = _concluded(row, outcome, now)
            if state is not None:
                ended.append({**_place(outcome.work), "number": outcome.work.wanted, "state": state})
            if isinstance(outcome, Done):
                finished[f"done {outcome.work.destination}"] += 1
        if rows:
            await connection.execute(self._change, self._changed.bind(list(rows.values())))
        if ended:
            ids = (await connection.scalars(self._end, self._ended.bind(ended))).all()
            await self._forget_events(connection, ids)
        await self.count(connection, finished)

    async def _forget_events(self, connection: AsyncConnection, ids: Collection[str]) -> None:
        """Those that nobody wants any more."""
        if ids:
            await connection.execute(self._drop, self._ids.bind([{"event_id": one} for one in sorted(set(ids))]))

    async def count(self, connection: AsyncConnection, more: Mapping[str, int]) -> None:
        """Adds to tallies, in the order of their names."""
        for name, count in sorted(more.items()):
            if count:
                add = self._insert(tallies).values(name=name, count=bindparam("more"))
                add = add.on_conflict_do_update(
                    index_elements=["name"], set_={"count": tallies.c.count + bindparam("more")}
                )
                await connection.execute(add, {"more": count})

    # --- what was given up -------------------------------------------------------------------------------------------

    async def dying(self, connection: AsyncConnection, limit: int) -> list[Dying]:
        """With their events."""
        query = (
            select(work.c.reason, work.c.attempt, work.c.history, wants.c.destination, taken)
            .join_from(wants, taken, taken.c.event_id == wants.c.event_id)
            .join(work, (work.c.destination == wants.c.destination) & (work.c.key == wants.c.key))
            .where(wants.c.state == "dying")
            .limit(limit)
        )
        return [
            Dying(
                row.destination,
                Message(row.routing_key, orjson.loads(row.headers), row.body.encode()),
                row.reason or "",
                max(1, row.attempt),
                _history(row.history),
            )
            for row in await connection.execute(query)
        ]

    async def buried(self, connection: AsyncConnection, dead: Sequence[Dying]) -> None:
        """Out of the inbox: what comes back from the dead letters is taken anew."""
        ids = sorted({one.message.id for one in dead})
        for name in sorted({one.destination for one in dead}):
            of_it = sorted({one.message.id for one in dead if one.destination == name})
            named = update(wants).where(wants.c.destination == name, wants.c.event_id.in_(self._among))
            await connection.execute(
                named.where(wants.c.state == "dying").values(state="dead"),
                self._ids.bind([{"event_id": one} for one in of_it]),
            )
        bound = self._ids.bind([{"event_id": one} for one in ids])
        gone = delete(inbox).where(inbox.c.worker == WORKER, inbox.c.event_id.in_(self._among))
        ours = (await connection.scalars(gone.returning(inbox.c.event_id), bound)).all()
        await self._forget_events(connection, ids)
        await self.count(connection, {TAKEN: -len(ours)})

    async def workload(self, connection: AsyncConnection) -> Workload:
        """Of the events that were taken and are not among the dead letters, how many are done, and how many are not."""
        alive = exists().where(inbox.c.worker == WORKER, inbox.c.event_id == wants.c.event_id)
        waiting = select(func.count(wants.c.event_id.distinct())).where(wants.c.state.in_(OPEN), alive)
        every = select(tallies.c.count).where(tallies.c.name == TAKEN)
        row = (
            await connection.execute(
                select(waiting.scalar_subquery().label("open"), every.scalar_subquery().label("every"))
            )
        ).one()
        return Workload(settled=int(row.every or 0) - int(row.open), waiting=int(row.open))


def _rows(dialect: str, source: Batch) -> Any:
    """All rows; SQLite needs a WHERE before ON CONFLICT."""
    query = select(*source.rows.c)
    return query.where(source.rows.c[next(iter(source.columns))].is_not(None)) if dialect == "sqlite" else query


def _updated(table: Any, source: Batch, *key: str) -> Any:
    new = source.rows.c
    values = {name: new[name] for name in source.columns if name not in key}
    statement = update(table)
    for name in key:
        statement = statement.where(table.c[name] == new[name])
    return statement.values(values)


def _wake(row: dict[str, Any], now: datetime, *, again: bool) -> None:
    """One more want; what rested begins anew, what waits for its retry goes on waiting."""
    row["wanted"] += 1
    if again:
        row["digest"] = None
    if row["state"] != "waiting":
        row.update(state="waiting", attempt=0, history="[]", reason=None, since=now, next_at=now)
        row.update(claim=None, claimed_until=None)


def _is_mine(row: Mapping[str, Any] | None, one: Work) -> bool:
    return row is not None and row["claim"] == one.claim


def _salvage(row: dict[str, Any], outcome: Outcome) -> None:
    """Somebody else's by now; but that the record is there, only we know."""
    made = None if isinstance(outcome, GivenUp) else outcome.remote_id
    if made is not None and row["remote_id"] is None:
        row["remote_id"] = made


def _concluded(row: dict[str, Any], outcome: Outcome, now: datetime) -> str | None:
    """Changes the row; returns the state of the wants that it ends, if it does."""
    row.update(claim=None, claimed_until=None)
    match outcome:
        case Done():
            row.update(done=outcome.work.wanted, attempt=0, history="[]", reason=None, intent_at=None)
            row["remote_id"] = outcome.remote_id or row["remote_id"]
            row["digest"], row["revision"] = outcome.digest, outcome.revision
            if row["wanted"] > row["done"]:
                row.update(state="waiting", next_at=now, since=now)
            else:
                row.update(state="done", next_at=None)
            return "done"
        case Again():
            row["next_at"], row["reason"] = outcome.at, outcome.reason
            row["remote_id"] = outcome.remote_id or row["remote_id"]
            if outcome.nothing or outcome.remote_id:
                row["intent_at"] = None
            if outcome.counted:
                row["attempt"] += 1
                row["history"] = _longer(row["history"], now, outcome.reason)
            return None
        case GivenUp():
            row.update(state="dead", next_at=None, reason=outcome.reason, done=outcome.work.wanted)
            row["attempt"] += 1
            if outcome.nothing:
                row["intent_at"] = None
            if row["wanted"] > outcome.work.wanted:  # what came meanwhile is another matter
                row.update(state="waiting", next_at=now, since=now, attempt=0, history="[]")
            return "dying"


def _longer(history: str, now: datetime, reason: str) -> str:
    entries = [*orjson.loads(history), [microseconds(now), reason[:HISTORY_REASON]]]
    return orjson.dumps(entries[-HISTORY:]).decode()


def _history(text: str) -> tuple[Failure, ...]:
    return tuple(Failure(EPOCH + at * MICROSECOND, reason) for at, reason in orjson.loads(text))


def _work(row: Row[Any], claim: str, found: Sequence[Wanted]) -> Work:
    return Work(
        destination=row.destination,
        key=row.key,
        call_id=row.call_id,
        claim=claim,
        wanted=row.wanted,
        attempt=row.attempt + 1,
        history=_history(row.history),
        intent_at=row.intent_at,
        remote_id=row.remote_id,
        digest=row.digest,
        wants=tuple(found),
    )


def _place(one: Work) -> dict[str, str]:
    return {"destination": one.destination, "key": one.key}


def _kept(message: Message, now: datetime) -> dict[str, Any]:
    return {
        "event_id": message.id,
        "routing_key": message.routing_key,
        "headers": orjson.dumps(message.headers).decode(),
        "body": message.body.decode(),
        "taken_at": now,
    }


def _tried_row(one: Tried) -> dict[str, Any]:
    row = {name: getattr(one, name) for name in _TRIED}
    return {**row, "request": orjson.dumps(one.request).decode(), "answer": one.answer.replace("\0", "\ufffd")}
