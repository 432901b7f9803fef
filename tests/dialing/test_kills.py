"""kill -9 at every point of a dial's way: at most one call at the vendor, and what is said of it is true."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiohttp import ClientSession

from hub.bus.sqlite import SqliteBus
from hub.events import Message
from hub.simulator.dialling import FocalScopeServer, serving
from tests.dialing.desk import LINK, NUMBER
from tests.faults import scale
from tests.faults.keeper import KILLED
from tests.hub import ADMIN, until
from tests.process.site import Site, exit_status, site

KEY: Final = "order-77"
BODY: Final = {"source": "desk", "destination": NUMBER, "agent": "1001"}
EXPECTED: Final = {
    "dial.after_take": ("accepted", 1),
    "dial.after_claim": ("accepted", 1),
    "dial.after_intent": ("unknown", 0),
    "dial.before_request": ("unknown", 0),
    "dial.after_response": ("unknown", 1),
    "dial.after_outcome": ("accepted", 1),
}
"""What the dial comes to, and how often the vendor was told to dial."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.parametrize("point", scale.at(quick=("dial.after_claim", "dial.after_response"), full=tuple(EXPECTED)))
async def test_a_killed_worker_never_makes_two_calls_of_one_dial(here: Site, point: str) -> None:
    server = FocalScopeServer()
    async with serving(server) as url:
        desk: dict[str, Any] = {"dial_url": url + LINK, "timeout": 0.2}
        here.configure(**{"sources.desk": desk}, egress={"allow": ["127.0.0.0/8"]})
        armed = here.start("up", TRUNKLINE_TEST="1", TRUNKLINE_FAILPOINTS=f"{point}=kill")
        await here.ready()
        dial_id = await asked(here, point)
        assert await exit_status(armed, 60) == KILLED
        here.start("up")
        await here.ready()
        dial_id = dial_id or await posted(here)

        found = await settled(here, dial_id)
        assert await posted(here) == dial_id
        # Another dial has its whole way after it: what was left to send of the first would have been sent by then.
        assert (await settled(here, await posted(here, "order-78")))["state"] == "accepted"
    state, placed = EXPECTED[point]
    assert (found["state"], len(server.placed), server.requests) == (state, placed + 1, placed + 1)
    if found["state"] == "unknown":
        assert found["reason"] == "whoever sent it ended before the answer was there"


async def asked(here: Site, point: str) -> str:
    """Has the call placed, by HTTP, or by the bus where its taker is to be killed; the dial's id."""
    if point == "dial.after_take":
        bus = SqliteBus(here.directory / "bus.db")
        await bus.start()
        await bus.command([Message("dial.focalscope", {"ce-id": KEY}, orjson.dumps(BODY))])
        await bus.close()
        return ""
    return await posted(here)


async def settled(here: Site, dial_id: str) -> dict[str, Any]:
    """The dial, once it is known what came of it."""

    async def look() -> dict[str, Any] | None:
        status, found = await here.get(f"/v1/dial/{dial_id}")
        return found if status == 200 and found["state"] != "requested" else None

    return await until(look, within=60)


async def posted(here: Site, key: str = KEY) -> str:
    headers = {"Authorization": f"Bearer {ADMIN}", "Idempotency-Key": key}
    async with ClientSession() as session, session.post(f"{here.url}/v1/dial", json=BODY, headers=headers) as answer:
        return str((await answer.json())["dial_id"])
