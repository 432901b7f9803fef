"""What an ingress accepted without a broker is on its disk, whatever happens to its process."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.ports import Ack
from tests.faults.proxy import Proxy
from tests.process.site import Load, Site, exit_status, site
from workers.persistence import QUEUE


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.mark.timeout(90)
async def test_an_ingress_killed_with_a_full_outbox_hands_everything_over_after_its_next_start(
    here: Site, amqp_url: str
) -> None:
    async with Proxy(amqp_url) as line:
        await line.cut()
        here.configure(bus={"url": line.url}, outbox={"path": str(here.directory / "o.db"), "max_bytes": 500_000})
        killed = here.start("ingress")
        await here.ready()
        async with Load(here.url, seed=6) as load:
            await load.until(lambda: load.statuses[503] > 20)
            status, health = await here.get("/readyz")
            assert (status, health["status"], health["parts"]["outbox"]["state"]) == (503, "down", "down")
            killed.kill()
            assert await exit_status(killed) == -signal.SIGKILL
        assert len(load.accepted) > 100

        await line.mend()
        here.start("ingress")
        await here.ready()
        bus = RabbitBus([amqp_url])
        await bus.start()
        subscription = bus.subscribe(QUEUE.name, 500)
        arrived: set[str] = set()
        async with asyncio.timeout(30):
            while not load.accepted <= arrived:
                deliveries = await subscription.fetch(500)
                await subscription.settle([(delivery, Ack()) for delivery in deliveries])
                arrived |= {delivery.message.id for delivery in deliveries}
        await bus.close()
        assert (await here.becomes(200))["status"] == "ok"
