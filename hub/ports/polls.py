"""The seams of polling: vendors that have records instead of callbacks, and what the store remembers of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from hub.events import Event
from hub.ports import Store

Origin = Literal["poll", "backfill"]
"""Why a record was asked for: it stands in its event, and does not change the event's id."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What a vendor has of a time.

    Attributes:
        events: one for each record, their ids the same whenever, and by whomever, the same content is asked for.
        unreadable: of what was there and is no record: why.
    """

    events: tuple[Event, ...]
    unreadable: tuple[str, ...] = ()


class RecordSource(Protocol):
    """A vendor's own records of finished calls, by the time of the call."""

    @property
    def name(self) -> str:
        """The configured source."""
        ...

    async def between(self, since: datetime, until: datetime, origin: Origin) -> Polled:
        """The records of a time; a vendor may give some from outside of it, and they count too.

        Raises:
            TooMuch: more than one answer holds: ask for a shorter time.
            TrunklineError: named by what happens next (``hub.errors``); asking again does no harm.
        """
        ...


class Polls(Protocol):
    """How far each stream of records has come. A stream is what one thing asks for: ``poll/focu5``.

    ``silent/line-900`` is none, and is there while that source is silent: up to its last call (``workers.watch``).
    """

    async def watermark(self, stream: str) -> datetime | None:
        """Up to when everything that the stream asked for is durable on the bus; None where it never was."""
        ...

    async def advance(self, stream: str, upto: datetime, now: datetime) -> None:
        """Moves the watermark forward; never back, whoever says so and in whatever order."""
        ...

    async def forget(self, stream: str) -> None:
        """The stream begins anew the next time."""
        ...


class PollStore(Store, Protocol):
    """A store that knows polls too."""

    @property
    def polls(self) -> Polls:
        """Their verbs."""
        ...
