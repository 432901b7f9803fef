"""The journal of ``hub.journal`` without its thread, on the disk that forgets.

Its transactions, its group commit, its sorting of errors and its opening are the production's; what stands in for the
thread is a step of the loop that begins some milliseconds after the first write was handed over, and whose outcome is
told some milliseconds later. A power cut, or a kill, falls in between as it does on a machine.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Final, Protocol, cast

from hub import journal as real, opening
from hub.journal import Journal, Witnessing
from tests.simulation.disk import Disk
from tests.simulation.loop import Process
from tests.simulation.vfs import Connection, mounted


class SimulatedPath(PurePosixPath):
    """A path of the simulated disk, whose directories are all there."""

    def mkdir(self, **_: object) -> None:
        pass

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=len(mounted().names[str(self)].live))


PATH: Final = cast("Path", SimulatedPath("/simulated/outbox.db"))


class Machine(Protocol):
    """What the journal needs of the machine that it runs on."""

    disk: Disk

    def lag(self) -> float:
        """Seconds until the disk gets round to something."""
        ...

    def gave_up(self, error: BaseException) -> None:
        """The journal's process has ended itself, since nobody knows what the disk holds."""
        ...

    def looked(self, connection: Connection) -> None:
        """The file is as the last transaction left it."""
        ...


class SimulatedJournal(Journal):
    """One process's journal."""

    def __init__(
        self,
        machine: Machine,
        process: Process,
        path: Path,
        migrations: Sequence[str],
        witness: Witnessing | None = None,
    ) -> None:
        super().__init__(path, migrations, on_fatal=self._ended, witness=witness)
        self._machine = machine
        self._process = process
        self._connection: Connection | None = None
        self._busy = False
        self._closing: asyncio.Future[None] | None = None

    async def start(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._process.soon(self._open, opened, after=self._machine.lag())
        await opened
        self.alone = True
        self._trouble = ""
        self._thread = cast("Any", self)  # there is a writer

    def submit(self, write: Callable[[Any], Any], size: int = 0) -> "asyncio.Future[Any]":
        future = super().submit(write, size)
        self._wake()
        return future

    async def close(self) -> None:
        if self._thread is None:
            return
        self._thread = None
        if self._busy or not self._queue.empty():
            self._closing = asyncio.get_running_loop().create_future()
            await self._closing
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(None, connection.close)
        self._trouble = self._trouble or "closed"

    @property
    def open(self) -> bool:
        """Whether the file is."""
        return self._connection is not None

    def abandon(self) -> None:
        """The process has died."""
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None

    # --- in place of the thread --------------------------------------------------------------------------------------

    def _open(self, opened: "asyncio.Future[None]") -> None:
        try:
            opening.renew(self.path)
            self._connection = connection = Connection(self._machine.disk, str(self.path))
            set_up(connection, self._migrations)
        except Exception as error:  # noqa: BLE001  ConfigurationError there: the supervisor starts it again
            self._machine.gave_up(error)
            return
        self._machine.looked(connection)
        real._resolve(opened, None, None)

    def _wake(self) -> None:
        if not self._busy and not self._queue.empty():
            self._busy = True
            self._process.soon(self._turn, after=self._machine.lag())

    def _turn(self) -> None:
        connection = cast("Connection", self._connection)
        group = self._next_group()
        try:
            results = self._commit(cast("Any", connection), [write for write, *_ in group])
        except _Ended:
            return
        self._machine.looked(connection)
        self._process.soon(partial(self._told, group, results), after=self._machine.lag())

    def _told(self, group: Any, results: Any) -> None:
        self._finish(group, results)
        self._busy = False
        self._wake()
        if self._closing is not None and not self._busy:
            real._resolve(self._closing, None, None)

    def _ended(self, error: BaseException) -> None:
        self._machine.gave_up(error)
        raise _Ended


def set_up(connection: Connection, migrations: Sequence[str]) -> None:
    """As ``hub.opening`` does it with a file that nobody else has open."""
    for pragma in opening.PRAGMAS:
        connection.execute(pragma)
    opening.migrate(cast("Any", connection), migrations)


class _Ended(BaseException):
    """Unwinds the step in which a process has ended itself; nobody hears of it."""
