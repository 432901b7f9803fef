"""What every bus promises of its dead letters (hub/ports/bus.py), over each of them."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub.errors import NotDurable
from hub.events import Message
from hub.ports import HISTORY_REASON, Ack, Bus, Dead, DeadLetter, Depth, Outcome, Retry, Snooze
from tests.contract.buses import WORK, Place, depth_becomes, eventually, ids, message, publish, receive


async def bury(bus: Bus, messages: Sequence[Message], reason: str = "no") -> None:
    """Makes dead letters of them, in their order."""
    subscription = bus.subscribe(WORK, 500)
    for at in range(0, len(messages), 250):
        await publish(bus, *messages[at : at + 250])
    left = len(messages)
    while left:
        batch = await receive(subscription, min(left, 250))
        await subscription.settle([(one, DeadLetter(reason)) for one in batch])
        left -= len(batch)
    await subscription.close()
    await depth_becomes(bus, Depth(0, 0, len(messages)))


async def test_a_dead_letter_remembers_every_attempt_with_its_reason_and_time(work: Bus) -> None:
    await publish(work, sent := message(text="Peña"))
    subscription = work.subscribe(WORK, 10)
    outcomes: list[Outcome] = [
        Retry(0, "the CRM answered 503"),
        Snooze(0, "too early is no attempt"),
        Retry(0, "ñ" * 900),
        DeadLetter("the CRM answered 422"),
    ]
    began = time.time()
    for outcome in outcomes:
        (delivery,) = await receive(subscription, 1)
        assert delivery.message == sent  # what the bus notes is not the message's
        await subscription.settle([(delivery, outcome)])
    await depth_becomes(work, Depth(0, 0, 1))
    (letter,) = await work.dead(WORK)
    assert (letter.id, letter.attempt, letter.reason) == (sent.id, 3, "the CRM answered 422")
    assert [failure.reason for failure in letter.history] == ["the CRM answered 503", "ñ" * HISTORY_REASON]
    times = [failure.at.timestamp() for failure in letter.history] + [letter.died_at.timestamp()]
    assert times == sorted(times)
    assert began - 1 < times[0] < time.time() + 1


async def test_pages_of_dead_letters_follow_one_another_without_gaps(work: Bus) -> None:
    sent = [message(n=n) for n in range(7)]
    await bury(work, sent)
    seen: list[Dead] = []
    after: str | None = None
    while page := await work.dead(WORK, 3, after):
        assert len(page) <= 3
        seen += page
        after = page[-1].cursor
    assert [letter.id for letter in seen] == [one.id for one in sent]


async def test_a_page_behind_a_letter_that_is_gone_begins_with_the_next(work: Bus) -> None:
    sent = [message(n=n) for n in range(4)]
    for one in sent:  # one after the other: they die at different times
        await publish(work, one)
        subscription = work.subscribe(WORK, 1)
        (delivery,) = await receive(subscription, 1)
        await asyncio.sleep(0.002)
        await subscription.settle([(delivery, DeadLetter("no"))])
        await subscription.close()
    await depth_becomes(work, Depth(0, 0, 4))
    first, second, *_ = await work.dead(WORK)
    assert await work.discard(WORK, [second.id], 10) == 1
    assert [letter.id for letter in await work.dead(WORK, 50, second.cursor)] == [one.id for one in sent[2:]]
    assert [letter.id for letter in await work.dead(WORK, 50, first.cursor)] == [one.id for one in sent[2:]]


async def test_letters_can_be_chosen_by_what_they_say(work: Bus) -> None:
    sent = [message(n=n) for n in range(6)]
    await bury(work, sent)
    odd = await work.dead(WORK, 2, None, lambda letter: b"1" in letter.message.body or b"5" in letter.message.body)
    assert [letter.id for letter in odd] == [sent[1].id, sent[5].id]
    assert await work.dead(WORK, 2, odd[-1].cursor, lambda _: True) == []


async def test_what_is_no_cursor_is_told(work: Bus) -> None:
    for rubbish in ("", "rubbish", "-1", "x.y"):
        with pytest.raises(ValueError, match="cursor"):
            await work.dead(WORK, 10, rubbish)


async def test_a_requeued_letter_is_the_same_message_as_attempt_one_with_nothing_remembered(work: Bus) -> None:
    await publish(work, sent := message(text="Peña"))
    subscription = work.subscribe(WORK, 10)
    for outcome in (Retry(0, "once"), DeadLetter("for good")):
        (delivery,) = await receive(subscription, 1)
        await subscription.settle([(delivery, outcome)])
    await depth_becomes(work, Depth(0, 0, 1))
    assert await work.requeue(WORK, [sent.id, "nobody's"], 10) == 1
    (delivery,) = await receive(subscription, 1)
    assert (delivery.message, delivery.attempt) == (sent, 1)
    assert await work.dead(WORK) == []
    await subscription.settle([(delivery, DeadLetter("again"))])
    await depth_becomes(work, Depth(0, 0, 1))
    (letter,) = await work.dead(WORK)
    assert (letter.message, letter.attempt, letter.reason, letter.history) == (sent, 1, "again", ())


async def test_requeuing_wakes_a_consumer_of_another_instance(work: Bus, place: Place) -> None:
    await bury(work, [sent := message()])
    subscription = work.subscribe(WORK, 10)
    async with place.bus() as other:

        async def requeued() -> bool:
            try:
                return await other.requeue(WORK, None, 10) == 1
            except NotDurable:
                return False

        await eventually(requeued)
        assert ids(await receive(subscription, 1)) == [sent.id]


async def test_only_the_chosen_leave_and_the_others_keep_their_places(work: Bus) -> None:
    sent = [message(n=n) for n in range(6)]
    await bury(work, sent)
    assert await work.requeue(WORK, {sent[1].id, sent[4].id}, 10) == 2
    assert await work.discard(WORK, {sent[2].id}, 10) == 1
    assert [letter.id for letter in await work.dead(WORK)] == [sent[n].id for n in (0, 3, 5)]
    await depth_becomes(work, Depth(ready=2, in_flight=0, dead=3))
    again = await receive(work.subscribe(WORK, 10), 2)
    assert {delivery.message.id for delivery in again} == {sent[1].id, sent[4].id}


async def test_of_many_that_are_chosen_among_others_none_stays_behind(work: Bus) -> None:
    sent = [message(n=n) for n in range(400)]
    await bury(work, sent)
    chosen = [one for n, one in enumerate(sent) if n % 4]
    for verb, part in ((work.requeue, chosen[:150]), (work.discard, chosen[150:])):
        assert await verb(WORK, {one.id for one in part}, 1000) == 150
    await depth_becomes(work, Depth(ready=150, in_flight=0, dead=100))
    assert [letter.id for letter in await work.dead(WORK, 1000)] == [one.id for one in sent[::4]]


async def test_no_more_than_the_limit_leave_and_the_oldest_first(work: Bus) -> None:
    sent = [message(n=n) for n in range(6)]
    await bury(work, sent)
    assert await work.requeue(WORK, None, 2) == 2
    assert await work.discard(WORK, None, 1) == 1
    assert [letter.id for letter in await work.dead(WORK)] == [one.id for one in sent[3:]]
    assert await work.requeue(WORK, [one.id for one in sent], 2) == 2
    assert [letter.id for letter in await work.dead(WORK)] == [sent[5].id]
    assert await work.discard(WORK, None, 100) == 1
    assert (await work.requeue(WORK, None, 10), await work.discard(WORK, None, 10)) == (0, 0)


async def test_a_message_without_an_id_can_be_named_all_the_same(work: Bus) -> None:
    nameless = [Message("call.their.ended", {"text": "ñ"}, body) for body in (b"\xff\x00", b"other")]
    await bury(work, nameless)
    first, second = await work.dead(WORK)
    assert (first.message, second.message) == (nameless[0], nameless[1])
    assert first.id != second.id
    assert [letter.id for letter in await work.dead(WORK)] == [first.id, second.id]
    assert await work.requeue(WORK, [first.id], 10) == 1
    (delivery,) = await receive(work.subscribe(WORK, 10), 1)
    assert delivery.message == nameless[0]
    assert [letter.id for letter in await work.dead(WORK)] == [second.id]


async def test_what_is_in_hand_or_waits_for_its_retry_is_no_dead_letter(work: Bus) -> None:
    sent = [message(n=n) for n in range(3)]
    await publish(work, *sent)
    subscription = work.subscribe(WORK, 3)
    first, _, third = await receive(subscription, 3)
    await subscription.settle([(first, Retry(60, "later")), (third, DeadLetter("no"))])
    await depth_becomes(work, Depth(ready=0, in_flight=2, dead=1))
    assert await work.discard(WORK, [one.id for one in sent], 10) == 1
    await depth_becomes(work, Depth(ready=0, in_flight=2, dead=0))


async def test_a_queue_that_nobody_declared_has_no_dead_letters_to_act_on(bus: Bus) -> None:
    async def up() -> bool:
        return bus.state()[0]

    await eventually(up)
    for verb in (bus.requeue, bus.discard):
        with pytest.raises(NotDurable, match="there is no queue"):
            await verb("trunkline.nowhere", None, 10)
    with pytest.raises(NotDurable, match="there is no queue"):
        await bus.dead("trunkline.nowhere")


@pytest.mark.timeout(120)
async def test_a_kill_in_the_middle_of_a_requeue_loses_nothing(work: Bus, place: Place) -> None:
    sent = [message(n=n) for n in range(1500)]
    await bury(work, sent)
    operator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.operator", place.kind, place.address, WORK, str(len(sent))),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert operator.stdout is not None
    assert await asyncio.wait_for(operator.stdout.readline(), 20) == b"begun\n"

    async def some_are_back() -> bool:
        return (await work.depth(WORK)).ready > 0

    await eventually(some_are_back)
    operator.kill()
    await operator.wait()
    expected = {one.id for one in sent}

    async def everything_is_somewhere() -> bool:
        depth = await work.depth(WORK)
        return depth.ready + depth.dead >= len(sent)

    await eventually(everything_is_somewhere)
    while await work.requeue(WORK, None, 1000):
        pass
    got: Counter[str] = Counter()
    subscription = work.subscribe(WORK, 500)
    async with asyncio.timeout(30):
        while set(got) != expected:
            batch = await subscription.fetch(500)
            got.update(ids(batch))
            await subscription.settle([(delivery, Ack()) for delivery in batch])
    assert max(got.values()) <= 2
