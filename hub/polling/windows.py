"""Which times are asked for. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

SHORTEST: Final = timedelta(seconds=1)
"""No vendor tells times apart that are closer."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is asked for again and again.

    Attributes:
        name: in the store, ``poll/focu5``.
        interval: seconds between two times.
        overlap: seconds before the watermark from which it is asked anew: records that came late, or have changed.
    """

    name: str
    interval: float
    overlap: float

    def begins(self, watermark: datetime | None, now: datetime) -> datetime:
        """From when it is asked; a stream that never was begins one overlap ago."""
        return min(watermark or now, now) - timedelta(seconds=self.overlap)

    def due_in(self, watermark: datetime | None, now: datetime) -> float:
        """Seconds until it is asked again; not positive where it is due."""
        return 0.0 if watermark is None else self.interval - (now - watermark).total_seconds()


def windows(since: datetime, until: datetime, longest: float) -> Iterator[tuple[datetime, datetime]]:
    """A time in pieces of at most ``longest`` seconds, in their order; nothing where it is empty."""
    step = max(timedelta(seconds=longest), SHORTEST)
    while since < until:
        end = min(since + step, until)
        yield since, end
        since = end


def halves(since: datetime, until: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """A time in two, cut at a whole second; nothing where it cannot be cut any more."""
    middle = (since + (until - since) / 2).replace(microsecond=0)
    if not since < middle < until or until - since <= 2 * SHORTEST:
        return ()
    return (since, middle), (middle, until)
