"""One callback is one event, however it was sent."""

import json
import random
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given, settings, strategies as st

from hub.events import Event
from tests.vendors.infocaller.encodings import as_json, as_xml, encoded
from tests.vendors.infocaller.samples import filled_json
from tests.vendors.infocaller.support import RECEIVED, call, decoded, user

# What a variable may hold: ASCII and ISO-8859-1, printable; and a little of what it may not.
_letters = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"])
_value = st.one_of(
    st.text(_letters, max_size=20),
    st.text("ñáé &<>'\"%+=;,{}[]\\/0", max_size=12),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=5),
)
_price = st.decimals(0, 999, places=6).map(str)
_clock = st.integers(0, 59).map(lambda second: f"2026-03-02T10:20:{second:02d}")
_codes = st.sampled_from(["1", "2", "4", "6", "7", "12", "17", "19", "99"])
_event = st.fixed_dictionaries(
    {
        "EventType": st.sampled_from(["1", "2", "4", "6", "7", "12", "17", "19", "99"]),
        "EventDate": _clock,
        "EventName": _value,
    },
    optional={f"EventAddInfo{number}": st.one_of(_value, _price) for number in range(1, 6)},
)
_infocaller = st.fixed_dictionaries(
    {"CallType": st.sampled_from("RE"), "CallerNumber": st.sampled_from(["911888920", "X", "", "+33123456789"])},
    optional={
        "CallerNumberInt": st.sampled_from(["34911888920", "911888920"]),
        "InboundNumber": st.just("900805089"),
        "OutboundNumber": st.just("600111222"),
        "idcall": st.text("0123456789", max_size=24),
        "CallSeconds": st.integers(0, 4000).map(str),
        "StartDate": _clock,
        "EndDate": _clock,
        "CostRX": _price,
        "CostTX": _price,
        "Novelty": _value,
    },
)
_calls = st.builds(
    lambda infocaller, events, variables: call(
        infocaller, Status={"Events": {"Event": events}}, CustVars={"CustVar": variables}, Extra={"Field": "1"}
    ),
    _infocaller,
    st.lists(_event, max_size=3),
    st.lists(
        st.fixed_dictionaries({"VarName": st.text("ABC123", min_size=1, max_size=15), "VarValue": _value}), max_size=3
    ),
)


def said(event: Event) -> dict[str, Any]:
    """The data but for ``vendor_data``, which keeps the spelling that was sent."""
    return {name: value for name, value in event.data.items() if name != "vendor_data"}


@settings(max_examples=40, deadline=None)
@given(_calls)
def test_a_callback_is_one_event_in_every_encoding(sent: dict[str, Any]) -> None:
    reference = decoded(as_json(sent))
    for name, content_type, body in encoded(sent):
        event = decoded(body, content_type=content_type)
        assert said(event) == said(reference), name
        assert event.id == reference.id, name
    assert json.loads(reference.body) == reference.data


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("abcxyz_", min_size=1, max_size=6), _value, max_size=5), st.randoms())
def test_url_variables_in_another_order_are_the_same_event(extra: dict[str, str], shuffler: random.Random) -> None:
    variables = list({**extra, "num": "123456789", "id": "7", "caller": "+34911888920"}.items())
    shuffled = list(variables)
    shuffler.shuffle(shuffled)
    one, other = decoded(query=urlencode(variables)), decoded(query=urlencode(shuffled))
    assert (one.id, one.data) == (other.id, other.data)


def test_url_variables_in_iso_8859_1_and_in_utf_8_are_the_same_event() -> None:
    ids = {
        decoded(query=f"num=123456789&id=7&agencia={quote_plus('Peña & Cía', encoding=charset)}").id
        for charset in ("utf-8", "iso-8859-1")
    }
    assert len(ids) == 1


def test_a_price_is_the_same_as_number_with_comma_and_with_fewer_places() -> None:
    spellings = ("0.12", "0,120000", "0.1200000", "+0.12", "12e-2", "00.120")
    events = [decoded(as_xml(call({"CostRX": spelling}))) for spelling in spellings]
    events.append(decoded(json.dumps({"ApiCall": call({"CostRX": 0.12})})))
    assert {event.id for event in events} == {events[0].id}
    assert all(said(event) == said(events[0]) for event in events)
    assert events[0].data["cost"] == {"received": "0.120000"}


def test_an_amount_in_another_spelling_is_the_same_event() -> None:
    def with_amount(text: str) -> str:
        event = {"EventType": "2", "EventName": "911222333", "EventAddInfo4": text}
        return decoded(as_json(call(Status={"Events": {"Event": [event]}}))).id

    assert with_amount("0.05") == with_amount("0,050000") != with_amount("0.06")


def test_what_is_empty_and_what_is_missing_are_the_same_event() -> None:
    bare = {"UserID": user()}
    spellings: list[dict[str, Any]] = [
        bare,
        {**bare, "Infocaller": None, "Status": "", "CustVars": {}},
        {**bare, "Infocaller": {}, "Status": {"Events": None}, "CustVars": {"CustVar": [None, {}, {"VarName": " "}]}},
        {**bare, "Infocaller": {"CallType": "", "CallerNumber": None}, "Status": {"Events": {"Event": []}}},
    ]
    bodies = [json.dumps({"ApiCall": spelling}) for spelling in spellings]
    bodies += [
        as_xml(bare),
        as_xml({**bare, "Status": " ", "CustVars": " "}),
        as_xml({**bare, "CustVars": {"CustVar": ""}}),
    ]
    events = [decoded(body) for body in bodies]
    assert len({event.id for event in events}) == 1
    assert all(said(event) == said(events[0]) for event in events)


@pytest.mark.parametrize(
    ("event", "query", "change"),
    [
        ("inicio", "", ""),
        ("fin", "x=1", ""),
        ("fin", "", "Otra"),
    ],
)
def test_another_event_other_variables_or_another_body_is_another_event(event: str, query: str, change: str) -> None:
    first = decoded(filled_json())
    assert decoded(filled_json().replace("NUMPEDIDO", f"NUMPEDIDO{change}"), event=event, query=query).id != first.id


def test_the_leg_tells_two_diversions_apart() -> None:
    query = "num=123456789&id=7&desvio="
    assert (
        decoded(event="desvio_fallido", query=query + "1").id != decoded(event="desvio_fallido", query=query + "2").id
    )


def test_the_time_of_receipt_and_the_way_the_event_was_named_are_not_part_of_the_identity() -> None:
    first = decoded(filled_json())
    later = decoded(filled_json(), event=None, query="eve=FIN", received_at=RECEIVED + timedelta(days=400))
    assert first.id == later.id
    assert {**said(first), "received_at": ""} == {**said(later), "received_at": ""}


def test_an_upper_case_signature_is_the_same_event() -> None:
    signature = user()["Signature"]
    assert decoded(filled_json()).id == decoded(filled_json().replace(signature, signature.upper())).id
