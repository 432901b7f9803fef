"""Wakes the other processes that consume from the same file, without polling: a Unix datagram socket for each.

The sockets stand in a directory beside the file. Whoever committed something sends one byte to each; a byte that does
not fit into a full buffer is not needed, since its reader has others to read. A socket is also a sign of life: the
kernel refuses to deliver to one whose process has ended, however it ended, and a slow process is not mistaken for it.
"""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

log = structlog.get_logger("bus")

_LONGEST_ADDRESS: Final = 100  # sun_path holds 108 bytes on Linux, 104 elsewhere
_DRAIN: Final = 64
_TICK: Final = 50_000_000  # nanoseconds


class Wakeup:
    """This process's socket, and those of the others.

    Attributes:
        name: of our socket, unique; what the file's rows know this process by.
    """

    def __init__(self, directory: Path, on_wake: Callable[[], None]) -> None:
        self.name = uuid4().hex
        self._directory = directory
        self._on_wake = on_wake
        self._at = -1
        self._socket: socket.socket | None = None
        self._sender: socket.socket | None = None
        self._seen = -1
        self._others: list[str] = []

    def open(self) -> None:
        """Makes the directory. Raises OSError where that cannot be."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._at = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def listen(self) -> None:
        """Begins to be woken. Where no socket can be had, the slow poll still finds everything."""
        if self._socket is not None:
            return
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            receiver.bind(self._address(self.name))
        except OSError as error:
            receiver.close()
            log.warning("bus.no_wakeup", directory=str(self._directory), error=str(error))
            return
        self._socket = receiver
        asyncio.get_running_loop().add_reader(receiver.fileno(), self._read, receiver)

    def ring(self) -> None:
        """Wakes all others. Costs one `stat` where there are none."""
        for name in self._look():
            self._send(name)

    def is_dead(self, name: str) -> bool:
        """Whether the process of that socket has certainly ended. False also where nobody can tell."""
        return self._send(name) == errno.ECONNREFUSED

    def close(self) -> None:
        """Stops, and leaves no socket behind."""
        receiver, self._socket = self._socket, None
        if receiver is not None:
            asyncio.get_running_loop().remove_reader(receiver.fileno())
            receiver.close()
            self._unlink(self.name)
        if self._sender is not None:
            self._sender.close()
            self._sender = None
            os.close(self._at)

    def _address(self, name: str) -> str:
        path = str(self._directory / name)
        # A long path does not fit into a socket's address; through the open directory it is always short.
        return path if len(path) < _LONGEST_ADDRESS else f"/proc/self/fd/{self._at}/{name}"

    def _look(self) -> list[str]:
        if self._sender is None:
            return []
        changed = os.fstat(self._at).st_mtime_ns
        if changed != self._seen:
            with contextlib.suppress(OSError):
                self._others = [one.name for one in self._directory.iterdir() if one.name != self.name]
            # The directory's clock is coarse: another change may still come within the tick of the last one.
            self._seen = changed if time.time_ns() - changed > _TICK else -1
        return self._others

    def _send(self, name: str) -> int:
        """Zero, or why the byte did not arrive."""
        if self._sender is None:
            return errno.EBADF
        try:
            self._sender.sendto(b"!", self._address(name))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def forget(self, name: str) -> None:
        """Removes the socket of a dead process."""
        self._unlink(name)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._at)
        self._seen = -1

    def _read(self, receiver: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(_DRAIN):
                receiver.recv(16)
        self._on_wake()
