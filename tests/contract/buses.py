"""How each bus is built for the conformance suite. A new one is a line in each of the two tables."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.bus.sqlite import SqliteBus
from hub.errors import NotDurable
from hub.events import Event, Message, to_message
from hub.ports import Bus, Delivery, Depth, QueueSpec, Subscription

BUILD: Final[dict[str, Callable[[str], Bus]]] = {
    "sqlite": lambda address: SqliteBus(Path(address), poll=0.5),
    "rabbitmq": lambda address: RabbitBus([address], ladder=(1, 2, 60)),
}

ADDRESS: Final[dict[str, Callable[[pytest.FixtureRequest], str]]] = {
    "sqlite": lambda request: str(request.getfixturevalue("tmp_path") / "bus.db"),
    "rabbitmq": lambda request: str(request.getfixturevalue("amqp_url")),
}

WORK: Final = "trunkline.work"
ENDED: Final = QueueSpec(WORK, ("call.*.ended",))
WITHIN: Final = 20.0  # seconds that nothing in these tests may take


@dataclass(frozen=True)
class Place:
    """Where a bus lives: empty at the test's beginning, and the test's own."""

    kind: str
    address: str

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        """Another instance in the same place, as another process would have one."""
        bus = BUILD[self.kind](self.address)
        await bus.start()
        try:
            yield bus
        finally:
            await bus.close()


def message(key: str = "call.infocaller.ended", **data: object) -> Message:
    noun, vendor, verb = key.split(".")
    now = datetime.now(UTC)
    return to_message(Event(str(uuid4()), noun, vendor, verb, "line-900", now, data, subject=str(uuid4())))


async def publish(bus: Bus, *messages: Message) -> None:
    """As the ingress does with an outbox behind it: until it is durable."""
    async with asyncio.timeout(WITHIN):
        await bus.publish(messages)


async def receive(subscription: Subscription, count: int, within: float = WITHIN) -> list[Delivery]:
    """Exactly ``count`` deliveries."""
    got: list[Delivery] = []
    async with asyncio.timeout(within):
        while len(got) < count:
            got += await subscription.fetch(count - len(got))
    return got


async def eventually(check: Callable[[], Awaitable[bool]], within: float = WITHIN, every: float = 0.05) -> None:
    """Waits for what becomes true by itself and sends no signal: a broker's counts."""
    async with asyncio.timeout(within):
        while not await check():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(every)


async def depth_becomes(bus: Bus, depth: Depth, queue: str = WORK) -> None:
    async def same() -> bool:
        with contextlib.suppress(NotDurable):  # a bus that is on its way back cannot be asked yet
            return await bus.depth(queue) == depth
        return False

    await eventually(same)


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]
