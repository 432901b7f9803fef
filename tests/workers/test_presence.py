"""What a process tells the others of itself, and what they make of it: over processes, silence is trusted together."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.bus.sqlite import SqliteBus
from hub.errors import NotDurable
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.hub import until
from tests.store.evidence import TIMING, call_id, expected, whole_call
from tests.workers.house import at_hand, at_work, derived
from tests.workers.support import becomes, message, working
from tests.workers.test_watermark import OLD, Stepwise, becomes_now, nothing
from workers.presence import LEASE, Crew
from workers.runner import Runner


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    url = f"sqlite:///{tmp_path}/store.db"
    await upgrade(url)
    store = SqlStore(url, expected=expected, timing=TIMING)
    await store.start()
    yield store
    await store.close()


class Clock:
    """Now, and what a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def crew(store: SqlStore, runner: Runner, clock: Clock) -> Crew:
    return Crew(store, runner, clock=clock, timer=lambda: clock().timestamp())


async def test_silence_counts_up_to_what_the_slowest_process_has_handled(bus: SqliteBus, store: SqlStore) -> None:
    clock, stepwise = Clock(), Stepwise()
    async with working(bus, stepwise, batch=1) as (slow, _):
        await bus.publish([message("held", received=OLD)])
        await stepwise.begun.get()
        async with working(bus, nothing) as (quick, _):
            one, other = crew(store, slow, clock), crew(store, quick, clock)
            await becomes_now(quick)
            await one.tell()
            await other.tell()
            assert other.watermark() == OLD

            stepwise.go.release()
            await becomes_now(slow)
            await one.tell()
            await other.tell()
            mark = other.watermark()
            assert mark is not None
            assert mark > OLD


async def test_whoever_is_silent_for_longer_than_its_lease_is_not_waited_for(bus: SqliteBus, store: SqlStore) -> None:
    clock, stepwise = Clock(), Stepwise()
    async with working(bus, stepwise, batch=1) as (slow, _):
        await bus.publish([message("held", received=OLD)])
        await stepwise.begun.get()
        async with working(bus, nothing) as (quick, _):
            one, other = crew(store, slow, clock), crew(store, quick, clock)
            await becomes_now(quick)
            await one.tell()
            await other.tell()
            clock.ahead = LEASE - timedelta(seconds=1)
            assert other.watermark() == OLD
            clock.ahead = LEASE + timedelta(seconds=1)
            mark = other.watermark()
            assert mark is not None
            assert mark > OLD
            clock.ahead = timedelta()
            await one.leave()
            await other.tell()
            mark = other.watermark()
            assert mark is not None
            assert mark > OLD
        stepwise.go.release()


async def test_a_process_that_does_not_consume_holds_up_nobody(bus: SqliteBus, store: SqlStore) -> None:
    clock = Clock()
    async with working(bus, nothing) as (quick, _):
        await becomes_now(quick)
        idle = Runner(quick.worker, bus)
        one, other = crew(store, idle, clock), crew(store, quick, clock)
        await one.tell()
        await other.tell()
        assert other.watermark() is not None


async def test_what_is_told_is_what_is_in_hand(bus: SqliteBus, store: SqlStore) -> None:
    clock, stepwise = Clock(), Stepwise()
    async with working(bus, stepwise, batch=2) as (runner, _):
        await bus.publish([message(name) for name in "abcde"])
        await stepwise.begun.get()
        one = crew(store, runner, clock)
        await becomes(lambda: runner._subscription is not None)

        async def told() -> bool:
            await one.tell()
            [row] = await store.presences()
            return row.held.count == 5

        await until(told)
        [row] = await store.presences()
        assert (row.process, row.worker, row.registered) == (one.process, "tested", True)
        for _ in range(3):
            stepwise.go.release()


async def test_a_call_is_not_sealed_while_another_process_has_its_event_in_hand(tmp_path: Path) -> None:
    """As it was before, the one that is idle would take the other's work for silence, and seal a gap."""
    files = str(tmp_path / "bus.db"), f"sqlite:///{tmp_path}/store.db"
    holding, go = asyncio.Event(), asyncio.Event()
    async with at_hand(*files) as slow:
        handle = slow.worker.handle

        async def held(events: object) -> object:
            holding.set()
            await go.wait()
            return await handle(events)  # type: ignore[arg-type]

        object.__setattr__(slow.worker.runner.worker, "handle", held)
        await slow.store.apply(whole_call(1)[1:], datetime.now(UTC))
        first = whole_call(1)[0]
        task = asyncio.create_task(slow.worker.run())
        await becomes(lambda: slow.worker.runner.registered)
        await slow.publish(first)
        await holding.wait()
        await until(lambda: _told(slow.store, 1))
        async with at_work(*files) as idle:
            await until(lambda: _told(idle.store, 2))
            await becomes_now(idle.worker.runner)
            await until(lambda: _overdue(idle.store))
            assert (await idle.store.counts())["sealed"] == 0
            go.set()
            [event] = await derived(idle.bus, 1)
        slow.worker.stop()
        await asyncio.wait_for(task, 20)
    assert (event.subject, event.data["sealed"]["verdict"], event.data["revision"]) == (call_id(1), "complete", 4)


async def _overdue(store: SqlStore) -> bool:
    due = await store.next_seal()
    return due is not None and due < datetime.now(UTC) - timedelta(seconds=1)


async def _told(store: SqlStore, count: int) -> bool:
    return len([row for row in await store.presences() if row.beat > 1]) >= count


async def test_a_broker_that_does_not_answer_makes_a_process_silent(store: SqlStore, bus: SqliteBus) -> None:
    class Deaf(Runner):
        async def held(self) -> None:  # type: ignore[override]
            raise NotDurable("the broker does not answer on the consumer's channel")

    async with working(bus, nothing) as (runner, _):
        one = crew(store, Deaf(runner.worker, bus), Clock())
        with pytest.raises(NotDurable):
            await one.tell()
    assert await store.presences() == []
