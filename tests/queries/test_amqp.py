"""A request over RabbitMQ, answered by a program that knows the contract and none of our code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import orjson
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from hub.questions import Reply
from hub.resolvers.amqp import QUEUE
from tests.bus.conftest import stranger  # noqa: F401  a fixture
from tests.hub import until
from tests.queries.test_desk import ASKED, LAST, desk, reasons, resolve
from tests.servers.ports import free_port, release_port


def amqp(url: str, **keys: Any) -> dict[str, Any]:
    return {"kind": "amqp", "url": url, "wait": 30, **keys}


async def say(channel: AbstractChannel, question: AbstractIncomingMessage, body: Any) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    assert question.reply_to
    await channel.default_exchange.publish(
        aio_pika.Message(raw, correlation_id=question.correlation_id), routing_key=question.reply_to
    )


@asynccontextmanager
async def consuming(channel: AbstractChannel, *bodies: Any) -> AsyncIterator[list[AbstractIncomingMessage]]:
    """A consumer of the queue that has these answers, one after another, and the last of them from then on."""
    seen: list[AbstractIncomingMessage] = []

    async def answer(message: AbstractIncomingMessage) -> None:
        seen.append(message)
        body = bodies[min(len(seen), len(bodies)) - 1]
        if body is not None:
            await say(channel, message, body)

    queue = await declared(channel)
    tag = await queue.consume(answer, no_ack=True)
    yield seen
    await queue.cancel(tag)


async def declared(channel: AbstractChannel) -> aio_pika.abc.AbstractQueue:
    """The queue, as an application declares it that may start before the hub."""
    return await channel.declare_queue(QUEUE, durable=True)


async def test_a_consumer_of_the_queue_answers_a_live_call(amqp_url: str, stranger: AbstractChannel) -> None:  # noqa: F811
    async with (
        desk({"orders": amqp(amqp_url)}) as resolvers,
        consuming(stranger, {"variables": {"PEDIDO": "2"}}) as seen,
    ):
        resolution = await resolve(resolvers, within=30)
    assert resolution.reply == Reply({"PEDIDO": "2"})
    [question] = seen
    assert orjson.loads(question.body) == {
        "query": "ESTADO PEDIDO",
        "call_id": ASKED.call_id,
        "source": "line-900",
        "caller": {"number": "911888920", "e164": "+34911888920"},
        "line": {"number": "900805089", "e164": "+34900805089"},
        "variables": {"NUMPEDIDO": "123456789"},
    }
    assert (question.exchange, question.routing_key, question.content_type) == (QUEUE, "orders", "application/json")
    assert isinstance(question.expiration, int | float)
    assert 0 < question.expiration <= 30


async def test_an_application_may_bind_a_queue_of_its_own_by_the_resolvers_name(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
) -> None:
    async with desk({"others": amqp(amqp_url), "orders": amqp(amqp_url)}) as resolvers:
        await connected(resolvers)  # now the exchange is there
        own = await stranger.declare_queue(exclusive=True)
        await own.bind(QUEUE, "others")

        async def answer(message: AbstractIncomingMessage) -> None:
            await say(stranger, message, {"variables": {"PEDIDO": message.routing_key or ""}})

        await own.consume(answer, no_ack=True)
        assert (await resolve(resolvers, "others", within=30)).reply == Reply({"PEDIDO": "others"})


async def test_nobody_consumes_so_the_fallback_answers_and_the_question_expires(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
) -> None:
    part = {"orders": amqp(amqp_url, wait=0.5, fallback="last"), "last": LAST}
    async with desk(part) as resolvers:
        await connected(resolvers)
        resolution = await resolve(resolvers, within=0.5)
        assert (resolution.resolver, reasons(resolution)) == ("last", [("orders", "late")])

        async def empty() -> bool:
            return (await declared(stranger)).declaration_result.message_count == 0

        await until(empty)


async def connected(resolvers: Any) -> None:
    """Until the connection stands: a short wait must not be spent on it."""
    async with asyncio.timeout(30):
        await of(resolvers)._ready.wait()


def of(resolvers: Any) -> Any:
    """The AMQP resolver behind the desk."""
    return resolvers._resolvers["orders"]._resolver


async def test_a_late_answer_is_dropped_and_is_not_the_next_questions(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
) -> None:
    async with desk({"orders": amqp(amqp_url)}) as resolvers:
        await connected(resolvers)
        async with consuming(stranger, None, {"variables": {"PEDIDO": "new"}}) as seen:
            assert reasons(await resolve(resolvers, within=0.5)) == [("orders", "late")]

            async def arrived() -> bool:
                return len(seen) == 1

            await until(arrived)
            await say(stranger, seen[0], {"variables": {"PEDIDO": "old"}})
            assert (await resolve(resolvers, within=30)).reply == Reply({"PEDIDO": "new"})


@pytest.mark.parametrize("body", [b"", b"rubbish", {"variables": {"N E": ""}}, b" " * 300_000])
async def test_an_answer_that_the_vendor_could_not_read_is_the_consumers_error(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
    body: Any,
) -> None:
    async with desk({"orders": amqp(amqp_url)}) as resolvers, consuming(stranger, body):
        assert reasons(await resolve(resolvers, within=30)) == [("orders", "invalid")]


async def test_a_thousand_questions_at_once_have_each_its_own_answer(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
) -> None:
    queue = await declared(stranger)

    async def echo(message: AbstractIncomingMessage) -> None:
        number = orjson.loads(message.body)["variables"]["N"]
        await say(stranger, message, {"variables": {"N": number}})

    await queue.consume(echo, no_ack=True)
    async with desk({"orders": amqp(amqp_url, wait=60)}) as resolvers:
        await connected(resolvers)
        numbers = [str(number) for number in range(500)]
        told = await asyncio.gather(
            *(
                resolve(resolvers, within=60, question=type(ASKED)("Q", "", "line-900", variables={"N": number}))
                for number in numbers
            )
        )
    assert [one.reply.variables["N"] if one.reply else None for one in told] == numbers


async def test_a_queue_that_exists_otherwise_is_used_as_it_is(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
) -> None:
    queue = await stranger.declare_queue(QUEUE, durable=True, arguments={"x-max-length": 10})

    async def answer(message: AbstractIncomingMessage) -> None:
        await say(stranger, message, {"variables": {"PEDIDO": "2"}})

    await queue.consume(answer, no_ack=True)
    async with desk({"orders": amqp(amqp_url)}) as resolvers:
        assert (await resolve(resolvers, within=30)).reply == Reply({"PEDIDO": "2"})


async def test_a_broker_that_is_not_there_is_a_failure_at_once() -> None:
    port = free_port()
    part = {"orders": amqp(f"amqp://127.0.0.1:{port}/", fallback="last"), "last": LAST}
    async with desk(part) as resolvers:
        resolution = await resolve(resolvers, within=30)
    release_port(port)
    assert (resolution.resolver, reasons(resolution)) == ("last", [("orders", "failed")])


async def test_a_lost_connection_fails_what_waits_on_it_and_is_made_again(
    amqp_url: str,
    stranger: AbstractChannel,  # noqa: F811
) -> None:
    async with desk({"orders": amqp(amqp_url)}) as resolvers:
        await connected(resolvers)
        async with consuming(stranger, None, {"variables": {"PEDIDO": "2"}}) as seen:
            waiting = asyncio.create_task(resolve(resolvers, within=30))

            async def arrived() -> bool:
                return len(seen) == 1

            await until(arrived)
            of(resolvers)._link.replace("a test")
            assert reasons(await waiting) == [("orders", "failed")]

            async def back() -> bool:
                return (await resolve(resolvers, within=30)).reply == Reply({"PEDIDO": "2"})

            await until(back)
