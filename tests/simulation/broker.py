"""A broker that keeps what it confirmed and nothing else promised, and the bus of a process that speaks to it.

The publishing side of the bus is the production's (``hub.bus.publisher`` and aiormq's own bookkeeping of confirms) on a
channel that is no socket. The broker confirms late, twice, together, or never; refuses; returns what nothing is bound
to; drops connections in the middle of a batch; and delivers again, in another order, what nobody acknowledged.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, Final, Protocol, cast

from aiormq.channel import Channel as RealChannel, Returning
from aiormq.exceptions import PublishError
from pamqp import commands as spec

from hub.bus.inbox import Inbox
from hub.bus.patterns import matches
from hub.bus.publisher import Publisher
from hub.bus.wire import Publication, publication
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Ack, Census, Dead, DeadLetter, Delivery, Depth, Failure, Held, Outcome, QueueSpec, Retry, Snooze
from tests.simulation.loop import Process, VirtualLoop

EMPTY: Final = Context()
"""Of what happens outside every process."""

CONFIRM_TIMEOUT: Final = 2.0
PATIENCE: Final = 0.25


@dataclass(eq=False, slots=True)
class Entry:
    """A message in a queue."""

    message: Message
    attempt: int = 1
    reason: str = ""
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """A delivery on its way into the queue's waiting room, or to its dead."""

    id: str
    queue: str
    entry: Entry
    wait: float | None

    def marshal(self, _channel: int, _frame_size: int) -> bytes:
        return b"copy"


@dataclass(eq=False)
class Queue:
    """A queue, its waiting room and its dead."""

    spec: QueueSpec
    ready: list[Entry] = field(default_factory=list)
    unacked: dict[int, Entry] = field(default_factory=dict)
    waiting: list[Entry] = field(default_factory=list)
    dead: list[Entry] = field(default_factory=list)
    holds: Counter[str] = field(default_factory=Counter)
    """How many of an event are anywhere in it, dead or alive."""


class Watcher(Protocol):
    """Who looks at what the broker does."""

    def note(self, who: str, text: str) -> None: ...

    def befell(self, fault: str) -> None: ...

    def confirmed(self, messages: Sequence[Message]) -> None:
        """A process knows that these are durable."""
        ...

    def asked(self, process: Process, messages: Sequence[Message]) -> None:
        """A process is about to publish these."""
        ...

    def left(self, queue: str, event_id: str) -> None:
        """One of the event has left the queue for good."""
        ...


@dataclass
class Moods:
    """How often the broker does what it may, as probabilities of a message or a connection.

    Attributes:
        nack: it refuses, without keeping.
        nack_kept: it refuses and keeps all the same: one of several queues was full.
        late: a confirm takes seconds.
        deaf: from this confirm on nothing comes back on that connection.
        twice: a confirm comes twice.
        cut: the connection breaks in the middle of a batch.
        doubled: an acknowledgement is lost with its connection.
        disorder: what is delivered again comes at another place.
        slow: seconds that messages travel, at most.
    """

    nack: float = 0.0
    nack_kept: float = 0.0
    late: float = 0.0
    deaf: float = 0.0
    twice: float = 0.0
    cut: float = 0.0
    doubled: float = 0.0
    disorder: float = 0.0
    slow: float = 0.01


class Broker:
    """The server.

    Attributes:
        up: it accepts connections.
        routes: its bindings are there; without them every publish is returned.
        refused: ids of events that it refuses always: too large, say.
        flying: publishes and acknowledgements that are on their way to it.
    """

    def __init__(self, loop: VirtualLoop, random: Random, watcher: Watcher) -> None:
        self.loop = loop
        self.random = random
        self.watcher = watcher
        self.moods = Moods()
        self.up = True
        self.routes = True
        self.refused: set[str] = set()
        self.flying = 0
        self.queues: dict[str, Queue] = {}
        self.channels: list[Channel] = []
        self.consumers: list[SimulatedSubscription] = []
        self._tags = 0
        self._came_up: list[asyncio.Future[None]] = []

    # --- its life ----------------------------------------------------------------------------------------------------

    def go_down(self) -> None:
        """What it kept it has when it is back; everybody is disconnected."""
        self.up = False
        self.disconnect(lambda _: True)

    def come_up(self) -> None:
        self.up = True
        waiting, self._came_up = self._came_up, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def disconnect(self, whose: Callable[[Process], bool]) -> None:
        """Their connections break: what was not acknowledged is delivered again."""
        for channel in [channel for channel in self.channels if whose(channel.process)]:
            channel.break_off()
        for consumer in [consumer for consumer in self.consumers if whose(consumer.process)]:
            self.unregister(consumer)
            consumer.lost()

    async def reachable(self) -> None:
        """Waits until it accepts connections."""
        while not self.up:
            future = self.loop.create_future()
            self._came_up.append(future)
            await future

    def travel(self) -> float:
        return self.random.random() * self.moods.slow

    def later(self, seconds: float, act: Callable[..., None], *args: Any) -> None:
        """Something reaches the broker after so many seconds, whatever becomes of its sender."""
        self.flying += 1

        def arrive() -> None:
            self.flying -= 1
            act(*args)

        self.loop.call_later(seconds, arrive, context=EMPTY)

    # --- publishing --------------------------------------------------------------------------------------------------

    def keep(self, letter: Publication | Copy) -> bool:
        """Takes a letter into every queue that it belongs to; False where there is none."""
        if isinstance(letter, Copy):
            queue = self.queues[letter.queue]
            queue.holds[letter.id] += 1
            if letter.wait is None:
                queue.dead.append(letter.entry)
            else:
                queue.waiting.append(letter.entry)
                self.later(letter.wait, self._back, queue, letter.entry)
            return True
        if not self.routes:
            return False
        found = False
        for queue in self.queues.values():
            if any(matches(pattern, letter.routing_key) for pattern in queue.spec.bindings):
                queue.ready.append(Entry(letter.message))
                queue.holds[letter.id] += 1
                self.pump(queue)
                found = True
        return found

    def _back(self, queue: Queue, entry: Entry) -> None:
        queue.waiting.remove(entry)
        queue.ready.append(entry)
        self.pump(queue)

    # --- consuming ---------------------------------------------------------------------------------------------------

    def register(self, consumer: "SimulatedSubscription") -> None:
        self.consumers.append(consumer)
        self.pump(self.queues[consumer.queue])

    def unregister(self, consumer: "SimulatedSubscription") -> None:
        """What it had in hand goes back to its place, or to another one."""
        if consumer not in self.consumers:
            return
        self.consumers.remove(consumer)
        queue = self.queues[consumer.queue]
        entries = [queue.unacked.pop(tag) for tag in consumer.tags]
        consumer.tags = []
        for entry in reversed(entries):
            place = 0
            if queue.ready and self.random.random() < self.moods.disorder:
                place = self.random.randrange(len(queue.ready) + 1)
                self.watcher.befell("redelivery out of order")
            entry.redelivered = True
            self.watcher.befell("redelivery")
            queue.ready.insert(place, entry)
        self.pump(queue)

    def pump(self, queue: Queue) -> None:
        """Hands out what is ready, as far as anybody has room for it."""
        while queue.ready:
            able = [one for one in self.consumers if one.queue == queue.spec.name and len(one.tags) < one.prefetch]
            if not able:
                return
            consumer = able[0] if len(able) == 1 else self.random.choice(able)
            self._tags += 1
            entry = queue.ready.pop(0)
            queue.unacked[self._tags] = entry
            consumer.tags.append(self._tags)
            consumer.bring(Delivery(entry.message, entry.attempt, (consumer.incarnation, self._tags)))

    def acknowledge(self, consumer: "SimulatedSubscription", incarnation: int, tags: Sequence[int]) -> None:
        if consumer.incarnation != incarnation or consumer not in self.consumers:
            self.watcher.befell("acknowledgement lost")
            return
        queue = self.queues[consumer.queue]
        for tag in tags:
            entry = queue.unacked.pop(tag)
            consumer.tags.remove(tag)
            queue.holds[entry.message.id] -= 1
            self.watcher.left(queue.spec.name, entry.message.id)
        self.pump(queue)


class Channel:
    """A channel in confirm mode, as far as the publisher and aiormq's bookkeeping look at it."""

    publisher_confirms = True
    on_return_raises = True
    max_content_size = 128 * 1024
    number = 1

    def __init__(self, broker: Broker, process: Process) -> None:
        self.process = process
        self.loop = broker.loop
        self.delivery_tag = 0
        self.confirmations: dict[int, Any] = {}
        self.message_id_delivery_tag: dict[str, int] = {}
        self.closing: asyncio.Future[None] = broker.loop.create_future()
        self.write_queue = SimpleNamespace(put=self._put)
        self.gone = False
        self._broker = broker
        self._sent = 0
        self._arrives = 0.0
        self._answered = 0.0
        self._deaf = False
        broker.channels.append(self)

    async def ready(self) -> None:
        """The connection's: the broker never blocks it."""

    def break_off(self) -> None:
        """The connection is gone; what is on its way to the broker may still arrive."""
        if not self.gone:
            self.gone = True
            self._broker.channels.remove(self)
            if not self.closing.done():
                self.closing.set_result(None)

    async def _put(self, _frames: object) -> None:
        """Sends what was numbered since the last time, in one write."""
        numbered = [(tag, self.confirmations[tag].letter) for tag in range(self._sent + 1, self.delivery_tag + 1)]
        self._sent = self.delivery_tag
        broker = self._broker
        if broker.random.random() < broker.moods.cut:
            numbered = numbered[: broker.random.randrange(len(numbered) + 1)]
            broker.watcher.befell("connection cut in a batch")
            self._arrive_in_order(numbered)
            broker.loop.call_later(broker.travel(), self.break_off, context=EMPTY)
            return
        self._arrive_in_order(numbered)

    def _arrive_in_order(self, numbered: Sequence[tuple[int, Any]]) -> None:
        self._arrives = max(self._arrives, self.loop.now + self._broker.travel())
        self._broker.later(self._arrives - self.loop.now, self._arrived, numbered)

    def _arrived(self, numbered: Sequence[tuple[int, Any]]) -> None:
        broker, moods = self._broker, self._broker.moods
        if not broker.up:
            return
        kept: list[int] = []
        for tag, letter in numbered:
            luck = broker.random.random()
            if letter.id in broker.refused or luck < moods.nack + moods.nack_kept:
                refused = letter.id in broker.refused or luck < moods.nack
                if not refused:
                    broker.keep(letter)
                broker.watcher.befell("nack" if refused else "nack of a kept message")
                self._answer(kept)
                kept = []
                self._soon(self._confirm, spec.Basic.Nack(tag))
            elif broker.keep(letter):
                broker.watcher.note("broker", f"keeps {letter.id}")
                kept.append(tag)
            else:
                broker.watcher.befell("return")
                self._soon(self._return, letter.id)
                kept.append(tag)
        self._answer(kept)

    def _answer(self, tags: Sequence[int]) -> None:
        if not tags:
            return
        random, moods, befell = self._broker.random, self._broker.moods, self._broker.watcher.befell
        if random.random() < moods.late:
            befell("late confirm")
            self._answered = max(self._answered, self.loop.now + random.uniform(0.3, 1.6 * CONFIRM_TIMEOUT))
        if len(tags) > 1 and random.random() < _TOGETHER:
            befell("confirm of several")
            self._soon(self._confirm, spec.Basic.Ack(tags[-1], multiple=True))
            return
        for tag in tags:
            if random.random() < moods.deaf:
                befell("lost confirm")
                self._deaf = True
            self._soon(self._confirm, spec.Basic.Ack(tag))
            if random.random() < moods.twice:
                befell("duplicate confirm")
                self._soon(self._confirm, spec.Basic.Ack(tag))

    def _soon(self, act: Callable[[Any], None], what: Any) -> None:
        """Answers come in their order."""
        if self._deaf:
            return
        self._answered = max(self._answered, self.loop.now + self._broker.travel())
        self.process.soon(act, what, after=self._answered - self.loop.now)

    def _confirm(self, frame: Any) -> None:
        if not self.gone:
            step = cast("Any", RealChannel)._on_confirm_frame(self, frame)
            with contextlib.suppress(StopIteration):  # it awaits nothing
                step.send(None)

    def _confirm_delivery(self, tag: int, frame: Any) -> None:
        cast("Any", RealChannel)._confirm_delivery(self, tag, frame)

    def _return(self, message_id: str) -> None:
        """As aiormq does when ``basic.return`` comes: by the message's id."""
        tag = self.message_id_delivery_tag.get(message_id)
        entry = None if self.gone or tag is None else self.confirmations.pop(tag, None)
        if entry is not None and tag is not None:
            self.confirmations[tag] = Returning()
            frame = spec.Basic.Return(312, "NO_ROUTE", "", "")
            entry.set_exception(PublishError(cast("Any", SimpleNamespace(delivery=frame)), frame))


class SimulatedBus:
    """``hub.ports.Bus`` of one process."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker = broker
        self.process = process
        self.publisher = Publisher(confirm_timeout=CONFIRM_TIMEOUT, patience=PATIENCE, on_returned=lambda: None)
        self._subscriptions: list[SimulatedSubscription] = []
        self._link: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._link = asyncio.create_task(self._keep_linked())
        if self.broker.up:
            await self.publisher.attached()

    async def _keep_linked(self) -> None:
        broker = self.broker
        while True:
            await broker.reachable()
            await asyncio.sleep(broker.travel())
            if not broker.up:
                continue
            channel = Channel(broker, self.process)
            problem, _ = await self.publisher.serve(cast("Any", channel), cast("Any", channel))
            broker.watcher.note(self.process.name, f"channel replaced: {problem}")
            channel.break_off()
            await asyncio.sleep(0.1 + 0.4 * broker.random.random())

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        for one in queues:
            self.broker.queues.setdefault(one.name, Queue(one))

    async def publish(self, messages: Sequence[Message]) -> None:
        self.broker.watcher.asked(self.process, messages)
        outcomes = await self.publisher.deliver([publication(message) for message in messages])
        problem = next((outcome for outcome in outcomes if outcome is not None), None)
        self.broker.watcher.confirmed(
            [message for message, outcome in zip(messages, outcomes, strict=True) if outcome is None]
        )
        if problem is not None:
            raise NotDurable(problem)

    async def command(self, messages: Sequence[Message]) -> None:
        raise NotImplementedError

    async def send(self, queue: str, messages: Sequence[Message]) -> None:
        raise NotImplementedError  # an operator's verb, like those below: nothing of the core calls it

    async def reroute(self) -> int:
        raise NotImplementedError

    def subscribe(self, queue: str, prefetch: int) -> "SimulatedSubscription":
        subscription = SimulatedSubscription(self, queue, prefetch)
        self._subscriptions.append(subscription)
        return subscription

    async def depth(self, queue: str) -> Depth:
        found = self.broker.queues[queue]
        return Depth(len(found.ready), len(found.unacked) + len(found.waiting), len(found.dead))

    async def census(self, queue: str, ids: Collection[str], *, search: bool = False) -> Census:
        raise NotImplementedError

    async def dead(
        self, queue: str, limit: int = 50, after: str | None = None, where: Callable[[Dead], bool] | None = None
    ) -> list[Dead]:
        raise NotImplementedError

    async def requeue(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        raise NotImplementedError

    async def discard(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        raise NotImplementedError

    async def bury(
        self, queue: str, message: Message, reason: str, attempt: int, history: Sequence[Failure] = ()
    ) -> None:
        raise NotImplementedError

    def state(self) -> tuple[bool, str]:
        return not self.publisher.trouble, self.publisher.trouble

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()
        if self._link is not None:
            self._link.cancel()
            await asyncio.wait([self._link])
        self.broker.disconnect(lambda process: process is self.process)


class SimulatedSubscription:
    """``hub.ports.Subscription`` of one process: settles as ``hub.bus.consumer`` does, by copy, confirm, acknowledge.

    Attributes:
        incarnation: which of its consumers this is.
        tags: deliveries that the broker counts as in its hand.
    """

    def __init__(self, bus: SimulatedBus, queue: str, prefetch: int) -> None:
        self.bus = bus
        self.process = bus.process
        self.queue = queue
        self.prefetch = prefetch
        self.incarnation = 0
        self.tags: list[int] = []
        self._inbox = Inbox(queue)
        self._unsettled: set[int] = set()
        self._brought: list[Delivery] = []
        self._registered = False
        self._closed = False
        self._moving: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def registered(self) -> bool:
        return self._registered

    async def held(self) -> Held:
        if not self.bus.broker.up:
            raise NotDurable("the broker is away")
        return Held(
            self.incarnation, max(self.tags, default=0), min(self._unsettled, default=1) - 1, len(self._unsettled)
        )

    async def fetch(self, limit: int) -> list[Delivery]:
        return await self._inbox.fetch(limit)

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
        acked: list[int] = []
        copies: dict[int, Copy] = {}
        for delivery, outcome in outcomes:
            incarnation, tag = delivery.tag
            if incarnation != self.incarnation or tag not in self._unsettled:
                continue
            copy = self._copy(delivery, outcome)
            if copy is None:
                acked.append(tag)
            else:
                copies[tag] = copy
        self._acknowledge(acked)
        if copies:
            task = asyncio.create_task(self._move(self.incarnation, copies))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)
            await asyncio.wait([task], timeout=CONFIRM_TIMEOUT)

    def _copy(self, delivery: Delivery, outcome: Outcome) -> Copy | None:
        attempt, message = delivery.attempt, delivery.message
        match outcome:
            case Ack():
                return None
            case Retry(after, reason):
                return Copy(message.id, self.queue, Entry(message, attempt + 1, reason), after)
            case Snooze(after, reason):
                return Copy(message.id, self.queue, Entry(message, attempt, reason), after)
            case DeadLetter(reason):
                return Copy(message.id, self.queue, Entry(message, attempt, reason), None)

    async def _move(self, incarnation: int, copies: dict[int, Copy]) -> None:
        while incarnation == self.incarnation:
            outcomes = await self.bus.publisher.deliver(cast("Any", list(copies.values())))
            problems = dict(zip(copies, outcomes, strict=True))
            self._acknowledge([tag for tag, problem in problems.items() if problem is None])
            copies = {tag: copy for tag, copy in copies.items() if problems[tag] is not None}
            if not copies:
                return
            await asyncio.sleep(0.3)

    def _acknowledge(self, tags: Sequence[int]) -> None:
        broker = self.bus.broker
        mine = [tag for tag in tags if tag in self._unsettled]
        self._unsettled.difference_update(mine)
        if not mine:
            return
        if broker.random.random() < broker.moods.doubled:
            broker.watcher.befell("connection cut before an acknowledgement")
            broker.loop.call_soon(broker.disconnect, lambda process: process is self.process, context=EMPTY)
        broker.later(broker.travel(), broker.acknowledge, self, self.incarnation, mine)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        for task in (self._task, *self._moving):
            task.cancel()
        await asyncio.wait([self._task, *self._moving])
        self.bus.broker.unregister(self)
        self._registered = False

    async def _run(self) -> None:
        broker = self.bus.broker
        while True:
            await broker.reachable()
            await asyncio.sleep(0.05 + broker.travel())
            if not broker.up:
                continue
            self._lost.clear()
            self.incarnation += 1
            self._unsettled = set()
            self._registered = True
            broker.register(self)
            await self._lost.wait()
            await asyncio.sleep(0.1 + 0.4 * broker.random.random())

    def lost(self) -> None:
        """The broker does not know this consumer any more; the process hears of it."""
        self.process.soon(self._hear)

    def _hear(self) -> None:
        self._registered = False
        self.incarnation += 1
        self._inbox.drop(lambda _: True)
        self._brought = []
        self._lost.set()

    def bring(self, delivery: Delivery) -> None:
        """On its way; all that is sent meanwhile arrives with it."""
        if not self._brought:
            self.process.soon(self._arrived, after=self.bus.broker.travel())
        self._brought.append(delivery)

    def _arrived(self) -> None:
        brought, self._brought = self._brought, []
        here = [one for one in brought if one.tag[0] == self.incarnation]
        self._unsettled.update(one.tag[1] for one in here)
        self._inbox.put(here)


_TOGETHER: Final = 0.5
