"""The seams of respooling: between the worker and the store, and between the worker and whoever dials.

The store is the arbiter. An attempt is a row, one for each (contact, campaign, cause, attempt), whoever would make it
and however often. A process *claims* rows that are due; the last look at what is known of the contact, and the note
that the dialer is about to be asked, are one transaction under the contact's lock. What was asked and not answered is
``unknown``: it is never asked again by itself.
"""

from __future__ import annotations  # what is named below brings the library of numbers along

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from hub.events import Message
from hub.ports import Store
from hub.respooling.words import How

if TYPE_CHECKING:
    from hub.respooling.planning import Facts, Judge, Planned, Respool, State, Verdict

WORKER: Final = "respool"
"""The worker's name, in the inbox, in the ledger and in metrics."""


# --- the store -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """A sealed call of the queue.

    Attributes:
        message: the event as it came.
        call_id: of the call.
        number: whom we called, E.164, or the other party where nobody said who called whom; None where we did not call,
            or it is not known.
        source: that reported it.
        campaign: of the call.
        outcome: its disposition.
        started_at: when it began, as well as it is known.
        ended_at: when it ended, likewise.
        planned: the first attempt of a chain that it would be the cause of.
        again: an operator wants its effect once more.
        outbound: whether it is known that we called. Else it is the report of an attempt where the dialer itself tells
            of it, in the attempt's campaign.
    """

    message: Message
    call_id: str
    number: str | None
    source: str
    campaign: str | None
    outcome: str
    started_at: datetime
    ended_at: datetime
    planned: Planned | None = None
    again: bool = False
    outbound: bool = True


@dataclass(frozen=True, slots=True)
class Took:
    """What taking came to.

    Attributes:
        events: that were not taken before.
        planned: attempts that wait now and did not before, refused ones not counted.
        reported: attempts whose call these events told of.
    """

    events: int
    planned: int
    reported: int


Follow: TypeAlias = "Callable[[Respool, Taken], Planned | None]"
"""The attempt after one whose call was reported; None where the chain ends. Pure."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The dialer took it.

    Attributes:
        following: the next attempt, where it does not wait for a report.
    """

    remote_id: str | None
    following: Planned | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """Certainly nothing was done there.

    Attributes:
        counted: whether a try was used up.
    """

    until: datetime
    reason: str
    counted: bool = True


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The dialer never will: refused, and a dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Asked, and nobody knows what came of it."""

    reason: str


Outcome = Accepted | Postponed | GivenUp | Unknown


@dataclass(frozen=True, slots=True)
class Dying:
    """An attempt that is to become a dead letter, with the events it came from."""

    respool: Respool
    reason: str
    messages: tuple[Message, ...]


class Respools(Protocol):
    """Verbs, each one transaction; all raise StoreUnavailable: nothing was written, or it is not known; repeat."""

    async def take(self, taken: Sequence[Taken], follow: Follow, now: datetime) -> Took:
        """Writes down what sealed calls come to.

        A call that a respool brought about is its report, and no cause of its own: it settles an ``unknown`` one as
        accepted, and the attempt that follows is planned. Another call of the same attempt (the dialer tried again, or
        an alternative) is neither. Any other is the cause of what it is planned for, unless an attempt for one of its
        numbers and the same campaign waits, or is in hand, already: then it is refused.

        Safe to repeat, also after the rules were changed: one call begins one chain. What the dialer refused and lies
        among the dead letters begins anew, unless another attempt stands in its way by now; what is ``unknown`` there
        only where an operator wants it ``again``.
        """
        ...

    async def claim(self, dialer: str, claim: str, now: datetime, limit: int, lease: float) -> list[Respool]:
        """Takes attempts of a dialer that are due, the longest due first, for ``lease`` seconds."""
        ...

    async def decide(
        self, respool: Respool, judge: Judge, day: datetime, now: datetime, lease: float
    ) -> Verdict | None:
        """Judges a claimed attempt by what is known of its contact now, and writes the verdict down.

        ``Send`` notes the intent and keeps the claim for ``lease`` seconds, ``Wait`` gives it back until then,
        ``Refuse`` settles it and tells. Nobody decides on the same contact meanwhile.

        Args:
            respool: a claimed one.
            judge: pure.
            day: since when dials are those of its day.
            now: aware.
            lease: seconds.

        Returns:
            The verdict; None where the claim was not ours any more.
        """
        ...

    async def conclude(self, respool: Respool, outcome: Outcome, now: datetime) -> bool:
        """Writes down what came of an attempt that was sent, with its event; whether it was still ours to say.

        An attempt that was found doubtful meanwhile is still ours: nobody else can know.
        """
        ...

    async def abandoned(self, now: datetime, limit: int) -> list[Respool]:
        """Those whose process never said what came of its intent: they are ``unknown`` from now on."""
        ...

    async def disowned(
        self, dialers: Collection[str], due_before: datetime, now: datetime, limit: int
    ) -> list[Respool]:
        """Refuses what was due before then and waits for another dialer than these: no rule dials by it any more."""
        ...

    async def next_due(self, dialer: str) -> datetime | None:
        """When the next one of a dialer can be claimed; None where none waits."""
        ...

    async def dying(self, doubtful_before: datetime, limit: int) -> list[Dying]:
        """What was given up, or found doubtful before then and not settled since, and is no dead letter yet."""
        ...

    async def buried(self, dying: Dying) -> None:
        """It is a dead letter now."""
        ...

    async def facts(self, planned: Planned, day: datetime) -> Facts:
        """What is known of a contact now; changes nothing."""
        ...

    async def of_call(self, call_id: str) -> list[Respool]:
        """Attempts that a call caused, or is the report of, in their order."""
        ...

    async def open_for(self, planned: Planned) -> Respool | None:
        """The attempt that stands in the way of another for the same contact and campaign; changes nothing."""
        ...

    async def chained(self, number: str, since: datetime) -> Respool | None:
        """The attempt that brought a call to a number at that time about; changes nothing.

        One that is not reported yet comes first: then the call is its report.
        """
        ...

    async def waiting(self, limit: int) -> list[Respool]:
        """Those that are not settled, the next one first."""
        ...

    async def standings(self) -> Mapping[tuple[str, State], int]:
        """How many there are that are not settled, by dialer and state."""
        ...


class RespoolStore(Store, Protocol):
    """A store that arbitrates respools."""

    @property
    def respools(self) -> Respools:
        """The verbs above."""
        ...


# --- whoever dials ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """What a dialer is asked for.

    Attributes:
        respool_id: ours, a UUID, unique for each attempt.
        campaign: the dialer's own name of it.
        number: to dial, written as the dialer wants it.
        alternatives: likewise, in the order in which they may be tried.
        at: when to dial; None: at once.
        how: by which of its ways.
        priority: its own; None: its default.
        agent: extension of a certain agent.
        list: where it goes, of a dialer that has lists.
        data: variables for its flows and forms.
        details: of the cause: what the dialer itself said of the contact, never altered.
    """

    respool_id: str
    campaign: str
    number: str
    alternatives: tuple[str, ...]
    at: datetime | None
    how: How
    priority: int | None
    agent: str | None
    list: str | None
    data: Mapping[str, str]
    details: Mapping[str, Any]


class Dialer(Protocol):
    """A vendor's dialer."""

    @property
    def longest(self) -> float:
        """Seconds that ``respool`` takes at the very most."""
        ...

    async def respool(self, order: Order, before: float | None = None) -> str | None:
        """Puts a contact into its work; returns its own id for that, where it gives one.

        Args:
            order: what is asked for.
            before: of the monotonic clock: it is not asked after that (``NotSent``).

        Raises:
            NotSent, RateLimited, Expired: certainly nothing was done.
            Doubtful: it may have been done: it is never repeated by itself.
            Permanent: it said no.
        """
        ...
