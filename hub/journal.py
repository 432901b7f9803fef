"""A SQLite file with one writer: many small writes, one transaction, one fsync.

The embedded bus stands on it; the ingress's outbox and quarantine are journals too. What it promises:

- when ``run`` has returned, the write is on disk (WAL, ``synchronous=FULL``: the commit waited for fsync);
- a cancelled awaiter changes nothing: the write was handed over and is finished, no transaction stays open. That is why
  the connection belongs to a thread of its own and not to a coroutine;
- one write that fails does not fail its neighbours in the same transaction;
- a full disk, or another process that holds the file for too long, is ``NotDurable`` and passes. Any other error of the
  file is fatal: after a failed fsync nobody knows what the disk holds, so the process ends and a fresh one looks.
"""

import asyncio
import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NoReturn, TypeVar

import structlog

from hub.errors import ConfigurationError, NotDurable

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]
Result = tuple[Any, BaseException | None]

EXIT_IO_ERROR: Final = 70  # sysexits.h, EX_SOFTWARE: a supervisor starts us again, and recovery runs at every start

# What passes by itself: no room, or somebody else holds the file. A full disk under the
# -shm file is an I/O error in name only.
_PASSING: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PASSING_EXTENDED: Final = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE})

# What says that the file, or our idea of it, can no longer be trusted.
_FATAL: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERNAL,
    }
)

_AGAIN: Final = 0.02  # seconds
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL loses the last commits with the power
    "PRAGMA journal_size_limit = 67108864",  # a burst does not leave a huge -wal behind
    "PRAGMA wal_autocheckpoint = 4000",  # 16 MiB: fewer, larger copies into the file than with the default
    "PRAGMA secure_delete = FAST",  # numbers of people do not stay in freed pages where that costs nothing
    "PRAGMA temp_store = MEMORY",
)


class Journal:
    """One SQLite file, one writer thread, group commit.

    A write is a function of the connection; it runs in the writer's thread, inside a transaction that it shares with
    whatever else was waiting, isolated by a savepoint. It must do nothing but SQL on that connection, since it runs
    again, alone, where the shared transaction could not be committed. Reads are writes that change nothing; a
    transaction without changes costs no fsync.

    Attributes:
        path: the file; it and its ``-wal`` belong together, copy both or neither.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        *,
        max_waiting: int = 5_000,
        max_group: int = 256,
        busy_timeout: float = 5.0,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            path: the file; created, readable by its owner alone, where it does not exist.
            migrations: SQL scripts, statements between semicolons; the file's ``user_version`` says how many of them
                it has seen, so a script is never changed, only another one added.
            max_waiting: writes that may wait; one more is ``NotDurable`` at once.
            max_group: writes in one transaction at most.
            busy_timeout: seconds to wait for another process that is writing.
            on_fatal: called in the writer's thread with the error after which the file cannot be trusted. The default
                logs a line and ends the process with status 70.
        """
        self.path = path
        self._migrations = migrations
        self._max_waiting = max_waiting
        self._max_group = max_group
        self._busy_timeout = busy_timeout
        self._on_fatal = on_fatal or _exit
        self._queue: SimpleQueue[tuple[Write, asyncio.Future[Any]] | None] = SimpleQueue()
        self._waiting = 0
        self._trouble = "not open"
        self._broken = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Opens the file, brings its schema up to date, starts the writer.

        Raises:
            ConfigurationError: the file cannot be used; the message says why.
        """
        self._loop = loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._trouble = ""
        name = f"journal {self.path.name}"
        self._thread = threading.Thread(target=self._write, args=(loop, opened), name=name, daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(opened)
        except ConfigurationError as error:
            self._trouble, self._thread = str(error), None
            raise

    def submit(self, write: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Hands a write over; the future is done once it is on disk. Cancelling the future does not undo the write.

        Returns:
            a future that ends with the write's result, with what the write raised, or with ``NotDurable`` where the
            disk is full, the file was held by others for too long, too many writes wait, or the journal is closed.
        """
        loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        refusal = self._refusal()
        if refusal is not None:
            future.set_exception(NotDurable(refusal))
            return future
        self._waiting += 1
        self._queue.put((write, future))
        return future

    async def run(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """``submit``, awaited."""
        return await self.submit(write)

    def state(self) -> tuple[bool, str]:
        """Whether the last transaction could be committed, and one line that says why not."""
        return not self._trouble, self._trouble

    async def close(self) -> None:
        """Finishes what waits, then closes the file."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        self._trouble = self._trouble or "closed"

    def _refusal(self) -> str | None:
        if self._thread is None:
            return f"{self.path.name} is not open"
        if self._waiting >= self._max_waiting:
            return f"{self._waiting} writes wait for {self.path.name} already"
        return None

    # --- in the writer's thread --------------------------------------------------------------------------------------

    def _write(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            connection = _open(self.path, self._migrations, self._busy_timeout)
        except (sqlite3.Error, OSError, ConfigurationError) as error:
            refused = ConfigurationError(f"{self.path}: {error}, expected a SQLite file that we may write")
            _tell(loop, partial(_resolve, opened, None, refused))
            return
        _tell(loop, partial(_resolve, opened, None, None))
        with contextlib.closing(connection):
            while group := self._next_group():
                results = self._commit(connection, [write for write, _ in group])
                _tell(loop, partial(self._finish, [future for _, future in group], results))

    def _next_group(self) -> list[tuple[Write, "asyncio.Future[Any]"]]:
        """Waits for a write, then takes it with all that wait beside it; empty at the end."""
        group: list[tuple[Write, asyncio.Future[Any]]] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) == self._max_group:
                return group
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group
        if group:
            self._queue.put(None)  # the end comes again, behind what was taken with it
        return group

    def _commit(self, connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Result]:
        """The result of each write, in one transaction; where the disk is too full for all, in one for each."""
        if self._broken:
            return [(None, NotDurable(self._trouble)) for _ in writes]
        try:
            results = _transaction(connection, writes)
        except sqlite3.Error as error:
            if len(writes) > 1 and _code(error) & 0xFF == sqlite3.SQLITE_FULL:
                # A full disk still has room for a delete: what cannot be written must not stop what can.
                return [self._commit(connection, [write])[0] for write in writes]
            self._trouble = f"{self.path.name}: {error}"
            if not _is_passing(error):
                self._broken = True  # where the callback returns: never again a commit on a file that may lie
                self._on_fatal(error)
            return [(None, NotDurable(self._trouble)) for _ in writes]
        self._trouble = ""
        return results

    # --- in the loop's thread ----------------------------------------------------------------------------------------

    def _finish(self, futures: Sequence["asyncio.Future[Any]"], results: Sequence[Result]) -> None:
        self._waiting -= len(futures)
        for future, (value, error) in zip(futures, results, strict=True):
            _resolve(future, value, error)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback)


def _resolve(future: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if future.done():
        return  # its awaiter was cancelled; the write was finished all the same
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _open(path: Path, migrations: Sequence[str], busy_timeout: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives -wal and -shm the same rights
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, cached_statements=256)
    try:
        _set_up(connection, busy_timeout)
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, patience: float) -> None:
    """Runs the pragmas. SQLite does not wait for others by itself while a fresh file becomes a WAL: then again."""
    deadline = time.monotonic() + patience
    for pragma in _PRAGMAS:
        while True:
            try:
                connection.execute(pragma)
                break
            except sqlite3.OperationalError as error:
                if not _is_passing(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN)


def _migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")  # two processes that start at once take turns
    (seen,) = connection.execute("PRAGMA user_version").fetchone()
    if seen > len(migrations):
        raise ConfigurationError(f"its schema has version {seen}, this program knows {len(migrations)}")
    for script in migrations[seen:]:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute("COMMIT")  # whoever fails before this closes the connection, which rolls back


def _transaction(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Result]:
    """Runs ``writes`` in one transaction. Raises sqlite3.Error where it was rolled back."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = [_isolated(connection, write) for write in writes]
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise
    return results


def _isolated(connection: sqlite3.Connection, write: Write) -> Result:
    connection.execute("SAVEPOINT one")
    try:
        value = write(connection)
    except Exception as error:  # whatever a write raises belongs to its awaiter
        if isinstance(error, sqlite3.Error) and (_is_fatal(error) or _is_passing(error)):
            raise  # SQLite may have rolled back everybody's work by itself
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return None, error
    connection.execute("RELEASE one")
    return value, None


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):  # the first error is the one that tells
            connection.execute("ROLLBACK")


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # absent where the module itself complains


def _is_passing(error: sqlite3.Error) -> bool:
    return _code(error) in _PASSING_EXTENDED or _code(error) & 0xFF in _PASSING


def _is_fatal(error: sqlite3.Error) -> bool:
    return not _is_passing(error) and _code(error) & 0xFF in _FATAL


def _exit(error: BaseException) -> NoReturn:
    structlog.get_logger("bus").critical("journal.fatal", error=str(error))
    sys.stderr.flush()
    os._exit(EXIT_IO_ERROR)
