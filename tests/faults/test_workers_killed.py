"""G2, G9, S08, W01, W03: workers are killed at random, and every role exactly where it hurts."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from hub import prefork
from hub.failpoints import POINTS
from tests.faults.closing import account
from tests.faults.keeper import KILLED, Keeper, keeper
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Load, Site, site
from tests.servers.postgres import PostgreSQL

KILLS: Final = at(quick=8, full=200)
EVENTS: Final = at(quick=2_000, full=20_000)
RUNS: Final = at(quick=2, full=25)
RATE: Final = at(quick=120.0, full=100.0)
SLOWLY: Final = 50.0
_LONGEST: Final = at(quick=400, full=4_000)
_CONSUMES: Final = "bus.consuming"

# How often a point is passed before it kills: a callback passes its own all the time, a relay's seldom comes up.
_INGRESS: Final = {
    "ingress.after_read": "kill:1/20",
    "outbox.before_commit": "kill:1/4",
    "outbox.after_commit": "kill:1/4",
    "relay.before_publish": "kill:1/2",
    "relay.after_confirm": "kill:1/2",
}
_WORKER: Final = {
    "derived.after_publish": "kill:1/2",
    "sealer.after_seal": "kill:1/2",
    # Only what a handler did not expect is retried, so some of that is provoked beside it.
    "worker.after_retry_publish": "kill:1/2,worker.before_effect=raise:1/3",
    "worker.after_receive": "kill:1/3",
    "worker.before_effect": "kill:1/3",
    "worker.after_effect": "kill:1/3",
    "worker.after_settle": "kill:1/3",
}

_ELSEWHERE: Final = ("poll.", "rec.")  # tests/process/test_polling.py, test_recordings.py


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(_LONGEST)
async def test_killed_workers_lose_nothing_and_repeat_nothing_in_the_store(
    here: Site, amqp_url: str, postgres_url: str, postgres: PostgreSQL
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 20})
    here.start("ingress")
    await here.ready()
    dice = Random(3)  # noqa: S311  no secret
    async with keeper(here, "worker", "persistence") as one, keeper(here, "worker", "persistence") as other:
        workers = [one, other]
        await one.serves(_CONSUMES)
        async with Load(here.url, seed=103, calls=10**6, rate=RATE) as load:
            for _ in range(KILLS):
                doomed = dice.choice(workers)
                await doomed.serves(_CONSUMES)
                await asyncio.sleep(dice.uniform(0, 0.4))
                await doomed.tell(signal.SIGKILL)
            await until(lambda: _reached(load, EVENTS), within=_LONGEST)
            await load.finish()
        made = await account("G2 W01 workers killed", here, load, planned=KILLS, injected=_deaths(workers))
        assert set(made.statuses) == {"200"}
        assert (made.resets, made.refused, made.unanswered) == (0, 0, 0)
        assert made.ledger is not None
        assert made.ledger["callbacks"]["duplicate"] == 0  # a redelivery is not taken for a vendor's repetition
        _once(postgres, postgres_url)


@pytest.mark.timeout(_LONGEST)
async def test_killed_at_every_failpoint_nothing_is_lost_and_nothing_happens_twice(
    here: Site, amqp_url: str, postgres_url: str, postgres: PostgreSQL
) -> None:
    assert set(_INGRESS) | set(_WORKER) == {point for point in POINTS if not point.startswith(_ELSEWHERE)}
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, calls={"gap_after": 30}, outbox={"share": 0.3})
    early, late = _arms(_WORKER, slice(0, 3)), _arms(_WORKER, slice(3, None))
    with prefork.bind("127.0.0.1", here.port) as listener:
        async with (
            keeper(here, "ingress", listener=listener, arms=_arms(_INGRESS)) as ingress,
            keeper(here, "worker", "persistence", arms=early) as one,
            keeper(here, "worker", "persistence", arms=late) as other,
        ):
            roles = [ingress, one, other]
            async with Load(here.url, seed=104, calls=10**6, rate=SLOWLY) as load:
                await until(lambda: _finished(roles), within=_LONGEST)
                await load.finish()
            planned = RUNS * len([*_INGRESS, *_WORKER])
            happened = Counter(_point(life.armed) for role in roles for life in role.lives if life.status == KILLED)
            assert happened == dict.fromkeys([*_INGRESS, *_WORKER], RUNS)
            made = await account("G9 every failpoint", here, load, planned=planned, injected=_deaths(roles))
            assert set(made.statuses) == {"200"}
            # A connection that several short lives in a row do not take waits in the kernel, and may give up there.
            assert made.refused == 0
            assert made.ledger is not None
            assert made.ledger["workers"]["persistence"]["dead"] == 0
            _once(postgres, postgres_url)


def _arms(shares: dict[str, str], part: slice = slice(None)) -> list[str]:
    return [f"{point}={share}" for point, share in list(shares.items())[part] for _ in range(RUNS)]


def _point(armed: str) -> str:
    return armed.partition("=")[0]


def _deaths(roles: Sequence[Keeper]) -> int:
    return sum(life.status == KILLED for role in roles for life in role.lives)


def _once(postgres: PostgreSQL, url: str) -> None:
    """Every event has one row, every call one ``sealed``, in the tables themselves."""
    rows, ids = postgres.execute("SELECT count(*), count(DISTINCT id) FROM events", url=url).strip().split("|")
    assert rows == ids
    sealed = "SELECT count(*), count(DISTINCT subject) FROM events WHERE routing_key LIKE 'call.%.sealed'"
    times, calls = postgres.execute(sealed, url=url).strip().split("|")
    assert times == calls
    assert int(calls) > 0
    assert postgres.execute("SELECT count(*) FROM outbox", url=url).strip() == "0"


async def _reached(load: Load, count: int) -> bool:
    return len(load.accepted) >= count


async def _finished(roles: Sequence[Keeper]) -> bool:
    return all(role.finished for role in roles)
