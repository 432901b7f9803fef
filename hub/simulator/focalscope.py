"""FocalScope calls as the vendor's requests: GET, everything in the query, one request for each event of a leg.

Source: the vendor's page and samples. Parameter names are those of its sample adapter, and of the longer one that the
hub recommends. After a missed leg's hangup comes, at once, a second request that says ``missed``. Which of them sends
``start`` is not known, so some calls do and some do not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from hub.events import identity
from hub.simulator import people
from hub.simulator.call import Call, Request, Source
from hub.simulator.dice import Dice

_CODES: Final = {"start": 0, "hangup": 1, "pickup": 2, "missed": 3}
_FIRST_CALL_ID: Final = 1_000_000_000_000  # the samples' call ids have thirteen digits: more than 32 bits


@dataclass(frozen=True, slots=True)
class _Style:
    """How the server and its adapter are configured, and what this call's values look like.

    Attributes:
        whole: the hub's recommended adapter; else the sample's seven parameters.
        starts: the server tells ``start``.
        charset: of percent-encoded values.
        upper: GUIDs in upper case.
        no_request: how a call without a request id shows it.
        no_queue: how a call without a queue shows it.
        recorded: IsCallRecorded on hangup; it is empty elsewhere.
    """

    whole: bool
    starts: bool
    charset: str
    upper: bool
    no_request: str
    no_queue: str
    recorded: str


def _style(dice: Dice) -> _Style:
    return _Style(
        whole=dice.chance(0.5),
        starts=dice.chance(0.5),
        charset=dice.pick(("utf-8", "iso-8859-1")),
        upper=dice.chance(0.25),
        no_request=dice.pick(("", "", "0", "{{DialApiRequestID}}")),
        no_queue=dice.pick(("", "{{LastQueueName}}")),
        recorded=dice.pick(("", "0")),
    )


@dataclass(frozen=True, slots=True)
class _Leg:
    kind: str
    call_id: int
    guid: str
    agent: tuple[str, str, str, str]


@dataclass(slots=True)
class _Life:
    """A call while it is being made up; ``clock`` counts seconds from its start."""

    dice: Dice
    source: Source
    serial: int
    style: _Style
    dialled: bool
    caller: str
    queue: str = ""
    recorded: bool = False
    clock: float = 0.0
    legs: int = 0
    guid: str = ""  # the first leg's, which names a call that nobody dialled
    requests: list[Request] = field(default_factory=list)

    def leg(self, kind: str, agent: tuple[str, str, str, str]) -> _Leg:
        """A new leg: both of its ids are its own."""
        self.legs += 1
        guid = self.dice.uuid()
        guid = guid.upper() if self.style.upper else guid
        self.guid = self.guid or guid
        return _Leg(kind, _FIRST_CALL_ID + self.serial * 10 + self.legs, guid, agent)

    def tell(self, leg: _Leg, event: str, low: float, high: float) -> None:
        """The next event, between ``low`` and ``high`` seconds after the one before."""
        self.clock = round(self.clock + self.dice.seconds(low, high), 3)
        if event == "start" and not self.style.starts:
            return
        self.requests.append(
            Request(
                at=self.clock,
                method="GET",
                path=f"/callbacks/{self.source.name}/{self.source.token}",
                query=self.query(leg, event),
                content_type="",
                body=b"",
            )
        )

    def miss(self, leg: _Leg) -> None:
        """It rings, nobody answers: hangup and, right after it, missed."""
        self.tell(leg, "start", 0.1, 1)
        self.tell(leg, "hangup", 10, 30)
        self.tell(leg, "missed", 0.01, 0.1)

    def query(self, leg: _Leg, event: str) -> str:
        """The adapter's query with its placeholders replaced; one that has nothing to say may stay as it is."""
        style, hung_up = self.style, event == "hangup"
        recorded = "1" if self.recorded else style.recorded
        values = {
            "CallType": leg.kind,
            "Event": event,
            "CallID": str(leg.call_id),
            "RequestID": str(self.serial) if self.dialled else style.no_request,
            "EventCode": str(_CODES[event]),
            "IsCallRecorded": recorded if hung_up else "",
            "Guid": leg.guid,
        }
        # Without the extension two agents of one call send the very same hangup: such a desk needs the longer adapter.
        if style.whole or not self.dialled:
            extension, name, user, login = leg.agent
            values |= {
                "CallerID": self.caller,
                "DID": self.source.line,
                "Ext": extension,
                "Agent": name,
                "UserID": user,
                "UserName": login,
                "Queue": self.queue or style.no_queue,
            }
        # Braces are left as they are, like every placeholder that the vendor did not replace.
        return "&".join(f"{name}={quote(value, safe='{}', encoding=style.charset)}" for name, value in values.items())


def _dialled(dice: Dice, source: Source, serial: int) -> _Life:
    return _Life(dice, source, serial, _style(dice), dialled=True, caller=source.line)


def _incoming(dice: Dice, source: Source, serial: int) -> _Life:
    life = _Life(dice, source, serial, _style(dice), dialled=False, caller=people.caller(dice))
    life.queue = dice.pick(people.QUEUES)
    return life


def _answered(life: _Life) -> None:
    """Agent first, then the customer; the customer's side hangs up first, as in the vendor's samples."""
    agent = life.dice.pick(people.AGENTS)
    desk, customer = life.leg("API", agent), life.leg("Outgoing", agent)
    life.tell(desk, "start", 0.1, 1)
    life.tell(desk, "pickup", 1, 8)
    life.tell(customer, "start", 0.1, 1)
    life.tell(customer, "pickup", 3, 20)
    life.tell(customer, "hangup", 10, 240)
    life.tell(desk, "hangup", 0.05, 1)


def _click_to_dial_answered(dice: Dice, source: Source, serial: int) -> _Life:
    life = _dialled(dice, source, serial)
    _answered(life)
    return life


def _both_recorded(dice: Dice, source: Source, serial: int) -> _Life:
    life = _dialled(dice, source, serial)
    life.recorded = True
    _answered(life)
    return life


def _agent_missed(dice: Dice, source: Source, serial: int) -> _Life:
    life = _dialled(dice, source, serial)
    life.miss(life.leg("API", dice.pick(people.AGENTS)))
    return life


def _customer_missed(dice: Dice, source: Source, serial: int) -> _Life:
    life = _dialled(dice, source, serial)
    agent = dice.pick(people.AGENTS)
    desk, customer = life.leg("API", agent), life.leg("Outgoing", agent)
    life.tell(desk, "start", 0.1, 1)
    life.tell(desk, "pickup", 1, 8)
    life.miss(customer)
    life.tell(desk, "hangup", 0.05, 1)
    return life


def _talk(life: _Life, leg: _Leg) -> None:
    life.tell(leg, "start", 0.1, 1)
    life.tell(leg, "pickup", 2, 15)
    life.tell(leg, "hangup", 10, 240)


def _inbound_answered_queue(dice: Dice, source: Source, serial: int) -> _Life:
    life = _incoming(dice, source, serial)
    _talk(life, life.leg("Incoming", dice.pick(people.AGENTS)))
    return life


def _inbound_missed_then_answered(dice: Dice, source: Source, serial: int) -> _Life:
    """Two agents in turn, one call: nothing but the GUID ties them together, so they share it, and the call id."""
    life = _incoming(dice, source, serial)
    first, second = dice.sample(people.AGENTS, 2)
    rung = life.leg("Incoming", first)
    life.miss(rung)
    _talk(life, _Leg(rung.kind, rung.call_id, rung.guid, second))
    return life


LIVES: Final[dict[str, Callable[[Dice, Source, int], _Life]]] = {
    "click-to-dial-answered": _click_to_dial_answered,
    "agent-missed": _agent_missed,
    "customer-missed": _customer_missed,
    "both-recorded": _both_recorded,
    "inbound-answered-queue": _inbound_answered_queue,
    "inbound-missed-then-answered": _inbound_missed_then_answered,
}
"""Each scenario as a function of the dice, the source, and the server's request id."""


def focalscope_call(scenario: str, dice: Dice, source: Source, serial: int) -> Call:
    """One call.

    Args:
        scenario: one of ``LIVES``.
        dice: the call's own.
        source: where it is sent.
        serial: the server's request id, one for each call; CallIDs follow from it.
    """
    life = LIVES[scenario](dice, source, serial)
    name = str(serial) if life.dialled else life.guid.lower()
    key = identity("focalscope", source.name, source.epoch, name)
    return Call(key, source.name, "focalscope", scenario, tuple(life.requests))
