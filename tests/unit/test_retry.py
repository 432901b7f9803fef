"""Promises of hub/retry.py."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from hub.errors import NotDurable, NoTurn, NotYet, Permanent, RateLimited, StoreUnavailable, Undecodable
from hub.retry import ATTEMPTS, LONGEST_WISH, QUICK_ATTEMPTS, Next, Plan, delay, describe, give_up, plan

NOW = datetime(2026, 11, 20, 9, 15, 30, tzinfo=UTC)
HOURS = 3600.0

spreads = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 10_000)
wishes = st.floats(-1e9, 1e9)


def errors() -> st.SearchStrategy[Exception]:
    return st.one_of(
        st.builds(NotYet, wishes, st.text()),
        st.builds(RateLimited, wishes.map(lambda seconds: NOW + timedelta(seconds=seconds)), st.text()),
        st.builds(Permanent, st.text()),
        st.builds(Undecodable, st.text()),
        st.builds(StoreUnavailable, st.text()),
        st.builds(NotDurable, st.text()),
        st.builds(ValueError, st.text()),
        st.builds(TimeoutError, st.text()),
    )


@given(st.lists(spreads, min_size=ATTEMPTS - 1, max_size=ATTEMPTS - 1))
def test_all_attempts_together_span_two_days_at_the_least_and_a_week_at_the_most(chosen: list[float]) -> None:
    waits = [delay(attempt, spread=spread) for attempt, spread in enumerate(chosen, start=1)]
    assert 48 * HOURS <= sum(waits) <= 7 * 24 * HOURS


@given(spreads)
def test_the_first_retry_comes_within_five_seconds(spread: float) -> None:
    assert 2.5 <= delay(1, spread=spread) <= 5


@given(attempts, spreads, spreads)
def test_a_later_attempt_never_waits_less_at_the_same_spread(attempt: int, spread: float, other: float) -> None:
    assert delay(attempt, spread=spread) <= delay(attempt + 1, spread=spread)
    assert delay(attempt, spread=min(spread, other)) <= delay(attempt, spread=max(spread, other))


@given(attempts, spreads)
def test_no_wait_is_longer_than_a_day(attempt: int, spread: float) -> None:
    assert 0 < delay(attempt, spread=spread) <= 24 * HOURS


def test_the_twelfth_attempt_is_the_last() -> None:
    assert [attempt for attempt in range(1, 14) if give_up(attempt)] == [12, 13]


@given(st.floats(0, 1e6), attempts, spreads)
def test_what_is_not_ready_comes_back_when_it_said_and_is_never_given_up(
    after: float, attempt: int, spread: float
) -> None:
    assert plan(NotYet(after, "too early"), attempt, NOW, spread) == Plan(Next.SNOOZE, after, "too early")


@given(attempts, spreads)
def test_a_store_that_is_down_costs_no_attempt(attempt: int, spread: float) -> None:
    planned = plan(StoreUnavailable("down"), attempt, NOW, spread)
    assert planned == Plan(Next.SNOOZE, delay(attempt, spread=spread), "down")


@given(attempts, spreads)
def test_what_never_had_its_turn_comes_back_soon_and_costs_no_attempt(attempt: int, spread: float) -> None:
    assert plan(NoTurn("too many"), attempt, NOW, spread) == Plan(Next.SNOOZE, delay(1, spread=spread), "too many")


@pytest.mark.parametrize("error", [Permanent("422: unknown field"), Undecodable("422: unknown field")])
def test_what_will_never_work_is_dead_at_the_first_attempt(error: Exception) -> None:
    assert plan(error, 1, NOW, 0.5) == Plan(Next.DEAD, 0, "422: unknown field")


@given(wishes, st.integers(1, ATTEMPTS - 1), spreads)
def test_a_rate_limit_is_never_undercut_and_believed_for_an_hour(wish: float, attempt: int, spread: float) -> None:
    until = NOW + timedelta(seconds=wish)
    planned = plan(RateLimited(until, "429"), attempt, NOW, spread)
    assert planned.next is Next.RETRY
    assert planned.after >= min((until - NOW).total_seconds(), LONGEST_WISH)
    assert planned.after <= max(LONGEST_WISH, delay(attempt, spread=spread))


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (NotDurable("down"), ATTEMPTS),
        (RateLimited(NOW, "429"), ATTEMPTS),
        (ConnectionResetError("reset"), ATTEMPTS),
        (TimeoutError(), ATTEMPTS),
        (KeyError("slip"), QUICK_ATTEMPTS),
        (RecursionError("deep"), QUICK_ATTEMPTS),
    ],
)
def test_the_last_attempt_of_each_kind_is_its_death(error: Exception, last: int) -> None:
    assert plan(error, last - 1, NOW, 0.5).next is Next.RETRY
    assert plan(error, last, NOW, 0.5).next is Next.DEAD
    assert plan(error, last, NOW, 0.5).reason.startswith(f"given up after {last} attempts: ")


@given(errors(), attempts, spreads)
def test_every_error_has_a_plan_with_one_line_of_reason(error: Exception, attempt: int, spread: float) -> None:
    planned = plan(error, attempt, NOW, spread)
    assert planned.after >= 0
    assert (planned.after == 0) or planned.next is not Next.DEAD
    assert "\n" not in planned.reason
    assert len(planned.reason) <= 500


def test_an_unexpected_error_is_described_with_its_type() -> None:
    assert describe(KeyError("call_id")) == "KeyError: 'call_id'"
    assert describe(Permanent("the CRM says no")) == "the CRM says no"
    assert describe(Permanent("two\nlines")) == "two lines"
