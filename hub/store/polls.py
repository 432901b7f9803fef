"""How far each stream of polled records has come."""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store.tables import polls
from hub.store.transactions import Transactions


class PollBook:
    """``hub.ports.polls.Polls``."""

    def __init__(self, transactions: Transactions, dialect: str) -> None:
        self._transactions = transactions
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self._later = func.greatest if dialect == "postgresql" else func.max

    async def watermark(self, stream: str) -> datetime | None:
        """Up to when everything that the stream asked for is durable on the bus; None where it never was."""

        async def work(connection: AsyncConnection) -> datetime | None:
            found: datetime | None = await connection.scalar(select(polls.c.upto).where(polls.c.stream == stream))
            return found

        return await self._transactions.read(work)

    async def advance(self, stream: str, upto: datetime, now: datetime) -> None:
        """Moves the watermark forward, never back."""
        mine = self._insert(polls).values(stream=stream, upto=upto, moved_at=now)
        later = {"upto": self._later(polls.c.upto, mine.excluded.upto), "moved_at": now}
        move = mine.on_conflict_do_update(index_elements=["stream"], set_=later)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(move)

        await self._transactions.write(work)

    async def forget(self, stream: str) -> None:
        """The stream begins anew the next time."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(polls).where(polls.c.stream == stream))

        await self._transactions.write(work)
