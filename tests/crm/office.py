"""A forwarding worker with its bus and its store on a test's own files, and doubles for its destinations."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from hub.bus.sqlite import SqliteBus
from hub.calls import Timing
from hub.config import Settings
from hub.events import Event, to_message
from hub.outgoing import Tempo
from hub.ports.forwarding import WORKER
from hub.simulator.crms.double import Double
from hub.simulator.crms.hubspot import HubSpotDouble
from hub.simulator.crms.mischief import Mischief
from hub.simulator.crms.salesforce import SalesforceDouble
from hub.simulator.crms.webhook import WebhookDouble
from hub.simulator.crms.zoho import ZohoDouble
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.hub import until
from tests.store.evidence import call_id, expected, whole_call
from workers.crm import queue
from workers.crm.service import Forwarder

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REFRESH: Final = {"client_id": "trunkline", "client_secret": "hush", "refresh_token": "for-ever"}
CRMS: Final[Mapping[str, type[Double]]] = {
    "hubspot": HubSpotDouble,
    "salesforce": SalesforceDouble,
    "zoho": ZohoDouble,
}
ID_FIELD: Final = {"hubspot": "trunkline_call_id", "salesforce": "CallObject", "zoho": "Trunkline_Call_Id"}
QUICK: Final = Timing(settle=0.0, gap_after=0.0, longest=3600)


def destination(kind: str, double: Double, **more: Any) -> dict[str, Any]:
    """A table of the configuration for a double that knows ``for-ever``, or for a webhook's receiver."""
    base: dict[str, Any] = {"kind": kind, "url": double.url, "timeout": 0.5, "rate": 2000}
    if kind == "webhook":
        base |= {"url": f"{double.url}/hook", "secrets": [SECRET]}
    else:
        base |= {"token_url": f"{double.url}/oauth/token", "settle": 0.2, **REFRESH}
    return {name: value for name, value in (base | more).items() if value is not None}


def double(kind: str, **more: Any) -> Double:
    """A double of a kind, which gives out tokens for ``for-ever``."""
    if kind == "webhook":
        return WebhookDouble(SECRET, **more)
    return CRMS[kind](refresh_token="for-ever", **more)


@dataclass
class Office:
    """One process's worth of forwarding."""

    directory: Path
    settings: Settings
    bus: SqliteBus
    store: SqlStore
    workers: list[Forwarder] = field(default_factory=list)

    async def call(self, number: int, **content: Any) -> str:
        """A call, kept and sealed; its event is on the bus."""
        now = datetime.now(UTC)
        await self.store.apply(whole_call(number, **content), now)
        await self.relay()
        return call_id(number)

    async def keep(self, *events: Event) -> None:
        """Events that persistence keeps, and that are on the bus too."""
        await self.store.apply(events, datetime.now(UTC))
        await self.bus.publish([to_message(event) for event in events])
        await self.relay()

    async def relay(self) -> None:
        """Seals what is due, and publishes what was derived, as the persistence worker does."""
        now = datetime.now(UTC)
        while await self.store.seal(now, 1000):
            pass
        while claimed := await self.store.claim(now, 500, 60):
            await self.bus.publish([one.message for one in claimed])
            await self.store.published([one.seq for one in claimed], now)

    async def record(self, number: int) -> dict[str, Any]:
        found = await self.store.call(call_id(number))
        assert found is not None
        parsed: dict[str, Any] = orjson.loads(found)
        return parsed

    async def settled(self, count: int, within: float = 40.0) -> None:
        """Waits until so many events are settled and nothing waits."""

        async def rests() -> bool:
            await asyncio.sleep(0.05)  # a question is a transaction that the workers wait for
            load = await self.store.workload(WORKER)
            return load.settled >= count and load.waiting == 0

        await until(rests, within)

    async def standing(self, name: str) -> Any:
        [one] = [one for one in await self.store.forwarding.standings() if one.destination == name]
        return one


@asynccontextmanager
async def office(
    directory: Path,
    destinations: Mapping[str, Mapping[str, Any]],
    *,
    workers: int = 1,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[Office]:
    """Workers at work until the end."""
    egress = {"allow": ["127.0.0.0/8"]}
    settings = Settings.model_validate({"destinations": destinations, "egress": egress, **(tables or {})})
    url = f"sqlite:///{directory}/store.db"
    await upgrade(url)
    bus = SqliteBus(directory / "bus.db", poll=0.5)
    await bus.start()
    await bus.declare([queue(settings)])
    store = SqlStore(url, expected=expected, timing=QUICK)
    await store.start()
    here = Office(directory, settings, bus, store)
    here.workers = [Forwarder(settings, store, bus, tempo=Tempo(probe_every=0.3)) for _ in range(workers)]
    tasks = [asyncio.create_task(worker.run()) for worker in here.workers]
    try:
        yield here
    finally:
        for worker in here.workers:
            worker.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        await store.close()
        await bus.close()


__all__ = ["CRMS", "ID_FIELD", "SECRET", "Mischief", "Office", "destination", "double", "office"]
