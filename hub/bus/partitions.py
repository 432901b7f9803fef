"""What an ordered queue is on the broker: an exchange of its name, and for each slot two queues.

```
trunkline.events (topic) ── bindings ──► <queue> (headers) ── trunkline-slot = n ──► <queue>.<n>
                                            └─ alternate ─► <queue>.strays ──► <queue>.0
<queue>.<n>        events in the order of their publication, for the consumer whose turn it is
<queue>.<n>.held   events of calls that wait for a retry, and the baton: it tells a consumer that it is its turn
<queue>.replicas   always empty; its consumers are counted
<queue>.dead       as ever
```

The broker gives each of these queues to one consumer at a time, and to the next when that one has gone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from hub.bus import topology
from hub.bus.slots import SLOT, SLOTS, noted_slot
from hub.bus.topology import (
    KEPT,
    RPC_TIMEOUT,
    Binding,
    Exchange,
    Part,
    Queue,
    counts,
    dead_queue,
)
from hub.events import EXCHANGE
from hub.ports import Census, QueueSpec

# Nothing of it may be dropped, or buried by the broker: suspects are counted by the hub (``hub.bus.turn``).
_ONE_AT_A_TIME: Final = KEPT | {"x-single-active-consumer": True, "x-overflow": "reject-publish"}


@dataclass(frozen=True, slots=True)
class Feed:
    """An exchange's hold on another one."""

    name: str
    exchange: str
    pattern: str

    async def declare(self, channel: AbstractChannel) -> None:
        """One question to the broker."""
        await channel.exchange_bind(self.name, self.exchange, routing_key=self.pattern, timeout=RPC_TIMEOUT)


@dataclass(frozen=True, slots=True)
class SlotBinding:
    """A partition's hold on its slot."""

    name: str
    exchange: str
    slot: int

    async def declare(self, channel: AbstractChannel) -> None:
        """One question to the broker."""
        arguments: dict[str, Any] = {"x-match": "all", SLOT: str(self.slot)}
        await channel.queue_bind(self.name, self.exchange, "", arguments=arguments, timeout=RPC_TIMEOUT)


def partition(queue: str, slot: int) -> str:
    """Where the events of a slot lie."""
    return f"{queue}.{slot}"


def held_queue(queue: str, slot: int) -> str:
    """Where the events of a slot wait that must not be handled yet."""
    return f"{partition(queue, slot)}.held"


def replicas(queue: str) -> str:
    """Where consumers are counted: of a queue with a single active one the broker tells but that."""
    return f"{queue}.replicas"


def home(queue: str, headers: Mapping[str, Any]) -> str:
    """The partition that a message came from."""
    return partition(queue, noted_slot(headers))


def parts(work: QueueSpec) -> Iterator[Part]:
    """All that belongs to an ordered queue. What messages may be sent on to comes before what sends them."""
    strays = f"{work.name}.strays"
    yield Queue(dead_queue(work.name), KEPT)
    yield Queue(replicas(work.name), KEPT)
    yield Exchange(strays, "fanout")
    yield Exchange(work.name, "headers", {"alternate-exchange": strays})
    for slot in range(SLOTS):
        yield Queue(held_queue(work.name, slot), _ONE_AT_A_TIME)
        yield Queue(partition(work.name, slot), _ONE_AT_A_TIME)
    yield from bindings(work)


def bindings(work: QueueSpec) -> Iterator[Part]:
    """What an ordered queue hangs on, the last of it first."""
    yield Binding(partition(work.name, 0), f"{work.name}.strays", "")
    for slot in range(SLOTS):
        yield SlotBinding(partition(work.name, slot), work.name, slot)
    for pattern in work.bindings:
        yield Feed(work.name, EXCHANGE, pattern)


async def depths(connection: AbstractConnection, queue: str) -> tuple[int | None, int, int]:
    """How many messages are ready, held and dead; None where there is no such queue.

    Of the held ones, those that no consumer has in hand: in each partition all but the baton.
    """
    slots = range(SLOTS)
    names = [*(partition(queue, n) for n in slots), *(held_queue(queue, n) for n in slots), dead_queue(queue)]
    *found, dead = await counts(connection, names)
    ready, held = found[:SLOTS], found[SLOTS:]
    total = None if None in ready else sum(count or 0 for count in ready)
    return total, sum(max(0, (count or 0) - 1) for count in held), dead or 0


async def census(connection: AbstractConnection, queue: str) -> Census | None:
    """What can be counted; None where there is no such queue."""
    standing = await topology.standing(connection, replicas(queue))
    ready, held, dead = await depths(connection, queue)
    return None if standing is None or ready is None else Census(ready, held, standing[1], dead)


async def register(channel: AbstractChannel, queue: str) -> None:
    """Lets the other consumers of the queue count this one, for as long as the channel is open."""

    async def nothing(_: DeliveredMessage) -> None:
        """Nobody publishes there."""

    await channel.basic_consume(replicas(queue), nothing, timeout=RPC_TIMEOUT)


async def count_consumers(channel: AbstractChannel, queue: str) -> int:
    """How many consumers the queue has, those included whose turn it is nowhere."""
    answer = await channel.queue_declare(replicas(queue), passive=True, timeout=RPC_TIMEOUT)
    return answer.consumer_count or 0
