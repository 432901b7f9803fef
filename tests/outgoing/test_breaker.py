"""When a neighbour is not asked any more, and how it is found to be back. Pure."""

from typing import get_args

import pytest

from hub.outgoing.breaker import Breaker, Change, Sign


def breaker(together: int = 10) -> Breaker:
    return Breaker(0.0, probe_every=30.0, together=together)


def told(one: Breaker, *signs: Sign, now: float = 1.0) -> list[Change | None]:
    return [one.tell(sign, now, probe=False) for sign in signs]


def bad(count: int) -> list[Sign]:
    return ["bad"] * count


def busy(count: int) -> list[Sign]:
    return ["busy"] * count


def test_five_failures_in_a_row_open_it_and_no_fewer() -> None:
    one = breaker()
    assert told(one, *bad(4), "good", *bad(4)) == [None] * 9
    assert one.until(1) is None
    assert told(one, "bad") == ["opened"]
    assert one.until(1) == 31


def test_fourteen_of_the_last_twenty_open_it_though_some_succeed() -> None:
    one = breaker()
    pattern: list[Sign] = ["bad", "bad", "bad", "good"]
    changes = told(one, *(pattern * 5))
    assert changes.count("opened") == 1
    assert "opened" in changes[-2:] + changes[-4:]


def test_a_moments_overload_of_all_that_run_at_once_does_not_open_it() -> None:
    one = breaker(together=10)
    assert told(one, *busy(14), "good", *busy(14)) == [None] * 29
    assert told(one, "busy") == ["opened"]


def test_one_probe_passes_in_each_interval_and_nothing_else() -> None:
    one = breaker()
    told(one, *bad(5), now=0)
    passed: list[float] = []
    now = 0.0
    while now < 200:
        if one.until(now) is None:
            assert one.enter(now)
            passed.append(now)
            assert one.until(now) is not None  # nobody beside it
            one.tell("bad", now + 15, probe=True)
        now += 0.5
    assert passed == [30, 60, 90, 120, 150, 180]


def test_a_probe_that_succeeds_closes_it_and_nothing_of_the_outage_is_remembered() -> None:
    one = breaker()
    told(one, *bad(5), now=0)
    assert one.enter(30)
    assert one.standing == "half_open"
    assert one.tell("good", 31, probe=True) == "closed"
    assert one.until(31) is None
    assert told(one, *bad(4)) == [None] * 4


def test_what_was_sent_before_it_opened_changes_nothing_when_it_ends_later() -> None:
    one = breaker()
    told(one, *bad(5), now=0)
    assert told(one, "good", "bad", "none", "busy") == [None] * 4
    assert one.standing == "open"


@pytest.mark.parametrize("sign", sorted(set(get_args(Sign)) - {"good"}))
def test_a_probe_that_is_not_answered_well_leaves_it_open(sign: Sign) -> None:
    one = breaker()
    told(one, *bad(5), now=0)
    one.enter(30)
    assert one.tell(sign, 31, probe=True) is None
    assert (one.standing, one.until(31), one.opened_at) == ("open", 60, 0)


def test_a_probe_that_was_cancelled_is_followed_by_another() -> None:
    one = breaker()
    told(one, *bad(5), now=0)
    one.enter(30)
    one.left(31, probe=True)
    assert one.until(59) == 60
    assert one.until(60) is None


def test_a_wish_for_a_pause_is_kept_and_a_shorter_one_does_not_end_it() -> None:
    one = breaker()
    one.pause(100)
    one.pause(50)
    assert (one.until(99), one.until(100)) == (100, None)


def test_a_probe_waits_for_the_end_of_a_pause_too() -> None:
    one = breaker()
    told(one, *bad(5), now=0)
    one.pause(100)
    assert (one.until(40), one.until(100)) == (100, None)
