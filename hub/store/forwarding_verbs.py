"""``hub.ports.forwarding.Forwarding`` over PostgreSQL or one SQLite file: its verbs, each one transaction."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.ports import Workload
from hub.ports.forwarding import (
    Breaker,
    Done,
    Dying,
    Given,
    Outcome,
    Reserved,
    Standing,
    Tried,
    Work,
)
from hub.store.destinations import Destinations
from hub.store.forwarding import Forwards
from hub.store.forwarding_tables import work
from hub.store.transactions import Transactions


class SqlForwarding:
    """The verbs of a store that forwarding needs and nobody else does."""

    def __init__(self, transactions: Transactions, dialect: str) -> None:
        self._transactions = transactions
        self._forwards = Forwards(dialect)
        self._destinations = Destinations(dialect)

    async def take(self, given: Sequence[Given], now: datetime) -> int:
        """Writes down what events make due; returns how many of them are new."""
        if not given:
            return 0
        return await self._transactions.write(lambda connection: self._forwards.take(connection, given, now))

    async def claim_work(self, destination: str, claim: str, now: datetime, limit: int, lease: float) -> list[Work]:
        """Takes work that is due for ``lease`` seconds; nothing of a disabled destination."""

        async def claimed(connection: AsyncConnection) -> list[Work]:
            if await self._destinations.disabled(connection, destination):
                return []
            return await self._forwards.claim(connection, destination, claim, now, limit, lease)

        return await self._transactions.write(claimed)

    async def next_work(self, destination: str) -> datetime | None:
        """When something is due there that nobody has in hand; None where nothing is, or it is disabled."""

        async def first(connection: AsyncConnection) -> datetime | None:
            if await self._destinations.disabled(connection, destination):
                return None
            due = select(work.c.next_at).where(work.c.destination == destination, work.c.state == "waiting")
            free = due.where(work.c.claimed_until.is_(None))
            found: datetime | None = await connection.scalar(free.order_by(work.c.next_at).limit(1))
            return found

        return await self._transactions.read(first)

    async def extend(self, works: Sequence[Work], now: datetime, lease: float, *, intent: bool) -> list[bool]:
        """Whether each is still ours; then it is for ``lease`` more seconds."""
        return await self._transactions.write(
            partial(self._forwards.extend, works=works, now=now, lease=lease, intent=intent)
        )

    async def conclude(self, outcomes: Sequence[Outcome], tried: Sequence[Tried], now: datetime) -> None:
        """Writes down what came of claimed work, and how."""

        async def concluded(connection: AsyncConnection) -> None:
            await self._forwards.conclude(connection, outcomes, tried, now)
            errors = {one.work.destination: one.reason for one in outcomes if not isinstance(one, Done)}
            await self._destinations.failed(connection, errors, now)

        if outcomes or tried:
            await self._transactions.write(concluded)

    async def dying(self, limit: int) -> list[Dying]:
        """What was given up and is not known to be among the dead letters."""
        return await self._transactions.read(lambda connection: self._forwards.dying(connection, limit))

    async def buried(self, dead: Sequence[Dying]) -> None:
        """They are dead letters now, and no longer ours."""
        if dead:
            await self._transactions.write(lambda connection: self._forwards.buried(connection, dead))

    async def workload(self, connection: AsyncConnection) -> Workload:
        """Of the events that were taken; in somebody's transaction."""
        return await self._forwards.workload(connection)

    async def reserve_contact(
        self, destination: str, number: str, claim: str, now: datetime, lease: float, *, intent: bool
    ) -> Reserved:
        """Takes the making of a contact for a number."""
        return await self._transactions.write(
            lambda connection: self._destinations.reserve(
                connection, destination, number, claim, now, lease, intent=intent
            )
        )

    async def contact_made(self, destination: str, number: str, claim: str, remote_id: str | None) -> None:
        """Gives it back: made, with its id, or certainly not made."""
        await self._transactions.write(
            lambda connection: self._destinations.made(connection, destination, number, claim, remote_id)
        )

    async def meet(self, destination: str, kind: str, fingerprint: str, now: datetime) -> None:
        """A worker begins with this configuration; another one than before enables what was not ``BY_OPERATOR``."""
        await self._transactions.write(
            lambda connection: self._destinations.meet(connection, destination, kind, fingerprint, now)
        )

    async def tell_breaker(  # noqa: PLR0917  the fields of one row
        self, destination: str, kind: str, breaker: Breaker, reason: str, until: datetime | None, now: datetime
    ) -> bool:
        """Keeps how a breaker is; returns whether that is a change, of which an event is derived."""
        return await self._transactions.write(
            lambda connection: self._destinations.tell_breaker(
                connection, destination, kind, breaker, reason, until, now
            )
        )

    async def disable(self, destination: str, kind: str, reason: str | None, now: datetime) -> bool:
        """Disables, or with None enables; returns whether that is a change, of which an event is derived."""
        return await self._transactions.write(
            lambda connection: self._destinations.disable(connection, destination, kind, reason, now)
        )

    async def standings(self) -> list[Standing]:
        """Every destination that a worker met."""
        return await self._transactions.read(self._destinations.standings)

    async def tries(self, *, call_id: str | None = None, key: str | None = None, limit: int = 200) -> list[Tried]:
        """The latest requests for a call, or for a key, oldest first."""
        return await self._transactions.read(
            lambda connection: self._destinations.tries(connection, call_id, key, limit)
        )

    async def forget(self, destination: str, before: datetime, limit: int = 10_000) -> int:
        """Removes requests of before then; returns how many."""
        return await self._transactions.write(
            lambda connection: self._destinations.forget(connection, destination, before, limit)
        )
