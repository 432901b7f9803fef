"""Workers over real stores and buses, and a simulated INFOCU5 that they respool into."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hub.clients import dialers_of
from hub.config import Settings
from hub.events import Event, to_event, to_message
from hub.parts import EveryStore, make_bus, make_store, queues
from hub.ports import Bus, EventFilter
from hub.simulator.infocu5 import Infocu5
from hub.store.upgrade import upgrade
from tests.hub import configuration, until
from tests.polling.house import source
from workers.respool.service import Respooler

DIALER: Final = "focu5"


def rule(**more: Any) -> dict[str, Any]:
    """A rule that respools at once, at any time, as it is configured."""
    return {
        "sources": ["line-900"],
        "dispositions": ["no_answer", "busy"],
        "dialer": DIALER,
        "campaign": "Campaign Name",
        "delays": ["0s", "2h"],
        "unreported": "wait",
        **more,
    }


def settings(directory: Path, url: str, *rules: dict[str, Any], **tables: Any) -> Settings:
    """An embedded hub with rules."""
    sources = {
        DIALER: source(url, poll_seconds=3600, sweep_seconds=3600, country="ES"),
        "line-900": {"vendor": "infocaller", "tokens": ["t0ken-of-line-900"], "lines": {"123456789": "3956"}},
        **tables.pop("sources", {}),
    }
    respool = {"rules": list(rules) or [rule()]} | tables.pop("respool", {})
    plain = {"sources": sources, "respool": respool, "egress": {"allow": ["127.0.0.0/8"]}}
    return configuration(directory, **plain, **tables)


class House:
    """Replicas at work.

    Attributes:
        store: of the first one.
        bus: likewise.
    """

    def __init__(self, store: EveryStore, bus: Bus, workers: Sequence[Respooler], vendor: Infocu5) -> None:
        self.store, self.bus, self.workers, self.vendor = store, bus, workers, vendor

    async def seal(self, *events: Event) -> None:
        """Sealed calls on the bus."""
        await self.bus.publish([to_message(event) for event in events])

    def wake(self) -> None:
        """The clock was moved."""
        for worker in self.workers:
            for sender in worker._senders:
                sender.wake()

    async def respools(self, call: str, when: Callable[[list[Any]], Any] = bool) -> list[Any]:
        """The attempts that a call caused, as soon as it is so."""

        async def look() -> list[Any] | None:
            found = await self.store.respools.of_call(call)
            return found if when(found) else None

        return await until(look)

    async def told(self) -> list[dict[str, Any]]:
        """The data of every respool event that waits to be published, with its verb."""
        found = []
        while claimed := await self.store.claim(datetime.now(UTC), 500, 60):
            events = [to_event(one.message) for one in claimed]
            found += [{"verb": event.verb, **event.data} for event in events if event.noun == "respool"]
            await self.store.published([one.seq for one in claimed], datetime.now(UTC))
        return found


@asynccontextmanager
async def at_work(
    settings: Settings,
    vendor: Infocu5,
    *,
    replicas: int = 1,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[House]:
    """Replicas, each with a store, a bus and a client of its own."""
    await upgrade(settings.store.url.get_secret_value())
    async with AsyncExitStack() as stack:
        stores, buses, workers = [], [], []
        for _ in range(replicas):
            store, bus = make_store(settings), make_bus(settings)
            await store.start()
            stack.push_async_callback(store.close)
            await bus.start()
            stack.push_async_callback(bus.close)
            await bus.declare(queues(settings))
            stores.append(store)
            buses.append(bus)
        for store, bus in zip(stores, buses, strict=True):
            worker = Respooler(settings, store, bus, lambda: dialers_of(settings), clock=clock)
            task = asyncio.create_task(worker.run())
            stack.push_async_callback(_ended, worker, task)
            workers.append(worker)
        yield House(stores[0], buses[0], workers, vendor)


async def _ended(worker: Respooler, task: "asyncio.Task[None]") -> None:
    worker.stop()
    await task


async def counted(store: EveryStore, verb: str) -> int:
    """How many such events were kept."""
    key = f"respool.infocu5.{verb}"
    return (await store.survey(EventFilter(routing_keys=[key]))).counts.get(key, 0)
