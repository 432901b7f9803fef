"""Promises of hub/bus/wire.py: our own frames say what pamqp's say, and a copy is the message again."""

from datetime import UTC, datetime
from typing import Any

import pamqp.frame
import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import given, strategies as st
from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from hub.bus.slots import SLOTS, slot
from hub.bus.wire import Publication, Received, publication, received
from hub.events import EXCHANGE, Event, Message, to_message

NOW = datetime(2026, 11, 20, 9, 15, 30, 204_000, tzinfo=UTC)
EVENT = Event(
    "9f6e1b2c-1111-5111-8111-aabbccddeeff", "call", "infocaller", "ended", "line-900", NOW, {"a": 1}, "the-call"
)

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
keys = st.text(st.characters(codec="ascii"), min_size=1, max_size=100)
headers = st.dictionaries(keys, st.text(st.characters(codec="utf-8"), max_size=400), max_size=8)
extras = st.fixed_dictionaries(
    {},
    optional={
        "ce-id": names,
        "ce-subject": names,
        "ce-type": st.one_of(names, st.just("trunkline.call.ended.v1")),
        "ce-time": st.one_of(names, st.just("2026-11-20T09:15:30.204Z")),
    },
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    table = draw(headers) | draw(extras)
    in_order = dict(sorted(table.items()))  # as pamqp writes it; AMQP gives the order no meaning
    return Message(draw(names), in_order, draw(st.binary(max_size=3000)))


def by_pamqp(letter: Publication, channel: int, frame_size: int) -> bytes:
    body = letter.message.body
    frames: list[Any] = [
        spec.Basic.Publish(exchange=EXCHANGE, routing_key=letter.routing_key, mandatory=True),
        ContentHeader(properties=letter.properties(), body_size=len(body)),
        *(ContentBody(body[at : at + frame_size]) for at in range(0, len(body), frame_size)),
    ]
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in frames)


@given(messages(), st.integers(1, 65_535), st.sampled_from([100, 1000, 131_064]))
def test_our_frames_are_pamqps_frames_byte_for_byte(message: Message, channel: int, frame_size: int) -> None:
    letter = publication(message)
    assert letter.marshal(channel, frame_size) == by_pamqp(letter, channel, frame_size)


def test_where_queues_are_ordered_an_event_says_the_slot_of_its_call_and_its_receiver_does_not_see_it() -> None:
    message = to_message(EVENT)
    in_order = Message(message.routing_key, dict(sorted(message.headers.items())), message.body)
    letter = publication(in_order, slotted=True)
    assert letter.marshal(7, 1000) == by_pamqp(letter, 7, 1000)
    assert letter.properties().headers == {**in_order.headers, "trunkline-slot": str(slot(in_order))}
    header = ContentHeader(properties=letter.properties(), body_size=len(message.body))
    deliver = spec.Basic.Deliver("consumer", 1, False, "trunkline.events", message.routing_key)
    assert received(DeliveredMessage(deliver, header, message.body, None)).message == message  # type: ignore[arg-type]


def test_the_events_of_a_call_share_a_slot_and_calls_are_spread() -> None:
    def of(call: str, event: str) -> int:
        return slot(Message("a.b.c", {"ce-subject": call, "ce-id": event}, b""))

    assert {of("one", str(n)) for n in range(50)} == {of("one", "x")}
    assert {of(str(n), "x") for n in range(200)} == set(range(SLOTS))
    assert {slot(Message("a.b.c", {"ce-id": str(n)}, b"")) for n in range(200)} == set(range(SLOTS))


def test_an_event_is_cloudevents_in_binary_mode() -> None:
    properties = publication(to_message(EVENT)).properties()
    assert properties.headers == {
        "ce-specversion": "1.0",
        "ce-id": EVENT.id,
        "ce-source": "/infocaller/line-900",
        "ce-type": "trunkline.call.ended.v1",
        "ce-time": "2026-11-20T09:15:30.204Z",
        "ce-subject": "the-call",
    }
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.message_id == EVENT.id
    assert properties.message_type == "call.ended"
    assert properties.correlation_id == "the-call"
    assert properties.timestamp == NOW.replace(microsecond=0)
    assert properties.app_id == "trunkline"


def test_a_message_without_an_id_gets_one_since_returns_are_told_by_it() -> None:
    stranger = Message("call.x.y", {}, b"")
    assert publication(stranger).id
    assert publication(stranger).id != publication(stranger).id


def test_a_name_too_long_for_amqp_is_an_error_of_that_message() -> None:
    with pytest.raises(ValueError, match="range"):
        publication(Message("x" * 256, {}, b"")).marshal(1, 1000)


def test_a_copy_leaves_out_what_would_bind_or_mislead_the_broker() -> None:
    given = spec.Basic.Properties(
        message_id="m", user_id="guest", expiration="1000", correlation_id="c", content_type="text/xml", priority=3
    )
    headers = {"mine": "kept", "number": 7, "x-death": [{"queue": "q"}], "CC": ["elsewhere"], "x-delivery-count": 3}
    headers |= {"x-first-death-queue": "q", "x-last-death-queue": "q"}
    copy = Received(Message("call.a.b", {}, b"body"), headers, given).parked("q.retry.5s", 1, "why", None)
    assert copy.properties.headers == {
        "mine": "kept",
        "number": 7,
        "x-trunkline-attempt": 1,
        "x-trunkline-reason": "why",
        "x-trunkline-routing-key": "call.a.b",
    }
    assert (copy.properties.user_id, copy.properties.expiration, copy.properties.priority) == (None, None, None)
    assert (copy.properties.message_id, copy.properties.correlation_id, copy.body) == ("m", "c", b"body")
    assert copy.properties.content_type == "text/xml"
    assert copy.properties.delivery_mode == 2
