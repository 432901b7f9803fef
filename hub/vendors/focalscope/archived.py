"""A leg as FocalScope's archive has it: who, when, and whether it was answered. Pure.

Source: docs/vendors.md, FocalScope. The vendor's page shows the first keys of the JSON (``nId``, ``usId``,
``sUniqueId``) and breaks off, so the names of all others are a setting; ``FIELDS`` are its defaults, and nobody has
verified them. Of ``sUniqueId`` the sample shows Asterisk's form, whose first part is the time at which the leg began.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hub.events import Event, event_identity, identity, moment, timestamp
from hub.vendors.focalscope.callbacks import DIRECTIONS, ROLES, VENDOR
from hub.vendors.values import phone

FIELDS: Final[Mapping[str, str]] = {
    "unique_id": "sUniqueId",
    "request_id": "nRequestId",
    "call_id": "nCallId",
    "type": "sCallType",
    "started": "dtStart",
    "answered": "dtAnswer",
    "ended": "dtEnd",
    "caller": "sCallerId",
    "did": "sDid",
    "extension": "sExtension",
    "agent": "sAgent",
    "queue": "sQueue",
}
"""What we want to know = the key of the JSON. ``archive_fields`` of a source replaces them."""

_UNIQUE: Final = re.compile(r"(\d{9,10})\.\d+")
_REQUEST: Final = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class ArchivedLeg:
    """What the archive says of one leg; None and empty where it says nothing.

    Attributes:
        guid: in lower case.
        started: when it began.
        answered: when somebody picked up.
        ended: when it was over.
        recorded: whether there is audio.
        said: the other fields by our names for them.
    """

    guid: str
    started: datetime
    answered: datetime | None
    ended: datetime | None
    recorded: bool
    said: Mapping[str, str]

    @property
    def promised(self) -> tuple[str, ...]:
        """The callbacks that this leg's life made the vendor send."""
        if self.ended is None:
            return ("answered",) if self.answered else ("started",)
        return ("answered", "hangup") if self.answered else ("hangup", "missed")


def read(guid: str, notes: Mapping[str, Any], fields: Mapping[str, str], *, recorded: bool) -> ArchivedLeg:
    """A leg out of its JSON.

    Raises:
        ValueError: a time cannot be read, or nothing says when the leg began; the message names the key.
    """
    said = {name: _text(notes.get(key)) for name, key in fields.items()}
    unique = _UNIQUE.fullmatch(said["unique_id"])
    started = _time(said, fields, "started") or (datetime.fromtimestamp(int(unique[1]), UTC) if unique else None)
    if started is None:
        raise ValueError(f"neither {fields['started']} nor {fields['unique_id']} says when it began")
    return ArchivedLeg(
        guid=guid,
        started=started,
        answered=_time(said, fields, "answered"),
        ended=_time(said, fields, "ended"),
        recorded=recorded,
        said={name: value for name, value in said.items() if value},
    )


def call_id(leg: ArchivedLeg, source: str, epoch: str) -> str:
    """The id of the leg's call, as the callbacks have it."""
    request = leg.said.get("request_id", "")
    return identity(VENDOR, source, epoch, request if _REQUEST.fullmatch(request) else leg.guid)


@dataclass(frozen=True, slots=True)
class Home:
    """Where a leg belongs: its call, the configured source, and the country that national numbers are read with."""

    call_id: str
    source: str
    country: str


def stand_in(leg: ArchivedLeg, verb: str, home: Home, now: datetime) -> Event:
    """The event that a callback of the leg would have been.

    Its id is of what it says, the time of receipt apart: whoever makes it, and however often, it is one event.
    """
    said = leg.said
    when = {"started": leg.started, "answered": leg.answered}.get(verb) or leg.ended or leg.started
    kind = said.get("type", "").lower()
    request = said.get("request_id", "")
    data = {
        "call_id": home.call_id,
        "vendor": VENDOR,
        "source": home.source,
        "event": verb,
        "origin": "backfill",
        "occurred_at": timestamp(when),
        "received_at": timestamp(now),
        "direction": DIRECTIONS.get(kind, "outbound" if _REQUEST.fullmatch(request) else None),
        "caller": phone(said["caller"], country=home.country) if "caller" in said else None,
        "line": phone(said["did"], country=home.country) if "did" in said else None,
        "leg": _present(id=leg.guid, role=ROLES.get(kind, kind)),
        "agent": _present(name=said.get("agent", ""), extension=said.get("extension", "")),
        "queue": said.get("queue"),
        "recorded": True if verb == "hangup" and leg.recorded else None,
        "vendor_ids": _present(
            request_id=request if _REQUEST.fullmatch(request) else "",
            call_id=said.get("call_id", ""),
            call_uuid=leg.guid,
        ),
        "vendor_data": dict(said),
    }
    present = {name: value for name, value in data.items() if value is not None}
    content = {name: value for name, value in present.items() if name != "received_at"}
    return Event(
        id=event_identity(home.call_id, verb, f"{leg.guid}/archive", content),
        noun="call",
        vendor=VENDOR,
        verb=verb,
        source=home.source,
        time=when,
        data=present,
        subject=home.call_id,
    )


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | dict | list):
        return ""
    return str(value).strip()


def _time(said: Mapping[str, str], fields: Mapping[str, str], name: str) -> datetime | None:
    """RFC 3339, without an offset in UTC as the archive's folders are, or seconds since 1970. Raises ValueError."""
    text = said[name]
    if not text or text == "0":
        return None
    try:
        if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        parsed = datetime.fromisoformat(text)
        return moment((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat())
    except ValueError:
        raise ValueError(
            f"{fields[name]} is {text[:40]!r}; expected a time like 2026-11-20T09:15:30Z, or seconds since 1970"
        ) from None


def _present(**values: str) -> dict[str, str] | None:
    return {name: value for name, value in values.items() if value} or None
