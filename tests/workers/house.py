"""A persistence worker with its bus and its store, on files or servers of the test's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.bus.rabbitmq import RabbitBus
from hub.bus.sqlite import SqliteBus
from hub.calls import Timing
from hub.events import Event, to_event, to_message
from hub.ports import Ack, Bus, QueueSpec
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.hub import until
from tests.store.evidence import expected
from workers.persistence import QUEUE, Persistence

QUICK: Final = Timing(settle=0.05, gap_after=0.3, longest=3600)
DERIVED: Final = QueueSpec("somebody.elses", ("call.*.sealed", "call.*.resealed"))


def open_bus(url: str) -> Bus:
    return RabbitBus([url]) if url.startswith("amqp") else SqliteBus(Path(url), poll=0.5)


@dataclass
class House:
    """One process's worth of persistence.

    Attributes:
        worker: as the process would run it.
    """

    bus: Bus
    store: SqlStore
    worker: Persistence

    async def publish(self, *events: Event) -> None:
        await self.bus.publish([to_message(event) for event in events])

    async def counts(self, **wanted: int) -> None:
        """Waits until the store's totals are these."""

        async def same() -> bool:
            counts = await self.store.counts()
            return all(counts[name] == number for name, number in wanted.items())

        await until(same)

    async def at_rest(self) -> None:
        """Waits until everything published is handled, everything sealed, everything derived told."""

        async def rests() -> bool:
            depth = await self.bus.depth(QUEUE.name)
            counts = await self.store.counts()
            return not (depth.ready or depth.in_flight or counts["outbox"]) and counts["calls"] == counts["sealed"]

        await until(rests)


@asynccontextmanager
async def at_hand(
    bus_url: str, store_url: str, *, timing: Timing = QUICK, batch: int = 500, kind: type[SqlStore] = SqlStore
) -> AsyncIterator[House]:
    """A house whose worker does not work."""
    await upgrade(store_url)
    bus = open_bus(bus_url)
    await bus.start()
    await bus.declare([QUEUE, DERIVED])
    store = kind(store_url, expected=expected, timing=timing)
    await store.start()
    try:
        yield House(bus, store, Persistence(store, bus, batch=batch))
    finally:
        await store.close()
        await bus.close()


@asynccontextmanager
async def at_work(
    bus_url: str, store_url: str, *, timing: Timing = QUICK, batch: int = 500, kind: type[SqlStore] = SqlStore
) -> AsyncIterator[House]:
    """A house whose worker works until the end."""
    async with at_hand(bus_url, store_url, timing=timing, batch=batch, kind=kind) as house:
        task = asyncio.create_task(house.worker.run())
        try:
            yield house
        finally:
            house.worker.stop()
            await asyncio.wait_for(task, 20)


async def derived(bus: Bus, count: int) -> list[Event]:
    """The next so many events that somebody else's queue has, in their order."""
    subscription = bus.subscribe(DERIVED.name, 500)
    got: list[Event] = []
    try:
        async with asyncio.timeout(30):
            while len(got) < count:
                deliveries = await subscription.fetch(count - len(got))
                got += [to_event(delivery.message) for delivery in deliveries]
                await subscription.settle([(delivery, Ack()) for delivery in deliveries])
    finally:
        await subscription.close()
    return got


def by_verb(events: Sequence[Event]) -> Counter[str]:
    return Counter(event.verb for event in events)
