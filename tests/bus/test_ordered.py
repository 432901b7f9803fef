"""What is special to ordered queues on RabbitMQ: slots, turns, and what becomes of both."""

import asyncio
from collections.abc import AsyncIterator

import aio_pika
import pytest
from structlog.testing import capture_logs

from hub.bus.ordered import OrderedSubscription
from hub.bus.rabbitmq import RabbitBus
from hub.bus.slots import SLOTS
from hub.events import EXCHANGE
from hub.ports import Ack, Depth, QueueSpec
from tests.bus.broker import opened
from tests.contract.buses import depth_becomes, eventually, ids, message, publish, receive

LINE = QueueSpec("trunkline.line", ("call.#",), ordered=True)


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with opened(amqp_url, watch=0.3) as bus:
        await bus.declare([LINE])
        yield bus


def subscribed(bus: RabbitBus) -> OrderedSubscription:
    subscription = bus.subscribe(LINE.name, 100)
    assert isinstance(subscription, OrderedSubscription)
    return subscription


def turns(subscription: OrderedSubscription) -> int:
    return sum(turn.since is not None for turn in subscription._turns.values())


async def test_a_strangers_event_without_a_slot_is_kept_in_the_first_partition(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    exchange = await stranger.get_exchange(EXCHANGE)
    one = aio_pika.Message(b"{}", message_id="theirs", correlation_id="their call", headers={"ce-id": "theirs"})
    await exchange.publish(one, "call.infocaller.ended")
    await exchange.publish(one, "call.infocaller.ended")
    await depth_becomes(bus, Depth(2, 0, 0), LINE.name)
    subscription = subscribed(bus)
    for _ in range(2):  # one at a time: they are of one call
        (delivery,) = await receive(subscription, 1)
        assert delivery.message.id == "theirs"
        await subscription.settle([(delivery, Ack())])
    await depth_becomes(bus, Depth(0, 0, 0), LINE.name)


async def test_consumers_share_the_turns_and_one_that_is_left_takes_them_all(bus: RabbitBus, amqp_url: str) -> None:
    first = subscribed(bus)

    async def all_of_them() -> bool:
        return turns(first) == SLOTS

    await eventually(all_of_them)
    async with opened(amqp_url) as other:
        await other.declare([LINE])
        second = subscribed(other)

        async def half_each() -> bool:
            return (turns(first), turns(second)) == (SLOTS // 2, SLOTS // 2)

        await eventually(half_each, 60)
    await eventually(all_of_them)


async def test_a_turn_that_the_broker_serves_no_more_is_lost_and_taken_again(bus: RabbitBus) -> None:
    subscription = subscribed(bus)

    async def all_of_them() -> bool:
        return turns(subscription) == SLOTS

    await eventually(all_of_them)
    deaf = dict(subscription._turns)
    for turn in deaf.values():
        turn._channel.consumers.clear()  # type: ignore[attr-defined]  # what arrives is dropped in the library
    with capture_logs() as logs:
        sent = [message(n=n) for n in range(20)]
        await publish(bus, *sent)
        delivered = await receive(subscription, len(sent), 60)
    assert sorted(ids(delivered)) == sorted(one.id for one in sent)
    assert any("nothing comes from" in log["reason"] for log in logs if log["event"] == "bus.consumer_lost")
    await subscription.settle([(one, Ack()) for one in delivered])
    await depth_becomes(bus, Depth(0, 0, 0), LINE.name)


async def test_a_partition_that_is_deleted_is_made_again_and_consumed_from(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    subscription = subscribed(bus)

    async def all_of_them() -> bool:
        return turns(subscription) == SLOTS

    await eventually(all_of_them)
    for slot in range(SLOTS):
        await stranger.queue_delete(f"{LINE.name}.{slot}")
    await eventually(all_of_them)

    async def arrives() -> bool:
        await publish(bus, one := message())
        try:
            async with asyncio.timeout(1):
                delivered = await receive(subscription, 1)
        except TimeoutError:  # its partition was not there yet, and it went to the unrouted
            return False
        await subscription.settle([(each, Ack()) for each in delivered])
        return one.id in ids(delivered)

    await eventually(arrives)
