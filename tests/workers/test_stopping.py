"""A worker that is told to stop finishes what it has begun, and gives the rest back."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from hub.bus.sqlite import SqliteBus
from hub.errors import StoreUnavailable
from hub.events import Event
from hub.ports import Depth
from tests.contract.buses import depth_becomes, receive
from tests.workers.support import NOTHING, QUEUE, WITHIN, becomes, message, names, working
from workers import runner
from workers.runner import Runner, Worker


class Held:
    """A handler that is at work until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.handled: list[str] = []

    async def __call__(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        self.begun.set()
        await self.go.wait()
        self.handled += names(events)
        return {}


async def test_a_stop_in_the_middle_lets_the_batch_finish_and_settles_it(bus: SqliteBus) -> None:
    held = Held()
    await bus.publish([message("one"), message("two")])
    async with working(bus, held) as (worker, task):
        await held.begun.wait()
        worker.stop()
        await asyncio.sleep(0)
        assert not task.done()
        held.go.set()
        await asyncio.wait_for(task, WITHIN)
    assert held.handled == ["one", "two"]
    assert await bus.depth(QUEUE.name) == NOTHING


async def test_what_was_fetched_and_not_handled_goes_back(bus: SqliteBus) -> None:
    held = Held()
    await bus.publish([message(str(n)) for n in range(5)])
    async with working(bus, held, batch=1) as (worker, task):
        await held.begun.wait()
        assert (await bus.depth(QUEUE.name)).in_flight == 5
        worker.stop()
        held.go.set()
        await asyncio.wait_for(task, WITHIN)
    assert held.handled == ["0"]
    assert await bus.depth(QUEUE.name) == Depth(ready=4, in_flight=0, dead=0)
    rest = await receive(bus.subscribe(QUEUE.name, 10), 4)
    assert [delivery.attempt for delivery in rest] == [1] * 4


async def test_a_stop_while_nothing_comes_returns_at_once(bus: SqliteBus) -> None:
    async with working(bus, Held()) as (worker, task):
        await becomes(lambda: worker.registered)
        worker.stop()
        await asyncio.wait_for(task, 2)
        assert not worker.registered


async def test_a_stop_before_the_start_handles_nothing(bus: SqliteBus) -> None:
    held = Held()
    await bus.publish([message()])
    async with working(bus, held) as (worker, task):
        worker.stop()
        await asyncio.wait_for(task, WITHIN)
    assert not held.begun.is_set()
    assert (await bus.depth(QUEUE.name)).ready == 1


async def test_a_batch_that_does_not_end_is_abandoned_and_goes_back(
    bus: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PATIENCE", 0.05)
    held = Held()
    await bus.publish([message("one")])
    with capture_logs() as logs:
        async with working(bus, held) as (worker, task):
            await held.begun.wait()
            worker.stop()
            await asyncio.wait_for(task, WITHIN)
    assert "worker.batch_abandoned" in [log["event"] for log in logs]
    assert (held.handled, await bus.depth(QUEUE.name)) == ([], Depth(ready=1, in_flight=0, dead=0))


async def test_a_stop_while_the_store_is_away_gives_the_batch_back_as_it_was(
    bus: SqliteBus, brief_outages: None
) -> None:
    tried = asyncio.Event()

    async def handle(_: Sequence[Event]) -> Mapping[str, Exception]:
        tried.set()
        raise StoreUnavailable("the database is away")

    await bus.publish([message("one"), message("two")])
    async with working(bus, handle) as (worker, task):
        await tried.wait()
        worker.stop()
        await asyncio.wait_for(task, 5)
    assert await bus.depth(QUEUE.name) == Depth(ready=2, in_flight=0, dead=0)
    again = await receive(bus.subscribe(QUEUE.name, 10), 2)
    assert [delivery.attempt for delivery in again] == [1, 1]


@pytest.mark.parametrize("at_work", [False, True])
async def test_a_cancelled_worker_gives_back_what_it_had(bus: SqliteBus, at_work: bool) -> None:
    held = Held()
    worker = Runner(Worker("tested", QUEUE, held), bus)
    task = asyncio.create_task(worker.run())
    await becomes(lambda: worker.registered)
    if at_work:
        await bus.publish([message("one")])
        await held.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not worker.registered
    assert await bus.depth(QUEUE.name) == Depth(ready=int(at_work), in_flight=0, dead=0)


async def test_a_bus_that_closes_ends_its_workers(bus: SqliteBus) -> None:
    async with working(bus, Held()) as (worker, task):
        await becomes(lambda: worker.registered)
        await bus.close()
        await asyncio.wait_for(task, WITHIN)


async def test_two_workers_of_which_one_stops_handle_everything(bus: SqliteBus) -> None:
    one, other = Held(), Held()
    await bus.publish([message(str(n)) for n in range(40)])
    async with working(bus, one, batch=5, prefetch=20) as (first, task), working(bus, other, batch=5, prefetch=20):
        await one.begun.wait()
        await other.begun.wait()
        first.stop()
        one.go.set()
        other.go.set()
        await asyncio.wait_for(task, WITHIN)
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert sorted(one.handled + other.handled, key=int) == [str(n) for n in range(40)]
    assert len(one.handled) <= 10


# --- giving way ------------------------------------------------------------------------------------------------------


async def test_a_batch_gives_way_to_a_crowd_on_the_line_for_a_moment_and_not_for_ever(bus: SqliteBus) -> None:
    done, looks = asyncio.Event(), 0

    def crowded() -> bool:
        nonlocal looks
        looks += 1
        return True

    async def handle(_: Sequence[Event]) -> Mapping[str, Exception]:
        done.set()
        return {}

    async with working(bus, handle) as (worker, _):
        worker.crowded = crowded
        await bus.publish([message("one")])
        await asyncio.wait_for(done.wait(), WITHIN)
    assert looks > 2


async def test_a_stop_does_not_wait_for_the_crowd(bus: SqliteBus) -> None:
    asked = asyncio.Event()

    def crowded() -> bool:
        asked.set()
        return True

    handled: list[str] = []

    async def handle(events: Sequence[Event]) -> Mapping[str, Exception]:
        handled.extend(names(events))
        return {}

    async with working(bus, handle) as (worker, task):
        worker.crowded = crowded
        await bus.publish([message("one")])
        await asked.wait()
        worker.stop()
        await asyncio.wait_for(task, WITHIN)
    assert handled == ["one"], "it was in hand"
    assert await bus.depth(QUEUE.name) == NOTHING
