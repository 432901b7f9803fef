"""A source that loses callbacks: what FocalScope's archive knows of its calls makes them whole, once."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from hub.events import Event, timestamp
from hub.gaps.finding import Comparing
from hub.ports import Callback
from hub.simulator.archive import Archivist
from hub.simulator.call import Source
from hub.simulator.dice import Dice
from hub.simulator.scenarios import Step, calls, stream
from hub.store.sql import SqlStore
from hub.vendors.focalscope.callbacks import FocalScope
from hub.vendors.focalscope.records import FocalScopeRecords
from tests.contract.stores import URL, Place, all_calls, drain
from tests.faults.scale import at

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOURCE = Source("desk", "focalscope", "token")
DECODER = FocalScope(source="desk")
PROMISED = ("answered", "hangup", "missed")
GRACE = 120.0


@dataclass(frozen=True)
class Told:
    """A step as the hub would have got it."""

    step: Step
    event: Event


def day(directory: Path, *, count: int, apart: float, seed: int = 7) -> list[Told]:
    """Calls of all of FocalScope's scenarios, and their archive."""
    made = calls(["focalscope"], seed=seed, count=count, target=[SOURCE])
    moment = [NOON]
    archivist = Archivist(clock=lambda: moment[0])
    told = []
    for step in stream(made, apart=apart):
        moment[0] = NOON + timedelta(seconds=step.at)
        archivist.note(step.request.query, moment[0])
        callback = Callback("desk", None, step.request.query, "", b"", moment[0])
        told.append(Told(step, DECODER.decode(callback)[0]))
    archivist.write(directory)
    return told


def split(told: Sequence[Told], fraction: float, seed: int = 3) -> tuple[list[Event], list[Event]]:
    """Those that came, and those that were lost on the way."""
    came: list[Event] = []
    lost: list[Event] = []
    for number, one in enumerate(told):
        (lost if Dice("lost", seed, number, "").chance(fraction) else came).append(one.event)
    return came, lost


async def keep(store: SqlStore, events: Sequence[Event], now: datetime) -> None:
    for start in range(0, len(events), 500):
        await store.apply(events[start : start + 500], now)


async def seal(store: SqlStore, now: datetime) -> None:
    while await store.seal(now, 500):
        pass


def comparing(store: SqlStore, directory: Path, now: datetime) -> Comparing:
    records = FocalScopeRecords("desk", directory, clock=lambda: now)
    return Comparing(records, store.gaps, grace=GRACE, clock=lambda: now)


def outline(record: dict[str, Any]) -> dict[str, Any]:
    """What a call came to, without what only a callback can tell, and when it was received."""
    return {
        "call_id": record["call_id"],
        "state": record["state"],
        "disposition": record["disposition"],
        "legs": sorted((leg["id"], leg["role"], leg["state"]) for leg in record["legs"]),
    }


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[SqlStore]:
    async with Place("sqlite", f"sqlite:///{directory}/store.db").store() as store:
        yield store


@pytest.fixture(params=URL)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SqlStore]:
    async with Place(request.param, URL[request.param](request)).store() as store:
        yield store


async def test_one_cycle_makes_whole_what_a_lossy_vendor_told_of(tmp_path: Path) -> None:
    count = at(quick=400, full=10_000)
    told = day(tmp_path, count=count, apart=0.3)
    came, lost = split(told, 0.02)
    assert lost
    end = NOON + timedelta(seconds=told[-1].step.at)
    later = end + timedelta(hours=5)
    async with embedded(tmp_path / "undisturbed") as oracle:
        await keep(oracle, [one.event for one in told], end)
        await seal(oracle, later)
        wanted = {record["call_id"]: outline(record) for record in await all_calls(oracle)}
    async with embedded(tmp_path / "lossy") as store:
        await keep(store, came, end)
        first = await comparing(store, tmp_path, later).between(NOON, end, "poll")
        assert not first.unreadable
        await keep(store, first.events, later)
        again = await comparing(store, tmp_path, later).between(NOON, end, "poll")
        assert again.events == ()
        await seal(store, later + timedelta(hours=5))
        made = {record["call_id"]: outline(record) for record in await all_calls(store)}
    whole = sum(made.get(call_id) == record for call_id, record in wanted.items())
    assert made.keys() == wanted.keys()
    assert whole / len(wanted) >= 0.999
    true = sum(event.verb in PROMISED for event in lost) / sum(one.event.verb in PROMISED for one in told)
    measured = REGISTRY.get_sample_value("trunkline_callback_loss_ratio", {"source": "desk", "basis": "records"})
    assert measured is not None
    # The legs' promises are a sample of all callbacks: a tenth of a percent needs ten thousand calls.
    assert abs(measured - true) < at(quick=0.003, full=0.001)


async def test_the_loss_is_of_all_legs_of_late_and_not_of_the_last_window_alone(tmp_path: Path) -> None:
    told = day(tmp_path, count=60, apart=60)
    end = NOON + timedelta(seconds=told[-1].step.at)
    heard, begun = NOON + timedelta(minutes=40), [NOON, end - timedelta(minutes=10), end]
    async with embedded(tmp_path) as store:
        await keep(store, [one.event for one in told if one.event.time < heard], end)
        records = comparing(store, tmp_path, end + timedelta(hours=1))
        for _ in range(2):  # a second look at the same legs counts them no second time
            for since, until in pairwise(begun):
                await records.between(since, until, "poll")
    measured = REGISTRY.get_sample_value("trunkline_callback_loss_ratio", {"source": "desk", "basis": "records"})
    promised = [one.event for one in told if one.event.verb in PROMISED]
    lost = sum(event.time >= heard for event in promised) / len(promised)
    assert 0.2 < lost < 0.6
    assert measured == pytest.approx(lost, abs=0.05)


async def test_a_callback_that_comes_after_its_stand_in_changes_nothing(store: SqlStore, tmp_path: Path) -> None:
    told = day(tmp_path, count=30, apart=1)
    came, lost = split(told, 0.3)
    end = NOON + timedelta(seconds=told[-1].step.at)
    later = end + timedelta(minutes=30)
    await keep(store, came, end)
    found = await comparing(store, tmp_path, later).between(NOON, end, "poll")
    await keep(store, found.events, later)
    await seal(store, later + timedelta(hours=5))
    await drain(store, later)
    stood_in = {(event.subject, event.verb, event.data["leg"]["id"]) for event in found.events}
    late = [event for event in lost if (event.subject, event.verb, event.data["leg"]["id"]) in stood_in]
    assert late
    before = await all_calls(store)
    moved = [received(event, later + timedelta(hours=6)) for event in late]
    await keep(store, moved, later + timedelta(hours=6))
    assert await all_calls(store) == before
    told_of = [event.type for event in await drain(store, later + timedelta(hours=6))]
    assert "call.resealed" not in told_of


async def test_a_stand_in_that_comes_after_its_callback_changes_nothing(store: SqlStore, tmp_path: Path) -> None:
    told = day(tmp_path, count=20, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    later = end + timedelta(minutes=30)
    found = await comparing(store, tmp_path, later).between(NOON, end, "poll")  # nothing has been heard yet
    assert {event.data["origin"] for event in found.events} == {"backfill"}
    await keep(store, [one.event for one in told], end)
    await seal(store, later + timedelta(hours=5))
    before = await all_calls(store)
    await drain(store, later)
    await keep(store, found.events, later + timedelta(hours=6))
    assert await all_calls(store) == before
    assert [event.type for event in await drain(store, later)] == []


async def test_a_callback_that_lay_in_the_outbox_stands_over_its_stand_in_and_that_is_told(
    store: SqlStore, tmp_path: Path
) -> None:
    told = day(tmp_path, count=6, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    later = end + timedelta(minutes=30)
    found = await comparing(store, tmp_path, later).between(NOON, end, "poll")
    await keep(store, found.events, later)
    await seal(store, later + timedelta(hours=5))
    await drain(store, later)
    before = await all_calls(store)
    await keep(store, [one.event for one in told], later + timedelta(hours=6))  # received long before the stand-ins
    after = await all_calls(store)
    assert after != before
    changed = {new["call_id"] for new, old in zip(after, before, strict=True) if new != old}
    resealed = {event.subject for event in await drain(store, later) if event.type == "call.resealed"}
    assert resealed == changed


async def test_what_the_vendor_was_asked_for_is_no_callback_in_the_books(store: SqlStore, tmp_path: Path) -> None:
    told = day(tmp_path, count=10, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    later = end + timedelta(minutes=30)
    found = await comparing(store, tmp_path, later).between(NOON, end, "poll")
    await keep(store, found.events, later)
    assert (await store.counts())["callbacks"] == 0
    await keep(store, [told[0].event], end)
    assert (await store.counts())["callbacks"] == 1


async def test_a_call_may_be_late_for_as_long_as_the_grace_lasts(tmp_path: Path) -> None:
    told = day(tmp_path, count=6, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    async with embedded(tmp_path) as store:
        soon = await comparing(store, tmp_path, end + timedelta(seconds=GRACE - 1)).between(NOON, end, "poll")
        ripe = await comparing(store, tmp_path, end + timedelta(seconds=GRACE + 1)).between(NOON, end, "poll")
    assert len(soon.events) < len(ripe.events)


async def test_two_seekers_of_one_gap_make_the_same_events(tmp_path: Path) -> None:
    told = day(tmp_path, count=20, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    moments = [end + timedelta(minutes=10), end + timedelta(minutes=11)]
    async with embedded(tmp_path) as store:
        one, other = await asyncio.gather(
            *(comparing(store, tmp_path, moment).between(NOON, end, "poll") for moment in moments)
        )
    assert [event.id for event in one.events] == [event.id for event in other.events]


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"usId": None}, "neither dtStart nor sUniqueId says when it began"),
        ({"usId": None, "dtStart": "yesterday"}, "dtStart is 'yesterday'; expected a time like 2026-11-20T09:15:30Z"),
        ({"usId": "bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff", "dtStart": "2026-11-20T12:00:00Z"}, "which is another call"),
        ("{", "cannot be read"),
    ],
)
async def test_a_file_that_says_nothing_is_named_and_the_others_are_read(
    tmp_path: Path, notes: dict[str, Any] | str, said: str
) -> None:
    told = day(tmp_path, count=3, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    text = notes if isinstance(notes, str) else orjson.dumps(notes).decode()
    (tmp_path / "monitor/2026-UTC/11/20/923041af-adb5-a8ae-f29c-e60ea5e17448.json").write_text(text)
    async with embedded(tmp_path) as store:
        found = await comparing(store, tmp_path, end + timedelta(hours=1)).between(NOON, end, "poll")
    assert found.events
    (reason,) = found.unreadable
    assert said in reason


async def test_the_first_part_of_asterisks_id_is_when_a_leg_began_where_nothing_else_says(tmp_path: Path) -> None:
    folder = tmp_path / "monitor/2026-UTC/11/20"
    folder.mkdir(parents=True)
    guid = "bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff"
    (folder / f"{guid}.json").write_text(
        f'{{"nId": 1, "usId": "{guid}", "sUniqueId": "{NOON.timestamp():.0f}.671281"}}'
    )
    async with embedded(tmp_path) as store:
        found = await comparing(store, tmp_path, NOON + timedelta(hours=1)).between(
            NOON, NOON + timedelta(minutes=1), "poll"
        )
        (event,) = found.events
        assert (event.verb, event.time, event.data["leg"]["id"]) == ("started", NOON, guid)
        await keep(store, found.events, NOON + timedelta(hours=1))
        (record,) = await all_calls(store)
    assert (record["state"], record["disposition"]) == ("in_progress", "unknown")


async def test_the_old_shape_of_the_archive_is_read_by_the_files_own_time(tmp_path: Path) -> None:
    told = day(tmp_path, count=5, apart=1)
    end = NOON + timedelta(seconds=told[-1].step.at)
    now = datetime.now(UTC) + timedelta(hours=1)
    for path in (tmp_path / "monitor").rglob("*.json"):
        path.rename(tmp_path / "monitor" / path.name)
        os.utime(tmp_path / "monitor" / path.name, (end.timestamp(), end.timestamp()))
    async with embedded(tmp_path) as store:
        found = await comparing(store, tmp_path, now).between(NOON, end, "poll")
    assert {event.subject for event in found.events} == {one.event.subject for one in told}


async def test_a_file_that_is_taken_away_while_the_old_shape_is_listed_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "monitor").mkdir()
    (tmp_path / "monitor/bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff.json").symlink_to(tmp_path / "gone")
    async with embedded(tmp_path) as store:
        found = await comparing(store, tmp_path, NOON).between(NOON, NOON + timedelta(hours=1), "poll")
    assert found.events == ()


def received(event: Event, moment: datetime) -> Event:
    """The same callback, received at another time: its id is the same."""
    return replace(event, time=moment, data={**event.data, "received_at": timestamp(moment)})
