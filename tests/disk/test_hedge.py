"""An event is accepted by the bus, or by the outbox, and reaches the bus either way."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import psutil
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
from tests.faults.scale import at
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


class Choosy(SqliteBus):
    """A bus that does not take what says so, however it is asked."""

    asked: Counter[str]

    async def publish(self, messages: Sequence[Message]) -> None:
        for one in messages:
            self.asked[one.id] += 1
            if b'"poison"' in one.body:
                raise NotDurable("it is too large") if b'"large"' in one.body else TypeError("a header of no type")
        await super().publish(messages)


@pytest.fixture
async def choosy(tmp_path: Path) -> AsyncIterator[Choosy]:
    bus = Choosy(tmp_path / "bus.db", poll=0.5)
    bus.asked = Counter()
    await bus.start()
    await bus.declare([QUEUE])
    yield bus
    await bus.close()


async def test_what_the_bus_never_takes_stands_before_nobody_and_is_set_aside_with_its_reason(
    choosy: Choosy, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hedged, "_MOST_TRIES", 3)
    monkeypatch.setattr(hedged, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(hedged, "_LOOK_AGAIN", 0.05)
    poison = [message(poison="large"), message(poison="strange")]
    good = [message(n=n) for n in range(300)]
    await disk.keep([*good[:10], poison[0], *good[10:200], poison[1], *good[200:]])
    with capture_logs() as logs:
        async with at_work(Hedge(choosy, disk, bound=5, share=0)) as hedge:
            assert set(await on_the_bus(choosy, 300)) == set(named(good))

            async def set_aside() -> bool:
                await hedge.publish([message()])  # the bus takes others: so it is not the bus
                return len(await disk.damaged(10)) == 2

            await until(set_aside, within=60)
            await drained(disk)
    assert {one.content["body"] for one in await disk.damaged(10)} == {one.body for one in poison}
    assert [log["reason"] for log in logs if log["event"] == "outbox.set_aside"] in (
        ["it is too large", "a header of no type"],
        ["a header of no type", "it is too large"],
    )
    assert max(choosy.asked[one.id] for one in good) <= 3, "the others are not handed over again each time"


async def test_while_the_bus_takes_nothing_at_all_nothing_is_set_aside(
    choosy: Choosy, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hedged, "_MOST_TRIES", 2)
    monkeypatch.setattr(hedged, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(hedged, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(hedged, "_LONGEST_HOLD", 0.02)
    await disk.keep([message(poison="large") for _ in range(5)])
    async with at_work(Hedge(choosy, disk, bound=5, share=0)):

        async def often() -> bool:
            return sum(choosy.asked.values()) > 60

        await until(often)
    assert await disk.waiting() == 5
    assert await disk.damaged(10) == []


async def test_the_relay_keeps_to_its_rate_and_what_comes_in_meanwhile_does_not_wait_for_it(
    bus: SqliteBus, disk: Disk
) -> None:
    sent = [message(n=n) for n in range(900)]
    await disk.keep(sent)
    began = monotonic()
    async with at_work(Hedge(bus, disk, bound=5, share=0, rate=600)) as hedge:
        await hedge.publish([live := message()])
        assert await disk.waiting() > 300
        await drained(disk)
    assert monotonic() - began > 1.0
    arrived = await on_the_bus(bus, 901)
    assert [one for one in arrived if one != live.id] == named(sent)
    assert arrived.index(live.id) < 500


@pytest.mark.timeout(170)
async def test_a_backlog_is_handed_over_in_order_in_bounded_memory_and_with_a_bounded_wal(
    tmp_path: Path, disk: Disk
) -> None:
    """Its speed is measured by tests/bench: a busy machine would only make it a matter of luck here."""
    count = at(quick=5_000, full=100_000)
    arrived: list[str] = []

    class Counting(SqliteBus):
        async def publish(self, messages: Sequence[Message]) -> None:
            arrived.extend(one.id for one in messages)

    sent: list[str] = []
    for n in range(0, count, 500):
        some = [message(n=m, filler="x" * 900) for m in range(n, n + 500)]
        await disk.keep(some)
        sent += named(some)
    process = psutil.Process()
    before, most, longest = process.memory_info().rss, 0, 0
    bus = Counting(tmp_path / "bus.db")
    await bus.start()
    async with at_work(Hedge(bus, disk, bound=5, share=0, rate=1e9)):

        async def empty() -> bool:
            nonlocal most, longest
            most = max(most, process.memory_info().rss - before)
            longest = max(longest, (tmp_path / "outbox.db-wal").stat().st_size)
            return await disk.waiting() == 0

        await until(empty, within=160)
    await bus.close()
    assert arrived == sent
    assert most < 64 << 20
    assert longest < 64 << 20


async def _is_down(bus: Bus) -> bool:
    return not bus.state()[0]


async def _more_than(accepted: list[str], count: int) -> bool:
    return len(accepted) > count


async def _late(line: Proxy) -> bool:
    return line.down.late > 0


def _ready(count: int) -> Depth:
    return Depth(ready=count, in_flight=0, dead=0)
