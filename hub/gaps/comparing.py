"""What a vendor's record of a leg says, held against the callbacks of that leg. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hub.calls.facts import Facts, asked_for
from hub.calls.legs import Leg, legs_of
from hub.events import Event
from hub.ports.gaps import Told


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one leg.

    Attributes:
        call_id: the call that it is of: as its callbacks have it, where there are any.
        promised: callbacks that the vendor must have sent.
        lost: of them, those that did not come, whatever stands in for them by now.
        lacking: verbs that nothing stands in for yet.
    """

    call_id: str
    promised: int
    lost: int
    lacking: tuple[str, ...]


class Heard:
    """What was heard of some calls, to look legs up in."""

    def __init__(self, calls: Mapping[str, Sequence[Event]]) -> None:
        self._all = {name: _legs(events) for name, events in calls.items()}
        self._callbacks = {
            name: _legs([event for event in events if not asked_for(event)]) for name, events in calls.items()
        }
        self._homes = {each: name for name, legs in self._all.items() for leg in legs for each in _names(leg)}

    def home(self, told: Told) -> str | None:
        """The call that has the leg; None where none has."""
        return next((self._homes[name] for name in sorted(told.names) if name in self._homes), None)

    def finding(self, told: Told) -> Finding:
        """What came of a leg, and what did not."""
        home = self.home(told) or told.call_id
        return Finding(
            call_id=home,
            promised=len(told.promised),
            lost=len(_lacking(told, self._callbacks.get(home, []))),
            lacking=_lacking(told, self._all.get(home, [])),
        )


def _legs(events: Sequence[Event]) -> list[Leg]:
    mine = [event for event in events if event.noun == "call"]
    return legs_of(Facts.of(mine)) if mine else []


def _names(leg: Leg) -> Iterable[str]:
    return (leg.id,) if leg.id else ()


def _lacking(told: Told, legs: Sequence[Leg]) -> tuple[str, ...]:
    leg = next((leg for leg in legs if leg.id in told.names), None)
    if leg is None:
        return told.promised
    came = {
        "started": True,  # whatever came shows it
        "answered": leg.answered,
        # A leg that rang several agents in turn may have hung up for one of them and still talk with the next.
        "hangup": bool(leg.hung) and leg.over,
        "missed": bool(leg.missed) or leg.answered,  # the callbacks know of a pickup; the record does not
    }
    return tuple(verb for verb in told.promised if not came[verb])
