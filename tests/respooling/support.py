"""Records, rules and attempts for the tests of respooling."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hub.events import Event, identity, timestamp
from hub.respooling.planning import Planned
from hub.respooling.rules import Rule
from hub.respooling.windows import Week, Window

NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday, one o'clock in Madrid
CONTACT: Final = "+34911888920"
MOBILE: Final = "+34600123456"
ALWAYS: Final = Window(Week.of({}))
DAYTIME: Final = Window(Week.of({"mon-fri": "09:00-20:00", "sat": "10:00-14:00"}))


def number(n: int) -> str:
    """The n-th valid Spanish number."""
    return f"+3491{n:07d}"


def rule(**more: Any) -> Rule:
    """A rule like the contract's example."""
    plain: dict[str, Any] = {
        "name": "1",
        "sources": frozenset({"line-900"}),
        "dispositions": frozenset({"no_answer", "busy"}),
        "dialer": "focu5",
        "vendor": "infocu5",
        "campaign": "1111",
        "delays": (timedelta(minutes=15), timedelta(hours=2), timedelta(days=1)),
        "window": DAYTIME,
    }
    return Rule(**plain | more)


def record(call: str = "a", at: datetime = NOON, *, to: str | None = None, **more: Any) -> dict[str, Any]:
    """A sealed call's record: received from ``CONTACT``, or issued ``to`` somebody."""
    party = {"e164": to or CONTACT, "number": (to or CONTACT)[3:]}
    ends = {"direction": "outbound", "callee": party} if to else {"direction": "inbound", "caller": party}
    return {
        "call_id": identity("test", call),
        "vendor": "infocaller",
        "source": "line-900",
        "disposition": "no_answer",
        "state": "ended",
        "started_at": timestamp(at - timedelta(seconds=30)),
        "ended_at": timestamp(at),
        **ends,
        **more,
    }


def sealed(told: dict[str, Any], at: datetime | None = None) -> Event:
    """Its event."""
    when = at or datetime.fromisoformat(told["ended_at"]) + timedelta(seconds=5)
    name, vendor, source = identity(told["call_id"], "sealed"), told["vendor"], told["source"]
    return Event(name, "call", vendor, "sealed", source, when, told, subject=told["call_id"])


def planned(call: str = "a", *numbers: str, **more: Any) -> Planned:
    """A first attempt that is due at noon."""
    every = numbers or (CONTACT,)
    plain: dict[str, Any] = {
        "contact": every[0],
        "campaign": "1111",
        "cause": identity("test", call),
        "attempt": 1,
        "rule": "1",
        "dialer": "focu5",
        "vendor": "infocu5",
        "numbers": every,
        "details": {"call_id": identity("test", call), "data": {}},
        "since": NOON - timedelta(minutes=15),
        "due_at": NOON,
        "next_at": NOON,
    }
    return Planned(**plain | more)
