"""Infocaller's informative callbacks, decoded: a request becomes one event about a call. Pure.

Source: docs/vendors.md, chapter 1. The event's kind is in the URL alone; the body says all the rest, or nothing, and
then the URL's variables do.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from hub.errors import Unusable
from hub.events import Event, event_identity, identity
from hub.ports import Callback
from hub.vendors.infocaller import parties, times
from hub.vendors.infocaller.actions import action, canonical, when
from hub.vendors.infocaller.payload import read_payload
from hub.vendors.infocaller.signature import is_signed
from hub.vendors.infocaller.unknown import unknown
from hub.vendors.infocaller.variables import Variables, read_variables
from hub.vendors.infocaller.wire import Said, Tree, field, read_tree
from hub.vendors.values import count, money

VENDOR: Final = "infocaller"
VERBS: Final[Mapping[str, str]] = {
    "inicio": "started",
    "desvio_correcto": "answered",
    "desvio": "answered",
    "desvio_fallido": "missed",
    "fin": "ended",
}
_OF_A_LEG: Final = ("answered", "missed")
_DIRECTIONS: Final[Mapping[str, str]] = {"R": "inbound", "E": "outbound"}


class Infocaller:
    """The informative callbacks of one Infocaller connection; a ``hub.ports.Vendor``.

    Args:
        source: name of the configured vendor connection.
        lines: line number → telephone password, of every line of the connection.
        timezone: IANA name of the zone of the vendor's times.
        country: two letters; national numbers are read with it.
        require_signature: refuse callbacks without a body, which cannot be signed.
        refuse_bad_signature: judge the signature first of all, so that a stranger learns nothing else.
    """

    def __init__(
        self,
        *,
        source: str,
        lines: Mapping[str, str],
        timezone: str,
        country: str,
        require_signature: bool = False,
        refuse_bad_signature: bool = False,
    ) -> None:
        self._source = source
        self._lines = dict(lines)
        self._zone = ZoneInfo(timezone)
        self._country = country.upper()
        self._require_signature = require_signature
        self._refuse_bad_signature = refuse_bad_signature

    def decode(self, callback: Callback) -> list[Event]:
        """The one event of a callback.

        Raises:
            Unusable: with the first reason that applies, in the order event, undecodable, signature, identity; with
                ``refuse_bad_signature``, signature comes first wherever the body can be read.
        """
        variables = read_variables(callback.query)
        body = _body(callback)
        if self._refuse_bad_signature and not isinstance(body, Unusable):
            self._prove(body and body.tree)
        verb = _verb(callback.event, variables)
        if isinstance(body, Unusable):
            raise body
        self._prove(body and body.tree)
        call_id = self._call_id(body and body.tree, variables)
        return [self._event(call_id, verb, body or Said({}, {}), variables, callback.received_at)]

    # --- who sent it, and which call it is about ---------------------------------------------------------------------

    def _prove(self, tree: Tree | None) -> None:
        if tree is None:
            if self._require_signature:
                raise Unusable("signature", "no body, so no signature, which this source requires")
        elif not is_signed(tree.get("UserID", {}), self._lines):
            line = field(tree.get("UserID", {}), "LineNumber")
            known = line in self._lines
            raise Unusable("signature", "the Signature is wrong" if known else f"the source has no line {line[:20]!r}")

    def _call_id(self, tree: Tree | None, variables: Variables) -> str:
        number, uuid, line = variables.identity()
        if tree is not None:
            user = tree.get("UserID", {})
            sequence = field(user, "CallSequence")
            if not sequence:
                raise Unusable("identity", "the body has no CallSequence")
            return identity(VENDOR, self._source, field(user, "LineNumber"), sequence)
        if not (number or uuid):
            raise Unusable("identity", "neither a body nor a URL variable id or uuid says which call this is")
        if not line:
            if len(self._lines) != 1:
                raise Unusable("identity", "no URL variable num, and the source has not just one line")
            (line,) = self._lines
        return identity(VENDOR, self._source, line, number or uuid)

    # --- what it says ------------------------------------------------------------------------------------------------

    def _event(self, call_id: str, verb: str, body: Said, variables: Variables, received_at: datetime) -> Event:
        tree = body.tree
        leg = variables.get("desvio") if verb in _OF_A_LEG else ""
        infocaller = tree.get("Infocaller", {})
        seconds = count(field(infocaller, "CallSeconds"))
        started_at, ended_at = times.span(
            times.readings(field(infocaller, "StartDate"), self._zone),
            times.readings(field(infocaller, "EndDate"), self._zone),
            seconds,
            received_at,
        )
        occurred_at = {"started": started_at, "ended": ended_at}.get(verb)
        data = {
            "call_id": call_id,
            "vendor": VENDOR,
            "source": self._source,
            "event": verb,
            "origin": "callback",
            "occurred_at": _stamp(occurred_at),
            "received_at": times.stamp(received_at),
            "direction": _DIRECTIONS.get(parties.call_type(infocaller)),
            "caller": parties.caller(infocaller, self._country, variables.get("caller")),
            "line": parties.line(tree, self._country, variables.get("called") or variables.get("num")),
            "callee": parties.callee(infocaller, self._country),
            "leg": _leg(verb, leg),
            "started_at": _stamp(started_at),
            "ended_at": _stamp(ended_at),
            "duration_seconds": seconds,
            "cost": _cost(infocaller),
            "actions": self._actions(_events(tree), (started_at, ended_at), received_at),
            "variables": parties.user_variables(tree) or None,
            "vendor_ids": _vendor_ids(tree, variables),
            "vendor_data": _all_of_it(_unsigned(body.sent), variables),
        }
        return Event(
            id=event_identity(call_id, verb, leg, _content(_unsigned(tree), variables)),
            noun="call",
            vendor=VENDOR,
            verb=verb,
            source=self._source,
            time=occurred_at or received_at,
            data={name: value for name, value in data.items() if value is not None},
            subject=call_id,
            unknown=unknown(tree, _events(tree)),
        )

    def _actions(
        self, events: list[Any], call: tuple[datetime | None, datetime | None], received_at: datetime
    ) -> list[dict[str, Any]] | None:
        return [
            action(event, _stamp(times.during(times.readings(when(event), self._zone), call, received_at)))
            for event in events
            if isinstance(event, dict)
        ] or None


# --- the parts that need nothing of the connection -------------------------------------------------------------------


def _verb(event: str | None, variables: Variables) -> str:
    named = (event.strip().lower(),) if event and event.strip() else variables.events
    if not named:
        raise Unusable("event", "neither the path nor a URL variable eve says which event this is")
    if len(named) > 1:
        raise Unusable("event", "the URL variable eve has several values")
    verb = VERBS.get(named[0])
    if verb is None:
        raise Unusable("event", f"the event {named[0][:40]!r} is none of {', '.join(VERBS)}")
    return verb


def _body(callback: Callback) -> Said | Unusable | None:
    """What the body says, None where there is none; or why it cannot be read, which has its turn after the event."""
    try:
        text = read_payload(callback.body, callback.content_type)
        return read_tree(text) if text else None
    except Unusable as undecodable:
        return undecodable


def _unsigned(tree: Tree) -> Tree:
    """All but the signature, which is a secret, and says nothing that the rest does not."""
    user = tree.get("UserID")
    if not isinstance(user, dict):
        return tree
    return tree | {"UserID": {name: value for name, value in user.items() if name != "Signature"}}


def _all_of_it(sent: Tree, variables: Variables) -> Tree:
    """The body's sections, and beside them the URL's variables; one that is named like a section is below ``query``."""
    clashing = {name: value for name, value in variables.sent.items() if name in sent}
    return {**variables.sent, **sent, **({"query": clashing} if clashing else {})}


def _content(sent: Tree, variables: Variables) -> list[Any]:
    """What the event's identity is taken from: all that was said, each price in one spelling."""
    if events := _events(sent):
        status = sent["Status"]
        sent = sent | {
            "Status": status | {"Events": status["Events"] | {"Event": [canonical(item) for item in events]}}
        }
    return [sent, variables.all]


def _events(tree: Tree) -> list[Any]:
    events: list[Any] = tree.get("Status", {}).get("Events", {}).get("Event", [])
    return events


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else times.stamp(moment)


def _leg(verb: str, number: str) -> dict[str, Any] | None:
    if verb not in _OF_A_LEG:
        return None
    return {"role": "agent", "number": number} if number else {"role": "agent"}


def _cost(infocaller: Tree) -> dict[str, str] | None:
    received, issued = money(field(infocaller, "CostRX")), money(field(infocaller, "CostTX"))
    return _present(received=received, issued=issued)


def _vendor_ids(tree: Tree, variables: Variables) -> dict[str, str] | None:
    return _present(
        call_sequence=field(tree.get("UserID", {}), "CallSequence"),
        id_llamada=variables.get("id"),
        uuid=variables.get("uuid"),
        idcall=field(tree.get("Infocaller", {}), "idcall"),
    )


def _present(**values: str | None) -> dict[str, str] | None:
    return {name: value for name, value in values.items() if value} or None
