"""What every bus promises of commands (hub/ports/bus.py), over each of them."""

import asyncio
from uuid import uuid4

import aio_pika
import pytest

from hub.errors import NotDurable
from hub.events import COMMANDS, Message
from hub.ports import Ack, Bus, DeadLetter, Depth, QueueSpec, Retry
from tests.contract.buses import WITHIN, Place, depth_becomes, eventually, ids, message, publish, receive

DIAL = QueueSpec("trunkline.dialling", (), commands=("dial.*",))
EVERYTHING = QueueSpec("trunkline.everything", ("#",))


def command(key: str = "dial.focalscope", name: str | None = None) -> Message:
    return Message(key, {"ce-id": name or str(uuid4())}, b'{"source":"desk","destination":"+34911888920"}')


async def give(bus: Bus, *commands: Message) -> None:
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                return await bus.command(commands)
            except NotDurable as error:
                if "no queue" in str(error):
                    raise
                await asyncio.sleep(0.05)  # a bus that is on its way up


async def test_a_command_comes_to_the_queue_of_its_kind_and_to_nobody_who_listens_to_events(bus: Bus) -> None:
    await bus.declare([DIAL, EVERYTHING])
    await publish(bus, message())  # the bus is up
    await give(bus, given := command())
    subscription = bus.subscribe(DIAL.name, 10)
    (delivery,) = await receive(subscription, 1)
    assert delivery.message == given
    await subscription.settle([(delivery, Ack())])
    await depth_becomes(bus, Depth(0, 0, 0), DIAL.name)
    await depth_becomes(bus, Depth(1, 0, 0), EVERYTHING.name)


async def test_an_event_does_not_come_to_a_queue_of_commands(bus: Bus) -> None:
    await bus.declare([QueueSpec(DIAL.name, (), commands=("#",)), EVERYTHING])
    await publish(bus, message())
    await give(bus, command())
    await depth_becomes(bus, Depth(1, 0, 0), DIAL.name)
    await depth_becomes(bus, Depth(1, 0, 0), EVERYTHING.name)


async def test_a_command_that_nobody_takes_is_refused_to_whoever_gave_it(bus: Bus) -> None:
    await bus.declare([DIAL, EVERYTHING])
    await publish(bus, message())
    with pytest.raises(NotDurable):
        await give(bus, command("transfer.focalscope"))
    await depth_becomes(bus, Depth(1, 0, 0), EVERYTHING.name)


async def test_a_queue_may_have_events_and_commands(bus: Bus) -> None:
    await bus.declare([QueueSpec("trunkline.both", ("call.*.ended",), commands=("dial.ucontact",))])
    await publish(bus, event := message())
    await give(bus, given := command("dial.ucontact"))
    assert sorted(ids(await receive(bus.subscribe("trunkline.both", 10), 2))) == sorted([event.id, given.id])


async def test_a_command_keeps_its_name_over_a_retry_its_death_and_its_return(bus: Bus) -> None:
    await bus.declare([DIAL])
    await publish_up(bus)
    await give(bus, given := command(name="order-77"))
    subscription = bus.subscribe(DIAL.name, 10)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, Retry(0.1, "later"))])
    (delivery,) = await receive(subscription, 1)
    assert (delivery.message, delivery.attempt) == (given, 2)
    await subscription.settle([(delivery, DeadLetter("destination is 'x', expected a number"))])
    await depth_becomes(bus, Depth(0, 0, 1), DIAL.name)
    (letter,) = await bus.dead(DIAL.name)
    assert (letter.message, letter.id) == (given, "order-77")
    assert await bus.requeue(DIAL.name, ["order-77"], 1) == 1
    (delivery,) = await receive(subscription, 1)
    assert delivery.message == given


async def test_a_strangers_command_is_named_by_its_message_id(amqp_url: str) -> None:
    place = Place("rabbitmq", amqp_url)
    async with place.bus() as bus:
        await bus.declare([DIAL])
        await publish_up(bus)
        connection = await aio_pika.connect(amqp_url)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(COMMANDS)
            stranger = aio_pika.Message(b"{}", message_id="order-78", headers={"x-app": "crm", "ce-id": "its-own"})
            await exchange.publish(stranger, "dial.infocaller")
        subscription = bus.subscribe(DIAL.name, 10)
        (delivery,) = await receive(subscription, 1)
        assert delivery.message == (heard := Message("dial.infocaller", {"x-app": "crm", "ce-id": "order-78"}, b"{}"))
        await subscription.settle([(delivery, DeadLetter("no source"))])
        await depth_becomes(bus, Depth(0, 0, 1), DIAL.name)
        (letter,) = await bus.dead(DIAL.name)
        assert letter.message == heard
        assert await bus.requeue(DIAL.name, ["order-78"], 1) == 1
        (delivery,) = await receive(subscription, 1)
        assert delivery.message == heard


async def publish_up(bus: Bus) -> None:
    async def up() -> bool:
        return bus.state()[0]

    await eventually(up)
