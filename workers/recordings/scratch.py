"""Where downloads grow: a folder of this process's own, which its successor finds and removes when it was killed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import IO, Final

from hub.errors import CustodyUnavailable

_LOCK: Final = "lock"
_FOLDER, _FILE = 0o700, 0o600


class Scratch:
    """Temporary files below a directory that several processes share. Made in a thread: it locks and removes.

    Args:
        directory: made where it is not there.
        min_free: bytes that stay free on its file system.
    """

    def __init__(self, directory: Path, min_free: int) -> None:
        self._directory = directory
        self._min_free = min_free
        self._mine = directory
        self._lock: IO[bytes] | None = None
        self._busy = Lock()
        self._closed = False

    def open(self) -> int:
        """Removes what dead processes left, and makes this one's folder; returns how many files it removed."""
        with self._busy:
            if self._closed:  # whoever asked was cancelled, and its thread begins only now
                return 0
            try:
                self._directory.mkdir(_FOLDER, parents=True, exist_ok=True)
                removed = sum(_removed(folder) for folder in self._directory.glob("work.*"))
                if self._lock is None:
                    self._mine, self._lock = _owned(self._directory)
            except OSError as error:
                raise CustodyUnavailable(f"{self._directory}: {error.strerror or error}") from error
            return removed

    def close(self) -> None:
        """Removes this process's folder, for good."""
        with self._busy:
            self._closed = True
            if self._lock is not None:
                with suppress(OSError):
                    shutil.rmtree(self._mine)
                self._lock.close()
                self._lock = None

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path for a file that is removed at the end."""
        if self._lock is None:
            self.open()
        path = self._mine / f"{name}.{token_hex(4)}"
        try:
            path.touch(_FILE)
            yield path
        except OSError as error:
            raise CustodyUnavailable(f"{path.parent}: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def room(self, wanted: int) -> None:
        """Raises CustodyUnavailable where so many bytes more would take what has to stay free."""
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            raise CustodyUnavailable(f"{self._directory}: {error.strerror or error}") from error
        if free - wanted < self._min_free:
            raise CustodyUnavailable(
                f"{self._directory}: {free >> 20} MiB are free, {wanted >> 20} wanted, "
                f"{self._min_free >> 20} stay free (recordings.min_free_bytes)"
            )


def _owned(directory: Path) -> tuple[Path, IO[bytes]]:
    """A folder of our own, and its lock: before it was locked, who looks for dead ones may have removed it as one."""
    while True:
        mine = directory / f"work.{os.getpid()}.{token_hex(4)}"
        mine.mkdir(_FOLDER)
        with suppress(FileNotFoundError, BlockingIOError):
            lock = (mine / _LOCK).open("wb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat((mine / _LOCK).stat(), os.fstat(lock.fileno())):
                    return mine, lock
            except BaseException:
                lock.close()
                raise
            lock.close()


def _removed(folder: Path) -> int:
    """Removes a folder whose process is gone; its lock went with it."""
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            count = sum(1 for _ in folder.iterdir()) - 1
            shutil.rmtree(folder, ignore_errors=True)
            return count
    except BlockingIOError:
        return 0
    except FileNotFoundError:  # killed before it had a lock, or about to make one: empty, and no harm
        with suppress(OSError):
            folder.rmdir()
        return 0
