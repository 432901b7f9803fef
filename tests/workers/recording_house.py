"""A recordings worker with its bus, its store, its custody, and a vendor that serves audio."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp.test_utils import TestServer

from hub.bus.sqlite import SqliteBus
from hub.calls.recorded import recording_id
from hub.config import Settings
from hub.custody import Custody
from hub.events import Event, identity, to_message
from hub.outgoing import Outgoing
from hub.outgoing.tempo import Tempo
from hub.parts import make_custody
from hub.ports.recordings import Recording
from hub.simulator.audio import AudioServer
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.contract.stores import drain
from tests.hub import configuration, until
from tests.store.evidence import TIMING, expected
from workers.recordings import QUEUE
from workers.recordings.service import Recordings

BRISK: Final = Tempo(connect=1.0, read=2.0, probe_every=0.1, calm=0.5, steps=5, slow_window=0.5)
URL_OF: Final = "/recordings/{call_uuid}.wav"


def available(name: str, *, again: bool = False, at: datetime | None = None, call: str | None = None) -> Event:
    """A leg's recording is there, says the store."""
    call_id = call or identity("focalscope", "desk", "", name)
    recorded = recording_id(call_id, name)
    data: dict[str, Any] = {
        "recording_id": recorded,
        "call_id": call_id,
        "vendor": "focalscope",
        "source": "desk",
        "leg": {"id": name, "role": "agent"},
        "vendor_ids": {"request_id": "513", "call_id": "1000000087849", "call_uuid": name},
    }
    when = at or datetime.now(UTC)
    return Event(
        identity(recorded, "available"),
        "recording",
        "focalscope",
        "available",
        "desk",
        when,
        data,
        call_id,
        again=again,
    )


def named(name: str) -> str:
    """The recording's id."""
    return recording_id(identity("focalscope", "desk", "", name), name)


@dataclass
class House:
    """One process's worth of it.

    Attributes:
        vendor: serves the audio.
        told: derived events by their type, once ``settled`` has seen them.
    """

    settings: Settings
    bus: SqliteBus
    store: SqlStore
    custody: Custody
    vendor: AudioServer
    worker: Recordings

    async def publish(self, *names: str, **more: Any) -> None:
        await self.bus.publish([to_message(available(name, **more)) for name in names])

    async def of(self, name: str) -> Recording | None:
        return await self.store.recordings.recording(named(name))

    async def settled(self, *names: str, within: float = 40.0) -> dict[str, Recording]:
        """Waits until each is stored or has failed."""

        done: dict[str, Recording] = {}

        async def look() -> dict[str, Recording] | None:
            for name in names[len(done) :]:  # a thousand of them are not asked for each time
                one = await self.of(name)
                if one is None or one.state not in ("stored", "failed"):
                    return None
                done[name] = one
            return done

        return await until(look, within=within)

    async def audio(self, recording: Recording) -> bytes:
        assert recording.kept is not None
        return b"".join([piece async for piece in self.custody.read(recording.kept.key, 0, 1 << 40)])

    async def told(self) -> Counter[str]:
        """What was derived, by verb."""
        return Counter(event.routing_key for event in await drain(self.store, datetime.now(UTC)))

    def left_over(self) -> list[Path]:
        """Files that downloads left behind."""
        folder = Path(self.settings.recordings.url.removeprefix("file://")) / ".incoming"
        return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@asynccontextmanager
async def house(
    directory: Path,
    *,
    at_work: bool = True,
    vendor: AudioServer | None = None,
    desk: Mapping[str, Any] | None = None,
    recordings: Mapping[str, Any] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    outgoing: Callable[[Settings], Outgoing] | None = None,
) -> AsyncIterator[House]:
    vendor = vendor or AudioServer()
    server = TestServer(vendor.app())
    await server.start_server()
    place = {"url": f"file://{directory}/recordings", "min_free_bytes": 0, "rate": 1000, **(recordings or {})}
    source = {"vendor": "focalscope", "tokens": ["t"], "recording_url": f"http://127.0.0.1:{server.port}{URL_OF}"}
    settings = configuration(
        directory,
        recordings=place,
        sources={"desk": {**source, **(desk or {})}},
        egress={"allow": ["127.0.0.0/8"]},
    )
    url = settings.store.url.get_secret_value()
    await upgrade(url)
    bus = SqliteBus(directory / "bus.db", poll=0.2)
    await bus.start()
    await bus.declare([QUEUE])
    store = SqlStore(url, expected=expected, timing=TIMING)
    await store.start()
    custody = make_custody(settings)
    made = Outgoing(settings.egress.allow, tempo=BRISK) if outgoing is None else outgoing(settings)
    worker = Recordings(settings, store, bus, custody, outgoing=made, clock=clock)
    running = asyncio.create_task(worker.run()) if at_work else None
    try:
        yield House(settings, bus, store, custody, vendor, worker)
    finally:
        if running is not None:
            worker.stop()
            await asyncio.wait_for(running, 30)
        await store.close()
        await bus.close()
        await server.close()


def manifest_of(house: House, recording: Recording) -> dict[str, Any]:
    """What stands beside the audio on a disk."""
    assert recording.kept is not None
    root = Path(house.settings.recordings.url.removeprefix("file://"))
    stem = (root / recording.kept.key).with_suffix("")
    parsed: dict[str, Any] = orjson.loads(stem.with_name(f"{stem.name}.{recording.recording_id}.json").read_bytes())
    return parsed


SOON: Final = timedelta(seconds=1)
