"""Consuming from the broker: a channel for each subscription, rebuilt whenever anything about it is odd."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection, ChannelFrame, DeliveredMessage
from pamqp import commands as spec

from hub import failpoints
from hub.bus.inbox import Inbox
from hub.bus.link import Broken, Link, Pause, broken_by
from hub.bus.publisher import Publisher
from hub.bus.tasks import end
from hub.bus.topology import RPC_TIMEOUT, close_channel, dead_queue, retry_queue, step
from hub.bus.wire import Copy, Received, received
from hub.ports import Ack, DeadLetter, Delivery, Outcome, Retry, Snooze

log = structlog.get_logger("bus")

_WRITE_TIMEOUT: Final = 5.0
_LONGEST_MOVE_PAUSE: Final = 5.0
_TOO_EARLY: Final = 0.05  # seconds that are not worth parking a delivery for


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

    Attributes:
        queue: its name.
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        *,
        link: Link,
        publisher: Publisher,
        prepare: Callable[[AbstractConnection, str], Awaitable[None]],
        ladder: Sequence[int],
        patience: float,
    ) -> None:
        """Begins to consume.

        Args:
            queue: its name.
            prefetch: deliveries in hand at most.
            link: the connection to consume on.
            publisher: takes the copies that are parked or buried.
            prepare: makes the queue exist, on a given connection.
            ladder: steps in seconds to park deliveries for.
            patience: seconds that ``settle`` waits for those copies; they go on after that.
        """
        self.queue = queue
        self._prefetch = prefetch
        self._link = link
        self._publisher = publisher
        self._prepare = prepare
        self._ladder = ladder
        self._patience = patience
        self._inbox = Inbox(queue)
        self._channel: AbstractChannel | None = None
        self._registered = False
        self._closed = False
        self._unsettled: dict[int, None] = {}  # delivery tags of the channel, ascending
        self._acking = asyncio.Lock()
        self._moving: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run(), name=f"bus {queue}")

    @property
    def registered(self) -> bool:
        """True between the broker's consume-ok and the end of that consumer."""
        return self._registered

    @property
    def in_hand(self) -> int:
        """Deliveries that the broker has given us and that are not settled."""
        return len(self._unsettled)

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
        copies: dict[int, Copy] = {}
        for delivery, outcome in outcomes:
            tag: _Tag = delivery.tag
            if tag.channel is not channel or tag.number not in self._unsettled:
                continue
            copy = self._copy(tag.received, outcome)
            if copy is None:
                acked.append(tag.number)
            else:
                copies[tag.number] = copy
        if channel is None:
            return
        await self._ack(channel, acked)
        if copies:
            await asyncio.wait([self._move_soon(channel, copies)], timeout=self._patience)

    async def close(self) -> None:
        """Stops; the broker gives what was not settled to somebody else."""
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        await end([self._task, *self._moving])

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
        async with broken_by():
            await self._prepare(connection, self.queue)
            # Three frames make a delivery: a whole prefetch of them is read in one go, not ten frames at a time.
            channel = await connection.channel(
                publisher_confirms=False, frame_buffer_size=3 * self._prefetch, timeout=RPC_TIMEOUT
            )
        cancelled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        channel.on_consumer_cancel_callbacks.add(cancelled.set_result)  # one consumer, so once at the most
        closing = channel.closing
        try:
            self._unsettled = {}
            self._channel = channel
            async with broken_by():
                await channel.basic_qos(prefetch_count=self._prefetch, timeout=RPC_TIMEOUT)
                # A fresh tag on a fresh channel: 3.10 loses fetches, or messages, where either is used again.
                await channel.basic_consume(
                    self.queue, self._arrived, consumer_tag=f"trunkline.{uuid4().hex}", timeout=RPC_TIMEOUT
                )
            self._registered = True
            pause.reset()
            log.info("bus.consuming", queue=self.queue, prefetch=self._prefetch)
            await asyncio.wait((closing, cancelled), return_when=asyncio.FIRST_COMPLETED)
            raise Broken("the broker cancelled the consumer" if cancelled.done() else "the channel was closed")
        finally:
            self._registered = False
            self._channel = None
            self._unsettled = {}
            self._inbox.drop(lambda _: True)
            closing.cancel()
            await self._leave(channel)

    async def _leave(self, channel: AbstractChannel) -> None:
        try:
            async with broken_by():
                await close_channel(channel)
        except Broken as broken:
            log.debug("bus.channel_gone", queue=self.queue, reason=str(broken))

    async def _arrived(self, delivered: DeliveredMessage) -> None:
        if delivered.channel is not self._channel or delivered.delivery_tag is None:
            return
        what = received(delivered)
        number = delivered.delivery_tag
        self._unsettled[number] = None
        early = what.waits
        if early > _TOO_EARLY:
            # It was asked to wait for longer than the longest step, and has come back from that one.
            copy = self._parked(what, early, what.attempt, str(what.headers.get("x-trunkline-reason", "")))
            self._move_soon(delivered.channel, {number: copy})
            return
        self._inbox.put([Delivery(what.message, what.attempt, _Tag(delivered.channel, number, what))])

    # --- settling ----------------------------------------------------------------------------------------------------

    def _copy(self, what: Received, outcome: Outcome) -> Copy | None:
        match outcome:
            case Ack():
                return None
            case Retry(after, reason):
                return self._parked(what, after, what.attempt + 1, reason)
            case Snooze(after, reason):
                return self._parked(what, after, what.attempt, reason)
            case DeadLetter(reason):
                return what.buried(dead_queue(self.queue), reason)

    def _parked(self, what: Received, after: float, attempt: int, reason: str) -> Copy:
        seconds = step(self._ladder, after)
        not_before = time.time() + after if after > seconds else None
        return what.parked(retry_queue(self.queue, seconds), attempt, reason, not_before)

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

    async def _ack(self, channel: AbstractChannel, numbers: Sequence[int]) -> None:
        # One at a time, and in the order in which it was worked out: an acknowledgement of a tag that an earlier
        # "multiple" covered already would close the channel.
        async with self._acking:
            frames = self._frames(channel, numbers)
            if not frames:
                return
            try:
                async with asyncio.timeout(_WRITE_TIMEOUT):
                    await channel.connection.write_queue.put(ChannelFrame.marshall(channel.number, frames))
            except TimeoutError:
                log.warning("bus.not_acknowledged", queue=self.queue, count=len(numbers))

    def _frames(self, channel: AbstractChannel, numbers: Sequence[int]) -> list[spec.Basic.Ack]:
        """One acknowledgement of the oldest ones together, and one for each that has an older one beside it in hand."""
        if channel is not self._channel or channel.is_closed:
            return []
        settled = {number for number in numbers if number in self._unsettled}
        together = 0
        for number in self._unsettled:
            if number not in settled:
                break
            together = number
        frames = [spec.Basic.Ack(together, multiple=True)] if together else []
        frames += [spec.Basic.Ack(number) for number in sorted(settled) if number > together]
        for number in settled:
            del self._unsettled[number]
        return frames
