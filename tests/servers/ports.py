"""Ports for servers of the tests: free, below the ephemeral ones, and nobody else's on this machine.

A port that the kernel hands out (port 0) may be the source of somebody's connection a moment later; one below 32,768
may not. Several test runs go on at once, so a port is a locked byte of one file that all of them share: the lock ends
with its process.
"""

import fcntl
import itertools
import os
import secrets
import socket
import threading
from pathlib import Path

PORTS = range(15_000, 32_768)

_LEDGER = Path("/tmp/trunkline-test-ports")  # noqa: S108 - shared on purpose, whatever TMPDIR says; it stays empty

_lock = threading.Lock()
_held: set[int] = set()
_ledger: dict[int, int] = {}  # our pid → its descriptor. Only ever one: closing any would drop all of a process's locks


def free_port() -> int:
    """A port nobody listens on at 127.0.0.1; ours until `release_port`, or until this process ends."""
    with _lock:
        some = secrets.randbelow(len(PORTS))
        for port in itertools.chain(PORTS[some:], PORTS[:some]):
            if port not in _held and _reserve(port):
                _held.add(port)
                return port
    raise RuntimeError(f"no free port in {PORTS}")


def release_port(port: int) -> None:
    """Give a port back."""
    with _lock:
        if port in _held:
            _held.remove(port)
            fcntl.lockf(_descriptor(), fcntl.LOCK_UN, 1, port)


def _reserve(port: int) -> bool:
    try:
        fcntl.lockf(_descriptor(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    if _bindable(port):
        return True
    fcntl.lockf(_descriptor(), fcntl.LOCK_UN, 1, port)
    return False


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _descriptor() -> int:
    pid = os.getpid()  # a forked child does not inherit the locks: it starts a ledger of its own
    if pid not in _ledger:
        _held.clear()
        try:
            _ledger[pid] = os.open(_LEDGER, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            _ledger[pid] = os.open(_LEDGER, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o666)
            os.fchmod(_ledger[pid], 0o666)  # the umask must not keep other users out
    return _ledger[pid]
