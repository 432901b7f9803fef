"""The seam to the broker."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Protocol

from hub.events import Message, identity


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue and the binding patterns (AMQP topic syntax) it hangs on; it owns ``<name>.dead`` as well.

    Attributes:
        bindings: which events come to it, from the exchange ``trunkline.events``.
        ordered: the events of one call (``ce-subject``) are delivered one at a time, and each for the first time only
            after every earlier one of its call, in the order in which they came to the bus, is acknowledged or a dead
            letter; over any number of consumers, whoever of them comes, goes or is killed. Other calls do not wait. A
            repetition may come after later ones: of what was settled just before a consumer was killed, and of a dead
            letter that was put back. It is a queue's nature: one that exists does not change it.
        commands: which commands come to it, from the exchange ``trunkline.commands``; an ordered queue has none.
    """

    name: str
    bindings: tuple[str, ...]
    ordered: bool = False
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed to one worker, to be settled with exactly one outcome.

    Attributes:
        message: what was published, as bytes; ``hub.events.to_event`` decodes it.
        attempt: 1 on the first delivery; grows by one with each ``Retry``, never with a redelivery or a ``Snooze``.
        tag: the bus's own handle; nobody else looks inside.
    """

    message: Message
    attempt: int
    tag: Any


@dataclass(frozen=True, slots=True)
class Ack:
    """Done, for good."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Failed: come back after at least ``after`` seconds, as the next attempt."""

    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class Snooze:
    """Too early: come back after at least ``after`` seconds, as the same attempt."""

    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Given up: kept in the queue's dead letters with its reason, for an operator to decide."""

    reason: str


Outcome = Ack | Retry | Snooze | DeadLetter


HISTORY: Final = 12
"""Failures that a delivery remembers, the latest ones."""

HISTORY_REASON: Final = 200
"""Characters of each one's reason."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that ended in a ``Retry``: when, and why, in at most ``HISTORY_REASON`` characters."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter as the bus keeps it: ``reason``, ``attempt`` and when it died.

    Attributes:
        history: the attempts before the last, oldest first, at most ``HISTORY`` of them.
        cursor: the bus's own mark of its place, for ``after``.
    """

    message: Message
    reason: str
    attempt: int
    died_at: datetime
    history: tuple[Failure, ...] = ()
    cursor: str = ""

    @property
    def id(self) -> str:
        """The event's id; of a stranger's message without one, a name made of all that it says."""
        return self.message.id or identity("dead", *_content(self.message))


def _content(message: Message) -> list[str]:
    headers = [f"{name}={value}" for name, value in sorted(message.headers.items())]
    return [message.routing_key, *headers, sha256(message.body).hexdigest()]


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds: ready to be delivered, in hand or waiting, dead.

    What waits does so for its retry; in an ordered queue, behind another event of its call too.

    Attributes:
        alone: ``in_flight`` lacks what other processes have in hand: the bus cannot tell.
    """

    ready: int
    in_flight: int
    dead: int
    alone: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Held:
    """What a consumer has in hand, in numbers of its own: its deliveries are numbered as they arrive.

    Attributes:
        epoch: grows whenever what was in hand has gone back to the queue unsettled; the numbers begin again.
        taken: the number of the delivery that arrived last; 0 before the first.
        done: every delivery up to this number is settled.
        count: how many are not.
    """

    epoch: int
    taken: int
    done: int
    count: int


@dataclass(frozen=True, slots=True)
class Census:
    """A queue as the ledger asks about it; ``ready`` and ``consumers`` are of one moment.

    Attributes:
        ready: to be delivered.
        aside: taken out of the queue to be handled alone, and not in hand.
        consumers: who are registered, strangers too.
        dead: given up.
        found: the ids that were asked for and are somewhere in the queue; None where the bus cannot tell by id.
        looked: every other id is not in the queue. False where the bus cannot tell, or has not looked everywhere.
    """

    ready: int
    aside: int
    consumers: int
    dead: int
    found: frozenset[str] | None = None
    looked: bool = False


class Subscription(Protocol):
    """A consumer of one queue."""

    @property
    def registered(self) -> bool:
        """True only while deliveries can really arrive: the broker knows this consumer."""
        ...

    async def held(self) -> Held:
        """What it has in hand, what was not fetched too: all that the bus had sent when it was asked.

        Raises:
            NotDurable: the bus does not answer, so something may be on its way that is in no number.
        """
        ...

    async def fetch(self, limit: int) -> list[Delivery]:
        """Waits for the first delivery, then returns it with those already here, at most ``limit``; oldest first.

        Survives the broker's restarts by itself. Cancelling it loses nothing.

        Raises:
            BusClosed: after ``close``.
        """
        ...

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Settles deliveries, each exactly once, in one go.

        A delivery whose connection is gone is left to be delivered again: that is not an error.
        """
        ...

    async def close(self) -> None:
        """Stops; what was fetched and not settled, and what was not fetched, is delivered again to somebody."""
        ...


class Bus(Protocol):
    """Publish, and consume. One instance for each process; ``start`` never fails because the broker is down."""

    async def start(self) -> None:
        """Opens what must be local and begins to connect to what is not."""
        ...

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Makes the queues exist with their bindings, now or as soon as the broker can be reached. Idempotent."""
        ...

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when every message is durable and lies in every queue bound to its routing key.

        The same message twice is allowed, and delivered twice at the most.

        Raises:
            NotDurable: at least one is not known to be durable; it may still arrive.
        """
        ...

    async def command(self, messages: Sequence[Message]) -> None:
        """Returns when every command is durable in every queue that is bound to its routing key among the commands.

        A command is no event: it needs no header but ``ce-id``, its name, which is AMQP's ``message_id``. No queue
        gets it for a binding to events, and none of the unrouted.

        Raises:
            NotDurable: no queue takes one of them, or at least one is not known to be durable; it may still arrive.
        """
        ...

    async def send(self, queue: str, messages: Sequence[Message]) -> None:
        """Returns when every message is durable in that one queue, in their order, whatever it is bound to.

        For what one consumer is to have again; the queue may be anybody's.

        Raises:
            NotDurable: there is no such queue, or at least one is not known to be durable; it may still arrive.
        """
        ...

    async def reroute(self) -> int:
        """Gives what no queue was bound to when it came to those that are bound now; returns how many there were.

        An event that belongs nowhere stays. It comes behind what was published meanwhile, also in an ordered queue;
        what is interrupted may come twice.

        Raises:
            NotDurable: the bus cannot be asked now, or one of them could not be published.
        """
        ...

    def subscribe(self, queue: str, prefetch: int) -> Subscription:
        """A consumer of ``queue`` with at most ``prefetch`` deliveries in hand."""
        ...

    async def depth(self, queue: str) -> Depth:
        """Counts of the queue now. Raises NotDurable where the broker cannot be asked."""
        ...

    async def census(self, queue: str, ids: Collection[str], *, search: bool = False) -> Census:
        """Where accepted events are that the store does not have. Raises NotDurable where the bus cannot be asked.

        Args:
            queue: which.
            ids: of events.
            search: read the queue itself where it cannot be asked by id. Each message that is read counts as one
                return of the twenty that a delivery has, and consumers do not see it meanwhile: only for a queue
                without consumers of which something is known to be missing.
        """
        ...

    async def dead(
        self, queue: str, limit: int = 50, after: str | None = None, where: Callable[[Dead], bool] | None = None
    ) -> list[Dead]:
        """The oldest dead letters, without taking them.

        Args:
            queue: whose.
            limit: how many at most.
            after: the ``cursor`` of the last one seen; from the oldest without it.
            where: which ones; all without it. Pure, and called in whatever thread.

        Raises:
            NotDurable: the broker cannot be asked.
            ValueError: ``after`` is not a cursor of this bus.
        """
        ...

    async def requeue(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Puts dead letters back into their work queue as attempt 1, nothing but their attempts forgotten.

        Each is durable there before it leaves the dead letters: a crash in between delivers it twice, and loses none.

        Args:
            queue: whose.
            ids: of those to take, where they are there; None for the oldest.
            limit: how many at most.

        Returns:
            How many were put back.

        Raises:
            NotDurable: at least one could not be put back; it is still dead.
        """
        ...

    async def discard(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Forgets dead letters for good; arguments, answer and errors as ``requeue`` has them."""
        ...

    async def bury(
        self, queue: str, message: Message, reason: str, attempt: int, history: Sequence[Failure] = ()
    ) -> None:
        """Returns when a message is durable among the queue's dead letters, as if a delivery of it had died there.

        For work that was taken off the queue and is given up later. With or without consumers; no other queue gets it.
        Repeated, it may lie there twice.

        Args:
            queue: whose; it has to exist.
            message: what ``requeue`` puts into the work queue.
            reason: why it was given up.
            attempt: which one was the last, from 1.
            history: the attempts before, oldest first; of more than ``HISTORY`` the latest are kept.

        Raises:
            NotDurable: there is no such queue, or it is not known to be durable; it may still lie there.
        """
        ...

    def state(self) -> tuple[bool, str]:
        """Whether the bus takes messages now, and one line that says why not."""
        ...

    async def close(self) -> None:
        """Closes; nothing that was confirmed is lost."""
        ...
