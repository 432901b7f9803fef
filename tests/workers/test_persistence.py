"""Events become records, and each call is said to be sealed once."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from hub.calls import Timing
from hub.ports import Depth
from hub.store.sql import SqlStore
from tests.contract.buses import depth_becomes
from tests.faults.proxy import Proxy
from tests.hub import until
from tests.store.evidence import apart, call_id, desk_leg, ended, started, whole_call
from tests.workers.house import DERIVED, QUICK, at_hand, at_work, by_verb, derived
from tests.workers.support import becomes
from workers.persistence import QUEUE


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Where the embedded bus and store are."""
    return str(tmp_path / "bus.db"), f"sqlite:///{tmp_path}/store.db"


Files = tuple[str, str]


async def test_a_calls_events_make_its_record_and_one_sealed_that_carries_it(files: Files) -> None:
    async with at_work(*files) as house:
        await house.publish(*whole_call(1))
        [event] = await derived(house.bus, 1)
        await house.at_rest()
        assert await house.bus.depth(DERIVED.name) == Depth(0, 0, 0)  # and no other
        record = await house.store.call(call_id(1))
        counts = await house.store.counts()
    assert record is not None
    assert (event.routing_key, event.subject) == ("call.infocaller.sealed", call_id(1))
    assert event.data == orjson.loads(record)
    assert (event.data["revision"], event.data["sealed"]["verdict"]) == (4, "complete")
    assert (counts["events"], counts["derived"]) == (5, 1)  # the sealed came back, and is kept beside what it says


async def test_repetitions_and_what_is_of_no_call_change_nothing(files: Files) -> None:
    async with at_work(*files) as house:
        await house.publish(*whole_call(1), apart(1), *whole_call(1), apart(1))
        [event] = await derived(house.bus, 1)
        await house.publish(*whole_call(1))
        await house.at_rest()
        assert await house.bus.depth(DERIVED.name) == Depth(0, 0, 0)
        assert (await house.store.counts())["events"] == 6
    assert event.data["revision"] == 4


async def test_a_timer_outlives_the_process_that_set_it(files: Files) -> None:
    async with at_work(*files, timing=Timing(settle=0.4)) as house:
        await house.publish(*whole_call(1))
        await house.counts(events=4)
        due = await house.store.next_seal()
    async with at_hand(*files) as house:
        assert (await house.store.counts())["sealed"] == 0
        assert due is not None
        assert await house.store.next_seal() == due
    async with at_work(*files) as house:
        [event] = await derived(house.bus, 1)
    assert event.verb == "sealed"
    assert event.time >= due.replace(microsecond=due.microsecond // 1000 * 1000)


async def test_a_backlog_is_applied_before_an_overdue_timer_may_seal(files: Files) -> None:
    async with at_work(*files) as house:
        await house.publish(*(ended(number) for number in range(20)))
        await house.counts(events=20)
    async with at_hand(*files) as house:  # what comes while no worker runs
        for number in range(20):
            await house.publish(*whole_call(number)[:3])
        await until(lambda: _overdue(house.store))
        assert (await house.store.counts())["sealed"] == 0
    async with at_work(*files, batch=3) as house:
        events = await derived(house.bus, 20)
        await house.at_rest()
        assert await house.bus.depth(DERIVED.name) == Depth(0, 0, 0)
    assert by_verb(events) == {"sealed": 20}
    assert Counter(event.data["sealed"]["verdict"] for event in events) == {"complete": 20}


async def _overdue(store: SqlStore) -> bool:
    due = await store.next_seal()
    return due is not None and due < datetime.now(UTC) - timedelta(milliseconds=200)


@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_on_one_queue_seal_each_call_once(files: Files, workers: int) -> None:
    await _seal_together(files, workers, calls=150)


async def test_workers_on_servers_seal_each_call_once(amqp_url: str, postgres_url: str) -> None:
    await _seal_together((amqp_url, postgres_url), 3, calls=150)


async def _seal_together(urls: tuple[str, str], workers: int, calls: int) -> None:
    async with AsyncExitStack() as stack:
        houses = [await stack.enter_async_context(at_work(*urls, batch=20)) for _ in range(workers)]
        for house in houses:
            await becomes(partial(getattr, house.worker.runner, "registered"))
        every = [whole_call(number) for number in range(calls)]
        for verb in range(4):
            await houses[verb % workers].publish(*(call[verb] for call in every))
        events = await derived(houses[0].bus, calls)
        for house in houses:
            await house.at_rest()
        assert (await houses[0].bus.depth(DERIVED.name)).ready == 0
        assert (await houses[0].store.counts())["calls"] == calls
    assert by_verb(events) == {"sealed": calls}
    assert {event.subject for event in events} == {call_id(number) for number in range(calls)}


async def test_late_evidence_is_told_as_resealed(files: Files) -> None:
    async with at_work(*files) as house:
        await house.publish(*whole_call(1)[1:])
        [sealed] = await derived(house.bus, 1)
        await house.publish(started(1))
        [resealed] = await derived(house.bus, 1)
        await house.at_rest()
        assert await house.bus.depth(DERIVED.name) == Depth(0, 0, 0)
    assert (sealed.verb, sealed.data["revision"], sealed.data["sealed"]["verdict"]) == ("sealed", 3, "inferred")
    assert (resealed.verb, resealed.data["revision"], resealed.subject) == ("resealed", 4, call_id(1))


async def test_a_leg_that_comes_too_late_to_be_this_calls_is_a_dead_letter(files: Files) -> None:
    long_after = QUICK.longest + 100
    async with at_work(*files) as house:
        await house.publish(desk_leg(7, "answered", "a", 0), desk_leg(7, "answered", "b", long_after))
        await house.publish(desk_leg(7, "hangup", "a", 20))
        await depth_becomes(house.bus, Depth(0, 0, 1), QUEUE.name)
        [dead] = await house.bus.dead(QUEUE.name)
        await house.counts(events=2)
    assert (dead.reason, dead.attempt) == ("request_id_reused", 1)


@pytest.mark.timeout(60)
async def test_what_was_derived_in_an_outage_of_the_bus_is_told_after_it_in_its_order(
    tmp_path: Path, amqp_url: str
) -> None:
    store_url = f"sqlite:///{tmp_path}/store.db"
    async with (
        Proxy(amqp_url) as line,
        at_work(line.url, store_url, timing=Timing(settle=0.05, gap_after=0.05)) as house,
    ):
        await house.publish(*whole_call(1)[1:])
        [first] = await derived(house.bus, 1)
        await house.at_rest()
        with capture_logs() as logs:
            await line.cut()
            # What the store derives now, by a worker that still reaches it, cannot be told.
            await house.store.apply([*whole_call(2)], datetime.now(UTC))
            await house.store.apply([started(1)], datetime.now(UTC))
            await house.store.seal(datetime.now(UTC) + timedelta(seconds=1))
            house.worker._derived.set()
            await becomes(lambda: "persistence.waiting" in [log["event"] for log in logs])
            await house.store.apply([started(2, 1, direction="inbound")], datetime.now(UTC))
            await line.mend()
            events = await derived(house.bus, 3)
        await house.at_rest()
        assert (await house.bus.depth(DERIVED.name)).ready == 0
    assert (first.verb, first.subject) == ("sealed", call_id(1))
    assert [(event.verb, event.subject) for event in events] == [
        ("resealed", call_id(1)),
        ("sealed", call_id(2)),
        ("resealed", call_id(2)),
    ]


@pytest.mark.timeout(60)
async def test_a_stop_lets_what_is_being_told_be_told_once(tmp_path: Path, amqp_url: str) -> None:
    store_url = f"sqlite:///{tmp_path}/store.db"
    async with Proxy(amqp_url) as line, at_hand(line.url, store_url) as house:
        await house.store.apply(whole_call(1), datetime.now(UTC))
        await house.store.seal(datetime.now(UTC) + timedelta(seconds=10))
        task = asyncio.create_task(house.worker.run())
        line.down.delay = 0.3  # its confirms, from now on
        await becomes(lambda: bool(house.worker._claimed))
        late = line.down.late
        house.worker.stop()
        await becomes(lambda: line.down.late > late)
        line.down.delay = 0.0
        await asyncio.wait_for(task, 20)
        assert (await house.store.counts())["outbox"] == 0
        assert len(await derived(house.bus, 1)) == 1
        assert (await house.bus.depth(DERIVED.name)).ready == 0


async def test_a_defect_in_the_sealer_ends_the_worker_and_is_told(files: Files) -> None:
    class Defective(SqlStore):
        async def seal(self, now: datetime, limit: int = 100) -> int:
            raise ZeroDivisionError(f"a defect at {now} with {limit}")

    async with at_hand(*files, kind=Defective) as house:
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await asyncio.wait_for(house.worker.run(), 20)
        assert not house.worker.runner.registered
