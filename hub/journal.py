"""A SQLite file with one writer: many small writes, one transaction, one fsync.

The embedded bus stands on it; the ingress's outbox and quarantine are journals too. What it promises:

- when ``run`` has returned, the write is on disk (WAL, ``synchronous=FULL``: the commit waited for fsync);
- a cancelled awaiter changes nothing: the write was handed over and is finished, no transaction stays open. That is why
  the connection belongs to a thread of its own and not to a coroutine;
- one write that fails does not fail its neighbours in the same transaction;
- a full disk, or another process that holds the file for too long, is ``NotDurable`` and passes. Any other error of the
  file is fatal: after a failed fsync nobody knows what the disk holds, so the process ends and a fresh one looks. What
  it looks at, and where a damaged file goes, is ``hub.opening``'s.
"""

import asyncio
import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NoReturn, TypeVar

import structlog

from hub.errors import ConfigurationError, NotDurable
from hub.opening import code, is_fatal, is_passing, opened, suspect

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]
Result = tuple[Any, BaseException | None]
_Item = tuple[Write, "asyncio.Future[Any]", int]

EXIT_IO_ERROR: Final = 70  # sysexits.h, EX_SOFTWARE: a supervisor starts us again, and recovery runs at every start

Witnessing = Callable[[sqlite3.Connection], Callable[[], None]]


class Journal:
    """One SQLite file, one writer thread, group commit.

    A write is a function of the connection; it runs in the writer's thread, inside a transaction that it shares with
    whatever else was waiting, isolated by a savepoint. It must do nothing but SQL on that connection, since it runs
    again, alone, where the shared transaction could not be committed. Reads are writes that change nothing; a
    transaction without changes costs no fsync.

    Attributes:
        path: the file; it and its ``-wal`` belong together, copy both or neither.
        alone: once started: no other process had the file open then. Only where damage is set aside.
        aside: once started: where a damaged file went; None where there was none.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        *,
        max_waiting: int = 5_000,
        max_group: int = 256,
        busy_timeout: float = 5.0,
        max_waiting_bytes: int = 64 << 20,
        on_fatal: Callable[[BaseException], None] | None = None,
        witness: Witnessing | None = None,
        salvage: str = "",
    ) -> None:
        """Opens nothing yet.

        Args:
            path: the file; created, readable by its owner alone, where it does not exist.
            migrations: SQL scripts, statements between semicolons; the file's ``user_version`` says how many of them
                it has seen, so a script is never changed, only another one added.
            max_waiting: writes that may wait; one more is ``NotDurable`` at once.
            max_group: writes in one transaction at most.
            busy_timeout: seconds to wait for another process that is writing.
            max_waiting_bytes: bytes in writes that may wait, as ``submit`` is told; likewise.
            on_fatal: called in the writer's thread with the error after which the file cannot be trusted. The default
                logs a line and ends the process with status 70.
            witness: called at the end of each transaction, inside it; what it returns is called once the transaction is
                on disk, before anybody is told of it.
            salvage: the command that reads a damaged file. With it a damaged file is set aside at the start and a fresh
                one takes its place; without it, it is refused.
        """
        self.path = path
        self._migrations = migrations
        self._max_waiting = max_waiting
        self._max_group = max_group
        self._busy_timeout = busy_timeout
        self._max_waiting_bytes = max_waiting_bytes
        self._on_fatal = on_fatal or _exit
        self._witness = witness or _unseen
        self._salvage = salvage
        self.alone = False
        self.aside: Path | None = None
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._waiting = self._waiting_bytes = 0
        self._given_up = threading.Event()
        self._trouble = "not open"
        self._broken = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Opens the file, brings its schema up to date, starts the writer; waits for others who hold the file.

        Cancelling it gives up.

        Raises:
            ConfigurationError: the file cannot be used; the message says why.
        """
        self._loop = loop = asyncio.get_running_loop()
        opening: asyncio.Future[None] = loop.create_future()
        self._trouble = ""
        self._given_up.clear()
        name = f"journal {self.path.name}"
        self._thread = threading.Thread(target=self._write, args=(loop, opening), name=name, daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(opening)
        except ConfigurationError as error:
            self._trouble, self._thread = str(error), None
            raise
        except asyncio.CancelledError:
            self._given_up.set()
            self._trouble = "not open"
            self._thread = None  # a daemon: it ends at its next look, and nobody waits for it
            self._queue.put(None)
            raise

    def submit(self, write: Callable[[sqlite3.Connection], T], size: int = 0) -> "asyncio.Future[T]":
        """Hands a write over; the future is done once it is on disk. Cancelling the future does not undo the write.

        Args:
            write: a function of the connection.
            size: bytes that it keeps in memory while it waits, where they are many.

        Returns:
            a future that ends with the write's result, with what the write raised, or with ``NotDurable`` where the
            disk is full, the file was held by others for too long, too many writes wait, or the journal is closed.
        """
        loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        refusal = self._refusal(size)
        if refusal is not None:
            future.set_exception(NotDurable(refusal))
            return future
        self._waiting += 1
        self._waiting_bytes += size
        self._queue.put((write, future, size))
        return future

    async def run(self, write: Callable[[sqlite3.Connection], T], size: int = 0) -> T:
        """``submit``, awaited."""
        return await self.submit(write, size)

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

    def _refusal(self, size: int) -> str | None:
        if self._thread is None:
            return f"{self.path.name} is not open"
        if self._waiting >= self._max_waiting:
            return f"{self._waiting} writes wait for {self.path.name} already"
        if self._waiting and self._waiting_bytes + size > self._max_waiting_bytes:
            return f"{self._waiting_bytes} bytes wait for {self.path.name} already"
        return None

    # --- in the writer's thread --------------------------------------------------------------------------------------

    def _write(self, loop: asyncio.AbstractEventLoop, opening: "asyncio.Future[None]") -> None:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(
                    opened(
                        self.path,
                        self._migrations,
                        patience=self._busy_timeout,
                        salvage=self._salvage,
                        given_up=self._given_up,
                    )
                )
            except (sqlite3.Error, OSError, ConfigurationError) as error:
                refused = ConfigurationError(f"{self.path}: {error}, expected a SQLite file that we may write")
                _tell(loop, partial(_resolve, opening, None, refused))
                return
            self.alone, self.aside = file.alone, file.aside
            _tell(loop, partial(_resolve, opening, None, None))
            self._serve(loop, file.connection)

    def _serve(self, loop: asyncio.AbstractEventLoop, connection: sqlite3.Connection) -> None:
        while group := self._next_group():
            results = self._commit(connection, [write for write, _, _ in group])
            _tell(loop, partial(self._finish, group, results))

    def _next_group(self) -> "list[_Item]":
        """Waits for a write, then takes it with all that wait beside it; empty at the end."""
        group: list[_Item] = []
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
            results = transaction(connection, writes, self._witness)
        except sqlite3.Error as error:
            if len(writes) > 1 and code(error) & 0xFF == sqlite3.SQLITE_FULL:
                # A full disk still has room for a delete: what cannot be written must not stop what can.
                return [self._commit(connection, [write])[0] for write in writes]
            self._trouble = f"{self.path.name}: {error}"
            if not is_passing(error):
                if self._salvage:
                    suspect(self.path)
                self._broken = True  # where the callback returns: never again a commit on a file that may lie
                self._on_fatal(error)
            return [(None, NotDurable(self._trouble)) for _ in writes]
        self._trouble = ""
        return results

    # --- in the loop's thread ----------------------------------------------------------------------------------------

    def _finish(self, group: "Sequence[_Item]", results: Sequence[Result]) -> None:
        self._waiting -= len(group)
        self._waiting_bytes -= sum(size for _, _, size in group)
        for (_, future, _), (value, error) in zip(group, results, strict=True):
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


def transaction(
    connection: sqlite3.Connection, writes: Sequence[Write], witness: Witnessing | None = None
) -> list[Result]:
    """Runs ``writes`` in one transaction, each in a savepoint. Raises sqlite3.Error where it was rolled back."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = [_isolated(connection, write) for write in writes]
        durable = (witness or _unseen)(connection)
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise
    durable()
    return results


def _isolated(connection: sqlite3.Connection, write: Write) -> Result:
    connection.execute("SAVEPOINT one")
    try:
        value = write(connection)
    except Exception as error:  # whatever a write raises belongs to its awaiter
        if isinstance(error, sqlite3.Error) and (is_fatal(error) or is_passing(error)):
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


def _unseen(_: sqlite3.Connection) -> Callable[[], None]:
    return _nothing


def _nothing() -> None:
    pass


def _exit(error: BaseException) -> NoReturn:
    structlog.get_logger("bus").critical("journal.fatal", error=str(error))
    sys.stderr.flush()
    os._exit(EXIT_IO_ERROR)
