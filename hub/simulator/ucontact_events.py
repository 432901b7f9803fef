"""uContact interactions as the vendor's event webhooks: POST, a JSON object, and a date that is none.

Source: docs/vendors.md, chapter 4. The pages show no guid on AgentRingNoAnswer; here it has one, as the end of the same
interaction does, since without it nothing ties the two together. What FinishInteraction and the disposition say beyond
the first fields is not public.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from hub.events import identity
from hub.simulator import people
from hub.simulator.call import Call, Request, Source
from hub.simulator.dice import Dice

_CAMPAIGNS: Final = ("Ventas<-", "Atención<-", "POWER<-")
_CATEGORIES: Final = ("Venta", "No le interesa", "Llamar más tarde", "Buzón de voz")


@dataclass(slots=True)
class _Life:
    """An interaction while it is being made up; ``clock`` counts seconds from its start."""

    dice: Dice
    source: Source
    start: datetime
    guid: str
    campaign: str
    clock: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def tell(self, event: str, low: float, high: float, **said: Any) -> None:
        """The next event, between ``low`` and ``high`` seconds after the one before."""
        self.clock = round(self.clock + self.dice.seconds(low, high), 3)
        known = {"event": event, "date": _date(self.start + timedelta(seconds=self.clock)), "guid": self.guid, **said}
        body = {name: value for name, value in known.items() if value is not None}
        self.requests.append(
            Request(
                at=self.clock,
                method="POST",
                path=f"/callbacks/{self.source.name}/{self.source.token}",
                query="",
                content_type="application/json",
                body=json.dumps(body, ensure_ascii=self.dice.chance(0.5)).encode(),
            )
        )


def _date(at: datetime) -> str:
    """As the vendor's samples print it: minutes where the month belongs, and twelve hours to the day."""
    return at.strftime("%Y-%M-%d %I:%M:%S")


def _finished(life: _Life) -> None:
    agent = life.dice.pick(people.AGENTS)
    life.tell("FinishInteraction", 20, 300, campaign=life.campaign, agent=agent[3])


def _categorised(life: _Life) -> None:
    agent = life.dice.pick(people.AGENTS)
    life.tell("FinishInteraction", 20, 300, campaign=life.campaign, agent=agent[3])
    named = life.dice.pick(("InteractionDisposition", "SentDisposition"))
    life.tell(named, 2, 30, campaign=life.campaign, agent=agent[3], disposition=life.dice.pick(_CATEGORIES))


def _rung_in_vain(life: _Life) -> None:
    caller = people.caller(life.dice)
    for extension, name, _, login in life.dice.sample(people.AGENTS, 2):
        said = {"agent": login, "agentNumber": extension, "agentFullName": name}
        life.tell("AgentRingNoAnswer", 10, 30, **said, callerIdNum=caller, campaign=life.campaign)
    life.tell("FinishInteraction", 1, 20, campaign=life.campaign, agent="")


def _in_a_shift(life: _Life) -> None:
    """Every webhook that the pages name, the agent's own and those of other channels, around one interaction."""
    extension, name, _, login = life.dice.pick(people.AGENTS)
    me = {"guid": None, "agent": login}
    life.tell("AgentLog", 1, 5, **me, isLogin=True)
    rung = {**me, "agentNumber": extension, "agentFullName": name}  # as its page prints it: without a guid
    life.tell("AgentRingNoAnswer", 5, 30, **rung, callerIdNum=people.caller(life.dice), campaign=life.campaign)
    life.tell("AgentBreak", 1, 20, **me, motive="Almuerzo", isBreak=True)
    life.tell("AgentBreak", 60, 1800, **me, motive="Almuerzo", isBreak=False)
    life.tell("AssignInteraction", 1, 60, agent=login, campaign=life.campaign)
    life.tell("FinishInteraction", 20, 300, campaign=life.campaign, agent=login)
    life.tell("Disposition", 2, 30, campaign=life.campaign, agent=login, disposition=life.dice.pick(_CATEGORIES))
    life.tell("FinishInteraction", 5, 90, guid=life.dice.uuid(), campaign="Chat<-", agent=login, channel="webchat")
    life.tell("AgentLog", 1, 60, **me, isLogin=False)


LIVES: Final[dict[str, Callable[[_Life], None]]] = {
    "interaction-finished": _finished,
    "interaction-categorised": _categorised,
    "interaction-rung-in-vain": _rung_in_vain,
    "interaction-in-a-shift": _in_a_shift,
}
"""Each scenario as what happens in an interaction."""


def ucontact_call(scenario: str, dice: Dice, source: Source, start: datetime) -> Call:
    """One interaction.

    Args:
        scenario: one of ``LIVES``.
        dice: the interaction's own.
        source: where it is sent.
        start: when it begins, on the instance's clock.
    """
    life = _Life(dice, source, start, dice.uuid(), dice.pick(_CAMPAIGNS))
    LIVES[scenario](life)
    key = identity("ucontact", source.name, life.guid)
    return Call(key, source.name, "ucontact", scenario, tuple(life.requests))
