"""The system calls that production code makes on small files, on the disk that forgets."""

import errno
import os
from types import SimpleNamespace
from typing import Any, Final

from tests.simulation.disk import Disk, DiskFull, File, SyncFailed

NO_LOCKS: Final = SimpleNamespace(flock=lambda *_: None, LOCK_EX=0, LOCK_NB=0, LOCK_SH=0, LOCK_UN=0)
"""Stands in for ``fcntl``: there is one process at a time."""


class Calls:
    """Stands in for ``os``."""

    O_RDWR, O_RDONLY, O_CREAT, O_CLOEXEC = os.O_RDWR, os.O_RDONLY, os.O_CREAT, os.O_CLOEXEC

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._files: dict[int, tuple[File, int]] = {}

    def open(self, path: Any, flags: int, _mode: int = 0) -> int:
        name = str(path)
        if name not in self._disk.names and not flags & os.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        number = len(self._files) + 3
        self._files[number] = (self._disk.open(name), self._disk.generation)
        return number

    def pread(self, number: int, length: int, offset: int) -> bytes:
        return bytes(self._files[number][0].live[offset : offset + length])

    def pwrite(self, number: int, data: bytes, offset: int) -> int:
        file, generation = self._files[number]
        if generation == self._disk.generation:
            try:
                self._disk.write(file, offset, data)
            except DiskFull:
                raise OSError(errno.ENOSPC, "the simulated disk is full") from None
        return len(data)

    def fdatasync(self, number: int) -> None:
        file, generation = self._files[number]
        if generation == self._disk.generation:
            try:
                self._disk.sync(file)
            except SyncFailed:
                raise OSError(errno.EIO, "the simulated disk could not sync") from None

    def close(self, number: int) -> None:
        del self._files[number]
