"""A request over RabbitMQ: an application answers a live call by consuming a queue.

The question goes to the exchange ``trunkline.queries`` with the resolver's name as its routing key, and from there into
the queue of the same name as the exchange, where whoever consumes finds it. It expires with the caller's wait, and so
it is neither persistent nor confirmed. The answer comes back by RabbitMQ's direct reply-to, which needs no queue: it is
known by its correlation id, and dropped where nobody waits for it any more.
"""

import asyncio
from typing import Final
from uuid import uuid4

import structlog
from aiormq import spec
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from hub.bus import topology
from hub.bus.link import Broken, Link, broken_by
from hub.bus.tasks import ending
from hub.config import AmqpResolver as Configured
from hub.errors import Unresolved
from hub.events import APP_ID, JSON
from hub.questions import Question, Reply
from hub.resolvers.means import Means
from hub.resolvers.wire import answered, asked

QUEUE: Final = "trunkline.queries"
"""The exchange, and the queue that has all that is published there."""

_REPLY_TO: Final = "amq.rabbitmq.reply-to"
_HEARTBEAT: Final = 10
_MOST_BYTES: Final = 256 << 10  # of an answer
_PARTS: Final[tuple[topology.Part, ...]] = (
    topology.Exchange(QUEUE, "topic"),
    topology.Queue(QUEUE, {}),
    topology.Binding(QUEUE, QUEUE, "#"),
)
log = structlog.get_logger("resolver")


class AmqpResolver:
    """Questions over a connection of its own: events are published on another, and neither waits for the other."""

    def __init__(self, name: str, configured: Configured, means: Means) -> None:
        """As it is configured."""
        self._name = name
        urls = configured.urls or means.bus_urls
        self._link = Link(urls, f"resolver {name}", heartbeat=_HEARTBEAT, serve=self._serve)
        self._channel: AbstractChannel | None = None
        self._ready = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def open(self) -> None:
        """Begins to connect."""
        self._link.start()

    async def resolve(self, question: Question, within: float) -> Reply:
        """What a consumer answers; whoever waits for it cancels it in time. Raises Unresolved."""
        await self._link.tried()  # in the first moments of a process
        if self._link.trouble:
            raise Unresolved("failed", f"the broker: {self._link.trouble}")
        await self._ready.wait()
        correlation_id = uuid4().hex
        answer = self._waiting[correlation_id] = asyncio.get_running_loop().create_future()
        try:
            await self._ask(correlation_id, asked(question), within)
            return answered(await answer)
        finally:
            del self._waiting[correlation_id]

    async def _ask(self, correlation_id: str, body: bytes, within: float) -> None:
        properties = spec.Basic.Properties(
            content_type=JSON,
            delivery_mode=1,
            correlation_id=correlation_id,
            reply_to=_REPLY_TO,
            expiration=str(max(1, int(within * 1000))),
            message_id=correlation_id,
            message_type="query",
            app_id=APP_ID,
        )
        if self._channel is None:
            raise Unresolved("failed", f"the broker: {self._link.trouble}")
        try:
            async with broken_by():
                await self._channel.basic_publish(body, exchange=QUEUE, routing_key=self._name, properties=properties)
        except Broken as broken:
            raise Unresolved("failed", f"the broker: {broken}") from broken

    async def _serve(self, connection: AbstractConnection) -> None:
        """Takes answers on a connection for as long as it lasts."""
        await topology.declare(connection, _PARTS)
        async with broken_by():
            channel = await connection.channel(publisher_confirms=False, timeout=topology.RPC_TIMEOUT)
            # Answers come to the channel that has asked, and there only without acknowledgements.
            await channel.basic_consume(_REPLY_TO, self._answered, no_ack=True, timeout=topology.RPC_TIMEOUT)
        closing = channel.closing
        self._channel = channel
        self._ready.set()
        try:
            await asyncio.wait((closing,))
            raise Broken(ending(closing, "the channel was closed"))
        finally:
            closing.cancel()
            self._ready.clear()
            self._channel = None
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(Unresolved("failed", "the broker: the connection was lost meanwhile"))

    async def _answered(self, message: DeliveredMessage) -> None:
        answer = self._waiting.get(message.header.properties.correlation_id or "")
        if answer is None or answer.done():
            log.debug("resolver.late_answer_dropped", resolver=self._name)
        elif len(message.body) > _MOST_BYTES:
            answer.set_exception(Unresolved("invalid", f"the answer is over {_MOST_BYTES} bytes"))
        else:
            answer.set_result(bytes(message.body))

    async def close(self) -> None:
        """Disconnects."""
        await self._link.close()
