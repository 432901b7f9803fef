"""C07, C08, C15, W02: CRMs commit and drop their answers, while the workers are killed where it hurts most."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.config import Settings
from hub.events import to_message
from hub.ports.forwarding import WORKER
from hub.simulator.crms.double import Double, served
from hub.simulator.crms.mischief import Mischief
from hub.simulator.crms.webhook import WebhookDouble
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.crm.office import ID_FIELD, QUICK, destination, double
from tests.faults.keeper import KILLED, keeper
from tests.faults.report import Account, publish
from tests.faults.scale import at
from tests.hub import until
from tests.process.site import Site, site
from tests.store.evidence import call_id, expected, recording, whole_call
from workers.crm import queue

CALLS: Final = at(quick=200, full=10_000)
RUNS: Final = at(quick=1, full=10)
SHARE: Final = 0.1
KINDS: Final = ("webhook", "hubspot", "salesforce", "zoho")
POINTS: Final = {
    "crm.after_take": "kill",
    "crm.before_intent": "kill:1/6",
    "crm.after_intent": "kill:1/6",
    "crm.before_request": "kill:1/12",
    "crm.after_response": "kill:1/12",
    "crm.after_effect": "kill:1/6",
}
_TOGETHER: Final = 200
_LONGEST: Final = at(quick=900, full=7_200)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(_LONGEST)
async def test_every_call_is_one_record_in_each_crm_whoever_drops_answers_and_whoever_is_killed(  # noqa: PLR0915  one row
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    async with AsyncExitStack() as stack:
        doubles: dict[str, Double] = {}
        for n, kind in enumerate(KINDS):
            made = double(kind, mischief=Mischief({"drop": SHARE}, seed=n))
            doubles[kind] = await stack.enter_async_context(served(made))
        tables = {name: destination(name, it, timeout=1, concurrency=8) for name, it in doubles.items()}
        for name in ("hubspot", "salesforce", "zoho"):
            tables[name]["mapping"] = {"Revision": "{revision}"}
        named = {f"destinations.{name}": table for name, table in tables.items()}
        tables["webhook"]["events"] = ["call.sealed", "recording.stored"]
        here.configure(bus={"url": amqp_url}, store={"url": postgres_url}, egress={"allow": ["127.0.0.0/8"]}, **named)
        await upgrade(postgres_url)
        store = SqlStore(postgres_url, expected=expected, timing=QUICK)
        await store.start()
        stack.push_async_callback(store.close)
        bus = RabbitBus([amqp_url])
        await bus.start()
        stack.push_async_callback(bus.close)
        await bus.declare([queue(Settings.model_validate({"destinations": tables}))])

        arms = [f"{point}={share}" for point, share in POINTS.items() for _ in range(RUNS)]
        one = await stack.enter_async_context(keeper(here, "worker", "crm", arms=arms[::2]))
        other = await stack.enter_async_context(keeper(here, "worker", "crm", arms=arms[1::2]))
        keepers = [one, other]
        began = monotonic()
        sent = set()
        for first in range(0, CALLS, _TOGETHER):
            sent |= await _seal(store, bus, range(first, min(first + _TOGETHER, CALLS)))
        sent |= await _record(store, bus, range(CALLS))

        async def all_settled() -> bool:
            await asyncio.sleep(0.2)
            load = await store.workload(WORKER)
            finished = all(keeper_.finished for keeper_ in keepers)
            if not finished and load.waiting == 0:  # more to do for those that are still to be killed
                extra = len(sent)
                sent.update(await _seal(store, bus, range(CALLS + extra, CALLS + extra + 5)))
            return finished and load.waiting == 0 and load.settled >= len(sent)

        await until(all_settled, within=_LONGEST - 20)
        seconds = monotonic() - began
        killed = sum(life.status == KILLED for keeper_ in keepers for life in keeper_.lives)
        happened = Counter(life.armed.partition("=")[0] for k in keepers for life in k.lives if life.status == KILLED)
        lost, twice, old = 0, 0, 0
        calls = sorted({call_id(number) for number in range(CALLS)})
        for kind in KINDS[1:]:
            found = Counter(fields[ID_FIELD[kind]] for fields in doubles[kind].calls.all.values())
            lost += sum(found[name] == 0 for name in calls)
            twice += sum(count - 1 for count in found.values())
            old += sum(
                fields["Revision"] != 5
                for fields in doubles[kind].calls.all.values()
                if fields[ID_FIELD[kind]] in calls
            )
        hook = doubles["webhook"]
        assert isinstance(hook, WebhookDouble)
        lost += len(sent - hook.got.keys())
        requests = sum(sum(it.asked.values()) for it in doubles.values())
        depth = await bus.depth("trunkline.crm")
        account = Account(
            row=f"C08 W02 {CALLS} calls to four kinds, answers dropped, workers killed",
            command="FAULTS=full .venv/bin/pytest tests/faults/test_crm.py",
            seed=0,
            planned=len(arms),
            injected=killed,
            attempted=requests,
            acknowledged=len(sent),
            ok=len(sent) - lost,
            lost=lost,
            duplicated=twice,
            recovered=sum(it.mischief.done["drop"] for it in doubles.values()),
            unexpected=len(hook.got.keys() - sent) + hook.unsigned + old + depth.dead,
            unsealed=0,
            statuses={},
            refused=0,
            resets=0,
            unanswered=0,
            recovery=seconds,
            p50=0,
            p99=0,
            ledger=None,
            differing=None,
        )
        publish(account)
        assert happened == dict.fromkeys(POINTS, RUNS)
        assert all(it.mischief.done["drop"] for it in doubles.values())
        account.check()


async def _seal(store: SqlStore, bus: RabbitBus, numbers: range) -> set[str]:
    """Calls, kept and sealed, with their events on the bus; returns the ids of those."""
    now = datetime.now(UTC)
    await store.apply([event for number in numbers for event in whole_call(number)], now)
    while await store.seal(now, 1000):
        pass
    ids: set[str] = set()
    while claimed := await store.claim(now, 500, 60):
        await bus.publish([one.message for one in claimed])
        await store.published([one.seq for one in claimed], now)
        ids |= {one.message.id for one in claimed}
    return ids


async def _record(store: SqlStore, bus: RabbitBus, numbers: range) -> set[str]:
    """Their recordings, in the records and on the bus."""
    events = [recording(number, verb="stored") for number in numbers]
    await bus.publish([to_message(event) for event in events])  # some arrive before the store has them
    await store.apply(events, datetime.now(UTC))
    return {event.id for event in events}
