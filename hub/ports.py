"""The seams, on one page: Vendor, Bus with its Subscription, Store. Everything else stands behind one of them.

An implementation is chosen by ``hub.wiring`` alone. Conformance suites under ``tests/contract`` hold every bus and
every store to the words written here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Protocol

from hub.events import Event, Message, identity

# --- Vendor ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Callback:
    """A vendor's request to us, its sender's token already proved.

    Attributes:
        source: name of the configured vendor connection.
        event: the path's last segment where it names an event, as it came; None where the path has none.
        query: the query string, still percent-encoded, without the question mark.
        content_type: the header as it came, empty where there was none.
        body: the bytes, at most 1 MiB.
        received_at: our clock, aware, UTC.
    """

    source: str
    event: str | None
    query: str
    content_type: str
    body: bytes
    received_at: datetime


class Vendor(Protocol):
    """What a vendor tells us, in our words. Pure: no sockets, no clock. One instance for each configured source."""

    def decode(self, callback: Callback) -> list[Event]:
        """The canonical events of a callback, at least one.

        Raises:
            Unusable: with the first reason that applies, in the order event, undecodable, signature, identity;
                where the source refuses bad signatures, signature comes first.
        """
        ...


# --- Bus -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue and the binding patterns (AMQP topic syntax) it hangs on; it owns ``<name>.dead`` as well.

    Attributes:
        ordered: the events of one call (``ce-subject``) are delivered one at a time, and each for the first time only
            after every earlier one of its call, in the order in which they came to the bus, is acknowledged or a dead
            letter; over any number of consumers, whoever of them comes, goes or is killed. Other calls do not wait. A
            repetition may come after later ones: of what was settled just before a consumer was killed, and of a dead
            letter that was put back. It is a queue's nature: one that exists does not change it.
    """

    name: str
    bindings: tuple[str, ...]
    ordered: bool = False


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
    """

    ready: int
    in_flight: int
    dead: int


class Subscription(Protocol):
    """A consumer of one queue."""

    @property
    def registered(self) -> bool:
        """True only while deliveries can really arrive: the broker knows this consumer."""
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

    async def send(self, queue: str, messages: Sequence[Message]) -> None:
        """Returns when every message is durable in that one queue, in their order, whatever it is bound to.

        For what one consumer is to have again; the queue may be anybody's.

        Raises:
            NotDurable: there is no such queue, or at least one is not known to be durable; it may still arrive.
        """
        ...

    def subscribe(self, queue: str, prefetch: int) -> Subscription:
        """A consumer of ``queue`` with at most ``prefetch`` deliveries in hand."""
        ...

    async def depth(self, queue: str) -> Depth:
        """Counts of the queue now. Raises NotDurable where the broker cannot be asked."""
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

    def state(self) -> tuple[bool, str]:
        """Whether the bus takes messages now, and one line that says why not."""
        ...

    async def close(self) -> None:
        """Closes; nothing that was confirmed is lost."""
        ...


# --- Store -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallFilter:
    """What ``GET /v1/calls`` can be narrowed by; None narrows nothing.

    Attributes:
        number: digits or E.164 of the caller, the line, the callee or a leg.
        since: inclusive, on the call's start (else its first receipt).
        until: exclusive, likewise.
    """

    number: str | None = None
    vendor: str | None = None
    source: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of JSON texts, newest first for calls and oldest first for events; ``next`` is None at the end."""

    items: list[bytes]
    next: str | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch came to.

    Attributes:
        new: events kept.
        repeated: events that were kept before.
        refused: by event id, why it will never be kept.
        conflicts: fields on which a new event said otherwise than one received before it.
        derived: events that the transaction put into the store's outbox table.
    """

    new: int
    repeated: int
    refused: Mapping[str, str]
    conflicts: int = 0
    derived: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A derived event that waits in the store's outbox table to be published."""

    seq: int
    message: Message


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which of the kept events; None narrows nothing.

    Attributes:
        ids: of events.
        call_id: the call they are filed under.
        source: as configured.
        routing_keys: whole ones.
        since: inclusive, on when the store kept them: our clock, not the vendor's.
        until: exclusive, likewise.
    """

    ids: Collection[str] | None = None
    call_id: str | None = None
    source: str | None = None
    routing_keys: Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a filter finds, by routing key, and the place of the newest event that was looked at."""

    counts: Mapping[str, int]
    upto: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A kept event as it was published.

    Attributes:
        seq: its place in the order of keeping.
        call_id: the call it is filed under.
        kept_at: when the store kept it.
    """

    seq: int
    message: Message
    call_id: str | None
    kept_at: datetime


class Inbox(Protocol):
    """Which events a worker has had its effect for, where that effect must not be repeated."""

    async def done(self, worker: str, ids: Collection[str]) -> frozenset[str]:
        """Those of the events that the worker has noted. Raises StoreUnavailable."""
        ...

    async def note(self, worker: str, ids: Collection[str], now: datetime) -> None:
        """Notes that the worker has had its effect for these events; safe to repeat. Raises StoreUnavailable."""
        ...


class Store(Inbox, Protocol):
    """Verbs, not tables; each is one transaction, but for those that read more than one statement should."""

    async def start(self) -> None:
        """Opens the engine; does not fail because the database is down."""
        ...

    async def apply(self, events: Sequence[Event], now: datetime) -> Applied:
        """Keeps each new event once, folds the calls they touch, plans their sealing, derives ``resealed``.

        Safe to repeat and to run in many processes at once.

        Raises:
            StoreUnavailable: nothing was kept, or it is not known whether it was: repeat.
        """
        ...

    async def seal(self, now: datetime, limit: int = 100) -> int:
        """Seals the calls whose time has come, each exactly once over all processes; returns how many."""
        ...

    async def next_seal(self) -> datetime | None:
        """When the next call is due; None where none waits."""
        ...

    async def claim(self, now: datetime, limit: int, lease: float) -> list[Claimed]:
        """Takes derived events to publish, oldest first, for ``lease`` seconds."""
        ...

    async def published(self, seqs: Sequence[int]) -> None:
        """Removes derived events that are durable on the bus."""
        ...

    async def call(self, call_id: str) -> bytes | None:
        """The record as JSON; None where there is no such call."""
        ...

    async def calls(self, narrow: CallFilter, limit: int, after: str | None) -> Page:
        """Records, newest first. Raises ValueError where ``after`` is not a cursor of ours."""
        ...

    async def events(self, limit: int, after: str | None, call_id: str | None = None) -> Page:
        """Events in the order of their keeping: ``{"id","type","source","time","subject","data"}``."""
        ...

    async def survey(self, narrow: EventFilter, after: int = 0) -> Survey:
        """How many events there are of each kind behind the place ``after``, without those that are kept meanwhile."""
        ...

    async def stored(self, narrow: EventFilter, limit: int, after: int, upto: int) -> list[Stored]:
        """Events behind one place and up to another, in the order of their keeping; fewer than ``limit`` is the end."""
        ...

    async def counts(self) -> dict[str, int]:
        """Totals.

        ``events`` kept, of which ``derived`` are seals that came back over the bus; ``calls``, of which ``sealed``;
        ``outbox``: derived and not yet published; ``callbacks``: events of calls that vendors told; ``repeats``:
        callbacks that a vendor sent again.
        """
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable with one line that says what is wrong."""
        ...

    async def close(self) -> None:
        """Closes the engine."""
        ...
