"""Consuming an ordered queue from the broker: a turn at each partition, shared fairly with the other consumers."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection

from hub.bus import partitions
from hub.bus.inbox import Inbox
from hub.bus.lines import Entry
from hub.bus.link import Broken, Link, Pause, broken_by
from hub.bus.publisher import Publisher
from hub.bus.slots import SLOTS
from hub.bus.tasks import end
from hub.bus.topology import RPC_TIMEOUT, close_channel
from hub.bus.turn import AHEAD, Turn
from hub.errors import NotDurable
from hub.ports import Ack, DeadLetter, Delivery, Held, Outcome, Retry, Snooze

log = structlog.get_logger("bus")

_BETWEEN_LOOKS: Final = 1.0
_ANSWER: Final = 3.0  # seconds
_LONGEST_TURN: Final = 600.0
"""Seconds for which events are held in hand; the broker closes a channel that does not acknowledge for 1800."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tag:
    turn: Turn
    entry: Entry


class OrderedSubscription:
    """``hub.ports.Subscription`` on one ordered queue of the broker.

    It registers at every partition, and the broker decides whose turn it is. Who has more than a fair share of turns
    gives some up, and stands at the end of the line for them. Only the first event of each call is ever handed over.

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
        patience: float,
        watch: float,
    ) -> None:
        """Begins to consume; the arguments are those of ``RabbitSubscription``, and ``watch`` of ``RabbitBus``."""
        self.queue = queue
        self._prefetch = prefetch
        self._link = link
        self._publisher = publisher
        self._prepare = prepare
        self._patience = patience
        self._watch = watch
        self._inbox = Inbox(queue)
        self._closed = False
        self._epoch = 1
        self._number = 0
        self._asking: set[asyncio.Task[bool]] = set()
        self._preparing = asyncio.Lock()
        self._prepared: AbstractConnection | None = None
        self._turns: dict[int, Turn] = {}
        self._offered: dict[Entry, Turn] = {}
        self._given: dict[Entry, Turn] = {}
        self._alone: tuple[Turn, Entry] | None = None  # the suspect that is handled, or about to be
        self._calls: set[str] = set()  # of what is given: also what is none of ours any more, until the worker is done
        self._tasks = [
            *(asyncio.create_task(self._attend(slot), name=f"bus {queue}.{slot}") for slot in range(SLOTS)),
            asyncio.create_task(self._balance(), name=f"bus {queue} balance"),
            asyncio.create_task(self._look_after(), name=f"bus {queue} watch"),
        ]

    @property
    def registered(self) -> bool:
        """Whether the broker knows this consumer at every partition; whose turn it is is another matter."""
        return len(self._turns) == SLOTS and all(turn.registered for turn in self._turns.values())

    @property
    def in_hand(self) -> int:
        """Deliveries that the broker has given us and that are not settled, the held ones included."""
        return sum(map(len, self._turns.values()))

    async def held(self) -> Held:
        """What is in hand; the numbers do not begin again with an epoch."""
        turns = list(self._turns.values())
        asking = [asyncio.create_task(turn.asked(), name=f"bus {self.queue} asking") for turn in turns]
        self._asking.update(asking)
        for task in asking:
            task.add_done_callback(self._asking.discard)
        if asking:
            # Not given up where it takes too long: the library closes a channel whose question is.
            _, silent = await asyncio.wait(asking, timeout=_ANSWER)
            if silent or not all(task.result() for task in asking):
                raise NotDurable("the broker does not answer on the consumer's channels")
        open_ = [number for turn in self._turns.values() for number in turn.numbers()]
        return Held(self._epoch, self._number, min(open_, default=self._number + 1) - 1, len(open_))

    async def fetch(self, limit: int) -> list[Delivery]:
        """Waits for the first delivery, returns at most ``limit``, no two of one call."""
        return await self._inbox.fetch(limit)

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Settles deliveries of turns that we still have; others were given back when those ended.

        A retry, a snooze and a dead letter are copies, published and confirmed before the original is acknowledged, as
        everywhere; where the broker does not take one it is tried again in the background, and its call waits.
        """
        moving: list[asyncio.Task[None]] = []
        for delivery, outcome in outcomes:
            turn, one = delivery.tag.turn, delivery.tag.entry
            if self._given.pop(one, None) is None:
                continue
            self._calls.discard(one.call)
            if self._alone == (turn, one):
                self._alone = None
            if turn.over:
                continue
            match outcome:
                case Ack():
                    turn.done(one)
                case Retry(after, reason):
                    moving.append(turn.hold(one, delivery.attempt + 1, reason, after))
                case Snooze(after, reason):
                    moving.append(turn.hold(one, delivery.attempt, reason, after))
                case DeadLetter(reason):
                    moving.append(turn.bury(one, reason))
        self._hand_over()
        if moving:
            await asyncio.wait(moving, timeout=self._patience)

    async def close(self) -> None:
        """Stops; the broker gives what was not settled to somebody else."""
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        await end([*self._asking, *self._tasks])

    # --- handing over: hub.bus.turn.Desk -----------------------------------------------------------------------------

    def number(self) -> int:
        """The next one."""
        self._number += 1
        return self._number

    def offer(self, turn: Turn, one: Entry) -> None:
        """Gives it to the worker, as soon as there is room."""
        self._offered[one] = turn
        self._hand_over()

    def summoned(self, turn: Turn, suspect: Entry, *, alive: bool) -> None:
        """Gives it to the worker, which has no other suspect."""
        if alive:
            self._give(turn, suspect)
        else:
            self._alone = None
            self._hand_over()

    def withdraw(self, turn: Turn) -> list[Entry]:
        """Takes back what the worker has not fetched."""
        back = [one for one, its in self._offered.items() if its is turn]
        for one in back:
            del self._offered[one]

        def is_its(delivery: Delivery) -> bool:
            if delivery.tag.turn is not turn:
                return False
            back.append(delivery.tag.entry)
            self._given.pop(delivery.tag.entry, None)
            self._calls.discard(delivery.tag.entry.call)
            return True

        if not self._closed:
            self._inbox.drop(is_its)
            if self._summoned_by(turn) and (turn.over or (self._alone and self._alone[1] in back)):
                self._alone = None
            self._hand_over()
        return back

    def _summoned_by(self, turn: Turn | None = None) -> bool:
        """Whether a suspect, of that turn, is about to be given to the worker."""
        if self._alone is None or self._alone[1] in self._given:
            return False
        return turn in (None, self._alone[0])

    def _hand_over(self) -> None:
        if self._closed:
            return
        for one, turn in list(self._offered.items()):
            if len(self._given) + self._summoned_by() >= self._prefetch:
                return
            if one.call in self._calls:  # the worker is not done with what an ended turn gave it
                continue
            if one.suspect and self._alone is not None:
                continue
            del self._offered[one]
            if one.suspect:
                self._alone = (turn, one)
                turn.summon(one)
            else:
                self._give(turn, one)

    def _give(self, turn: Turn, one: Entry) -> None:
        self._given[one] = turn
        self._calls.add(one.call)
        self._inbox.put([Delivery(one.received.message, one.received.attempt, _Tag(turn, one))])

    # --- turns -------------------------------------------------------------------------------------------------------

    async def _attend(self, slot: int) -> None:
        """Stands in line at a partition, again after each turn."""
        pause = Pause()
        while True:
            connection = await self._link.connection()
            try:
                await self._take(connection, slot)
                pause.reset()
            except Broken as broken:
                self._prepared = None
                log.warning("bus.consumer_lost", queue=self.queue, slot=slot, reason=str(broken))
                await pause.wait()

    async def _open(self, connection: AbstractConnection) -> AbstractChannel:
        """A channel, on a connection on which the queue exists."""
        async with broken_by():
            async with self._preparing:
                if self._prepared is not connection:
                    await self._prepare(connection, self.queue)
                    self._prepared = connection
            return await connection.channel(publisher_confirms=False, frame_buffer_size=3 * AHEAD, timeout=RPC_TIMEOUT)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(self._watch)
            for turn in list(self._turns.values()):
                turn.watch()

    async def _take(self, connection: AbstractConnection, slot: int) -> None:
        channel = await self._open(connection)
        turn = self._turns[slot] = Turn(self.queue, slot, channel, self._publisher, self)
        try:
            await turn.serve()
        finally:
            self._turns.pop(slot, None)
            self._epoch += 1
            await self._leave(channel)

    async def _leave(self, channel: AbstractChannel) -> None:
        try:
            async with broken_by():
                await close_channel(channel)
        except Broken as broken:
            log.debug("bus.channel_gone", queue=self.queue, reason=str(broken))

    async def _balance(self) -> None:
        """Counts the consumers from time to time, and gives up turns that are more than our share."""
        pause = Pause()
        while True:
            connection = await self._link.connection()
            try:
                channel = await self._open(connection)
                try:
                    await self._count(channel)
                finally:
                    await self._leave(channel)
            except Broken as broken:
                log.debug("bus.not_balanced", queue=self.queue, reason=str(broken))
                await pause.wait()

    async def _count(self, channel: AbstractChannel) -> None:
        """Until the channel is no good any more, which is Broken."""
        async with broken_by():
            await partitions.register(channel, self.queue)
            while True:
                await asyncio.sleep(_BETWEEN_LOOKS * random.uniform(0.75, 1.25))  # noqa: S311  not a secret
                self._share(await partitions.count_consumers(channel, self.queue), time.monotonic())

    def _share(self, consumers: int, now: float) -> None:
        """Gives up what is above a fair share, and the turns that have held events for long."""
        ours = {turn: turn.since for turn in self._turns.values() if turn.since is not None}
        share = -(-SLOTS // max(1, consumers))
        long = [turn for turn, since in ours.items() if turn.held and now - since > _LONGEST_TURN]
        for turn in {*long, *list(ours)[share:]}:
            turn.leave()
