"""Messages as AMQP carries them: CloudEvents 1.0 in binary mode, and the headers that a parked or dead copy adds.

A copy keeps the body and the headers of what it is a copy of; what the hub adds begins with ``x-trunkline-``:
``attempt``, ``reason``, ``routing-key`` (what it was published with), ``not-before`` (Unix milliseconds), ``died-at``
(Unix microseconds: it orders the dead letters), ``history`` (the failed attempts, as JSON ``[[Unix milliseconds,
reason], …]``), ``returned`` (1: it was taken for a suspect once, so dead it stays), ``probe`` (no event at all: whoever
gets it acknowledges it); in the held queues of ordered ones ``place`` (in its call's line), ``copy`` (tells it from
other copies), and ``baton`` (no event either: ``hub.bus.turn``); of a command its ``command``, which is its
name. Where a queue is ordered, every event has ``trunkline-slot`` too (``hub.bus.slots``). One more is the message's
own, and its consumers': ``hub.events.REPLAY``.
"""

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

import orjson
import pamqp.frame
from aiormq.abc import DeliveredMessage
from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.common import FieldValue
from pamqp.header import ContentHeader

from hub.bus.slots import SLOT, SLOTS, slot
from hub.events import APP_ID, COMMANDS, EXCHANGE, JSON, REPLAY, Message, moment
from hub.ports import HISTORY as REMEMBERED, HISTORY_REASON, Dead, Failure

ATTEMPT: Final = "x-trunkline-attempt"
REASON: Final = "x-trunkline-reason"
ROUTING_KEY: Final = "x-trunkline-routing-key"
NOT_BEFORE: Final = "x-trunkline-not-before"
DIED_AT: Final = "x-trunkline-died-at"
HISTORY: Final = "x-trunkline-history"
RETURNED: Final = "x-trunkline-returned"
PROBE: Final = "x-trunkline-probe"
PLACE: Final = "x-trunkline-place"
COPY: Final = "x-trunkline-copy"
BATON: Final = "x-trunkline-baton"
COMMAND: Final = "x-trunkline-command"
DELIVERY_LIMIT: Final = "delivery_limit"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999
_MILLISECONDS, _MICROSECONDS = 1_000, 1_000_000
_LONGEST_REASON: Final = 1000  # a header does not span frames

# The broker's own notes. Republished they mislead it: x-death makes 3.x see a cycle and drop, CC and BCC route again.
_BOOKKEEPING: Final = frozenset({"x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"})
_BOOKKEEPING_PREFIXES: Final = ("x-first-death-", "x-last-death-")


# --- to the broker ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publication:
    """An event, or a command, on its way to its exchange.

    Its frames are put together here and not by pamqp, which takes 32 µs for them where this takes 4: on the path that
    every callback waits for. ``properties`` says the same in pamqp's words, and a test holds the two together.
    """

    id: str
    message: Message
    slot: int | None = None
    exchange: str = EXCHANGE

    @property
    def routing_key(self) -> str:
        """What the exchange routes by."""
        return self.message.routing_key

    def properties(self) -> spec.Basic.Properties:
        """The AMQP properties: docs/events.md."""
        headers = self.message.headers
        kind = headers.get("ce-type")
        when = _time(headers.get("ce-time"))
        return spec.Basic.Properties(
            content_type=JSON,
            headers=dict[str, FieldValue](headers if self.slot is None else {**headers, SLOT: str(self.slot)}),
            delivery_mode=2,
            correlation_id=headers.get("ce-subject"),
            message_id=self.id,
            timestamp=None if when is None else datetime.fromtimestamp(when, UTC),
            message_type=None if kind is None else _short_type(kind),
            app_id=APP_ID,
        )

    def marshal(self, channel: int, frame_size: int) -> bytes:
        """The frames of a mandatory Basic.Publish, with bodies of at most ``frame_size`` bytes each."""
        headers, body = self.message.headers, self.message.body
        flags = _ALWAYS
        table = b"".join([_short(key) + b"S" + _long(value) for key, value in headers.items()])
        if self.slot is not None:
            table += _SLOT_FIELDS[self.slot]
        fields = [_short(JSON), _LENGTH.pack(len(table)), table, b"\x02"]
        if "ce-subject" in headers:
            flags |= _CORRELATION_ID
            fields.append(_short(headers["ce-subject"]))
        fields.append(_short(self.id))
        if (when := _time(headers.get("ce-time"))) is not None:
            flags |= _TIMESTAMP
            fields.append(_SIZE.pack(when))
        if "ce-type" in headers:
            flags |= _TYPE
            fields.append(_short(_short_type(headers["ce-type"])))
        fields.append(_short(APP_ID))
        header = _HEADER.pack(60, 0, len(body), flags) + b"".join(fields)
        frames = [_publish_frame(channel, self.exchange, self.routing_key), _frame(2, channel, header)]
        frames += [_frame(3, channel, body[at : at + frame_size]) for at in range(0, len(body), frame_size)]
        return b"".join(frames)


@dataclass(frozen=True, slots=True)
class Copy:
    """A delivery on its way to another queue, through the default exchange."""

    id: str
    routing_key: str
    properties: spec.Basic.Properties
    body: bytes

    def marshal(self, channel: int, frame_size: int) -> bytes:
        """The frames of a mandatory Basic.Publish, with bodies of at most ``frame_size`` bytes each."""
        header = ContentHeader(properties=self.properties, body_size=len(self.body))
        bodies = [self.body[at : at + frame_size] for at in range(0, len(self.body), frame_size)]
        return b"".join(
            [
                _publish_frame(channel, "", self.routing_key),
                pamqp.frame.marshal(header, channel),
                *(pamqp.frame.marshal(ContentBody(body), channel) for body in bodies),
            ]
        )


Letter = Publication | Copy


def probe(queue: str) -> Copy:
    """A message that is no event, for a queue."""
    name = f"probe.{uuid4().hex}"
    return Copy(name, queue, spec.Basic.Properties(headers={PROBE: 1}, delivery_mode=1, message_id=name), b"")


def publication(message: Message, *, slotted: bool = False, exchange: str = EXCHANGE) -> Publication:
    """An event for an exchange. ``message_id`` is the event's id; a return is told by it, so every message has one.

    Args:
        message: the event.
        slotted: whether it says its slot, for the ordered queues.
        exchange: which.
    """
    return Publication(message.id or uuid4().hex, message, slot(message) if slotted else None, exchange)


def baton(queue: str, name: str) -> Copy:
    """What tells a consumer of a held queue that it is its turn; no event."""
    return Copy(name, queue, spec.Basic.Properties(headers={BATON: name}, delivery_mode=2, message_id=name), b"")


def straight(message: Message, queue: str, *, slotted: bool = False) -> Copy:
    """An event for one queue, past the exchange; ``slotted`` as in ``publication``."""
    letter = publication(message, slotted=slotted)
    properties = letter.properties()
    properties.headers = {**(properties.headers or {}), ROUTING_KEY: message.routing_key}
    return Copy(letter.id, queue, properties, message.body)


def given_up(letter: Dead, queue: str, *, slotted: bool = False) -> Copy:
    """A message for the dead letters that nobody has in hand; ``slotted`` as in ``publication``."""
    copy = straight(letter.message, queue, slotted=slotted)
    notes: dict[str, FieldValue] = {
        ATTEMPT: letter.attempt,
        REASON: letter.reason[:_LONGEST_REASON],
        DIED_AT: microseconds(letter.died_at),
    }
    if letter.history:
        past = [(microseconds(one.at) // 1000, one.reason[:HISTORY_REASON]) for one in letter.history]
        notes[HISTORY] = orjson.dumps(past[-REMEMBERED:]).decode()
    copy.properties.headers = {**(copy.properties.headers or {}), **notes}
    return copy


# --- from the broker -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the broker handed it over."""

    message: Message
    headers: Mapping[str, Any]
    properties: spec.Basic.Properties

    @property
    def attempt(self) -> int:
        """1 where the hub has not counted yet. The broker's own counts mean something else in each of its versions."""
        attempt = self.headers.get(ATTEMPT)
        return attempt if isinstance(attempt, int) else 1

    @property
    def returns(self) -> int:
        """How often the broker took it back from a consumer; 0 where it does not say."""
        count = self.headers.get("x-delivery-count")
        return count if isinstance(count, int) else 0

    @property
    def is_probe(self) -> bool:
        """Whether it says nothing but that it has arrived."""
        return PROBE in self.headers

    @property
    def is_bystander(self) -> bool:
        """Whether the broker buried it, at the delivery limit, and nobody has looked yet whether it was the cause."""
        return DIED_AT not in self.headers and RETURNED not in self.headers

    @property
    def waits(self) -> float:
        """Seconds for which it came too early; zero or less when it did not."""
        until = self.headers.get(NOT_BEFORE)
        return until / 1000 - time.time() if isinstance(until, int) else 0.0

    @property
    def not_before(self) -> float:
        """Unix time before which it must not be handled; 0 where it may be at once."""
        until = self.headers.get(NOT_BEFORE)
        return until / 1000 if isinstance(until, int) else 0.0

    @property
    def place(self) -> int:
        """Where it stands in its call's line among those that are held; 0 where it is not."""
        place = self.headers.get(PLACE)
        return place if isinstance(place, int) else 0

    @property
    def suspected(self) -> int:
        """How often it was handed over as a suspect, and nobody has survived it yet."""
        times = self.headers.get(RETURNED)
        return times if isinstance(times, int) else 0

    @property
    def reason(self) -> str:
        """Why it died. A dead letter that the hub did not write was put there by the broker, at the delivery limit."""
        reason = self.headers.get(REASON)
        return reason if DIED_AT in self.headers and isinstance(reason, str) else DELIVERY_LIMIT

    @property
    def died_at(self) -> datetime:
        """When it died: by the hub's note, else by the broker's, else when it was published."""
        noted = _noted(self.headers.get(DIED_AT), _MICROSECONDS)
        candidates = (noted, _last_death(self.headers).get("time"), self.properties.timestamp)
        when = next((one for one in candidates if isinstance(one, datetime)), datetime.fromtimestamp(0, UTC))
        return when.astimezone(UTC)

    @property
    def history(self) -> tuple[Failure, ...]:
        """Its failed attempts, oldest first."""
        return tuple(
            Failure(at, reason) for ms, reason in self._remembered() if (at := _noted(ms, _MILLISECONDS)) is not None
        )

    def dead(self) -> Dead:
        """It as a dead letter; its place among the others is when it died."""
        letter = Dead(self.message, self.reason, self.attempt, self.died_at, self.history)
        return replace(letter, cursor=f"{microseconds(letter.died_at)}.{letter.id}")

    def _remembered(self) -> list[tuple[int, str]]:
        try:
            noted = orjson.loads(self.headers.get(HISTORY) or "[]")
            return [(at, str(reason)) for at, reason in noted]
        except (TypeError, ValueError):  # not as we write it: a stranger's
            return []

    def copy(self, queue: str, notes: Mapping[str, FieldValue], without: Sequence[str] = ()) -> Copy:
        """The same message for another queue, with ``notes`` beside its headers."""
        given = self.properties
        left = {key: value for key, value in self.headers.items() if key not in without}
        headers = {key: value for key, value in left.items() if not _is_bookkeeping(key)}
        headers |= {ROUTING_KEY: self.message.routing_key, **notes}
        if self.message.id and headers.get("ce-id") != self.message.id:
            headers[COMMAND] = self.message.id
        properties = spec.Basic.Properties(  # without expiration and user_id: they would bind us, not its sender
            content_type=given.content_type,
            content_encoding=given.content_encoding,
            headers=headers,
            delivery_mode=2,
            correlation_id=given.correlation_id,
            reply_to=given.reply_to,
            message_id=given.message_id or self.message.id or uuid4().hex,
            timestamp=given.timestamp,
            message_type=given.message_type,
            app_id=given.app_id,
        )
        return Copy(str(properties.message_id), queue, properties, self.message.body)

    def parked(self, queue: str, attempt: int, reason: str, not_before: float | None) -> Copy:
        """A copy for a retry queue; ``not_before`` (Unix time) where the queue's delay is shorter than was asked."""
        notes: dict[str, FieldValue] = {ATTEMPT: attempt, REASON: reason[:_LONGEST_REASON]}
        done = (RETURNED,) if not_before is not None else (RETURNED, NOT_BEFORE)  # whoever parks it has survived it
        if not_before is not None:
            notes[NOT_BEFORE] = int(not_before * 1000)
        if attempt > self.attempt:
            failed = [*self._remembered(), (int(time.time() * 1000), reason[:HISTORY_REASON])]
            notes[HISTORY] = orjson.dumps(failed[-REMEMBERED:]).decode()
        return self.copy(queue, notes, without=done)

    def isolated(self, queue: str) -> Copy:
        """A copy for the suspects."""
        return self.copy(queue, {RETURNED: 1})

    def held(self, queue: str, attempt: int, reason: str, not_before: float, more: Mapping[str, FieldValue]) -> Copy:
        """A copy for a held queue, with ``more`` notes; ``not_before`` is a Unix time, or 0."""
        parked = self.parked(queue, attempt, reason, not_before or None)
        parked.properties.headers = {**(parked.properties.headers or {}), **more}
        return parked

    def revived(self, queue: str) -> Copy:
        """A copy for its work queue, as the first attempt."""
        return self.copy(queue, {}, without=(ATTEMPT, REASON, NOT_BEFORE, DIED_AT, HISTORY, RETURNED, PLACE, COPY))

    def buried(self, queue: str, reason: str) -> Copy:
        """A copy for the dead letters."""
        died_at = microseconds(datetime.now(UTC))
        return self.copy(queue, {ATTEMPT: self.attempt, REASON: reason[:_LONGEST_REASON], DIED_AT: died_at})


def received(delivered: DeliveredMessage) -> Received:
    """A message from the broker. Never raises: a stranger's message is for the worker to judge."""
    properties = delivered.header.properties
    headers: Mapping[str, Any] = properties.headers or {}
    text = {key: value for key, value in headers.items() if isinstance(value, str) and not _is_note(key)}
    if name := _command(delivered):  # whatever else its publisher calls it
        text["ce-id"] = name
    routing_key = headers.get(ROUTING_KEY) or _first_key(_last_death(headers)) or delivered.routing_key or ""
    return Received(Message(str(routing_key), text, delivered.body), headers, properties)


def microseconds(moment: datetime) -> int:
    """Unix microseconds, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _noted(at: object, unit: int) -> datetime | None:
    """A time as the hub notes it, in parts of a second; None where a stranger wrote something else."""
    if not isinstance(at, int) or not 0 <= at < _LAST_SECOND * unit:
        return None
    return _EPOCH + timedelta(microseconds=at * _MICROSECONDS // unit)


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    deaths = headers.get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}


def _command(delivered: DeliveredMessage) -> str | None:
    """The name of a command, which is no event: its ``message_id``, where it came by their exchange."""
    properties = delivered.header.properties
    headers: Mapping[str, Any] = properties.headers or {}
    noted = headers.get(COMMAND)
    if isinstance(noted, str):
        return noted
    came_by = delivered.exchange or _last_death(headers).get("exchange")
    return properties.message_id if came_by == COMMANDS else None


def _first_key(death: Mapping[str, Any]) -> str | None:
    keys = death.get("routing-keys")
    return keys[0] if isinstance(keys, Sequence) and keys and isinstance(keys[0], str) else None


def _is_note(header: str) -> bool:
    """Whether it is of the message's way, the hub's or the broker's, and not of the message."""
    ours = header == SLOT or (header.startswith("x-trunkline-") and header != REPLAY)
    return ours or _is_bookkeeping(header)


def _is_bookkeeping(header: str) -> bool:
    return header in _BOOKKEEPING or header.startswith(_BOOKKEEPING_PREFIXES)


# --- frames: AMQP 0-9-1, sections 2.3 and 4.2 ------------------------------------------------------------------------

_FRAME: Final = struct.Struct(">BHI")  # type, channel, size
_HEADER: Final = struct.Struct(">HHQH")  # class, weight, body size, property flags
_LENGTH: Final = struct.Struct(">I")
_SIZE: Final = struct.Struct(">Q")
_BASIC_PUBLISH: Final = struct.pack(">HHH", 60, 40, 0)
_MANDATORY: Final = b"\x01"
_END: Final = b"\xce"
_ALWAYS: Final = 0b1011000010001000  # content type, headers, delivery mode, message id, app id
_CORRELATION_ID: Final = 1 << 10
_TIMESTAMP: Final = 1 << 6
_TYPE: Final = 1 << 5


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END


@lru_cache(maxsize=1024)
def _publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    return _frame(1, channel, _BASIC_PUBLISH + _short(exchange) + _short(routing_key) + _MANDATORY)


def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw  # ValueError where it is too long


def _long(text: str) -> bytes:
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw


_SLOT_FIELDS: Final = tuple(_short(SLOT) + b"S" + _long(str(number)) for number in range(SLOTS))


@lru_cache(maxsize=256)
def _short_type(kind: str) -> str:
    """``call.ended`` of ``trunkline.call.ended.v1``."""
    return kind.removeprefix("trunkline.").removesuffix(".v1")


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(moment(text).timestamp())
    except ValueError:
        return None
