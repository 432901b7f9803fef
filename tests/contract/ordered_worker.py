"""A worker of an ordered queue in a process of its own, run by the runner, to be stopped or killed.

`python -m tests.contract.ordered_worker KIND ADDRESS DIARY`

It writes what it does into the diary, a line at a time, whole lines of several processes in one order: `ready PID - 0`
once it can be stopped, `begin PID CALL NUMBER`, and then `done`, `failed` or `dead` with the same words. Some events
fail, some come too early, some never work.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from hub import retry
from hub.errors import NotYet, Permanent
from hub.events import Event
from hub.ports import QueueSpec
from tests.contract.buses import Place
from workers.runner import Runner, Worker

ORDERED = QueueSpec("trunkline.line", ("call.#",), ordered=True)
BATCH = 20


async def handle(diary: int, events: Sequence[Event]) -> Mapping[str, Exception]:
    """All events of a batch at once, each for a little while."""
    failures = await asyncio.gather(*(one(diary, event) for event in events))
    return {event.id: error for event, error in zip(events, failures, strict=True) if error is not None}


async def one(diary: int, event: Event) -> Exception | None:
    def note(word: str) -> None:
        os.write(diary, f"{word} {os.getpid()} {event.subject} {event.data['n']}\n".encode())

    note("begin")
    await asyncio.sleep(random.uniform(0, 0.01))  # noqa: S311
    if event.data["n"] % 10 == 7:
        note("dead")
        return Permanent("never works")
    fate = random.random()  # noqa: S311
    if fate < 0.05:
        note("failed")
        return ConnectionError("the other side is down")
    if fate < 0.1:
        note("failed")
        return NotYet(random.uniform(0, 0.3), "too early")  # noqa: S311
    note("done")
    return None


async def main(kind: str, address: str, path: str) -> None:
    diary = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with Place(kind, address).bus() as bus:
        runner = Runner(Worker("tested", ORDERED, partial(handle, diary), batch=BATCH, prefetch=40), bus)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runner.stop)
        os.write(diary, f"ready {os.getpid()} - 0\n".encode())
        await runner.run()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for name, value in {
        "_FIRST": 0.3,
        "_FACTOR": 1.0,
        "ATTEMPTS": 1000,
    }.items():  # soon again: the order is what counts
        setattr(retry, name, value)
    asyncio.run(main(*sys.argv[1:4]))
