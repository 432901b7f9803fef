"""uContact's event webhooks, decoded: a POST of JSON becomes one event of a call, or of an agent. Pure.

Source: docs/vendors.md, chapter 4. The vendor's ``date`` is malformed (minutes where the month belongs): it is kept as
text, and an event's time is that of its receipt. Fields that the pages do not show are read under the names that the
vendor's own tables have, and kept whatever they are called.
"""

from collections.abc import Mapping
from typing import Any, Final

from hub.errors import Unusable
from hub.events import Event, event_identity, identity, timestamp
from hub.ports import Callback
from hub.vendors.json_text import loads, storable
from hub.vendors.ucontact.tasks import read_variables
from hub.vendors.values import decode_text, phone, read_query

VENDOR: Final = "ucontact"

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "AgentRingNoAnswer": ("call", "missed"),
    "FinishInteraction": ("call", "ended"),
    "InteractionDisposition": ("call", "dispositioned"),
    "Disposition": ("call", "dispositioned"),
    "SentDisposition": ("call", "dispositioned"),
    "AgentLog": ("agent", "log"),
    "AgentBreak": ("agent", "break"),
    "AssignInteraction": ("agent", "assigned"),
}
"""Noun and verb of each event; an agent's flag makes the verb more exact, see ``FLAGS``."""

FLAGS: Final[Mapping[str, tuple[str, str, str]]] = {
    "AgentLog": ("isLogin", "login", "logout"),
    "AgentBreak": ("isBreak", "break_started", "break_ended"),
}
"""The field of an agent's event that says which of two verbs it is."""

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "AgentRingNoAnswer": frozenset({"agent", "agentnumber", "agentfullname", "calleridnum", "campaign"}),
    "FinishInteraction": frozenset({"guid", "campaign", "agent"}),
    **dict.fromkeys(("InteractionDisposition", "Disposition", "SentDisposition"), frozenset({"guid"})),
    "AgentLog": frozenset({"agent", "islogin"}),
    "AgentBreak": frozenset({"agent", "motive", "isbreak"}),
    "AssignInteraction": frozenset(),
}
"""What the pages name of each event, in small letters, beside ``event`` and ``date``."""

OTHER_CHANNELS: Final = frozenset(
    {
        *("webchat", "chat", "sms", "email", "mail", "whatsapp", "facebook", "messenger", "instagram", "telegram"),
        *("twitter", "video", "teams"),
    }
)
"""Channels whose interactions are no calls: FinishInteraction is told of all channels."""

_KNOWN: Final = {name.lower(): name for name in EVENTS}
_TRUE: Final = {"true": True, "1": True, "false": False, "0": False}
_CATEGORY: Final = ("disposition", "dispositionname", "value")
_VARIABLES: Final = ("data", "parandvalues", "parandvals")


class UContactEvents:
    """The event webhooks of one instance; a ``hub.ports.Vendor``.

    Args:
        source: name of the configured vendor connection.
        country: two letters; national numbers are read with it.
        dispositions: what an agent's disposition says of how the call went.
        recorded: calls of this instance are recorded, as far as we are to know.
    """

    def __init__(
        self,
        *,
        source: str,
        country: str = "ES",
        dispositions: Mapping[str, str] | None = None,
        recorded: bool = False,
    ) -> None:
        """Asks for nothing."""
        self._source = source
        self._country = country.upper()
        self._dispositions = {name.strip().casefold(): outcome for name, outcome in (dispositions or {}).items()}
        self._recorded = recorded

    def decode(self, callback: Callback) -> list[Event]:
        """The one event of a callback.

        Raises:
            Unusable: ``undecodable``: no JSON object; ``event``: no event, or one that the pages do not name;
                ``identity``: an event of a call without its guid. AgentRingNoAnswer and agents' events need none.
        """
        said = _Said(_read(callback), _variables(callback.query))
        name = _event(said)
        noun, verb = _meaning(name, said)
        if noun == "call" and verb != "missed" and not said.text("guid"):
            raise Unusable("identity", f"{name} has no guid, which says which call this is")
        known = {"event", "date"} | FIELDS[name]
        return [self._made(noun, verb, said, callback, tuple("field" for one in said.fields if one not in known))]

    def _made(self, noun: str, verb: str, said: "_Said", callback: Callback, unknown: tuple[str, ...]) -> Event:
        guid, agent = said.text("guid"), said.text("agent")
        call_id = identity(VENDOR, self._source, guid) if guid and not said.elsewhere else None
        data = {
            "call_id": call_id,
            "vendor": VENDOR,
            "source": self._source,
            "event": verb,
            "origin": "callback",
            "received_at": timestamp(callback.received_at),
            "agent": _present(name=agent, extension=said.text("agentnumber")),
            "campaign": said.text("campaign") or None,
            "vendor_ids": {"guid": guid} if guid else None,
            **(self._of_a_call(verb, said) if noun != "agent" else _of_an_agent(said)),
            "vendor_data": said.sent | ({"query": said.query} if said.query else {}),
        }
        about = call_id or identity(VENDOR, self._source)  # of no call: of the instance
        return Event(
            id=event_identity(about, verb, f"{agent}/{said.text('agentnumber')}", [noun, said.sent, said.query]),
            noun=noun,
            vendor=VENDOR,
            verb=verb,
            source=self._source,
            time=callback.received_at,
            data={field: value for field, value in data.items() if value is not None},
            subject=call_id,
            unknown=unknown,
        )

    def _of_a_call(self, verb: str, said: "_Said") -> dict[str, Any]:
        caller, category = said.text("calleridnum", "callerid"), said.text(*_CATEGORY)
        return {
            "caller": phone(caller, country=self._country) if caller else None,
            "list": said.text("dialerlist", "dialerbase", "dialebase") or None,
            "contact": said.text("contactid", "contact") or None,
            "variables": said.variables() or None,
            "category": category or None,
            "disposition": self._dispositions.get(category.casefold()) if category else None,
            "recorded": True if verb == "ended" and self._recorded else None,
        }


def _of_an_agent(said: "_Said") -> dict[str, Any]:
    return {"motive": said.text("motive") or None}


# --- what was sent ---------------------------------------------------------------------------------------------------


class _Said:
    """A JSON object's fields, by their names in small letters; the first of two that differ only so stands.

    Attributes:
        sent: as it came.
        query: variables of the URL, which the vendor does not have of itself.
        fields: by name; what a member ``Dialer`` or ``cti`` holds, a form's addition, is among them.
    """

    def __init__(self, sent: dict[str, Any], query: dict[str, Any]) -> None:
        self.sent = sent
        self.query = query
        self.fields: dict[str, Any] = {}
        for name, value in sent.items():
            self.fields.setdefault(name.strip().lower(), value)
        self._inner: dict[str, Any] = {}
        for name in ("dialer", "cti"):
            part = self.fields.get(name)
            if isinstance(part, Mapping):
                self._inner |= {str(key).strip().lower(): value for key, value in part.items()}

    @property
    def elsewhere(self) -> bool:
        """Whether it is of a channel where there are no calls."""
        return self.text("channel").lower().replace("-", "") in OTHER_CHANNELS

    def text(self, *names: str) -> str:
        """The first of the fields that has a text or a number; empty without."""
        for fields in (self.fields, self._inner):
            for name in names:
                value = fields.get(name)
                if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
                    return str(value).strip()
        return ""

    def flag(self, name: str) -> bool | None:
        """A flag, as JSON has it or as a word; None without."""
        value = self.fields.get(name.lower())
        return value if isinstance(value, bool) else _TRUE.get(str(value).strip().lower())

    def variables(self) -> dict[str, str]:
        """The form's variables, ``k=v:k=v`` or an object."""
        for name in _VARIABLES:
            value = self.fields.get(name, self._inner.get(name))
            if isinstance(value, str):
                return read_variables(value)
            if isinstance(value, Mapping):
                return {str(key): str(one) for key, one in value.items() if isinstance(one, str | int)}
        return {}


def _read(callback: Callback) -> dict[str, Any]:
    text = decode_text(callback.body).strip()
    if not text:
        raise Unusable("event", "there is no body, and so no event")
    sent = loads(text)
    if not isinstance(sent, dict):
        raise Unusable("undecodable", f"the JSON is no object, but a {type(sent).__name__}")
    stored: dict[str, Any] = storable(sent)
    return stored


def _variables(query: str) -> dict[str, Any]:
    read = storable(read_query(query))
    return {name: values[0] if len(values) == 1 else values for name, values in read.items()}


def _event(said: _Said) -> str:
    named = said.fields.get("event")
    if not isinstance(named, str) or not named.strip():
        raise Unusable("event", "the field event does not say which event this is")
    known = _KNOWN.get(named.strip().lower())
    if known is None:
        raise Unusable("event", f"the event {named[:40]!r} is none of {', '.join(EVENTS)}")
    return known


def _meaning(name: str, said: _Said) -> tuple[str, str]:
    """Noun and verb; of another channel than telephony it is no call, and of an unknown flag the verb is vague."""
    noun, verb = EVENTS[name]
    if noun == "call" and said.elsewhere:
        return "interaction", verb
    if name in FLAGS:
        field, yes, no = FLAGS[name]
        flag = said.flag(field)
        return noun, verb if flag is None else (yes if flag else no)
    return noun, verb


def _present(**values: str) -> dict[str, str] | None:
    return {name: value for name, value in values.items() if value} or None
