"""A vendor that has records, a store and a bus, and who asks: everything real but the vendor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from hub.config import Settings
from hub.events import Event
from hub.parts import make_bus, make_store, queues
from hub.polling.windows import Stream
from hub.ports import Bus
from hub.ports.gaps import GapStore
from hub.ports.polls import Origin, Polled, PollStore
from hub.simulator.infocu5 import Infocu5
from hub.store.upgrade import upgrade
from hub.vendors.infocu5.records import Reader, Record
from tests.hub import configuration
from workers.persistence import Persistence
from workers.poll import Poller, Polling

NAME: Final = "focu5"
NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
READER: Final = Reader(source=NAME)

PLACES: Final[dict[str, Callable[[pytest.FixtureRequest, Path], dict[str, Any]]]] = {
    "embedded": lambda _, __: {},
    "servers": lambda request, _: {
        "bus": {"url": request.getfixturevalue("amqp_url")},
        "store": {"url": request.getfixturevalue("postgres_url")},
    },
}
"""Both buses and both stores."""


def source(url: str, **more: Any) -> dict[str, Any]:
    """An INFOCU5 source that is polled all the time."""
    vendor = Infocu5()
    return {
        "vendor": "infocu5",
        "base_url": url,
        "affiliate_id": vendor.affiliate_id,
        "affiliate_key": vendor.affiliate_key,
        "poll_seconds": 0.1,
        "sweep_seconds": 0.5,
        "rate": 200,
        "timeout": 2,
        **more,
    }


def settings(directory: Path, url: str, tables: dict[str, Any] | None = None, **more: Any) -> Settings:
    return configuration(
        directory,
        **{
            **(tables or {}),
            "sources": {NAME: source(url, **more)},
            "egress": {"allow": ["127.0.0.0/8"]},
        },
    )


def event(number: int, at: datetime = NOON, **fields: str) -> Event:
    """A record of a vendor of the test's own."""
    said = {"callID": str(number), "callDate": at.isoformat(), "callTime": "00:00:10", "callTalkTime": "00:00:05"}
    return READER.event(Record(str(number), {**said, **fields}), "poll", NOON)


@dataclass
class Desk:
    """A vendor of the test's own: what it is asked for, and what it then says."""

    answer: Callable[[datetime, datetime], Awaitable[Polled]]
    name: str = NAME

    def __post_init__(self) -> None:
        self.asked: list[tuple[datetime, datetime, Origin]] = []

    async def between(self, since: datetime, until: datetime, origin: Origin) -> Polled:
        self.asked.append((since, until, origin))
        return await self.answer(since, until)


def having(*events: Event) -> Desk:
    """A vendor with these records, by their start."""

    async def answer(since: datetime, until: datetime) -> Polled:
        found = (one for one in events if since <= datetime.fromisoformat(one.data["started_at"]) < until)
        return Polled(tuple(found))

    return Desk(answer)


@asynccontextmanager
async def store_and_bus(settings: Settings) -> AsyncIterator[tuple[GapStore, Bus]]:
    """Both, with their tables and queues."""
    await upgrade(settings.store.url.get_secret_value())
    store, bus = make_store(settings), make_bus(settings)
    await store.start()
    await bus.start()
    try:
        await bus.declare(queues(settings))
        yield store, bus
    finally:
        await bus.close()
        await store.close()


@asynccontextmanager
async def keeping(store: PollStore, bus: Bus) -> AsyncIterator[None]:
    """Persistence at work."""
    worker = Persistence(store, bus)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


@asynccontextmanager
async def polling(
    store: PollStore, bus: Bus, desk: Desk, *, clock: Callable[[], datetime], window: float = 3600, **streams: float
) -> AsyncIterator[Poller]:
    """A poller at work on a vendor of the test's own."""
    interval, overlap = streams.get("interval", 0.05), streams.get("overlap", 600.0)
    kinds = (
        Stream(f"poll/{NAME}", interval, overlap),
        Stream(f"sweep/{NAME}", streams.get("sweep", 3600.0), streams.get("sweep_overlap", 14400.0)),
    )

    @asynccontextmanager
    async def opened() -> AsyncIterator[list[Polling]]:
        yield [Polling(desk, kinds, window)]

    poller = Poller(store, bus, opened, clock=clock)
    task = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        poller.stop()
        await task


class Clock:
    """Time that a test moves."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def becomes(true: Callable[[], bool], within: float = 20.0) -> None:
    """Waits for what sends no signal."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
