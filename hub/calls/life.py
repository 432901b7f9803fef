"""The life cycle of each vendor's calls: when a call is over, what is missing, how it went, when to seal it. Pure.

Source: contract (docs/events.md, "Sealing"). A vendor's cycle is a row of ``CYCLES``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from hub.calls.facts import Facts, same_number
from hub.calls.legs import Leg

Verdict = Literal["complete", "inferred", "gap"]
ORDER: Final = ("started", "answered", "missed", "hangup", "ended")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds until a call is sealed.

    Attributes:
        settle: after the end, where everything came.
        gap_after: after the last event, where the end came and something else did not.
        longest: after the last event, where the end did not come.
    """

    settle: float = 5
    gap_after: float = 30
    longest: float = 14400


@dataclass(frozen=True, slots=True)
class Life:
    """How far a call is.

    Attributes:
        over: the end is certain; once true it stays true, whatever comes later.
        reached: the end is reached by what is known so far; later evidence may take that back.
        another: another leg may follow although this end is reached.
        missing: verbs that the cycle promises, the source is configured for, and that did not come.
        shown: what did come proves all that is missing.
        disposition: the network result so far.
    """

    over: bool
    reached: bool
    missing: tuple[str, ...]
    shown: bool
    disposition: str
    another: bool = False
    at_once: bool = False

    @property
    def verdict(self) -> Verdict:
        """``complete``, ``inferred`` where what came shows what is missing, else ``gap``."""
        if not self.missing:
            return "complete"
        return "inferred" if self.shown else "gap"

    def wait(self, timing: Timing) -> float:
        """Seconds from the last event until the call is to be sealed."""
        if self.at_once:
            return 0
        if not self.reached:
            return timing.longest
        return timing.gap_after if self.missing or self.another else timing.settle


def _in_order(missing: set[str]) -> tuple[str, ...]:
    return tuple(verb for verb in ORDER if verb in missing)


# --- Infocaller ------------------------------------------------------------------------------------------------------


def infocaller(facts: Facts, legs: list[Leg], expected: frozenset[str]) -> Life:
    """INICIO, diversions, FIN. FIN is the end and nothing else is; its actions show whatever else was lost."""
    ended = facts.has("ended")
    tried = facts.has("answered") or facts.has("missed")
    missing = set()
    if not ended:
        missing.add("ended")
    if not facts.has("started") and (tried or not facts.issued):
        missing.add("started")  # an issued call that nobody answered has no INICIO
    missing |= _untold(facts, legs)
    return Life(
        over=ended,
        reached=ended,
        missing=_in_order(missing & expected),
        shown="ended" not in missing & expected,
        disposition=_infocaller_disposition(facts, legs, ended=ended),
    )


def _untold(facts: Facts, legs: list[Leg]) -> set[str]:
    """Diversion events that FIN's actions imply and that did not come.

    One that says no number may have been of any of them: several failures without a number are alike, and count once.
    The last diversion may have been rung when the caller hung up: no failure event is implied there.
    """
    if not facts.has("ended"):
        return set()

    def told(leg: Leg, verb: str) -> bool:
        numbers = (str((event.data.get("leg") or {}).get("number", "")) for event in facts.verbs(verb))
        return any(not number or same_number(leg.number or "", number) for number in numbers)

    untold = {"answered" for leg in legs if leg.answered and not told(leg, "answered")}
    listed = [leg for leg in legs if leg.duration is not None]
    return untold | {"missed" for leg in listed[:-1] if not leg.answered and not told(leg, "missed")}


def _infocaller_disposition(facts: Facts, legs: list[Leg], *, ended: bool) -> str:
    if facts.issued:
        if facts.has("started"):
            return "answered"
        return "no_answer" if ended else "unknown"
    if any(leg.answered for leg in legs):
        return "answered"
    if legs:
        return "no_answer"
    return "answered" if ended else "unknown"


# --- FocalScope ------------------------------------------------------------------------------------------------------


def focalscope(facts: Facts, legs: list[Leg], expected: frozenset[str]) -> Life:
    """Legs that are picked up or missed, and hung up.

    A dialled call has an agent's leg, and once that is picked up a customer's. A call that was not dialled may get
    another agent's leg at any time, so its end is never certain before it is sealed.
    """
    agents = [leg for leg in legs if leg.role == "agent"]
    customers = [leg for leg in legs if leg.role == "customer"]
    dialled = facts.dialled
    to_come = dialled and any(leg.answered for leg in agents) and not customers
    lost, proved = _promised(agents, customers, legs, dialled=dialled)
    certain = dialled and (
        any(leg.missed for leg in agents) or (any(a.over for a in agents) and any(c.over for c in customers))
    )
    return Life(
        over=certain,
        reached=bool(legs) and all(leg.over for leg in legs) and not to_come,
        another=not dialled,
        missing=_in_order(lost & expected),
        shown=proved,
        disposition=_dialled(agents, customers) if dialled else _not_dialled(legs),
    )


def _promised(agents: list[Leg], customers: list[Leg], legs: list[Leg], *, dialled: bool) -> tuple[set[str], bool]:
    """What the legs promise and did not bring, and whether what came shows all of it.

    A customer's leg shows that the agent picked up; a missed leg shows its hang-up, which comes right before it.
    """
    lost: set[str] = set()
    proved = True
    for leg in legs:
        if not leg.picked and not leg.missed:
            lost.add("answered")
            proved = proved and dialled and leg in agents and bool(customers)
        if not leg.hung:
            lost.add("hangup")
            proved = proved and bool(leg.missed) and not leg.picked
    if dialled and (not agents or (any(leg.answered for leg in agents) and not customers)):
        lost |= {"answered", "hangup"}
        proved = False
    return lost, proved


def _dialled(agents: list[Leg], customers: list[Leg]) -> str:
    if any(leg.answered for leg in customers):
        return "answered"
    if any(leg.missed for leg in customers):
        return "no_answer"
    if not customers and any(leg.over for leg in agents) and not any(leg.answered for leg in agents):
        return "failed"
    return "unknown"


def _not_dialled(legs: list[Leg]) -> str:
    if any(leg.answered for leg in legs):
        return "answered"
    return "no_answer" if legs and all(leg.over for leg in legs) else "unknown"


# --- vendors that tell of finished calls -----------------------------------------------------------------------------


def finished(facts: Facts, legs: list[Leg], expected: frozenset[str]) -> Life:
    """A vendor that reports a call once it is over, by webhook or by being polled."""
    del legs
    ended = facts.has("ended")
    talked = (facts.first("times", "ended") or {}).get("talk_seconds")
    if talked is not None:
        disposition = "answered" if talked > 0 else "no_answer"
    else:
        disposition = "no_answer" if facts.has("missed") and not ended else "unknown"
    return Life(
        over=ended,
        reached=ended,
        missing=() if ended else _in_order({"ended"} & expected),
        shown=False,
        disposition=disposition,
        at_once=ended and facts.polled,
    )


def ucontact(facts: Facts, legs: list[Leg], expected: frozenset[str]) -> Life:
    """FinishInteraction is the end; that agents rang in vain, and what they made of the call, may come beside it.

    The vendor tells of no answer. How the call went is what the source's table makes of the agent's disposition;
    without one, a call that agents rang in vain for, and that ended with none of them, was not answered.
    """
    now = finished(facts, legs, expected)
    stated = facts.first("disposition")
    if stated is not None:
        return replace(now, disposition=str(stated))
    if facts.has("missed") and not (facts.first("agent", "ended") or facts.has("dispositioned")):
        return replace(now, disposition="no_answer")
    return now


Cycle = Callable[[Facts, list[Leg], frozenset[str]], Life]

CYCLES: Final[dict[str, Cycle]] = {
    "infocaller": infocaller,
    "focalscope": focalscope,
    "ucontact": ucontact,
    "infocu5": finished,
}

PROMISED: Final[dict[str, frozenset[str]]] = {
    "infocaller": frozenset({"started", "answered", "missed", "ended"}),
    "focalscope": frozenset({"answered", "missed", "hangup"}),
    "ucontact": frozenset({"ended"}),
    "infocu5": frozenset({"ended"}),
}
"""The verbs that a vendor's cycle can promise, where the source is configured for all of them."""


def life(facts: Facts, legs: list[Leg], expected: frozenset[str]) -> Life:
    """How far the call is, by its vendor's cycle."""
    return CYCLES.get(facts.vendor, finished)(facts, legs, expected)
