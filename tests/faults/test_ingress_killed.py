"""G1, I02, I03: the ingress is killed under load, whatever it is doing."""

import asyncio
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

import psutil
import pytest

from hub import prefork
from tests.faults.closing import CONNECTIONS, account
from tests.faults.keeper import KILLED, keeper
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site, site

KILLS: Final = at(quick=10, full=200)
ACKNOWLEDGED: Final = at(quick=1_000, full=60_000)
RATE: Final = at(quick=100.0, full=120.0)  # 60,000 by the time that 200 have been killed
RESTARTS: Final = at(quick=5, full=50)
_LONGEST: Final = at(quick=300, full=3_000)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(_LONGEST)
async def test_killed_children_of_a_parent_cost_what_is_in_their_hands_and_nothing_accepted(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 20})
    parent = here.start("ingress", "--processes", "2")
    here.start("worker", "persistence")
    await here.ready()
    dice = Random(1)  # noqa: S311  no secret
    killed: list[psutil.Process] = []
    async with Load(here.url, seed=101, calls=10**6, rate=RATE) as load:
        while len(killed) < KILLS:
            children = await until(lambda: _children(here, parent, killed), within=60)
            await asyncio.sleep(dice.uniform(0, 0.5))
            # Mostly one, at times both: then nobody serves, and who calls waits in the kernel.
            for child in dice.sample(children, 2 if len(killed) % 10 == 4 else 1):
                child.kill()
                killed.append(child)
        await until(lambda: _true(load.statuses[200] >= ACKNOWLEDGED), within=_LONGEST)
        await until(lambda: _children(here, parent, killed), within=60)
        await load.finish()
    dead = sum(f"process {child.pid} ended with {KILLED}" in here.log(0).read_text() for child in killed)
    made = await account("G1 I02 ingress children killed", here, load, planned=len(killed), injected=dead)
    assert set(made.statuses) == {"200"}
    assert made.refused == made.unanswered == 0
    assert made.resets <= CONNECTIONS * len(killed)
    parent.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(parent.wait, 30) == 0


@pytest.mark.timeout(_LONGEST)
async def test_an_embedded_hub_that_is_killed_and_started_again_over_its_socket_loses_and_refuses_nothing(
    here: Site,
) -> None:
    here.configure(calls={"gap_after": 20})
    dice = Random(2)  # noqa: S311  no secret
    with prefork.bind("127.0.0.1", here.port) as listener:
        async with keeper(here, "up", listener=listener) as hub:
            await hub.serves()
            async with Load(here.url, seed=102, calls=10**6, rate=RATE) as load:
                while len(hub.lives) <= RESTARTS:
                    await hub.serves()
                    await asyncio.sleep(dice.uniform(0, 0.7))
                    await hub.tell(signal.SIGKILL)
                    await until(lambda: _true(hub.life.status is None), within=60)
                await hub.serves()
                await load.finish()
            dead = sum(life.status == KILLED for life in hub.lives)
            made = await account("G1 embedded hub killed", here, load, planned=RESTARTS, injected=dead)
    assert set(made.statuses) == {"200"}
    assert made.refused == made.unanswered == 0
    assert made.resets <= CONNECTIONS * RESTARTS
    assert len({one.process.pid for one in hub.lives}) == RESTARTS + 1
    assert all(one.told_at < other.told_at for one, other in pairwise(hub.lives[:-1]) if one.told_at and other.told_at)


async def _children(here: Site, parent: psutil.Popen, killed: list[psutil.Process]) -> list[psutil.Process] | None:
    """Both children, where both serve."""
    children = [child for child in parent.children() if child not in killed]
    return children if len(children) == 2 and here.said(0, "process.ready") >= len(killed) + 2 else None


async def _true(now: object) -> bool:
    return bool(now)
