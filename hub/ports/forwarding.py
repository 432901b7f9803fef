"""The seam between forwarding and the store: what each destination is still owed, and what is known of it there.

**Work** is a row for each destination and each thing that it keeps: a call at a CRM, an event at a webhook. **Wants**
are the events that make it due: five of one call are one piece of work. A process *claims* work for a time, and says
within it what came of it; a claim that is over may be somebody else's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from hub.events import Message
from hub.ports import Failure, Store

WORKER: Final = "crm"
"""The worker's name, in the inbox and in the ledger."""

BY_OPERATOR: Final = "by an operator"
"""Why a destination is disabled that stays so until an operator enables it."""


@dataclass(frozen=True, slots=True)
class Going:
    """Where an event goes.

    Attributes:
        destination: its configured name.
        key: what it keeps there: the call's id, or the event's.
    """

    destination: str
    key: str


@dataclass(frozen=True, slots=True)
class Given:
    """An event of the queue, and everywhere it goes; nowhere is settled at once.

    Attributes:
        again: an operator wants its effects once more.
    """

    message: Message
    goings: tuple[Going, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event that makes a piece of work due."""

    message: Message
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work in a process's hands.

    Attributes:
        claim: the process's own mark on it.
        wanted: up to which want it is done, once it is.
        attempt: the one that begins now, from 1.
        history: what failed before, oldest first.
        intent_at: when somebody was about to make the record there, and nobody knows what came of it; None otherwise.
        remote_id: the record's id there, once known.
        digest: of what was last written there.
        wants: the events, oldest first.
    """

    destination: str
    key: str
    call_id: str | None
    claim: str
    wanted: int
    attempt: int
    history: tuple[Failure, ...]
    intent_at: datetime | None
    remote_id: str | None
    digest: str | None
    wants: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """One request to a destination, kept for people.

    Attributes:
        step: what it was for: ``find_call``, ``create_call``, ``post``…
        request: method, address, headers and body without secrets.
        status: of the answer; None where there was none.
        answer: the beginning of it.
        outcome: ``done``, or the class of what went wrong, in lower case.
    """

    destination: str
    key: str
    call_id: str | None
    attempt: int
    at: datetime
    seconds: float
    step: str
    request: dict[str, Any]
    status: int | None
    answer: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """It is as wanted there."""

    work: Work
    remote_id: str | None = None
    digest: str | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """Not yet.

    Attributes:
        at: when to try again.
        counted: whether an attempt was used up.
        nothing: certainly no record was made there: the intent is forgotten.
        remote_id: what is known by now.
    """

    work: Work
    at: datetime
    reason: str
    counted: bool = True
    nothing: bool = False
    remote_id: str | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Never; its wants are to become dead letters."""

    work: Work
    reason: str
    nothing: bool = False


Outcome = Done | Again | GivenUp


@dataclass(frozen=True, slots=True)
class Dying:
    """A want of work that was given up, to be put among the dead letters."""

    destination: str
    message: Message
    reason: str
    attempt: int
    history: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Reserved:
    """Whoever makes a contact for a number, alone.

    Attributes:
        mine: whether it is we who may.
        remote_id: the contact's id, where it was made before.
        intent_at: when somebody was about to make it, and nobody knows what came of it.
    """

    mine: bool
    remote_id: str | None
    intent_at: datetime | None


Breaker = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A destination, for operators.

    Attributes:
        fingerprint: of the configuration that it was last met with.
        disabled: why nothing is sent there any more; None where it is.
        disabled_at: since when.
        breaker: as the last worker told it.
        waiting: pieces of work that are due or wait for their retry.
        done: pieces of work that came to their end, each time.
        dead: pieces of work that were given up.
        oldest: since when the oldest waits.
        error: the last failure, and
        error_at: when that was.
    """

    destination: str
    fingerprint: str = ""
    disabled: str | None = None
    disabled_at: datetime | None = None
    breaker: Breaker = "closed"
    breaker_at: datetime | None = None
    breaker_until: datetime | None = None
    breaker_reason: str | None = None
    waiting: int = 0
    done: int = 0
    dead: int = 0
    oldest: datetime | None = None
    error: str | None = None
    error_at: datetime | None = None


class Forwarding(Protocol):
    """Verbs, each one transaction. All raise StoreUnavailable: nothing was written, or it is not known; repeat."""

    async def take(self, given: Sequence[Given], now: datetime) -> int:
        """Writes down what events make due; returns how many of them are new.

        Safe to repeat. What is done stays done unless it is wanted ``again``; what was given up starts anew.
        """
        ...

    async def claim_work(self, destination: str, claim: str, now: datetime, limit: int, lease: float) -> list[Work]:
        """Takes work that is due for ``lease`` seconds, the longest due first; nothing of a disabled destination."""
        ...

    async def next_work(self, destination: str) -> datetime | None:
        """When something is due there that nobody has in hand; None where nothing is, or it is disabled."""
        ...

    async def extend(self, works: Sequence[Work], now: datetime, lease: float, *, intent: bool) -> list[bool]:
        """Whether each is still ours; then it is for ``lease`` more seconds.

        Args:
            works: claimed ones.
            now: aware.
            lease: seconds.
            intent: notes that the record is about to be made there.
        """
        ...

    async def conclude(self, outcomes: Sequence[Outcome], tried: Sequence[Tried], now: datetime) -> None:
        """Writes down what came of claimed work, and how.

        Of work that is no longer ours only what nobody else knows is kept: the id of a record that was made there.
        """
        ...

    async def dying(self, limit: int) -> list[Dying]:
        """What was given up and is not known to be among the dead letters."""
        ...

    async def buried(self, dead: Sequence[Dying]) -> None:
        """They are dead letters now, and no longer ours."""
        ...

    async def reserve_contact(
        self, destination: str, number: str, claim: str, now: datetime, lease: float, *, intent: bool
    ) -> Reserved:
        """Takes the making of a contact for a number; with ``intent`` it is noted as about to be made."""
        ...

    async def contact_made(self, destination: str, number: str, claim: str, remote_id: str | None) -> None:
        """Gives it back: made, with its id, or certainly not made."""
        ...

    async def meet(self, destination: str, kind: str, fingerprint: str, now: datetime) -> None:
        """A worker begins with this configuration; another one than before enables what was not ``BY_OPERATOR``."""
        ...

    async def tell_breaker(  # noqa: PLR0917  the fields of one row
        self, destination: str, kind: str, breaker: Breaker, reason: str, until: datetime | None, now: datetime
    ) -> bool:
        """Keeps how a breaker is; returns whether that is a change.

        A change derives ``destination.<kind>.opened`` or ``closed``.
        """
        ...

    async def disable(self, destination: str, kind: str, reason: str | None, now: datetime) -> bool:
        """Disables, or with None enables; a change derives ``destination.<kind>.disabled`` or ``enabled``."""
        ...

    async def standings(self) -> list[Standing]:
        """Every destination that a worker met."""
        ...

    async def tries(self, *, call_id: str | None = None, key: str | None = None, limit: int = 200) -> list[Tried]:
        """The latest requests for a call, or for a key, oldest first."""
        ...

    async def forget(self, destination: str, before: datetime, limit: int = 10_000) -> int:
        """Removes requests of before then; returns how many."""
        ...


class ForwardingStore(Store, Protocol):
    """A store that keeps this too."""

    @property
    def forwarding(self) -> Forwarding:
        """The verbs above."""
        ...
