"""What a call went through, from FIN's ``Status.Events.Event``. Source: docs/vendors.md, "Infocaller: field table"."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hub.vendors.infocaller.wire import field
from hub.vendors.values import count, money

NAMES: Final[Mapping[int, str]] = {
    1: "message",
    2: "call",
    3: "answering_machine",
    4: "keypad_input",
    5: "voice_input",
    6: "menu",
    7: "end",
    8: "goto",
    11: "email",
    12: "sms",
    13: "script",
    14: "start",
    15: "transfer",
    16: "queue",
    17: "query",
    18: "condition",
    21: "resume",
}
UNKNOWN: Final = "unknown"

# What the vendor says of a code's EventAddInfo: which one (from 1), our name for it, and how it is read.
_Reader = Callable[[str], Any]
_MEANINGS: Final[Mapping[int, tuple[tuple[int, str, _Reader], ...]]] = {
    2: ((3, "duration_seconds", count), (4, "amount", money)),
    4: ((1, "input", str),),
    6: ((1, "option", str),),
    7: ((4, "amount", money),),
    12: ((4, "amount", money),),
    17: ((1, "result", str),),
}
_INFOS: Final = tuple(f"EventAddInfo{number}" for number in range(1, 6))
_AMOUNTS: Final[Mapping[str, str]] = {
    str(code): _INFOS[number - 1]
    for code, meanings in _MEANINGS.items()
    for number, name, _ in meanings
    if name == "amount"
}


def action(event: Mapping[str, Any], at: str | None) -> dict[str, Any]:
    """One action in the canonical form; ``at`` is its time in UTC as text, None where the vendor stated none.

    A code that is no number stays the text it is; an unlisted one is named ``unknown``.
    """
    sent = field(event, "EventType")
    code = count(sent)
    known = -1 if code is None else code
    out: dict[str, Any] = {"name": NAMES.get(known, UNKNOWN)}
    if sent:
        out["code"] = sent if code is None else code
    if at is not None:
        out["at"] = at
    if label := field(event, "EventName"):
        out["label"] = label
    info = [field(event, name) for name in _INFOS]
    for number, name, read in _MEANINGS.get(known, ()):
        value = read(info[number - 1])
        if value is not None and value != "":
            out[name] = value
    out["info"] = info
    return out


def canonical(event: Any) -> Any:
    """An event with its amount in one spelling: what its identity is taken from."""
    if not isinstance(event, dict):
        return event
    name = _AMOUNTS.get(field(event, "EventType"))
    amount = money(field(event, name)) if name else None
    return event if amount is None else {**event, name: amount}


def when(event: Any) -> str:
    """The time that an event states, as the vendor wrote it; empty where it states none."""
    return field(event, "EventDate") if isinstance(event, dict) else ""
