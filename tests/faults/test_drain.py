"""G20, W21, W22: SIGTERM under load; a second one, or SIGKILL, in the midst of it is as safe as a crash."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from hub import prefork
from tests.faults.closing import CONNECTIONS, account
from tests.faults.keeper import KILLED, Keeper, Life, keeper
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site, site

DRAINS: Final = at(quick=3, full=50)
HARSH: Final = at(quick=1, full=10)
RATE: Final = at(quick=100.0, full=200.0)
SOON: Final = 20.0  # seconds to an exit
_AGAIN: Final = 1.2  # seconds after which a second signal is another wish
_LONGEST: Final = at(quick=300, full=3_000)
_METRIC: Final = b'trunkline_events_kept_total{what="repeated"}'


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(_LONGEST)
async def test_a_drained_process_answers_what_it_has_in_hand_and_hands_back_what_it_has_not_begun(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    probes = here.spare[0]
    here.configure(
        bus={"url": amqp_url},
        store={"url": postgres_url},
        calls={"gap_after": 20},
        worker={"port": probes},
        outbox={"hedge": 20, "share": 0},  # what the outbox takes too comes twice, and no worker is to blame
    )
    repeated = 0
    with prefork.bind("127.0.0.1", here.port) as listener:
        async with keeper(here, "ingress", listener=listener) as ingress, keeper(here, "worker", "persistence") as one:
            await ingress.serves()
            async with Load(here.url, seed=106, calls=10**6, rate=RATE) as load:
                for _ in range(DRAINS):
                    for role, said in ((ingress, "process.ready"), (one, "bus.consuming")):
                        await role.serves(said)
                        await load.accepts(20)
                        repeated += await _repeated(here, probes) if role is one else 0
                        _well(await role.tell(signal.SIGTERM))
                await one.serves("bus.consuming")
                await load.finish()
            repeated += await _repeated(here, probes)
            drained = [life for role in (ingress, one) for life in role.lives if life.status is not None]
            made = await account("G20 SIGTERM under load", here, load, planned=2 * DRAINS, injected=len(drained))
    assert set(made.statuses) == {"200"}
    assert (made.refused, made.unanswered) == (0, 0)
    assert made.resets <= DRAINS  # of a connection that was silent for a second, and not in the next moment
    assert repeated == 0  # what was handled was acknowledged: nothing came back but what nobody had begun


@pytest.mark.timeout(_LONGEST)
async def test_a_drain_that_is_broken_off_costs_no_more_than_a_crash(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 20})
    broken: list[Life] = []
    with prefork.bind("127.0.0.1", here.port) as listener:
        async with keeper(here, "ingress", listener=listener) as ingress, keeper(here, "worker", "persistence") as one:
            await ingress.serves()
            async with Load(here.url, seed=107, calls=10**6, rate=RATE) as load:
                for _ in range(HARSH):
                    for again in (signal.SIGTERM, signal.SIGKILL):
                        await one.serves("bus.consuming")
                        await load.accepts(20)
                        broken.append(await _broken_off(here, ingress, again))
                        await ingress.serves()
                        await load.accepts(20)
                        one.life.process.send_signal(signal.SIGTERM)
                        broken.append(await one.tell(signal.SIGKILL))
                await load.finish()
            made = await account(
                "W22 drains broken off",
                here,
                load,
                planned=4 * HARSH,
                injected=sum(life.status in (KILLED, -signal.SIGTERM) for life in broken),
            )
    assert set(made.statuses) <= {"200"}
    assert made.refused == 0
    assert made.resets <= CONNECTIONS * len(broken)


async def _broken_off(here: Site, ingress: Keeper, again: signal.Signals) -> Life:
    """An ingress that drains, kept at it by a body that does not come, until a second signal ends it."""
    life = ingress.life
    _, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(
        b"POST /callbacks/line-900/t0ken-of-line-900/fin HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\nhalf"
    )
    await writer.drain()
    await until(lambda: _has(life, here.port))
    life.process.send_signal(signal.SIGTERM)
    await until(lambda: _says(here, life.number, "process.draining"))
    await asyncio.sleep(_AGAIN if again is signal.SIGTERM else 0)  # sooner it would be the same wish, told twice
    assert life.status is None  # it waits for the body
    await ingress.tell(again)
    writer.close()
    return life


async def _has(life: Life, port: int) -> bool:
    """Whether it, and not only the kernel, has a connection."""
    taken = life.process.net_connections("tcp")
    return any(one.laddr.port == port and one.status == "ESTABLISHED" for one in taken)


async def _says(here: Site, number: int, event: str) -> bool:
    return here.said(number, event) > 0


def _well(life: Life) -> None:
    assert life.status == 0
    assert life.seconds < SOON


async def _repeated(here: Site, port: int) -> int:
    """Events that the present worker handled although they were in the store."""
    status, text = await here.get("/metrics", port)
    assert status == 200
    lines = [line for line in text.splitlines() if line.startswith(_METRIC)]
    return int(float(lines[0].split()[-1])) if lines else 0
