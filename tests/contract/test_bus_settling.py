"""What every bus promises of settling, and of what it counts and keeps (hub/ports/bus.py), over each of them."""

import time

import pytest

from hub.errors import NotDurable
from hub.ports import Ack, Bus, DeadLetter, Depth, Outcome, Retry, Snooze
from tests.contract.buses import WORK, Place, depth_becomes, eventually, message, publish, receive


async def test_an_acknowledged_delivery_is_gone(work: Bus, place: Place) -> None:
    await publish(work, message())
    subscription = work.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, Ack())])
    await depth_becomes(work, Depth(0, 0, 0))


async def test_a_retry_is_the_next_attempt_and_not_earlier_than_asked(work: Bus) -> None:
    await publish(work, sent := message())
    subscription = work.subscribe(WORK, 10)
    for attempt in (1, 2, 3):
        (delivery,) = await receive(subscription, 1)
        assert delivery.message == sent
        assert delivery.attempt == attempt
        asked = time.monotonic()
        await subscription.settle([(delivery, Retry(0.8, "the CRM answered 503"))])
    await receive(subscription, 1)
    assert time.monotonic() - asked >= 0.8


async def test_a_snooze_is_no_attempt_and_not_earlier_than_asked(work: Bus) -> None:
    await publish(work, sent := message())
    subscription = work.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, Retry(0, "first"))])
    for _ in range(2):
        (delivery,) = await receive(subscription, 1)
        assert delivery.message == sent
        assert delivery.attempt == 2
        asked = time.monotonic()
        await subscription.settle([(delivery, Snooze(0.8, "not ready"))])
    await receive(subscription, 1)
    assert time.monotonic() - asked >= 0.8


async def test_a_dead_letter_keeps_its_reason_its_attempt_and_the_message(work: Bus) -> None:
    await publish(work, sent := message(text="Peña"))
    subscription = work.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, Retry(0, "once"))])
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, DeadLetter("the CRM answered 422: unknown field"))])
    await depth_becomes(work, Depth(0, 0, 1))
    for _ in range(2):  # looking does not take
        (letter,) = await work.dead(WORK)
        assert letter.message == sent
        assert letter.reason == "the CRM answered 422: unknown field"
        assert letter.attempt == 2
        assert abs(letter.died_at.timestamp() - time.time()) < 60
    await depth_becomes(work, Depth(0, 0, 1))


async def test_dead_letters_are_listed_oldest_first_and_at_most_as_many_as_asked(work: Bus) -> None:
    sent = [message(n=n) for n in range(3)]
    await publish(work, *sent)
    subscription = work.subscribe(WORK, 10)
    await subscription.settle([(one, DeadLetter("no")) for one in await receive(subscription, 3)])
    await depth_becomes(work, Depth(0, 0, 3))
    assert [letter.message.id for letter in await work.dead(WORK, limit=2)] == [one.id for one in sent[:2]]


async def test_a_batch_is_settled_together_with_mixed_outcomes(work: Bus) -> None:
    sent = [message(n=n) for n in range(8)]
    await publish(work, *sent)
    subscription = work.subscribe(WORK, 10)
    batch = await receive(subscription, 8)
    outcomes: list[Outcome] = [Ack(), Retry(0, "a"), Ack(), DeadLetter("b"), Ack(), Snooze(0, "c"), Ack()]
    await subscription.settle(list(zip(batch[:7], outcomes, strict=True)))
    again = {delivery.message.id: delivery.attempt for delivery in await receive(subscription, 2)}
    assert again == {sent[1].id: 2, sent[5].id: 1}
    assert [letter.message.id for letter in await work.dead(WORK)] == [sent[3].id]
    await depth_becomes(work, Depth(ready=0, in_flight=3, dead=1))  # the two, and the eighth
    await subscription.settle([(batch[7], Ack())])
    await depth_becomes(work, Depth(ready=0, in_flight=2, dead=1))


async def test_depth_tells_what_is_ready_what_is_in_hand_or_waits_and_what_is_dead(work: Bus) -> None:
    await publish(work, *(message(n=n) for n in range(6)))
    await depth_becomes(work, Depth(6, 0, 0))
    subscription = work.subscribe(WORK, 3)
    batch = await receive(subscription, 3)
    await depth_becomes(work, Depth(3, 3, 0))
    await subscription.close()
    await depth_becomes(work, Depth(6, 0, 0))
    subscription = work.subscribe(WORK, 1)
    for outcome in (Retry(60, "later"), DeadLetter("never")):
        batch = await receive(subscription, 1)
        await subscription.settle([(batch[0], outcome)])
    await subscription.close()
    await depth_becomes(work, Depth(4, 1, 1))


async def test_a_queue_that_nobody_declared_has_no_depth(bus: Bus) -> None:
    async def up() -> bool:
        return bus.state()[0]

    await eventually(up)
    with pytest.raises(NotDurable):
        await bus.depth("trunkline.nowhere")
