"""An effect that must not be repeated is had once, whatever the bus delivers, unless an operator wants it again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.bus.sqlite import SqliteBus
from hub.errors import StoreUnavailable
from hub.events import AGAIN, ONCE, REPLAY, Event, Message
from hub.ports import Depth
from hub.store.sql import SqlStore
from tests.contract.buses import depth_becomes
from tests.contract.stores import Place
from tests.workers.support import NOTHING, QUEUE, WITHIN, message, names
from workers.runner import Runner, Worker

NAME = "stranger"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with Place("sqlite", f"sqlite:///{tmp_path}/store.db").store() as store:
        yield store


class Effect:
    """An effect at a stranger's: counts how often each event had it, and notes it as such a worker does."""

    def __init__(self, store: SqlStore) -> None:
        self.had: Counter[str] = Counter()
        self.again: Counter[str] = Counter()
        self._store = store

    async def __call__(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        assert events, "nobody is called for nothing"
        self.had.update(names(events))
        self.again.update(event.data["name"] for event in events if event.again)
        await self._store.note(NAME, [event.id for event in events], datetime.now(UTC))
        return {}


@asynccontextmanager
async def irreversible(bus: SqliteBus, store: SqlStore, effect: Effect) -> AsyncIterator[None]:
    """That worker at work."""
    runner = Runner(Worker(NAME, QUEUE, effect, batch=10, inbox=store), bus)
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        runner.stop()
        await asyncio.wait_for(task, WITHIN)


def replayed(one: Message, how: str) -> Message:
    return replace(one, headers={**one.headers, REPLAY: how})


async def test_what_was_done_is_skipped_and_its_neighbours_are_not(bus: SqliteBus, store: SqlStore) -> None:
    effect, one, two = Effect(store), message("one"), message("two")
    async with irreversible(bus, store, effect):
        await bus.publish([one])
        await depth_becomes(bus, NOTHING, QUEUE.name)
        await bus.send(QUEUE.name, [replayed(one, ONCE), replayed(two, ONCE)])
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert effect.had == {"one": 1, "two": 1}


async def test_what_is_wanted_again_is_done_again_and_its_handler_is_told(bus: SqliteBus, store: SqlStore) -> None:
    effect, one = Effect(store), message("one")
    async with irreversible(bus, store, effect):
        await bus.publish([one])
        await depth_becomes(bus, NOTHING, QUEUE.name)
        await bus.send(QUEUE.name, [replayed(one, AGAIN)])
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert (effect.had, effect.again) == ({"one": 2}, {"one": 1})


async def test_what_the_bus_delivers_twice_is_done_once(bus: SqliteBus, store: SqlStore) -> None:
    effect, one = Effect(store), message("one")
    async with irreversible(bus, store, effect):
        for _ in range(3):
            await bus.publish([one])
            await depth_becomes(bus, NOTHING, QUEUE.name)
    assert effect.had == {"one": 1}


async def test_while_the_inbox_cannot_be_read_nothing_is_done_and_nothing_is_an_attempt(
    bus: SqliteBus, store: SqlStore, brief_outages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect, one = Effect(store), message("one")
    back, asked, done = asyncio.Event(), asyncio.Event(), store.done

    async def away(worker: str, ids: Sequence[str]) -> frozenset[str]:
        asked.set()
        if not back.is_set():
            raise StoreUnavailable("the database is away")
        return await done(worker, ids)

    monkeypatch.setattr(store, "done", away)
    await store.note(NAME, [one.id], datetime.now(UTC))
    async with irreversible(bus, store, effect):
        await bus.publish([one, message("two")])
        await asked.wait()
        assert await bus.depth(QUEUE.name) == Depth(ready=0, in_flight=2, dead=0)
        back.set()
        await depth_becomes(bus, NOTHING, QUEUE.name)
    assert effect.had == {"two": 1}
