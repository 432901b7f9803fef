"""Rules that only show when something is refused: each is what one of the mutants breaks."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from hub.bus.hedged import Hedge
from hub.errors import NotDurable
from hub.ports import DeadLetter
from tests.bus.broker import opened, vhost
from tests.contract.buses import WORK, message, publish, receive
from tests.disk.support import named, open_disk
from tests.hub import until
from tests.servers.rabbitmq import RabbitMQ


async def test_a_delivery_whose_copy_the_broker_refuses_stays_in_hand(amqp_url: str, rabbitmq: RabbitMQ) -> None:
    full = '{"max-length": 1, "overflow": "reject-publish"}'
    async with opened(amqp_url, confirm_timeout=0.5) as bus:
        await asyncio.to_thread(rabbitmq.ctl, "set_policy", "-p", vhost(amqp_url), "full", r"\.dead$", full)
        subscription = bus.subscribe(WORK, 10)
        await publish(bus, *(sent := [message() for _ in range(5)]))
        deliveries = await receive(subscription, 5)
        for delivery in deliveries:  # one by one: the broker lets some beyond the limit that are on their way together
            await subscription.settle([(delivery, DeadLetter("no room"))])
        await subscription.close()

        async def all_there() -> bool:
            return (depth := await bus.depth(WORK)).dead + depth.ready == len(sent)

        await until(all_there)
        assert (await bus.depth(WORK)).dead < len(sent)


async def test_what_the_bus_does_not_take_stays_in_the_outbox_in_its_order(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, opened("amqp://guest:guest@127.0.0.1:1/", patience=0.01) as nowhere:
        disk = await open_disk(stack, tmp_path)
        sent = [message() for _ in range(3)]
        for one in sent:
            await disk.keep([one])
        hedge = Hedge(nowhere, disk, bound=0.1, share=0)
        claimed = dict(await disk.claim(10))
        with suppress(NotDurable):
            await hedge._hand_over(claimed, set(claimed))
        await disk.release(list(claimed))
        assert [one.id for _, one in await disk.claim(10)] == named(sent)
