"""What every bus promises of ordered queues (hub/ports/bus.py): one event of a call at a time, in order, over each."""

import asyncio
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from hub.events import Message, to_event, to_message
from hub.ports import Ack, Bus, DeadLetter, Depth, QueueSpec, Retry, Snooze
from tests.contract.buses import Place, depth_becomes, eventually, message, publish, receive

ORDERED = QueueSpec("trunkline.line", ("call.#",), ordered=True)


def story(call: str, *numbers: int) -> list[Message]:
    """Events of one call, numbered."""
    return [numbered(call, number) for number in numbers]


def numbered(call: str, number: int) -> Message:
    return to_message(replace(to_event(message(n=number)), subject=call))


def number(message: Message) -> int:
    return int(to_event(message).data["n"])


async def test_events_of_one_call_come_one_at_a_time_and_in_order(bus: Bus) -> None:
    await bus.declare([ORDERED])
    await publish(bus, *story("a", *range(10)))
    subscription = bus.subscribe(ORDERED.name, 100)
    for expected in range(10):
        (delivery,) = await receive(subscription, 1)
        assert number(delivery.message) == expected
        await subscription.settle([(delivery, Ack())])
    await depth_becomes(bus, Depth(0, 0, 0), ORDERED.name)


async def test_a_failing_event_holds_back_its_own_call_only(bus: Bus) -> None:
    await bus.declare([ORDERED])
    await publish(bus, *story("a", 0, 1, 2), *story("b", 10, 11, 12))
    subscription = bus.subscribe(ORDERED.name, 100)
    seen: dict[str, list[int]] = defaultdict(list)
    attempts: list[int] = []
    while len(seen["b"]) < 3 or not attempts:
        for delivery in await receive(subscription, 1):
            call = str(delivery.message.headers["ce-subject"])
            if call == "a":
                attempts.append(delivery.attempt)
                await subscription.settle([(delivery, Retry(1.5, "the CRM is down"))])
            else:
                seen[call].append(number(delivery.message))
                await subscription.settle([(delivery, Ack())])
    assert attempts == [1]
    assert seen["b"] == [10, 11, 12]
    for expected in (0, 1, 2):
        (delivery,) = await receive(subscription, 1)
        assert (number(delivery.message), delivery.attempt) == (expected, 2 if expected == 0 else 1)
        await subscription.settle([(delivery, Ack())])
    await depth_becomes(bus, Depth(0, 0, 0), ORDERED.name)


async def test_what_is_held_back_stays_held_back_for_the_next_consumer(bus: Bus, place: Place) -> None:
    await bus.declare([ORDERED])
    await publish(bus, *story("a", 0, 1, 2))
    first = bus.subscribe(ORDERED.name, 100)
    (delivery,) = await receive(first, 1)
    await first.settle([(delivery, Snooze(3, "not yet"))])
    await first.close()
    async with place.bus() as other:
        await other.declare([ORDERED])
        second = other.subscribe(ORDERED.name, 100)
        await publish(bus, *story("a", 3), *story("b", 10))
        (delivery,) = await receive(second, 1)
        assert number(delivery.message) == 10
        await second.settle([(delivery, Ack())])
        for expected in range(4):
            (delivery,) = await receive(second, 1)
            assert (number(delivery.message), delivery.attempt) == (expected, 1)
            await second.settle([(delivery, Ack())])


async def test_behind_a_dead_letter_its_call_goes_on_and_put_back_it_comes_again(bus: Bus) -> None:
    await bus.declare([ORDERED])
    sent = story("a", 0, 1, 2)
    await publish(bus, *sent)
    subscription = bus.subscribe(ORDERED.name, 100)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, DeadLetter("the CRM answered 422"))])
    (delivery,) = await receive(subscription, 1)
    assert number(delivery.message) == 1
    (dead,) = await bus.dead(ORDERED.name)
    assert dead.message == sent[0]
    assert await bus.requeue(ORDERED.name, [sent[0].id], 10) == 1
    got: list[int] = []
    for _ in range(2):
        await subscription.settle([(delivery, Ack())])
        (delivery,) = await receive(subscription, 1)
        got.append(number(delivery.message))
    await subscription.settle([(delivery, Ack())])
    assert sorted(got) == [0, 2]  # out of order by nature; and never two at once
    await depth_becomes(bus, Depth(0, 0, 0), ORDERED.name)


async def test_a_stranger_without_a_call_waits_for_nobody(bus: Bus) -> None:
    await bus.declare([ORDERED])
    loose = [message(n=n) for n in range(3)]
    for one in loose:
        del one.headers["ce-subject"]
    await publish(bus, *loose)
    deliveries = await receive(bus.subscribe(ORDERED.name, 100), 3)
    assert {one.message.id for one in deliveries} == {one.id for one in loose}


async def test_no_more_than_the_prefetch_of_an_ordered_queue_is_handed_over(bus: Bus) -> None:
    await bus.declare([ORDERED])
    await publish(bus, *(message(n=n) for n in range(20)))
    subscription = bus.subscribe(ORDERED.name, 3)
    taken = await receive(subscription, 3)
    fetching = asyncio.create_task(subscription.fetch(10))
    done, _ = await asyncio.wait([fetching], timeout=0.3)
    assert not done
    await subscription.settle([(one, Ack()) for one in taken])
    assert 1 <= len(await fetching) <= 3


async def test_what_is_sent_to_an_ordered_queue_stands_in_its_calls_line(bus: Bus) -> None:
    await bus.declare([ORDERED])
    sent = story("a", 0, 1, 2)
    await publish(bus, *sent[:2])
    await bus.send(ORDERED.name, sent[2:])
    subscription = bus.subscribe(ORDERED.name, 100)
    for expected in sent:
        (delivery,) = await receive(subscription, 1)
        assert delivery.message == expected
        await subscription.settle([(delivery, Ack())])


async def test_a_poisonous_event_dies_alone_and_its_call_goes_on(bus: Bus, place: Place, tmp_path: Path) -> None:
    await bus.declare([ORDERED])
    good = [one for n in range(5) for one in (numbered(str(call), n) for call in range(40))]
    poison = to_message(replace(to_event(message(what="poison")), subject="7"))
    everything = [*good[:100], poison, *good[100:]]
    await publish(bus, *everything)
    settled = tmp_path / "settled"
    storm = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.storm", place.kind, place.address, ORDERED.name),
        *("20", "29", str(settled), "ordered"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await asyncio.wait_for(storm.communicate(), 160)
    assert storm.returncode == 0
    assert set(settled.read_text().split()) == {one.id for one in good}
    await depth_becomes(bus, Depth(0, 0, 1), ORDERED.name)
    (letter,) = await bus.dead(ORDERED.name)
    assert (letter.message, letter.reason) == (poison, "delivery_limit")


async def test_an_ordered_queue_is_counted_for_the_ledger(bus: Bus) -> None:
    await bus.declare([ORDERED])
    await publish(bus, *story("a", 0, 1), *story("b", 10))
    subscription = bus.subscribe(ORDERED.name, 100)
    waiting, done = await receive(subscription, 2)
    await eventually(lambda: consumers(bus, 1))
    before = await subscription.held()
    await subscription.settle([(waiting, Retry(60, "down")), (done, DeadLetter("never"))])
    await depth_becomes(bus, Depth(0, 2, 1), ORDERED.name)  # whichever of the two calls has the dead letter
    census = await bus.census(ORDERED.name, [done.message.id])
    assert (census.consumers, census.dead) == (1, 1)
    after = await subscription.held()
    assert after.epoch == before.epoch
    assert after.count <= before.count
    await subscription.close()
    await eventually(lambda: consumers(bus, 0))


async def consumers(bus: Bus, count: int) -> bool:
    return (await bus.census(ORDERED.name, ())).consumers == count
