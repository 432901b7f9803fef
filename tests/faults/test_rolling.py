"""W21: everything is restarted in turn while vendors call, as an upgrade does it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.faults.closing import account
from tests.faults.keeper import keeper
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site, site

RESTARTS: Final = at(quick=4, full=100)
RATE: Final = at(quick=100.0, full=200.0)
SOON: Final = 20.0  # seconds to an exit
_LONGEST: Final = at(quick=300, full=3_000)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(_LONGEST)
async def test_children_and_workers_restarted_in_turn_refuse_and_lose_nothing(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 20})
    parent = here.start("ingress", "--processes", "2")
    await here.ready()
    drained: list[psutil.Process] = []
    async with keeper(here, "worker", "persistence") as one, keeper(here, "worker", "persistence") as other:
        await one.serves("bus.consuming")
        async with Load(here.url, seed=105, calls=10**6, rate=RATE) as load:
            for number in range(RESTARTS):
                if number % 2:
                    worker = (one, other)[number // 2 % 2]
                    await worker.serves("bus.consuming")
                    life = await worker.tell(signal.SIGTERM)
                    assert (life.status, life.seconds < SOON) == (0, True)
                else:
                    drained.append(await until(lambda: _eldest(here, parent, drained), within=60))
                    drained[-1].send_signal(signal.SIGTERM)
                    await until(lambda: _gone(drained[-1]), within=SOON)
            await until(lambda: _eldest(here, parent, drained), within=60)
            await load.finish()
        log = here.log(0).read_text()
        well = sum(f"process {child.pid} ended with 0" in log for child in drained)
        lives = sum(life.status == 0 for role in (one, other) for life in role.lives)
        made = await account("W21 rolling restarts", here, load, planned=RESTARTS, injected=well + lives)
    assert set(made.statuses) == {"200"}
    assert (made.refused, made.unanswered) == (0, 0)
    assert made.resets <= len(drained)  # one that was silent for a second, and not in the next moment
    assert made.ledger is not None
    assert made.ledger["callbacks"]["duplicate"] == 0


async def _eldest(here: Site, parent: psutil.Popen, drained: list[psutil.Process]) -> psutil.Process | None:
    """The child to be restarted next, once both serve."""
    children = sorted((child for child in parent.children() if child not in drained), key=psutil.Process.create_time)
    return children[0] if len(children) == 2 and here.said(0, "process.ready") >= len(drained) + 2 else None


async def _gone(process: psutil.Process) -> bool:
    await asyncio.sleep(0)
    return not process.is_running()
