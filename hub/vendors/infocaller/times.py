"""Infocaller's times: local, without a zone, and so without a word on which of autumn's two hours is meant.

A *reading* of such a time is a moment in UTC that it may mean: mostly one, two in the hour that the clock repeats.
The functions here choose among readings, by what else is known of the call.
"""

import re
from collections.abc import Sequence
from datetime import MAXYEAR, UTC, datetime, timedelta
from functools import lru_cache
from itertools import product
from typing import Final
from zoneinfo import ZoneInfo

from hub.events import timestamp

Readings = tuple[datetime, ...]

_SHAPE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_LOOSE: Final = re.compile(r"\s*([:T-])\s*")  # the vendor's page prints "hh: mm: ss"
_LONGEST: Final = 48
_OLDEST: Final = 2000  # 0000-00-00, 0001-01-01, 1899-12-30, 1970-01-01: how databases say "no time"
_PROMPT: Final = timedelta(hours=2)  # a callback that comes within this of a time was sent at that time


@lru_cache(maxsize=4096)
def stamp(moment: datetime) -> str:
    """As :func:`hub.events.timestamp`; remembered, since the times of one call and of its neighbours repeat."""
    return timestamp(moment)


def readings(text: str, zone: ZoneInfo) -> Readings:
    """What a local time may mean: nothing, where it is none; one moment; in the repeated hour two, the earlier first.

    A time that spring's change leaves out is read with the offset before the change. One that states its own offset,
    which the vendor's pages do not show, is taken at its word.
    """
    return _readings(text, zone) if text and len(text) <= _LONGEST else ()


@lru_cache(maxsize=4096)
def _readings(text: str, zone: ZoneInfo) -> Readings:
    if not _SHAPE.fullmatch(text):
        text = _LOOSE.sub(r"\1", text)
        if not _SHAPE.fullmatch(text):
            return ()
    try:
        local = datetime.fromisoformat(text)
    except ValueError:  # the 30th of February
        return ()
    if not _OLDEST <= local.year < MAXYEAR:
        return ()
    if local.tzinfo is not None:
        return (local.astimezone(UTC),)
    first = local.replace(tzinfo=zone).astimezone(UTC)
    second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # Where the clock jumps ahead the two differ too, but the other way round.
    return (first, second) if first < second else (first,)


def nearest(moments: Readings, received_at: datetime) -> datetime | None:
    """The reading nearest to the receipt, where that is prompt; else the earlier one; None where there is none."""
    if len(moments) < 2:  # noqa: PLR2004  # one reading leaves no choice
        return moments[0] if moments else None
    near = min(moments, key=lambda moment: abs(moment - received_at))
    return near if abs(near - received_at) <= _PROMPT else moments[0]


def span(
    starts: Readings, ends: Readings, seconds: int | None, received_at: datetime
) -> tuple[datetime | None, datetime | None]:
    """Start and end of a call.

    Where one of them has two readings: the pair that lasts ``seconds``, if there is just one such pair; else, among
    the pairs that do (or, where none does, those that end after they start), the one that ended nearest to the
    receipt, if that is prompt; else the first one.
    """
    if not (starts and ends):
        return nearest(starts, received_at), nearest(ends, received_at)
    if len(starts) == len(ends) == 1:
        return starts[0], ends[0]
    pairs = list(product(starts, ends))
    exact = [pair for pair in pairs if seconds is not None and _lasts(pair, seconds)]
    candidates = exact or [pair for pair in pairs if pair[0] <= pair[1]] or pairs
    if len(exact) == 1:
        return exact[0]
    near = min(candidates, key=lambda pair: (abs(pair[1] - received_at), abs(pair[0] - received_at)))
    return near if abs(near[1] - received_at) <= _PROMPT else candidates[0]


def _lasts(pair: tuple[datetime, datetime], seconds: int) -> bool:
    return abs((pair[1] - pair[0]).total_seconds() - seconds) < 1


def during(moments: Readings, call: Sequence[datetime | None], received_at: datetime) -> datetime | None:
    """The time of an action: the one reading within the call's start and end, else the nearest to the receipt."""
    if len(moments) < 2:  # noqa: PLR2004
        return moments[0] if moments else None
    start, end = call
    inside = tuple(
        moment for moment in moments if (start is None or start <= moment) and (end is None or moment <= end)
    )
    return nearest(inside or moments, received_at)
