"""Events of whole calls, made by hand: what the decoders would make of a vendor's callbacks."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hub.events import Event, event_identity, identity, timestamp

BASE = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
INFOCALLER = frozenset({"started", "answered", "missed", "ended"})
FOCALSCOPE = frozenset({"answered", "missed", "hangup"})


def event(vendor: str, verb: str, at: float, call: str = "1", **fields: Any) -> Event:
    """An event received ``at`` seconds after the base."""
    received = BASE + timedelta(seconds=at)
    call_id = identity(vendor, "s", call)
    data = {
        "call_id": call_id,
        "vendor": vendor,
        "source": "s",
        "event": verb,
        "origin": "callback",
        "received_at": timestamp(received),
        **fields,
    }
    content = {name: value for name, value in data.items() if name != "received_at"}
    return Event(
        id=event_identity(call_id, verb, str(fields.get("leg", "")), content),
        noun="call",
        vendor=vendor,
        verb=verb,
        source="s",
        time=received,
        data=data,
        subject=call_id,
    )


def info(verb: str, at: float, **fields: Any) -> Event:
    """An Infocaller event of a received call."""
    return event("infocaller", verb, at, **{"direction": "inbound", **fields})


def issued(verb: str, at: float, **fields: Any) -> Event:
    """An Infocaller event of an issued call."""
    return event("infocaller", verb, at, **{"direction": "outbound", **fields})


def diverted(verb: str, at: float, number: str) -> Event:
    """A diversion that was answered or missed."""
    return info(verb, at, leg={"role": "agent", "number": number})


def call_action(number: str, seconds: int | None) -> dict[str, Any]:
    """FIN's action of code 2."""
    action: dict[str, Any] = {"code": 2, "name": "call", "label": number, "info": ["", "", "", "", ""]}
    return action if seconds is None else {**action, "duration_seconds": seconds}


def fin(at: float, *actions: dict[str, Any], **fields: Any) -> Event:
    """FIN with its actions."""
    return info("ended", at, actions=list(actions), **{"duration_seconds": 42, **fields})


def leg(role: str, verb: str, at: float, *, request: str = "513", number: int = 0, **fields: Any) -> Event:
    """A FocalScope event of one leg of a dialled call, or with an empty request of one that was not dialled."""
    short = str(1000000087849 + (number or {"agent": 0, "customer": 1}.get(role, 2)))
    ids = {"call_id": short, "call_uuid": f"uuid-{short}"}
    if request:
        ids["request_id"] = request
    return event(
        "focalscope",
        verb,
        at,
        request or "guid",
        leg={"id": f"uuid-{short}", "role": role},
        vendor_ids=ids,
        **{"direction": "outbound" if request else "inbound", **fields},
    )
