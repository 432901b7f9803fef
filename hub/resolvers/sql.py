"""One statement on a database, read-only: its parameters are bound by name, its first row is the reply."""

from collections.abc import Mapping
from typing import Any, Protocol

from hub.config import SqlResolver as Configured
from hub.questions import Question, Reply
from hub.resolvers.means import Means
from hub.resolvers.readers import PostgresReader, SqliteReader
from hub.resolvers.statements import compiled, reply
from hub.store.engine import sqlite_path


class Reader(Protocol):
    """A pool of connections that cannot write."""

    async def first(self, parameters: Mapping[str, str | None]) -> Mapping[str, Any] | None:
        """The statement's first row by column; None where there is none. Cancelled, it ends on the server too.

        Raises:
            Unresolved: ``failed``: the database is down, or refuses the statement.
        """
        ...

    async def close(self) -> None:
        """Closes every connection."""
        ...


class SqlResolver:
    """A statement on PostgreSQL or SQLite."""

    def __init__(self, name: str, configured: Configured, means: Means) -> None:
        """As it is configured; connects when it is first asked."""
        del name
        url = configured.url.get_secret_value() if configured.url is not None else means.store_url
        statement = compiled(configured.statement)
        path = sqlite_path(url)
        self._reader: Reader = (
            SqliteReader(path, statement, configured.concurrency)
            if path is not None
            else PostgresReader(url, statement, configured.concurrency, configured.wait)
        )

    async def open(self) -> None:
        """Nothing yet: a database that is down must not hold up the start."""

    async def resolve(self, question: Question, within: float) -> Reply:
        """The first row; whoever waits for it cancels it in time. Raises Unresolved."""
        del within
        return reply(await self._reader.first(question.parameters()))

    async def close(self) -> None:
        """Closes every connection."""
        await self._reader.close()
