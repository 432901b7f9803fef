"""Orders, and which call a dial of unknown outcome became."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub.dialing.matching import EARLIEST, LATEST, Heard, Sent, fits, pairs
from hub.dialing.orders import KEYS, Order, checked_key, order_of, parsed
from hub.errors import Unacceptable
from hub.events import Event

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ORDER = Order("desk", "+34911888920", agent="1001")


def sent(name: str = "d1", order: Order = ORDER, at: float = 0, *, answered: bool = False) -> Sent:
    return Sent(name, order, NOON + timedelta(seconds=at), answered)


def heard(name: str = "c1", at: float = 1, **data: Any) -> Heard:
    moment = NOON + timedelta(seconds=at)
    return Heard.of(name, name, moment, [Event(name, "call", "focalscope", "answered", "desk", moment, data)])


AGENT: Mapping[str, Any] = {"agent": {"extension": "1001"}}


@pytest.mark.parametrize(
    "call",
    [
        heard(agent={"extension": "1001"}),
        heard(agent={"name": "1001"}),
        heard(vendor_data={"UserName": "1001"}),
        heard(callee={"number": "911888920"}),
        heard(caller={"number": "0034911888920"}),
        heard(line={"number": "x", "e164": "+34911888920"}),
        heard(leg={"number": "911 888 920"}),
    ],
)
def test_a_call_with_the_number_or_the_agent_fits(call: Heard) -> None:
    assert fits(sent(), call)
    assert pairs([sent()], [call]) == [(sent(), call)]


@pytest.mark.parametrize(
    "call",
    [
        heard(),  # says neither whom nor where to
        heard(agent={"extension": "1002"}),
        heard(callee={"number": "600000000"}),
        heard(callee={"number": "600000000"}, **AGENT),
        heard(callee={"number": "911888920"}, agent={"extension": "1002"}),
        heard(at=-60, **AGENT),
        heard(at=3600, **AGENT),
    ],
)
def test_a_call_that_says_otherwise_or_nothing_fits_nothing(call: Heard) -> None:
    assert not fits(sent(), call)


def test_the_time_counts_to_the_second() -> None:
    for at, fit in ((-EARLIEST, True), (LATEST, True), (-EARLIEST * 1.1, False), (LATEST * 1.1, False)):
        assert fits(sent(), heard(at=at.total_seconds(), **AGENT)) is fit


def test_two_dials_of_one_call_and_two_calls_of_one_dial_are_left_alone() -> None:
    call, other = heard("c1", **AGENT), heard("c2", **AGENT)
    assert pairs([sent("d1"), sent("d2")], [call]) == []
    assert pairs([sent("d1")], [call, other]) == []


def test_a_dial_whose_answer_may_come_takes_no_call_and_leaves_none_to_another() -> None:
    call = heard(**AGENT)
    assert pairs([sent("d1", answered=True)], [call]) == []
    assert pairs([sent("d1"), sent("d2", answered=True)], [call]) == []


@given(st.permutations([sent("d1"), sent("d2", Order("desk", "600000000", agent="7")), sent("d3", answered=True)]))
def test_the_order_in_which_dials_are_looked_at_does_not_matter(dials: list[Sent]) -> None:
    calls = [heard("c1", **AGENT), heard("c2", agent={"name": "7"})]
    assert [(one.dial_id, call.call_id) for one, call in pairs(dials, calls)] == [("d2", "c2")]


def test_an_order_is_read_with_its_numbers_in_one_spelling() -> None:
    order = parsed(b'{"source":"desk","destination":"+34 911-88.89(20)","agent":" 1001 ","campaign":null}')
    assert order == ORDER
    assert order.shown() == {"source": "desk", "destination": "+34911888920", "agent": "1001"}


def test_the_same_order_has_one_digest_however_it_was_written() -> None:
    one = order_of({"source": "a", "destination": "911 888", "variables": {"A": "1", "B": "2"}})
    same = order_of({"variables": {"B": "2", "A": "1"}, "destination": "911888", "source": "a", "agent": None})
    assert one.digest() == same.digest()
    assert one.digest() != order_of({"source": "a", "destination": "911889"}).digest()


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), json) | json)
def test_whatever_is_asked_is_an_order_or_one_line(data: Any) -> None:
    order, line = tried(data)
    assert "\n" not in line
    assert order is None or order_of(order.shown()) == order


def tried(data: Any) -> tuple[Order | None, str]:
    try:
        return order_of(data), ""
    except Unacceptable as error:
        return None, str(error)


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "ñ", "a\nb"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(Unacceptable, match="idempotency key"):
        checked_key(key)
