"""The seam to the database: calls, events, the ledger."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from hub.events import Event, Message
from hub.ports.bus import Held


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
