"""What every bus promises of sending to one queue (hub/ports/bus.py), over each of them."""

import asyncio
import sys
from dataclasses import replace

import pytest

from hub.errors import NotDurable
from hub.events import AGAIN, ONCE, REPLAY, Message, to_event
from hub.ports import Ack, Bus, DeadLetter, Depth, QueueSpec, Retry
from tests.contract.buses import WITHIN, WORK, Place, depth_becomes, ids, message, publish, receive

NEIGHBOUR = QueueSpec("my.app", ("#",))


async def send(bus: Bus, *messages: Message, to: str = WORK) -> None:
    async with asyncio.timeout(WITHIN):
        await bus.send(to, messages)


async def test_what_is_sent_lies_in_that_queue_and_in_no_other(work: Bus) -> None:
    await work.declare([NEIGHBOUR])
    sent = message()
    await send(work, sent)
    assert [one.message for one in await receive(work.subscribe(WORK, 10), 1)] == [sent]
    await depth_becomes(work, Depth(0, 0, 0), NEIGHBOUR.name)
    await depth_becomes(work, Depth(ready=0, in_flight=1, dead=0))


async def test_a_queue_gets_what_it_is_not_bound_to_with_the_key_that_it_was_published_with(work: Bus) -> None:
    sent = message("recording.infocaller.available", name="Peña ñ €")
    await send(work, sent)
    (delivery,) = await receive(work.subscribe(WORK, 10), 1)
    assert delivery.message == sent
    assert delivery.attempt == 1


async def test_the_same_event_is_delivered_beside_the_one_that_was_published(work: Bus) -> None:
    same = message()
    await publish(work, same)
    await send(work, same)
    assert ids(await receive(work.subscribe(WORK, 10), 2)) == [same.id, same.id]


async def test_what_is_sent_arrives_in_its_order(work: Bus) -> None:
    sent = [message(n=n) for n in range(300)]
    for at in range(0, len(sent), 50):
        await send(work, *sent[at : at + 50])
    assert ids(await receive(work.subscribe(WORK, 300), 300)) == [one.id for one in sent]


async def test_sending_nothing_is_durable_at_once(work: Bus) -> None:
    await work.send(WORK, [])


async def test_a_waiting_consumer_of_that_queue_is_woken(work: Bus, place: Place) -> None:
    async with place.bus() as other:
        subscription = other.subscribe(WORK, 10)
        await publish(work, message())
        await receive(subscription, 1)
        fetching = asyncio.create_task(subscription.fetch(10))
        await send(work, sent := message())
        assert ids(await fetching) == [sent.id]


async def test_a_queue_that_does_not_exist_takes_nothing(work: Bus) -> None:
    with pytest.raises(NotDurable):
        await send(work, message(), to="nobodys.queue")
    await send(work, after := message())
    assert ids(await receive(work.subscribe(WORK, 10), 1)) == [after.id]


async def test_a_bus_that_is_closed_sends_nothing(place: Place) -> None:
    async with place.bus() as bus:
        pass
    with pytest.raises(NotDurable):
        await bus.send(WORK, [message()])


@pytest.mark.parametrize("value", [ONCE, AGAIN])
async def test_that_it_is_a_replay_is_said_on_every_attempt_and_after_its_death(work: Bus, value: str) -> None:
    plain = message()
    sent = replace(plain, headers={**plain.headers, REPLAY: value})
    await send(work, sent)
    subscription = work.subscribe(WORK, 10)
    for outcome in (Retry(0, "not yet"), DeadLetter("no more")):
        (delivery,) = await receive(subscription, 1)
        assert (delivery.message, to_event(delivery.message).again) == (sent, value == AGAIN)
        await subscription.settle([(delivery, outcome)])
    await depth_becomes(work, Depth(0, 0, 1))
    (dead,) = await work.dead(WORK)
    assert dead.message == sent
    assert await work.requeue(WORK, None, 1) == 1
    (delivery,) = await receive(subscription, 1)
    assert delivery.message == sent
    await subscription.settle([(delivery, Ack())])


async def test_what_was_sent_is_there_after_its_sender_was_killed(work: Bus, place: Place) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.sender", place.kind, place.address, WORK, "200"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    sent = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()
    process.kill()
    await process.wait()
    assert ids(await receive(work.subscribe(WORK, 200), 200)) == sent
