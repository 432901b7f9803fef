"""FocalScope's dial API: a link that rings the agent, then the number, and answers with a request id.

Source: docs/vendors.md, "FocalScope: dial". The link's address, its parameters and its method are not public: they are
the customer's template. The answer is printed as ``{RequestID:513}``, which is not JSON.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson

from hub.configured import VARIABLE_FIELD
from hub.dialing.orders import Order
from hub.errors import Doubtful, Unacceptable
from hub.events import identity
from hub.outgoing import Answer, Lane, Request, excerpt, verdict
from hub.ports.dialing import Placed
from hub.vendors.focalscope.callbacks import VENDOR
from hub.vendors.values import decode_text

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_ID: Final = re.compile(r"""["']?\bRequestID\b["']?\s*[:=]\s*["']?(\d{1,20})\b""", re.IGNORECASE)
_NAME: Final = "requestid"
_LONGEST: Final = 20  # digits


class DialLink:
    """What a FocalScope server can be asked for: what its template has a place for. Pure.

    Args:
        source: name of the configured vendor connection.
        template: ``dial_url``.
        adapter: the name of the URL adapter that calls us back.
    """

    def __init__(self, *, source: str, template: str, adapter: str) -> None:
        self._source = source
        self._template = template
        self._adapter = adapter
        self._fields = frozenset(_FIELD.findall(template))

    def check(self, order: Order) -> None:
        """Raises Unacceptable where the template needs what the order lacks, or has no place for a variable."""
        if "agent" in self._fields and not order.agent:
            raise Unacceptable("agent is missing, expected who is rung first: the source's dial_url names {agent}")
        for name in order.variables:
            if VARIABLE_FIELD + name not in self._fields:
                raise Unacceptable(
                    f"variables.{name[:40]}: the source's dial_url has no {{{VARIABLE_FIELD}{name[:40]}}}"
                )

    def url(self, order: Order) -> str:
        """The link; every value is encoded. Raises Unacceptable as ``check`` does."""
        self.check(order)
        values = {
            "number": order.destination,
            "agent": order.agent,
            "adapter": self._adapter,
            "caller_number": order.caller_number,
            "campaign": order.campaign,
            "source": self._source,
        } | {VARIABLE_FIELD + name: value for name, value in order.variables.items()}
        return _FIELD.sub(lambda found: quote(values.get(found[1], ""), safe=""), self._template)


class DialClient:
    """One FocalScope server that is told to dial.

    Args:
        lane: who asks.
        link: what is asked for.
        source: name of the configured vendor connection.
        epoch: part of every call's identity.
        method: ``GET`` or ``POST``.
        headers: sent along, for instance ``Authorization``.
    """

    def __init__(
        self, lane: Lane, link: DialLink, *, source: str, epoch: str, method: str, headers: Mapping[str, str]
    ) -> None:
        """Opens nothing."""
        self._lane, self._link = lane, link
        self._source, self._epoch = source, epoch
        self._method, self._headers = method, dict(headers)

    async def dial(self, order: Order, before: float | None = None) -> Placed:
        """Places a call; its request id identifies the call.

        Raises:
            Refused, Forbidden, Gone, Expired, RateLimited: it said no; nothing was dialled.
            NotSent: certainly nothing was dialled.
            Doubtful: no answer, a server's error, or an answer that names no request: it may be ringing.
        """
        number, _ = await self.ask(order, before)
        call_id = identity(VENDOR, self._source, self._epoch, number)
        return Placed(number, call_id, {"request_id": number})

    async def ask(self, order: Order, before: float | None = None) -> tuple[str, str]:
        """The request id, and the answer as it came. Raises as ``dial`` does."""
        request = Request(self._method, self._link.url(order), self._headers, once=True)
        answer = await self._lane.ask(request, before=before)
        return request_id(answer), decode_text(answer.body)


def request_id(answer: Answer) -> str:
    """The id in an answer, as callbacks write it: positive, without leading zeros.

    An error status counts before the body: a page of a failed server may show any text.

    Raises:
        Doubtful: there is none, or it is 0; and what ``verdict`` says of the status.
    """
    problem = verdict(answer, datetime.now(UTC))
    if problem is not None:
        raise problem
    found = {one.lstrip("0") for one in _ids(answer.body)} - {""}
    if len(found) != 1:
        what = "names several requests" if found else "names no request"
        raise Doubtful(f"the answer {what}, expected {{RequestID:n}}: {excerpt(answer.body) or 'it is empty'}")
    return found.pop()


def _ids(body: bytes) -> list[str]:
    text = decode_text(body)
    try:
        return _in_json(orjson.loads(text))
    except orjson.JSONDecodeError:
        return [found[1] for found in _ID.finditer(text)]


def _in_json(said: Any) -> list[str]:
    """In an object, or in an array of them, at the first level; a bare number is the id alone."""
    every = said if isinstance(said, list) else [said]
    values = [
        value
        for one in every
        for name, value in (one.items() if isinstance(one, dict) else [(_NAME, one)])
        if name.strip().lower() == _NAME and not isinstance(value, bool)
    ]
    texts = [str(value).strip() for value in values if isinstance(value, int | str)]
    return [text for text in texts if text.isascii() and text.isdecimal() and len(text) <= _LONGEST]
