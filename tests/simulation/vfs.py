"""SQLite on the disk that forgets: a VFS in Python, and a connection that looks like the standard library's.

The library itself is real, in WAL mode, with whatever pragmas the journal sets. Only shared memory is missing, which
files in Python cannot have: a connection has its file for itself, and keeps the WAL's index in its own memory.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw

from tests.simulation.disk import Disk, DiskFull, File, PowerCut, SyncFailed

_NAME: Final = "trunkline-simulation"
_SYNCS_ITS_DIRECTORY: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_PAGE: Final = 4096
_AUTOCHECKPOINT: Final = "PRAGMA wal_autocheckpoint"


class _Handle:
    """An open file, as SQLite's unix VFS would have it."""

    def __init__(self, disk: Disk, file: File, *, fresh: bool) -> None:
        self._disk = disk
        self._file = file
        self._generation = disk.generation
        self._fresh = fresh  # the first sync of a WAL or a journal that may be new syncs the directory too

    @property
    def _orphaned(self) -> bool:
        """Nothing reaches the disk any more: the power is off, or whoever had the file open is gone."""
        return self._disk.dark or self._generation != self._disk.generation

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._file.live[offset : offset + amount])

    # A power cut raises nothing here: what SQLite makes of an error is no longer anybody's business, and its connection
    # finds the machine dark as soon as it returns.

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._orphaned:
            return
        try:
            self._disk.write(self._file, offset, bytes(data))
        except DiskFull:
            raise apsw.exception_for(apsw.SQLITE_FULL) from None
        except PowerCut:
            return

    def xTruncate(self, length: int) -> None:  # noqa: N802
        if not self._orphaned:
            with contextlib.suppress(PowerCut):
                self._disk.truncate(self._file, length)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        if self._orphaned:
            return
        try:
            self._disk.sync(self._file)
        except SyncFailed:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC) from None
        except PowerCut:
            return
        if self._fresh:
            self._fresh = False
            self._disk.sync_directory()

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._file.live)

    def xLock(self, _level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, _level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        pass

    def xSectorSize(self) -> int:  # noqa: N802
        return _PAGE

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE  # as the unix VFS says of every disk

    def xFileControl(self, _operation: int, _pointer: int) -> bool:  # noqa: N802
        return False


class _Files(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(_NAME, "", makedefault=False)
        self.disk = Disk()

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        path = name if isinstance(name, str) else name.filename()
        fresh = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _SYNCS_ITS_DIRECTORY)
        flags[1] = flags[0]
        try:
            return _Handle(self.disk, self.disk.open(path), fresh=fresh)
        except PowerCut:
            return _Handle(self.disk, File(), fresh=False)

    def xAccess(self, path: str, _flags: int) -> bool:  # noqa: N802
        return path in self.disk.names

    def xDelete(self, path: str, sync_directory: bool) -> None:  # noqa: N802
        with contextlib.suppress(PowerCut):
            self.disk.delete(path, synced=bool(sync_directory))

    def xFullPathname(self, path: str) -> str:  # noqa: N802
        return path


_files: _Files | None = None


def mount(disk: Disk) -> None:
    """From now on SQLite's files are that disk's."""
    global _files  # noqa: PLW0603  SQLite knows one VFS of a name, for as long as the process lives
    if _files is None:
        _files = _Files()
    _files.disk = disk


def mounted() -> Disk:
    """The disk that is mounted."""
    assert _files is not None
    return _files.disk


class Connection:
    """What the journal and its writes use of ``sqlite3.Connection``, on a simulated disk."""

    def __init__(self, disk: Disk, path: str) -> None:
        mount(disk)
        self._disk = disk
        self._generation = disk.generation
        self._checkpoint_at = 1000
        self._real = self._do(lambda: apsw.Connection(path, vfs=_NAME))
        self.execute("PRAGMA locking_mode = EXCLUSIVE")  # WAL without shared memory

    @property
    def in_transaction(self) -> bool:
        return not self._disk.dark and bool(self._real.in_transaction)

    @property
    def total_changes(self) -> int:
        return int(self._real.total_changes())

    def execute(self, statement: str, values: Sequence[Any] = ()) -> "Cursor":
        if statement.startswith(_AUTOCHECKPOINT):
            self._checkpoint_at = int(statement.rpartition("=")[2])
            self._real.set_wal_hook(self._checkpoint)
            return Cursor(self, iter(()))
        return Cursor(self, self._do(lambda: self._real.execute(statement, tuple(values))))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> "Cursor":
        return Cursor(self, self._do(lambda: self._real.executemany(statement, [tuple(row) for row in rows])))

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # sqlite3_close is silent about a checkpoint that failed
            self._do(self._real.close)

    def abandon(self) -> None:
        """The process is gone: what SQLite does at a goodbye reaches no disk."""
        assert self._disk.generation != self._generation
        mount(Disk())
        self._real.close(force=True)
        mount(self._disk)

    def _checkpoint(self, _connection: object, name: str, pages: int) -> int:
        """After a commit, as SQLite does it by itself: what fails here fails silently, and is tried again.

        apsw would raise it out of a COMMIT that has succeeded.
        """
        if pages >= self._checkpoint_at:
            with contextlib.suppress(apsw.Error):
                self._real.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK

    def _do(self, act: Any) -> Any:
        """Runs it; an error comes out as the standard library's, a power cut as one whatever SQLite made of it."""
        if self._disk.dark:
            raise PowerCut
        try:
            result = act()
        except apsw.Error as error:
            if not self._disk.dark:
                raise _translated(error) from error
        if self._disk.dark:
            raise PowerCut
        return result


class Cursor:
    """What is used of ``sqlite3.Cursor``."""

    def __init__(self, connection: Connection, real: Any) -> None:
        self._connection = connection
        self._real = real

    @property
    def rowcount(self) -> int:
        return int(self._connection._real.changes())

    def fetchone(self) -> Any:
        return self._connection._do(self._real.fetchone)

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._connection._do(self._real.fetchall)
        return rows

    def __iter__(self) -> Any:
        return iter(self.fetchall())


def _translated(error: apsw.Error) -> sqlite3.Error:
    kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
    same = kind(str(error))
    same.sqlite_errorcode = getattr(error, "extendedresult", sqlite3.SQLITE_ERROR)
    return same
