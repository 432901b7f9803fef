"""What the tests of the runner share: a queue on a real embedded bus, and a worker of the test's own on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from hub.events import Event, Message, timestamp, to_message
from hub.ports import Bus, Dead, Depth, QueueSpec
from tests.contract.buses import depth_becomes
from workers.runner import Handler, Runner, Worker

QUEUE: Final = QueueSpec("trunkline.work", ("#",))
NOTHING: Final = Depth(ready=0, in_flight=0, dead=0)
WITHIN: Final = 20.0


def event(name: str = "", *, received: datetime | None = None, **data: Any) -> Event:
    """An event of ours that says its name."""
    now = received or datetime.now(UTC)
    content = {"name": name, "received_at": timestamp(now), **data}
    return Event(str(uuid4()), "call", "infocaller", "ended", "line-900", now, content, subject=str(uuid4()))


def message(name: str = "", **data: Any) -> Message:
    return to_message(event(name, **data))


def names(events: Sequence[Event]) -> list[str]:
    return [event.data["name"] for event in events]


@asynccontextmanager
async def working(
    bus: Bus, handle: Handler, *, batch: int = 10, prefetch: int = 20
) -> AsyncIterator[tuple[Runner, "asyncio.Task[None]"]]:
    """A runner at work; stopped and awaited at the end."""
    runner = Runner(Worker("tested", QUEUE, handle, batch=batch, prefetch=prefetch), bus)
    task = asyncio.create_task(runner.run())
    try:
        yield runner, task
    finally:
        runner.stop()
        await asyncio.wait_for(task, WITHIN)


async def becomes(true: Callable[[], bool], within: float = WITHIN) -> None:
    """Waits for what sends no signal."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.005)


async def dead_letter(bus: Bus) -> Dead:
    """The one dead letter of the queue, as soon as it is there."""
    await depth_becomes(bus, Depth(ready=0, in_flight=0, dead=1), QUEUE.name)
    [dead] = await bus.dead(QUEUE.name)
    return dead
