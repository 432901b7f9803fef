"""A consumer's turn at one partition of an ordered queue: from its registration to its end, on a channel of its own.

The broker gives the held queue to one consumer at a time (single active consumer), and gives back what the last one had
together with the turn itself. So whoever gets a delivery from there is next; once the baton that it then publishes has
come around, it has seen all that is held. Only then does it ask for the partition, which the broker gives to one
consumer at a time as well, and not before the last one's deliveries are back.

Both queues are consumed on one channel: they are lost together. At most ``AHEAD`` events of the partition are in hand,
since the broker gives back more than 32 in any order (it keeps them in a hash map).

An event that came back too often is a suspect (``hub.bus.suspicion``): it is handed over alone, each time counted in
its copy before, so that it is dead after ``ALONE`` times, and what merely lay beside it never is.
"""

import asyncio
import random
import time
from collections.abc import Collection, Coroutine, Iterator, Mapping
from itertools import chain
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog
from aiormq.abc import AbstractChannel, ChannelFrame, DeliveredMessage
from pamqp import commands as spec
from pamqp.common import FieldValue

from hub.bus.lines import Entry, Lines, entry, in_places
from hub.bus.link import Broken, broken_by
from hub.bus.partitions import held_queue, partition
from hub.bus.publisher import Publisher
from hub.bus.suspicion import ALONE
from hub.bus.tasks import end, ending
from hub.bus.topology import RPC_TIMEOUT, dead_queue
from hub.bus.wire import BATON, COPY, DELIVERY_LIMIT, PLACE, RETURNED, Copy, Received, baton, probe, received

log = structlog.get_logger("bus")

AHEAD: Final = 32
_SILENCES: Final = 3
_LONGEST_PAUSE: Final = 5.0
_WRITE_TIMEOUT: Final = 5.0
_COMES_BACK: Final = 30.0  # seconds within which the broker delivers a copy that it has confirmed


class Desk(Protocol):
    """Where events are handed over to the worker."""

    def number(self) -> int:
        """For what has just arrived."""
        ...

    def offer(self, turn: "Turn", one: Entry) -> None:
        """This one may be handled; it is busy from now on."""
        ...

    def summoned(self, turn: "Turn", suspect: Entry, *, alive: bool) -> None:
        """A suspect is counted, and may be handed over alone; or it is dead."""
        ...

    def withdraw(self, turn: "Turn") -> list[Entry]:
        """Takes back what the worker has not fetched."""
        ...


class Turn:
    """One partition's deliveries, lines and copies.

    Attributes:
        registered: the broker knows this consumer.
        since: monotonic time from which it is this consumer's turn; None before.
        over: nothing of it can be settled any more.
    """

    def __init__(self, queue: str, slot: int, channel: AbstractChannel, publisher: Publisher, desk: Desk) -> None:
        self.registered = False
        self.since: float | None = None
        self.over = False
        self._queue = queue
        self._slot = slot
        self._channel = channel
        self._publisher = publisher
        self._desk = desk
        self._lines = Lines()
        self._read: list[Entry] = []
        self._baton: int | None = None
        self._sentinel = ""
        self._has_read = asyncio.Event()
        self._leaving = False
        self._left = asyncio.Event()
        self._busy: set[Entry] = set()
        self._starved: set[str] = set()
        self._expected: dict[str, asyncio.Future[tuple[int, Received]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._acks: list[int] = []
        self._to_ack = asyncio.Event()
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._silent = 0
        self._unheard: set[str] = set()
        channel.on_consumer_cancel_callbacks.add(lambda _: self.lose("the broker cancelled the consumer"))

    def __len__(self) -> int:
        return len(self._lines) + len(self._read)

    def numbers(self) -> Iterator[int]:
        """Of the events in hand."""
        return chain(self._lines.numbers(), (one.number for one in self._read))

    async def asked(self) -> bool:
        """Whether the broker answers on the channel: then all that it had sent before is here."""
        try:
            async with broken_by():
                await self._channel.queue_declare(partition(self._queue, self._slot), passive=True)
        except Broken:
            return False
        return True

    @property
    def held(self) -> int:
        """How many events are held."""
        return self._lines.held

    async def serve(self) -> None:
        """Waits for the turn, and takes it; returns when it has been given up. Raises Broken when it is lost."""
        self._spawn(self._acknowledge())
        try:
            await self._consume(held_queue(self._queue, self._slot), self._held_arrived, 0)
            self.registered = True
            self._spawn(
                self._pass_baton(uuid4().hex)
            )  # whoever's turn it is sees it: perhaps nobody's, then it is ours
            await self._until(self._has_read)
            self._line_up()
            await self._consume(partition(self._queue, self._slot), self._arrived, AHEAD)
            self.since = time.monotonic()
            log.info("bus.turn_taken", queue=self._queue, slot=self._slot, held=self._lines.held)
            await self._until(self._left)
        finally:
            self.over = True
            self.registered = False
            self.since = None
            self._desk.withdraw(self)
            for timer in self._timers.values():
                timer.cancel()
            await end(self._tasks)
            await self._flush()

    def leave(self) -> None:
        """Gives the turn up, once what the worker has is settled."""
        self._leaving = True
        for one in self._desk.withdraw(self):
            self._release(one)
        self._look_around()

    def lose(self, reason: str) -> None:
        """Ends the turn at once: all that we have is given back, and given again to whoever is next."""
        if not self._lost.done():
            self._lost.set_result(reason)

    def watch(self) -> None:
        """Asks both queues for a sign of life, from time to time; without any for three times the turn is lost."""
        if self.since is None or self._leaving:
            return
        self._silent = self._silent + 1 if self._unheard else 0
        if self._silent >= _SILENCES:
            self.lose(f"nothing comes from {' and '.join(sorted(self._unheard))}")
            return
        if self._unheard:
            return
        self._unheard = {held_queue(self._queue, self._slot)}
        if self._lines.taken() < AHEAD:
            self._unheard.add(partition(self._queue, self._slot))
        self._spawn(self._call(tuple(self._unheard)))

    # --- settling: of entries that were offered ----------------------------------------------------------------------

    def done(self, one: Entry) -> None:
        """It is done, for good: the next of its call."""
        self._ack(one.tag)
        self._lines.leave(one)
        self._release(one)
        starved, self._starved = self._starved, set()
        for call in {one.call, *starved}:
            self._advance(call)

    def hold(self, one: Entry, attempt: int, reason: str, after: float) -> "asyncio.Task[None]":
        """It has to come back, and those behind it wait."""
        return self._spawn(self._hold(one, attempt, reason, time.time() + after))

    def bury(self, one: Entry, reason: str) -> "asyncio.Task[None]":
        """It is given up: a dead letter; the next of its call."""
        return self._spawn(self._bury(one, reason))

    def summon(self, suspect: Entry) -> None:
        """It will be handed over alone: it is counted before, so that who dies of it need not say so."""
        log.warning("bus.suspected", queue=self._queue, event_id=suspect.received.message.id, slot=self._slot)
        self._spawn(self._summon(suspect))

    # --- arrivals ----------------------------------------------------------------------------------------------------

    async def _held_arrived(self, delivered: DeliveredMessage) -> None:
        what, tag = received(delivered), delivered.delivery_tag or 0
        self._unheard.discard(held_queue(self._queue, self._slot))
        if not self._sentinel:  # it is our turn: behind what we are given now comes nothing that was held before
            self._sentinel = uuid4().hex
            self._spawn(self._pass_baton(self._sentinel))
        if what.is_probe:
            self._ack(tag)
            return
        if BATON in what.headers:
            self._baton, old = tag, self._baton
            if old is not None:
                self._ack(old)
            if what.headers[BATON] == self._sentinel:
                self._has_read.set()
            return
        expected = self._expected.pop(str(what.headers.get(COPY)), None)
        if expected is not None and not expected.done():
            expected.set_result((tag, what))
        elif self._has_read.is_set():
            self._join(self._arrival(what, tag, held=True))
        else:
            self._read.append(self._arrival(what, tag, held=True))

    async def _arrived(self, delivered: DeliveredMessage) -> None:
        what, tag = received(delivered), delivered.delivery_tag or 0
        self._unheard.discard(partition(self._queue, self._slot))
        if what.is_probe:
            self._ack(tag)
        else:
            self._join(self._arrival(what, tag, held=False))

    def _arrival(self, what: Received, tag: int, *, held: bool) -> Entry:
        one = entry(what, tag, held=held)
        one.number = self._desk.number()
        return one

    def _line_up(self) -> None:
        """All that is held stands before all that comes."""
        read, self._read = self._read, []
        for one in in_places(read):
            if not self._lines.join(one):
                self._ack(one.tag)
        for call in self._lines:
            self._advance(call)

    def _join(self, one: Entry) -> None:
        # A copy whose original was not acknowledged: the other one of the two is in the line, and as durable.
        if self._lines.join(one):
            self._advance(one.call)
        else:
            self._ack(one.tag)

    def _advance(self, call: str) -> None:
        """Offers the head of a line that is due; where it is not, those behind it are held with it."""
        head = self._lines.head(call)
        if head is None or head.busy or self._leaving or self.over:
            return
        wait = head.due - time.time()
        if wait <= 0:
            self._occupy(head)
            self._desk.offer(self, head)
            return
        if call not in self._timers:
            self._timers[call] = asyncio.get_running_loop().call_later(wait, self._ring, call)
        behind = self._lines.next_to_hold(call)
        if behind is None:
            return
        if self._lines.full:
            self._starved.add(call)
            return
        self._occupy(behind)
        reason = f"behind event {head.received.message.id} of its call"
        self._spawn(self._hold(behind, behind.received.attempt, reason, 0.0))

    def _ring(self, call: str) -> None:
        del self._timers[call]
        self._advance(call)

    # --- copies ------------------------------------------------------------------------------------------------------

    async def _hold(self, one: Entry, attempt: int, reason: str, due: float) -> None:
        await self._copy(one, attempt, reason, due, {})
        self._release(one)
        self._advance(one.call)

    async def _summon(self, suspect: Entry) -> None:
        what = suspect.received
        if alive := what.suspected < ALONE:
            was = held_queue if suspect.held else partition
            await self._copy(suspect, what.attempt, "handled alone", 0.0, {RETURNED: what.suspected + 1})
            await self._see_off(was(self._queue, self._slot))
        else:
            await self._bury(suspect, DELIVERY_LIMIT)
        self._desk.summoned(self, suspect, alive=alive)

    async def _copy(self, one: Entry, attempt: int, reason: str, due: float, notes: Mapping[str, FieldValue]) -> None:
        """Puts an event into the held queue, one of a line at a time; a crash leaves two copies at the most."""
        number = uuid4().hex
        comes: asyncio.Future[tuple[int, Received]] = asyncio.get_running_loop().create_future()
        self._expected[number] = comes
        to = held_queue(self._queue, self._slot)
        more = {**notes, PLACE: self._lines.place(one), COPY: number}
        await self._deliver(one.received.held(to, attempt, reason, due, more))
        try:
            async with asyncio.timeout(_COMES_BACK):
                tag, what = await comes
        except TimeoutError:
            self.lose("the broker does not deliver what it has confirmed")
            await asyncio.Event().wait()  # for our end
        self._ack(one.tag)
        self._lines.hold(one, tag, what)

    async def _see_off(self, queue: str) -> None:
        """Waits until what was acknowledged has left its queue for good.

        A suspect may end us as soon as it is handed over; were its original still there, it would be counted anew.
        """
        await self._flush()
        try:
            async with broken_by():
                for _ in range(2):  # the broker's channel holds acknowledgements back until the queue has answered
                    await self._channel.queue_declare(queue, passive=True, timeout=RPC_TIMEOUT)
        except Broken as broken:
            self.lose(str(broken))

    async def _bury(self, one: Entry, reason: str) -> None:
        await self._deliver(one.received.buried(dead_queue(self._queue), reason))
        self.done(one)

    async def _pass_baton(self, name: str) -> None:
        await self._deliver(baton(held_queue(self._queue, self._slot), name))

    async def _call(self, queues: Collection[str]) -> None:
        await self._publisher.deliver([probe(queue) for queue in queues])

    async def _deliver(self, copy: Copy) -> None:
        """Publishes until the broker has it."""
        pause = 0.1
        while True:
            (problem,) = await self._publisher.deliver([copy])
            if problem is None:
                return
            log.warning("bus.not_moved", queue=copy.routing_key, count=1, reason=problem)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  not a secret
            pause = min(pause * 2, _LONGEST_PAUSE)

    # --- the channel -------------------------------------------------------------------------------------------------

    async def _consume(self, queue: str, callback: Any, prefetch: int) -> None:
        async with broken_by():
            await self._channel.basic_qos(prefetch_count=prefetch, timeout=RPC_TIMEOUT)
            tag = f"trunkline.{uuid4().hex}"
            await self._channel.basic_consume(queue, callback, consumer_tag=tag, timeout=RPC_TIMEOUT)

    async def _until(self, event: asyncio.Event) -> None:
        waiting = asyncio.create_task(event.wait(), name="bus turn waiting")
        closing = self._channel.closing
        try:
            await asyncio.wait((waiting, closing, self._lost), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise Broken(self._lost.result() if self._lost.done() else ending(closing, "the channel was closed"))
        finally:
            closing.cancel()
            waiting.cancel()

    def _ack(self, tag: int) -> None:
        self._acks.append(tag)
        self._to_ack.set()

    async def _acknowledge(self) -> None:
        while True:
            await self._to_ack.wait()
            self._to_ack.clear()
            await self._flush()
            self._look_around()

    async def _flush(self) -> None:
        tags, self._acks = self._acks, []
        if not tags or self._channel.is_closed:
            return
        frames = [spec.Basic.Ack(tag) for tag in tags]
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT):
                await self._channel.connection.write_queue.put(ChannelFrame.marshall(self._channel.number, frames))
        except TimeoutError:
            log.warning("bus.not_acknowledged", queue=self._queue, count=len(frames))

    # --- coming and going --------------------------------------------------------------------------------------------

    def _occupy(self, one: Entry) -> None:
        one.busy = True
        self._busy.add(one)

    def _release(self, one: Entry) -> None:
        one.busy = False
        self._busy.discard(one)
        self._look_around()

    def _look_around(self) -> None:
        if self._leaving and not self._busy and not self._acks and not self._to_ack.is_set():
            self._left.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=f"bus {self._queue}.{self._slot}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
