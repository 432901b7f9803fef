"""Calling windows: at which instants a telephone may ring, by the clock on the wall of everybody who may own it. Pure.

A window is what the wall clock says, so an hour that a clock passes twice is open twice, and one that it leaves out is
never open. A week is worked out day by day as stretches of UTC: a day has 23 to 25 hours, and its stretches are cut
where the zone's offset changes.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RANGE: Final = re.compile(r"(\d{2}):(\d{2})\s*-\s*(\d{2}):(\d{2})")
_DAY: Final = 24 * 60  # minutes
_ANY_OFFSET: Final = timedelta(hours=16)  # further from UTC than any clock ever was
_STEP: Final = timedelta(hours=1)  # two changes of one zone are further apart
_SECOND: Final = timedelta(seconds=1)
_EXPECTED_DAY: Final = "expected mon to sun, or a range of them like mon-fri"
_EXPECTED_RANGE: Final = "expected HH:MM-HH:MM, the end after the start, 24:00 the latest, several with commas"

Stretch = tuple[datetime, datetime]
"""From the first instant to the one after the last; aware, UTC."""


@dataclass(frozen=True, slots=True)
class Week:
    """Open minutes of each day of the week, Monday first: from, to, the latter not included."""

    days: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, table: Mapping[str, str]) -> "Week":
        """As configured: ``{"mon-fri": "09:00-20:00", "sat": "10:00-14:00"}``; an empty table is always open.

        Raises:
            ValueError: what was found, what is expected.
        """
        if not table:
            return cls((((0, _DAY),),) * len(DAYS))
        days: dict[int, tuple[tuple[int, int], ...]] = {}
        for name, text in table.items():
            for day in _days(name):
                if day in days:
                    raise ValueError(f"has {DAYS[day]} twice; expected each day once")
                days[day] = _ranges(name, text)
        return cls(tuple(days.get(day, ()) for day in range(len(DAYS))))


@dataclass(frozen=True)
class Window:
    """When one may call.

    Attributes:
        week: by the clock of the called.
        holidays: dates there on which nobody is called.
    """

    week: Week
    holidays: frozenset[date] = frozenset()

    @property
    def limited(self) -> bool:
        """Whether there is a time at which nobody is called."""
        return bool(self.holidays) or any(day != ((0, _DAY),) for day in self.week.days)

    def is_open(self, at: datetime, zones: Collection[str]) -> bool:
        """Whether the window is open in every one of the zones."""
        return all(self._wall_is_open(at.astimezone(ZoneInfo(zone))) for zone in zones)

    def _wall_is_open(self, wall: datetime) -> bool:
        minute = wall.hour * 60 + wall.minute
        ranges = () if wall.date() in self.holidays else self.week.days[wall.weekday()]
        return any(start <= minute < end for start, end in ranges)

    def next_open(self, since: datetime, zones: Sequence[str], until: datetime) -> datetime | None:
        """The first instant from ``since`` to ``until`` at which it is open in every zone; None where there is none.

        Args:
            since: aware.
            zones: at least one.
            until: aware.
        """
        at = since.astimezone(UTC)
        while at <= until:
            latest = at
            for zone in zones:
                first = self._first(at, zone, until)
                if first is None:
                    return None
                latest = max(latest, first)
            if latest == at:
                return at
            at = latest
        return None

    def open_until(self, at: datetime, zones: Collection[str], most: timedelta) -> datetime:
        """Until when it stays open in every zone, from an instant at which it is; at most so much later."""
        last = at + most
        for zone in zones:
            end = at
            while end < last and (closes := self._closes(end, zone)) is not None:
                end = closes
            last = min(last, end)
        return last

    def _closes(self, at: datetime, zone: str) -> datetime | None:
        """The end of the stretch that an instant is in; None where it is in none."""
        days = (at.astimezone(UTC).date() + timedelta(days=step) for step in (-1, 0, 1))
        return next((end for day in days for start, end in self._open(zone, day) if start <= at < end), None)

    def _first(self, since: datetime, zone: str, until: datetime) -> datetime | None:
        """The first instant from ``since`` on at which it is open in one zone."""
        day, last = since.date() - timedelta(days=1), until.date() + timedelta(days=1)
        while day <= last:
            # A clock that is set back over midnight has a stretch of the day before behind one of the day after.
            both = (*self._open(zone, day), *self._open(zone, day + timedelta(days=1)))
            later = [max(start, since) for start, end in both if end > since]
            if later:
                return min(later)
            day += timedelta(days=1)
        return None

    def _open(self, zone: str, day: date) -> tuple[Stretch, ...]:
        return () if day in self.holidays else _stretches(zone, day, self.week.days[day.weekday()])


def day_began(at: datetime, zones: Collection[str]) -> datetime:
    """When the day of ``at`` began, in the zone where it began first."""
    return min(_first_of(zone, at.astimezone(ZoneInfo(zone)).date()) for zone in zones)


def day_ends(at: datetime, zones: Collection[str]) -> datetime:
    """When the day of ``at`` is over in every zone."""
    return max(_first_of(zone, at.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)) for zone in zones)


def _first_of(zone: str, day: date) -> datetime:
    """The first instant that a zone's calendar calls this day, or a later one: a zone may leave a day out."""
    for _ in range(3):
        if stretches := _stretches(zone, day, ((0, _DAY),)):
            return min(start for start, _ in stretches)
        day += timedelta(days=1)
    raise AssertionError("no zone leaves out three days")


@lru_cache(maxsize=8192)
def _stretches(zone: str, day: date, ranges: tuple[tuple[int, int], ...]) -> tuple[Stretch, ...]:
    """The instants at which the wall clock is inside the ranges of a day, in their order."""
    midnight = datetime.combine(day, time(), UTC)
    found = []
    for begin, end, offset in _pieces(zone, midnight - _ANY_OFFSET, midnight + timedelta(days=1) + _ANY_OFFSET):
        for first, last in ranges:
            opens = max(begin, midnight + timedelta(minutes=first) - offset)
            closes = min(end, midnight + timedelta(minutes=last) - offset)
            if opens < closes:
                found.append((opens, closes))
    return tuple(sorted(found))


def _pieces(zone: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """A stretch of time, cut where the zone's offset from UTC changes."""
    clock = ZoneInfo(zone)
    begin, at, offset = since, since, _offset(clock, since)
    while at < until:
        following = min(at + _STEP, until)
        other = _offset(clock, following)
        if other != offset:
            change = _change(clock, at, following, offset)
            yield begin, change, offset
            begin, offset = change, other
        at = following
    yield begin, until, offset


def _change(clock: ZoneInfo, before: datetime, after: datetime, offset: timedelta) -> datetime:
    """The first whole second with another offset."""
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle <= before:
            break
        if _offset(clock, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(clock: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(clock).utcoffset() or timedelta()


def _days(name: str) -> tuple[int, ...]:
    first, dash, last = name.strip().lower().partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError(f"has {name[:40]!r}; {_EXPECTED_DAY}")
    begin = DAYS.index(first)
    length = (DAYS.index(last) - begin) % len(DAYS) if dash else 0
    return tuple((begin + step) % len(DAYS) for step in range(length + 1))


def _ranges(name: str, text: str) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        hours = [int(group) for group in match.groups()] if match else []
        if not hours or max(hours[1], hours[3]) > 59:  # noqa: PLR2004  minutes
            raise ValueError(f"has {text[:40]!r} for {name}; {_EXPECTED_RANGE}")
        start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if not start < end <= _DAY:
            raise ValueError(f"has {text[:40]!r} for {name}; {_EXPECTED_RANGE}")
        if found and start < found[-1][1]:
            raise ValueError(f"has {text[:40]!r} for {name}; expected ranges one after the other")
        found.append((start, end))
    return tuple(found)
