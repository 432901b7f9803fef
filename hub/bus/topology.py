"""What exists on the broker, as data, and how it is made to exist.

```
trunkline.events (topic) ── bindings ──► <queue> ──(delivery limit)──► <queue>.dead
       └─ alternate ─► trunkline.unrouted     ▲
                                              └──(expiry)── <queue>.retry.<n>s
```

What safety hangs on is an argument of the queue, so that no forgotten policy can lose messages. An argument cannot be
changed afterwards: a queue that exists with other ones is used as it is, and an alarm is logged.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from hub.events import EXCHANGE, UNROUTED
from hub.ports import QueueSpec

log = structlog.get_logger("bus")

LADDER: Final = (5, 15, 60, 300, 900, 3600, 10800, 21600)
"""Seconds that a delivery can be parked for, a queue each: with several expiries in one queue the longest would hold up
the others behind it."""

RPC_TIMEOUT: Final = 10.0

_QUORUM: Final[dict[str, Any]] = {"x-queue-type": "quorum"}

# Where messages lie until somebody decides. From RabbitMQ 4.0 on a quorum queue without a limit has one of 20, and an
# operator who looks twenty times must not be what deletes them; -1 for "none" acts at the first return on 3.10.
_KEPT: Final = _QUORUM | {"x-delivery-limit": 1_000_000_000}

# At-least-once is silently at-most-once unless the queue also rejects instead of dropping.
_SAFE: Final = _QUORUM | {
    "x-dead-letter-exchange": "",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 20,
}

# What says that it exists and is not as we would have made it, or not ours to make.
_AS_IT_IS: Final = (ChannelPreconditionFailed, ChannelAccessRefused, ChannelLockedResource)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)

    async def declare(self, channel: AbstractChannel) -> None:
        """One question to the broker."""
        await channel.exchange_declare(
            self.name, exchange_type=self.kind, durable=True, arguments=self.arguments, timeout=RPC_TIMEOUT
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue."""

    name: str
    arguments: dict[str, Any]

    async def declare(self, channel: AbstractChannel) -> None:
        """One question to the broker."""
        await channel.queue_declare(self.name, durable=True, arguments=self.arguments, timeout=RPC_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Binding:
    """A queue's hold on an exchange."""

    name: str
    exchange: str
    pattern: str

    async def declare(self, channel: AbstractChannel) -> None:
        """One question to the broker."""
        await channel.queue_bind(self.name, self.exchange, self.pattern, timeout=RPC_TIMEOUT)


Part = Exchange | Queue | Binding

COMMON: Final[tuple[Part, ...]] = (
    Exchange(UNROUTED, "fanout"),
    Queue(UNROUTED, _KEPT),
    Binding(UNROUTED, UNROUTED, ""),
    Exchange(EXCHANGE, "topic", {"alternate-exchange": UNROUTED}),
)


def dead_queue(queue: str) -> str:
    """Where a queue's dead letters lie."""
    return f"{queue}.dead"


def retry_queue(queue: str, seconds: int) -> str:
    """Where a queue's deliveries wait for ``seconds``."""
    return f"{queue}.retry.{seconds}s"


def step(ladder: Sequence[int], after: float) -> int:
    """The smallest step of at least ``after`` seconds, else the last."""
    return next((seconds for seconds in ladder if seconds >= after), ladder[-1])


def parts(work: QueueSpec, ladder: Sequence[int]) -> Iterator[Part]:
    """All that belongs to a work queue. What messages may be sent on to comes before what sends them."""
    yield Queue(dead_queue(work.name), _KEPT)
    yield Queue(work.name, _SAFE | {"x-dead-letter-routing-key": dead_queue(work.name)})
    for seconds in ladder:
        arguments = _SAFE | {"x-dead-letter-routing-key": work.name, "x-message-ttl": seconds * 1000}
        yield Queue(retry_queue(work.name, seconds), arguments)
    for pattern in work.bindings:
        yield Binding(work.name, EXCHANGE, pattern)


async def declare(connection: AbstractConnection, wanted: Sequence[Part]) -> None:
    """Makes the parts exist, on a channel of its own: whoever asks for the impossible loses the channel."""
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    for part in wanted:
        try:
            await part.declare(channel)
        except _AS_IT_IS as difference:
            log.error("bus.topology_differs", name=part.name, difference=str(difference))  # noqa: TRY400  an alarm
            channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    await close_channel(channel)


async def counts(connection: AbstractConnection, names: Sequence[str]) -> list[int | None]:
    """How many messages are ready in each queue; None where there is no such queue."""
    found: list[int | None] = []
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    for name in names:
        try:
            answer = await channel.queue_declare(name, passive=True, timeout=RPC_TIMEOUT)
        except ChannelNotFoundEntity:
            found.append(None)
            channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
        else:
            found.append(answer.message_count or 0)
    await close_channel(channel)
    return found


async def close_channel(channel: AbstractChannel, within: float = 2.0) -> None:
    """Closes a channel; gives up on a broker that does not answer."""
    try:
        async with asyncio.timeout(within):
            await channel.close()
    except TimeoutError:
        log.warning("bus.channel_not_closed", channel=str(channel))
