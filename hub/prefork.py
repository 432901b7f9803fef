"""A parent that holds the listening socket and replaces a child that dies.

The socket outlives every child, so a killed ingress costs only the requests in its hands: the others wait in the
kernel's backlog for the next one. A child that served is replaced at once, whatever ended it; before the next try of
one that never came to serve there is a pause, longer each time. Our own page of code, because the well-kept parents
(gunicorn with aiohttp's worker) do not pass the server's limits on, among them the length of a URL.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

from hub import metrics
from hub.errors import ConfigurationError

FD_VARIABLE: Final = "LISTEN_FDS"  # systemd's socket activation; the parent hands its socket over the same way
FIRST_FD: Final = 3
_PR_SET_PDEATHSIG: Final = 1
_BACKLOG: Final = 4096  # as at the door
_PAUSE: Final = (0.1, 5.0)
_PATIENCE: Final = 25.0
_log = structlog.get_logger("parent")


def inherited() -> socket.socket | None:
    """The socket that a parent or systemd opened for this process; None where there is none."""
    meant_for = os.environ.pop("LISTEN_PID", "")
    if os.environ.pop(FD_VARIABLE, "") != "1" or meant_for not in ("", str(os.getpid())):
        return None
    listener = socket.socket(fileno=FIRST_FD)
    listener.setblocking(False)
    return listener


def bind(host: str, port: int) -> socket.socket:
    """An open socket. Raises ConfigurationError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"http.port: found {port}; cannot listen on {host}: {error.strerror}") from None
    listener.listen(_BACKLOG)
    return listener


def tell_ready() -> None:
    """Leaves word for the parent, where there is one, that this process came to serve."""
    directory = os.environ.get(metrics.SHARED)
    if directory is not None:
        with contextlib.suppress(OSError):  # its replacement would wait a little: no reason to fail
            _word(directory, os.getpid()).touch()


def _word(directory: str, pid: int) -> Path:
    return Path(directory) / f"served-{pid}"


class Parent:
    """Keeps ``count`` children running over one socket until it is told to stop."""

    def __init__(self, listener: socket.socket, command: Sequence[str], count: int) -> None:
        """Starts nothing.

        Args:
            listener: an open socket; each child gets it as file descriptor 3.
            command: what a child runs, after the interpreter.
            count: how many children.
        """
        self._listener = listener
        self._command = command
        self._count = count
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._environment: dict[str, str] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; then the children drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        with TemporaryDirectory(prefix="trunkline-metrics-") as directory:
            self._environment = {**os.environ, FD_VARIABLE: "1", metrics.SHARED: directory}
            await asyncio.gather(*(self._keep_one(slot) for slot in range(self._count)))

    def _stop(self) -> None:
        self._stopping.set()
        for child in self._children.values():
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)

    async def _keep_one(self, slot: int) -> None:
        pause, longest = _PAUSE
        while not self._stopping.is_set():
            ending, served = await self._live(slot)
            if self._stopping.is_set():
                return
            pause = _PAUSE[0] if served else min(pause * 2, longest)
            _log.error("parent.child_died", slot=slot, why=ending, again_in=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _live(self, slot: int) -> tuple[str, bool]:
        """A child from its start to its end; returns how it ended, and whether it had come to serve."""
        try:
            child = await self._spawn()
        except OSError as error:  # no process or no memory to be had now: the other children must not lose their parent
            return f"not started: {error}", False
        self._children[slot] = child
        if self._stopping.is_set():  # told to stop while it was starting
            child.send_signal(signal.SIGTERM)
        await self._ended(child)
        directory = self._environment[metrics.SHARED]
        mark_process_dead(child.pid, directory)  # type: ignore[no-untyped-call]  # likewise
        word = _word(directory, child.pid)
        served = word.exists()
        word.unlink(missing_ok=True)  # a later child may get the same number
        return f"process {child.pid} ended with {child.returncode}", served

    async def _ended(self, child: asyncio.subprocess.Process) -> None:
        waiting = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done():
            await asyncio.wait((waiting,), timeout=_PATIENCE)
        if not waiting.done():
            child.kill()
            await waiting

    async def _spawn(self) -> asyncio.subprocess.Process:
        fd = self._listener.fileno()
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None

        def hand_over() -> None:
            os.dup2(fd, FIRST_FD)
            os.set_inheritable(FIRST_FD, True)
            if libc is not None:  # a child without its parent would serve on, and keep the next parent from the port
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        return await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command,
            env=self._environment,
            pass_fds=(fd, FIRST_FD) if fd != FIRST_FD else (FIRST_FD,),
            preexec_fn=hand_over,
        )
