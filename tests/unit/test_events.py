"""Canonical events: their identity and their wire form, against the contract's words, computed anew here."""

import hashlib
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from hub.errors import Undecodable
from hub.events import Event, Message, event_identity, identity, moment, timestamp, to_event, to_message

NAMESPACE = uuid.UUID("7cf7fa49-a8d2-4840-8bc6-0e07ae7289fa")

words = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
names = st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
whole_milliseconds = st.integers(-60_000_000_000_000, 60_000_000_000_000).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    Event,
    id=st.uuids().map(str) | st.text(min_size=1, max_size=255),  # a stranger's may be called anything
    noun=words,
    vendor=words,
    verb=words,
    source=names,
    time=whole_milliseconds,
    data=st.dictionaries(texts, values, max_size=4),
    subject=st.none() | st.uuids().map(str),
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    unknown=st.just(()),
)

SAMPLE = Event(
    id="5b3f0ad5-0d5b-5b3c-8f2e-6a41c7a2d001",
    noun="call",
    vendor="infocaller",
    verb="ended",
    source="line-900",
    time=datetime(2026, 11, 20, 9, 15, 30, tzinfo=UTC),
    data={"call_id": "e0b9", "caller": {"withheld": True}},
    subject="0d2c8a54-6f0e-5f6e-9d9c-0a1b2c3d4e5f",
)


# --- the wire form -------------------------------------------------------------------------------------------------


@given(events)
def test_an_event_comes_back_from_the_bus_as_it_was(event: Event) -> None:
    assert to_event(to_message(event)) == event
    assert to_event(to_message(event)).traceparent == event.traceparent


def test_the_attributes_are_headers_and_the_data_is_the_body() -> None:
    message = to_message(SAMPLE)
    assert message == Message(
        "call.infocaller.ended",
        {
            "ce-specversion": "1.0",
            "ce-id": "5b3f0ad5-0d5b-5b3c-8f2e-6a41c7a2d001",
            "ce-source": "/infocaller/line-900",
            "ce-type": "trunkline.call.ended.v1",
            "ce-time": "2026-11-20T09:15:30.000Z",
            "ce-subject": "0d2c8a54-6f0e-5f6e-9d9c-0a1b2c3d4e5f",
        },
        b'{"call_id":"e0b9","caller":{"withheld":true}}',
    )
    assert message.id == SAMPLE.id
    assert SAMPLE.type == "call.ended"


@pytest.mark.parametrize("header", ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time"])
def test_a_message_without_one_of_the_attributes_is_no_event(header: str) -> None:
    message = to_message(SAMPLE)
    rest = {name: value for name, value in message.headers.items() if name != header}
    with pytest.raises(Undecodable, match=rf"^no header {header}, which every event has$"):
        to_event(replace(message, headers=rest))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce-specversion", "0.3"),
        ("ce-id", ""),
        ("ce-id", "x" * 256),
        ("ce-source", "infocaller"),
        ("ce-source", "/infocaller"),
        ("ce-source", "/infocaller/"),
        ("ce-source", "//line-900"),
        ("ce-type", "call.ended"),
        ("ce-type", "trunkline.call.ended.v2"),
        ("ce-type", "trunkline.call..v1"),
        ("ce-type", "trunkline.call.ended.again.v1"),
        ("ce-type", "somebody.call.ended.v1"),
        ("ce-time", ""),
        ("ce-time", "yesterday"),
        ("ce-time", "2026-11-20"),
        ("ce-time", "2026-11-20T09:15:30"),
        ("ce-time", "0001-01-01T00:00:00+23:59"),
    ],
)
def test_a_message_with_a_malformed_attribute_is_no_event(header: str, value: str) -> None:
    message = to_message(SAMPLE)
    with pytest.raises(Undecodable):
        to_event(replace(message, headers={**message.headers, header: value}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"1", b"null", b"NaN", b"\xff", b'{"a":"\\ud800"}'])
def test_a_message_whose_body_is_no_json_object_is_no_event(body: bytes) -> None:
    with pytest.raises(Undecodable, match="the body is"):
        to_event(replace(to_message(SAMPLE), body=body))


@given(
    st.dictionaries(st.sampled_from(sorted(to_message(SAMPLE).headers)), st.text(max_size=30)), st.binary(max_size=30)
)
def test_a_strangers_message_is_an_event_or_undecodable_and_nothing_else(headers: dict[str, str], body: bytes) -> None:
    message = to_message(SAMPLE)
    for stranger in (Message("x", headers, body), replace(message, headers={**message.headers, **headers})):
        try:
            to_event(stranger)
        except Undecodable as error:
            assert str(error)  # noqa: PT017  either is right: what matters is that nothing else comes


# --- identity ------------------------------------------------------------------------------------------------------


@given(st.lists(texts, min_size=1, max_size=4))
def test_an_identity_is_the_uuid5_of_the_compact_json_array(parts: list[str]) -> None:
    array = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    assert identity(*parts) == str(uuid.uuid5(NAMESPACE, array))


def test_the_identity_of_the_vendors_own_sample_call_stays_what_it_is() -> None:
    digest = hashlib.sha1(NAMESPACE.bytes + b'["infocaller","line-900","123456789","98565656"]')  # noqa: S324  UUIDv5
    expected = uuid.UUID(bytes=digest.digest()[:16], version=5)
    assert identity("infocaller", "line-900", "123456789", "98565656") == str(expected)


@given(texts, texts)
def test_what_is_split_otherwise_is_another_call(one: str, other: str) -> None:
    assert identity("focalscope", "desk", one, other) != identity("focalscope", "desk", one + other)


@given(st.dictionaries(texts, values, max_size=4))
def test_an_events_identity_is_of_its_content_whatever_the_order(content: dict[str, Any]) -> None:
    reversed_content = dict(reversed(content.items()))
    assert event_identity("c", "ended", "", content) == event_identity("c", "ended", "", reversed_content)
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    assert event_identity("c", "ended", "", content) == identity("c", "ended", "", digest)


def test_other_content_another_verb_or_another_leg_is_another_event() -> None:
    ids = {
        event_identity("c", "ended", "", {"a": "1"}),
        event_identity("c", "ended", "", {"a": "2"}),
        event_identity("c", "ended", "", {"a": 1}),
        event_identity("c", "missed", "", {"a": "1"}),
        event_identity("c", "ended", "leg", {"a": "1"}),
        event_identity("d", "ended", "", {"a": "1"}),
    }
    assert len(ids) == 6


# --- times ---------------------------------------------------------------------------------------------------------


@given(whole_milliseconds, zones)
def test_a_time_is_written_in_utc_with_milliseconds(when: datetime, zone: timezone) -> None:
    text = timestamp(when.astimezone(zone))
    assert text == when.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{when.microsecond // 1000:03}Z"
    assert moment(text) == when


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T09:15:30Z", "2026-11-20T09:15:30.000Z"),
        ("2026-11-20T09:15:30.204999+01:00", "2026-11-20T08:15:30.204Z"),
        ("2026-01-01 00:00:00-03:00", "2026-01-01T03:00:00.000Z"),
    ],
)
def test_a_time_is_read_in_every_form_that_has_an_offset(text: str, expected: str) -> None:
    assert timestamp(moment(text)) == expected
    assert moment(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "now", "2026-11-20T09:15:30", "2026-11-20", "9999-12-31T23:59:59-23:59"])
def test_what_is_no_moment_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(text)
