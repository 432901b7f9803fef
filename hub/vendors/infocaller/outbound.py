"""Infocaller's outbound API ("emisión de llamadas"): it calls a number, and the line's rule group does the rest.

Source: docs/vendors.md, "Infocaller: outbound calls". What ``firma`` is made of, the JSON form and the answer stand in
no page that could be read: they are assumed, after what the same vendor's other APIs do.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, Final, Literal
from urllib.parse import urlencode

from hub.calls.facts import same_number
from hub.dialing.orders import Order
from hub.errors import Doubtful, Refused, Unacceptable
from hub.outgoing import Answer, Lane, Request, excerpt, verdict
from hub.ports.dialing import Placed
from hub.questions import is_name, printable
from hub.vendors.infocaller.wire import escaped
from hub.vendors.values import decode_text

FORM: Final = "application/x-www-form-urlencoded"
RESULTS: Final = {"0": "the call is issued"}
"""Result codes and their meaning; every other one is an error, with the answer's text."""

_NAMESPACE: Final = "http://tempuri.org/"
_ELEMENT: Final = re.compile(r"<(?:\w+:)?(idcall|Result|Text)\b[^<>/]*>([^<]*)<", re.IGNORECASE)
_DEEPEST: Final = 6


@dataclass(frozen=True, slots=True)
class Said:
    """An answer.

    Attributes:
        result: ``Result``; empty where there is none.
        idcall: what callbacks will call the request; empty where there is none.
        text: about the result.
    """

    result: str
    idcall: str
    text: str


class CallRequest:
    """What an Infocaller account can be asked for, and how it is written. Pure.

    Args:
        lines: line number → telephone password.
        form: ``xml`` or ``json``.
        signed: what ``firma`` is the MD5 of: a template over line, number, group and password.
        group: the rule group of an order without a campaign.
        wait: EsperaMax.
        retries: Reintentos.
        agent_variable: the variable that names an order's agent.
    """

    def __init__(
        self,
        *,
        lines: Mapping[str, str],
        form: Literal["xml", "json"] = "xml",
        signed: str = "{line}{number}{password}",
        group: str | None = None,
        wait: int | None = None,
        retries: int | None = None,
        agent_variable: str = "AGENT",
    ) -> None:
        self._lines = dict(lines)
        self._form = form
        self._signed = signed
        self._group = group
        self._wait, self._retries = wait, retries
        self._agent_variable = agent_variable

    def check(self, order: Order) -> None:
        """Raises Unacceptable where no line can issue it, no rule group is named, or a variable cannot be sent."""
        self._line(order)
        group = order.campaign or self._group
        if not group:
            raise Unacceptable("campaign is missing, expected the rule group that the call is given to")
        if not printable(group):
            raise Unacceptable("campaign is not of printable characters of ISO-8859-1")
        for name, value in self._variables(order).items():
            if not is_name(name):
                raise Unacceptable(f"variables.{name[:40]!r}: expected a name of 1 to 15 letters A-Z, a-z and digits")
            if not printable(value):
                raise Unacceptable(f"variables.{name}: expected printable characters of ISO-8859-1")

    def body(self, order: Order) -> bytes:
        """The form to post, of ASCII alone: no character set is left to be guessed. Raises as ``check`` does."""
        self.check(order)
        document = self._document(order)
        if self._form == "json":
            for variable in document["callData"]["CustVars"]["CustVar"]:
                variable["VarValue"] = escaped(variable["VarValue"])
            return urlencode({"apiCALLjson": json.dumps({"callRequest": document})}).encode()
        text = f"<callRequest xmlns='{_NAMESPACE}'>{_xml(document)}</callRequest>"
        return urlencode({"apiCALLxml": text.encode("ascii", "xmlcharrefreplace").decode()}).encode()

    def _document(self, order: Order) -> dict[str, Any]:
        line = self._line(order)
        group = order.campaign or self._group or ""
        variables = [{"VarName": name, "VarValue": value} for name, value in self._variables(order).items()]
        return {
            "UserID": {"idinfocaller": line, "firma": self._firma(line, order.destination, group)},
            "callData": {
                "numtelefono": order.destination,
                "gruporeglas": group,
                "fechahora": "",  # now
                "EsperaMax": "" if self._wait is None else str(self._wait),
                "Reintentos": "" if self._retries is None else str(self._retries),
                "CustVars": {"CustVar": variables},
            },
        }

    def _line(self, order: Order) -> str:
        known = [line for line in self._lines if same_number(line, order.caller_number)]
        if order.caller_number and not known:
            raise Unacceptable(f"caller_number is none of the source's lines, expected {', '.join(self._lines)}")
        if not order.caller_number and len(self._lines) != 1:
            raise Unacceptable(
                f"caller_number is missing, expected one of the source's lines: {', '.join(self._lines)}"
            )
        return known[0] if known else next(iter(self._lines))

    def _variables(self, order: Order) -> dict[str, str]:
        agent = {self._agent_variable: order.agent} if order.agent else {}
        return {**agent, **order.variables}

    def _firma(self, line: str, number: str, group: str) -> str:
        signed = self._signed.format(line=line, number=number, group=group, password=self._lines[line])
        return md5(signed.encode("iso-8859-1", "replace"), usedforsecurity=False).hexdigest()


class Outbound:
    """One Infocaller account that is told to call.

    Args:
        lane: who asks.
        request: how an order is written.
        url: ``outbound_url``.
    """

    def __init__(self, lane: Lane, request: CallRequest, *, url: str) -> None:
        """Opens nothing."""
        self._lane, self._request, self._url = lane, request, url

    async def dial(self, order: Order, before: float | None = None) -> Placed:
        """Has a call issued. Its callbacks name the request by ``idcall``, and the call by what nobody knows yet.

        Raises:
            Refused: a result other than 0, or an HTTP status that says so.
            Forbidden, Gone, Expired, RateLimited: likewise; nothing was issued.
            NotSent: certainly nothing was issued.
            Doubtful: no answer, a server's error, or an answer that says neither: it may be ringing.
        """
        said, _ = await self.ask(order, before)
        return Placed(said.idcall, None, {"idcall": said.idcall} if said.idcall else {})

    async def ask(self, order: Order, before: float | None = None) -> tuple[Said, str]:
        """What was answered, and the answer as it came. Raises as ``dial`` does."""
        request = Request(
            "POST", self._url, {"Content-Type": FORM, "Accept": "*/*"}, self._request.body(order), once=True
        )
        answer = await self._lane.ask(request, before=before)
        return judged(answer), decode_text(answer.body)


def _xml(value: Any) -> str:
    """Elements by their names, a list's members one after the other; the five reserved characters as entities."""
    if isinstance(value, dict):
        members = [(name, one) for name, some in value.items() for one in (some if isinstance(some, list) else [some])]
        return "".join(f"<{name}>{_xml(one)}</{name}>" for name, one in members)
    return escaped(str(value))


def judged(answer: Answer) -> Said:
    """A success; else the error that says what happens next. An error status counts before the body."""
    problem = verdict(answer, datetime.now(UTC))
    if problem is not None:
        raise problem
    said = read_answer(answer.body)
    if said.result and said.result not in RESULTS:
        raise Refused(
            answer.status, f"answered with result {said.result[:20]}: {excerpt(said.text.encode())}".rstrip(": ")
        )
    if not said.result and not said.idcall:
        raise Doubtful(f"the answer has neither Result nor idcall: {excerpt(answer.body) or 'it is empty'}")
    return said


def read_answer(body: bytes) -> Said:
    """``Result``, ``idcall`` and ``Text`` wherever they stand, in JSON or XML; total."""
    text = decode_text(body)
    try:
        found = dict(_walk(json.loads(text), 0))
    except (ValueError, RecursionError):
        found = {}
        for name, value in _ELEMENT.findall(text):
            found.setdefault(name.lower(), value.strip())
    idcall = found.get("idcall", "")
    return Said(found.get("result", ""), "" if idcall == "0" else idcall, found.get("text", ""))


def _walk(value: Any, depth: int) -> list[tuple[str, str]]:
    """Every text and number of a JSON value by its key in lower case; the outermost one of a name counts."""
    if depth > _DEEPEST:
        return []
    if isinstance(value, list):
        return [pair for one in value for pair in _walk(one, depth + 1)]
    if not isinstance(value, dict):
        return []
    inner = [pair for one in value.values() for pair in _walk(one, depth + 1)]
    plain = [
        (str(name).lower(), str(one).strip())
        for name, one in value.items()
        if isinstance(one, str | int) and not isinstance(one, bool)
    ]
    return inner + plain
