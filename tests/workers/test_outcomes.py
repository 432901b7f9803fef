"""What happens to a delivery is decided by how its handling ended, and by nothing else."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.bus.sqlite import SqliteBus
from hub.errors import NotYet, Permanent, RateLimited, StoreUnavailable
from hub.events import Event, Message
from hub.ports import Depth
from tests.contract.buses import depth_becomes
from tests.workers.support import NOTHING, QUEUE, becomes, dead_letter, message, names, working


class Handler:
    """Keeps what it was given; fails as it is told to, by the name of an event."""

    def __init__(self, **errors: Exception | Sequence[Exception]) -> None:
        self.seen: Counter[str] = Counter()
        self.batches: list[list[str]] = []
        self.done = asyncio.Event()
        self._errors = {name: iter((e,) * 99 if isinstance(e, Exception) else e) for name, e in errors.items()}

    async def __call__(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        self.batches.append(names(events))
        self.seen.update(names(events))
        for name in names(events):
            error = next(self._errors.get(name, iter(())), None)
            if error is not None:
                raise error
        self.done.set()
        return {}


async def test_what_is_handled_is_done_and_gone(bus: SqliteBus) -> None:
    handler = Handler()
    await bus.publish([message("one"), message("two")])
    async with working(bus, handler):
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert handler.batches == [["one", "two"]]


GOOD = message("good")


@pytest.mark.parametrize(
    ("stranger", "reason"),
    [
        (Message("call.x.ended", {}, b"{}"), "no header ce-specversion"),
        (Message("call.x.ended", {**GOOD.headers, "ce-time": "noon"}, b"{}"), "a header is not of its form"),
        (Message("call.x.ended", GOOD.headers, b"{"), "the body is not JSON"),
        (Message("call.x.ended", GOOD.headers, b"[]"), "expected an object"),
    ],
    ids=["headers", "time", "json", "list"],
)
async def test_what_is_no_event_is_a_dead_letter_at_once_and_says_why(
    bus: SqliteBus, stranger: Message, reason: str
) -> None:
    handler = Handler()
    await bus.publish([stranger, message("neighbour")])
    async with working(bus, handler):
        dead = await dead_letter(bus)
        await handler.done.wait()
    assert dead.reason.startswith("undecodable: ")
    assert reason in dead.reason
    assert (dead.message, dead.attempt) == (stranger, 1)
    assert handler.seen == {"neighbour": 1}


@pytest.mark.parametrize("received_at", ["yesterday", "2026-11-20T09:15:30", "0001-01-01T00:00:00+23:00", 7])
async def test_a_time_of_receipt_that_is_no_time_is_left_to_the_handler(bus: SqliteBus, received_at: object) -> None:
    handler = Handler()
    await bus.publish([message("odd", received_at=received_at)])
    async with working(bus, handler):
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert handler.seen == {"odd": 1}


async def test_what_comes_too_early_comes_again_and_it_is_no_attempt(bus: SqliteBus) -> None:
    handler = Handler(early=[*[NotYet(0.02, "not ready")] * 15, Permanent("now it is known")])
    await bus.publish([message("early")])
    async with working(bus, handler):
        dead = await dead_letter(bus)
    assert (handler.seen["early"], dead.attempt, dead.reason) == (16, 1, "now it is known")


async def test_what_will_never_work_is_a_dead_letter_at_once_with_its_reason(bus: SqliteBus) -> None:
    handler = Handler(hopeless=Permanent("no such customer"))
    await bus.publish([message("hopeless")])
    async with working(bus, handler):
        dead = await dead_letter(bus)
    assert (handler.seen["hopeless"], dead.attempt, dead.reason) == (1, 1, "no such customer")


async def test_who_is_asked_to_wait_does_not_come_earlier(bus: SqliteBus, impatient: None) -> None:
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    handler = Handler(fast=[RateLimited(until, "429")])
    await bus.publish([message("fast")])
    async with working(bus, handler):
        await handler.done.wait()
        assert datetime.now(UTC) >= until
    assert handler.seen["fast"] == 2


@pytest.mark.parametrize(
    ("error", "attempts", "reason"),
    [
        (ZeroDivisionError("a defect"), 5, "given up after 5 attempts: ZeroDivisionError: a defect"),
        (ConnectionResetError("gone"), 12, "given up after 12 attempts: ConnectionResetError: gone"),
    ],
)
async def test_what_fails_is_tried_again_and_then_dead(
    bus: SqliteBus, impatient: None, error: Exception, attempts: int, reason: str
) -> None:
    handler = Handler(failing=error)
    await bus.publish([message("failing")])
    async with working(bus, handler):
        dead = await dead_letter(bus)
    assert (handler.seen["failing"], dead.attempt, dead.reason) == (attempts, attempts, reason)


async def test_one_that_fails_does_not_fail_its_neighbours(bus: SqliteBus) -> None:
    handler = Handler(bad=Permanent("bad"))
    await bus.publish([message(name) for name in ("one", "bad", "two", "three")])
    async with working(bus, handler):
        dead = await dead_letter(bus)
        await depth_becomes(bus, Depth(ready=0, in_flight=0, dead=1), QUEUE.name)
    assert handler.batches == [["one", "bad", "two", "three"], ["one"], ["bad"], ["two"], ["three"]]
    assert (dead.reason, dead.attempt) == ("bad", 1)


async def test_a_failure_that_the_handler_names_is_that_events_alone(bus: SqliteBus) -> None:
    bad, good = message("bad"), message("good")

    async def handle(events: Sequence[Event]) -> Mapping[str, Exception]:
        return {one.id: Permanent("refused") for one in events if one.data["name"] == "bad"}

    await bus.publish([bad, good, bad])
    async with working(bus, handle):
        await depth_becomes(bus, Depth(ready=0, in_flight=0, dead=2), QUEUE.name)
    assert {dead.message.id for dead in await bus.dead(QUEUE.name)} == {bad.id}


async def test_an_outage_of_the_store_keeps_the_batch_in_hand_and_costs_no_attempt(
    bus: SqliteBus, brief_outages: None
) -> None:
    tries = 0
    enough, back = asyncio.Event(), asyncio.Event()

    async def handle(_: Sequence[Event]) -> Mapping[str, Exception]:
        nonlocal tries
        tries += 1
        if tries == 20:
            enough.set()
        if not back.is_set():
            raise StoreUnavailable("the database is away")
        raise Permanent("and now it is there")

    await bus.publish([message("one"), message("two")])
    async with working(bus, handle):
        await enough.wait()
        depth = await bus.depth(QUEUE.name)
        assert (depth.ready, depth.in_flight, depth.dead) == (0, 2, 0)
        back.set()
        await depth_becomes(bus, Depth(ready=0, in_flight=0, dead=2), QUEUE.name)
    assert {(dead.attempt, dead.reason) for dead in await bus.dead(QUEUE.name)} == {(1, "and now it is there")}


async def test_an_outage_in_the_midst_of_looking_for_the_guilty_fails_nobody(
    bus: SqliteBus, brief_outages: None
) -> None:
    away = iter([StoreUnavailable("away")] * 3)
    handled: list[str] = []

    async def handle(events: Sequence[Event]) -> Mapping[str, Exception]:
        if len(events) > 1:
            raise ZeroDivisionError
        if names(events) == ["two"] and (error := next(away, None)):
            raise error
        handled.extend(names(events))
        return {}

    await bus.publish([message("one"), message("two"), message("three")])
    async with working(bus, handle):
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert handled == ["one", "two", "three"]


async def test_what_was_decided_is_settled_when_the_bus_can_write_again(tmp_path: Path, brief_outages: None) -> None:
    bus = SqliteBus(tmp_path / "bus.db", poll=0.5)
    bus.journal._busy_timeout = 0.01
    await bus.start()
    await bus.declare([QUEUE])
    await bus.publish([message("one")])
    handled: list[str] = []
    with closing(sqlite3.connect(tmp_path / "bus.db", isolation_level=None)) as other:

        async def handle(events: Sequence[Event]) -> Mapping[str, Exception]:
            handled.extend(names(events))
            other.execute("BEGIN IMMEDIATE")  # another process that writes, and takes its time
            return {}

        with capture_logs() as logs:
            async with working(bus, handle) as (_, task):
                await becomes(lambda: "worker.paused" in [log["event"] for log in logs])
                assert not task.done()
                other.execute("ROLLBACK")
                await depth_becomes(bus, NOTHING, QUEUE.name)
    assert handled == ["one"]
    await bus.close()
