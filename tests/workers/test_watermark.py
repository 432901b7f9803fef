"""Up to when silence may be trusted."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.bus.sqlite import SqliteBus
from hub.events import Event
from tests.contract.buses import depth_becomes, publish
from tests.faults.proxy import Proxy
from tests.workers.support import NOTHING, QUEUE, becomes, message, names, working
from workers import runner
from workers.runner import Runner, Worker

OLD = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


class Stepwise:
    """A handler that takes a step when it is told."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[list[str]] = asyncio.Queue()
        self.go = asyncio.Semaphore(0)

    async def __call__(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        self.begun.put_nowait(names(events))
        await self.go.acquire()
        return {}


async def nothing(_: Sequence[Event]) -> Mapping[str, Exception]:
    return {}


async def becomes_now(worker: Runner) -> None:
    def now() -> bool:
        mark = worker.watermark()
        return mark is not None and datetime.now(UTC) - mark < timedelta(seconds=1)

    await becomes(now)


def test_it_is_unknown_before_the_worker_runs(bus: SqliteBus) -> None:
    assert Runner(Worker("tested", QUEUE, nothing), bus).watermark() is None


async def test_it_is_unknown_while_the_broker_cannot_be_reached() -> None:
    bus = RabbitBus(["amqp://guest:guest@127.0.0.1:1/"])
    await bus.start()
    async with working(bus, nothing) as (worker, _):
        for _ in range(30):  # three times as long as silence takes to be trusted
            await asyncio.sleep(0.01)
            assert worker.watermark() is None
    await bus.close()


async def test_it_is_now_when_the_queue_is_empty(bus: SqliteBus) -> None:
    async with working(bus, nothing) as (worker, _):
        await becomes_now(worker)
        await bus.publish([message()])
        await depth_becomes(bus, NOTHING, QUEUE.name)
        await becomes_now(worker)
    assert worker.watermark() is None


async def test_in_a_backlog_it_is_the_oldest_receipt_of_the_last_batch(bus: SqliteBus) -> None:
    received = {name: OLD + timedelta(minutes=minute) for minute, name in enumerate("abcdef")}
    stepwise = Stepwise()
    await bus.publish([message(name, received=received[name]) for name in "bacdfe"])
    async with working(bus, stepwise, batch=2) as (worker, _):
        for batch, oldest in (("ba", "a"), ("cd", "c"), ("fe", "e")):
            assert await stepwise.begun.get() == list(batch)
            assert worker.watermark() == received[oldest]
            stepwise.go.release()
        await becomes_now(worker)


async def test_a_receipt_in_the_future_does_not_take_it_there(bus: SqliteBus) -> None:
    stepwise = Stepwise()
    await bus.publish([message("a", received=datetime.now(UTC) + timedelta(days=1))])
    async with working(bus, stepwise) as (worker, _):
        await stepwise.begun.get()
        mark = worker.watermark()
        assert mark is not None
        assert mark <= datetime.now(UTC)
        stepwise.go.release()


@pytest.mark.timeout(60)
async def test_after_an_outage_of_the_broker_silence_counts_only_once_the_backlog_is_handled(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_AFTER_OUTAGE", 0.5)
    stepwise = Stepwise()
    marks: set[datetime | None] = set()
    async with Proxy(amqp_url) as line:
        bus, other = RabbitBus([line.url]), RabbitBus([amqp_url])
        await bus.start()
        await other.start()
        await bus.declare([QUEUE])
        async with working(bus, stepwise, batch=1) as (worker, _):
            await becomes_now(worker)
            await line.cut()
            await becomes(lambda: not worker.registered)
            await publish(other, *(message(name, received=OLD) for name in ("one", "two")))
            line.down.delay = 0.05  # what waited comes some time after the broker has said that it knows us again
            await line.mend()
            watching = asyncio.create_task(watch(worker, marks))
            assert await stepwise.begun.get() == ["one"]
            assert worker.watermark() is None  # what an ingress kept during the outage may still be on its way
            stepwise.go.release()
            assert await stepwise.begun.get() == ["two"]
            watching.cancel()
            assert {mark for mark in marks if mark is not None and mark > OLD} == set()
            assert None in marks  # it was cut off
            stepwise.go.release()
            await becomes_now(worker)
        await bus.close()
        await other.close()


async def watch(worker: Runner, marks: set[datetime | None]) -> None:
    """Looks at every turn of the loop."""
    while True:
        marks.add(worker.watermark())
        await asyncio.sleep(0)
