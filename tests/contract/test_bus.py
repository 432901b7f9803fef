"""What every bus promises of publishing and consuming (hub/ports/bus.py), over each of them."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest

from hub.errors import BusClosed, NotDurable
from hub.events import UNROUTED, to_event
from hub.ports import Ack, Bus, DeadLetter, Depth, QueueSpec, Retry
from tests.contract.buses import ENDED, WORK, Place, depth_becomes, eventually, ids, message, publish, receive

EVERYTHING = QueueSpec("trunkline.persistence", ("#",))


# --- publishing ------------------------------------------------------------------------------------------------------


async def test_a_message_reaches_every_queue_bound_to_it_and_no_other(bus: Bus) -> None:
    await bus.declare([ENDED, EVERYTHING, QueueSpec("trunkline.recordings", ("recording.*.available",))])
    ended, recording = message(), message("recording.infocaller.available")
    await publish(bus, ended)
    await publish(bus, recording)
    assert ids(await receive(bus.subscribe(WORK, 10), 1)) == [ended.id]
    assert ids(await receive(bus.subscribe(EVERYTHING.name, 10), 2)) == [ended.id, recording.id]
    assert ids(await receive(bus.subscribe("trunkline.recordings", 10), 1)) == [recording.id]
    await depth_becomes(bus, Depth(ready=0, in_flight=1, dead=0))


async def test_a_queue_bound_twice_to_the_same_event_gets_it_once(bus: Bus) -> None:
    await bus.declare([QueueSpec(WORK, ("call.*.ended", "#", "call.infocaller.*"))])
    first, second = message(), message()
    await publish(bus, first, second)
    assert ids(await receive(bus.subscribe(WORK, 10), 2)) == [first.id, second.id]


async def test_a_message_that_matches_no_queue_is_kept_among_the_unrouted(work: Bus) -> None:
    stray = message("agent.ucontact.login")
    await publish(work, stray)
    (delivery,) = await receive(work.subscribe(UNROUTED, 10), 1)
    assert delivery.message == stray


async def test_what_was_unrouted_goes_where_it_belongs_once_there_is_such_a_place(work: Bus) -> None:
    stray, homeless = message("agent.ucontact.login"), message("dial.ucontact.requested")
    await publish(work, stray, homeless)
    await work.declare([QueueSpec("trunkline.agents", ("agent.#",)), QueueSpec("trunkline.others", ("agent.*.login",))])
    assert await work.reroute() >= 1
    for queue in ("trunkline.agents", "trunkline.others"):
        (delivery,) = await receive(work.subscribe(queue, 10), 1)
        assert (delivery.message, delivery.attempt) == (stray, 1)
    assert ids(await receive(work.subscribe(UNROUTED, 10), 1)) == [homeless.id]


async def test_many_that_were_unrouted_all_go(work: Bus) -> None:
    strays = [message("agent.ucontact.login", n=n) for n in range(450)]
    await publish(work, *strays)
    await work.declare([QueueSpec("trunkline.agents", ("agent.#",))])
    while await work.reroute():
        pass
    assert ids(await receive(work.subscribe("trunkline.agents", 450), 450)) == [one.id for one in strays]


async def test_what_is_received_is_what_was_published_byte_for_byte(work: Bus) -> None:
    sent = message(caller={"e164": "+34911888920"}, name="Peña ñ €", nothing=None)
    await publish(work, sent)
    (delivery,) = await receive(work.subscribe(WORK, 10), 1)
    assert delivery.message == sent
    assert to_event(delivery.message).data["name"] == "Peña ñ €"
    assert delivery.attempt == 1


async def test_messages_of_one_publish_arrive_in_their_order(work: Bus) -> None:
    sent = [message(n=n) for n in range(300)]
    await publish(work, *sent)
    assert ids(await receive(work.subscribe(WORK, 50), 50)) == [one.id for one in sent[:50]]


async def test_publishing_nothing_is_durable_at_once(work: Bus) -> None:
    await work.publish([])


async def test_the_same_event_published_concurrently_is_safe_and_comes_twice_at_the_most(work: Bus) -> None:
    same, other = message(), message()
    await asyncio.gather(publish(work, same), publish(work, same), publish(work, other))
    subscription = work.subscribe(WORK, 10)
    arrived = Counter(ids(await receive(subscription, 2)))
    await publish(work, last := message())
    while last.id not in arrived:
        arrived.update(ids(await receive(subscription, 1)))
    assert arrived[other.id] == 1
    assert 1 <= arrived[same.id] <= 2


async def test_the_same_event_within_one_publish_is_safe(work: Bus) -> None:
    same = message()
    await publish(work, same, same)
    assert set(ids(await receive(work.subscribe(WORK, 10), 1))) == {same.id}


async def test_a_cancelled_publish_does_not_hinder_the_next(work: Bus) -> None:
    publishing = asyncio.create_task(work.publish([message()]))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    await publish(work, after := message())
    subscription = work.subscribe(WORK, 10)
    arrived: list[str] = []
    while after.id not in arrived:
        arrived += ids(await receive(subscription, 1))


async def test_a_bus_that_is_closed_takes_nothing(place: Place) -> None:
    async with place.bus() as bus:
        assert bus.state()[0] or place.kind == "rabbitmq"  # a broker may not be reached yet
    with pytest.raises(NotDurable):
        await bus.publish([message()])
    assert not bus.state()[0]


async def test_ten_thousand_messages_arrive_each_and_once(work: Bus) -> None:
    sent = [message(n=n) for n in range(10_000)]
    subscription = work.subscribe(WORK, 500)

    async def consume() -> Counter[str]:
        got: Counter[str] = Counter()
        while len(got) < len(sent):
            batch = await subscription.fetch(500)
            got.update(ids(batch))
            await subscription.settle([(delivery, Ack()) for delivery in batch])
        return got

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        consuming = group.create_task(consume())
        for at in range(0, len(sent), 250):
            group.create_task(work.publish(sent[at : at + 250]))
    assert consuming.result() == Counter(one.id for one in sent)
    await depth_becomes(work, Depth(0, 0, 0))


# --- consuming -------------------------------------------------------------------------------------------------------


async def test_a_fetch_waits_for_the_first_message(work: Bus) -> None:
    subscription = work.subscribe(WORK, 10)
    fetching = asyncio.create_task(subscription.fetch(10))
    await publish(work, sent := message())
    assert ids(await fetching) == [sent.id]

    async def registered() -> bool:
        return subscription.registered

    await eventually(registered)


async def test_a_consumer_in_another_instance_is_woken(work: Bus, place: Place) -> None:
    async with place.bus() as other:
        subscription = other.subscribe(WORK, 10)
        await publish(work, message())
        await receive(subscription, 1)
        fetching = asyncio.create_task(subscription.fetch(10))
        await publish(work, sent := message())
        assert ids(await fetching) == [sent.id]


async def test_a_cancelled_fetch_loses_nothing(work: Bus) -> None:
    subscription = work.subscribe(WORK, 100)
    sent = [message(n=n) for n in range(60)]
    got: list[str] = []
    for one in sent:
        fetching = asyncio.create_task(subscription.fetch(100))
        await publish(work, one)
        fetching.cancel()
        try:
            got += ids(await fetching)
        except asyncio.CancelledError:
            continue
    got += ids(await receive(subscription, len(sent) - len(got)))
    assert sorted(got) == sorted(one.id for one in sent)


async def test_no_more_than_the_prefetch_is_in_hand(work: Bus) -> None:
    sent = [message(n=n) for n in range(10)]
    await publish(work, *sent)
    narrow, wide = work.subscribe(WORK, 3), work.subscribe(WORK, 100)
    taken = await receive(narrow, 3)
    others = await receive(wide, 7)
    assert {*ids(taken), *ids(others)} == {one.id for one in sent}
    await wide.close()
    fetching = asyncio.create_task(narrow.fetch(10))
    await depth_becomes(work, Depth(ready=7, in_flight=3, dead=0))
    assert not fetching.done()
    await narrow.settle([(delivery, Ack()) for delivery in taken])
    assert 1 <= len(await fetching) <= 3


async def test_two_consumers_share_a_queue_without_delivering_anything_twice(work: Bus, place: Place) -> None:
    sent = [message(n=n) for n in range(400)]
    got: Counter[str] = Counter()
    busy: set[int] = set()
    complete = asyncio.Event()

    async def consume(bus: Bus, name: int) -> None:
        subscription = bus.subscribe(WORK, 20)
        while True:
            batch = await subscription.fetch(20)
            busy.add(name)
            got.update(ids(batch))
            await subscription.settle([(delivery, Ack()) for delivery in batch])
            if sum(got.values()) >= len(sent):
                complete.set()

    async with place.bus() as other:
        consumers = [asyncio.create_task(consume(bus, name)) for name, bus in enumerate((work, work, other))]
        await publish(work, *sent)
        async with asyncio.timeout(20):
            await complete.wait()
        await depth_becomes(work, Depth(0, 0, 0))
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
    assert got == Counter(one.id for one in sent)
    assert len(busy) > 1


async def test_what_a_closed_consumer_had_in_hand_comes_to_another(work: Bus) -> None:
    sent = [message(n=n) for n in range(5)]
    await publish(work, *sent)
    first = work.subscribe(WORK, 10)
    batch = await receive(first, 3)
    await first.settle([(batch[0], Ack())])
    await first.close()
    again = await receive(work.subscribe(WORK, 10), 4)
    assert ids(again) == [one.id for one in sent[1:]]
    assert {delivery.attempt for delivery in again} == {1}


async def test_settling_what_is_no_longer_ours_changes_nothing(work: Bus) -> None:
    await publish(work, sent := message())
    first = work.subscribe(WORK, 10)
    (stale,) = await receive(first, 1)
    await first.close()
    second = work.subscribe(WORK, 10)
    (fresh,) = await receive(second, 1)
    await first.settle([(stale, DeadLetter("from the grave"))])
    await second.settle([(fresh, Retry(0, "still ours"))])
    (third,) = await receive(second, 1)
    assert (third.message, third.attempt) == (sent, 2)
    assert await work.dead(WORK) == []


async def test_a_closed_subscription_says_so_to_whoever_waits_and_to_whoever_asks(work: Bus) -> None:
    subscription = work.subscribe(WORK, 10)
    await publish(work, message())
    await receive(subscription, 1)
    fetching = asyncio.create_task(subscription.fetch(10))
    await asyncio.sleep(0)
    await subscription.close()
    await subscription.close()
    with pytest.raises(BusClosed):
        await fetching
    with pytest.raises(BusClosed):
        await subscription.fetch(1)
    assert not subscription.registered


async def test_what_a_killed_process_had_in_hand_comes_to_another(work: Bus, place: Place) -> None:
    sent = [message(n=n) for n in range(7)]
    await publish(work, *sent)
    consumer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.consumer", place.kind, place.address, WORK, "5"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert consumer.stdout is not None
    taken = (await asyncio.wait_for(consumer.stdout.readline(), 20)).decode().split()
    assert taken == [one.id for one in sent[:5]]
    consumer.kill()
    assert await consumer.wait() == -9
    again = await receive(work.subscribe(WORK, 10), 7)
    assert sorted(ids(again)) == sorted(one.id for one in sent)


# --- staying ---------------------------------------------------------------------------------------------------------


async def test_declaring_again_changes_nothing(work: Bus, place: Place) -> None:
    await publish(work, sent := message())
    await work.declare([ENDED])
    async with place.bus() as other:
        await other.declare([ENDED, EVERYTHING])
        await publish(other, second := message())
        assert ids(await receive(other.subscribe(EVERYTHING.name, 10), 1)) == [second.id]
    assert ids(await receive(work.subscribe(WORK, 10), 2)) == [sent.id, second.id]


async def test_messages_retries_and_dead_letters_survive_the_instance_that_made_them(place: Place) -> None:
    sent = [message(n=n) for n in range(4)]
    async with place.bus() as bus:
        await bus.declare([ENDED])
        await publish(bus, *sent)
        subscription = bus.subscribe(WORK, 2)
        first, second = await receive(subscription, 2)
        await subscription.settle([(first, Retry(0, "again")), (second, DeadLetter("no"))])
    async with place.bus() as bus:
        await bus.declare([ENDED])
        again = {delivery.message.id: delivery.attempt for delivery in await receive(bus.subscribe(WORK, 10), 3)}
        assert again == {sent[0].id: 2, sent[2].id: 1, sent[3].id: 1}
        assert [letter.reason for letter in await bus.dead(WORK)] == ["no"]


async def test_closing_leaves_no_task_and_closing_twice_is_the_same(work: Bus) -> None:
    work.subscribe(WORK, 10)
    await publish(work, message())
    await work.close()
    await work.close()
    ours = asyncio.current_task()
    assert [task.get_name() for task in asyncio.all_tasks() if task is not ours and "bus" in task.get_name()] == []
