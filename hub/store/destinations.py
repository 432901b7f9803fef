"""Forwarding's statements on destinations: how each is, what was tried there, the contacts that were made there."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.events import Event, identity, timestamp
from hub.ports.forwarding import BY_OPERATOR, Breaker, Reserved, Standing, Tried
from hub.store.forwarding_tables import contacts, destinations, tallies, tries, work
from hub.store.rows import outbox_row
from hub.store.tables import outbox

_NEW: Final = {"fingerprint": "", "breaker": "closed"}


class Destinations:
    """The statements."""

    def __init__(self, dialect: str) -> None:
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert

    async def meet(
        self, connection: AsyncConnection, destination: str, kind: str, fingerprint: str, now: datetime
    ) -> None:
        """Another configuration is another chance, where the other side had closed its door and not an operator."""
        row = await self._locked(connection, destination, kind)
        if row.fingerprint == fingerprint:
            return
        await self._set(connection, destination, kind=kind, fingerprint=fingerprint)
        if row.disabled not in (None, BY_OPERATOR):
            await self._switch(connection, destination, kind, None, now)

    async def tell_breaker(  # noqa: PLR0917  the fields of one row
        self,
        connection: AsyncConnection,
        destination: str,
        kind: str,
        breaker: Breaker,
        reason: str,
        until: datetime | None,
        now: datetime,
    ) -> bool:
        """Once for a change, whoever sees it first."""
        row = await self._locked(connection, destination, kind)
        told = {"breaker": breaker, "breaker_until": until, "breaker_reason": reason if breaker == "open" else None}
        if breaker == "open":
            told |= {"error": reason, "error_at": now}
        if row.breaker == breaker:
            await self._set(connection, destination, **told)
            return False
        await self._set(connection, destination, breaker_at=now, **told)
        more = {"reason": reason} if breaker == "open" else {}
        if breaker == "open" and until is not None:
            more["until"] = timestamp(until)
        await self._derive(connection, destination, kind, "opened" if breaker == "open" else "closed", now, more)
        return True

    async def disable(
        self, connection: AsyncConnection, destination: str, kind: str, reason: str | None, now: datetime
    ) -> bool:
        """Nothing changes where it is so already."""
        row = await self._locked(connection, destination, kind)
        if (row.disabled is None) is (reason is None):
            return False
        await self._switch(connection, destination, kind, reason, now)
        return True

    async def disabled(self, connection: AsyncConnection, destination: str) -> bool:
        """Whether nothing is to be sent there."""
        query = select(destinations.c.disabled).where(destinations.c.destination == destination)
        return await connection.scalar(query) is not None

    async def failed(self, connection: AsyncConnection, errors: Mapping[str, str], now: datetime) -> None:
        """The last failure of each."""
        for destination, error in sorted(errors.items()):
            await self._set(connection, destination, error=error, error_at=now)

    async def standings(self, connection: AsyncConnection) -> list[Standing]:
        """Counted from what waits and what is dead; what is done was counted as it happened."""
        waiting = select(work.c.destination, func.count().label("waiting"), func.min(work.c.since).label("oldest"))
        waits = await connection.execute(waiting.where(work.c.state == "waiting").group_by(work.c.destination))
        of_waiting = {row.destination: row for row in waits}
        dead = select(work.c.destination, func.count().label("dead")).where(work.c.state == "dead")
        of_dead = {row.destination: row.dead for row in await connection.execute(dead.group_by(work.c.destination))}
        counted = await connection.execute(select(tallies.c.name, tallies.c.count.label("times")))
        done = {row.name: row.times for row in counted}
        rows = await connection.execute(select(destinations).order_by(destinations.c.destination))
        return [_standing(row, of_waiting.get(row.destination), of_dead, done) for row in rows]

    async def _locked(self, connection: AsyncConnection, destination: str, kind: str) -> Row[Any]:
        row = {"destination": destination, "kind": kind, **_NEW}
        await connection.execute(self._insert(destinations).values(row).on_conflict_do_nothing())
        query = select(destinations).where(destinations.c.destination == destination).with_for_update()
        return (await connection.execute(query)).one()

    async def _set(self, connection: AsyncConnection, destination: str, **values: Any) -> None:
        await connection.execute(update(destinations).where(destinations.c.destination == destination).values(**values))

    async def _switch(
        self, connection: AsyncConnection, destination: str, kind: str, reason: str | None, now: datetime
    ) -> None:
        at = None if reason is None else now
        await self._set(connection, destination, disabled=reason, disabled_at=at)
        verb, more = ("enabled", {}) if reason is None else ("disabled", {"reason": reason})
        await self._derive(connection, destination, kind, verb, now, more)

    async def _derive(  # noqa: PLR0917  what an event says
        self, connection: AsyncConnection, destination: str, kind: str, verb: str, now: datetime, more: dict[str, str]
    ) -> None:
        data = {"destination": destination, "kind": kind, "event": verb, "occurred_at": timestamp(now), **more}
        name = identity("destination", destination, verb, timestamp(now))
        event = Event(name, "destination", kind, verb, destination, now, data)
        await connection.execute(outbox.insert(), [outbox_row(event)])

    # --- what was tried ----------------------------------------------------------------------------------------------

    async def tries(self, connection: AsyncConnection, call_id: str | None, key: str | None, limit: int) -> list[Tried]:
        """Along one of two indexes."""
        narrow = tries.c.call_id == call_id if call_id is not None else tries.c.key == key
        rows = await connection.execute(select(tries).where(narrow).order_by(tries.c.seq.desc()).limit(limit))
        return [_tried(row) for row in reversed(rows.all())]

    async def forget(self, connection: AsyncConnection, destination: str, before: datetime, limit: int) -> int:
        """A slice at a time."""
        old = select(tries.c.seq).where(tries.c.destination == destination, tries.c.at < before).limit(limit)
        return int((await connection.execute(delete(tries).where(tries.c.seq.in_(old)))).rowcount)

    # --- contacts ----------------------------------------------------------------------------------------------------

    async def reserve(  # noqa: PLR0917  the fields of one row
        self,
        connection: AsyncConnection,
        destination: str,
        number: str,
        claim: str,
        now: datetime,
        lease: float,
        *,
        intent: bool,
    ) -> Reserved:
        """Free, ours, or over."""
        mine = {"destination": destination, "number": number}
        await connection.execute(self._insert(contacts).values(mine).on_conflict_do_nothing())
        place = (contacts.c.destination == destination) & (contacts.c.number == number)
        row = (await connection.execute(select(contacts).where(place).with_for_update())).one()
        if row.remote_id is not None:
            return Reserved(mine=False, remote_id=row.remote_id, intent_at=None)
        held = row.claimed_until is not None and now < row.claimed_until <= now + timedelta(seconds=2 * lease)
        if held and row.claim != claim:
            return Reserved(mine=False, remote_id=None, intent_at=row.intent_at)
        values = {"claim": claim, "claimed_until": now + timedelta(seconds=lease)}
        if intent:
            values["intent_at"] = now
        await connection.execute(update(contacts).where(place).values(**values))
        return Reserved(mine=True, remote_id=None, intent_at=row.intent_at)

    async def made(
        self, connection: AsyncConnection, destination: str, number: str, claim: str, remote_id: str | None
    ) -> None:
        """An id is kept, whoever brings it; that nothing was made only the owner knows."""
        place = (contacts.c.destination == destination) & (contacts.c.number == number)
        free = {"claim": None, "claimed_until": None, "intent_at": None}
        if remote_id is not None:
            query = update(contacts).where(place, contacts.c.remote_id.is_(None))
            await connection.execute(query.values(remote_id=remote_id, **free))
        else:
            await connection.execute(update(contacts).where(place, contacts.c.claim == claim).values(**free))


def _standing(row: Row[Any], waiting: Row[Any] | None, dead: Mapping[str, int], done: Mapping[str, int]) -> Standing:
    return Standing(
        destination=row.destination,
        fingerprint=row.fingerprint,
        disabled=row.disabled,
        disabled_at=row.disabled_at,
        breaker=row.breaker,
        breaker_at=row.breaker_at,
        breaker_until=row.breaker_until,
        breaker_reason=row.breaker_reason,
        waiting=0 if waiting is None else int(waiting.waiting),
        done=int(done.get(f"done {row.destination}", 0)),
        dead=int(dead.get(row.destination, 0)),
        oldest=None if waiting is None else waiting.oldest,
        error=row.error,
        error_at=row.error_at,
    )


def _tried(row: Row[Any]) -> Tried:
    return Tried(
        destination=row.destination,
        key=row.key,
        call_id=row.call_id,
        attempt=row.attempt,
        at=row.at,
        seconds=row.seconds,
        step=row.step,
        request=orjson.loads(row.request),
        status=row.status,
        answer=row.answer,
        outcome=row.outcome,
        reason=row.reason,
    )
