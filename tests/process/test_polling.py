"""Several processes that poll, killed where it hurts: every record of the vendor is in the store, once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.simulator.infocu5 import Infocu5, made, serving
from tests.faults.keeper import KILLED
from tests.hub import until
from tests.polling.house import NAME, source
from tests.process.site import Site, exit_status, site, terminated
from tests.servers.postgres import PostgreSQL

CALLS = 600


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


async def test_killed_before_and_after_its_publish_a_poller_loses_nothing_and_doubles_nothing(
    here: Site, amqp_url: str, postgres_url: str, postgres: PostgreSQL
) -> None:
    now = datetime.now(UTC)
    vendor = Infocu5(calls=made(7, CALLS, now - timedelta(minutes=8), now - timedelta(seconds=5)))
    vendor.moods.extend(["900", "500"])
    async with serving(vendor) as url:
        tables: dict[str, Any] = {"bus": {"url": amqp_url}, "store": {"url": postgres_url}}
        tables["sources.focu5"] = source(url, poll_seconds=0.5, sweep_seconds=5)
        here.configure(**tables, egress={"allow": ["127.0.0.0/8"]})
        here.start("ingress")
        here.start("worker", "persistence")
        await here.ready()
        armed = [
            here.start("worker", "poll", TRUNKLINE_TEST="1", TRUNKLINE_FAILPOINTS=f"{point}=kill")
            for point in ("poll.before_publish", "poll.after_publish")
        ]
        assert await asyncio.gather(*(exit_status(process, 60) for process in armed)) == [KILLED, KILLED]
        pollers = [here.start("worker", "poll") for _ in range(2)]
        await until(lambda: _ended(postgres, postgres_url, CALLS), within=90)
        vendor.calls += made(8, 5, now, now + timedelta(seconds=1))  # and it goes on
        await until(lambda: _ended(postgres, postgres_url, CALLS + 5), within=60)
        await here.seals(CALLS + 5)
        assert [status for status, _ in [await terminated(process) for process in pollers]] == [0, 0]
    calls = await here.pages("/v1/calls")
    assert sorted(call["vendor_ids"]["call_id"] for call in calls) == sorted(call.call_id for call in vendor.calls)
    assert {call["revision"] for call in calls} == {1}
    assert {call["source"] for call in calls} == {NAME}
    rows = postgres.execute("SELECT count(*), count(DISTINCT id) FROM events", url=postgres_url).strip()
    assert rows == f"{2 * (CALLS + 5)}|{2 * (CALLS + 5)}"
    even = {"accepted": 2 * (CALLS + 5), "settled": 2 * (CALLS + 5), "dead": 0, "in_flight": 0, "unaccounted": []}

    async def balanced() -> bool:
        """What came again, from a poller that was killed or a sweep, is in flight for a moment."""
        status, books = await here.get("/v1/ledger")
        assert status == 200
        return bool(books["workers"]["persistence"] == even)

    await until(balanced)


async def _ended(postgres: PostgreSQL, url: str, count: int) -> bool:
    sql = "SELECT count(*) FROM events WHERE routing_key = 'call.infocu5.ended'"
    return int((await asyncio.to_thread(postgres.execute, sql, url=url)).strip()) >= count
