"""What every bus tells the ledger: how a queue stands, where its messages are, what a consumer has in hand."""

from collections.abc import Sequence
from typing import Final

from hub.bus.rabbitmq import RabbitBus
from hub.bus.sqlite import SqliteBus
from hub.events import Message
from hub.ports import Ack, Bus, Census, DeadLetter, Retry
from tests.contract.buses import WORK, Place, eventually, message, publish, receive

ABSENT: Final = "00000000-0000-5000-8000-000000000000"


def ids(messages: Sequence[Message]) -> list[str]:
    return [one.id for one in messages]


async def test_it_counts_what_is_ready_and_dead_and_who_consumes(work: Bus) -> None:
    await publish(work, *(message() for _ in range(5)))

    async def stands(ready: int, consumers: int, dead: int) -> None:
        async def same() -> bool:
            census = await work.census(WORK, ())
            return (census.ready, census.consumers, census.dead) == (ready, consumers, dead)

        await eventually(same)

    await stands(5, 0, 0)
    subscription = work.subscribe(WORK, 2)
    [one, other] = await receive(subscription, 2)
    await stands(3, 1, 0)
    await subscription.settle([(one, DeadLetter("enough"))])
    await stands(2, 1, 1)
    await subscription.settle([(other, Ack())])
    await subscription.close()
    await stands(3, 0, 1)


async def test_it_knows_by_id_what_is_in_the_queue_or_says_that_it_cannot(work: Bus, place: Place) -> None:
    ready, held, waiting, dead = messages = [message() for _ in range(4)]
    subscription = work.subscribe(WORK, 3)
    await publish(work, held, waiting, dead)
    by_id = {one.message.id: one for one in await receive(subscription, 3)}
    await subscription.settle([(by_id[waiting.id], Retry(60, "later")), (by_id[dead.id], DeadLetter("never"))])
    census = await work.census(WORK, [*ids(messages), ABSENT])
    if place.kind == "sqlite":
        assert (census.found, census.looked) == (frozenset(ids([held, waiting, dead])), True)
        await subscription.settle([(by_id[held.id], Ack())])
        assert (await work.census(WORK, ids(messages))).found == frozenset(ids([waiting, dead]))
    else:
        assert (census.found, census.looked) == (None, False)
        searched = await work.census(WORK, ids(messages), search=True)
        assert (searched.found, searched.looked) == (None, False)  # somebody consumes
    await subscription.close()
    await publish(work, ready)
    searched = await work.census(WORK, [ready.id, ABSENT], search=True)
    assert (searched.found, searched.looked) == (frozenset([ready.id]), True)


async def test_a_search_leaves_every_message_where_it_was(work: Bus) -> None:
    messages = [message() for _ in range(70)]
    await publish(work, *messages)
    for _ in range(2):  # a third time, and each would be handled alone
        census = await work.census(WORK, [messages[7].id, ABSENT], search=True)
        assert (census.ready, census.found, census.looked) == (70, frozenset([messages[7].id]), True)
    subscription = work.subscribe(WORK, 100)
    assert {one.message.id for one in await receive(subscription, 70)} == set(ids(messages))
    await subscription.close()


async def test_a_consumer_counts_what_it_has_in_hand(work: Bus) -> None:
    subscription = work.subscribe(WORK, 10)
    await publish(work, *(message() for _ in range(4)))
    first, second, third, _ = await receive(subscription, 4)
    held = await subscription.held()
    assert held.count == 4
    await subscription.settle([(second, Ack())])
    await subscription.settle([(third, Ack())])
    after = await subscription.held()
    assert (after.epoch, after.count) == (held.epoch, 2)
    if isinstance(work, RabbitBus):
        assert (held.taken, held.done) == (4, 0)
        assert (after.taken, after.done) == (4, 0)  # the first is not settled
        await subscription.settle([(first, Ack())])
        assert (await subscription.held()).done == 3
    else:
        assert isinstance(work, SqliteBus)
    await subscription.close()


async def test_depth_says_whether_it_knows_of_other_processes(work: Bus, place: Place) -> None:
    depth = await work.depth(WORK)
    assert depth.alone == (place.kind == "rabbitmq")
    found = None if depth.alone else frozenset[str]()
    assert await work.census(WORK, ()) == Census(0, 0, 0, 0, found, looked=not depth.alone)
