"""Progress, not connections: a consumer that gets nothing is found, mended, and at the last given up (rules 4.4.4)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from hub.bus.consumer import RabbitSubscription
from hub.bus.rabbitmq import RabbitBus
from hub.bus.watchdog import Silence, Step
from hub.ports import Ack, Depth, Subscription
from tests.bus.broker import opened
from tests.contract.buses import WORK, depth_becomes, eventually, message, publish, receive
from tests.servers.rabbitmq import RabbitMQ

WATCH = 0.3

# --- the judgement ---------------------------------------------------------------------------------------------------


def test_a_silence_asks_for_each_step_once_and_in_its_order() -> None:
    silence = Silence()
    wanted = [Step.NOTHING] * 2 + [Step.REBUILD, Step.RECONNECT, Step.NOTHING, Step.GIVE_UP] + [Step.NOTHING] * 2
    assert [silence.again() for _ in wanted] == wanted


def test_whatever_is_heard_ends_a_silence() -> None:
    silence = Silence()
    for _ in range(20):
        assert [silence.again() for _ in range(2)] == [Step.NOTHING] * 2
        silence.broken()


# --- at the broker ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def watched(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with opened(amqp_url, watch=WATCH) as bus:
        yield bus


async def test_a_sound_consumer_hears_its_probes_and_nobody_else_ever_sees_one(watched: RabbitBus) -> None:
    subscription = watched.subscribe(WORK, 10)
    others = [watched.subscribe(WORK, 10) for _ in range(3)]
    with capture_logs() as logs:
        for _ in range(12):  # more looks than it takes to be given up
            await hears(subscription)
    assert not [log for log in logs if log["event"] in {"bus.consumer_silent", "bus.consumer_lost"}]
    for one in (subscription, *others):
        with pytest.raises(TimeoutError):
            await receive(one, 1, within=0.05)
    await depth_becomes(watched, Depth(0, 0, 0))


async def test_one_that_has_no_room_is_left_alone_however_long_its_worker_takes(watched: RabbitBus) -> None:
    await publish(watched, *(message(n=n) for n in range(5)))
    subscription = watched.subscribe(WORK, 2)
    batch = await receive(subscription, 2)
    with capture_logs() as logs:
        await asyncio.sleep(WATCH * 8)  # the store is away, say: a time is what this is about
        assert subscription.registered
    assert not [log for log in logs if log["event"] in {"bus.consumer_silent", "bus.consumer_lost"}]
    await subscription.settle([(one, Ack()) for one in batch])
    await subscription.settle([(one, Ack()) for one in await receive(subscription, 2)])
    await subscription.settle([(one, Ack()) for one in await receive(subscription, 1)])
    await depth_becomes(watched, Depth(0, 0, 0))


async def test_a_consumer_that_the_broker_serves_no_more_is_rebuilt(watched: RabbitBus) -> None:
    subscription = watched.subscribe(WORK, 10)
    await registered(subscription)
    assert isinstance(subscription, RabbitSubscription)
    deaf = subscription._channel
    assert deaf is not None
    deaf.consumers.clear()  # type: ignore[attr-defined]  # whatever arrives on the channel is dropped in the library
    with capture_logs() as logs:

        async def rebuilt() -> bool:
            return subscription.registered and subscription._channel is not deaf

        await eventually(rebuilt)
        await publish(watched, sent := message())
        assert (await receive(subscription, 1))[0].message == sent
    silent = [log for log in logs if log["event"] == "bus.consumer_silent"]
    assert [log["step"] for log in silent] == ["rebuild"]
    assert silent[0]["queue"] == WORK


async def test_where_neither_consumer_nor_connection_can_be_mended_the_process_is_told(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[str] = []
    monkeypatch.setattr(RabbitSubscription, "_taken", lambda *_: None)  # no consumer of ours ever gets anything
    async with opened(amqp_url, watch=WATCH, on_stuck=given_up.append) as bus:
        with capture_logs() as logs:
            bus.subscribe(WORK, 10)

            async def told() -> bool:
                return bool(given_up)

            await eventually(told, within=60)
        steps = [log["step"] for log in logs if log["event"] == "bus.consumer_silent"]
        assert steps == ["rebuild", "reconnect", "give_up"]
        assert given_up[0].startswith(f"{WORK}: nothing arrived for ")
        replaced = [log for log in logs if log["event"] == "bus.disconnected" and "nothing arrived" in log["reason"]]
        assert [log["purpose"] for log in replaced] == ["consuming"]


async def test_while_nothing_can_be_published_nothing_is_judged(watched: RabbitBus, rabbitmq: RabbitMQ) -> None:
    subscription = watched.subscribe(WORK, 10)
    await hears(subscription)
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1000")
    try:
        with capture_logs() as logs:
            await asyncio.sleep(WATCH * 10)
            assert subscription.registered
        assert not [log for log in logs if log["event"] in {"bus.consumer_silent", "bus.consumer_lost"}]
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.8")
    await hears(subscription)


async def test_no_probe_is_left_behind_in_number_where_nobody_consumes(
    watched: RabbitBus,
) -> None:
    """A consumer that is registered and deaf leaves what it got to the next one, which forgets it."""
    subscription = watched.subscribe(WORK, 10)
    await registered(subscription)
    await hears(subscription)
    await subscription.close()
    depth = await watched.depth(WORK)
    assert depth.ready <= 1
    fresh = watched.subscribe(WORK, 10)
    await hears(fresh)
    await depth_becomes(watched, Depth(0, 0, 0))


async def registered(subscription: Subscription) -> None:
    async def is_so() -> bool:
        return subscription.registered

    await eventually(is_so)


async def hears(subscription: Subscription) -> None:
    """Waits until something arrives: without messages, that is a probe."""
    since = asyncio.get_running_loop().time()

    async def heard() -> bool:
        return bool(subscription.heard_at > since)  # type: ignore[attr-defined]

    await eventually(heard)
