"""The poller: once however many run, nothing left out, whatever is away meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import prometheus_client
import pytest
from structlog.testing import capture_logs

from hub.config import Settings
from hub.errors import Later, NotDurable, Refused, StoreUnavailable, TooMuch
from hub.events import Message, to_event, to_message
from hub.parts import ROLES, TIMED
from hub.ports import Bus
from hub.ports.gaps import GapStore
from hub.ports.polls import Polled, PollStore
from hub.simulator.infocu5 import Infocu5, made, serving
from tests.hub import configuration, running, until
from tests.polling.house import (
    NAME,
    NOON,
    PLACES,
    Clock,
    Desk,
    becomes,
    event,
    having,
    keeping,
    polling,
    settings,
    store_and_bus,
)
from workers.poll import LEASE

MARK: Final = f"poll/{NAME}"


@pytest.fixture(params=PLACES)
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return PLACES[request.param](request, tmp_path)


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    return settings(tmp_path, "http://127.0.0.1:9/")


@pytest.fixture
async def house(embedded: Settings) -> AsyncIterator[tuple[GapStore, Bus]]:
    async with store_and_bus(embedded) as both:
        yield both


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks, and after a failure: the tests' clock moves in leaps."""
    monkeypatch.setattr("workers.poll._RENEW", 0.05)
    monkeypatch.setattr("workers.poll.delay", lambda *_, **__: 0.02)


class Recorder:
    """A bus that notes what was published, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.published: list[Message] = []
        self.failures = failures

    async def publish(self, messages: list[Message]) -> None:
        if self.failures:
            self.failures -= 1
            raise NotDurable("the broker is away")
        self.published += messages

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.published]


# --- the whole hub ---------------------------------------------------------------------------------------------------


async def test_every_record_of_the_vendor_becomes_a_call_that_is_sealed_once(
    tables: dict[str, Any], tmp_path: Path
) -> None:
    now = datetime.now(NOON.tzinfo)
    vendor = Infocu5(calls=made(3, 200, now - timedelta(minutes=9), now - timedelta(seconds=5)))
    vendor.moods.extend(["900", "500", "cut"])
    async with serving(vendor) as url, running(settings(tmp_path, url, tables), workers=ROLES) as hub:

        async def all_sealed() -> bool:
            with contextlib.suppress(StoreUnavailable):  # its tables are being made
                return (await hub.process.store.counts())["seals"] >= 200
            return False

        await until(all_sealed)
        records = await hub.calls()
        assert sorted(record["vendor_ids"]["call_id"] for record in records) == sorted(
            call.call_id for call in vendor.calls
        )
        assert {record["sealed"]["verdict"] for record in records} == {"complete"}
        events = (await hub.read("/v1/events?limit=1000"))["items"]
        assert sum(one["type"] == "trunkline.call.ended.v1" for one in events) == 200
        assert {one["data"]["origin"] for one in events if "ended" in one["type"]} == {"poll"}
        found = await hub.read("/v1/calls?number=%2B1212555&limit=1")
        assert found["items"] == []
        books = await hub.read("/v1/ledger")
        assert books["callbacks"] == {"accepted": 0, "duplicate": 0, "quarantined": 0, "refused": 0}
        assert books["workers"]["persistence"]["settled"] == 400
        assert books["workers"]["persistence"]["dead"] == 0


async def test_a_wrong_key_degrades_the_role_says_why_and_never_the_key(tmp_path: Path) -> None:
    secret = "f" * 32
    async with serving(Infocu5()) as url:
        wrong = settings(tmp_path, url, affiliate_key=secret, poll_seconds=0.05)
        async with running(wrong, workers=ROLES) as hub:

            async def told() -> dict[str, Any] | None:
                async with hub.session.get(hub.url / "readyz") as answer:
                    parts: dict[str, Any] = (await answer.json())["parts"]["poll"]
                    assert answer.status == 200
                    return parts if parts["state"] == "degraded" else None

            part = await until(told)
            assert "code 100" in part["detail"]
            assert secret not in part["detail"]


# --- the watermark ---------------------------------------------------------------------------------------------------


async def test_the_first_poll_looks_back_by_its_overlap_and_later_ones_overlap_the_last(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    clock, desk = Clock(), having()
    async with polling(store, Recorder(), desk, clock=clock, interval=60, sweep_overlap=1200):  # type: ignore[arg-type]
        await becomes(lambda: len(desk.asked) == 2)
        assert [(NOON - since).total_seconds() for since, _, _ in desk.asked] == [600, 1200]
        clock.forward(61)
        await becomes(lambda: len(desk.asked) == 3)
    assert desk.asked[2] == (NOON - timedelta(seconds=600), NOON + timedelta(seconds=61), "poll")
    assert await store.polls.watermark(MARK) == clock.now


async def test_an_outage_of_the_vendor_is_caught_up_from_the_watermark_in_windows(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    clock, bus = Clock(), Recorder()
    calls = [event(n, NOON + timedelta(hours=n)) for n in range(1, 10)]
    desk = having(*calls)
    await store.polls.advance(MARK, NOON, NOON)
    await store.polls.advance(f"sweep/{NAME}", NOON + timedelta(days=1), NOON)
    clock.forward(10 * 3600)
    with capture_logs() as logs:
        async with polling(store, bus, desk, clock=clock, interval=300, window=3600):  # type: ignore[arg-type]
            await becomes(lambda: len(bus.ids) == 9)
            await until_mark(store, clock.now)
    assert bus.ids == [call.id for call in calls]
    ours = [one for one in desk.asked if one[0] >= NOON - timedelta(seconds=600)]
    assert ours[0][0] == NOON - timedelta(seconds=600)
    assert all(last - first <= timedelta(hours=1) for first, last, _ in ours)
    assert {"poll.gap", "poll.caught_up"} <= {line["event"] for line in logs}


async def until_mark(store: PollStore, expected: datetime) -> None:
    async def there() -> bool:
        return await store.polls.watermark(MARK) == expected

    await until(there)


async def test_the_watermark_stays_until_the_bus_has_confirmed(house: tuple[GapStore, Bus]) -> None:
    store, _ = house
    clock, bus, desk = Clock(), Recorder(failures=3), having(event(1, NOON - timedelta(seconds=5)))
    await store.polls.advance(MARK, NOON - timedelta(seconds=60), NOON)
    marks: list[datetime | None] = []
    publish = bus.publish

    async def noting(messages: list[Message]) -> None:
        marks.append(await store.polls.watermark(MARK))
        await publish(messages)

    bus.publish = noting  # type: ignore[method-assign]
    async with polling(store, bus, desk, clock=clock, interval=0.05) as poller:  # type: ignore[arg-type]
        await becomes(lambda: bus.ids != [])
        await until_mark(store, NOON)
        await becomes(lambda: not poller.troubles())
    assert marks == [NOON - timedelta(seconds=60)] * 4
    assert len(bus.ids) == 1


async def test_a_long_outage_inside_catching_up_goes_on_where_it_came_to(house: tuple[GapStore, Bus]) -> None:
    store, _ = house
    clock, bus = Clock(NOON + timedelta(hours=5)), Recorder()
    failing = {"left": 4}

    async def answer(since: datetime, _: datetime) -> Polled:
        if since >= NOON + timedelta(hours=2) and failing["left"]:
            failing["left"] -= 1
            raise Later(200, "getCalls was answered with code 900")
        return Polled(())

    desk = Desk(answer)
    await store.polls.advance(MARK, NOON, NOON)
    async with polling(store, bus, desk, clock=clock, interval=0.05, overlap=0, window=3600):  # type: ignore[arg-type]
        await until_mark(store, clock.now)
    starts = [since for since, _, _ in desk.asked]
    assert starts.count(NOON) == 1  # what was confirmed is not asked for again
    assert starts.count(NOON + timedelta(hours=2)) >= 4


async def test_a_store_that_is_away_is_waited_for(house: tuple[GapStore, Bus], monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = house
    bus, desk = Recorder(), having(event(1, NOON - timedelta(seconds=5)))
    lead, away = store.lead, {"left": 3}

    async def unwell(*given: Any) -> bool:
        if away["left"]:
            away["left"] -= 1
            raise StoreUnavailable("no connection")
        return await lead(*given)

    monkeypatch.setattr(store, "lead", unwell)
    async with polling(store, bus, desk, clock=Clock()):  # type: ignore[arg-type]
        await becomes(lambda: bus.ids != [])


# --- what comes late, and what is known ------------------------------------------------------------------------------


async def test_a_record_that_appears_long_after_its_call_began_is_found_by_the_sweep(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    clock, bus, late = Clock(), Recorder(), event(7, NOON - timedelta(hours=3))
    records = [event(1, NOON - timedelta(seconds=5))]

    async def answer(since: datetime, until_: datetime) -> Polled:
        return await having(*records).between(since, until_, "poll")

    desk = Desk(answer)
    with capture_logs() as logs:
        async with polling(store, bus, desk, clock=clock, sweep=60):  # type: ignore[arg-type]
            await becomes(lambda: bus.ids == [records[0].id])
            records.append(late)
            clock.forward(61)
            await becomes(lambda: any(line["event"] == "poll.late_records" for line in logs))
    assert bus.ids == [records[0].id, late.id]


async def test_a_record_that_changed_is_published_again_and_one_that_did_not_never(
    house: tuple[GapStore, Bus],
) -> None:
    store, bus = house
    clock = Clock()
    records = [event(1, NOON - timedelta(seconds=5)), event(2, NOON - timedelta(seconds=4))]

    async def answer(since: datetime, until_: datetime) -> Polled:
        return await having(*records).between(since, until_, "poll")

    desk = Desk(answer)
    recorder = Recorder()
    async with keeping(store, bus):
        await bus.publish([to_message(records[1])])  # another process had it

        async def kept() -> bool:
            return not await store.lacks([records[1].id])

        await until(kept)
        async with polling(store, recorder, desk, clock=clock):  # type: ignore[arg-type]
            await becomes(lambda: len(recorder.ids) == 1)
            records[0] = event(1, NOON - timedelta(seconds=5), callTalkTime="00:00:06")
            asked = len(desk.asked)
            clock.forward(1)
            await becomes(lambda: len(recorder.ids) == 2 and len(desk.asked) > asked + 1)
    first, second = (to_event(message) for message in recorder.published)
    assert first.subject == second.subject
    assert first.id != second.id


async def test_a_window_that_holds_too_much_is_asked_for_in_halves(house: tuple[GapStore, Bus]) -> None:
    store, _ = house
    bus = Recorder()
    calls = [event(n, NOON - timedelta(seconds=n)) for n in range(1, 60)]
    whole = having(*calls)

    async def answer(since: datetime, until_: datetime) -> Polled:
        found = await whole.between(since, until_, "poll")
        if len(found.events) > 10:
            raise TooMuch("the answer is longer than 8 bytes")
        return found

    async with polling(store, bus, Desk(answer), clock=Clock()):  # type: ignore[arg-type]
        await becomes(lambda: len(bus.ids) == 59)
        await until_mark(store, NOON)
    assert sorted(bus.ids) == sorted(call.id for call in calls)


async def test_what_is_no_record_is_told_and_counted_and_stops_nothing(house: tuple[GapStore, Bus]) -> None:
    store, _ = house
    bus, good = Recorder(), event(1, NOON - timedelta(seconds=5), callShoe="42")

    async def answer(_: datetime, __: datetime) -> Polled:
        return Polled((good,), ("a record is a JSON str; expected an object",))

    before = _metric("trunkline_unknown_total", source=NAME, what="field")
    with capture_logs() as logs:
        async with polling(store, bus, Desk(answer), clock=Clock(), interval=60):  # type: ignore[arg-type]
            await becomes(lambda: bus.ids == [good.id])
            await until_mark(store, NOON)
    assert any(line["event"] == "poll.unreadable" and line["count"] == 1 for line in logs)
    assert _metric("trunkline_unknown_total", source=NAME, what="field") > before


def _metric(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_the_lag_is_the_time_since_the_watermark_also_where_another_process_asks(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    clock = Clock()
    await store.polls.advance(MARK, NOON - timedelta(seconds=90), NOON)
    assert await store.lead(f"poll/{NAME}", "another", NOON, 30)
    desk = having()
    async with polling(store, Recorder(), desk, clock=clock):  # type: ignore[arg-type]
        await becomes(lambda: _metric("trunkline_poll_lag_seconds", source=NAME) == 90)
        assert desk.asked == []


# --- who asks --------------------------------------------------------------------------------------------------------


async def test_of_several_processes_one_asks_and_another_takes_over_when_it_stops(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    clock, one, other = Clock(), having(), having()
    async with polling(store, Recorder(), other, clock=clock, interval=0.05, overlap=600) as _:  # type: ignore[arg-type]
        await becomes(lambda: other.asked != [])
        async with polling(store, Recorder(), one, clock=clock, interval=0.05):  # type: ignore[arg-type]
            for _ in range(5):
                asked = len(other.asked)
                clock.forward(1)
                await becomes(lambda asked=asked: len(other.asked) > asked)  # type: ignore[misc]
            assert one.asked == []
    async with polling(store, Recorder(), one, clock=clock, interval=0.05):  # type: ignore[arg-type]
        clock.forward(1)
        await becomes(lambda: one.asked != [])  # the lease was given back, not waited for: the clock stands still


async def test_a_process_that_stood_still_gives_up_where_another_has_taken_over(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    released, entered = asyncio.Event(), asyncio.Event()

    async def hangs(_: datetime, __: datetime) -> Polled:
        entered.set()
        await released.wait()
        return Polled(())

    desk, clock = Desk(hangs), Clock()
    with capture_logs() as logs:
        async with polling(store, Recorder(), desk, clock=clock):  # type: ignore[arg-type]
            await entered.wait()
            while not await store.lead(f"poll/{NAME}", "another", clock.now, LEASE):
                clock.forward(2 * LEASE)  # it renews as long as it runs
            await becomes(lambda: any(line["event"] == "poll.lead_lost" for line in logs))
            assert await store.polls.watermark(MARK) is None


async def test_a_refusal_is_an_error_in_the_log_and_is_asked_again_all_the_same(
    house: tuple[GapStore, Bus],
) -> None:
    store, _ = house
    clock = Clock()
    wrong = {"left": 2}

    async def answer(_: datetime, __: datetime) -> Polled:
        if wrong["left"]:
            wrong["left"] -= 1
            raise Refused(200, "code 100")
        return Polled(())

    with capture_logs() as logs:
        async with polling(store, Recorder(), Desk(answer), clock=clock, interval=0.01) as poller:  # type: ignore[arg-type]
            await becomes(lambda: bool(poller.troubles()))
            assert poller.troubles() == {NAME: "code 100"}
            await until_mark(store, NOON)
            await becomes(lambda: not poller.troubles())
    said = [(line["event"], line["log_level"]) for line in logs]
    assert ("poll.refused", "error") in said
    assert ("poll.recovered", "info") in said


async def test_a_defect_is_told_with_its_traceback_and_tried_again(house: tuple[GapStore, Bus]) -> None:
    store, _ = house
    broken = {"left": 2}

    async def answer(_: datetime, __: datetime) -> Polled:
        if broken["left"]:
            broken["left"] -= 1
            raise KeyError("callShoe")
        return Polled(())

    with capture_logs() as logs:
        async with polling(store, Recorder(), Desk(answer), clock=Clock(), interval=0.01) as poller:  # type: ignore[arg-type]
            await until_mark(store, NOON)
            await becomes(lambda: not poller.troubles())
    assert [line["log_level"] for line in logs if line["event"] == "poll.defect"] == ["error"] * 2


async def test_a_poller_without_sources_does_nothing_and_stops(tmp_path: Path) -> None:
    plain = configuration(tmp_path)
    async with store_and_bus(plain) as (store, bus):
        poller = TIMED["poll"](plain, store, bus)
        task = asyncio.create_task(poller.run())
        await becomes(lambda: poller.started)
        poller.stop()
        await asyncio.wait_for(task, 10)
    assert orjson.dumps(dict(poller.troubles())) == b"{}"
