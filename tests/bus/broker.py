"""What the tests of the bus on RabbitMQ share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hub.bus.rabbitmq import RabbitBus
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Bus
from tests.contract.buses import ENDED, eventually


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[RabbitBus]:
    """A bus of its own on that broker, with a short ladder."""
    bus = RabbitBus([url], **{"ladder": (1, 2), **settings})
    await bus.start()
    await bus.declare([ENDED])
    try:
        yield bus
    finally:
        await bus.close()


async def insist(bus: Bus, *messages: Message, within: float = 30) -> None:
    """Publishes until it is durable, as the ingress does from its outbox."""

    async def durable() -> bool:
        try:
            await bus.publish(messages)
        except NotDurable:
            return False
        return True

    await eventually(durable, within)


def vhost(url: str) -> str:
    """The name of the virtual host of a URL."""
    return url.rpartition("/")[2]
