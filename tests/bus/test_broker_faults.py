"""The broker's bad days. Where a test breaks something it asserts that it was broken."""

import asyncio
import logging
import time

import pytest
from structlog.testing import capture_logs

from hub.bus.rabbitmq import RabbitBus
from hub.errors import NotDurable
from hub.ports import Ack, DeadLetter, Delivery, Depth
from tests.bus.broker import insist, opened, vhost
from tests.contract.buses import ENDED, WORK, eventually, message, publish, receive
from tests.faults.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ


async def test_without_a_broker_it_starts_says_why_and_is_durable_nowhere(unused_port: int) -> None:
    began = time.monotonic()
    async with opened(f"amqp://hub:canary-of-a-password@127.0.0.1:{unused_port}/") as bus:
        subscription = bus.subscribe(WORK, 10)
        with pytest.raises(NotDurable):
            await bus.publish([message()])
        with pytest.raises(NotDurable):
            await bus.depth(WORK)
        assert time.monotonic() - began < 2
        usable, why = bus.state()
        assert not usable
        assert "refused" in why.lower() or "connect" in why.lower()
        assert not subscription.registered
        assert "canary" not in why


async def test_a_wrong_password_is_told_and_never_printed(
    rabbitmq: RabbitMQ, amqp_url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    url = amqp_url.replace("guest:guest", "guest:canary-of-a-password")
    with capture_logs() as logs:
        async with opened(url) as bus:
            with pytest.raises(NotDurable):
                await bus.publish([message()])
            assert "403" in bus.state()[1] or "refused" in bus.state()[1].lower()

            async def told() -> bool:
                return any(log["event"] == "bus.refused" for log in logs)

            await eventually(told)
    everything = str(logs) + str(bus.state()) + "".join(capfd.readouterr())
    everything += "".join(record.getMessage() for record in caplog.records if not record.name.startswith("asyncio"))
    assert "canary" not in everything


async def test_a_connection_that_the_broker_closes_is_rebuilt(
    bus: RabbitBus, rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    subscription = bus.subscribe(WORK, 10)
    await publish(bus, message())
    (stale,) = await receive(subscription, 1)
    with capture_logs() as logs:
        rabbitmq.ctl("close_all_connections", "-p", vhost(amqp_url), "for a test")

        async def lost() -> bool:
            return len([log for log in logs if log["event"] == "bus.disconnected"]) == 2

        await eventually(lost)
    await subscription.settle([(stale, Ack())])  # no error: it comes again
    (fresh,) = await receive(subscription, 1)
    await insist(bus, sent := message())
    assert (await receive(subscription, 1))[0].message == sent
    await subscription.settle([(fresh, Ack())])


async def test_a_memory_alarm_stops_publishing_only_and_passes(bus: RabbitBus, rabbitmq: RabbitMQ) -> None:
    sent = [message(n=n) for n in range(3)]
    await publish(bus, *sent)
    subscription = bus.subscribe(WORK, 10)
    batch = await receive(subscription, 3)
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1000")
    try:

        async def blocked() -> bool:
            try:
                await bus.publish([message("agent.ucontact.login")])
            except NotDurable:
                return "blocks publishers" in bus.state()[1]
            return False

        await eventually(blocked)
        began = time.monotonic()
        with pytest.raises(NotDurable):
            await bus.publish([message()])
        assert time.monotonic() - began < 1
        await subscription.settle([(batch[0], Ack()), (batch[1], DeadLetter("cannot be copied now"))])
        assert await bus.depth(WORK) == Depth(ready=0, in_flight=2, dead=0)
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.8")
    await insist(bus, message("agent.ucontact.login"), within=10)

    async def buried() -> bool:
        return await bus.depth(WORK) == Depth(ready=0, in_flight=1, dead=1)

    await eventually(buried)


async def test_a_connection_that_has_gone_silent_is_found_and_replaced(amqp_url: str) -> None:
    async with Proxy(amqp_url) as proxy, opened(proxy.url, heartbeat=1, confirm_timeout=1.0) as bus:
        subscription = bus.subscribe(WORK, 10)
        await publish(bus, message())
        (delivery,) = await receive(subscription, 1)
        await subscription.settle([(delivery, Ack())])
        proxy.silence()
        began = time.monotonic()
        with pytest.raises(NotDurable):
            await bus.publish([message()])
        assert time.monotonic() - began < 2
        assert proxy.swallowed > 0
        await insist(bus, sent := message(), within=10)
        arrived: set[str] = set()
        while sent.id not in arrived:
            arrived.update(one.message.id for one in await receive(subscription, 1, within=10))


async def test_the_next_host_is_tried_when_one_is_down(amqp_url: str, unused_port: int) -> None:
    bus = RabbitBus([f"amqp://guest:guest@127.0.0.1:{unused_port}/", amqp_url], ladder=(1,))
    await bus.start()
    await bus.declare([ENDED])
    await insist(bus, sent := message(), within=10)
    (delivery,) = await receive(bus.subscribe(WORK, 10), 1)
    assert delivery.message == sent
    await bus.close()


class Load:
    """Publishing and consuming as fast as the broker takes it, whatever happens to it."""

    def __init__(self, bus: RabbitBus, publishers: int) -> None:
        self.confirmed: set[str] = set()
        self.got: set[str] = set()
        self._bus = bus
        self._stop = asyncio.Event()
        self._publishing = [asyncio.create_task(self._publish()) for _ in range(publishers)]
        self._consuming = asyncio.create_task(self._consume())

    async def stop(self) -> None:
        """Stops publishing, waits until everything that was confirmed has arrived."""
        self._stop.set()
        await asyncio.gather(*self._publishing)

        async def complete() -> bool:
            return self.confirmed <= self.got

        await eventually(complete)
        self._consuming.cancel()

    async def _publish(self) -> None:
        while not self._stop.is_set():
            sent = message()
            try:
                await self._bus.publish([sent])
            except NotDurable:
                await asyncio.sleep(0.01)
            else:
                self.confirmed.add(sent.id)

    async def _consume(self) -> None:
        subscription = self._bus.subscribe(WORK, 50)
        while True:
            batch: list[Delivery] = await subscription.fetch(50)
            await subscription.settle([(delivery, Ack()) for delivery in batch])
            self.got.update(delivery.message.id for delivery in batch)


async def grows(what: set[str], by: int, within: float = 30) -> None:
    target = len(what) + by

    async def grown() -> bool:
        return len(what) >= target

    await eventually(grown, within)


async def test_a_broker_that_is_killed_under_load_loses_nothing_that_it_confirmed(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    async with opened(amqp_url) as bus:
        load = Load(bus, publishers=20)
        await grows(load.got, 500)
        pid = rabbitmq.pid
        await asyncio.to_thread(rabbitmq.kill)

        async def down() -> bool:
            return not bus.state()[0]

        await eventually(down)
        await asyncio.to_thread(rabbitmq.start)
        assert rabbitmq.pid != pid
        await asyncio.gather(grows(load.confirmed, 200, within=10), grows(load.got, 200, within=10))
        await load.stop()
        assert len(load.confirmed) >= 700
