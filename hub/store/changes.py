"""What events and time make of a call's row: planned, sealed, sealed again, or quietly more complete. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

import orjson
from sqlalchemy import Row

from hub.calls import Folded, resealed_event, reseals, seal, sealed_event
from hub.calls.recorded import available
from hub.events import Event
from hub.store.rows import numbers, started_at

NOT_SEALED: Final = {"sealed_at": None, "verdict": None, "missing": None}


@dataclass(slots=True)
class Touched:
    """A call in a transaction's hands.

    Attributes:
        call_id: which.
        candidates: events that may be new.
        before: its locked row.
        known: the events kept by earlier transactions.
        new: those that this transaction keeps.
    """

    call_id: str
    candidates: list[Event] = field(default_factory=list)
    before: Any = None
    known: list[Event] = field(default_factory=list)
    new: list[Event] = field(default_factory=list)

    @classmethod
    def locked(cls, row: Row[Any]) -> Self:
        """A call that is looked at for itself, without new events."""
        return cls(row.call_id, before=row)

    @property
    def events(self) -> list[Event]:
        """Those that make up the record."""
        return [*self.known, *self.new]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written for a call.

    Attributes:
        row: its row in ``calls``.
        conflicts: how many more events contradict one another than before.
        gone: rows of ``call_numbers`` that hold no more.
        come: rows of ``call_numbers`` that are new.
        derived: events for the outbox.
    """

    row: Mapping[str, Any]
    conflicts: int
    gone: Sequence[Mapping[str, Any]]
    come: Sequence[Mapping[str, Any]]
    derived: Sequence[Event]


def applied(call: Touched, folded: Folded, now: datetime) -> Change:
    """After new events of the call; what they say of recordings is told in the same transaction."""
    change = _applied(call, folded, now)
    return replace(change, derived=[*change.derived, *available(call.known, call.new, now)])


def _applied(call: Touched, folded: Folded, now: datetime) -> Change:
    before = call.before
    if before.sealed_at is None:
        if folded.wait is not None and folded.wait <= 0:
            return sealed(call, folded, now)
        due = None if folded.wait is None else now + timedelta(seconds=folded.wait)
        if before.seal_at is not None and not any(map(reseals, call.new)):
            due = before.seal_at  # a recording is no sign of life
        plan = {"seal_at": due, **NOT_SEALED}
        return _change(call, folded, folded.record, plan)
    record = seal(folded, before.sealed_at)
    # What was told already, by the vendor's record or by its callback, changes nothing, and is nothing to tell.
    if any(map(reseals, call.new)) and orjson.dumps(record).decode() != before.record:
        told = _traced(resealed_event(record, now), call.new)
        return _change(call, folded, record, _sealing(folded, before.sealed_at), told)
    # The verdict is of the events that were weighed for it: it stays until one comes that is worth telling.
    quiet = replace(folded, verdict=before.verdict, missing=tuple(orjson.loads(before.missing)))
    return _change(call, quiet, seal(quiet, before.sealed_at), _sealing(quiet, before.sealed_at))


def sealed(call: Touched, folded: Folded, now: datetime) -> Change:
    """When its time has come."""
    record = seal(folded, now)
    return _change(call, folded, record, _sealing(folded, now), _traced(sealed_event(record, now), call.events))


def _traced(derived: Event, causes: Sequence[Event]) -> Event:
    """A derived event in the trace of the last event that led to it."""
    return replace(derived, traceparent=next((event.traceparent for event in reversed(causes)), None))


def _sealing(folded: Folded, at: datetime) -> dict[str, Any]:
    missing = orjson.dumps(folded.missing).decode()
    return {"seal_at": None, "sealed_at": at, "verdict": folded.verdict, "missing": missing}


def _change(
    call: Touched, folded: Folded, record: dict[str, Any], sealing: Mapping[str, Any], *derived: Event
) -> Change:
    before, start, found = call.before, started_at(record, call.events), numbers(record)
    was, now = _index(call, before.numbers.split(), before.started_at), _index(call, found, start)
    row = {
        "call_id": call.call_id,
        "state": record["state"],
        "started_at": start,
        "record": orjson.dumps(record).decode(),
        "revision": record["revision"],
        "conflicts": folded.conflicts,
        "numbers": " ".join(sorted(found)),
        **sealing,
    }
    return Change(
        row=row,
        conflicts=max(0, folded.conflicts - before.conflicts),
        gone=[entry for place, entry in was.items() if place not in now],
        come=[entry for place, entry in now.items() if place not in was],
        derived=derived,
    )


def _index(call: Touched, found: Any, start: datetime) -> dict[tuple[str, datetime], dict[str, Any]]:
    return {
        (number, start): {"number": number, "started_at": start, "call_id": call.call_id} for number in sorted(found)
    }
