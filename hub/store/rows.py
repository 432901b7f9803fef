"""Between events, records and rows. Pure."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import phonenumbers
from sqlalchemy import Row

from hub.calls import applies, key
from hub.calls.facts import asked_for, received_at
from hub.events import Event, Message, moment, timestamp, to_message
from hub.ports import Stored
from hub.store.failures import BadData, bad_data

# Characters. E.164 has fifteen digits; what is longer is nobody's number and bursts an index.
LONGEST_NUMBER: Final = 40
_ORNAMENTS: Final = str.maketrans("", "", " +-./()")


def fit(event: Event) -> None:
    """Raises BadData where a text beside the data has a NUL: PostgreSQL keeps none, and SQLite would cut it there.

    In the data it is escaped, and kept by both.
    """
    texts = (event.id, event.routing_key, event.source, event.subject, event.traceparent)
    folded = key(event) if applies(event) else ""
    if "\0" in "".join([*filter(None, texts), folded]):
        raise BadData("a NUL (0x00) in its id, type, source, subject, call or trace: no text that can be kept")


def event_row(event: Event, now: datetime) -> dict[str, Any]:
    """What is kept of an event. Raises BadData where its data are no JSON."""
    folds = applies(event)
    try:
        data = event.body.decode()
    except TypeError as error:
        raise bad_data(error) from error
    return {
        "id": event.id,
        "routing_key": event.routing_key,
        "source": event.source,
        "subject": event.subject,
        "call_id": key(event) if folds else event.subject,
        "folds": folds,
        "time": event.time,
        "kept_at": now,
        "traceparent": event.traceparent,
        "data": data,
        "asked": asked_for(event),
    }


def event_of(row: Row[Any]) -> Event:
    """The inverse of :func:`event_row`."""
    noun, vendor, verb = row.routing_key.split(".")
    return Event(
        id=row.id,
        noun=noun,
        vendor=vendor,
        verb=verb,
        source=row.source,
        time=row.time,
        data=orjson.loads(row.data),
        subject=row.subject,
        traceparent=row.traceparent,
    )


def stored_of(row: Row[Any]) -> Stored:
    """A kept event as it was published, its data byte for byte."""
    message = Message(row.routing_key, to_message(event_of(row)).headers, row.data.encode())
    return Stored(row.seq, message, row.call_id, row.kept_at)


def event_item(row: Row[Any]) -> bytes:
    """An event as readers see it: ``{"id","type","source","time","subject","data"}``, its data byte for byte."""
    noun, vendor, verb = row.routing_key.split(".")
    return orjson.dumps(
        {
            "id": row.id,
            "type": f"trunkline.{noun}.{verb}.v1",
            "source": f"/{vendor}/{row.source}",
            "time": timestamp(row.time),
            "subject": row.subject,
            "data": orjson.Fragment(row.data),
        }
    )


def outbox_row(event: Event) -> dict[str, Any]:
    """A derived event that waits to be published."""
    message = to_message(event)
    return {
        "event_id": event.id,
        "routing_key": message.routing_key,
        "headers": orjson.dumps(message.headers).decode(),
        "body": message.body.decode(),
    }


def message_of(row: Row[Any]) -> Message:
    """The inverse of :func:`outbox_row`."""
    return Message(row.routing_key, orjson.loads(row.headers), row.body.encode())


def started_at(record: dict[str, Any], events: Iterable[Event]) -> datetime:
    """When the call started: as its record says, else when the first of its events was received."""
    stated = record.get("started_at")
    if isinstance(stated, str):
        return moment(stated)
    return min(map(received_at, events))


def numbers(record: dict[str, Any]) -> frozenset[str]:
    """What a call is found by: the numbers of its parties and legs, as they were sent, as E.164, and national."""
    parties = [record.get("caller"), record.get("line"), record.get("callee"), *record.get("legs", ())]
    spelled = [party.get(name) for party in parties if party for name in ("number", "e164")]
    stated = (party["e164"] for party in parties if party and isinstance(party.get("e164"), str))
    plain = {searchable(number) for number in (*spelled, *map(national, stated)) if isinstance(number, str)}
    return frozenset(number for number in plain if 0 < len(number) <= LONGEST_NUMBER and "\0" not in number)


@lru_cache(maxsize=4096)
def national(e164: str) -> str | None:
    """The number as one dials it in its own country; None where it is of none."""
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(e164))
    except phonenumbers.NumberParseException:
        return None


def searchable(number: str) -> str:
    """A number without plus and ornaments: one spelling for what is stored and for what is asked for."""
    return "".join(number.translate(_ORNAMENTS).split())
