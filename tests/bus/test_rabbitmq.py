"""What is special to the bus on RabbitMQ: the wire, the topology, what is lost and what is told of it."""

import asyncio
import contextlib
import time

import aio_pika
import pytest
from pamqp import commands as spec
from structlog.testing import capture_logs

from hub.bus.rabbitmq import RabbitBus
from hub.bus.suspicion import ALONE, SUSPECT_AFTER
from hub.bus.wire import Copy
from hub.errors import NotDurable
from hub.events import EXCHANGE, UNROUTED, Message
from hub.ports import Ack, DeadLetter, Depth, Retry
from tests.bus.broker import insist, opened, vhost
from tests.contract.buses import WORK, depth_becomes, eventually, message, publish, receive
from tests.servers.rabbitmq import ACTOR, RabbitMQ

# --- the wire --------------------------------------------------------------------------------------------------------


async def test_a_stranger_receives_cloudevents_in_binary_mode(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    queue = await stranger.declare_queue("their.own", durable=True)
    await queue.bind(EXCHANGE, "call.*.ended")
    await publish(bus, sent := message(name="Peña"))
    got = await queue.get(timeout=5)
    assert got.body == sent.body
    assert got.headers == sent.headers
    assert got.routing_key == "call.infocaller.ended"
    assert got.exchange == EXCHANGE
    assert got.message_id == sent.id == sent.headers["ce-id"]
    assert got.type == "call.ended"
    assert got.correlation_id == sent.headers["ce-subject"]
    assert got.content_type == "application/json"
    assert got.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert got.app_id == "trunkline"
    assert got.timestamp is not None
    await got.ack()


async def test_queues_are_made_with_what_safety_hangs_on(bus: RabbitBus, rabbitmq: RabbitMQ, amqp_url: str) -> None:
    columns = ("name", "durable", "type", "arguments")
    listed = rabbitmq.ctl("list_queues", "-p", vhost(amqp_url), *columns, "--no-table-headers")
    queues = {line.split("\t")[0]: line for line in listed.splitlines()}
    retries = {f"{WORK}.retry.1s", f"{WORK}.retry.2s"}
    assert set(queues) == {UNROUTED, WORK, f"{WORK}.dead", f"{WORK}.suspects", *retries}
    for line in queues.values():
        assert "\ttrue\tquorum\t" in line
    for name in (WORK, *retries):
        for argument in ("at-least-once", "reject-publish", '{"x-delivery-limit",20}', '{"x-dead-letter-exchange",[]}'):
            assert argument.replace("[]", "") in queues[name].replace('""', "").replace("[]", "")
    for name in (WORK, f"{WORK}.suspects"):
        assert f'{{"x-dead-letter-routing-key","{WORK}.dead"}}' in queues[name]
    assert '{"x-delivery-limit",10}' in queues[f"{WORK}.suspects"]
    assert f'{{"x-dead-letter-routing-key","{WORK}"}}' in queues[f"{WORK}.retry.1s"]
    assert '{"x-message-ttl",1000}' in queues[f"{WORK}.retry.1s"]


async def test_a_strangers_message_keeps_what_is_its_own_through_retry_and_death(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    exchange = await stranger.get_exchange(EXCHANGE)
    theirs = aio_pika.Message(b"\xff\x00not json", headers={"n": 7, "text": "ñ"}, content_type="text/plain")
    await exchange.publish(theirs, "call.their.ended")
    subscription = bus.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    assert delivery.message == Message("call.their.ended", {"text": "ñ"}, b"\xff\x00not json")
    await subscription.settle([(delivery, Retry(0, "once"))])
    (delivery,) = await receive(subscription, 1)
    assert delivery.message.routing_key == "call.their.ended"
    await subscription.settle([(delivery, DeadLetter("no event of ours"))])
    dead = await stranger.declare_queue(f"{WORK}.dead", passive=True)
    got = await dead.get(timeout=5)
    assert got.body == theirs.body
    assert {key: got.headers[key] for key in ("n", "text")} == {"n": 7, "text": "ñ"}
    assert got.headers["x-trunkline-attempt"] == 2
    assert got.headers["x-trunkline-reason"] == "no event of ours"
    assert got.content_type == "text/plain"
    assert "x-death" not in got.headers


# --- publishing ------------------------------------------------------------------------------------------------------


async def test_of_two_publishes_of_one_id_the_lost_one_is_told_from_the_other(bus: RabbitBus) -> None:
    properties = spec.Basic.Properties(delivery_mode=2, message_id="same")
    lost, good = Copy("same", "nowhere", properties, b"1"), Copy("same", WORK, properties, b"2")
    for letters in ([lost, good, lost], [good, lost, good]):
        outcomes = await bus._publisher.deliver(letters)
        assert [outcome is None for outcome in outcomes] == [letter is good for letter in letters]


async def test_what_a_queue_refuses_is_not_durable(bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel) -> None:
    full = await stranger.declare_queue(
        "full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await full.bind(EXCHANGE, "agent.#")
    await publish(bus, message("agent.ucontact.login"))
    more = [bus.publish([message("agent.ucontact.login")]) for _ in range(5)]
    refused = [result for result in await asyncio.gather(*more, return_exceptions=True) if result is not None]
    assert {type(error) for error in refused} == {NotDurable}
    assert "refused" in str(refused[0])
    await publish(bus, message())  # the channel is as good as before


async def test_a_queue_that_has_room_again_takes_what_comes_in_seconds(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel, rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    """A channel that met a quorum queue that was full, or without a leader, stays refused whatever comes after."""
    full = await stranger.declare_queue("full", durable=True, arguments={"x-queue-type": "quorum"})
    await full.bind(EXCHANGE, "agent.#")
    host, limit = vhost(amqp_url), '[{<<"max-length">>, 1}, {<<"overflow">>, <<"reject-publish">>}]'
    named = f'<<"{host}">>, <<"full">>'
    rabbitmq.evaluate(f'ok = rabbit_policy:set({named}, <<"^full$">>, {limit}, 0, <<"queues">>, {ACTOR})')

    async def refused() -> bool:
        (result,) = await asyncio.gather(bus.publish([message("agent.ucontact.login")]), return_exceptions=True)
        return isinstance(result, NotDurable) and "refused" in str(result)

    await eventually(refused)
    rabbitmq.evaluate(f"ok = rabbit_policy:delete({named}, {ACTOR})")
    await insist(bus, message("agent.ucontact.login"), within=4)


async def test_what_loses_its_binding_is_kept_among_the_unrouted(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    work = await stranger.get_queue(WORK)
    await work.unbind(EXCHANGE, "call.*.ended")
    await publish(bus, sent := message())
    (delivery,) = await receive(bus.subscribe(UNROUTED, 10), 1)
    assert delivery.message == sent


async def test_what_can_go_nowhere_at_all_is_not_durable_and_the_topology_is_repaired(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    await stranger.queue_delete(UNROUTED)
    with pytest.raises(NotDurable, match="no queue is bound"):
        await bus.publish([message("agent.ucontact.login")])
    await insist(bus, sent := message("agent.ucontact.login"))
    (delivery,) = await receive(bus.subscribe(UNROUTED, 10), 1)
    assert delivery.message == sent


async def test_a_deleted_exchange_is_not_durable_and_comes_back(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    await stranger.exchange_delete(EXCHANGE)
    with pytest.raises(NotDurable):
        await bus.publish([message()])
    subscription = bus.subscribe(WORK, 10)
    await insist(bus, sent := message())
    assert (await receive(subscription, 1))[0].message == sent


async def test_a_message_that_amqp_cannot_carry_fails_alone(bus: RabbitBus) -> None:
    good, bad = message(), Message("x" * 300, {}, b"{}")
    results = await asyncio.gather(bus.publish([bad]), bus.publish([good]), return_exceptions=True)
    assert isinstance(results[0], NotDurable)
    assert results[1] is None


# --- the topology ----------------------------------------------------------------------------------------------------


async def test_an_existing_queue_with_other_arguments_is_used_as_it_is_with_an_alarm(
    amqp_url: str, stranger: aio_pika.abc.AbstractChannel
) -> None:
    await stranger.declare_queue(WORK, durable=True)
    await stranger.declare_exchange(EXCHANGE, "topic", durable=True)
    with capture_logs() as logs:
        async with opened(amqp_url) as bus:
            subscription = bus.subscribe(WORK, 10)
            await publish(bus, sent := message())
            (delivery,) = await receive(subscription, 1)
            assert delivery.message == sent
            await subscription.settle([(delivery, DeadLetter("no"))])
            assert [letter.message for letter in await bus.dead(WORK)] == [sent]
            assert bus.state() == (True, "")
    alarms = {log["name"] for log in logs if log["event"] == "bus.topology_differs"}
    assert alarms == {WORK, EXCHANGE}


async def test_a_deleted_queue_is_made_again_and_consumed_from(
    bus: RabbitBus, stranger: aio_pika.abc.AbstractChannel
) -> None:
    subscription = bus.subscribe(WORK, 10)
    await publish(bus, message())
    await receive(subscription, 1)

    async def registered() -> bool:
        return subscription.registered

    await eventually(registered)
    with capture_logs() as logs:
        await stranger.queue_delete(WORK)

        async def noticed() -> bool:
            return any(log["event"] == "bus.consumer_lost" for log in logs)

        await eventually(noticed, within=5)
        await eventually(registered, within=10)
    await publish(bus, sent := message())
    assert (await receive(subscription, 1))[0].message == sent


async def test_a_retry_longer_than_the_longest_step_is_not_earlier_than_asked(bus: RabbitBus) -> None:
    await publish(bus, sent := message())
    subscription = bus.subscribe(WORK, 10)
    (delivery,) = await receive(subscription, 1)
    asked = time.monotonic()
    await subscription.settle([(delivery, Retry(2.5, "longer than any step"))])
    (delivery,) = await receive(subscription, 1)
    assert time.monotonic() - asked >= 2.4
    assert (delivery.message, delivery.attempt) == (sent, 2)


async def test_a_delivery_that_ends_one_consumer_after_another_is_dead_and_stays_so(amqp_url: str) -> None:
    async with opened(amqp_url, rescue=0.2) as bus:
        await publish(bus, sent := message())
        crashes = 0
        while (await bus.depth(WORK)).dead == 0:
            subscription = bus.subscribe(WORK, 1)
            with contextlib.suppress(TimeoutError):  # the broker is about to bury it
                await receive(subscription, 1, within=2)
                crashes += 1
            await subscription.close()
        assert crashes == SUSPECT_AFTER + ALONE + 1
        (letter,) = await bus.dead(WORK)
        assert (letter.message, letter.reason, letter.attempt) == (sent, "delivery_limit", 1)
        assert abs(letter.died_at.timestamp() - time.time()) < 60
        assert letter.message.headers == sent.headers
        with pytest.raises(TimeoutError):  # a rescuer has looked by now, several times
            await receive(bus.subscribe(WORK, 1), 1, within=1)
        await depth_becomes(bus, Depth(0, 0, 1))


async def test_what_the_broker_buried_before_anybody_could_look_is_handled_alone_once(
    amqp_url: str, stranger: aio_pika.abc.AbstractChannel
) -> None:
    """As after a storm of processes that died before their consumers had read anything."""
    async with opened(amqp_url, rescue=0.2) as bus:
        sent = [message(n=n) for n in range(5)]
        await publish(bus, *sent)
        work = await stranger.get_queue(WORK)
        await stranger.set_qos(5)
        for _ in range(21):
            got = [await work.get(timeout=5) for _ in sent]
            await got[-1].nack(multiple=True)
        await depth_becomes(bus, Depth(0, 0, 5))
        with capture_logs() as logs:
            subscription = bus.subscribe(WORK, 10)
            back = [(await receive(subscription, 1))[0]]
            assert subscription.in_hand == 1  # the others wait
            for _ in sent[1:]:
                await subscription.settle([(back[-1], Ack())])
                back += await receive(subscription, 1)
            await subscription.settle([(back[-1], Retry(0, "handled: no culprit"))])

            async def told() -> bool:
                return any(log["event"] == "bus.given_back" for log in logs)

            await eventually(told)
        assert {one.message.id: one.attempt for one in back} == dict.fromkeys((one.id for one in sent), 1)
        assert [log["count"] for log in logs if log["event"] == "bus.given_back"] == [5]
        (again,) = await receive(subscription, 1)
        assert again.attempt == 2
        await subscription.settle([(again, Ack())])
        await depth_becomes(bus, Depth(0, 0, 0))


async def test_looking_at_dead_letters_more_often_than_any_delivery_limit_keeps_them(bus: RabbitBus) -> None:
    await publish(bus, message())
    subscription = bus.subscribe(WORK, 1)
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, DeadLetter("no"))])
    for _ in range(25):
        assert len(await bus.dead(WORK)) == 1
