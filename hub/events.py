"""Canonical events: their identity, their names, their wire form. Pure.

Source: docs/events.md. An event is CloudEvents 1.0 in binary mode: the body is the data as JSON, the attributes are
headers. Times are aware UTC datetimes in memory and RFC 3339 with milliseconds on the wire.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from hub.errors import Undecodable

NAMESPACE: Final = UUID("7cf7fa49-a8d2-4840-8bc6-0e07ae7289fa")
EXCHANGE: Final = "trunkline.events"
UNROUTED: Final = "trunkline.unrouted"
COMMANDS: Final = "trunkline.commands"
APP_ID: Final = "trunkline"
JSON: Final = "application/json"

REPLAY: Final = "x-trunkline-replay"
"""The header of an event that an operator published again; its value is ``ONCE`` or ``AGAIN``."""

ONCE: Final = "1"
"""Only for those who have not had their effect for it."""

AGAIN: Final = "again"
"""Also for those who have."""


def identity(*parts: str) -> str:
    """The UUIDv5 of the compact JSON array of ``parts``: how a call is named after what the vendor calls it."""
    return str(uuid5(NAMESPACE, orjson.dumps(parts).decode()))


def event_identity(call_id: str, event: str, leg: str, content: Any) -> str:
    """The id of a call's event: the same for every repetition of the same content, in whatever encoding it came.

    Args:
        call_id: the call.
        event: the verb, for instance ``ended``.
        leg: what tells this leg's event from another leg's; empty where the event is of the whole call.
        content: the decoded content, plain JSON types, without the time of receipt.
    """
    digest = sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return identity(call_id, event, leg, digest)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-20T09:15:30.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"  # half the time of strftime


def moment(text: str) -> datetime:
    """The inverse of :func:`timestamp`; accepts every RFC 3339 form with an offset. Raises ValueError otherwise."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    if not _FIRST_YEAR <= parsed.year <= _LAST_YEAR:
        raise ValueError(f"{text!r} is at the end of the calendar, where databases have their infinities")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None


@dataclass(frozen=True)
class Event:
    """One fact about a call, a recording, a query, a dial… as everybody downstream sees it.

    Attributes:
        id: ``ce-id``, a UUID; what consumers deduplicate on.
        noun: ``call``, ``recording``…
        vendor: ``infocaller``, ``focalscope``…
        verb: ``started``, ``sealed``…
        source: name of the configured vendor connection.
        time: ``occurred_at`` where the vendor stated it, else the time of receipt.
        data: the body, plain JSON types.
        subject: the call's id, where there is a call.
        traceparent: W3C trace context, where tracing is on.
        unknown: ``field``, ``code`` or ``value``, for each thing in a callback that its vendor's pages do not name; it
            is in the data, and counted by the ingress. Not on the wire.
        again: an operator wants its effect once more, though it may have been had. Of this delivery, not of the event.
    """

    id: str
    noun: str
    vendor: str
    verb: str
    source: str
    time: datetime
    data: dict[str, Any]
    subject: str | None = None
    traceparent: str | None = field(default=None, compare=False)
    unknown: tuple[str, ...] = field(default=(), compare=False)
    again: bool = field(default=False, compare=False)

    @property
    def routing_key(self) -> str:
        """``<noun>.<vendor>.<verb>``: exactly three words, frozen."""
        return f"{self.noun}.{self.vendor}.{self.verb}"

    @property
    def type(self) -> str:
        """The short type, ``call.ended``: AMQP's ``type`` and the webhook's."""
        return f"{self.noun}.{self.verb}"

    @cached_property
    def body(self) -> bytes:
        """The data as JSON."""
        return orjson.dumps(self.data)


@dataclass(frozen=True, slots=True)
class Message:
    """An event as the bus carries it: three words to route by, text headers, and the JSON body."""

    routing_key: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """``ce-id``, or an empty string on a stranger's message."""
        return self.headers.get("ce-id", "")


def to_message(event: Event) -> Message:
    """The wire form of an event."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event.id,
        "ce-source": f"/{event.vendor}/{event.source}",
        "ce-type": f"trunkline.{event.noun}.{event.verb}.v1",
        "ce-time": timestamp(event.time),
    }
    if event.subject is not None:
        headers["ce-subject"] = event.subject
    if event.traceparent is not None:
        headers["traceparent"] = event.traceparent
    return Message(event.routing_key, headers, event.body)


_FIRST_YEAR, _LAST_YEAR = 2, 9998
_LONGEST_ID: Final = 255  # ours are UUIDs; a stranger's event may be called anything
_TYPE: Final = re.compile(r"trunkline\.([a-z0-9_]+)\.([a-z0-9_]+)\.v1")
_SOURCE: Final = re.compile(r"/([a-z0-9_]+)/(.+)")


def to_event(message: Message) -> Event:
    """The event in a message.

    Raises:
        Undecodable: a header is missing or malformed, or the body is not a JSON object; the message names which.
    """
    headers = message.headers
    try:
        version = headers["ce-specversion"]
        kind = _TYPE.fullmatch(headers["ce-type"])
        origin = _SOURCE.fullmatch(headers["ce-source"])
        time = moment(headers["ce-time"])
        event_id = headers["ce-id"]
    except KeyError as missing:
        raise Undecodable(f"no header {missing.args[0]}, which every event has") from None
    except ValueError as error:
        raise Undecodable(f"a header is not of its form: {error}") from None
    if not 0 < len(event_id) <= _LONGEST_ID:
        raise Undecodable(f"ce-id has {len(event_id)} characters, expected 1 to {_LONGEST_ID}")
    if version != "1.0":
        raise Undecodable(f"ce-specversion is {version!r}, expected 1.0")
    if kind is None:
        raise Undecodable(f"ce-type is {headers['ce-type']!r}, expected trunkline.<noun>.<verb>.v1")
    if origin is None:
        raise Undecodable(f"ce-source is {headers['ce-source']!r}, expected /<vendor>/<source>")
    try:
        data = orjson.loads(message.body)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Undecodable(f"the body is a JSON {type(data).__name__}, expected an object")
    return Event(
        id=event_id,
        noun=kind[1],
        vendor=origin[1],
        verb=kind[2],
        source=origin[2],
        time=time,
        data=data,
        subject=headers.get("ce-subject"),
        traceparent=headers.get("traceparent"),
        again=headers.get(REPLAY) == AGAIN,
    )
