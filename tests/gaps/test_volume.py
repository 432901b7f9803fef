"""When a source counts as silent: far less than usual, and too little to be chance."""

from datetime import UTC, datetime, timedelta
from math import exp, factorial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from hub.gaps.volume import SPANS, WEEK, at_most, spans, volume

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
QUARTER, LONG_AGO = SPANS[0], NOW - 52 * WEEK


@given(heard=st.integers(0, 30), usual=st.floats(0.1, 60))
def test_the_chance_is_the_tail_of_the_poisson_distribution(heard: int, usual: float) -> None:
    slow = sum(exp(-usual) * usual**n / factorial(n) for n in range(heard + 1))
    assert at_most(heard, usual) == pytest.approx(min(1.0, slow))


@given(usual=st.integers(0, 100_000), heard=st.integers(0, 100_000))
def test_what_is_at_least_a_quarter_of_the_usual_is_never_silence(usual: int, heard: int) -> None:
    one = volume(QUARTER, [heard, usual, usual], LONG_AGO, NOW)
    assert not (one.silent and one.lively)
    if heard * 4 >= usual:
        assert not one.silent


@given(heard=st.integers(0, 10), usual=st.integers(60, 100_000))
def test_next_to_nothing_where_there_is_much_is_silence(heard: int, usual: int) -> None:
    assert volume(QUARTER, [heard, usual, usual, usual], LONG_AGO, NOW).silent


@given(usual=st.integers(0, 13))
def test_nothing_where_there_is_little_may_be_chance(usual: int) -> None:
    assert not volume(QUARTER, [0, usual, usual, usual], LONG_AGO, NOW).silent


def test_one_week_is_no_habit_and_weeks_before_the_first_call_count_for_nothing() -> None:
    counts = [0, 100, 0, 0, 0]
    assert volume(QUARTER, counts, NOW - WEEK - timedelta(hours=1), NOW).usual is None
    assert volume(QUARTER, counts, None, NOW).usual is None
    assert volume(QUARTER, [0, 100, 90, 0, 0], NOW - 2 * WEEK - timedelta(hours=1), NOW).usual == 95


def test_a_holiday_among_the_weeks_does_not_change_what_is_usual() -> None:
    assert volume(QUARTER, [50, 100, 2, 98, 102], LONG_AGO, NOW).usual == 99


def test_spans_end_now_and_at_the_same_hour_of_each_week_before() -> None:
    for span, times in spans(NOW, 4, ZoneInfo("UTC")):
        assert [until for _, until in times] == [NOW - week * WEEK for week in range(5)]
        assert {until - since for since, until in times} == {span}


@pytest.mark.parametrize("now", ["2026-10-26T09:15:00+01:00", "2027-03-29T09:15:00+02:00"])
def test_the_same_hour_is_the_same_on_the_wall_in_the_weeks_after_the_clock_was_changed(now: str) -> None:
    madrid = ZoneInfo("Europe/Madrid")
    for span, times in spans(datetime.fromisoformat(now).astimezone(UTC), 4, madrid):
        assert {until.astimezone(madrid).strftime("%a %H:%M") for _, until in times} == {"Mon 09:15"}
        assert {until - since for since, until in times} == {span}
