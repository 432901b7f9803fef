"""The seams, on one page: Vendor, Bus with its Subscription, Store. Everything else stands behind one of them.

An implementation is chosen by ``hub.parts``, or by ``hub.clients``, and by nobody else. Conformance suites under
``tests/contract`` hold every bus and every store to the words written here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, Protocol

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


SUSPECTS: Final = 10_000
"""That a ledger has open, and lost, at most. With more, as in a long backlog, ids wait where they were noted."""

SuspectState = Literal["open", "lost", "dead", "discarded"]


@dataclass(frozen=True, slots=True)
class Suspect:
    """An event that was accepted and that the store did not have when somebody looked.

    Attributes:
        since: when it was seen to be neither in the store nor in an outbox.
        state: ``open``: in the queue, in somebody's hand, waiting for a retry, or lost; ``lost``: proven to be nowhere;
            ``dead``: among the dead letters; ``discarded``: forgotten by an operator, and never suspected again.
    """

    event_id: str
    since: datetime
    state: SuspectState


@dataclass(frozen=True, slots=True)
class Presence:
    """A process that consumes, as it says itself every second.

    Attributes:
        process: its name, never given twice.
        beat: how often it has said so; each is worked out after the one before it was kept.
        registered: whether deliveries can arrive there.
        watermark: up to when it has handled everything that reached it; None where it does not know.
        held: what it has in hand.
        seen_at: by its own clock.
    """

    process: str
    worker: str
    beat: int
    registered: bool
    watermark: datetime | None
    held: Held
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery that did not succeed.

    Attributes:
        call_id: the event's subject.
        outcome: ``retry``, ``snooze`` or ``deadletter``.
        until: when it comes back; None of a dead letter.
    """

    worker: str
    event_id: str
    call_id: str | None
    attempt: int
    outcome: str
    reason: str
    at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What the ledger adds up, without reading it all.

    Attributes:
        events: kept.
        callbacks: of which events of calls that vendors told.
        repeats: callbacks that a vendor sent again.
        outbox: derived and not yet published.
    """

    events: int
    callbacks: int
    repeats: int
    outbox: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What a worker that keeps its work in the store has taken: distinct events that are not among its dead letters.

    Attributes:
        settled: had their effect everywhere.
        waiting: did not yet.
    """

    settled: int
    waiting: int


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

    async def published(self, seqs: Sequence[int], now: datetime) -> None:
        """Removes derived events that are durable on the bus, and notes their ids for ``recheck``."""
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

        ``events`` kept, of which ``derived`` came back over the bus, the first ``seals`` of calls among them;
        ``calls``, of which ``sealed``; ``outbox``: derived and not yet published; ``callbacks``: events of calls that
        vendors told; ``repeats``: callbacks that a vendor sent again.
        """
        ...

    # --- the ledger ---

    async def totals(self) -> Totals:
        """Totals of one moment, at the cost of what was kept since the last ``checkpoint``."""
        ...

    async def checkpoint(self, limit: int = 1_000_000) -> int:
        """Counts events, at most so many, that were kept since the last one, once and for all; returns how many."""
        ...

    async def lacks(self, ids: Collection[str]) -> set[str]:
        """Those that are of no event kept."""
        ...

    async def suspect(self, worker: str, ids: Collection[str], now: datetime) -> int:
        """Notes accepted events that the store may lack; returns how many it does and did not know of.

        An event that the store has, or that was suspected before, is left as it is.
        """
        ...

    async def suspects(self, worker: str, limit: int) -> list[Suspect]:
        """Those that are not discarded: the lost ones, then the open ones, then the dead; the oldest first.

        The store may have one of them by now.
        """
        ...

    async def judge(self, worker: str, verdicts: Mapping[str, SuspectState], now: datetime) -> int:
        """Gives suspects another state; ``discarded`` also to ids that were none. Returns how many it changed."""
        ...

    async def reopen(self, worker: str) -> int:
        """Dead suspects are open again: somebody took letters out of the dead ones. Returns how many."""
        ...

    async def clear(self, worker: str, ids: Collection[str]) -> None:
        """Forgets suspects: they turned up."""
        ...

    async def recheck(self, worker: str, before: datetime, now: datetime) -> int:
        """Looks for what was published before then, and suspects what did not come back; returns how many."""
        ...

    async def unreturned(self, limit: int) -> set[str]:
        """Of derived events that were published and not rechecked yet, about so many of the youngest: their ids."""
        ...

    async def present(self, mine: Presence) -> list[Presence]:
        """Keeps what this process says of itself; returns what the others said last, of all workers.

        Those that have said nothing for an hour are forgotten.
        """
        ...

    async def presences(self) -> list[Presence]:
        """What every process said last."""
        ...

    async def leave(self, process: str) -> None:
        """Forgets a process: it has given back what it had in hand."""
        ...

    async def attempted(self, attempts: Sequence[Attempt]) -> None:
        """Keeps failed attempts."""
        ...

    async def attempts(self, *, ids: Collection[str] = (), call_id: str | None = None) -> list[Attempt]:
        """The failed attempts of events, or of a call's, oldest first."""
        ...

    async def lead(self, name: str, holder: str, now: datetime, lease: float) -> bool:
        """Whether ``holder`` is the one who does what ``name`` stands for, for ``lease`` seconds from now."""
        ...

    async def workload(self, worker: str) -> Workload:
        """Of a worker that keeps its work here; zeros of any other."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable with one line that says what is wrong."""
        ...

    async def close(self) -> None:
        """Closes the engine."""
        ...
