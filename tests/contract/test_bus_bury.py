"""What every bus promises of messages that are buried by hand (hub/ports/bus.py), over each of them."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import NotDurable
from hub.events import to_event, to_message
from hub.ports import HISTORY, HISTORY_REASON, Ack, Bus, DeadLetter, Depth, Failure, QueueSpec
from tests.contract.buses import ENDED, WORK, Place, depth_becomes, eventually, ids, message, publish, receive

ORDERED = QueueSpec("trunkline.line", ("call.#",), ordered=True)


def failures(count: int) -> list[Failure]:
    began = datetime(2026, 11, 20, 9, 15, 30, 123_000, tzinfo=UTC)
    return [Failure(began + timedelta(minutes=n), f"attempt {n}: 503") for n in range(count)]


async def test_a_buried_message_is_a_dead_letter_with_all_that_was_said_of_it(work: Bus) -> None:
    sent, past = message(text="Peña"), failures(3)
    began = time.time()
    await work.bury(WORK, sent, "the CRM answered 422", 4, past)
    await depth_becomes(work, Depth(0, 0, 1))
    (letter,) = await work.dead(WORK)
    assert (letter.message, letter.id) == (sent, sent.id)
    assert (letter.reason, letter.attempt, letter.history) == ("the CRM answered 422", 4, tuple(past))
    assert began - 1 < letter.died_at.timestamp() < time.time() + 1


async def test_of_a_long_history_the_latest_failures_are_kept(work: Bus) -> None:
    past = [replace(one, reason="ñ" * 900) for one in failures(HISTORY + 5)]
    await work.bury(WORK, message(), "no", 18, past)
    await depth_becomes(work, Depth(0, 0, 1))
    (letter,) = await work.dead(WORK)
    assert letter.history == tuple(replace(one, reason="ñ" * HISTORY_REASON) for one in past[-HISTORY:])


async def test_a_buried_message_is_put_back_as_attempt_one_and_as_it_was(work: Bus) -> None:
    await work.bury(WORK, sent := message(text="Peña"), "no", 12, failures(11))
    await depth_becomes(work, Depth(0, 0, 1))
    assert await work.requeue(WORK, [sent.id], 10) == 1
    subscription = work.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    assert (delivery.message, delivery.attempt) == (sent, 1)
    await subscription.settle([(delivery, DeadLetter("again"))])
    await depth_becomes(work, Depth(0, 0, 1))
    (letter,) = await work.dead(WORK)
    assert (letter.message, letter.attempt, letter.reason, letter.history) == (sent, 1, "again", ())


async def test_a_buried_message_can_be_discarded_for_good(work: Bus) -> None:
    first, second = message(n=1), message(n=2)
    for one in (first, second):
        await work.bury(WORK, one, "no", 1)
    await depth_becomes(work, Depth(0, 0, 2))
    assert await work.discard(WORK, [first.id], 10) == 1
    assert [letter.id for letter in await work.dead(WORK)] == [second.id]


async def test_a_queue_that_is_consumed_can_be_buried_in_and_nobody_is_handed_it(work: Bus) -> None:
    subscription = work.subscribe(WORK, 10)
    await publish(work, living := message(n=1))
    (delivery,) = await receive(subscription, 1)
    await work.bury(WORK, message(n=2), "no", 1)
    await subscription.settle([(delivery, Ack())])
    await publish(work, after := message(n=3))
    assert ids([delivery, *await receive(subscription, 1)]) == [living.id, after.id]
    await depth_becomes(work, Depth(0, 1, 1))


async def test_a_message_is_buried_in_one_queue_whatever_it_is_bound_to(work: Bus) -> None:
    await work.declare([other := QueueSpec("trunkline.other", ("call.*.ended",))])
    await work.bury(WORK, message(), "no", 1)
    await depth_becomes(work, Depth(0, 0, 1))
    assert await work.depth(other.name) == Depth(0, 0, 0)


async def test_what_was_buried_is_there_for_another_instance_at_once(work: Bus, place: Place) -> None:
    await work.bury(WORK, sent := message(), "no", 1)
    await work.close()
    async with place.bus() as other:
        await other.declare([ENDED])

        async def listed() -> bool:
            return [letter.id for letter in await other.dead(WORK)] == [sent.id]

        await eventually(listed)


async def test_a_buried_event_of_an_ordered_queue_holds_nobody_up_and_comes_back_into_its_line(bus: Bus) -> None:
    await bus.declare([ORDERED])
    first, second = (to_message(replace(to_event(message(n=n)), subject="a")) for n in range(2))
    await bus.bury(ORDERED.name, first, "no", 3, failures(2))
    await publish(bus, second)
    subscription = bus.subscribe(ORDERED.name, 10)
    (delivery,) = await receive(subscription, 1)
    assert delivery.message.id == second.id
    await depth_becomes(bus, Depth(0, 1, 1), ORDERED.name)
    assert await bus.requeue(ORDERED.name, None, 10) == 1
    await subscription.settle([(delivery, Ack())])
    (delivery,) = await receive(subscription, 1)
    assert (delivery.message.id, delivery.attempt) == (first.id, 1)
    await subscription.settle([(delivery, Ack())])
    await depth_becomes(bus, Depth(0, 0, 0), ORDERED.name)


async def test_nothing_can_be_buried_in_a_queue_that_nobody_declared(bus: Bus) -> None:
    async def up() -> bool:
        return bus.state()[0]

    await eventually(up)
    with pytest.raises(NotDurable):
        await bus.bury("trunkline.nowhere", message(), "no", 1)
