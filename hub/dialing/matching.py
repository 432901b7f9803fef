"""Which call a dial of unknown outcome became: only where one call and one dial fit each other and nothing else. Pure.

The answer with the vendor's id was lost; what is left is what the callbacks say of the call: whom it went to, which
agent it rang, when it began. A call that says neither fits nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from hub.calls.facts import same_number
from hub.dialing.orders import Order
from hub.events import Event

EARLIEST: Final = timedelta(seconds=2)
"""Before the request, by a callback's time: two hosts' clocks."""

LATEST: Final = timedelta(minutes=10)
"""After the request: a call of which nothing is heard for longer was not placed by it."""

_AGENT_FIELDS: Final = ("Ext", "Agent", "UserID", "UserName")


@dataclass(frozen=True, slots=True)
class Sent:
    """A dial that was sent and may have become a call.

    Attributes:
        answered: whether its answer may still come: it takes no call, and leaves none to another that fits as well.
    """

    dial_id: str
    order: Order
    at: datetime
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """A call that the vendor placed, of which it is not known who asked for it.

    Attributes:
        trace: what the vendor calls the request.
        at: when it was first heard of.
        numbers: every number that its callbacks name.
        called: the number it went to, where they say so.
        agents: extensions, names and logins of the agents that it rang.
    """

    call_id: str
    trace: str
    at: datetime
    numbers: frozenset[str] = field(default_factory=frozenset)
    called: frozenset[str] = field(default_factory=frozenset)
    agents: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, call_id: str, trace: str, at: datetime, events: Iterable[Event]) -> "Heard":
        """A call by its events."""
        numbers, called, agents = set[str](), set[str](), set[str]()
        for event in events:
            if event.noun != "call":
                continue
            numbers |= _spelled(event.data.get("caller")) | _spelled(event.data.get("line"))
            numbers |= _spelled(event.data.get("leg"))
            called |= _spelled(event.data.get("callee"))
            agent, said = event.data.get("agent"), event.data.get("vendor_data")
            named = list(agent.values()) if isinstance(agent, Mapping) else []
            named += [said.get(name) for name in _AGENT_FIELDS] if isinstance(said, Mapping) else []
            agents |= {one.strip().lower() for one in named if isinstance(one, str) and one.strip()}
        return cls(call_id, trace, at, frozenset(numbers), frozenset(called), frozenset(agents))


def fits(sent: Sent, heard: Heard) -> bool:
    """Whether the call may be what was asked for, and something says so: the number or the agent."""
    if not sent.at - EARLIEST <= heard.at <= sent.at + LATEST:
        return False
    number = _among(sent.order.destination, heard.called) or _among(sent.order.destination, heard.numbers)
    agent = bool(sent.order.agent) and sent.order.agent.lower() in heard.agents
    other_number = bool(heard.called) and not _among(sent.order.destination, heard.called)
    other_agent = bool(sent.order.agent and heard.agents) and not agent
    return (number or agent) and not other_number and not other_agent


def pairs(sent: Sequence[Sent], heard: Sequence[Heard]) -> list[tuple[Sent, Heard]]:
    """The dials and calls that fit each other and nobody else."""
    fitting = [(one, call) for one in sent for call in heard if fits(one, call)]
    return [
        (one, call)
        for one, call in fitting
        if not one.answered and sum(one is other or call is another for other, another in fitting) == 1
    ]


def _among(number: str, numbers: Iterable[str]) -> bool:
    return any(same_number(number, one) for one in numbers)


def _spelled(party: Any) -> set[str]:
    if not isinstance(party, Mapping):
        return set()
    return {one for name in ("number", "e164") if isinstance(one := party.get(name), str) and one}
