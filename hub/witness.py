"""A second, small place that knows how far a file's rows go.

SQLite opens a file whose ``-wal`` has lost its end, or was left behind by whoever copied it, and calls it sound: the
last rows are missing and nothing says so. What the witness has seen tells.

It may lag behind the file and never runs ahead of it: it is written after a commit, without a sync of its own, which
comes later (``sync``). So an answer costs one small write more, and nobody is told of a loss that did not happen.
"""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a table goes.

    Attributes:
        last: the highest number that a row was given.
        gone: every row up to this number had left the table.
    """

    last: int = 0
    gone: int = 0


_NOWHERE: Final = Reach()


class Witness:
    """One line of fixed length for a fixed list of tables, written by any number of processes."""

    def __init__(self, path: Path, tables: tuple[str, ...]) -> None:
        """Opens nothing yet.

        Args:
            path: created, readable by its owner alone, where it does not exist.
            tables: their names, in the order in which the line has them.
        """
        self.path = path
        self._tables = tables
        self._form = b"%020d " * (2 * len(tables))
        self._length = len(tables) * 2 * 21 + 9
        self._file = -1
        self._known: Mapping[str, Reach] = {}
        self._there: Mapping[str, Reach] = {}
        self._line_there = b""
        self._synced = True

    def read(self) -> dict[str, Reach] | None:
        """What was last written; None where there is nothing, or nothing that can be read. Raises OSError."""
        self._open()
        return self._parsed(os.pread(self._file, self._length, 0))

    def note(self, reached: Mapping[str, Reach]) -> None:
        """Remembers; what another process has written further on stands. Raises OSError."""
        if reached == self._known:
            return
        self._open()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process writes this moment, the same or nearly: the next commit says it again
        try:
            line = os.pread(self._file, self._length, 0)
            # Mostly it is what we wrote ourselves: no need to parse it.
            there = self._there if line == self._line_there else self._parsed(line) or {}
            further = {name: _further(there.get(name, _NOWHERE), reached[name]) for name in self._tables}
            if further != there:
                line = self._line(further)
                os.pwrite(self._file, line, 0)
                self._synced = False
            self._line_there, self._there = line, further
            self._known = reached
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def sync(self) -> None:
        """Makes it outlive the machine's power; in any thread. Raises OSError."""
        if not self._synced and self._file >= 0:
            self._synced = True
            os.fdatasync(self._file)

    def close(self) -> None:
        """Syncs what can be synced, and closes."""
        with contextlib.suppress(OSError):
            self.sync()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        if self._file < 0:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _parsed(self, line: bytes) -> dict[str, Reach] | None:
        try:
            numbers = [int(word) for word in line.split()[:-1]]
        except ValueError:
            return None
        found = {name: Reach(*numbers[2 * at : 2 * at + 2]) for at, name in enumerate(self._tables)}
        return found if line == self._line(found) else None

    def _line(self, reached: Mapping[str, Reach]) -> bytes:
        numbers = [number for name in self._tables for number in (reached[name].last, reached[name].gone)]
        text = self._form % tuple(numbers)
        return text + b"%08x\n" % crc32(text)


def _further(one: Reach, other: Reach) -> Reach:
    return Reach(max(one.last, other.last), max(one.gone, other.gone))
