"""The catalogue of scenarios, and the calls and the stream that are made of them. Pure."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple

from hub.errors import ConfigurationError
from hub.simulator.call import Call, Request, Source, VendorName
from hub.simulator.dice import Dice, stable_integer
from hub.simulator.focalscope import focalscope_call
from hub.simulator.infocaller_wire import infocaller_call
from hub.simulator.ucontact_events import ucontact_call

BASE: Final = date(2026, 11, 16)
"""The Monday of the simulated week, unless another is given. Never today: the same seed gives the same bytes."""

_SERIALS: Final = 100_000_000  # calls of one seed and scenario, before their serial numbers meet another's
_OPENS, _CLOSES, _DAYS = time(9), time(20), 5


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may happen in a call: whose, one line about it, and the disposition its record comes to."""

    vendor: VendorName
    description: str
    disposition: str


SCENARIOS: Final[dict[str, Scenario]] = {
    "inbound-answered": Scenario("infocaller", "the first number that is rung answers", "answered"),
    "inbound-two-failed-then-answered": Scenario("infocaller", "two numbers fail, the third answers", "answered"),
    "inbound-abandoned": Scenario("infocaller", "the caller hangs up while it rings", "no_answer"),
    "outbound-issued": Scenario("infocaller", "an issued call: the customer answers, an agent joins", "answered"),
    "outbound-unanswered": Scenario("infocaller", "an issued call that nobody answers: FIN alone", "no_answer"),
    "ivr-variables": Scenario("infocaller", "keypad, menu, query and condition; nobody is rung", "answered"),
    "sms-and-email": Scenario("infocaller", "the agent fails; an SMS and an e-mail are sent", "no_answer"),
    "hidden-caller": Scenario("infocaller", "a caller without a number is answered", "answered"),
    "click-to-dial-answered": Scenario("focalscope", "a dialled call: agent, then customer, both talk", "answered"),
    "agent-missed": Scenario("focalscope", "a dialled call: the agent does not pick up", "failed"),
    "customer-missed": Scenario("focalscope", "a dialled call: the customer does not pick up", "no_answer"),
    "both-recorded": Scenario("focalscope", "a dialled call with a recording of both legs", "answered"),
    "inbound-answered-queue": Scenario("focalscope", "an incoming call, out of a queue to an agent", "answered"),
    "inbound-missed-then-answered": Scenario("focalscope", "the first agent misses, the second answers", "answered"),
    "interaction-finished": Scenario("ucontact", "an interaction that an agent had is over", "unknown"),
    "interaction-categorised": Scenario(
        "ucontact", "an interaction is over, and the agent says what it was", "unknown"
    ),
    "interaction-rung-in-vain": Scenario("ucontact", "two agents do not answer, then it is over", "no_answer"),
    "interaction-in-a-shift": Scenario(
        "ucontact", "an agent logs in, misses one, has a break, has a call and a chat, logs out", "unknown"
    ),
}
"""Every scenario by its name."""

GROUPS: Final = ("all", "infocaller", "focalscope", "ucontact")
"""Names that stand for several scenarios; ``all`` has uContact's where there is a source for them."""

_OPTIONAL: Final = frozenset({"ucontact"})


def select(names: Iterable[str], vendors: Collection[str] = _OPTIONAL) -> list[str]:
    """The scenarios that the names and group names stand for, each once, in the order given.

    Args:
        names: of scenarios and groups.
        vendors: that there are sources of: ``all`` leaves out uContact's where it is none of them.

    Raises:
        ConfigurationError: a name is neither a scenario nor a group; the message lists both.
    """
    chosen: dict[str, None] = {}
    for name in names:
        if name in SCENARIOS:
            chosen[name] = None
        elif name in GROUPS:
            chosen |= {each: None for each, scenario in SCENARIOS.items() if _is_of(scenario.vendor, name, vendors)}
        else:
            known = ", ".join((*GROUPS, *SCENARIOS))
            raise ConfigurationError(f"scenario {name!r} is not known; expected one of: {known}")
    return list(chosen)


def _is_of(vendor: str, group: str, vendors: Collection[str]) -> bool:
    return group == vendor or (group == "all" and (vendor not in _OPTIONAL or vendor in vendors))


def calls(
    scenarios: Sequence[str], *, seed: int, count: int, target: Sequence[Source], base: date = BASE
) -> Iterator[Call]:
    """``count`` calls, the scenarios in turn. Call ``n`` of a scenario depends on nothing but seed, ``n`` and target.

    Args:
        scenarios: names and group names, see :func:`select`.
        seed: any integer.
        count: how many calls.
        target: the sources to send to; several of one vendor share its calls.
        base: the first day of the week in which the calls take place.

    Raises:
        ConfigurationError: an unknown scenario, or a scenario of a vendor for which the target has no source.
    """
    names = select(scenarios, {source.vendor for source in target})
    homes = {name: [source for source in target if source.vendor == SCENARIOS[name].vendor] for name in names}
    for name, sources in homes.items():
        if not sources:
            vendor = SCENARIOS[name].vendor
            raise ConfigurationError(f"scenario {name!r} needs a source with vendor = {vendor!r}, found none")
    # Checked above, when it is called; made below, one at a time.
    return (_call(names[n % len(names)], seed, n, homes[names[n % len(names)]], base) for n in range(count))


def _call(scenario: str, seed: int, n: int, sources: Sequence[Source], base: date) -> Call:
    dice = Dice("call", seed, n, scenario)
    source = sources[stable_integer(len(sources), "source", seed, n, scenario)]
    serial = (stable_integer(1_000_000, "serial", seed, scenario) + 1) * _SERIALS + n
    start = _start(dice, base)
    if SCENARIOS[scenario].vendor == "infocaller":
        return infocaller_call(scenario, dice, source, serial, start)
    if SCENARIOS[scenario].vendor == "ucontact":
        return ucontact_call(scenario, dice, source, start)
    return focalscope_call(scenario, dice, source, serial)


def _start(dice: Dice, base: date) -> datetime:
    """A moment in office hours, wall clock of the line's zone: far from the hours that summer time repeats or skips."""
    open_for = (_CLOSES.hour - _OPENS.hour) * 3600
    day = base + timedelta(days=dice.integer(0, _DAYS - 1))
    return datetime.combine(day, _OPENS) + timedelta(seconds=dice.integer(0, open_for - 1))


class Step(NamedTuple):
    """One request of the whole stream.

    Attributes:
        at: seconds from the stream's start.
        call: whose it is.
        request: what is sent; what a mutator made of it.
        ordinal: which of the call's requests it is, from 0.
        marks: the mutators that touched it, in their order; a step marked ``drop`` is not to be sent.
    """

    at: float
    call: Call
    request: Request
    ordinal: int
    marks: tuple[str, ...] = ()


def stream(made: Iterable[Call], *, apart: float = 1.0) -> Iterator[Step]:
    """The requests of many calls as they would come: a call begins every ``apart`` seconds, and they overlap.

    In ascending order of ``at``. Holds no more calls than are going on at once.
    """
    waiting: list[tuple[float, int, int, Step]] = []
    for n, call in enumerate(made):
        begins = n * apart
        while waiting and waiting[0][0] < begins:
            yield heapq.heappop(waiting)[-1]
        for ordinal, request in enumerate(call.requests):
            at = round(begins + request.at, 3)
            heapq.heappush(waiting, (at, n, ordinal, Step(at, call, request, ordinal)))
    while waiting:
        yield heapq.heappop(waiting)[-1]
