"""Pools of connections that can read and not write, of PostgreSQL and of SQLite.

The drivers themselves and not SQLAlchemy's engine: a statement that is late has to be ended where it runs, and the
engine can neither interrupt SQLite's thread nor begin a transaction that is read-only.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiosqlite
import asyncpg

from hub.errors import Unresolved
from hub.resolvers.statements import Statement

_CONNECT: Final = 3.0  # seconds
_IDLE: Final = 300.0
_LOCKED: Final = 0.5  # seconds for a lock of SQLite's, which in WAL mode no reader meets
_CLOSE: Final = 2.0


class PostgresReader:
    """Connections to PostgreSQL, at most so many, made when they are needed.

    Each statement runs in a transaction that is READ ONLY, prepared once for each connection; the protocol of prepared
    statements takes one statement and no second. The server ends what takes longer than ``wait``.
    """

    def __init__(self, url: str, statement: Statement, size: int, wait: float) -> None:
        """Connects nowhere yet."""
        self._url, self._statement, self._size = url, statement, size
        self._settings = {
            "application_name": "trunkline resolver",
            "default_transaction_read_only": "on",
            "statement_timeout": f"{max(1, int(wait * 1000))}ms",
            "idle_in_transaction_session_timeout": "10s",
        }
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def first(self, parameters: Mapping[str, str | None]) -> Mapping[str, Any] | None:
        """See ``Reader``."""
        values = [parameters.get(name) for name in self._statement.names]
        try:
            pool = await self._opened()
            async with pool.acquire() as connection, connection.transaction(readonly=True):
                row = await connection.fetchrow(self._statement.postgresql, *values)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise Unresolved("failed", f"the database: {str(error) or type(error).__name__}") from error
        return None if row is None else dict(row)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._size,
                    timeout=_CONNECT,
                    max_inactive_connection_lifetime=_IDLE,
                    server_settings=self._settings,
                )
            return self._pool

    async def close(self) -> None:
        """Closes every connection, those in use after a moment."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(_CLOSE):
                    await pool.close()
            except TimeoutError:
                pool.terminate()


class SqliteReader:
    """Connections to one SQLite file, at most so many, each opened with ``mode=ro`` and ``query_only``."""

    def __init__(self, path: Path, statement: Statement, size: int) -> None:
        """Opens nothing yet."""
        self._uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        self._path, self._statement = path, statement
        self._places = asyncio.Semaphore(size)
        self._idle: list[aiosqlite.Connection] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def first(self, parameters: Mapping[str, str | None]) -> Mapping[str, Any] | None:
        """See ``Reader``."""
        values = {name: parameters.get(name) for name in self._statement.names}
        async with self._places:
            # Asked first: the thread of a connection that cannot be opened outlives whoever wanted it.
            if not os.access(self._path, os.R_OK):
                raise Unresolved("failed", f"{self._path}: it is not there, or cannot be read")
            try:
                connection = self._idle.pop() if self._idle else await self._connected()
            except sqlite3.Error as error:
                raise Unresolved("failed", f"{self._path}: {error}") from error
            try:
                async with connection.execute(self._statement.sqlite, values) as cursor:
                    row = await cursor.fetchone()
                    names = [column[0] for column in cursor.description]
            except sqlite3.Error as error:
                await connection.close()
                raise Unresolved("failed", f"{self._path}: {error}") from error
            except BaseException:
                await self._abandon(connection)
                raise
            self._idle.append(connection)
            return None if row is None else dict(zip(names, row, strict=True))

    async def _connected(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._uri, uri=True, timeout=_LOCKED, isolation_level=None)
        await connection.execute("PRAGMA query_only = ON")
        return connection

    async def _abandon(self, connection: aiosqlite.Connection) -> None:
        """Ends the statement in its thread, and the connection behind it."""
        await connection.interrupt()
        task = asyncio.create_task(connection.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Closes every connection."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CLOSE)
