"""Rows B01, B03, B04, B07, B08, B10, B14: the broker's bad days, under load.

With ``FAULTS=full`` each fault is a row of its own, many times; else all of them happen to one hub, one after another.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Final

import aio_pika
import pytest

from tests.faults.proxy import Proxy
from tests.faults.scale import FULL, at
from tests.faults.trial import Trial, ask, trial
from tests.hub import until
from tests.servers.rabbitmq import RabbitMQ

HEARTBEAT: Final = 15.0  # seconds, of the bus
RESTART: Final = 15.0  # seconds until there is another consumer
QUEUE: Final = "trunkline.persistence"
SOON_DERIVED: Final = (
    "SELECT 1 FROM calls WHERE seal_at < now() + interval '1 second' UNION ALL SELECT 1 FROM outbox LIMIT 1"
)
CONFIRM: Final = 5.0  # seconds, likewise


class Scene:
    """The broker, the two lines to it, and the hub beyond."""

    def __init__(self, broker: RabbitMQ, url: str, ingress: Proxy, workers: Proxy, row: Trial) -> None:
        self.broker = broker
        self.vhost = url.rpartition("/")[2]
        self.url = url
        self.ingress, self.workers = ingress, workers
        self.row = row

    async def ctl(self, *words: str) -> str:
        """What ``rabbitmqctl`` prints."""
        return await asyncio.to_thread(self.broker.ctl, *words)

    async def alarms(self) -> str:
        return await asyncio.to_thread(self.broker.evaluate, "rabbit_alarm:get_alarms()")

    async def alarm(self, what: str, *, on: bool) -> None:
        async def seen() -> bool:
            return (f"resource_limit,{what}" in (await self.alarms()).replace(" ", "")) is on

        await until(seen)

    async def on_time(self) -> bool:
        return not self.ingress.down.under_way

    async def nothing_moves(self) -> bool:
        """Whether the queue is empty, nobody has anything of it in hand, and no call is sealed in the next second."""
        return await self.messages() == 0 and not await ask(self.row.store, SOON_DERIVED)

    async def messages(self) -> int:
        """Of the queue, in whoever's hands."""
        return int(
            await asyncio.to_thread(
                self.broker.evaluate,
                f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{self.vhost}">>, queue, <<"{QUEUE}">>)),'
                " {ok, {_, Count}, _} = ra:local_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1),"
                " Count",
            )
        )

    def disconnected(self) -> list[int]:
        return [self.row.here.said(number, "bus.disconnected") for number in range(3)]


async def killed(scene: Scene) -> None:
    """B01: SIGKILL, and a new start on the same data."""
    pid = scene.broker.pid
    await asyncio.to_thread(scene.broker.kill)
    await scene.row.load.accepts(20)
    await asyncio.to_thread(scene.broker.start)
    assert scene.broker.pid != pid
    await scene.row.recovers()


async def memory_alarm(scene: Scene) -> None:
    """B03: publishers are blocked; workers go on acknowledging."""
    await scene.ctl("set_vm_memory_high_watermark", "absolute", "1000")
    try:
        await scene.alarm("memory", on=True)
        await scene.row.load.accepts(at(quick=40, full=600))
    finally:
        await scene.ctl("set_vm_memory_high_watermark", "0.8")
    await scene.alarm("memory", on=False)
    await scene.row.recovers()


async def disk_alarm(scene: Scene) -> None:
    """B04: likewise."""
    await scene.ctl("set_disk_free_limit", "100000GB")
    try:
        await scene.alarm("disk", on=True)
        await scene.row.load.accepts(at(quick=40, full=600))
    finally:
        await scene.ctl("set_disk_free_limit", "50MB")
    await scene.alarm("disk", on=False)
    await scene.row.recovers()


async def connections_closed(scene: Scene) -> None:
    """B07: 320 CONNECTION_FORCED on every connection of the virtual host."""
    before = scene.disconnected()
    await scene.ctl("close_all_connections", "-p", scene.vhost, "for a test")

    async def lost() -> bool:
        return all(now >= was + 2 for was, now in zip(before, scene.disconnected(), strict=True))

    await until(lost)  # two connections each
    await scene.row.recovers()


async def half_open(scene: Scene) -> None:
    """B08: nothing passes and nobody is told; found within two heartbeats."""
    lines = (scene.ingress, scene.workers)
    before = [line.accepted for line in lines]
    began = monotonic()
    assert [line.silence() for line in lines] == [2, 4]

    async def replaced() -> bool:
        return [line.accepted - was for line, was in zip(lines, before, strict=True)] >= [2, 4]

    await until(replaced, within=4 * HEARTBEAT)
    assert monotonic() - began <= 2 * HEARTBEAT + 5  # the goodbye that nobody hears, the pause before the next try
    assert all(line.swallowed for line in lines)
    await scene.row.recovers()


async def late_confirms(scene: Scene) -> None:
    """B10: the ingress hears of its confirms after it has given them up."""
    given_up = scene.disconnected()[0]
    scene.ingress.down.delay = CONFIRM + 1
    try:
        await scene.row.logs("bus.disconnected", 0, more_than=given_up)
        await scene.row.load.accepts(20)
    finally:
        scene.ingress.down.delay = 0
    await until(scene.on_time)
    assert scene.ingress.down.late
    await scene.row.recovers()


async def queue_deleted(scene: Scene) -> None:
    """B14: the queue goes away under its consumers, who make another.

    What lay in it would go with it, so it is empty then: the ingress stands still for a moment. What comes before there
    is another queue is kept among the unrouted, and given to it when it is there.
    """
    here = scene.row.here
    ingress = here.started[0]
    consuming = [here.said(number, "bus.consuming") for number in (1, 2)]
    async with await aio_pika.connect(scene.url) as connection:
        channel = await connection.channel(on_return_raises=True)
        ingress.send_signal(signal.SIGSTOP)
        try:
            await until(scene.nothing_moves)
            await channel.queue_delete(QUEUE)
        finally:
            ingress.send_signal(signal.SIGCONT)
        began = monotonic()
        for number, before in zip((1, 2), consuming, strict=True):
            await scene.row.logs("bus.consuming", number, more_than=before)
        assert monotonic() - began <= RESTART
    await scene.row.recovers()


Fault = Callable[[Scene], Awaitable[None]]
FAULTS: Final[dict[str, tuple[Fault, int]]] = {
    "B01 killed": (killed, at(quick=1, full=20)),
    "B03 memory alarm": (memory_alarm, at(quick=1, full=20)),
    "B04 disk alarm": (disk_alarm, at(quick=1, full=20)),
    "B07 connections closed": (connections_closed, at(quick=1, full=20)),
    "B08 half-open connections": (half_open, at(quick=0, full=20)),  # 30 s each
    "B10 late confirms": (late_confirms, at(quick=1, full=20)),
    "B14 queue deleted": (queue_deleted, at(quick=1, full=20)),
}
ROWS: Final = list(FAULTS) if FULL else [", ".join(name for name, (_, times) in FAULTS.items() if times)]


@pytest.fixture
async def scene(rabbitmq: RabbitMQ, amqp_url: str, postgres_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with (
        Proxy(amqp_url) as ingress,
        Proxy(amqp_url) as workers,
        trial(tmp_path, ingress.url, postgres_url, witness=postgres_url, workers_bus=workers.url) as made,
    ):
        yield Scene(rabbitmq, amqp_url, ingress, workers, made)


@pytest.mark.timeout(at(quick=240, full=1500))
@pytest.mark.parametrize("row", ROWS)
async def test_every_answer_is_200_nothing_is_lost_and_nothing_is_there_twice(
    row: str, scene: Scene, tmp_path: Path
) -> None:
    planned = [fault for name, (fault, times) in FAULTS.items() if name in row for _ in range(times)]
    for fault in planned:
        await fault(scene)
    await scene.row.ends(row, len(planned), tmp_path / "oracle")
