"""An event is accepted by the bus, or by the outbox, and reaches the bus either way."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from structlog.testing import capture_logs

from hub import disk as disk_module
from hub.bus import hedged
from hub.bus.hedged import Hedge
from hub.bus.rabbitmq import RabbitBus
from hub.bus.sqlite import SqliteBus
from hub.disk import Disk
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Bus, Depth
from tests.contract.buses import depth_becomes, message
from tests.disk.support import QUEUE, fill, named, on_the_bus, open_disk
from tests.faults.proxy import Proxy
from tests.hub import until

BOUND = 0.25
FEW = 400_000


@asynccontextmanager
async def at_work(hedge: Hedge) -> AsyncIterator[Hedge]:
    """A hedge that relays."""
    await hedge.start()
    try:
        yield hedge
    finally:
        await hedge.close()


@pytest.fixture
async def line(amqp_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(amqp_url) as line:
        yield line


@pytest.fixture
async def broker(line: Proxy) -> AsyncIterator[RabbitBus]:
    """A bus on RabbitMQ, at the end of a line that can be cut."""
    bus = RabbitBus([line.url])
    await bus.start()
    await bus.declare([QUEUE])
    yield bus
    await bus.close()


async def drained(disk: Disk) -> None:
    async def empty() -> bool:
        return await disk.waiting() == 0

    await until(empty)


async def test_what_the_bus_confirms_does_not_touch_the_outbox(bus: SqliteBus, disk: Disk) -> None:
    hedge = Hedge(bus, disk, bound=5, share=0)
    await hedge.publish(sent := [message(), message()])
    assert await disk.waiting() == 0
    assert await on_the_bus(bus, 2) == named(sent)


@pytest.mark.parametrize("way", [{"share": 1.0}, {"share": 0.0, "only_outbox": True}], ids=["share", "only_outbox"])
async def test_what_is_to_take_the_outbox_takes_it_and_reaches_the_bus(
    bus: SqliteBus, disk: Disk, way: dict[str, float]
) -> None:
    hedge = Hedge(bus, disk, bound=5, **way)  # type: ignore[arg-type]
    sent = [message(n=n) for n in range(450)]  # more than the relay takes at once
    for one in sent:
        await hedge.publish([one])
    assert await disk.waiting() == len(sent)
    assert (await bus.depth(QUEUE.name)).ready == 0
    async with at_work(hedge):
        await drained(disk)
        await hedge.publish([last := message()])
        await drained(disk)
    assert await on_the_bus(bus, len(sent) + 1) == [*named(sent), last.id]


async def test_a_small_share_takes_the_outbox(bus: SqliteBus, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", random.Random(7).random)  # noqa: S311
    hedge = Hedge(bus, disk, bound=5, share=0.1)
    await asyncio.gather(*(hedge.publish([message()]) for _ in range(500)))
    assert 25 < await disk.waiting() < 80
    assert await disk.waiting() + (await bus.depth(QUEUE.name)).ready == 500


async def test_while_the_bus_is_down_the_outbox_takes_all_and_the_relay_drains_it_in_order_each_event_once(
    broker: RabbitBus, disk: Disk, line: Proxy
) -> None:
    async with at_work(Hedge(broker, disk, bound=BOUND, share=0)) as hedge:
        await line.cut()
        await until(lambda: _is_down(broker))
        sent = [message(n=n) for n in range(450)]
        began = monotonic()
        for one in sent:
            await hedge.publish([one])
        assert monotonic() - began < 0.02 * len(sent)  # nobody waits for a bus that is known to be down
        assert await disk.waiting() == len(sent)
        await line.mend()
        await drained(disk)
        await depth_becomes(broker, _ready(len(sent)), QUEUE.name)
        assert await on_the_bus(broker, len(sent)) == named(sent)


@pytest.mark.timeout(60)
async def test_a_bus_that_breaks_under_load_loses_nothing_that_was_accepted(
    broker: RabbitBus, disk: Disk, line: Proxy
) -> None:
    accepted: list[str] = []

    async def publish_some(hedge: Hedge, sent: Sequence[Message]) -> None:
        for one in sent:
            await hedge.publish([one])
            accepted.append(one.id)

    async with at_work(Hedge(broker, disk, bound=BOUND, share=0)) as hedge:
        publishers = [asyncio.create_task(publish_some(hedge, [message(n=n) for n in range(150)])) for _ in range(8)]
        await until(lambda: _more_than(accepted, 100))
        await line.cut()
        await until(lambda: _more_than(accepted, 600))
        assert await disk.waiting()
        await line.mend()
        await asyncio.gather(*publishers)
        await drained(disk)
        depth = await broker.depth(QUEUE.name)
        arrived = Counter(await on_the_bus(broker, depth.ready))
    assert len(accepted) == 1200
    assert set(arrived) == set(accepted)
    assert max(arrived.values()) <= 2  # what was on the line when it was cut


@pytest.mark.timeout(60)
async def test_a_confirm_that_is_later_than_the_bound_costs_no_more_than_the_bound_and_no_event(
    broker: RabbitBus, disk: Disk, line: Proxy
) -> None:
    async with at_work(Hedge(broker, disk, bound=0.1, share=0)) as hedge:
        line.down.delay = 0.6
        sent = [message(n=n) for n in range(20)]
        began = monotonic()
        await asyncio.gather(*(hedge.publish([one]) for one in sent))
        taken = monotonic() - began
        assert await disk.waiting() == 20
        assert 0.1 <= taken < 0.5
        await until(lambda: _late(line))
        line.down.delay = 0
        await drained(disk)
        depth = await broker.depth(QUEUE.name)
        arrived = Counter(await on_the_bus(broker, depth.ready))
    assert set(arrived) == set(named(sent))
    assert max(arrived.values()) <= 2


@pytest.mark.timeout(60)
async def test_a_late_confirm_is_waited_for_where_the_outbox_is_full(
    broker: RabbitBus, line: Proxy, tmp_path: Path, stack: AsyncExitStack
) -> None:
    disk = await open_disk(stack, tmp_path, max_bytes=FEW)
    await fill(disk)
    hedge = Hedge(broker, disk, bound=0.05, share=0)
    line.down.delay = 0.3
    await hedge.publish([one := message()])
    assert line.down.late
    line.down.delay = 0
    assert await on_the_bus(broker, 1) == [one.id]


@pytest.mark.parametrize("way", [{"share": 1.0}, {"share": 0.0, "only_outbox": True}], ids=["share", "only_outbox"])
async def test_a_full_outbox_is_no_reason_to_refuse_what_the_bus_takes(
    bus: SqliteBus, tmp_path: Path, stack: AsyncExitStack, way: dict[str, float]
) -> None:
    disk = await open_disk(stack, tmp_path, max_bytes=FEW)
    await fill(disk)
    await Hedge(bus, disk, bound=5, **way).publish([one := message()])  # type: ignore[arg-type]
    assert await on_the_bus(bus, 1) == [one.id]


async def test_where_neither_takes_it_it_is_refused_and_taken_again_once_there_is_room(
    broker: RabbitBus, line: Proxy, tmp_path: Path, stack: AsyncExitStack
) -> None:
    disk = await open_disk(stack, tmp_path, max_bytes=FEW)
    await line.cut()
    await until(lambda: _is_down(broker))
    kept = await fill(disk)
    async with at_work(Hedge(broker, disk, bound=BOUND, share=0)) as hedge:
        with pytest.raises(NotDurable, match="bytes already; the bus: "):
            await hedge.publish([message()])
        await line.mend()
        await drained(disk)
        await hedge.publish([after := message()])
    assert await on_the_bus(broker, len(kept) + 1) == [*named(kept), after.id]


async def test_what_a_killed_process_had_claimed_is_relayed_though_nothing_else_comes(
    bus: SqliteBus, tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "_LEASE", 0.3)
    monkeypatch.setattr(hedged, "_LOOK_AGAIN", 0.05)
    killed = await open_disk(stack, tmp_path)
    await killed.keep(sent := [message(), message()])
    assert len(await killed.claim(10)) == 2
    heir = await open_disk(stack, tmp_path)
    async with at_work(Hedge(bus, heir, bound=5, share=0)):
        assert await on_the_bus(bus, 2) == named(sent)
        await drained(heir)


async def test_two_processes_on_one_outbox_relay_each_event_once(
    bus: SqliteBus, tmp_path: Path, stack: AsyncExitStack
) -> None:
    disks = [await open_disk(stack, tmp_path) for _ in range(2)]
    hedges = [await stack.enter_async_context(at_work(Hedge(bus, disk, bound=5, share=1))) for disk in disks]
    sent = [message(n=n) for n in range(300)]
    await asyncio.gather(*(hedges[n % 2].publish([one]) for n, one in enumerate(sent)))
    await drained(disks[0])
    await depth_becomes(bus, _ready(300), QUEUE.name)
    assert set(await on_the_bus(bus, 300)) == set(named(sent))


async def test_a_defect_on_the_way_to_the_bus_does_not_end_the_relay(tmp_path: Path, disk: Disk) -> None:
    class Defective(SqliteBus):
        failed = 0

        async def publish(self, messages: Sequence[Message]) -> None:
            if self.failed < 2:
                self.failed += 1
                raise ZeroDivisionError("a defect")
            await super().publish(messages)

    bus = Defective(tmp_path / "bus.db")
    await bus.start()
    await bus.declare([QUEUE])
    await disk.keep(sent := [message()])
    with capture_logs() as logs:
        async with at_work(Hedge(bus, disk, bound=5, share=0)):
            await drained(disk)
    assert [log["reason"] for log in logs if log["event"] == "outbox.waiting"] == ["a defect"] * 2
    assert await on_the_bus(bus, 1) == named(sent)
    await bus.close()


async def _is_down(bus: Bus) -> bool:
    return not bus.state()[0]


async def _more_than(accepted: list[str], count: int) -> bool:
    return len(accepted) > count


async def _late(line: Proxy) -> bool:
    return line.down.late > 0


def _ready(count: int) -> Depth:
    return Depth(ready=count, in_flight=0, dead=0)
