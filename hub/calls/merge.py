"""The fields of a record that events state: of two that disagree, the one received first stands. Pure."""

from typing import Any, Final

from hub.calls.facts import Facts
from hub.events import Event

_SCALARS: Final = ("direction", "queue", "campaign", "list", "contact", "dial_id")
_PARTIES: Final = ("caller", "line", "callee")
_ENDS: Final = ("times", "actions", "cost", "duration_seconds", "started_at", "ended_at")
_STAGE: Final = {"started": 0, "ended": 2}
_CALL_IDS: Final = {"focalscope": ("request_id",)}  # of the call; the others are of a leg's event


def merged(facts: Facts) -> tuple[dict[str, Any], int]:
    """The stated fields of the record, and how often an event said otherwise than one received before it."""
    record: dict[str, Any] = {"actions": [], "variables": {}, "vendor_ids": {}}
    conflicts = 0
    for event in facts.events:
        for name in (*_SCALARS, *_ENDS):
            conflicts += _once(record, name, event.data.get(name))
        for name in _PARTIES:
            conflicts += _party(record, name, event.data.get(name))
        conflicts += _ids(record["vendor_ids"], event)
    record["vendor_ids"] = dict(sorted(record["vendor_ids"].items()))
    record["variables"], contradicted = _variables(facts)
    record["agent"] = _agent(facts)
    return record, conflicts + contradicted


def _once(record: dict[str, Any], name: str, value: Any) -> int:
    if value is None or value in ([], {}):
        return 0
    if record.get(name) in (None, [], {}):
        record[name] = value
        return 0
    return int(record[name] != value)


def _party(record: dict[str, Any], name: str, value: Any) -> int:
    """A caller, line or callee: later events may add to it (its E.164 form), not change it."""
    if not value:
        return 0
    known = record.get(name)
    if known is None:
        record[name] = dict(value)
        return 0
    same = known.get("number") == value.get("number") or (known.get("e164") or 0) == (value.get("e164") or 1)
    if not same or known.get("withheld") != value.get("withheld"):
        return 1
    record[name] = {**value, **known}
    return 0


def _ids(known: dict[str, Any], event: Event) -> int:
    wanted = _CALL_IDS.get(event.vendor)
    conflicts = 0
    for name, value in (event.data.get("vendor_ids") or {}).items():
        if wanted is None or name in wanted:
            conflicts += int(known.setdefault(name, value) != value)
    return conflicts


def _variables(facts: Facts) -> tuple[dict[str, Any], int]:
    """The variables at the furthest stage that tells them: a script sets them anew while the call goes on.

    Within a stage, and between diversions, the event received first stands.
    """
    found: dict[str, tuple[int, Any]] = {}
    conflicts = 0
    for event in facts.calls:
        stage = _STAGE.get(event.verb, 1)
        for name, value in (event.data.get("variables") or {}).items():
            known = found.get(name)
            if known is None or stage > known[0]:
                found[name] = (stage, value)
            else:
                conflicts += int(stage == known[0] and value != known[1])
    return {name: value for name, (_, value) in sorted(found.items())}, conflicts


def _agent(facts: Facts) -> dict[str, Any] | None:
    """The agent who answered; else, of a vendor that tells of no answer, the one at the end; else the first rung."""
    agent: dict[str, Any] | None = (
        facts.first("agent", "answered") or facts.first("agent", "ended", "dispositioned") or facts.first("agent")
    )
    return agent
