"""What exists on the broker, as data, and how it is made to exist.

```
trunkline.events (topic) ── bindings ──► <queue> ──(delivery limit)──► <queue>.dead
       └─ alternate ─► trunkline.unrouted     ▲                             ▲
                                              └──(expiry)── <queue>.retry.<n>s
                                        <queue>.suspects ──(delivery limit)─┘
trunkline.commands (topic) ── commands ──► <queue>
```

What safety hangs on is an argument of the queue, so that no forgotten policy can lose messages. An argument cannot be
changed afterwards: a queue that exists with other ones is used as it is, and an alarm is logged.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from hub.bus.suspicion import ALONE
from hub.events import COMMANDS, EXCHANGE, UNROUTED
from hub.ports import QueueSpec

log = structlog.get_logger("bus")

LADDER: Final = (5, 15, 60, 300, 900, 3600, 10800, 21600)
"""Seconds that a delivery can be parked for, a queue each: with several expiries in one queue the longest would hold up
the others behind it."""

RPC_TIMEOUT: Final = 10.0

_QUORUM: Final[dict[str, Any]] = {"x-queue-type": "quorum"}

# Where messages lie until somebody decides. From RabbitMQ 4.0 on a quorum queue without a limit has one of 20, and an
# operator who looks twenty times must not be what deletes them; -1 for "none" acts at the first return on 3.10.
KEPT: Final = _QUORUM | {"x-delivery-limit": 1_000_000_000}

# At-least-once is silently at-most-once unless the queue also rejects instead of dropping.
SAFE: Final = _QUORUM | {
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


class Part(Protocol):
    """Something that exists on the broker."""

    @property
    def name(self) -> str:
        """For an alarm."""
        ...

    async def declare(self, channel: AbstractChannel) -> None:
        """One question to the broker."""
        ...


COMMON: Final[tuple[Part, ...]] = (
    Exchange(UNROUTED, "fanout"),
    Queue(UNROUTED, KEPT),
    Binding(UNROUTED, UNROUTED, ""),
    Exchange(EXCHANGE, "topic", {"alternate-exchange": UNROUTED}),
    Exchange(COMMANDS, "topic"),  # without an alternate: a command that nobody takes goes back to whoever gave it
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue as its broker sees it: messages that are ready, and consumers."""

    ready: int
    consumers: int


def dead_queue(queue: str) -> str:
    """Where a queue's dead letters lie."""
    return f"{queue}.dead"


def suspects_queue(queue: str) -> str:
    """Where a queue's deliveries lie that came back too often, to be handled one at a time."""
    return f"{queue}.suspects"


def retry_queue(queue: str, seconds: int) -> str:
    """Where a queue's deliveries wait for ``seconds``."""
    return f"{queue}.retry.{seconds}s"


def step(ladder: Sequence[int], after: float) -> int:
    """The smallest step of at least ``after`` seconds, else the last."""
    return next((seconds for seconds in ladder if seconds >= after), ladder[-1])


def parts(work: QueueSpec, ladder: Sequence[int], arguments: Mapping[str, Any] | None = None) -> Iterator[Part]:
    """All that belongs to a work queue. What messages may be sent on to comes before what sends them.

    Args:
        work: the queue.
        ladder: seconds of its retry queues.
        arguments: what it is declared with besides.
    """
    buried = {"x-dead-letter-routing-key": dead_queue(work.name)}
    yield Queue(dead_queue(work.name), KEPT)
    yield Queue(suspects_queue(work.name), SAFE | buried | {"x-delivery-limit": ALONE})
    yield Queue(work.name, SAFE | buried | dict(arguments or {}))
    for seconds in ladder:
        waiting = SAFE | {"x-dead-letter-routing-key": work.name, "x-message-ttl": seconds * 1000}
        yield Queue(retry_queue(work.name, seconds), waiting)
    yield from bindings(work)


def bindings(work: QueueSpec) -> Iterator[Part]:
    """What a work queue hangs on."""
    for pattern in work.bindings:
        yield Binding(work.name, EXCHANGE, pattern)
    for pattern in work.commands:
        yield Binding(work.name, COMMANDS, pattern)


async def stands(connection: AbstractConnection, bindings: Sequence[Part]) -> bool:
    """Whether what messages are published through is all there, and bound: what was declared once and may be gone.

    It asks no queue's leader, which may be away while its queue takes time to find another.
    """
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    try:
        await channel.exchange_declare(EXCHANGE, passive=True, timeout=RPC_TIMEOUT)
        for binding in (Binding(UNROUTED, UNROUTED, ""), *bindings):
            await binding.declare(channel)
    except (ChannelNotFoundEntity, *_AS_IT_IS):
        return False
    await close_channel(channel)
    return True


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


async def waiting(connection: AbstractConnection, name: str) -> Waiting | None:
    """What is ready in a queue, and its consumers; None where there is no such queue."""
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    try:
        answer = await channel.queue_declare(name, passive=True, timeout=RPC_TIMEOUT)
    except ChannelNotFoundEntity:
        return None
    await close_channel(channel)
    return Waiting(answer.message_count or 0, answer.consumer_count or 0)


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


async def standing(connection: AbstractConnection, name: str) -> tuple[int, int] | None:
    """How many messages are ready in a queue, and how many consume from it, at one moment; None without the queue."""
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    try:
        answer = await channel.queue_declare(name, passive=True, timeout=RPC_TIMEOUT)
    except ChannelNotFoundEntity:
        return None
    await close_channel(channel)
    return answer.message_count or 0, answer.consumer_count or 0


async def close_channel(channel: AbstractChannel, within: float = 2.0) -> None:
    """Closes a channel; gives up on a broker that does not answer."""
    try:
        async with asyncio.timeout(within):
            await channel.close()
    except TimeoutError:
        log.warning("bus.channel_not_closed", channel=str(channel))
