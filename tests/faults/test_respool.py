"""C16: outcomes with duplicates over three replicas that are killed where it hurts most, answers dropped.

What is counted is what the dialer has: a lead twice, a blocked number, a number whose window is closed. What nobody can
know, because a process died between asking and writing down, is a dead letter or settled by the dialer's own call.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.events import to_message
from hub.ports.respool import WORKER
from hub.simulator.dice import Dice
from hub.simulator.infocu5 import Infocu5, serving
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.crm.office import QUICK
from tests.faults.keeper import KILLED, keeper
from tests.faults.report import Account, publish
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Site, site
from tests.respooling.house import rule
from tests.respooling.support import record, sealed
from tests.store.evidence import expected
from workers.respool import QUEUE

CALLS: Final = at(quick=80, full=10_000)
RUNS: Final = at(quick=1, full=6)
_EVERY: Final = {
    "respool.after_take": "kill",
    "respool.before_intent": "kill:1/8",
    "respool.after_intent": "kill:1/8",
    "respool.before_request": "kill:1/8",
    "respool.after_response": "kill:1/8",
    "respool.after_effect": "kill:1/8",
}
POINTS: Final = at(
    quick={name: _EVERY[name] for name in ("respool.after_take", "respool.after_intent", "respool.after_response")},
    full=_EVERY,
)
MADRID, HONOLULU = "+3491{:07d}", "+1808{:07d}"
_LONGEST: Final = at(quick=300, full=3_600)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


def window(now: datetime) -> dict[str, str]:
    """Open for four hours to either side of now in Madrid, whatever the time: closed on the other side of the world."""
    hour = now.astimezone(ZoneInfo("Europe/Madrid")).hour
    hours = sorted((hour + step) % 24 for step in range(-4, 5))
    return {"mon-sun": ", ".join(f"{one:02}:00-{one + 1:02}:00" for one in hours)}


@pytest.mark.timeout(_LONGEST)
async def test_every_attempt_is_one_lead_whoever_drops_answers_and_whoever_is_killed(  # noqa: PLR0915  one row
    here: Site, tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    luck = random.Random(5)  # noqa: S311
    vendor = Infocu5(lost=0.05, luck=Dice("lost", 5))
    numbers = {n: (HONOLULU if n % 10 == 7 else MADRID).format(2_000_000 + n) for n in range(CALLS)}
    blocked = {number for n, number in numbers.items() if n % 10 == 3}
    (tmp_path / "dnc.txt").write_text("\n".join(sorted(blocked)))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(vendor))
        focu5 = {"vendor": "infocu5", "base_url": url, "rate": 500, "timeout": 0.5, "country": "ES"}
        focu5 |= {"affiliate_id": vendor.affiliate_id, "affiliate_key": vendor.affiliate_key}
        by: dict[str, Any] = rule(window=window(datetime.now(UTC)), do_not_call="dnc.txt", list="DI1111AA/1")
        by |= {"delays": ["1s"], "dial_as": "e164", "daily_cap": 1}
        here.configure(
            bus={"url": amqp_url},
            store={"url": postgres_url},
            egress={"allow": ["127.0.0.0/8"]},
            respool={"rules": [by], "doubt": 1},
            **{"sources.focu5": focu5},
        )
        await upgrade(postgres_url)
        store = SqlStore(postgres_url, expected=expected, timing=QUICK)
        await store.start()
        stack.push_async_callback(store.close)
        bus = RabbitBus([amqp_url])
        await bus.start()
        stack.push_async_callback(bus.close)
        await bus.declare([QUEUE])
        arms = [f"{point}={share}" for point, share in POINTS.items() for _ in range(RUNS)]
        replicas = [
            await stack.enter_async_context(keeper(here, "worker", "respool", arms=arms[n::3])) for n in range(3)
        ]
        began = monotonic()
        calls = {n: _call(n, number) for n, number in numbers.items()}
        events = [sealed(call) for call in calls.values()]
        several = [event for event in events for _ in range(luck.choice([1, 2, 3]))]
        luck.shuffle(several)
        await bus.publish([to_message(event) for event in several])
        extra = CALLS

        async def all_settled() -> bool:
            nonlocal extra
            await asyncio.sleep(0.2)
            finished = all(one.finished for one in replicas)
            open_ = await store.respools.standings()
            waiting = sum(open_.values()) - _sleeping(numbers)
            if not finished and waiting <= 0:  # more to do for those that are still to be killed
                for n in range(extra, extra + 10):
                    numbers[n] = MADRID.format(2_000_000 + n)
                    calls[n] = _call(n, numbers[n])
                    await bus.publish([to_message(sealed(calls[n]))])
                extra += 10
            load = await store.workload(WORKER)
            depth = await bus.depth(QUEUE.name)
            return finished and waiting <= 0 and load.settled + load.waiting + depth.dead >= len(numbers)

        await until(all_settled, within=_LONGEST - 20)
        seconds = monotonic() - began
        leads = Counter(lead["leadPhone"] for lead in vendor.leads)
        rows = [row for call in calls.values() for row in await store.respools.of_call(call["call_id"])]
        states = Counter(row.state for row in rows)
        accepted = {row.planned.contact for row in rows if row.state == "accepted"}
        doubtful = {row.planned.contact for row in rows if row.state == "unknown"}
        asleep = {number for number in numbers.values() if number.startswith("+1808")}
        killed = sum(life.status == KILLED for one in replicas for life in one.lives)
        happened = Counter(
            life.armed.partition("=")[0] for one in replicas for life in one.lives if life.status == KILLED
        )
        dead: set[str] = set()

        async def buried() -> bool:
            """One killed between a dead letter and its note buries it again: the letters are counted by their ids."""
            depth = await bus.depth(QUEUE.name)
            dead.update(letter.id for letter in await bus.dead(QUEUE.name, depth.dead + 1))
            return len(dead) >= len(doubtful)

        with contextlib.suppress(TimeoutError):
            await until(buried)
        account = Account(
            row=f"C16 {CALLS} outcomes over three replicas, answers dropped, workers killed",
            command="FAULTS=full .venv/bin/pytest tests/faults/test_respool.py",
            seed=5,
            planned=len(arms),
            injected=killed,
            attempted=len(several),
            acknowledged=len(numbers),
            ok=len(leads),
            lost=len(accepted - leads.keys()),
            duplicated=sum(count - 1 for count in leads.values()),
            recovered=len(doubtful & leads.keys()),
            unexpected=len(leads.keys() & (blocked | asleep)) + abs(len(dead) - len(doubtful)),
            unsealed=0,
            statuses={},
            refused=states["refused"],
            resets=0,
            unanswered=vendor.lost_answers,
            recovery=seconds,
            p50=0,
            p99=0,
            ledger=None,
            differing=None,
        )
        publish(account)
        assert happened == dict.fromkeys(POINTS, RUNS)
        assert vendor.lost_answers
        assert states["refused"] >= len(blocked)
        assert states["waiting"] == len(asleep)
        assert len(rows) == len(numbers)
        account.check()


def _call(n: int, number: str) -> dict[str, Any]:
    ended = datetime.now(UTC) - timedelta(seconds=1)
    return record(str(n), ended, caller={"number": number, "e164": number})


def _sleeping(numbers: dict[int, str]) -> int:
    """Those that wait for their window, on the other side of the world."""
    return sum(number.startswith("+1808") for number in numbers.values())
