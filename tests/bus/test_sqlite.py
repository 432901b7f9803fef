"""What is special to the embedded bus."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hub.bus import rows, sqlite as embedded
from hub.bus.sqlite import SqliteBus
from hub.events import to_event, to_message
from hub.ports import Ack, DeadLetter, Depth, QueueSpec, Retry
from tests.contract.buses import depth_becomes, eventually, message, publish, receive

WORK = QueueSpec("trunkline.work", ("call.#",))
OTHER = QueueSpec("trunkline.other", ("#",))
ORDERED = QueueSpec("trunkline.lines", ("recording.#",), ordered=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


@pytest.fixture
async def bus(path: Path) -> AsyncIterator[SqliteBus]:
    bus = SqliteBus(path, poll=60)  # what follows must not need it
    await bus.start()
    await bus.declare([WORK])
    yield bus
    await bus.close()


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(number)


async def test_a_message_is_stored_once_and_goes_with_its_last_delivery(bus: SqliteBus, path: Path) -> None:
    await bus.declare([OTHER])
    await publish(bus, message())
    assert (count(path, "messages"), count(path, "deliveries")) == (1, 2)
    for queue, left in ((WORK, 1), (OTHER, 0)):
        subscription = bus.subscribe(queue.name, 10)
        (delivery,) = await receive(subscription, 1)
        await subscription.settle([(delivery, Ack())])
        assert (count(path, "messages"), count(path, "deliveries")) == (left, left)


async def test_what_is_sent_to_an_ordered_queue_stands_in_its_calls_line(bus: SqliteBus) -> None:
    await bus.declare([ORDERED])
    first = message()
    second = replace(message(), headers={**message().headers, "ce-subject": first.headers["ce-subject"]})
    await bus.send(ORDERED.name, [first])
    await bus.send(ORDERED.name, [second, other := message()])
    subscription = bus.subscribe(ORDERED.name, 10)
    head, beside = await receive(subscription, 2)
    assert [head.message, beside.message] == [first, other]
    await subscription.settle([(head, Ack())])
    assert [one.message for one in await receive(subscription, 1)] == [second]


async def test_a_dead_letter_keeps_its_message(bus: SqliteBus, path: Path) -> None:
    await publish(bus, message())
    subscription = bus.subscribe(WORK.name, 10)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, DeadLetter("no"))])
    assert (count(path, "messages"), count(path, "deliveries")) == (1, 1)


async def test_a_queue_declared_by_another_process_gets_what_is_published_from_then_on(
    bus: SqliteBus, path: Path
) -> None:
    await publish(bus, message())
    another = SqliteBus(path)
    await another.start()
    await another.declare([OTHER])
    await publish(bus, sent := message())
    (delivery,) = await receive(another.subscribe(OTHER.name, 10), 1)
    assert delivery.message.id == sent.id
    await another.close()


async def test_retries_come_back_without_polling(bus: SqliteBus) -> None:
    await publish(bus, message())
    subscription = bus.subscribe(WORK.name, 10)
    (delivery,) = await receive(subscription, 1)
    began = time.monotonic()
    await subscription.settle([(delivery, Retry(0.3, "soon"))])
    (delivery,) = await receive(subscription, 1)
    assert 0.3 <= time.monotonic() - began < 10


async def test_a_consumer_that_shows_no_sign_of_life_loses_its_deliveries(path: Path) -> None:
    stalled, healthy = (SqliteBus(path, lease=0.4, poll=0.1) for _ in range(2))
    for bus in (stalled, healthy):
        await bus.start()
        await bus.declare([WORK])
    subscription = stalled.subscribe(WORK.name, 10)
    await publish(stalled, sent := message(), message())
    before, unfetched = await receive(subscription, 2)
    assert stalled._keeper is not None
    stalled._keeper.cancel()  # its loop is stuck, say
    taken = await receive(healthy.subscribe(WORK.name, 1), 1)
    assert taken[0].message.id == sent.id
    await subscription.settle([(before, DeadLetter("too late")), (unfetched, DeadLetter("too late"))])
    assert await healthy.dead(WORK.name) == []
    await publish(stalled, message())  # the stalled one recovers: it takes what is there as a new consumer
    again = await receive(subscription, 2)
    await subscription.settle([(delivery, Ack()) for delivery in again])
    assert await healthy.depth(WORK.name) == Depth(0, 1, 0)
    for bus in (stalled, healthy):
        await bus.close()


async def test_a_delivery_that_ends_one_consumer_after_another_is_dead(bus: SqliteBus) -> None:
    await publish(bus, sent := message())

    def crash(connection: sqlite3.Connection) -> int:
        taken = rows.take(connection, WORK.name, "gone", None, room=1, now=time.time(), lease=60)
        rows.release(connection, [taken.consumer], time.time(), silent=True)
        return len(taken.rows)

    crashes = [await bus.journal.run(crash) for _ in range(rows.DELIVERY_LIMIT + 2)]
    assert crashes == [1] * (rows.DELIVERY_LIMIT + 1) + [0]
    (letter,) = await bus.dead(WORK.name)
    assert (letter.message, letter.reason, letter.attempt) == (sent, "delivery_limit", 1)


def test_a_lease_from_a_clock_that_was_set_back_is_over() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(";".join(rows.MIGRATIONS))
        rows.declare(connection, [WORK])
        taking = partial(rows.take, connection, WORK.name, consumer=None, room=1, lease=60)
        for process, now in (("past", 1000.0), ("present", 9990.0), ("future", 99_999.0)):
            taking(process, now=now)
        over = {process: over for _, process, over in rows.renew(connection, "me", now=10_000.0, lease=60)}
    assert over == {"past": True, "present": False, "future": True}


async def test_a_long_path_has_its_wake_up_too(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30) / "bus.db"
    consuming, publishing = (SqliteBus(path, poll=60) for _ in range(2))
    for bus in (consuming, publishing):
        await bus.start()
    await consuming.declare([WORK])
    subscription = consuming.subscribe(WORK.name, 10)
    for _ in range(3):
        fetching = asyncio.create_task(subscription.fetch(1))
        await publish(publishing, sent := message())
        (delivery,) = await asyncio.wait_for(fetching, 10)
        assert delivery.message.id == sent.id
    for bus in (consuming, publishing):
        await bus.close()
    assert list(path.with_name("bus.db.wake").iterdir()) == []


async def test_without_wake_ups_a_slow_poll_finds_everything(path: Path) -> None:
    path.with_name("bus.db.wake").write_text("in the way")
    consuming, publishing = (SqliteBus(path, poll=0.1) for _ in range(2))
    for bus in (consuming, publishing):
        await bus.start()
    await consuming.declare([WORK])
    subscription = consuming.subscribe(WORK.name, 10)
    for _ in range(3):
        await publish(publishing, sent := message())
        (delivery,) = await receive(subscription, 1)
        assert delivery.message.id == sent.id
    for bus in (consuming, publishing):
        await bus.close()


async def test_the_room_of_a_settled_delivery_is_free_again_though_the_settler_was_cancelled(bus: SqliteBus) -> None:
    subscription = bus.subscribe(WORK.name, 1)
    sent = [message(n=n) for n in range(20)]
    await publish(bus, *sent)
    for one in sent:
        (delivery,) = await receive(subscription, 1)
        assert delivery.message.id == one.id
        settling = asyncio.create_task(subscription.settle([(delivery, Ack())]))
        await asyncio.sleep(0)
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)

    async def empty() -> bool:
        return await bus.depth(WORK.name) == Depth(0, 0, 0)

    await eventually(empty)


async def test_a_census_of_a_long_queue_looks_at_the_oldest_and_says_so(
    bus: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SEARCHED", 20)
    monkeypatch.setattr(embedded, "_PAGE", 5)
    many = [message() for _ in range(30)]
    await bus.publish(many)
    old, middle, young = many[3].id, many[12].id, many[25].id
    census = await bus.census(WORK.name, [old, young, "nobody's"])
    assert (census.found, census.looked) == (frozenset([old]), False)
    census = await bus.census(WORK.name, [old, middle])
    assert (census.found, census.looked) == (frozenset([old, middle]), True)


async def test_a_row_that_the_disk_has_spoilt_is_a_dead_letter_and_the_others_are_delivered(
    bus: SqliteBus, path: Path
) -> None:
    sent = [message(n=n) for n in range(5)]
    await publish(bus, *sent)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET headers = ? WHERE id = 1", (b'{"ce-id": "cut of',))
        connection.execute("UPDATE messages SET headers = ? WHERE id = 2", (b"[]",))
        connection.execute("UPDATE messages SET routing_key = CAST(X'63ff' AS TEXT) WHERE id = 3")
    subscription = bus.subscribe(WORK.name, 10)
    delivered = await receive(subscription, 2)
    assert [one.message for one in delivered] == sent[3:]
    await subscription.settle([(one, Ack()) for one in delivered])

    async def aside() -> bool:
        return await bus.depth(WORK.name) == Depth(ready=0, in_flight=0, dead=3)

    await eventually(aside)
    letters = await bus.dead(WORK.name)
    assert {one.reason.partition(":")[0] for one in letters} == {
        "its routing key or its headers cannot be read in the bus's file"
    }
    assert [one.message.body for one in letters] == [one.body for one in sent[:3]]
    assert await bus.discard(WORK.name, [one.id for one in letters], 10) == 3
    assert count(path, "messages") == 0


async def test_one_call_with_ten_thousand_events_does_not_slow_the_others_down(bus: SqliteBus, path: Path) -> None:
    line = QueueSpec("trunkline.line", ("call.#",), ordered=True)
    await bus.declare([line])
    hot = [replace(to_event(message(n=n)), subject="hot") for n in range(10_000)]
    for at in range(0, len(hot), 500):
        await publish(bus, *map(to_message, hot[at : at + 500]))
    others = [message(n=n) for n in range(1000)]
    await publish(bus, *others)
    subscription = bus.subscribe(line.name, 100)
    got: list[str] = []
    began = time.monotonic()
    while len(got) < len(others):
        deliveries = await subscription.fetch(100)
        waits = [one for one in deliveries if one.message.headers["ce-subject"] == "hot"]
        done = [one for one in deliveries if one not in waits]
        got += [one.message.id for one in done]
        await subscription.settle([*((one, Retry(60, "blocked")) for one in waits), *((one, Ack()) for one in done)])
    assert got == [one.id for one in others]
    assert time.monotonic() - began < 10  # 0.05 s on an idle machine; a look at each row behind would take minutes
    assert await bus.depth(line.name) == Depth(ready=0, in_flight=10_000, dead=0)


async def test_a_process_that_hung_for_longer_than_its_lease_does_not_hand_over_what_it_had(
    bus: SqliteBus, path: Path
) -> None:
    sent = [message(n=n) for n in range(3)]
    await publish(bus, *sent)
    subscription = bus.subscribe(WORK.name, 3)  # a full hand: nothing makes it look by itself
    await depth_becomes(bus, Depth(0, 3, 0), WORK.name)
    other = SqliteBus(path)
    await other.start()
    everybody = await other.journal.run(lambda connection: connection.execute("SELECT id FROM consumers").fetchall())
    gone = partial(rows.release, consumers=[row[0] for row in everybody], now=time.time(), silent=True)
    theirs = other.subscribe(WORK.name, 3)
    await other.journal.run(gone)
    other.committed()
    taken = await receive(theirs, 3)
    bus._kept_at -= bus.lease  # as a clock that went on while we did not
    await bus._sweep()
    await depth_becomes(other, Depth(0, 3, 0), WORK.name)
    fetching = asyncio.create_task(subscription.fetch(3))
    await theirs.settle([(one, Ack()) for one in taken])
    await theirs.close()
    await publish(other, fresh := message())
    assert [one.message.id for one in await fetching] == [fresh.id]
    await other.close()
