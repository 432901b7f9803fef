"""Which call is respooled, with which number, when, and why not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub.respooling import planning
from hub.respooling.blocked import Blocked
from hub.respooling.planning import Desk, Facts, Planned, Refuse, Send, Wait, first, following, reported
from hub.respooling.rules import Rule, called, contact_of, fitting, numbers_of, reached, unusable
from tests.respooling.support import ALWAYS, CONTACT, MOBILE, NOON, planned, record, rule

OTHER = "+34911888921"


def send(*numbers: str, at: datetime = NOON) -> Send:
    """At noon the window stays open for longer than any dialer is waited for."""
    return Send(numbers, at, at + timedelta(hours=1))


def a_first(told: dict[str, Any], by: Rule) -> Planned:
    found = first(told, by, "ES", NOON)
    assert found is not None
    return found


# --- which rule ------------------------------------------------------------------------------------------------------


def test_the_first_rule_that_fits_counts_and_of_the_others_it_is_said_why_not() -> None:
    rules = [
        rule(name="desk", sources=frozenset({"desk"})),
        rule(name="busy", dispositions=frozenset({"busy"})),
        rule(name="sales", campaigns=frozenset({"Sales"})),
        rule(name="any"),
        rule(name="never looked at"),
    ]
    fit = fitting(record(), rules)
    assert fit.rule is rules[3]
    assert dict(fit.others) == {
        "desk": "its source is line-900, not desk",
        "busy": "its disposition is no_answer, not busy",
        "sales": "its campaign is not known, not Sales",
    }


def test_a_call_that_nobody_wants_fits_none() -> None:
    assert fitting(record(disposition="answered"), [rule()]).rule is None


# --- whose number ----------------------------------------------------------------------------------------------------


def test_the_contact_is_who_called_or_who_was_called() -> None:
    assert contact_of(record()) == CONTACT
    assert contact_of(record(to=MOBILE)) == MOBILE


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (record(caller={"withheld": True}), "the number is withheld"),
        (record(caller={"number": "12"}), "the number is none that can be called: it has no international form"),
        (record(caller={}), "there is no number of the other party"),
        (record(direction=None), "there is no number of the other party"),
    ],
)
def test_who_has_no_number_that_can_be_called_is_no_contact(told: dict[str, Any], why: str) -> None:
    assert contact_of(told) is None
    assert unusable(told) == why
    assert first(told, rule(), "ES", NOON) is None


@pytest.mark.parametrize("party", ["caller", "callee"])
def test_who_was_spoken_with_is_known_though_nobody_said_who_called_whom(party: str) -> None:
    """So uContact tells of its dialers' calls: a number, an outcome and no direction."""
    told: dict[str, Any] = {"disposition": "answered", party: {"e164": CONTACT}}
    assert reached(told, [MOBILE, CONTACT])
    assert not reached(told, [MOBILE])
    assert not reached({**told, "disposition": "unknown"}, [CONTACT])
    assert called(told) == CONTACT
    assert called({**told, "disposition": "unknown"}) is None


def test_only_the_outer_party_was_spoken_with_where_it_is_said_who_called_whom() -> None:
    told = record(disposition="answered", callee={"e164": OTHER})
    assert reached(told, [CONTACT])
    assert not reached(told, [OTHER])
    assert called(told) is None
    assert called(record(to=MOBILE)) == MOBILE


def test_more_numbers_come_from_the_fields_that_the_rule_names() -> None:
    told = record(variables={"TEL2": "600 123 456", "TEL3": "911888921;911888920"})
    fields = ("variables.TEL2", "variables.TEL3", "variables.TEL4")
    assert numbers_of(told, rule(numbers_from=fields), "ES") == (CONTACT, MOBILE, OTHER)
    assert numbers_of(told, rule(), "ES") == (CONTACT,)


# --- attempts --------------------------------------------------------------------------------------------------------


def test_each_attempt_waits_for_its_delay_after_the_call_before_it() -> None:
    by, told = rule(), record()
    one = a_first(told, by)
    assert (one.attempt, one.due_at, one.cause) == (1, NOON + timedelta(minutes=15), told["call_id"])
    assert one.since == NOON - timedelta(seconds=30)
    two = reported(one, by, "no_answer", NOON + timedelta(hours=1))
    assert two is not None
    assert (two.attempt, two.due_at, two.cause, two.since) == (2, NOON + timedelta(hours=3), one.cause, one.since)
    three = reported(two, by, "busy", NOON + timedelta(hours=4))
    assert three is not None
    assert three.due_at == NOON + timedelta(hours=28)
    assert reported(three, by, "no_answer", NOON + timedelta(hours=30)) is None
    assert following(three, by, NOON) is None


@pytest.mark.parametrize("outcome", ["answered", "failed", "unknown"])
def test_a_chain_ends_with_an_outcome_that_its_rule_does_not_respool(outcome: str) -> None:
    assert reported(a_first(record(), rule()), rule(), outcome, NOON) is None


def test_a_chain_whose_rule_is_gone_ends() -> None:
    assert reported(planned(), None, "no_answer", NOON) is None


@pytest.mark.parametrize(
    ("to", "alternatives", "expected"),
    [
        (None, "next", [CONTACT, MOBILE, OTHER, CONTACT]),  # who called is called back on that number
        (CONTACT, "next", [MOBILE, OTHER, CONTACT, MOBILE]),  # this one did not answer already
        (None, "same", [CONTACT] * 4),
        (CONTACT, "same", [CONTACT] * 4),
    ],
)
def test_the_next_number_is_tried_with_each_attempt_or_the_same(
    to: str | None, alternatives: Any, expected: list[str]
) -> None:
    delays = (timedelta(minutes=1),) * 4
    by = rule(alternatives=alternatives, numbers_from=("variables.ALT",), delays=delays)
    at: Planned | None = a_first(record(to=to, variables={"ALT": f"{MOBILE}:{OTHER}"}), by)
    dialled = []
    while at is not None:
        assert at.contact == CONTACT
        dialled.append(at.numbers[0])
        at = following(at, by, NOON)
    assert dialled == expected


def test_the_dialer_is_told_its_own_fields_as_they_are_and_the_rules_variables() -> None:
    told = record(campaign="POWER<-", list="base1", contact="77", variables={"ORDER": "9"})
    by = rule(data={"order": "{variables.ORDER}", "who": "{customer.e164}", "gone": "{queue}", "maybe": "{queue?}"})
    details = a_first(told, by).details
    assert {name: details[name] for name in ("campaign", "list", "contact")} == {
        "campaign": "POWER<-",
        "list": "base1",
        "contact": "77",
    }
    assert details["data"] == {"order": "9", "who": CONTACT}


# --- the last look ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "blocked", "facts", "now", "expected"),
    [
        (rule(), [], Facts(), NOON, send(CONTACT)),
        (None, [], Facts(), NOON, Refuse("rule_gone")),
        (rule(campaign="other"), [], Facts(), NOON, Refuse("rule_gone")),
        (rule(), None, Facts(reached="x"), NOON, Wait(NOON + timedelta(seconds=60), planning.HELD)),
        (rule(), ["911888920"], Facts(), NOON, Refuse("do_not_call")),
        (rule(), [], Facts(reached="x"), NOON, Refuse("reached")),
        (rule(daily_cap=0), [], Facts(), NOON, Refuse("daily_cap")),
        (rule(total_cap=5), [], Facts(total=5), NOON, Refuse("total_cap")),
        (rule(total_cap=5), [], Facts(total=4), NOON, send(CONTACT)),
        (rule(), [], Facts(), NOON + timedelta(days=7, seconds=1), Refuse("too_late")),
        # Friday at nine in the evening: Saturday at ten, Madrid.
        (
            rule(),
            [],
            Facts(),
            NOON + timedelta(hours=8),
            Wait(datetime(2026, 11, 21, 9, tzinfo=UTC), "the window is closed"),
        ),
        # Three today: not today.
        (rule(), [], Facts(today=3), NOON, Wait(datetime(2026, 11, 21, 9, tzinfo=UTC), planning.CAPPED)),
        (rule(within=timedelta(hours=1)), [], Facts(today=3), NOON, Refuse("no_window")),
        (rule(), [], Facts(), NOON - timedelta(minutes=5), Wait(NOON, planning.EARLY)),
        (rule(ahead=timedelta(minutes=5)), [], Facts(), NOON - timedelta(minutes=5), send(CONTACT)),
    ],
)
def test_what_becomes_of_an_attempt_whose_time_has_come(
    by: Rule | None, blocked: list[str] | None, facts: Facts, now: datetime, expected: object
) -> None:
    desk = Desk(by, None if blocked is None else Blocked.of(blocked))
    assert desk.judge(planned(), facts, now) == expected


def test_a_dialer_is_not_asked_after_the_window_has_closed() -> None:
    at = datetime(2026, 11, 20, 18, 59, 58, tzinfo=UTC)  # two seconds before eight in the evening in Madrid
    due = planned("a", due_at=at, next_at=at)
    assert Desk(rule()).judge(due, Facts(), at) == Send((CONTACT,), at, at + timedelta(seconds=2))


def test_what_is_handed_over_ahead_counts_for_the_day_on_which_it_is_dialled() -> None:
    """In the evening, for nine o'clock tomorrow: tomorrow's dials count, and not those of today."""
    by = rule(ahead=timedelta(hours=12), daily_cap=1)
    evening = datetime(2026, 11, 19, 21, tzinfo=UTC)
    morning = datetime(2026, 11, 20, 8, tzinfo=UTC)
    due = planned("a", due_at=evening, next_at=evening - timedelta(hours=12))
    desk = Desk(by)
    assert desk.day(due, evening) == datetime(2026, 11, 19, 23, tzinfo=UTC)
    assert desk.judge(due, Facts(today=0), evening) == send(CONTACT, at=morning)
    full = desk.judge(due, Facts(today=1), evening)
    assert full == Wait(datetime(2026, 11, 20, 21, tzinfo=UTC), planning.CAPPED)  # for Saturday at ten


def test_a_number_of_no_known_zone_is_not_dialled() -> None:
    assert Desk(rule()).judge(planned("a", "+80012345678"), Facts(), NOON) == Refuse("zone_unknown")


def test_a_blocked_alternative_is_neither_dialled_nor_handed_over() -> None:
    desk = Desk(rule(), Blocked.of(["600 123 456"]))
    assert desk.judge(planned("a", MOBILE, CONTACT, OTHER), Facts(), NOON) == send(CONTACT, OTHER)
    same = Desk(rule(alternatives="same"), Blocked.of(["600 123 456"]))
    assert same.judge(planned("a", MOBILE, CONTACT), Facts(), NOON) == Refuse("do_not_call")


def test_a_window_holds_for_the_alternatives_too() -> None:
    """The dialer may take any of them: a mobile may be on the islands, where it is an hour earlier."""
    at = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    due = planned("a", CONTACT, MOBILE, due_at=at, next_at=at)
    assert Desk(rule()).judge(due, Facts(), at) == Wait(at + timedelta(minutes=30), planning.CLOSED)
    assert Desk(rule(alternatives="same")).judge(due, Facts(), at) == send(CONTACT, at=at)


@settings(max_examples=200, deadline=None)
@given(
    due=st.integers(0, 14 * 24 * 60),
    late=st.integers(-120, 9 * 24 * 60),
    today=st.integers(0, 5),
    ahead=st.sampled_from([0, 1, 30]),
    mobile=st.booleans(),
    start=st.sampled_from([datetime(2026, 3, 22, tzinfo=UTC), datetime(2026, 10, 18, tzinfo=UTC)]),
)
def test_whatever_is_sent_is_sent_inside_the_window_and_under_the_cap_and_nothing_waits_for_ever(
    *,
    due: int,
    late: int,
    today: int,
    ahead: int,
    mobile: bool,
    start: datetime,
) -> None:
    at = start + timedelta(minutes=due)
    now = at + timedelta(minutes=late)
    by = rule(ahead=timedelta(minutes=ahead))
    one = planned("a", MOBILE if mobile else CONTACT, due_at=at, next_at=at)
    desk = Desk(by)
    zones = desk.zones(one.numbers)
    for _ in range(20):
        verdict = desk.judge(one, Facts(today=today), now)
        match verdict:
            case Send():
                assert by.window.is_open(verdict.at, zones)
                assert verdict.at >= at
                assert today < by.daily_cap
                assert timedelta() <= verdict.at - now <= by.ahead
                return
            case Refuse():
                return
            case Wait():
                assert verdict.until > now
                before = desk.day(one, now)
                now = verdict.until
                today = today if desk.day(one, now) == before else 0
    pytest.fail("it waits for ever")


def test_a_respool_is_never_sent_before_its_delay_is_over_whoever_looks() -> None:
    one = replace(planned(), due_at=NOON + timedelta(hours=1))
    assert isinstance(Desk(rule(window=ALWAYS)).judge(one, Facts(), NOON), Wait)
