"""G4, I01, I28: the broker is away for long, everything is away at the start, and everybody calls at once."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

import orjson
import psutil
import pytest

from hub.simulator.driver import percentiles
from tests.faults.closing import CONNECTIONS, REST, account
from tests.faults.keeper import KILLED
from tests.faults.proxy import Proxy
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site, site
from tests.servers.rabbitmq import RabbitMQ

SECONDS: Final = at(quick=20.0, full=600.0)
RATE: Final = at(quick=100.0, full=500.0)
KILLS: Final = 3
# An answer of the outage comes 50 ms after the hedge at the latest; beside everything else on one machine, in 2 s.
LATEST: Final = at(quick=2.0, full=0.25 + 0.05)
CROWD: Final = 1_000
_LONGEST: Final = at(quick=300, full=3_600)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(_LONGEST)
async def test_a_long_outage_of_the_broker_and_a_killed_ingress_meanwhile_cost_nothing_that_was_accepted(
    here: Site, amqp_url: str, postgres_url: str, rabbitmq: RabbitMQ
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 30})
    parent = here.start("ingress", "--processes", "2")
    here.start("worker", "persistence")
    await here.ready()
    await until(lambda: _serve(here, parent, 2), within=60)
    killed: list[psutil.Process] = []
    dice = Random(5)  # noqa: S311  no secret
    async with Load(here.url, seed=108, calls=10**6, rate=RATE) as load:
        await load.accepts(200)
        await asyncio.to_thread(rabbitmq.stop)
        down, before = monotonic(), len(load.results)
        for _ in range(KILLS):
            await _until(down + (len(killed) + 1) * SECONDS / (KILLS + 1))
            await until(lambda: _serve(here, parent, 2 + len(killed)), within=60)
            killed.append(dice.choice(parent.children()))
            killed[-1].kill()
        await _until(down + SECONDS)
        meanwhile = load.results[before:]
        kept, up = _rows(here), monotonic()
        filled = kept / (up - down)
        assert not rabbitmq.running
        await asyncio.to_thread(rabbitmq.start)
        port_open, kept_then = monotonic(), _rows(here)
        await until(lambda: _first_row_gone(here, kept_then), within=60)
        recovery, began = monotonic() - port_open, monotonic()
        most = _rows(here)
        newest = _newest(here)
        await until(lambda: _drained_to(here, newest), within=_LONGEST)
        drained = most / (monotonic() - began)
        await load.finish()
    dead = sum(f"process {child.pid} ended with {KILLED}" in here.log(0).read_text() for child in killed)
    made = await account(
        f"G4 broker down {up - down:.0f} s: filled {filled:.0f}/s, drained {drained:.0f}/s",
        here,
        load,
        planned=KILLS,
        injected=dead,
        recoveries=[recovery],
        oracle=load.report is not None and load.report.sent < 50_000,
        within=2 * REST,
    )
    assert here.said(0, "bus.disconnected") >= 2
    assert kept > 0.8 * sum(result.status == 200 for result in meanwhile)  # the outbox had them, and nobody else
    assert set(made.statuses) == {"200"}
    assert (made.refused, made.unanswered) == (0, 0)
    assert made.resets <= CONNECTIONS * KILLS
    assert percentiles(result.seconds for result in meanwhile if result.status)["p99"] < LATEST
    assert drained > filled


@pytest.mark.timeout(120)
@pytest.mark.parametrize("down", ["database", "broker and database"])
async def test_started_without_its_servers_the_hub_accepts_at_once_and_hands_over_when_they_come(
    here: Site, amqp_url: str, postgres_url: str, down: str
) -> None:
    async with Proxy(amqp_url) as broker, Proxy(postgres_url) as database:
        lines = [line for line, name in ((broker, "broker"), (database, "database")) if name in down]
        for line in lines:
            await line.cut()
        here.configure(bus={"url": broker.url}, store={"url": database.url}, calls={"gap_after": 20})
        here.start("ingress")
        here.start("worker", "persistence")
        await here.ready()
        assert _seconds_to_serve(here) < 2
        async with Load(here.url, seed=111, calls=25) as load:
            await load.ends()
        assert set(load.statuses) == {200}
        assert (await here.get("/v1/calls"))[0] == 503
        assert all(line.refused for line in lines)
        if broker.refused:
            await until(lambda: _is(_rows(here) == len(load.accepted)), within=10)  # all of it, and nowhere else
        mended = monotonic()
        for line in lines:
            await line.mend()
        await until(lambda: _is(here.said(1, "bus.consuming")), within=60)
        recovery = monotonic() - mended
        made = await account(
            f"I01 started without {down}", here, load, planned=len(lines), injected=len(lines), recoveries=[recovery]
        )
        assert (made.refused, made.resets, made.unanswered) == (0, 0, 0)
        assert _rows(here) == 0


@pytest.mark.timeout(_LONGEST)
async def test_far_beyond_its_capacity_the_ingress_answers_200_or_503_in_bounded_time_and_bounded_memory(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 20})
    ingress = here.start("ingress")
    here.start("worker", "persistence")
    await here.ready()
    before = ingress.memory_info().rss
    began = monotonic()
    async with Load(here.url, seed=109, calls=at(quick=900, full=12_000), concurrency=CROWD) as load:
        await until(lambda: _is(load.report), within=_LONGEST)
    seconds = monotonic() - began
    grown = (_peak(ingress) - before) >> 20
    made = await account(
        f"I28 overload: {len(load.results) / seconds:.0f}/s over {CROWD} connections, {grown} MiB more",
        here,
        load,
        planned=1,
        injected=1,
    )
    assert set(made.statuses) <= {"200", "503"}
    assert (made.refused, made.resets, made.unanswered) == (0, 0, 0)
    assert made.p99 < 10
    assert grown < 150


def _peak(process: psutil.Popen) -> int:
    """The most memory that it ever had, in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _outbox(here: Site, query: str) -> int:
    with closing(sqlite3.connect(here.directory / "outbox.db")) as connection:
        return int(connection.execute(query).fetchone()[0])


def _rows(here: Site) -> int:
    return _outbox(here, "SELECT count(*) FROM outbox")


def _newest(here: Site) -> int:
    return _outbox(here, "SELECT coalesce(max(seq), 0) FROM outbox")


async def _drained_to(here: Site, seq: int) -> bool:
    await asyncio.sleep(0.1)  # a look costs the ingress a lock
    return not _outbox(here, f"SELECT count(*) FROM outbox WHERE seq <= {seq}")


async def _first_row_gone(here: Site, before: int) -> bool:
    await asyncio.sleep(0.05)
    return _rows(here) < before


async def _serve(here: Site, parent: psutil.Popen, ready: int) -> bool:
    return len(parent.children()) == 2 and here.said(0, "process.ready") >= ready


async def _until(moment: float) -> None:
    """An outage lasts as long as it lasts: here time itself is the fault."""
    await asyncio.sleep(max(0.0, moment - monotonic()))


async def _is(so: object) -> bool:
    return bool(so)


def _seconds_to_serve(here: Site) -> float:
    """From the first thing that the ingress said until it served."""
    lines = [orjson.loads(line) for line in here.log(0).read_text().splitlines()]
    [ready] = [line for line in lines if line["event"] == "process.ready"]
    return (datetime.fromisoformat(ready["timestamp"]) - datetime.fromisoformat(lines[0]["timestamp"])).total_seconds()
