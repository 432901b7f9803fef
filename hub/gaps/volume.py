"""Whether a source says far less than is usual at this hour. Pure.

What is usual is what the same hours of the weeks before brought, by the clock on the source's wall: people call by it,
also in the weeks after it was changed; how far below it is too far to be chance, the tail of
the Poisson distribution says. Real traffic varies more than that, so a source counts as silent only where it also says
less than a quarter of what is usual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

SPANS: Final = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4))
"""The times that are looked at, each up to now: a busy source is missed soon, a quiet one late."""

WEEK: Final = timedelta(days=7)
_FEW: Final = 0.25
_ENOUGH: Final = 0.5
_CHANCE: Final = 1e-6
_LEAST_WEEKS: Final = 2


@dataclass(frozen=True, slots=True)
class Volume:
    """A span that ends now.

    Attributes:
        span: how long it is.
        heard: calls that began in it.
        usual: the median of the weeks before; None where too few of them are known.
    """

    span: timedelta
    heard: int
    usual: float | None

    @property
    def ratio(self) -> float | None:
        """Of what is usual; None where that is nothing, or not known."""
        return None if not self.usual else self.heard / self.usual

    @property
    def silent(self) -> bool:
        """Whether this is too little to be chance."""
        if not self.usual:
            return False
        return self.heard < _FEW * self.usual and at_most(self.heard, self.usual) < _CHANCE

    @property
    def lively(self) -> bool:
        """Whether this is what one may expect."""
        return bool(self.usual) and self.heard >= _ENOUGH * (self.usual or 0)


def spans(now: datetime, weeks: int, zone: ZoneInfo) -> list[tuple[timedelta, list[tuple[datetime, datetime]]]]:
    """Each span with its time now, and in each of the weeks before, the nearest first.

    Args:
        now: aware; the end of the span.
        weeks: before.
        zone: whose clock shows the same hour.
    """
    wall = now.astimezone(zone)
    ends = [now, *((wall - week * WEEK).astimezone(UTC) for week in range(1, weeks + 1))]
    return [(span, [(end - span, end) for end in ends]) for span in SPANS]


def volume(span: timedelta, counts: Sequence[int], known_since: datetime | None, now: datetime) -> Volume:
    """What the counts of a span's times come to.

    Args:
        span: how long.
        counts: now, then each week before.
        known_since: when the source's first call began: before it there is nothing to compare with.
        now: the end of the span.
    """
    known = (
        []
        if known_since is None
        else [count for week, count in enumerate(counts[1:], 1) if now - span - week * WEEK >= known_since]
    )
    return Volume(span, counts[0], median(known) if len(known) >= _LEAST_WEEKS else None)


def at_most(heard: int, usual: float) -> float:
    """The chance of so few, or fewer, where ``usual`` is the mean."""
    term = exp(-usual)
    total = term
    for n in range(1, heard + 1):
        term *= usual / n
        total += term
    return min(1.0, total)
