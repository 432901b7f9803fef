"""INFOCU5's call records, decoded: a polled record becomes one event. Pure.

Source: docs/vendors.md, chapter 3. The vendor calls nobody back: what ``getCalls`` answers is all that is known of a
call. Reading is total: whatever a record holds, it becomes an event as long as it names its call.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import orjson

from hub.events import Event, event_identity, identity, moment, timestamp
from hub.vendors.infocu5.card import is_card
from hub.vendors.values import phone

VENDOR: Final = "infocu5"
Origin = Literal["poll", "backfill"]

FIELDS: Final = frozenset(
    {
        *("callID", "callDate", "callCampaignID", "callCampaignName", "callListID", "callListName", "callAgentName"),
        *("callContact", "callType", "callNumberInbound", "callNumberOutbound", "callTime", "callQueueTime"),
        *("callTalkTime", "callHoldTime", "callHandleTime", "callAfterCallWorkTime"),
    }
)
"""Every field that the vendor's page names."""

_DIRECTIONS: Final[Mapping[str, str]] = {"inbound": "inbound", "outbound": "outbound"}
_TIMES: Final[Mapping[str, str]] = {
    "queue_seconds": "callQueueTime",
    "talk_seconds": "callTalkTime",
    "hold_seconds": "callHoldTime",
    "handle_seconds": "callHandleTime",
    "after_call_seconds": "callAfterCallWorkTime",
}
_DURATION: Final = re.compile(r"(\d{1,4}):([0-5]?\d):([0-5]?\d)", re.ASCII)
_LONGEST_ID: Final = 255
_LONGEST_DATE: Final = 64
_DEEPEST: Final = 16
_LAST_YEAR: Final = 9998  # where databases have their infinities


@dataclass(frozen=True, slots=True)
class Record:
    """A call as the vendor has it.

    Attributes:
        call_id: the vendor's, as text.
        fields: all that was sent, ``callID`` among them whichever shape it came in.
    """

    call_id: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer holds: records, and for each thing that is none, why."""

    records: tuple[Record, ...]
    unreadable: tuple[str, ...]


def read_calls(details: Any) -> Found:
    """The records in ``responseDetails``: an object by call id, or an array with the id inside; nothing is no record.

    The page's text has the one and its sample the other. PHP writes an empty object as an empty array.
    """
    if details is None:
        return Found((), ())
    if isinstance(details, Mapping):
        entries = [(None, details)] if _is_record(details) else [(str(key), value) for key, value in details.items()]
    elif isinstance(details, list):
        entries = [(None, value) for value in details]
    else:
        return Found((), (f"responseDetails is a JSON {type(details).__name__}; expected an object or an array",))
    records, unreadable = [], []
    for key, value in entries:
        record = _record(key, value)
        if isinstance(record, Record):
            records.append(record)
        else:
            unreadable.append(record)
    return Found(tuple(records), tuple(unreadable))


def _is_record(details: Mapping[Any, Any]) -> bool:
    """One record that lost its array; an object by call id holds objects."""
    return "callID" in details and not isinstance(details["callID"], Mapping)


def _record(key: str | None, value: Any) -> Record | str:
    """A record, or why it is none."""
    if not isinstance(value, Mapping):
        return f"a record is a JSON {type(value).__name__}; expected an object"
    fields = _kept(value)
    call_id = _text(fields.get("callID")) if key is None else _text(_kept(key))
    if not 0 < len(call_id) <= _LONGEST_ID:
        return f"a record has a callID of {len(call_id)} characters; expected 1 to {_LONGEST_ID}"
    return Record(call_id, {**fields, "callID": call_id})


def _kept(value: Any, depth: int = 0) -> Any:
    """A value as it can be kept: plain JSON, no NUL, no half characters, and nowhere a payment card's number."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        if depth >= _DEEPEST:
            return None
        return {_kept(str(name)): _kept(item, depth + 1) for name, item in value.items() if not is_card(str(name))}
    if isinstance(value, list | tuple):
        return [_kept(item, depth + 1) for item in value] if depth < _DEEPEST else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        return str(value)
    return value


def _text(value: Any) -> str:
    """A field as text: some servers write numbers without their quotes."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()


class Reader:
    """The records of one INFOCU5 source as events.

    Args:
        source: name of the configured vendor connection.
        country: two letters; national numbers are read with it.
        inbound_is: which side ``callNumberInbound`` is: who the call came ``from``, or where it went ``to``. The page
            does not say.
    """

    def __init__(self, *, source: str, country: str = "US", inbound_is: Literal["from", "to"] = "from") -> None:
        self._source = source
        self._country = country.upper()
        inbound, outbound = "callNumberInbound", "callNumberOutbound"
        self._from, self._to = (inbound, outbound) if inbound_is == "from" else (outbound, inbound)

    def event(self, record: Record, origin: Origin, received_at: datetime) -> Event:
        """The one event of a record.

        Its id is the same for the same content, whoever asked and in whichever shape it came; a record that changed
        is another event.
        """
        fields = record.fields
        call_id = identity(VENDOR, self._source, record.call_id)
        started, seconds = _moment(_text(fields.get("callDate"))), _seconds(fields.get("callTime"))
        ended = _end(started, seconds)
        occurred = ended or started
        data = {
            "call_id": call_id,
            "vendor": VENDOR,
            "source": self._source,
            "event": "ended",
            "origin": origin,
            "occurred_at": timestamp(occurred) if occurred else None,
            "received_at": timestamp(received_at),
            **self._parties(fields),
            "agent": _named(_text(fields.get("callAgentName"))),
            "campaign": _text(fields.get("callCampaignName")) or _text(fields.get("callCampaignID")) or None,
            "list": _text(fields.get("callListName")) or _text(fields.get("callListID")) or None,
            "contact": _text(fields.get("callContact")) or None,
            "started_at": timestamp(started) if started else None,
            "ended_at": timestamp(ended) if ended else None,
            "duration_seconds": seconds,
            "times": _times(fields),
            "vendor_ids": {"call_id": record.call_id},
            "vendor_data": fields,
        }
        return Event(
            id=event_identity(call_id, "ended", "", _comparable(fields)),
            noun="call",
            vendor=VENDOR,
            verb="ended",
            source=self._source,
            time=occurred or received_at,
            data={name: value for name, value in data.items() if value is not None},
            subject=call_id,
            unknown=_unknown(fields),
        )

    def _parties(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Who called whom. A call of no known direction has two ends, and neither is known to be our line."""
        direction = _DIRECTIONS.get(_text(fields.get("callType")).lower())
        first, second = self._phone(fields.get(self._from)), self._phone(fields.get(self._to))
        match direction:
            case "inbound":
                return {"direction": direction, "caller": first, "line": second}
            case "outbound":
                return {"direction": direction, "line": first, "callee": second}
            case _:
                return {"caller": first, "callee": second}

    def _phone(self, value: Any) -> dict[str, str] | None:
        number = _text(value)
        return phone(number, country=self._country) if number else None


def _comparable(fields: Mapping[str, Any]) -> Any:
    """The content by which two answers are compared: what JSON can hold and nothing else, for instance no NaN."""
    return orjson.loads(orjson.dumps(fields))


def _moment(text: str) -> datetime | None:
    """A time; one without an offset is in GMT, as the page says of all of them."""
    if not 0 < len(text) <= _LONGEST_DATE:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return moment((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat())
    except (ValueError, OverflowError):
        return None


def _seconds(value: Any) -> int | None:
    """``HH:MM:SS`` as seconds; None where it is none."""
    found = _DURATION.fullmatch(_text(value))
    if found is None:
        return None
    hours, minutes, seconds = map(int, found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _end(started: datetime | None, seconds: int | None) -> datetime | None:
    """When it ended: the page states the beginning and the duration, and no end."""
    if started is None or seconds is None:
        return None
    try:
        ended = started + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return ended if ended.year <= _LAST_YEAR else None


def _times(fields: Mapping[str, Any]) -> dict[str, int] | None:
    """Each as it was sent: the page's own sample talks longer than it lasts."""
    read = {name: _seconds(fields.get(field)) for name, field in _TIMES.items()}
    return {name: seconds for name, seconds in read.items() if seconds is not None} or None


def _named(name: str) -> dict[str, str] | None:
    return {"name": name} if name else None


def _unknown(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """``field`` for each that the page does not name, ``value`` for each that cannot be read as what it is."""
    strange = ["field" for name in fields if name not in FIELDS]
    for name in ("callTime", *_TIMES.values()):
        strange += ["value"] * (_text(fields.get(name)) != "" and _seconds(fields.get(name)) is None)
    date, kind = _text(fields.get("callDate")), _text(fields.get("callType")).lower()
    strange += ["value"] * (date != "" and _moment(date) is None)
    strange += ["value"] * (kind != "" and kind not in _DIRECTIONS)
    return tuple(strange)
