"""A source that has stopped calling back is told of, once, and so is its return."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isnan
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import REGISTRY

from hub.errors import NotDurable
from hub.events import Event, Message, to_event
from hub.gaps.volume import WEEK
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place
from tests.polling.house import becomes
from tests.store.evidence import NOON, event
from workers.watch import Watch, Watched

LINE = Watched("line-900", "infocaller", 14400, ZoneInfo("Europe/Madrid"))


@dataclass
class Recorder:
    """A bus that keeps what is published; ``broken`` while it takes nothing."""

    events: list[Event] = field(default_factory=list)
    broken: bool = False

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.broken:
            raise NotDurable("away")
        self.events += map(to_event, messages)


@pytest.fixture(params=URL)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SqlStore]:
    async with Place(request.param, URL[request.param](request)).store() as store:
        yield store


async def calls_at(store: SqlStore, moment: datetime, count: int, name: str) -> None:
    """Calls that began in the ten minutes before."""
    events = [
        event("line-900", "started", f"{name}-{n}", moment - timedelta(seconds=600 * (n + 1) / (count + 1)))
        for n in range(count)
    ]
    await store.apply(events, moment)


async def habit(store: SqlStore, weeks: int = 4, count: int = 60) -> None:
    """What is usual at noon."""
    for week in range(1, weeks + 1):
        await calls_at(store, NOON - week * WEEK, count, f"week-{week}")


@asynccontextmanager
async def watching(store: SqlStore, bus: Recorder, now: list[datetime]) -> AsyncIterator[Watch]:
    watch = Watch(store, bus, [LINE], every=0.02, weeks=4, clock=lambda: now[0])  # type: ignore[arg-type]
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        watch.stop()
        await asyncio.wait_for(task, 30)


def silent() -> float | None:
    return REGISTRY.get_sample_value("trunkline_source_silent", {"source": "line-900"})


def shown(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(name, {"source": "line-900", **labels})
    assert value is not None
    return value


async def test_silence_and_return_are_an_event_each(store: SqlStore) -> None:
    await habit(store)
    last = NOON - WEEK
    bus, now = Recorder(), [NOON]
    async with watching(store, bus, now):
        await becomes(lambda: bool(bus.events))
        await becomes(lambda: silent() == 1)
        await calls_at(store, NOON, 50, "today")
        await becomes(lambda: len(bus.events) > 1)
        await becomes(lambda: silent() == 0)
    assert [(one.routing_key, one.source) for one in bus.events] == [
        ("source.infocaller.silent", "line-900"),
        ("source.infocaller.heard", "line-900"),
    ]
    told = bus.events[0].data
    assert (told["heard"], told["usual"], told["span_seconds"]) == (0, 60, 900)
    assert last - timedelta(minutes=10) <= datetime.fromisoformat(told["since"]) <= last


async def test_who_was_killed_before_it_was_noted_tells_the_same_silence_by_the_same_event(store: SqlStore) -> None:
    await habit(store)
    told = []
    for minutes in (0, 3):
        bus, now = Recorder(), [NOON + timedelta(minutes=minutes)]
        async with watching(store, bus, now):
            await becomes(partial(bool, bus.events))
        told.append(bus.events[0].id)
        await store.polls.forget(LINE.silence)
    assert told[0] == told[1]


async def test_who_looks_after_a_restart_tells_of_the_return(store: SqlStore) -> None:
    await habit(store)
    bus, now = Recorder(), [NOON]
    async with watching(store, bus, now):
        await becomes(lambda: bool(bus.events))
        await becomes(lambda: silent() == 1)
    await calls_at(store, NOON, 50, "today")
    after = Recorder()
    async with watching(store, after, now):
        await becomes(lambda: bool(after.events))
        await becomes(lambda: silent() == 0)
    assert [(one.verb, one.data["since"]) for one in after.events] == [("heard", bus.events[0].data["since"])]


async def test_whoever_looks_no_more_shows_nothing_that_would_stay_but_the_silence(store: SqlStore) -> None:
    await habit(store)
    await calls_at(store, NOON - timedelta(hours=4, minutes=10), 9, "cycle")
    while await store.seal(NOON, 100):
        pass
    bus, now = Recorder(), [NOON]
    async with watching(store, bus, now):
        await becomes(lambda: silent() == 1)
        assert not isnan(shown("trunkline_source_volume_ratio", span="15m"))
        # Its lease of 0.04 s is over by another's clock, whose own is still good by its own.
        assert await store.lead("watch/line-900", "another", NOON + timedelta(seconds=0.05), 0.02)
        await becomes(lambda: isnan(shown("trunkline_source_volume_ratio", span="15m")))
        await becomes(lambda: isnan(shown("trunkline_callback_loss_ratio", basis="cycle")))
        assert silent() == 1
        await store.polls.forget(LINE.silence)  # as the other one does, once it is heard again
        await becomes(lambda: silent() == 0)


async def test_a_line_that_opens_by_the_clock_on_the_wall_is_not_silent_the_week_after_the_change(
    store: SqlStore,
) -> None:
    opened = datetime(2026, 10, 26, 9, tzinfo=LINE.zone)  # the Monday after the change to winter time
    for week in range(1, 5):
        morning = opened - week * WEEK
        for quarter in range(1, 9):
            await calls_at(store, (morning + timedelta(minutes=15 * quarter)).astimezone(UTC), 40, f"{week}-{quarter}")
    bus, now = Recorder(), [opened.astimezone(UTC) - timedelta(minutes=30)]
    looked = Looked(store)
    async with watching(looked, bus, now):  # type: ignore[arg-type]
        await becomes(lambda: looked.times >= 2)
        now[0] += timedelta(hours=1)
        await becomes(lambda: bool(bus.events))
    assert [one.data["occurred_at"] for one in bus.events] == ["2026-10-26T08:30:00.000Z"]


async def test_a_silence_that_the_bus_does_not_take_is_told_when_it_does(store: SqlStore) -> None:
    await habit(store)
    bus, now = Recorder(broken=True), [NOON]
    async with watching(store, bus, now) as watch:
        await becomes(lambda: "line-900" in watch.troubles())
        bus.broken = False
        await becomes(lambda: bool(bus.events))
        await becomes(lambda: not watch.troubles())
    assert [one.verb for one in bus.events] == ["silent"]


async def test_as_many_calls_as_usual_and_a_source_without_a_past_are_no_silence(store: SqlStore) -> None:
    bus, now = Recorder(), [NOON]
    looked = Looked(store)
    async with watching(looked, bus, now):  # type: ignore[arg-type]
        await becomes(lambda: looked.times >= 2)
        await calls_at(store, NOON, 38, "today")
        await habit(store, count=40)
        before = looked.times
        await becomes(lambda: looked.times >= before + 2)
    assert bus.events == []


async def test_the_loss_within_calls_is_measured_of_the_youngest_hour_that_is_sealed(store: SqlStore) -> None:
    began = NOON - timedelta(seconds=14400, minutes=30)
    whole = [("started", "ended")] * 9 + [("ended",)]
    events = [
        event("line-900", verb, f"cycle-{n}", began + timedelta(seconds=n))
        for n, verbs in enumerate(whole)
        for verb in verbs
    ]
    await store.apply(events, began)
    while await store.seal(NOON, 100):
        pass
    bus, now = Recorder(), [NOON]
    async with watching(store, bus, now):
        await becomes(
            lambda: (
                REGISTRY.get_sample_value("trunkline_callback_loss_ratio", {"source": "line-900", "basis": "cycle"})
                == pytest.approx(1 / 20)
            )
        )


class Looked:
    """A store that counts how often somebody looked at it whole."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.gaps = self
        self.times = 0
        self.begun, self.extent = store.gaps.begun, store.gaps.extent
        self.lead, self.polls = store.lead, store.polls

    async def cycle(self, source: str, since: datetime, until: datetime) -> object:
        self.times += 1
        return await self._store.gaps.cycle(source, since, until)
