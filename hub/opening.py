"""How a journal's file is opened: waited for while others hold it, looked at, set aside where it is damaged.

A damaged file ends its process whenever the damage is met. So at the start it is looked at, for a bounded time; what
cannot be used is moved aside and a fresh file takes its place: the next event is worth more than a process that ends
and starts for ever. What the old file holds is not lost by that: ``hub.salvage`` reads it.

All of this runs in the writer's thread.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import structlog

from hub.errors import ConfigurationError

PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL loses the last commits with the power
    "PRAGMA journal_size_limit = 67108864",  # a burst does not leave a huge -wal behind
    "PRAGMA wal_autocheckpoint = 4000",  # 16 MiB: fewer, larger copies into the file than with the default
    "PRAGMA secure_delete = FAST",  # numbers of people do not stay in freed pages where that costs nothing
    "PRAGMA temp_store = MEMORY",
)
"""Run on every connection that writes, in this order."""

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
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_AGAIN: Final = 0.02  # seconds
_CHUNK: Final = 1 << 20  # bytes
_LOOK: Final = 2.0  # seconds for the look at a file; about two GiB where its pages are in memory
_log = structlog.get_logger("journal")


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file.

    Attributes:
        connection: isolation by hand, its schema up to date.
        alone: nobody else had the file open when it was looked at.
        aside: where the damaged file is now that stood in its place; None where it was sound.
    """

    connection: sqlite3.Connection
    alone: bool
    aside: Path | None


def code(error: sqlite3.Error) -> int:
    """SQLite's extended result code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # absent where the module itself complains


def is_passing(error: sqlite3.Error) -> bool:
    """Whether it passes by itself: a full disk, or somebody who holds the file."""
    return code(error) in _PASSING_EXTENDED or code(error) & 0xFF in _PASSING


def is_fatal(error: sqlite3.Error) -> bool:
    """Whether the file can no longer be trusted after it."""
    return not is_passing(error) and code(error) & 0xFF in _FATAL


@contextlib.contextmanager
def opened(
    path: Path, migrations: Sequence[str], *, patience: float, salvage: str = "", given_up: threading.Event
) -> Iterator[Opened]:
    """The file, open for writing, from its first use to its last.

    Args:
        path: created, readable by its owner alone, where it does not exist.
        migrations: as ``Journal`` has them.
        patience: seconds to wait for others, for one statement; and between two lines that say that we wait.
        salvage: the command that reads a damaged file, for the line that says where the file went; without one a
            damaged file is refused.
        given_up: once it is set, nobody is waited for any longer.

    Raises:
        ConfigurationError, OSError, sqlite3.Error: the file cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        alone, aside = False, None
        if salvage:
            users = stack.enter_context(_Users(path))
            alone, aside = _sound(path, users, salvage, patience, given_up)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives -wal and -shm the same rights
        connection = stack.enter_context(contextlib.closing(_connect(path, migrations, patience, given_up)))
        yield Opened(connection, alone, aside)


def suspect(path: Path) -> None:
    """Leaves word that the file ended its process: the next start looks at all of it, however long that takes."""
    with contextlib.suppress(OSError):
        os.close(os.open(_mark(path), os.O_WRONLY | os.O_CREAT, 0o600))


def renew(path: Path) -> None:
    """Writes the file's ``-wal`` over itself and syncs it, before SQLite looks at it; nobody else may have it open.

    After a sync that failed, Linux calls the pages clean that it could not write: whoever reads them sees commits that
    are on no disk, no later sync writes them, and SQLite would put the next commits behind them. The power goes, and
    with the first of those frames all that follow are void, answered or not. Written again they are dirty again.

    Raises:
        OSError: the disk does not take it.
    """
    try:
        file = os.open(path.with_name(f"{path.name}-wal"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        offset = 0
        while chunk := os.pread(file, _CHUNK, offset):
            offset += os.pwrite(file, chunk, offset)
        if offset:
            os.fdatasync(file)
    finally:
        os.close(file)


# --- waiting ---------------------------------------------------------------------------------------------------------


class _Patience:
    """Between two tries: a short sleep, and every few seconds a line."""

    def __init__(self, path: Path, seconds: float, given_up: threading.Event) -> None:
        self._path = path
        self._seconds = seconds
        self._given_up = given_up
        self._next = time.monotonic() + seconds

    def wait(self, reason: str) -> None:
        """Raises ConfigurationError where nobody wants the file any more."""
        if time.monotonic() >= self._next:
            _log.error("journal.waiting", path=str(self._path), reason=reason)
            self._next = time.monotonic() + self._seconds
        if self._given_up.wait(_AGAIN):
            raise ConfigurationError(f"still waited for: {reason}")


def _connect(path: Path, migrations: Sequence[str], patience: float, given_up: threading.Event) -> sqlite3.Connection:
    """A connection, once nobody holds the file against it. A stranger's backup may take minutes: that is no error."""
    waiting = _Patience(path, patience, given_up)
    while True:
        connection = sqlite3.connect(path, timeout=patience, isolation_level=None, cached_statements=256)
        try:
            for pragma in PRAGMAS:
                connection.execute(pragma)
            migrate(connection, migrations)
        except sqlite3.Error as error:
            connection.close()
            if not is_passing(error):
                raise
            waiting.wait(str(error))
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Brings the schema up to date. Raises ConfigurationError where a newer program has been here."""
    if _version(connection) == len(migrations):
        return  # without a write, so that a full disk does not keep a hub from starting
    connection.execute("BEGIN IMMEDIATE")  # two processes that start at once take turns
    seen = _version(connection)
    if seen > len(migrations):
        raise ConfigurationError(f"its schema has version {seen}, this program knows {len(migrations)}")
    for script in migrations[seen:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute("COMMIT")  # whoever fails before this closes the connection, which rolls back


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; a semicolon inside a trigger ends none."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            if statement.strip("; \n"):
                yield statement
            statement = ""


# --- the look at the file --------------------------------------------------------------------------------------------


class _Users:
    """Who has the file open, by a lock on a file beside it: shared by its users, one's own while it is moved."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._file = -1

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def only_us(self) -> bool:
        """Whether nobody else has the file; nobody else gets it then before ``join``."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def joined(self) -> bool:
        """Whether we are one of its users now; not while somebody has it for himself."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        """Gives the lock back: two who both share it would never get it for themselves."""
        fcntl.flock(self._file, fcntl.LOCK_UN)


def _sound(
    path: Path, users: _Users, salvage: str, patience: float, given_up: threading.Event
) -> tuple[bool, Path | None]:
    """Whether we are alone with a file that is sound, or fresh, and where a damaged one went.

    Who comes to a file that others use joins them: they have looked, and a file must not be moved under them.
    """
    waiting = _Patience(path, patience, given_up)
    told = ""
    while True:
        alone = users.only_us()
        if not alone and not users.joined():
            waiting.wait("another process looks at it")
            continue
        try:
            if alone:
                renew(path)
            fault = _fault(path, patience) if alone or _mark(path).exists() else ""
        except sqlite3.OperationalError as error:
            users.leave()
            if not is_passing(error):
                raise
            waiting.wait(str(error))
            continue
        if not fault:
            users.joined()
            _mark(path).unlink(missing_ok=True)
            return alone, None
        if alone:
            aside = _set_aside(path, fault, salvage)
            users.joined()
            return True, aside
        users.leave()
        if told != fault:
            _log.critical("journal.damaged_in_use", path=str(path), reason=fault)
            told = fault
        waiting.wait(f"damaged ({fault}), and other processes still use it")


def _fault(path: Path, patience: float) -> str:
    """What is wrong with the file; empty where nothing was found in the time there is.

    Raises:
        sqlite3.OperationalError: it cannot be looked at.
    """
    if not path.exists() or path.stat().st_size == 0:
        wal = path.with_name(f"{path.name}-wal")
        return "it is gone, and its -wal is not" if wal.exists() and wal.stat().st_size else ""
    thorough = _mark(path).exists()
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=patience, isolation_level=None)) as connection:
            bound = threading.Timer(_LOOK, connection.interrupt)
            if not thorough:
                bound.start()
            try:
                check = "integrity_check" if thorough else "quick_check"
                (found,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
            finally:
                bound.cancel()
    except sqlite3.DatabaseError as error:
        if code(error) & 0xFF in _DAMAGE:
            return str(error)
        if code(error) & 0xFF == sqlite3.SQLITE_INTERRUPT:
            return ""  # what could be looked at is sound; damage that is met later leaves its mark
        raise
    return "" if found == "ok" else " ".join(str(found).split())


def _set_aside(path: Path, fault: str, salvage: str) -> Path:
    """Moves the file away with what belongs to it; returns its new place."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    again = 1
    while aside.exists():
        again += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{again}")
    _log.critical("journal.damaged", path=str(path), reason=fault, moved_to=str(aside), salvage=f"{salvage} {aside}")
    for suffix in ("-wal", "-shm", ""):  # the file last: a -wal that stays behind would be taken for the fresh file's
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{suffix}").rename(aside.with_name(f"{aside.name}{suffix}"))
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    _mark(path).unlink(missing_ok=True)
    return aside


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.suspect")
