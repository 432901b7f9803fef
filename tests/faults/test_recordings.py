"""Recordings from a vendor that misbehaves in every way: the right verdict for each, none lost, none overwritten."""

import hashlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import psutil
import pytest
from aiohttp.test_utils import TestServer

from hub import retry
from hub.bus.sqlite import SqliteBus
from hub.events import to_message
from hub.ports.recordings import Recording
from hub.simulator.audio import MANNERS, AudioServer
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.contract.stores import drain
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import exit_status, site
from tests.servers.guard import kill_tree
from tests.servers.moto import OPTIONS, make_bucket, s3
from tests.store.evidence import TIMING, expected
from tests.workers.recording_house import available, house, named
from workers.recordings import QUEUE, fetching, service, troubles

COUNT: Final = at(quick=56, full=1000)
FAILS: Final = {
    "page": "auth",
    "json": "not_audio",
    "gone": "gone",
    "missing": "missing",
    "huge": "too_large",
    "endless": "too_large",
    "to-a-private-address": "forbidden",
    "to-another-scheme": "forbidden",
    "to-a-name-inside": "forbidden",
    "in-circles": "refused",
}
"""The verdict on each misbehaviour that does not pass; every other recording is stored."""


NEVER: Final = ("auth", "not_audio", "missing")
"""What is waited for until the vendor has deleted it."""


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troubles, "SCHEDULE", (0.1, 0.2, 0.3, 1.5))
    monkeypatch.setattr(troubles, "_CUSTODY", (0.1, 0.2))
    monkeypatch.setattr(retry, "_FIRST", 0.2)
    monkeypatch.setattr(retry, "_FACTOR", 1.2)
    monkeypatch.setattr(fetching, "_SETTLE", 0.05)
    monkeypatch.setattr(service, "_BURIAL", 0.1)


@pytest.fixture(params=["disk", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    if request.param == "disk":
        yield {"url": f"file://{tmp_path}/recordings"}
        return
    with s3(tmp_path) as endpoint:
        bucket = f"b{token_hex(8)}"
        make_bucket(endpoint, bucket)
        yield {
            "url": f"s3://{bucket}/recordings",
            "options": {**OPTIONS, "endpoint": endpoint},
            "incoming": str(tmp_path / "recordings" / ".incoming"),
        }


@pytest.mark.timeout(at(quick=180, full=1800))
@pytest.mark.usefixtures("brisk")
async def test_every_recording_gets_its_verdict_and_every_byte_is_the_vendors(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    began = monotonic()
    vendor = AudioServer(seconds=0.5)
    vendor.elsewhere = "http://[::ffff:10.1.2.3]:8080"
    manners = [None, *MANNERS]
    names = [f"leg-{number}" for number in range(COUNT)]
    for number, name in enumerate(names):
        manner = manners[number % len(manners)]
        if manner is not None:
            vendor.manners[name] = manner
    limits = {**place, "max_bytes": 1 << 20, "concurrency": 8}
    async with house(tmp_path, vendor=vendor, recordings=limits, desk={"recording_kept": 1.0}) as here:
        await here.publish("somebody-elses")
        await here.settled("somebody-elses")
        soon = datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=at(quick=64, full=90))  # of the last moment
        ending = [name for name in names if FAILS.get(vendor.manners.get(name, "")) in NEVER]
        # Announced twice, one right after the other: once its dead letter is there, a repetition is a requeue.
        await here.publish(*(name for name in names if name not in ending for _ in range(2)))
        await here.publish(*(name for name in ending for _ in range(2)), at=soon)
        found = await here.settled(*names, within=at(quick=120, full=1500))
        verdicts = {name: one.reason if one.state == "failed" else "stored" for name, one in found.items()}
        told = await here.told()

        async def buried() -> bool:
            dead = (await here.bus.depth(QUEUE.name)).dead
            waiting = (await here.store.workload("recordings")).waiting  # told after the dead letter is there
            return (dead, waiting) == (sum(word != "stored" for word in verdicts.values()), 0)

        await until(buried, within=at(quick=40, full=300))
        workload = await here.store.workload("recordings")
        wrong = {
            name: word for name, word in verdicts.items() if word != FAILS.get(vendor.manners.get(name, ""), "stored")
        }
        differing = [name for name, one in found.items() if one.state == "stored" and not await _same(here, name, one)]
        assert (wrong, differing) == ({}, [])
        stored = sum(word == "stored" for word in verdicts.values())
        assert told == Counter(
            {
                "recording.focalscope.stored": stored + 1,
                "recording.focalscope.failed": COUNT - stored,
                "custody.focalscope.endangered": told["custody.focalscope.endangered"],
            }
        )
        assert (workload.settled, workload.waiting) == (stored + 1, 0)
        assert _files(tmp_path / "recordings" / ".incoming") == []
        sys.stdout.write(f"\nRECORDINGS {COUNT} on {place['url'][:4]}: {monotonic() - began:.1f} s, {dict(told)}\n")


async def _same(here: Any, name: str, recording: Recording) -> bool:
    served = "somebody-elses" if here.vendor.manners.get(name) == "wrong-call" else name
    truth = here.vendor.truth(served)
    body = await here.audio(recording)
    assert recording.kept is not None
    return bool(body == truth and recording.kept.sha256 == hashlib.sha256(truth).hexdigest())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


# --- killed ----------------------------------------------------------------------------------------------------------

POINTS: Final = (
    *("rec.after_take", "rec.after_claim", "rec.after_download", "rec.before_publish", "rec.after_rename"),
    *("rec.before_commit", "rec.after_commit"),
)
_IMPATIENT: Final = """
from hub import failpoints
from workers.recordings import fetching, service, troubles
fetching.LEASE = service.LEASE = 2.0
fetching._BEAT = 0.5
troubles.SCHEDULE = (0.2, 0.4, 0.6)
from hub.cli import main
main()
"""
"""A worker whose claims are over soon, so that those of a killed one are."""


@pytest.mark.timeout(at(quick=170, full=1800))
async def test_killed_at_every_point_none_is_lost_and_none_is_told_twice(tmp_path: Path) -> None:
    count, kills = at(quick=14, full=300), at(quick=7, full=100)
    vendor = AudioServer(seconds=0.5, ready_after=1)
    server = TestServer(vendor.app())
    await server.start_server()
    async with site(tmp_path) as here:
        tables: dict[str, dict[str, Any]] = {
            "recordings": {"url": f"file://{tmp_path}/recordings", "min_free_bytes": 0},
            "egress": {"allow": ["127.0.0.0/8"]},
            "sources.desk": {"recording_url": f"http://127.0.0.1:{server.port}/recordings/{{call_uuid}}.wav"},
        }
        here.configure(**tables)
        url = f"sqlite:///{tmp_path}/store.db"
        await upgrade(url)
        bus = SqliteBus(tmp_path / "bus.db", poll=0.2)
        await bus.start()
        await bus.declare([QUEUE])
        store = SqlStore(url, expected=expected, timing=TIMING)
        await store.start()
        names = [f"leg-{number}" for number in range(count)]
        try:
            killed, some = 0, count // kills
            for number in range(kills):
                # A few for each: a worker that finds nothing left to do meets no failpoint.
                await bus.publish([to_message(available(name)) for name in names[number * some :][:some]])
                point = POINTS[number % len(POINTS)]
                killed += await _killed(here, f"{point}=kill")
            whole = here.run([sys.executable, "-c", _IMPATIENT, "worker", "recordings"], TRUNKLINE_TEST="1")

            async def stored() -> bool:
                found = [await store.recordings.recording(named(name)) for name in names]
                return all(one is not None and one.state == "stored" for one in found)

            async def ready() -> bool:
                return here.said(len(here.started) - 1, "process.ready") > 0

            await until(stored, within=at(quick=60, full=600))
            await until(ready)  # the killed ones may have left it nothing to do
            whole.terminate()
            assert await exit_status(whole) == 0
            told = Counter(event.id for event in await drain(store, datetime.now(UTC)))
            assert killed == kills, f"{killed} of {kills} kills happened"
            assert len(told) == count
            assert set(told.values()) == {1}
            for name in names:
                one = await store.recordings.recording(named(name))
                assert one is not None
                assert one.kept is not None
                assert (tmp_path / "recordings" / one.kept.key).read_bytes() == vendor.truth(name)
            assert _files(tmp_path / "recordings" / ".incoming") == []
        finally:
            await store.close()
            await bus.close()
            await server.close()


async def _killed(here: Any, failpoints: str) -> int:
    """Runs a worker until it kills itself; whether it did."""
    process: psutil.Popen = here.run(
        [sys.executable, "-c", _IMPATIENT, "worker", "recordings"], TRUNKLINE_TEST="1", TRUNKLINE_FAILPOINTS=failpoints
    )
    try:
        return int(await exit_status(process, 30) == -9)
    except (TimeoutError, psutil.TimeoutExpired):
        kill_tree(process)
        return 0
