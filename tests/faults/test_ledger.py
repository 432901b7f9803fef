"""The ledger names what was lost, within a minute, and nothing else: real processes, on both buses and both stores."""

import asyncio
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aio_pika
import psutil
import pytest
from aiohttp import ClientSession
from yarl import URL

from hub.errors import NotDurable
from hub.events import Event, to_message
from hub.ledger import QUEUE
from tests.faults.scale import at
from tests.hub import LINE, TOKEN, until
from tests.process.site import Load, Site, site
from tests.servers.rabbitmq import RabbitMQ
from tests.store.evidence import apart
from tests.workers.house import open_bus

WITHIN: Final = 60.0
FAULTS: Final = ("SIGKILL", "poison", "SIGTERM", "SIGKILL", "poison", "broker")
MINUTES: Final = at(quick=1, full=60)


@dataclass
class Place:
    """A hub on one kind of bus and store; its ingress and its workers are processes of their own."""

    site: Site
    bus: str
    worker: psutil.Popen | None = None

    async def work(self) -> None:
        self.worker = self.site.start("worker", "persistence")
        await self.site.ready(self.site.spare[0])

    async def rest(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self.worker is not None
        self.worker.send_signal(how)
        await asyncio.to_thread(self.worker.wait, 30)

    async def books(self) -> dict[str, Any]:
        status, ledger = await self.site.get("/v1/ledger")
        assert status in (200, 503), ledger
        if status == 503:
            return {}
        books: dict[str, Any] = ledger["workers"]["persistence"]
        lost = len(books["unaccounted"])
        assert books["accepted"] == books["settled"] + books["dead"] + books["in_flight"] + lost
        return books

    async def quiet(self, within: float = 30) -> dict[str, Any]:
        """The ledger, once nothing is in flight."""

        async def look() -> dict[str, Any] | None:
            books = await self.books()
            return books if books and books["in_flight"] == 0 else None

        return await until(look, within=within)

    async def names(self, lost: set[str]) -> None:
        """Waits until exactly these are unaccounted; at no look is any other."""

        async def look() -> bool:
            found = set((await self.books()).get("unaccounted", ()))
            assert found <= lost, f"{found - lost} are not lost"
            return found == lost

        await until(look, within=WITHIN)

    async def send(self, *sequences: str) -> list[str]:
        """Starts calls; returns the events' ids."""
        ids = []
        async with ClientSession() as session:
            for sequence in sequences:
                query = f"num={LINE}&id={sequence}&caller=911888920"
                url = URL(f"{self.site.url}/callbacks/line-900/{TOKEN}/INICIO?{query}", encoded=True)
                async with session.get(url) as answer:
                    assert answer.status == 200, await answer.text()
                    ids.append((await answer.json())["event_id"])
        return ids

    async def take(self, event_id: str | None = None) -> str:
        """Takes one ready message out by hand; returns its event's id."""
        return await (self._get(event_id) if self.bus.startswith("amqp") else asyncio.to_thread(self._delete, event_id))

    async def _get(self, event_id: str | None) -> str:
        """As a second consumer: one that asks for single messages finds none where a consumer waits for them."""
        async with await aio_pika.connect(self.bus) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=50)
            queue = await channel.get_queue(QUEUE)
            async with asyncio.timeout(30), queue.iterator() as messages:
                async for message in messages:
                    if event_id in (None, message.message_id):
                        await message.ack()
                        await channel.close()  # what else it got goes back
                        return str(message.message_id)
        raise AssertionError("nothing came")

    def _delete(self, event_id: str | None) -> str:
        named = "" if event_id is None else f"""AND json_extract(CAST(headers AS TEXT), '$."ce-id"') = '{event_id}'"""
        deadline = monotonic() + 30
        with closing(sqlite3.connect(self.site.directory / "bus.db", isolation_level=None, timeout=10)) as file:
            while monotonic() < deadline:
                file.execute("BEGIN IMMEDIATE")
                row = file.execute(
                    f"""SELECT message, queue, json_extract(CAST(headers AS TEXT), '$."ce-id"') FROM deliveries
                    JOIN messages ON id = message WHERE state = 'ready' {named}"""
                ).fetchone()
                if row is not None:
                    file.execute("DELETE FROM deliveries WHERE message = ? AND queue = ?", row[:2])
                file.execute("COMMIT")
                if row is not None:
                    return str(row[2])
        raise AssertionError("nothing was ready")


@pytest.fixture(params=["embedded", "servers"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    urls = ("amqp_url", "postgres_url") if request.param == "servers" else ()
    async with placed(tmp_path, *(str(request.getfixturevalue(name)) for name in urls)) as made:
        yield made


@asynccontextmanager
async def placed(directory: Path, bus: str | None = None, store: str | None = None) -> AsyncIterator[Place]:
    async with site(directory) as made:
        tables: dict[str, dict[str, Any]] = {"worker": {"port": made.spare[0]}, "outbox": {"share": 0.02}}
        if bus is not None and store is not None:
            tables |= {"bus": {"url": bus}, "store": {"url": store}}
        made.configure(**tables)
        made.start("ingress")
        await made.ready()
        yield Place(made, bus or f"{directory}/bus.db")


@pytest.mark.timeout(300)
async def test_with_the_worker_stopped_the_one_that_is_gone_is_named_and_nothing_else(place: Place) -> None:
    await place.work()
    await place.send("1", "2")
    assert (await place.quiet())["unaccounted"] == []
    await place.rest()
    ids = await place.send("3", "4", "5", "6", "7")
    lost = await place.take(ids[2])
    await place.names({lost})
    await place.work()
    books = await place.quiet()
    assert (books["unaccounted"], books["settled"]) == ([lost], 6)
    assert sum(place.site.said(number, "ledger.unaccounted") for number in range(len(place.site.started))) == 1


@pytest.mark.timeout(300)
async def test_of_an_empty_queue_the_only_one_that_was_there_is_named_and_taken_back_when_it_comes(
    place: Place,
) -> None:
    await place.work()
    await place.rest(signal.SIGKILL)
    [lost] = await place.send("1")
    assert await place.take() == lost
    await place.names({lost})
    await place.work()
    assert (await place.quiet())["unaccounted"] == [lost]
    assert await place.send("1") == [lost]  # from elsewhere: it is the same event
    books = await until(lambda: _settled(place, 1))
    assert (books["unaccounted"], books["accepted"]) == ([], 1)


@pytest.mark.timeout(300)
async def test_under_load_the_one_that_somebody_took_is_named_and_nothing_else(place: Place) -> None:
    await place.work()
    async with Load(place.site.url, seed=3, calls=3000, rate=100) as load:
        await load.accepts(300)
        lost = await place.take()
        began = len(load.accepted)
        await place.names({lost})
        assert load.report is None, "the load ended before the loss was named"
        assert len(load.accepted) > began
    assert (await place.quiet(60))["unaccounted"] == [lost]


@pytest.mark.timeout(300)
async def test_a_dead_letter_is_not_lost_and_a_discarded_one_neither(place: Place) -> None:
    await place.work()
    bus = open_bus(place.bus)
    await bus.start()
    try:
        ids = await place.send("1", "2")
        poisoned = poison(7)
        await publish(bus, poisoned)
        books = await until(lambda: _dead(place, 1))
        assert books["unaccounted"] == []
        [lost] = await _lost_one(place)
        discarded = await discard(place, poisoned.id)
        assert discarded["done"] == 1
        await place.names({lost})
        assert (await place.books())["dead"] == 0
        assert lost not in ids
    finally:
        await bus.close()


async def _lost_one(place: Place) -> list[str]:
    """Loses one for certain, so that there is a signal to wait for."""
    await place.rest()
    ids = await place.send("lost")
    assert await place.take() == ids[0]
    await place.names(set(ids))
    await place.work()
    return ids


async def _settled(place: Place, count: int) -> dict[str, Any] | None:
    books = await place.books()
    return books if books and books["settled"] == count else None


async def _dead(place: Place, count: int) -> dict[str, Any] | None:
    books = await place.books()
    return books if books and books["dead"] == count else None


async def discard(place: Place, event_id: str) -> Any:
    headers = {"Authorization": "Bearer administrator"}
    body = {"worker": "persistence", "ids": [event_id]}
    async with (
        ClientSession(headers=headers) as session,
        session.post(f"{place.site.url}/v1/dead-letters/discard", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


def poison(number: int) -> Event:
    """An event that persistence can never keep."""
    event = apart(number)
    object.__setattr__(event, "source", "line\0900")
    return event


async def publish(bus: Any, event: Event) -> None:
    async def taken() -> bool:
        try:
            await bus.publish([to_message(event)])
        except NotDurable:
            return False
        return True

    await until(taken)


@pytest.mark.timeout(MINUTES * 60 + 300)
async def test_no_fault_of_a_process_a_broker_or_an_event_makes_the_ledger_cry_wolf(
    tmp_path: Path, rabbitmq: RabbitMQ, amqp_url: str, postgres_url: str
) -> None:
    dice = random.Random(11)  # noqa: S311
    done: Counter[str] = Counter()
    polls = 0
    ends = monotonic() + MINUTES * 60
    async with placed(tmp_path, amqp_url, postgres_url) as place:
        bus = open_bus(amqp_url)
        await bus.start()
        crew = [worker(place, number) for number in range(2)]
        async with Load(place.site.url, seed=5, calls=MINUTES * 4000, rate=60) as load:
            await load.accepts(100)
            while monotonic() < ends or done.total() < len(FAULTS):
                fault = FAULTS[done.total() % len(FAULTS)]
                if fault == "broker":
                    await asyncio.to_thread(rabbitmq.kill)
                    await asyncio.to_thread(rabbitmq.start)
                elif fault == "poison":
                    await publish(bus, poison(done["poison"]))
                else:
                    victim = dice.randrange(2)
                    crew[victim].send_signal(signal.Signals[fault])
                    await asyncio.to_thread(crew[victim].wait, 40)
                    crew[victim] = worker(place, victim)
                done[fault] += 1
                for _ in range(dice.randint(2, 8)):
                    books = await place.books()
                    assert books.get("unaccounted", []) == []
                    polls += bool(books)
                    await asyncio.sleep(1)  # a look each second
        await bus.close()
        books = await place.quiet(120)
        missing = load.accepted - {item["id"] for item in await place.site.pages("/v1/events")}
    assert (books["unaccounted"], missing) == ([], set())
    assert polls > MINUTES * 5
    assert done["poison"] == books["dead"]


def worker(place: Place, number: int) -> psutil.Popen:
    return place.site.start("worker", "persistence", TRUNKLINE_WORKER__PORT=str(place.site.spare[number]))
