"""Ends what the tests started, when the tests no longer can.

Runs beside pytest as `python guard.py`, in a session of its own, with a pipe from pytest as its input. However pytest
ends, with SIGKILL or `os._exit` too, the pipe ends. Then every process it was told of is stopped and every directory
removed. A line is `process PID SIGNAL` or `directory PATH`. What is gone by then is left alone: a process is known by
its pid and the time it started, so that a stranger who got its pid later is safe.
"""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterable

import psutil

GRACE = 5.0  # seconds for those who may tidy up after themselves


def main() -> None:
    processes: list[tuple[psutil.Process, signal.Signals]] = []
    directories: list[str] = []
    for line in sys.stdin:
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "directory":
            directories.append(rest)
        else:
            pid, number = map(int, rest.split())
            with contextlib.suppress(psutil.NoSuchProcess):
                processes.append((psutil.Process(pid), signal.Signals(number)))

    tidying = [process for process, wish in processes if _tidies_up(process, wish)]
    wait_until_ended(tidying)
    for process, _ in processes:
        kill_tree(process)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _tidies_up(process: psutil.Process, wish: signal.Signals) -> bool:
    if wish is signal.SIGKILL:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(wish)
    return True


def kill_tree(root: psutil.Process) -> None:
    """SIGKILL a process and all its descendants; returns when none of them is left."""
    try:
        root.suspend()  # it must not start another while we look
        family = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until_ended(family)


def wait_until_ended(processes: Iterable[psutil.Process], timeout: float = GRACE) -> list[psutil.Process]:
    """Wait, and return those that have not ended after that many seconds."""
    deadline = time.monotonic() + timeout
    while (left := [process for process in processes if not ended(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def ended(process: psutil.Process) -> bool:
    """Whether it is gone, or a zombie: that holds nothing, and when init takes note of it is init's affair."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


if __name__ == "__main__":
    main()
