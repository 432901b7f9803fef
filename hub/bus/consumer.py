"""Consuming from the broker: a channel for each subscription, rebuilt whenever anything about it is odd."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence, Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection, ChannelFrame, DeliveredMessage
from pamqp import commands as spec

from hub import failpoints
from hub.bus.allowance import Allowance
from hub.bus.inbox import Inbox
from hub.bus.link import Broken, Link, Pause, broken_by
from hub.bus.parking import Parked, Parking, Return
from hub.bus.publisher import Publisher
from hub.bus.suspicion import SUSPECT_AFTER
from hub.bus.tasks import end, ending
from hub.bus.topology import RPC_TIMEOUT, close_channel, dead_queue, suspects_queue
from hub.bus.wire import Copy, Received, received
from hub.errors import NotDurable
from hub.ports import Ack, DeadLetter, Delivery, Held, Outcome, Retry, Snooze

log = structlog.get_logger("bus")

_WRITE_TIMEOUT: Final = 5.0
_ANSWER: Final = 3.0  # seconds
_LONGEST_MOVE_PAUSE: Final = 5.0
_TOO_EARLY: Final = 0.05  # seconds that are not worth parking a delivery for
_TOGETHER: Final = 0.05  # seconds in which suspects gather
MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Tag:
    """What a delivery is settled by; worth nothing on another channel than its own."""

    channel: AbstractChannel
    number: int
    received: Received


class RabbitSubscription:
    """``hub.ports.Subscription`` on one queue of the broker.

    The broker's callback only puts deliveries into our inbox. Nothing of a worker's runs in a task of the library's, so
    a channel that dies does not cancel an effect halfway; its deliveries are forgotten, since the broker has them.

    Two consumers share the channel: that of the queue, and one of its suspects, which are handled one at a time.

    Attributes:
        queue: its name.
        heard_at: when something arrived last, or there was no room for it, by the event loop's clock.
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        *,
        link: Link,
        publisher: Publisher,
        prepare: Callable[[AbstractConnection, str], Awaitable[None]],
        parking: Callable[[], Parking],
        isolates: Callable[[], bool],
        patience: float,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Begins to consume.

        Args:
            queue: its name.
            prefetch: deliveries in hand at most.
            link: the connection to consume on.
            publisher: takes the copies that are parked or buried.
            prepare: makes the queue exist, on a given connection.
            parking: how deliveries wait, on the broker that we are connected to now.
            isolates: whether the queue has a place for its suspects.
            patience: seconds that ``settle`` waits for those copies; they go on after that.
            most_bytes: of the bodies in hand together; what is above goes back, and fewer are taken from then on.
        """
        self.queue = queue
        self.heard_at = asyncio.get_running_loop().time()
        self._allowance = Allowance(prefetch, most_bytes)
        self._link = link
        self._publisher = publisher
        self._prepare = prepare
        self._parking = parking
        self._isolates = isolates
        self._patience = patience
        self._inbox = Inbox(queue)
        self._channel: AbstractChannel | None = None
        self._registered = False
        self._closed = False
        self._unsettled: dict[int, int] = {}  # delivery tags of the channel, ascending, and the sizes of the bodies
        self._bytes = 0
        self._ending: asyncio.Future[str] | None = None
        self._latest = 0  # of the delivery tags
        self._epoch = 0
        self._asking: asyncio.Task[bool] | None = None
        self._acking = asyncio.Lock()
        self._moving: set[asyncio.Task[None]] = set()
        self._suspected: dict[int, Copy] = {}  # set aside together in a moment
        self._isolating: set[asyncio.Task[None]] = set()
        self._attendants: list[asyncio.Task[None]] = []
        self._task = asyncio.create_task(self._run(), name=f"bus {queue}")

    @property
    def registered(self) -> bool:
        """True between the broker's consume-ok and the end of that consumer."""
        return self._registered

    async def held(self) -> Held:
        """What is in hand, by the delivery tags of the channel.

        A delivery may have left the queue and not be here yet, for as long as a connection can be dead without our
        knowing. So the broker is asked something on that very channel: its answer comes behind all that it sent before.
        """
        channel = self._channel
        if channel is not None and self._registered:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(channel), name=f"bus {self.queue} asking")
            await asyncio.wait([self._asking], timeout=_ANSWER)
            asked = self._asking
            if not asked.done() or asked.cancelled() or not asked.result():
                raise NotDurable("the broker does not answer on the consumer's channel")
        oldest = next(iter(self._unsettled), self._latest + 1)
        return Held(self._epoch, self._latest, oldest - 1, len(self._unsettled))

    async def _ask(self, channel: AbstractChannel) -> bool:
        # Not given a time limit: the library closes a channel whose question is given up.
        try:
            async with broken_by():
                await channel.queue_declare(self.queue, passive=True)
        except Broken:
            return False
        return True

    @property
    def in_hand(self) -> int:
        """Deliveries that the broker has given us and that are not settled."""
        return len(self._unsettled)

    @property
    def full(self) -> bool:
        """Whether the broker may give us nothing more until something is settled."""
        return len(self._unsettled) >= self._allowance.count

    def attend(self, *jobs: Coroutine[Any, Any, None]) -> None:
        """Runs what looks after this consumer, until ``close``."""
        self._attendants += [asyncio.create_task(job, name=f"bus {self.queue} attendant") for job in jobs]

    def rebuild(self, reason: str) -> None:
        """Ends the consumer; what is in hand is given back, and another consumer is made."""
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(reason)

    async def fetch(self, limit: int) -> list[Delivery]:
        """Waits for the first delivery, returns at most ``limit``, oldest first."""
        return await self._inbox.fetch(limit)

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Settles deliveries of the present channel; others were given back when theirs ended.

        A retry, a snooze and a dead letter are copies, published and confirmed before the original is acknowledged: a
        crash between the two leaves two copies and never none. Where the broker does not take a copy it is tried again
        in the background, while the original stays in hand and counts against the prefetch.
        """
        channel = self._channel
        acked: list[int] = []
        returned: list[int] = []
        copies: dict[int, Copy] = {}
        for delivery, outcome in outcomes:
            tag: _Tag = delivery.tag
            if tag.channel is not channel or tag.number not in self._unsettled:
                continue
            match self._settlement(tag.received, outcome):
                case None:
                    acked.append(tag.number)
                case Copy() as copy:
                    copies[tag.number] = copy
                case Return():
                    returned.append(tag.number)
        if channel is None:
            return
        await self._ack(channel, acked, returned)
        if copies:
            await asyncio.wait([self._move_soon(channel, copies)], timeout=self._patience)

    async def close(self) -> None:
        """Stops; the broker gives what was not settled to somebody else."""
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        await end([self._asking, self._task, *self._attendants, *self._moving])

    # --- the consumer ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause = Pause()
        while True:
            connection = await self._link.connection()
            try:
                await self._consume(connection, pause)
            except Broken as broken:
                log.warning("bus.consumer_lost", queue=self.queue, reason=str(broken))
            await pause.wait()

    async def _consume(self, connection: AbstractConnection, pause: Pause) -> None:
        """A consumer from its beginning to its end, which is always by Broken."""
        prefetch = self._allowance.count
        async with broken_by():
            await self._prepare(connection, self.queue)
            # Three frames make a delivery: a whole prefetch of them is read in one go, not ten frames at a time.
            channel = await connection.channel(
                publisher_confirms=False, frame_buffer_size=3 * prefetch, timeout=RPC_TIMEOUT
            )
        self._ending = asyncio.get_running_loop().create_future()
        channel.on_consumer_cancel_callbacks.add(lambda _: self.rebuild("the broker cancelled the consumer"))
        closing = channel.closing
        try:
            self._given_back()
            self._channel = channel
            async with broken_by():
                if self._isolates():
                    await _register(channel, suspects_queue(self.queue), 1, self._arrived_alone)
                await _register(channel, self.queue, prefetch, self._arrived)
            self._registered = True
            pause.reset()
            log.info("bus.consuming", queue=self.queue, prefetch=prefetch)
            await asyncio.wait((closing, self._ending), return_when=asyncio.FIRST_COMPLETED)
            raise Broken(self._ending.result() if self._ending.done() else ending(closing, "the channel was closed"))
        finally:
            self._registered = False
            self._channel = None
            self._ending = None
            self._given_back()
            self._inbox.drop(lambda _: True)
            closing.cancel()
            await self._leave(channel)

    def _given_back(self) -> None:
        """What was in hand is the queue's again."""
        self._unsettled, self._bytes, self._latest = {}, 0, 0
        self._suspected = {}
        self._epoch += 1

    async def _leave(self, channel: AbstractChannel) -> None:
        try:
            async with broken_by():
                await close_channel(channel)
        except Broken as broken:
            log.debug("bus.channel_gone", queue=self.queue, reason=str(broken))

    async def _arrived(self, delivered: DeliveredMessage) -> None:
        """A delivery of the queue: for the worker, unless it came too early, or too often."""
        if (tag := self._taken(delivered)) is None:
            return
        what = tag.received
        if what.is_probe:
            await self._ack(tag.channel, [tag.number])
        elif what.returns >= SUSPECT_AFTER and self._isolates():
            log.warning("bus.suspected", queue=self.queue, event_id=what.message.id, returned=what.returns)
            self._isolate_soon(tag.channel, tag.number, what.isolated(suspects_queue(self.queue)))
        elif (early := what.waits) > _TOO_EARLY:
            # It was asked to wait for longer than the longest step, and has come back from that one.
            reason = str(what.headers.get("x-trunkline-reason", ""))
            await self._put_off(tag, self._parking().park(what, self.queue, early, what.attempt, reason))
        else:
            self._inbox.put([Delivery(what.message, what.attempt, tag)])

    async def _arrived_alone(self, delivered: DeliveredMessage) -> None:
        """A suspect: nothing else of the kind is in hand.

        It is handed over once those that were set aside have left the queue for good: if it ends us now, they must not
        come from there again while their copies are here, or it would take longer to die with every life of ours.
        """
        if (tag := self._taken(delivered)) is None:
            return
        while self._isolating:
            await asyncio.wait(self._isolating)
            await tag.channel.queue_declare(self.queue, passive=True, timeout=RPC_TIMEOUT)
        if tag.channel is self._channel:
            self._inbox.put([Delivery(tag.received.message, tag.received.attempt, tag)])

    def _isolate_soon(self, channel: AbstractChannel, number: int, copy: Copy) -> None:
        """Sets a suspect aside, together with those that arrive with it.

        Acknowledged one by one they would not be gone for good when the first is handled: the broker holds back all but
        the first few acknowledgements.
        """
        self._suspected[number] = copy
        self._epoch += 1  # it goes back into a queue
        if len(self._suspected) > 1:
            return
        task = asyncio.create_task(self._isolate(channel), name=f"bus {self.queue} isolating")
        for tasks in (self._moving, self._isolating):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _isolate(self, channel: AbstractChannel) -> None:
        await asyncio.sleep(_TOGETHER)
        copies, self._suspected = self._suspected, {}
        await self._move(channel, copies)

    def _taken(self, delivered: DeliveredMessage) -> _Tag | None:
        """What arrived, now in hand; None where it is not ours any more."""
        if delivered.channel is not self._channel or delivered.delivery_tag is None:
            return None
        self.heard_at = asyncio.get_running_loop().time()
        size = len(delivered.body)
        self._allowance.saw(size)
        self._unsettled[delivered.delivery_tag] = size
        self._latest = delivered.delivery_tag
        self._bytes += size
        if self._allowance.exceeded(self._bytes):
            self._allowance.narrow()
            self.rebuild(f"{self._bytes} bytes are in hand: {self._allowance.count} deliveries at most from now on")
        return _Tag(delivered.channel, delivered.delivery_tag, received(delivered))

    # --- settling ----------------------------------------------------------------------------------------------------

    def _settlement(self, what: Received, outcome: Outcome) -> Parked | None:
        match outcome:
            case Ack():
                return None
            case Retry(after, reason):
                return self._parking().park(what, self.queue, after, what.attempt + 1, reason)
            case Snooze(after, reason):
                return self._parking().park(what, self.queue, after, what.attempt, reason)
            case DeadLetter(reason):
                return what.buried(dead_queue(self.queue), reason)

    async def _put_off(self, tag: _Tag, parked: Parked) -> None:
        if isinstance(parked, Return):
            await self._ack(tag.channel, [], [tag.number])
        else:
            self._move_soon(tag.channel, {tag.number: parked})

    def _move_soon(self, channel: AbstractChannel, copies: dict[int, Copy]) -> "asyncio.Task[None]":
        # A task of its own: were the worker cancelled in between, a copy would be made and its original never settled.
        task = asyncio.create_task(self._move(channel, copies), name=f"bus {self.queue} moving")
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)
        return task

    async def _move(self, channel: AbstractChannel, copies: dict[int, Copy]) -> None:
        """Publishes copies and acknowledges their originals, for as long as the originals are ours."""
        pause = 0.1
        while channel is self._channel:
            outcomes = await self._publisher.deliver(list(copies.values()))
            failpoints.hit("worker.after_retry_publish")
            problems = dict(zip(copies, outcomes, strict=True))
            await self._ack(channel, [number for number, problem in problems.items() if problem is None])
            copies = {number: copy for number, copy in copies.items() if problems[number] is not None}
            if not copies:
                return
            log.warning("bus.not_moved", queue=self.queue, count=len(copies), reason=problems[next(iter(copies))])
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  not a secret
            pause = min(pause * 2, _LONGEST_MOVE_PAUSE)

    async def _ack(self, channel: AbstractChannel, numbers: Sequence[int], returned: Sequence[int] = ()) -> None:
        # One at a time, and in the order in which it was worked out: an acknowledgement of a tag that an earlier
        # "multiple" covered already would close the channel.
        async with self._acking:
            if channel is not self._channel or channel.is_closed:
                return
            settled = {number for number in numbers if number in self._unsettled}
            back = [number for number in returned if number in self._unsettled]
            if not settled and not back:
                return
            frames = _acks(self._unsettled, settled)
            frames += [spec.Basic.Nack(number, multiple=False, requeue=True) for number in back]
            try:
                async with asyncio.timeout(_WRITE_TIMEOUT):
                    await channel.connection.write_queue.put(ChannelFrame.marshall(channel.number, frames))
            except TimeoutError:
                # They are still in hand, and their worker is done with them: a fresh channel gives them anew.
                log.warning("bus.not_acknowledged", queue=self.queue, count=len(settled) + len(back))
                self.rebuild("an acknowledgement could not be written")
                return
            if channel is self._channel:
                self._forget([*settled, *back])

    def _forget(self, numbers: Sequence[int]) -> None:
        """They are settled, and there is room for others."""
        if self.full:
            self.heard_at = asyncio.get_running_loop().time()
        for number in numbers:
            self._bytes -= self._unsettled.pop(number)
        if not self._unsettled and self._allowance.widen():
            self.rebuild(f"bodies are small: {self._allowance.count} deliveries at most from now on")


async def _register(
    channel: AbstractChannel,
    queue: str,
    prefetch: int,
    arrived: Callable[[DeliveredMessage], Coroutine[Any, Any, None]],
) -> None:
    await channel.basic_qos(prefetch_count=prefetch, timeout=RPC_TIMEOUT)
    # A fresh tag on a fresh channel: 3.10 loses fetches, or messages, where either is used again.
    await channel.basic_consume(queue, arrived, consumer_tag=f"trunkline.{uuid4().hex}", timeout=RPC_TIMEOUT)


def _acks(unsettled: Iterable[int], settled: AbstractSet[int]) -> list[spec.Basic.Ack | spec.Basic.Nack]:
    """One acknowledgement of the oldest ones together, and one for each that has an older one beside it in hand."""
    together = 0
    for number in unsettled:
        if number not in settled:
            break
        together = number
    frames: list[spec.Basic.Ack | spec.Basic.Nack] = [spec.Basic.Ack(together, multiple=True)] if together else []
    return frames + [spec.Basic.Ack(number) for number in sorted(settled) if number > together]
