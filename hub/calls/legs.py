"""The legs of a call: who was rung, who answered, for how long. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from hub.calls.facts import Facts, leg_aliases, leg_id, responder, same_number
from hub.events import Event, timestamp

CALL_ACTION: Final = 2  # the code of Infocaller's action "call": a diversion to a number
_ROLE_ORDER: Final = {"agent": 0, "customer": 1}


@dataclass
class Leg:
    """One party's part of a call.

    Attributes:
        picked: responder (extension or user id, empty where not sent) to the time it picked up.
        hung: likewise, hung up; missed: likewise, did not answer.
        duration: seconds, where the vendor stated them.
    """

    id: str | None = None
    role: str | None = None
    number: str | None = None
    order: tuple[int, int, str] = (9, 0, "")
    picked: dict[str, datetime] = field(default_factory=dict)
    hung: dict[str, datetime] = field(default_factory=dict)
    missed: dict[str, datetime] = field(default_factory=dict)
    duration: int | None = None
    closed: bool = False  # the whole call is over, so this leg is

    @property
    def over(self) -> bool:
        """Whether it has hung up or missed, and nobody who picked up is still there.

        One leg may ring several agents in turn: a hang-up ends its own responder only, except where either side
        did not say who it was.
        """
        if self.closed:
            return True
        gone = {**self.hung, **self.missed}
        if not gone:
            return False
        return "" in gone or all(not who or who in gone for who in self.picked)

    @property
    def answered_at(self) -> datetime | None:
        """The first pickup."""
        return min(self.picked.values(), default=None)

    @property
    def ended_at(self) -> datetime | None:
        """The last hang-up, once it is over."""
        return max(self.hung.values(), default=None) if self.over else None

    @property
    def answered(self) -> bool:
        """Whether somebody picked up."""
        return bool(self.picked) or (self.duration or 0) > 0

    @property
    def state(self) -> str:
        """``started``, ``answered``, ``missed`` or ``ended``."""
        if self.answered:
            return "ended" if self.over else "answered"
        if self.missed or self.closed:
            return "missed"
        return "ended" if self.over else "started"

    @property
    def seconds(self) -> int | None:
        """How long it talked: as stated, else between pickup and hang-up."""
        if self.duration is not None:
            return self.duration
        if self.answered_at is None or self.ended_at is None:
            return None
        return max(0, int((self.ended_at - self.answered_at).total_seconds()))

    def shown(self) -> dict[str, Any]:
        """The leg as the record shows it; absent when unknown."""
        fields: dict[str, Any] = {
            "id": self.id,
            "role": self.role,
            "number": self.number,
            "state": self.state,
            "answered_at": timestamp(self.answered_at) if self.answered_at else None,
            "ended_at": timestamp(self.ended_at) if self.ended_at else None,
            "duration_seconds": self.seconds if self.answered else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def legs_of(facts: Facts) -> list[Leg]:
    """The legs of a call, in an order that does not depend on the order of receipt."""
    return diverted(facts) if facts.vendor == "infocaller" else named(facts)


# --- legs that the vendor names (FocalScope and whoever sends leg ids) -----------------------------------------------


def new_leg(known: Iterable[Event], event: Event) -> bool:
    """Whether an event is of a leg that none of the known events is of."""
    everything = [*known, event]
    aliases = leg_aliases(everything)
    mine = leg_id(event, aliases)
    return mine is not None and all(leg_id(other, aliases) != mine for other in everything[:-1])


def named(facts: Facts) -> list[Leg]:
    """Legs by the id that the vendor gives them; where it gives none, by their role."""
    aliases = leg_aliases(facts.calls)
    legs: dict[str, Leg] = {}
    for event in facts.calls:
        said = event.data.get("leg")
        if not isinstance(said, dict):
            continue
        known = leg_id(event, aliases)
        leg = legs.setdefault(known or f"role:{said.get('role')}", Leg(id=known))
        leg.role = leg.role or said.get("role")
        leg.number = leg.number or said.get("number")
        number = str(event.data.get("vendor_ids", {}).get("call_id", ""))
        leg.order = (_ROLE_ORDER.get(leg.role or "", 2), int(number) if number.isdecimal() else 0, known or "")
        column = {"answered": leg.picked, "hangup": leg.hung, "missed": leg.missed}.get(event.verb)
        if column is not None:
            column.setdefault(responder(event), event.time)
    return sorted(legs.values(), key=lambda leg: leg.order)


# --- legs of a call that is diverted (Infocaller) --------------------------------------------------------------------


def diverted(facts: Facts) -> list[Leg]:
    """Legs that follow the end's actions of code 2, in their order, then those that only diversion events told of.

    The latter in the order of receipt: nothing else is known of their order.
    """
    listed = [
        Leg(role="agent", number=action.get("label"), duration=action.get("duration_seconds") or 0, closed=True)
        for action in facts.first("actions", "ended") or []
        if action.get("code") == CALL_ACTION
    ]
    told: list[Leg] = []
    for event in facts.verbs("answered", "missed"):
        number = (event.data.get("leg") or {}).get("number")
        rest = next((leg for leg in told if leg.number == number), None)
        if rest is None:
            rest = Leg(role="agent", number=number, closed=facts.has("ended"))
            told.append(rest)
        (rest.picked if event.verb == "answered" else rest.missed).setdefault("", event.time)
    # Those that say no number are given what the others leave.
    absorbed = {id(leg) for leg in sorted(told, key=lambda leg: leg.number is None) if _absorbed(leg, listed)}
    return listed + [leg for leg in told if id(leg) not in absorbed]


def _absorbed(told: Leg, listed: list[Leg]) -> bool:
    """Gives what the diversion events of a number told to the actions of that number; False where there is none.

    An answered event is of the action that talked longest, a missed one of the action that talked least; the others
    of that number are what their duration says. One action and both events: it was missed first, then answered.
    """
    mine = [leg for leg in listed if _may_be(told, leg)]
    if not mine:
        return False
    least, longest = min(mine, key=_duration), max(reversed(mine), key=_duration)
    if told.picked:
        longest.picked = told.picked
    certain = told.number is not None or not least.duration  # that this action is one that failed
    if told.missed and certain and not (told.picked and least is longest):
        least.missed, least.duration = told.missed, 0
    return True


def _may_be(told: Leg, listed: Leg) -> bool:
    """Whether diversion events may be of an action: of its number, or, where they say none, of one still untold of.

    A failure without a number is none of an action that talked.
    """
    if told.number is not None:
        return same_number(listed.number or "", told.number)
    untold = not (listed.picked or listed.missed)
    return untold and (bool(told.picked) or not listed.duration)


def _duration(leg: Leg) -> int:
    return leg.duration or 0
