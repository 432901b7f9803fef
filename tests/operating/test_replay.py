"""Kept events, published again for one queue: which ones, in which order, and what is left out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.bus.sqlite import SqliteBus
from hub.errors import NotDurable
from hub.events import AGAIN, ONCE, REPLAY, Event, Message, to_message
from hub.operating import replay
from hub.operating.replay import Replay, Report, Target, Wanted
from hub.ports import QueueSpec
from hub.store.sql import SqlStore
from tests.contract.buses import receive
from tests.contract.stores import Place
from tests.store.evidence import NOON, after, call_id, desk_leg, ended, recording, started, whole_call

THEIRS = QueueSpec("my.app", ("call.*.sealed",))
LISTENER = QueueSpec("trunkline.listener", ("call.*.ended", "recording.*.available"))
KEEPER = QueueSpec("trunkline.keeper", ("#",))
EVERYTHING = Wanted()


class House:
    """An embedded bus with queues, and a store with events."""

    def __init__(self, bus: SqliteBus, store: SqlStore) -> None:
        self.bus, self.store = bus, store
        self.targets = {
            "keeper": Target.of_worker("keeper", KEEPER, repeatable=True),
            "listener": Target.of_worker("listener", LISTENER, repeatable=False),
        }
        self.replay = Replay(bus, store, self.targets)

    async def keep(self, *events: Event, at: datetime = NOON) -> None:
        for event in events:
            await self.store.apply([event], at)

    async def run(self, to: str, wanted: Wanted = EVERYTHING, **how: object) -> Report:
        target = self.targets.get(to) or self.replay.target(None, to)
        return await self.replay.run(target, wanted, **how)  # type: ignore[arg-type]

    async def got(self, queue: QueueSpec) -> list[Message]:
        """What lies in a queue, in its order."""
        depth = await self.bus.depth(queue.name)
        subscription = self.bus.subscribe(queue.name, 1000)
        deliveries = await receive(subscription, depth.ready) if depth.ready else []
        await subscription.close()
        return [delivery.message for delivery in deliveries]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    bus = SqliteBus(tmp_path / "bus.db", poll=0.5)
    await bus.start()
    await bus.declare([THEIRS, LISTENER, KEEPER])
    async with Place("sqlite", f"sqlite:///{tmp_path}/store.db").store() as store:
        yield House(bus, store)
    await bus.close()


def ids(given: Sequence[Event | Message]) -> list[str]:
    return [one.id for one in given]


async def test_they_go_to_that_queue_alone_in_the_order_of_their_keeping_as_they_were(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_TOGETHER", 4)
    given = [event for number in range(9) for event in (ended(number), started(number))]
    await house.keep(*given)
    report = await house.run(THEIRS.name)
    assert (report.chosen, report.published, report.skipped, report.left) == (18, 18, 0, 0)
    got = await house.got(THEIRS)
    assert ids(got) == ids(given)
    plain = [to_message(event) for event in given]
    assert got == [Message(one.routing_key, {**one.headers, REPLAY: ONCE}, one.body) for one in plain]
    assert await house.got(KEEPER) == []
    assert await house.got(LISTENER) == []


async def test_a_worker_is_sent_only_what_its_queue_is_bound_to(house: House) -> None:
    await house.keep(started(1), ended(1), recording(1))
    report = await house.run("listener")
    assert (report.chosen, report.published) == (2, 2)
    assert report.not_taken == {"call.infocaller.started": 1}
    assert ids(await house.got(LISTENER)) == ids([ended(1), recording(1)])


async def test_what_a_worker_has_had_its_effect_for_is_skipped_unless_it_is_wanted_again(house: House) -> None:
    given = [ended(number) for number in range(5)]
    await house.keep(*given)
    await house.store.note("listener", ids(given[:3]), NOON)
    report = await house.run("listener", dry_run=True)
    assert (report.chosen, report.published, report.skipped) == (5, 2, 3)
    report = await house.run("listener")
    assert (report.chosen, report.published, report.skipped, report.left) == (5, 2, 3, 0)
    assert ids(await house.got(LISTENER)) == ids(given[3:])
    report = await house.run("listener", again=True)
    assert (report.published, report.skipped) == (5, 0)
    got = (await house.got(LISTENER))[2:]
    assert ids(got) == ids(given)
    assert {one.headers[REPLAY] for one in got} == {AGAIN}


async def test_an_effect_that_may_be_repeated_is_asked_of_nobody(house: House) -> None:
    await house.keep(ended(1))
    await house.store.note("keeper", [ended(1).id], NOON)
    assert (await house.run("keeper")).published == 1


@pytest.mark.parametrize("dry_run", [True, False])
async def test_each_filter_chooses_what_it_says(house: House, dry_run: bool) -> None:
    morning = [*whole_call(1), desk_leg(7, "started", "a", 0)]
    noon = [started(2), ended(2)]
    await house.keep(*morning)
    await house.keep(*noon, at=after(60))
    for wanted, count in (
        (Wanted(), len(morning) + 2),
        (Wanted(call=call_id(1)), len(morning) - 1),
        (Wanted(vendor="focalscope"), 1),
        (Wanted(source="desk"), 1),
        (Wanted(type="call.ended"), 2),
        (Wanted(type="trunkline.call.ended.v1"), 2),
        (Wanted(type="call.ended", since=after(60)), 1),
        (Wanted(until=after(60)), len(morning)),
        (Wanted(vendor="infocaller", type="call.nothing"), 0),
    ):
        report = await house.run("keeper", wanted, dry_run=dry_run)
        assert (report.chosen, report.published) == (count, count), wanted
        sent = len(await house.got(KEEPER))
        assert sent == 0 if dry_run else sent >= count


async def test_ids_that_are_not_kept_are_named(house: House) -> None:
    await house.keep(started(1), ended(1))
    report = await house.run("keeper", Wanted(ids=[ended(1).id, "no such", started(1).id, "no such"]))
    assert (report.published, report.missing) == (2, ["no such"])
    assert ids(await house.got(KEEPER)) == ids([started(1), ended(1)]), "in the order of keeping"


async def test_one_goes_on_where_a_limit_ended(house: House) -> None:
    given = [started(number) for number in range(10)]
    await house.keep(*given)
    first = await house.run("keeper", limit=4)
    assert (first.chosen, first.published, first.left) == (10, 4, 6)
    second = await house.run("keeper", after=first.after)
    assert (second.chosen, second.published, second.shown()["next"]) == (6, 6, "")
    assert ids(await house.got(KEEPER)) == ids(given)
    assert first.shown()["next"] == str(first.after)


async def test_a_cancelled_one_tells_what_it_has_published_and_one_can_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_TOGETHER", 3)
    given = [started(number) for number in range(12)]
    await house.keep(*given)
    sending, told = asyncio.Event(), list[Report]()
    send = house.bus.send

    async def slow(queue: str, messages: Sequence[Message]) -> None:
        sending.set()
        await send(queue, messages)

    monkeypatch.setattr(house.bus, "send", slow)
    work = asyncio.create_task(house.run("keeper", progress=told.append))
    await sending.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert told[-1].published == len(await house.got(KEEPER)) == 3
    await house.run("keeper", after=told[-1].after)
    assert ids(await house.got(KEEPER)) == ids(given)


async def test_a_bus_that_takes_no_more_ends_it_with_what_was_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_TOGETHER", 2)
    await house.keep(*(started(number) for number in range(6)))
    send, count = house.bus.send, 0

    async def full(queue: str, messages: Sequence[Message]) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise NotDurable("the queue is full")
        await send(queue, messages)

    monkeypatch.setattr(house.bus, "send", full)
    report = await house.run("keeper")
    assert (report.published, report.left, report.problem) == (4, 2, "the queue is full")
    assert report.shown()["error"] == "the queue is full"
    monkeypatch.undo()
    assert (await house.run("keeper", after=report.after)).published == 2
    assert len(await house.got(KEEPER)) == 6


async def test_it_is_no_faster_than_asked_for(house: House) -> None:
    await house.keep(*(started(number) for number in range(30)))
    began = asyncio.get_running_loop().time()
    assert (await house.run("keeper", rate=40)).published == 30
    assert asyncio.get_running_loop().time() - began >= 0.5, "the last step waits for the one before"


async def test_a_queue_that_is_not_there_is_said_before_anything_is_done(house: House) -> None:
    await house.keep(started(1))
    for dry_run in (True, False):
        with pytest.raises(NotDurable, match=r"there is no queue nobodys\.queue"):
            await house.run("nobodys.queue", dry_run=dry_run)


@pytest.mark.parametrize(
    ("worker", "queue", "complaint"),
    [
        (None, None, "expected either a worker or a queue"),
        ("keeper", "my.app", "expected either a worker or a queue"),
        ("nobody", None, "worker: found 'nobody'; expected one of keeper, listener"),
        (None, "trunkline.keeper.dead", "queue: found 'trunkline.keeper.dead'; expected a worker's or one of your own"),
        (None, "", "queue: found ''; expected a worker's or one of your own"),
    ],
)
async def test_where_nothing_can_go_is_refused(
    house: House, worker: str | None, queue: str | None, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        house.replay.target(worker, queue)


async def test_a_workers_queue_by_its_name_is_the_workers(house: House) -> None:
    assert house.replay.target(None, LISTENER.name) == house.targets["listener"]


async def test_what_is_kept_meanwhile_is_not_of_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that makes events of what it is sent does not keep it going for ever."""
    await house.keep(started(1))
    send = house.bus.send

    async def more(queue: str, messages: Sequence[Message]) -> None:
        await send(queue, messages)
        await house.store.apply([ended(1)], datetime.now(UTC))

    monkeypatch.setattr(house.bus, "send", more)
    assert (await house.run("keeper")).published == 1
