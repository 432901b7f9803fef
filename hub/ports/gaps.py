"""The seams of finding what nobody reported: vendors whose records tell of legs, and what the store has heard."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hub.events import Event
from hub.ports.polls import PollStore


@dataclass(frozen=True, slots=True)
class Told:
    """What a vendor's own record says of one leg.

    Attributes:
        call_id: the call that it is of, as callbacks have it; another where callbacks knew better.
        names: the leg's ids, one of which its callbacks carry.
        at: when it was over, else when it began.
        promised: the verbs of the callbacks that its life made the vendor send.
        stand_in: the event that such a callback would have been, by verb and call id.
    """

    call_id: str
    names: frozenset[str]
    at: datetime
    promised: tuple[str, ...]
    stand_in: Callable[[str, str], Event]


class LegSource(Protocol):
    """A vendor's own records of legs, by the time at which each began."""

    @property
    def name(self) -> str:
        """The configured source."""
        ...

    async def told(self, since: datetime, until: datetime) -> tuple[list[Told], list[str]]:
        """The legs of a time, and why what was there is none.

        Raises:
            TrunklineError: named by what happens next (``hub.errors``); asking again does no harm.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cycle:
    """What the sealed calls of a time say of their own callbacks.

    Attributes:
        callbacks: that were received.
        missing: that a call's life implies and that did not come; a call of which nothing came is not among them.
        calls: sealed.
        gaps: of them, those with the verdict ``gap``.
    """

    callbacks: int
    missing: int
    calls: int
    gaps: int


class Gaps(Protocol):
    """What the store has heard of a source's calls."""

    async def heard(self, source: str, since: datetime, until: datetime) -> dict[str, list[Event]]:
        """The events that make up the calls that began in a time, by call id."""
        ...

    async def heard_of(self, call_ids: Collection[str]) -> dict[str, list[Event]]:
        """Likewise, of certain calls; one that there is not is left out."""
        ...

    async def begun(self, source: str, spans: Sequence[tuple[datetime, datetime]]) -> list[int]:
        """How many calls that callbacks told of began in each time, its end left out."""
        ...

    async def extent(self, source: str) -> tuple[datetime, datetime] | None:
        """When the oldest and the youngest call began that callbacks told of; None where there is none."""
        ...

    async def cycle(self, source: str, since: datetime, until: datetime) -> Cycle:
        """Of the sealed calls that began in a time."""
        ...


class GapStore(PollStore, Protocol):
    """A store that knows what it has heard."""

    @property
    def gaps(self) -> Gaps:
        """Its verbs."""
        ...
