"""Child processes of the tests: started in a session of their own, and never left behind."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.servers.guard import kill_tree, wait_until_ended

START_TIMEOUT = 90.0  # seconds; a start takes five, on a machine that also runs everything else it may take long
STOP_TIMEOUT = 60.0  # seconds
RUN_TIMEOUT = 60.0  # seconds


class _Guard:
    """Our end of the pipe to `guard.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for pytest
        )
        atexit.register(self._end, os.getpid())

    def watch(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what.encode() + b"\n")
        self._process.stdin.flush()

    def _end(self, owner: int) -> None:
        """Waits until it has ended what is still there, so that nothing outlives an orderly exit by even a moment."""
        if os.getpid() == owner:  # a forked child has inherited this, but not the servers
            self._process.communicate()


@functools.cache
def _guard() -> _Guard:
    return _Guard()


def new_directory(prefix: str) -> Path:
    """A temporary directory that goes with the tests, at the latest."""
    directory = Path(tempfile.mkdtemp(prefix=f"trunkline-{prefix}-"))
    _guard().watch(f"directory {directory}")
    return directory


def remove_directory(directory: Path) -> None:
    """Remove it now."""
    shutil.rmtree(directory, ignore_errors=True)


def spawn(
    command: Sequence[str | Path],
    *,
    directory: Path,
    env: Mapping[str, str],
    log: Path,
    out: Path | None = None,
    user: str | None = None,
    at_the_end: signal.Signals = signal.SIGKILL,
    fds: Sequence[int] = (),
) -> psutil.Popen:
    """Start a process of which nothing is left once the tests have ended, in whatever way.

    What it says goes to `log`, or, of its standard output, to `out`.
    `at_the_end` is the signal that makes it tidy up (shared memory, say) if the tests do not stop it themselves; `fds`
    are descriptors of ours that it gets under their numbers.
    """
    with log.open("ab") as output, (out or log).open("ab") as said:
        process = psutil.Popen(
            [str(word) for word in command],
            cwd=directory,
            env=dict(env),
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=output,
            start_new_session=True,
            pass_fds=fds,
        )
    _guard().watch(f"process {process.pid} {at_the_end.value}")
    return process


def alive(process: psutil.Popen | None) -> bool:
    """Whether it runs. A child that has died and was not waited for does not."""
    if process is None:
        return False
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(timeout=0)
        return False
    return True


def wait_until(ready: Callable[[], bool], process: psutil.Popen, *, log: Path, timeout: float = START_TIMEOUT) -> None:
    """Poll until the process is ready; raises with the end of its log when it dies first or takes too long."""
    deadline = time.monotonic() + timeout
    while not ready():
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout=0.02)
            raise RuntimeError(f"{process.args[0]} ended during its start:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.args[0]} was not ready after {timeout:.0f} s:\n{_tail(log)}")


def kill(process: psutil.Popen) -> None:
    """SIGKILL the process and all it had started; returns when they are gone. No-op when it has ended."""
    kill_tree(process)
    process.wait(timeout=STOP_TIMEOUT)


def stop(process: psutil.Popen, how: signal.Signals, *, log: Path, timeout: float = STOP_TIMEOUT) -> None:
    """Send the signal and return when the process and all it had started are gone."""
    family = process.children(recursive=True)
    process.send_signal(how)
    try:
        process.wait(timeout=timeout)
    except psutil.TimeoutExpired:
        kill(process)
        raise TimeoutError(f"{process.args[0]} did not stop within {timeout:.0f} s:\n{_tail(log)}") from None
    for orphan in wait_until_ended(family, timeout=1):  # they end when their parent does
        kill_tree(orphan)


def answers(port: int, *, say: bytes = b"", begin: bytes = b"") -> bool:
    """Whether a server at the port takes a connection, and begins its answer with these bytes."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(say)
            return connection.recv(len(begin)) == begin if begin else True
    except OSError:
        return False


def run(
    command: Sequence[str | Path],
    *,
    directory: Path,
    env: Mapping[str, str],
    user: str | None = None,
    script: str | None = None,
    timeout: float = RUN_TIMEOUT,
) -> str:
    """Run a command to its end, with a script as its input, and return what it printed; raises with its complaint."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env=dict(env),
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        input=script or "",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _tail(log: Path, lines: int = 100) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
