"""What cannot be used, and for which reason; and that nothing else ever happens."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub.errors import Unusable
from hub.events import to_event, to_message
from hub.vendors.focalscope.callbacks import FocalScope
from tests.vendors.focalscope.support import API_GUID, FORM, OUTGOING_GUID, SAMPLES, callback, decoded, refusal


@pytest.mark.parametrize(
    "query",
    [
        "",
        "CallID=1",
        "Event=&EventCode=&CallID=1",
        "Event=ringing&CallID=1",
        "Event=ringing&EventCode=2&CallID=1",
        "EventCode=4&CallID=1",
        "EventCode=02&CallID=1",
        "Event=pickup&Event=hangup&CallID=1",
        "Event=pickup&event=hangup&CallID=1",
        "EventCode=1&EventCode=2&CallID=1",
        "Event={{DialApiEventName}}&CallID=1",
    ],
)
def test_no_unknown_or_two_events_are_refused(query: str) -> None:
    assert refusal(query) == "event"


@pytest.mark.parametrize(
    "query",
    [
        "Event=pickup",
        "Event=pickup&RequestID=0",
        "Event=pickup&CallID=0&Guid=00000000-0000-0000-0000-000000000000",
        "Event=pickup&CallID={{CallID}}&Guid={{CallUUID}}&RequestID={{DialApiRequestID}}",
        "Event=pickup&CallID=1&CallID=2",
        "Event=pickup&CallID=1&callid=2",
        "Event=pickup&RequestID=513&RequestID=514",
        "Event=pickup&RequestID=513&CallID=1&CallID=2",
        f"Event=pickup&Guid={API_GUID}&Guid={OUTGOING_GUID}",
    ],
)
def test_nothing_that_identifies_a_call_or_two_things_are_refused(query: str) -> None:
    assert refusal(query) == "identity"


def test_an_id_repeated_or_with_an_empty_one_is_one_id() -> None:
    event = decoded(f"Event=pickup&CallID=1&CallID=&CallID=1&Guid={API_GUID}&Guid={API_GUID.upper()}")
    assert event.data["vendor_ids"] == {"call_id": "1", "call_uuid": API_GUID}


@pytest.mark.parametrize(
    ("body", "kind"), [(b'{"Event":"pickup"}', "application/json"), (b"x", ""), (b"<a/>", "text/xml")]
)
def test_a_body_that_is_no_form_is_undecodable(body: bytes, kind: str) -> None:
    assert refusal(SAMPLES[0], body=body, content_type=kind) == "undecodable"
    assert refusal("Event=pickup", body=body, content_type=kind) == "undecodable"
    assert refusal("CallID=1", body=body, content_type=kind) == "event"


def test_a_form_longer_than_any_url_is_undecodable() -> None:
    assert refusal(SAMPLES[0], body=b"a=1&" * 8193, content_type=FORM) == "undecodable"
    assert decoded(SAMPLES[0], body=b"a=1&" * 8192, content_type=FORM).data["vendor_data"]["a"] == "1"


def test_a_body_of_blanks_is_none() -> None:
    assert decoded(SAMPLES[0], body=b"\r\n", content_type="text/plain").id == decoded(SAMPLES[0]).id


_NAMES = st.sampled_from(
    ["Event", "EventCode", "CallID", "RequestID", "Guid", "CallType", "CallerID", "IsCallRecorded"]
)
_VALUES = st.text() | st.sampled_from(
    [
        "pickup",
        "2",
        "513",
        "0",
        "%ED%A0%80",
        "%00",
        "%ZZ",
        "Jos%E9",
        "\ud800",
        "\udcff",
        "{{CallID}}",
        API_GUID,
        "+34",
        "%2",
    ]
)
_QUERIES = st.text() | st.lists(st.tuples(_NAMES | st.text(), _VALUES), max_size=8).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in (("Event", "pickup"), ("CallID", "1"), *pairs))
)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from texts([*value, *value.values()])
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


@settings(max_examples=400, deadline=None)
@given(
    _QUERIES | st.text(st.characters(exclude_categories=())),
    st.binary(max_size=100),
    st.sampled_from([FORM, "", "text/plain"]) | st.text(),
)
def test_whatever_comes_is_an_event_or_unusable(query: str, body: bytes, content_type: str) -> None:
    try:
        (event,) = FocalScope(source="desk").decode(callback(query, body, content_type))
    except Unusable:
        return
    assert to_event(to_message(event)).data == event.data
    assert all("\0" not in text for text in texts(event.data))
    assert event == FocalScope(source="desk").decode(callback(query, body, content_type))[0]
