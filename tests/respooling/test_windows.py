"""Calling windows: by the wall clock of every zone, across changes of summer time, against a slow oracle."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings, strategies as st

from hub.respooling.windows import DAYS, Week, Window, day_began, day_ends

MADRID, CANARY, NEW_YORK = "Europe/Madrid", "Atlantic/Canary", "America/New_York"
ZONES: Final = (
    *(MADRID, CANARY, NEW_YORK, "America/Los_Angeles", "Asia/Kolkata", "Asia/Beirut", "Pacific/Apia"),
    *("Australia/Lord_Howe", "America/Asuncion", "Pacific/Honolulu", "UTC"),
)
WORKDAYS: Final = Window(Week.of({"mon-fri": "09:00-20:00", "sat": "10:00-14:00"}))
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
"""Nights on which Europe changes its clocks."""


def slowly(table: Mapping[str, str], holidays: frozenset[date], zone: str, at: datetime) -> bool:
    """Whether it is open: the words of the configuration, read over once more for each minute."""
    wall = at.astimezone(ZoneInfo(zone))
    if wall.date() in holidays:
        return False
    for days, hours in table.items():
        names = days.split("-")
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        inside = first <= wall.weekday() <= last if first <= last else not last < wall.weekday() < first
        for hour in hours.split(","):
            start, end = hour.strip().split("-")
            if inside and start <= f"{wall:%H:%M}" < end:
                return True
    return False


@st.composite
def tables(draw: st.DrawFn) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in draw(st.permutations(["mon-tue", "wed", "thu-fri", "sat", "sun"])):
        if draw(st.booleans()):
            marks = sorted(draw(st.sets(st.integers(0, 96), min_size=2, max_size=4)))
            pairs = zip(marks[::2], marks[1::2], strict=False)
            clock = [(f"{a // 4:02}:{a % 4 * 15:02}", f"{b // 4:02}:{b % 4 * 15:02}") for a, b in pairs]
            found[name] = ", ".join(f"{start}-{end}" for start, end in clock)
    return found or {"mon-sun": "01:30-03:30"}


moments = st.one_of(
    st.integers(0, 3 * 24 * 60).map(lambda n: datetime(2026, 3, 28, tzinfo=UTC) + timedelta(minutes=n)),
    st.integers(0, 3 * 24 * 60).map(lambda n: datetime(2026, 10, 24, tzinfo=UTC) + timedelta(minutes=n)),
    st.integers(0, 365 * 24 * 60).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n)),
)


@settings(max_examples=60, deadline=None)
@given(
    table=tables(),
    zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True),
    holidays=st.frozensets(st.sampled_from([SPRING, AUTUMN, date(2026, 3, 30), date(2026, 10, 24)])),
    since=moments,
)
@example({"mon-sun": "02:00-03:00"}, [MADRID], frozenset(), datetime(2026, 3, 29, 0, 30, tzinfo=UTC))
@example({"mon-sun": "02:30-02:45"}, [MADRID, CANARY], frozenset(), datetime(2026, 10, 25, 0, 31, tzinfo=UTC))
@example({"sat": "23:00-24:00"}, ["Asia/Beirut"], frozenset(), datetime(2026, 10, 24, 20, 30, tzinfo=UTC))
def test_the_first_open_instant_is_what_reading_every_minute_finds(
    table: dict[str, str], zones: list[str], holidays: frozenset[date], since: datetime
) -> None:
    window, until = Window(Week.of(table), holidays), since + timedelta(days=4)
    minutes = (since + timedelta(minutes=n) for n in range(4 * 24 * 60 + 1))
    expected = next((at for at in minutes if all(slowly(table, holidays, zone, at) for zone in zones)), None)
    assert window.next_open(since, zones, until) == expected
    assert window.is_open(since, zones) == (expected == since)


@given(zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True), at=moments)
@settings(max_examples=60, deadline=None)
def test_a_day_begins_where_it_begins_first_and_ends_where_it_ends_last(zones: list[str], at: datetime) -> None:
    began, ends = day_began(at, zones), day_ends(at, zones)
    assert began <= at < ends
    for zone in zones:
        clock, here = ZoneInfo(zone), at.astimezone(ZoneInfo(zone)).date()
        minutes = [began + timedelta(minutes=n) for n in range(int((ends - began).total_seconds() // 60))]
        same = [one for one in minutes if one.astimezone(clock).date() == here]
        assert (began - timedelta(minutes=1)).astimezone(clock).date() < here
        assert ends.astimezone(clock).date() > here
        assert same


def test_an_hour_that_the_clock_leaves_out_is_never_open() -> None:
    window = Window(Week.of({"sun": "02:00-03:00"}))
    since = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert window.next_open(since, [MADRID], since + timedelta(days=10)) == datetime(2026, 4, 5, 0, tzinfo=UTC)


def test_an_hour_that_the_clock_passes_twice_is_open_twice() -> None:
    window = Window(Week.of({"sun": "02:00-03:00"}))
    hours = [datetime(2026, 10, 25, 0, tzinfo=UTC) + timedelta(minutes=n) for n in range(180)]
    assert [window.is_open(at, [MADRID]) for at in hours] == [True] * 120 + [False] * 60


@pytest.mark.parametrize(("day", "opens"), [(SPRING, 7), (AUTUMN, 8)])
def test_the_morning_after_a_change_opens_by_the_clock_on_the_wall(day: date, opens: int) -> None:
    window = Window(Week.of({"mon-sun": "09:00-20:00"}))
    since = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=3)
    found = window.next_open(since, [MADRID], since + timedelta(days=1))
    assert found == datetime(day.year, day.month, day.day, opens, tzinfo=UTC)


def test_it_is_open_only_where_it_is_open_everywhere() -> None:
    at = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)  # half past nine in Madrid, half past eight on the islands
    until = at + timedelta(days=1)
    assert WORKDAYS.is_open(at, [MADRID])
    assert not WORKDAYS.is_open(at, [MADRID, CANARY])
    assert WORKDAYS.next_open(at, [MADRID, CANARY], until) == datetime(2026, 11, 20, 9, tzinfo=UTC)


def test_zones_that_are_never_open_together_have_no_instant() -> None:
    short = Window(Week.of({"mon-sun": "12:00-13:00"}))
    at = datetime(2026, 11, 20, tzinfo=UTC)
    assert short.next_open(at, [MADRID, NEW_YORK], at + timedelta(days=30)) is None


def test_a_window_to_midnight_goes_on_behind_it() -> None:
    window = Window(Week.of({"mon-sun": "00:00-24:00"}))
    assert not window.limited
    assert all(
        window.is_open(datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=7 * n), [MADRID]) for n in range(400)
    )


@pytest.mark.parametrize(
    ("at", "zones", "expected"),
    [
        (datetime(2026, 11, 20, 18, 59, tzinfo=UTC), [MADRID], datetime(2026, 11, 20, 19, tzinfo=UTC)),
        (datetime(2026, 11, 20, 18, 59, tzinfo=UTC), [MADRID, NEW_YORK], datetime(2026, 11, 20, 19, tzinfo=UTC)),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), [MADRID], datetime(2026, 11, 20, 14, tzinfo=UTC)),  # and so long
        (datetime(2026, 11, 20, 21, tzinfo=UTC), [MADRID], datetime(2026, 11, 20, 21, tzinfo=UTC)),  # it is closed
    ],
)
def test_a_window_stays_open_until_the_first_zone_closes(at: datetime, zones: list[str], expected: datetime) -> None:
    assert WORKDAYS.open_until(at, zones, timedelta(hours=2)) == expected


def test_a_window_that_goes_on_behind_midnight_stays_open() -> None:
    window = Window(Week.of({}))
    at = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)  # half an hour before Madrid's midnight
    assert window.open_until(at, [MADRID], timedelta(hours=2)) == at + timedelta(hours=2)


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_a_window_that_is_open_over_a_change_of_time_closes_by_the_clock_on_the_wall(change: datetime) -> None:
    window = Window(Week.of({"mon-sun": "00:30-04:00"}))
    at = change + timedelta(minutes=30)
    closes = window.open_until(at, [MADRID], timedelta(hours=9))
    assert window.is_open(closes - timedelta(seconds=1), [MADRID])
    assert not window.is_open(closes, [MADRID])
    assert closes.astimezone(ZoneInfo(MADRID)).hour == 4


def test_nobody_is_called_on_a_holiday_of_where_they_are() -> None:
    window = Window(WORKDAYS.week, frozenset({date(2026, 12, 25)}))
    christmas = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)
    assert window.next_open(christmas, [MADRID], christmas + timedelta(days=7)) == datetime(2026, 12, 26, 9, tzinfo=UTC)


def test_without_a_table_it_is_always_open() -> None:
    assert not Window(Week.of({})).limited


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"funday": "09:00-20:00"}, "has 'funday'; expected mon to sun, or a range of them like mon-fri"),
        ({"mon-": "09:00-20:00"}, "has 'mon-'"),
        ({"mon": "9-20"}, "has '9-20' for mon; expected HH:MM-HH:MM"),
        ({"mon": "20:00-09:00"}, "the end after the start"),
        ({"mon": "09:00-24:01"}, "24:00 the latest"),
        ({"mon": "09:60-20:00"}, "expected HH:MM-HH:MM"),
        ({"mon": ""}, "expected HH:MM-HH:MM"),
        ({"mon": "09:00-12:00, 11:00-13:00"}, "expected ranges one after the other"),
        ({"mon-fri": "09:00-20:00", "fri": "09:00-12:00"}, "has fri twice; expected each day once"),
    ],
)
def test_a_window_that_cannot_be_read_says_what_is_expected(table: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Week.of(table)


def test_a_range_of_days_may_go_over_the_weekend() -> None:
    assert [bool(day) for day in Week.of({"sat-mon": "10:00-11:00"}).days] == [True, *[False] * 4, True, True]
