"""When a vendor says that it has a recording: the event ``recording.<vendor>.available``, once for each leg. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from hub.events import Event, identity, timestamp

_ENDS: Final = frozenset({"hangup", "ended"})
_COPIED: Final = ("leg", "agent", "caller", "line", "callee", "direction", "queue", "vendor_ids", "vendor_data")


def recording_id(call_id: str, leg: str) -> str:
    """The UUIDv5 of ``["recording", call_id, leg]``; ``leg`` is the leg's id, else its role, else empty."""
    return identity("recording", call_id, leg)


def available(known: Sequence[Event], new: Sequence[Event], now: datetime) -> list[Event]:
    """What the new events of a call announce and none of the known ones did.

    Args:
        known: the call's events so far.
        new: those that are kept now.
        now: when they are.
    """
    before = {_leg(event) for event in _recorded(known)}
    first: dict[str, Event] = {}
    for event in _recorded(new):
        first.setdefault(_leg(event), event)
    return [_announcement(event, leg, now) for leg, event in sorted(first.items()) if leg not in before]


def _recorded(events: Iterable[Event]) -> list[Event]:
    return [one for one in events if one.noun == "call" and one.verb in _ENDS and one.data.get("recorded") is True]


def _leg(event: Event) -> str:
    leg = event.data.get("leg")
    leg = leg if isinstance(leg, Mapping) else {}
    return str(leg.get("id") or leg.get("role") or "")


def _announcement(event: Event, leg: str, now: datetime) -> Event:
    call_id = str(event.data["call_id"])
    name = recording_id(call_id, leg)
    data: dict[str, Any] = {
        "recording_id": name,
        "call_id": call_id,
        "vendor": event.vendor,
        "source": event.source,
        "received_at": timestamp(now),
        **{field: event.data[field] for field in _COPIED if event.data.get(field) is not None},
    }
    return Event(
        id=identity(name, "available"),
        noun="recording",
        vendor=event.vendor,
        verb="available",
        source=event.source,
        time=now,
        data=data,
        subject=call_id,
        traceparent=event.traceparent,
    )
