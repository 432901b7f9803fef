"""Events as the vendors' adapters make them, for stores to keep."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hub.calls import PROMISED, Timing
from hub.events import Event, event_identity, identity, moment, timestamp

NOON: Final = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
TIMING: Final = Timing(settle=5, gap_after=30, longest=14400)
SOURCES: Final[Mapping[str, str]] = {"line-900": "infocaller", "desk": "focalscope", "focu5": "infocu5"}
CALLER: Final = {"number": "911888920", "e164": "+34911888920"}
LINE: Final = {"number": "900805089", "e164": "+34900805089"}


def chance(seed: int) -> random.Random:
    """Luck that can be had again."""
    return random.Random(seed)  # noqa: S311


def expected(source: str) -> frozenset[str]:
    """What the sources are configured for: all that there is."""
    return PROMISED[SOURCES[source]]


def after(seconds: float) -> datetime:
    """A moment of the story, which begins at noon."""
    return NOON + timedelta(seconds=seconds)


def call_id(number: int) -> str:
    """The id of the n-th Infocaller call."""
    return identity("infocaller", "line-900", "123456789", str(number))


def event(source: str, verb: str, call: str, received: datetime, *, noun: str = "call", **content: Any) -> Event:
    """One event of a call, received at a moment."""
    vendor = SOURCES[source]
    data = {"call_id": call, "vendor": vendor, "source": source, "event": verb, "origin": "callback"}
    data |= {"received_at": timestamp(received), **content}
    leg = str(content.get("leg", {}).get("id", ""))
    event_id = event_identity(call, f"{noun}.{verb}", leg, content)
    return Event(event_id, noun, vendor, verb, source, moment(timestamp(received)), data, subject=call)


def started(number: int, at: float = 0, **content: Any) -> Event:
    """INICIO."""
    fields = {"direction": "inbound", "caller": CALLER, "line": LINE, "occurred_at": timestamp(after(at)), **content}
    return event("line-900", "started", call_id(number), after(at), **fields)


def answered(number: int, at: float = 5, **content: Any) -> Event:
    """DESVIO_CORRECTO."""
    fields: dict[str, Any] = {"leg": {"role": "agent", "number": "911222333"}, **content}
    return event("line-900", "answered", call_id(number), after(at), **fields)


def missed(number: int, at: float = 3, **content: Any) -> Event:
    """DESVIO_FALLIDO."""
    fields: dict[str, Any] = {"leg": {"role": "agent", "number": "911222444"}, **content}
    return event("line-900", "missed", call_id(number), after(at), **fields)


def ended(number: int, at: float = 42, **content: Any) -> Event:
    """FIN."""
    fields = {
        "direction": "inbound",
        "caller": CALLER,
        "line": LINE,
        "started_at": timestamp(after(at - 42)),
        "ended_at": timestamp(after(at)),
        "duration_seconds": 42,
        "cost": {"received": "0.120000", "issued": "0.000000"},
        "variables": {"NUMPEDIDO": "123456789"},
        "actions": [
            {"code": 2, "name": "call", "label": "911222444", "duration_seconds": 0},
            {"code": 2, "name": "call", "label": "911222333", "duration_seconds": 37},
        ],
        **content,
    }
    return event("line-900", "ended", call_id(number), after(at), **fields)


def whole_call(number: int, at: float = 0, **content: Any) -> list[Event]:
    """A received call that was missed once and answered then."""
    return [
        started(number, at, **content),
        missed(number, at + 3),
        answered(number, at + 5),
        ended(number, at + 42, **content),
    ]


def recording(number: int, at: float = 60, verb: str = "available") -> Event:
    """A recording of a call."""
    content = {"recording_id": identity("recording", str(number)), "url": f"https://example.com/{number}.wav"}
    return event("line-900", verb, call_id(number), after(at), noun="recording", **content)


def polled(number: int, at: float = 0) -> Event:
    """A record of INFOCU5, which is over before it is known."""
    content: dict[str, Any] = {
        "direction": "outbound",
        "callee": {"number": "655443322"},
        "started_at": timestamp(after(at)),
    }
    fields = {"origin": "poll", "times": {"talk_seconds": 12}, **content}
    return event("focu5", "ended", identity("infocu5", "focu5", str(number)), after(at), **fields)


def desk_leg(request: int, verb: str, leg: str, at: float) -> Event:
    """An event of a leg of a FocalScope call that was not dialled."""
    content: dict[str, Any] = {
        "leg": {"id": leg, "role": "queue"},
        "vendor_ids": {"request_id": str(request), "call_uuid": leg},
    }
    return event("desk", verb, identity("focalscope", "desk", "", str(request)), after(at), **content)


def apart(number: int, at: float = 0) -> Event:
    """An event of no call: it is only kept."""
    quarantine_id = identity("quarantine", str(number))
    data = {"quarantine_id": quarantine_id, "reason": "undecodable"}
    return Event(quarantine_id, "callback", "infocaller", "quarantined", "line-900", after(at), data)
