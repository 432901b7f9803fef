"""A bus on a virtual host of the test's own, and a program there that is not ours."""

from collections.abc import AsyncIterator

import aio_pika
import pytest

from hub.bus.rabbitmq import RabbitBus
from tests.bus.broker import opened


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with opened(amqp_url) as bus:
        yield bus


@pytest.fixture
async def stranger(amqp_url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """A program that knows the contract and none of our code."""
    connection = await aio_pika.connect(amqp_url)
    yield await connection.channel()
    await connection.close()


@pytest.fixture
def unused_port() -> int:
    return 1  # only root may listen there, and nobody does
