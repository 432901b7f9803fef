"""A call as the fold of its events. Pure.

The record is a function of the set of events: the same, byte for byte, whatever their order and however often each
comes. ``hub.store`` keeps it; nothing here knows how.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from hub.calls.facts import Facts, asked_for, received_at
from hub.calls.legs import Leg, legs_of, new_leg
from hub.calls.life import CYCLES, PROMISED, Life, Timing, life
from hub.calls.merge import merged
from hub.events import Event, identity, timestamp

__all__ = [
    "CYCLES",
    "PROMISED",
    "Folded",
    "Timing",
    "applies",
    "fold",
    "key",
    "resealed_event",
    "reseals",
    "reused",
    "seal",
    "sealed_event",
]

DERIVED: Final = frozenset({"sealed", "resealed"})


@dataclass(frozen=True, slots=True)
class Folded:
    """A call's record and what is to happen with it.

    Attributes:
        record: JSON-ready, its keys in a fixed order, without ``sealed``.
        conflicts: how often an event said otherwise than one received before it.
        wait: seconds after the application of the last event until the call is to be sealed; 0 is at once, and None
            is never: of a call of which nobody but ourselves has told yet.
        verdict: ``complete``, ``inferred`` or ``gap``, were it sealed now.
        missing: the verbs that the verdict speaks of.
    """

    record: dict[str, Any]
    conflicts: int
    wait: float | None
    verdict: str
    missing: tuple[str, ...]


def applies(event: Event) -> bool:
    """Whether an event goes into a call's record; the others are only kept."""
    if not event.data.get("call_id"):
        return False
    return (event.noun == "call" and event.verb not in DERIVED) or event.noun in ("recording", "dial")


def key(event: Event) -> str:
    """The id of the call that the event belongs to."""
    return str(event.data["call_id"])


def reseals(event: Event) -> bool:
    """Whether an event that comes after the sealing is worth telling everybody: recordings and dials are not."""
    return event.noun == "call"


def reused(known: Sequence[Event], new: Event, timing: Timing) -> bool:
    """Whether a new FocalScope leg comes so long after its call's last event that the request id is another call's."""
    before = [event for event in known if event.noun == "call"]
    if new.vendor != "focalscope" or new.noun != "call" or not before or asked_for(new) or not new_leg(before, new):
        return False
    last = max(received_at(event) for event in before)
    return received_at(new) - last > timedelta(seconds=timing.longest)


def fold(events: Sequence[Event], expected: frozenset[str], timing: Timing) -> Folded:
    """The record of one call.

    Args:
        events: those that apply, in any order, at least one.
        expected: the verbs that the source is configured for.
        timing: when to seal.
    """
    facts = Facts.of(events)
    legs = legs_of(facts)
    now = life(facts, legs, expected)
    fields, conflicts = merged(facts)
    record = {**_head(facts.events, now), **fields, **_times(facts, legs, now), **_tail(facts, legs)}
    wait = now.wait(timing) if any(event.noun != "dial" for event in facts.events) else None
    return Folded(_arranged(record), conflicts, wait, now.verdict, now.missing)


def seal(folded: Folded, at: datetime) -> dict[str, Any]:
    """The record, sealed. A sealed call is over, also where its end never came."""
    sealed = {"at": timestamp(at), "verdict": folded.verdict, "missing": list(folded.missing)}
    return {**folded.record, "state": "ended", "sealed": sealed}


def sealed_event(record: dict[str, Any], at: datetime) -> Event:
    """The one event that says the call is sealed; its id is the same whoever makes it."""
    return _derived(record, "sealed", at, identity(record["call_id"], "sealed"))


def resealed_event(record: dict[str, Any], at: datetime) -> Event:
    """Later evidence changed a sealed call: the event that carries this revision of it."""
    return _derived(record, "resealed", at, identity(record["call_id"], "resealed", str(record["revision"])))


def _derived(record: dict[str, Any], verb: str, at: datetime, event_id: str) -> Event:
    return Event(
        id=event_id,
        noun="call",
        vendor=record["vendor"],
        verb=verb,
        source=record["source"],
        time=at,
        data=record,
        subject=record["call_id"],
    )


_ARRANGED: Final = (
    *("call_id", "vendor", "source", "direction", "state", "disposition", "caller", "line", "callee", "agent"),
    *("queue", "campaign", "list", "contact", "dial_id", "started_at", "answered_at", "ended_at"),
    *("duration_seconds", "talk_seconds", "times", "legs", "actions", "variables", "cost", "recordings"),
    *("vendor_ids", "revision"),
)


def _arranged(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in _ARRANGED if record.get(name) is not None}


def _head(events: Iterable[Event], now: Life) -> dict[str, Any]:
    first = next(iter(events))
    return {
        "call_id": key(first),
        "vendor": first.vendor,
        "source": first.source,
        "state": "ended" if now.over else "in_progress",
        "disposition": now.disposition,
    }


def _times(facts: Facts, legs: list[Leg], now: Life) -> dict[str, Any]:
    """When it began, was answered and ended: as the vendor stated it, else by the receipt of the events."""
    started = facts.first("started_at") or _earliest(facts.verbs("started") or facts.verbs("answered"))
    talking = [leg for leg in legs if leg.answered and (leg.role == "customer" or not facts.dialled)]
    pickups = [leg.answered_at for leg in talking if leg.answered_at]
    if facts.vendor == "infocaller" and facts.issued:
        pickups = [event.time for event in facts.verbs("started")]  # of an issued call: the called party answered
    answered = min(pickups, default=None)
    ended = facts.first("ended_at")
    if ended is None and (now.over or now.reached):
        last = max((event.time for event in facts.verbs("hangup", "missed", "ended")), default=None)
        ended = timestamp(last) if last else None
    duration = facts.first("duration_seconds", "ended")
    if duration is None and started and ended and facts.has("hangup"):
        duration = max(0, int((datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()))
    stated = (facts.first("times", "ended") or {}).get("talk_seconds")
    seconds = [leg.seconds for leg in talking if leg.seconds is not None]
    return {
        "started_at": started,
        "answered_at": timestamp(answered) if answered else None,
        "ended_at": ended,
        "duration_seconds": duration,
        "talk_seconds": stated if stated is not None else (sum(seconds) if seconds else None),
    }


def _earliest(events: list[Event]) -> str | None:
    return timestamp(min(event.time for event in events)) if events else None


def _tail(facts: Facts, legs: list[Leg]) -> dict[str, Any]:
    return {
        "legs": [leg.shown() for leg in legs],
        "recordings": _recordings(facts),
        "revision": len(facts.events),
    }


_RECORDING_RANK: Final = {"available": 0, "failed": 1, "stored": 2}


def _recordings(facts: Facts) -> list[dict[str, Any]]:
    """Each recording in its furthest state: a stored one stays stored."""
    found: dict[str, Event] = {}
    for event in facts.events:
        if event.noun != "recording" or event.verb not in _RECORDING_RANK:
            continue
        name = str(event.data.get("recording_id"))
        if name not in found or _RECORDING_RANK[event.verb] > _RECORDING_RANK[found[name].verb]:
            found[name] = event
    return [
        {"id": name, "state": event.verb}
        | {field: event.data[field] for field in ("sha256", "bytes") if event.data.get(field) is not None}
        for name, event in sorted(found.items())
    ]
