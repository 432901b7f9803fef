"""FocalScope's call events, decoded: a request becomes one event of one leg of a call. Pure.

Source: docs/vendors.md, chapter 2. The vendor states no time, so an event's time is that of its receipt.
"""

from collections.abc import Mapping
from typing import Final

from hub.errors import Unusable
from hub.events import Event, event_identity, identity, timestamp
from hub.ports import Callback
from hub.vendors.focalscope.variables import Ids, Variables, read_body, read_variables
from hub.vendors.values import phone

VENDOR: Final = "focalscope"
VERBS: Final[Mapping[str, str]] = {
    "start": "started",
    "pickup": "answered",
    "missed": "missed",
    "hangup": "hangup",
}
CODES: Final[Mapping[str, str]] = {"0": "start", "1": "hangup", "2": "pickup", "3": "missed"}
ROLES: Final[Mapping[str, str]] = {"api": "agent", "outgoing": "customer"}
DIRECTIONS: Final[Mapping[str, str]] = {"api": "outbound", "outgoing": "outbound", "incoming": "inbound"}
_KNOWN: Final = frozenset(
    {
        *("calltype", "event", "callid", "requestid", "eventcode", "iscallrecorded", "guid"),
        *("callerid", "did", "ext", "agent", "userid", "username", "queue"),
    }
)
_FLAGS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("0", "false", "no"), False),
}


class FocalScope:
    """The call events of one FocalScope server; a ``hub.ports.Vendor``.

    Args:
        source: name of the configured vendor connection.
        epoch: part of every call's identity, changed when the server's request ids start again.
        country: two letters; national numbers are read with it.
    """

    def __init__(self, *, source: str, epoch: str = "", country: str = "ES") -> None:
        self._source = source
        self._epoch = epoch
        self._country = country.upper()

    def decode(self, callback: Callback) -> list[Event]:
        """The one event of a callback.

        Raises:
            Unusable: with the first reason that applies, in the order event, undecodable, identity.
        """
        body = read_body(callback)
        variables = read_variables(callback.query, "" if isinstance(body, Unusable) else body)
        verb = _verb(variables)
        if isinstance(body, Unusable):
            raise body
        ids = variables.ids()
        return [self._event(self._call_id(ids), verb, ids, variables, callback)]

    def _call_id(self, ids: Ids) -> str:
        """Both legs of a dialled call share its request id; a call that was not dialled has its leg's id alone."""
        name = ids.request or ids.leg
        if not name:
            raise Unusable("identity", "none of RequestID, Guid and CallID says which call this is")
        return identity(VENDOR, self._source, self._epoch, name)

    def _event(self, call_id: str, verb: str, ids: Ids, variables: Variables, callback: Callback) -> Event:
        data = {
            "call_id": call_id,
            "vendor": VENDOR,
            "source": self._source,
            "event": verb,
            "origin": "callback",
            "received_at": timestamp(callback.received_at),
            "direction": _direction(ids, variables),
            "caller": self._phone(variables.get("CallerID")),
            "line": self._phone(variables.get("DID")),
            "leg": _present(id=ids.leg, role=_role(variables)),
            "agent": _present(name=variables.get("Agent"), extension=variables.get("Ext")),
            "queue": variables.get("Queue") or None,
            "recorded": _FLAGS.get(variables.get("IsCallRecorded").lower()),
            "vendor_ids": _present(request_id=ids.request, call_id=ids.call, call_uuid=ids.guid),
            "vendor_data": {name: values[0] if len(values) == 1 else [*values] for name, values in _sent(variables)},
        }
        # One leg may ring several agents in turn: what it says of each is an event of its own.
        leg = f"{ids.leg}/{variables.get('Ext')}/{variables.get('UserID')}"
        return Event(
            id=event_identity(call_id, verb, leg, [[name, sorted(values)] for name, values in _sent(variables)]),
            noun="call",
            vendor=VENDOR,
            verb=verb,
            source=self._source,
            time=callback.received_at,
            data={name: value for name, value in data.items() if value is not None},
            subject=call_id,
            unknown=_unknown(variables),
        )

    def _phone(self, number: str) -> dict[str, str] | None:
        return phone(number, country=self._country) if number else None


def _verb(variables: Variables) -> str:
    """The event by its name, else by its code: a code that disagrees with the name is the adapter's slip."""
    names = {name.lower() for name in variables.different("Event")}
    if not names:
        names = {CODES.get(code, f"code {code}") for code in variables.different("EventCode")}
    if not names:
        raise Unusable("event", "neither Event nor EventCode says which event this is")
    if len(names) > 1:
        raise Unusable("event", "the variable Event or EventCode has several values")
    (name,) = names
    verb = VERBS.get(name)
    if verb is None:
        raise Unusable("event", f"the event {name[:40]!r} is none of {', '.join(VERBS)}")
    return verb


def _unknown(variables: Variables) -> tuple[str, ...]:
    fields = ("field" for name in variables.known if name not in _KNOWN)
    codes = ("code" for code in variables.different("EventCode") if code not in CODES)
    return (*fields, *codes)


def _sent(variables: Variables) -> list[tuple[str, tuple[str, ...]]]:
    """All that was sent, by name: the order of a query's variables says nothing."""
    return sorted(variables.sent.items())


def _role(variables: Variables) -> str:
    kind = variables.get("CallType").lower()
    return ROLES.get(kind, kind)


def _direction(ids: Ids, variables: Variables) -> str | None:
    return DIRECTIONS.get(variables.get("CallType").lower(), "outbound" if ids.request else None)


def _present(**values: str) -> dict[str, str] | None:
    return {name: value for name, value in values.items() if value} or None
