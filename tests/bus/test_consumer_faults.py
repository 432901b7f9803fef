"""What can go wrong with a consumer while its connection is sound, and what becomes of what it had in hand."""

import asyncio
import contextlib
import time
from typing import Any

import aio_pika
import pytest
from structlog.testing import capture_logs

from hub.bus import consumer, topology
from hub.bus.consumer import RabbitSubscription
from hub.bus.link import LONGEST_PAUSE, REFUSED_PAUSE, Pause
from hub.bus.rabbitmq import RabbitBus
from hub.errors import NotDurable
from hub.events import UNROUTED
from hub.ports import Ack, DeadLetter, Depth, Retry
from tests.bus.broker import insist, opened, vhost
from tests.contract.buses import WORK, depth_becomes, eventually, message, publish, receive
from tests.servers.rabbitmq import RabbitMQ

Logs = list[Any]


def events(logs: Logs, name: str) -> Logs:
    return [log for log in logs if log["event"] == name]


async def lost(logs: Logs) -> None:
    async def is_so() -> bool:
        return bool(events(logs, "bus.consumer_lost"))

    await eventually(is_so)


# --- the channel -----------------------------------------------------------------------------------------------------


async def _ack_of_an_unknown_tag(subscription: RabbitSubscription) -> None:
    assert subscription._channel is not None
    await subscription._channel.basic_ack(4711)


async def _question_for_what_is_not_there(subscription: RabbitSubscription) -> None:
    assert subscription._channel is not None
    with pytest.raises(Exception, match="NOT_FOUND"):
        await subscription._channel.queue_declare("nowhere", passive=True)


@pytest.mark.parametrize("fault", [_ack_of_an_unknown_tag, _question_for_what_is_not_there])
async def test_a_channel_that_the_broker_closes_is_rebuilt_and_touches_nothing_else(bus: RabbitBus, fault: Any) -> None:
    """B06, W16: the worker of what was in hand goes on; only its acknowledgement comes to nothing."""
    subscription = bus.subscribe(WORK, 10)
    await publish(bus, sent := message())
    (stale,) = await receive(subscription, 1)
    with capture_logs() as logs:
        began = time.monotonic()
        await fault(subscription)
        await lost(logs)
        await subscription.settle([(stale, Ack())])
        (fresh,) = await receive(subscription, 1, within=10)
        assert time.monotonic() - began < 10
        assert fresh.message == sent
        await publish(bus, message())  # at once: the publishing connection has not noticed anything
    await subscription.settle([(fresh, Ack()), *((one, Ack()) for one in await receive(subscription, 1))])
    assert not events(logs, "bus.disconnected")
    assert not events(logs, "bus.channel_replaced")
    assert len(events(logs, "bus.consumer_lost")) == 1
    await depth_becomes(bus, Depth(0, 0, 0))


async def test_an_acknowledgement_that_cannot_be_written_leaves_its_delivery_to_a_fresh_consumer(
    bus: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be in nobody's hand, and count against the prefetch until the connection ends."""
    monkeypatch.setattr(consumer, "_WRITE_TIMEOUT", 0.2)
    subscription = bus.subscribe(WORK, 1)
    assert isinstance(subscription, RabbitSubscription)
    await publish(bus, sent := message())
    (stale,) = await receive(subscription, 1)
    assert subscription._channel is not None

    async def full(_: object) -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(subscription._channel.connection.write_queue, "put", full)
        await subscription.settle([(stale, Ack())])
        assert subscription.in_hand == 1
    (fresh,) = await receive(subscription, 1)
    assert fresh.message == sent
    assert len(events(logs, "bus.not_acknowledged")) == 1
    await subscription.settle([(fresh, Ack())])
    await depth_becomes(bus, Depth(0, 0, 0))


# --- memory ----------------------------------------------------------------------------------------------------------


async def test_large_bodies_are_taken_in_smaller_numbers_and_small_ones_in_large_numbers_again(amqp_url: str) -> None:
    size = 100_000
    async with opened(amqp_url, most_bytes=10 * size) as bus:
        large = [message(padding="x" * size) for _ in range(60)]
        await publish(bus, *large)
        with capture_logs() as logs:
            subscription = bus.subscribe(WORK, 100)
            assert isinstance(subscription, RabbitSubscription)
            await lost(logs)  # its worker was slow to begin
            assert "bytes are in hand" in events(logs, "bus.consumer_lost")[0]["reason"]
        most = 0
        arrived: set[str] = set()
        while len(arrived) < len(large):
            batch = await subscription.fetch(100)
            most = max(most, subscription._bytes)
            await subscription.settle([(one, Ack()) for one in batch])
            arrived.update(one.message.id for one in batch)
        assert most <= 12 * size  # one more than fits, and its envelope
        narrow = subscription._allowance.count
        assert narrow < 10
        small = [message(n=n) for n in range(600)]
        await publish(bus, *small)
        while not arrived >= {one.id for one in small}:
            batch = await subscription.fetch(100)
            await subscription.settle([(one, Ack()) for one in batch])
            arrived.update(one.message.id for one in batch)
        await depth_becomes(bus, Depth(0, 0, 0))

        async def wide() -> bool:
            return subscription._allowance.count == 100 and subscription.registered

        await eventually(wide)


# --- dead letters and retries ----------------------------------------------------------------------------------------


async def test_where_the_dead_letters_have_no_place_to_go_the_original_stays_until_they_have(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    """B22: the queue is gone. It is declared again, and nothing was lost meanwhile."""
    await publish(bus, sent := message())
    subscription = bus.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    await stranger.queue_delete(f"{WORK}.dead")
    with capture_logs() as logs:
        await subscription.settle([(delivery, DeadLetter("no"))])
        await depth_becomes(bus, Depth(0, 0, 1))
    assert events(logs, "bus.returned")
    assert [letter.message for letter in await bus.dead(WORK)] == [sent]


async def test_where_the_dead_letters_are_full_the_original_stays_in_hand_with_an_alarm(
    bus: RabbitBus, rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    """B22: the broker refuses the copy."""
    sent = [message(n=n) for n in range(6)]
    await publish(bus, *sent)
    subscription = bus.subscribe(WORK, 10)
    batch = await receive(subscription, len(sent))
    host = vhost(amqp_url)
    policy = '{"max-length": 1, "overflow": "reject-publish"}'
    rabbitmq.ctl("set_policy", "-p", host, "full", r"\.dead$", policy, "--apply-to", "queues")
    with capture_logs() as logs:
        for delivery in batch:
            await subscription.settle([(delivery, DeadLetter("no"))])

        async def told() -> bool:
            return bool(events(logs, "bus.not_moved"))

        await eventually(told)
        depth = await bus.depth(WORK)
        assert depth.in_flight > 0
        assert depth.in_flight + depth.dead == len(sent)
        rabbitmq.ctl("clear_policy", "-p", host, "full")
        await depth_becomes(bus, Depth(0, 0, len(sent)))


async def test_a_long_wait_does_not_hold_up_a_short_one_behind_it(bus: RabbitBus) -> None:
    """B24: with both in one queue the short one would wait behind the long one."""
    first, second = message(n=1), message(n=2)
    await publish(bus, first, second)
    subscription = bus.subscribe(WORK, 10)
    batch = await receive(subscription, 2)
    await subscription.settle([(batch[0], Retry(1.9, "long"))])
    await subscription.settle([(batch[1], Retry(0.9, "short"))])
    came = [one.message for one in await receive(subscription, 2)]
    assert came == [second, first]


# --- connecting ------------------------------------------------------------------------------------------------------


async def test_under_an_alarm_a_new_connection_waits_and_does_not_try_for_ever(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    """B05."""
    async with opened(amqp_url) as bus:
        await publish(bus, message())
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1000")
    try:
        with capture_logs() as logs:
            async with opened(amqp_url) as bus:

                async def blocked() -> bool:
                    with pytest.raises(NotDurable):
                        await bus.publish([message()])
                    return "blocks publishers" in bus.state()[1]

                await eventually(blocked)
                for _ in range(20):
                    with pytest.raises(NotDurable):
                        await bus.publish([message()])
                assert len(events(logs, "bus.channel_replaced")) == 1
                assert not events(logs, "bus.disconnected")
                subscription = bus.subscribe(WORK, 10)
                await receive(subscription, 1)  # consuming is not blocked
                rabbitmq.ctl("set_vm_memory_high_watermark", "0.8")
                await insist(bus, message(), within=10)
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.8")


# --- who may what ----------------------------------------------------------------------------------------------------


async def test_a_password_that_is_changed_is_told_without_it_and_tried_ever_less_often(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    """B28."""
    host, user, secret = vhost(amqp_url), "rotated", "canary-of-a-password"
    rabbitmq.ctl("add_user", user, secret)
    rabbitmq.ctl("set_permissions", "-p", host, user, ".*", ".*", ".*")
    try:
        with capture_logs() as logs:
            async with opened(amqp_url.replace("guest:guest", f"{user}:{secret}")) as bus:
                subscription = bus.subscribe(WORK, 10)
                await insist(bus, message())
                rabbitmq.ctl("change_password", user, "another")
                rabbitmq.ctl("close_all_connections", "-p", host, "rotated")

                async def refused() -> bool:
                    return len(events(logs, "bus.refused")) >= 4

                await eventually(refused)
                assert not subscription.registered
                assert "REFUSED" in bus.state()[1]
                rabbitmq.ctl("change_password", user, secret)
                await insist(bus, sent := message(), within=60)
                arrived = [one.message for one in await receive(subscription, 2, within=60)]
                assert sent in arrived
        assert {log["log_level"] for log in events(logs, "bus.refused")} == {"error"}
        assert secret not in str(logs)
    finally:
        rabbitmq.ctl("delete_user", user)


def test_who_is_not_let_in_tries_once_a_minute_and_who_finds_nobody_every_other_second() -> None:
    pause = Pause()
    assert [pause.next() for _ in range(4)] == [0.5, 1, 2, 2]
    pause.longest = REFUSED_PAUSE
    assert [pause.next() for _ in range(7)] == [4, 8, 16, 32, 60, 60, 60]
    pause.longest = LONGEST_PAUSE
    assert pause.next() == 2


async def test_a_permission_that_is_taken_away_stops_publishing_with_its_name_and_returns_with_it(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    """B28."""
    host, user = vhost(amqp_url), "restricted"
    rabbitmq.ctl("add_user", user, "x")
    rabbitmq.ctl("set_permissions", "-p", host, user, ".*", ".*", ".*")
    try:
        async with opened(amqp_url.replace("guest:guest", f"{user}:x")) as bus:
            await insist(bus, message())
            with capture_logs() as logs:
                rabbitmq.ctl("set_permissions", "-p", host, user, ".*", "^$", ".*")

                async def told() -> bool:
                    with contextlib.suppress(NotDurable):
                        await bus.publish([message()])
                    return any("ACCESS_REFUSED" in log["reason"] for log in events(logs, "bus.channel_replaced"))

                # The broker asks again for what it has allowed once the channel has been quiet for a second or two.
                await eventually(told, within=60, every=3)
                assert "ACCESS_REFUSED" in bus.state()[1]
            rabbitmq.ctl("set_permissions", "-p", host, user, ".*", ".*", ".*")
            await insist(bus, message(), within=20)
    finally:
        rabbitmq.ctl("delete_user", user)


# --- connecting again ------------------------------------------------------------------------------------------------


async def test_publishing_goes_on_without_waiting_for_what_it_does_not_need(
    bus: RabbitBus, rabbitmq: RabbitMQ, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue whose leader is away answers no declaration; what goes to the others must not wait for that."""
    await publish(bus, message())
    stuck = asyncio.Event()

    async def never(*_: object) -> None:
        await stuck.wait()

    monkeypatch.setattr(topology, "declare", never)
    with capture_logs() as logs:
        rabbitmq.ctl("close_all_connections", "-p", vhost(amqp_url), "for a test")

        async def down() -> bool:
            return len(events(logs, "bus.disconnected")) == 2

        await eventually(down)
    await insist(bus, message(), within=10)
    stuck.set()


async def test_on_a_broker_that_lost_a_queue_meanwhile_nothing_is_published_before_the_queue_is_there(
    bus: RabbitBus, rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    await publish(bus, message())
    host = vhost(amqp_url)
    rabbitmq.evaluate(
        f'Q = rabbit_misc:r(<<"{host}">>, queue, <<"{WORK}">>), {{ok, X}} = rabbit_amqqueue:lookup(Q),'
        f' {{ok, _}} = rabbit_amqqueue:delete(X, false, false, <<"tests">>),'
        f' [rabbit_networking:close_connection(P, "for a test") || P <- rabbit_networking:connections()], ok'
    )
    await insist(bus, sent := message())
    (delivery,) = await receive(bus.subscribe(WORK, 10), 1)
    assert delivery.message == sent
    with pytest.raises(NotDurable, match="no queue"):
        await bus.depth("trunkline.nowhere")
    assert (await bus.depth(UNROUTED)).ready == 0
