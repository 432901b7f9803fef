"""What happens in an Infocaller call, second by second; how it is written down is ``infocaller_wire``'s matter.

Source: the vendor's table of events and of action codes. The order of a call's callbacks is always INICIO, any number
of DESVIO, FIN; an issued call that nobody answers has FIN alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hub.simulator import people
from hub.simulator.dice import Dice


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of FIN's breakdown: ``at`` in whole seconds from the start, ``info`` is EventAddInfo1 to 5."""

    code: int
    at: int
    name: str
    info: tuple[str, str, str, str, str] = ("", "", "", "", "")


@dataclass(frozen=True, slots=True)
class Moment:
    """One callback: the URL's event, when, the diverted number, and the variables defined so far."""

    event: str
    at: int
    diverted: str
    variables: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Life:
    """A call while it is being made up; every verb moves its clock on.

    Attributes:
        caller: who rings; ``X`` where hidden; the line itself in an issued call.
        outbound: the destination of an issued call, else empty.
        request_id: ``idcall`` of an issued call, else empty.
        received, issued: the two costs, six decimals.
        clock: seconds from the start; at the end, the call's duration.
    """

    dice: Dice
    caller: str
    outbound: str = ""
    request_id: str = ""
    received: str = "0.000000"
    issued: str = "0.000000"
    clock: int = 0
    actions: list[Action] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def tell(self, event: str, diverted: str = "") -> None:
        """The vendor calls the URL of ``event`` now."""
        self.moments.append(Moment(event, self.clock, diverted, tuple(self.variables.items())))

    def act(
        self, code: int, name: str, lasts: int, info: tuple[str, str, str, str, str] = ("", "", "", "", "")
    ) -> None:
        """An action that takes ``lasts`` seconds."""
        self.actions.append(Action(code, self.clock, name, info))
        self.clock += lasts

    def begin(self) -> None:
        """Answered by the service: INICIO, the rules, a greeting."""
        self.tell("inicio")
        self.act(14, self.dice.pick(people.RULES), 1)
        self.act(1, "Bienvenida", self.dice.integer(3, 12))

    def divert(self, number: str, *, answered: bool) -> None:
        """Rings a number: DESVIO_CORRECTO and a talk, or DESVIO_FALLIDO."""
        began = self.clock
        self.clock += self.dice.integer(4, 25)
        talk = self.dice.integer(20, 240) if answered else 0
        price = people.amount(self.dice, 0.02, 0.4) if answered else "0.00"
        self.tell("desvio_correcto" if answered else "desvio_fallido", number)
        self.actions.append(Action(2, began, number, ("", "", str(talk), price, "")))
        self.clock += max(talk, 1)

    def end(self) -> None:
        """Hung up: FIN, immediately."""
        self.tell("fin")


def _received(dice: Dice, caller: str | None = None) -> Life:
    return Life(dice, people.caller(dice) if caller is None else caller, received=people.cost(dice, 0.04, 0.9))


def _inbound_answered(dice: Dice, line: str) -> Life:
    del line
    life = _received(dice)
    life.begin()
    life.divert(people.geographic(dice), answered=True)
    life.end()
    return life


def _inbound_two_failed_then_answered(dice: Dice, line: str) -> Life:
    del line
    life = _received(dice)
    life.begin()
    # One of each kind and two of which cannot meet: the same number twice would be one event, not two.
    first, second, third = people.geographic(dice), people.mobile(dice), people.geographic(dice)
    life.divert(first, answered=False)
    life.act(21, "Continuar tras desvío", 1)
    life.divert(second, answered=False)
    life.act(21, "Continuar tras desvío", 1)
    life.divert(third if third != first else people.mobile(dice), answered=True)
    life.end()
    return life


def _inbound_abandoned(dice: Dice, line: str) -> Life:
    del line
    life = _received(dice)
    life.begin()
    life.act(16, "Cola de espera", dice.integer(5, 40))
    # The caller hangs up while it rings: neither DESVIO is told, and FIN lists the attempt with no duration.
    life.act(2, people.geographic(dice), dice.integer(3, 20), ("", "", "0", "0.00", ""))
    life.end()
    return life


def _issued(dice: Dice, line: str) -> Life:
    return Life(
        dice,
        line,
        outbound=people.caller(dice),
        request_id=str(dice.integer(100_000, 99_999_999)),
        issued=people.cost(dice, 0.02, 0.6),
    )


def _outbound_issued(dice: Dice, line: str) -> Life:
    life = _issued(dice, line)
    life.begin()
    life.divert(people.geographic(dice), answered=True)
    life.end()
    return life


def _outbound_unanswered(dice: Dice, line: str) -> Life:
    life = _issued(dice, line)
    life.issued = "0.000000"
    life.act(14, dice.pick(people.RULES), dice.integer(15, 45))
    life.end()
    return life


def _ivr_variables(dice: Dice, line: str) -> Life:
    del line
    life = _received(dice)
    life.begin()
    order, option = dice.digits(9), str(dice.integer(1, 4))
    life.act(4, "Marque su código de pedido", dice.integer(4, 15), (order, "", "", "", ""))
    life.variables["NUMPEDIDO"] = order
    life.act(6, "Menú principal", dice.integer(2, 9), (option, "", "", "", ""))
    life.variables["OPCION"] = option
    life.act(17, "ESTADO PEDIDO", 1, ("0", "", "", "", ""))
    life.variables["PEDIDO"] = str(dice.integer(0, 2))
    life.variables["CLIENTE"] = dice.pick(people.CUSTOMERS)
    life.act(18, f"PEDIDO={life.variables['PEDIDO']}", 1)
    life.act(1, "Su pedido está siendo preparado", dice.integer(4, 12))
    life.act(7, "Fin de llamada", 1)
    life.end()
    return life


def _sms_and_email(dice: Dice, line: str) -> Life:
    del line
    life = _received(dice)
    life.begin()
    life.variables["EMPRESA"] = dice.pick(people.CUSTOMERS)
    life.divert(people.mobile(dice), answered=False)
    life.act(12, "Envío de SMS", 1, ("", "", "", people.amount(dice, 0.05, 0.12), ""))
    life.act(11, "Envío de correo", 1, ("", "", "", "0.00", ""))
    life.act(7, "Fin de llamada", 1, ("", "", "", people.amount(dice, 0.05, 0.12), ""))
    life.end()
    return life


def _hidden_caller(dice: Dice, line: str) -> Life:
    del line
    life = _received(dice, "X")
    life.begin()
    life.divert(people.mobile(dice), answered=True)
    life.end()
    return life


LIVES: Final[dict[str, Callable[[Dice, str], Life]]] = {
    "inbound-answered": _inbound_answered,
    "inbound-two-failed-then-answered": _inbound_two_failed_then_answered,
    "inbound-abandoned": _inbound_abandoned,
    "outbound-issued": _outbound_issued,
    "outbound-unanswered": _outbound_unanswered,
    "ivr-variables": _ivr_variables,
    "sms-and-email": _sms_and_email,
    "hidden-caller": _hidden_caller,
}
"""Each scenario as a function of the dice and of the line's number."""
