"""A call of a dialer as the agent's browser knows it, and the object that gives it back to the dialer. Pure.

Source: docs/vendors.md, chapter 4. The CTI object lives encrypted in the agent's browser: the customer's own form hands
it to us. Of its dialer part the page says which fields may be changed; the others upset the dialer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hub.errors import Permanent
from hub.vendors.ucontact.tasks import joined, named, number, read_variables, split, variables

FIXED: Final = ("campaign", "status", "contact", "dialerbase")
"""What must stay as the dialer gave it."""

CHANGEABLE: Final = ("destination", "alternatives", "retries", "priority", "data", "agentphone")

# As the page lists them, in its order; and how real forms and the page itself spell them.
_ORDER: Final = (
    *("campaign", "destination", "status", "data", "alternatives", "retries", "contact", "dialerbase", "priority"),
    "agentphone",
)
_SPELLED: Final[Mapping[str, str]] = {
    "mainnumber": "destination",
    "main": "destination",
    "number": "destination",
    "phone": "destination",
    "dialebase": "dialerbase",
    "parandvals": "data",
    "parandvalues": "data",
    "alternative": "alternatives",
    "contactid": "contact",
    "agent": "agentphone",
}
_STATUS: Final = 1
_MOST_RETRIES: Final = 999
_LETTERS: Final = re.compile(r"[^a-z]")


@dataclass(frozen=True, slots=True)
class Respool:
    """A contact that goes back to its dialer.

    Attributes:
        campaign: with its arrow. Fixed, like status, contact and dialerbase.
        destination: the main number.
        contact: its id at the dialer.
        dialerbase: the list it is of.
        status: always 1.
        alternatives: other numbers, in order.
        retries: of the main number.
        priority: 1 is the highest, 9999 the ordinary one.
        data: variables for the form or workflow.
        agentphone: extension of the agent who is to take it; empty for any.
    """

    campaign: str
    destination: str
    contact: str
    dialerbase: str
    status: int = _STATUS
    alternatives: tuple[str, ...] = ()
    retries: int = 0
    priority: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    agentphone: str = ""

    def changed(self, **changes: Any) -> "Respool":
        """The same contact with some of ``CHANGEABLE`` changed. Raises Permanent for a field that is fixed, or none."""
        for name in changes:
            if name in FIXED:
                raise Permanent(f"respool: {name} must stay as the dialer gave it; expected {', '.join(CHANGEABLE)}")
            if name not in CHANGEABLE:
                raise Permanent(f"respool: found {name[:40]!r}; expected {', '.join(CHANGEABLE)}")
        return replace(self, **changes)

    def promoted(self) -> "Respool":
        """The next alternative is the main number, not yet retried; the one before it goes to the end.

        Raises:
            Permanent: it has no alternative.
        """
        if not self.alternatives:
            raise Permanent("respool: there is no alternative number")
        first, *rest = self.alternatives
        main = first.rpartition("=")[2]  # H=0=999555555 has its kind before it
        return replace(self, destination=main, alternatives=(*rest, self.destination), retries=0)

    def shown(self) -> dict[str, Any]:
        """The object as the vendor gets it, in the page's order. Raises Permanent for values that it could not read."""
        if not 0 <= self.retries <= _MOST_RETRIES:
            raise Permanent(f"respool: retries is {self.retries}; expected 0 to {_MOST_RETRIES}")
        values = {
            "campaign": named("campaign", self.campaign),
            "destination": number("destination", self.destination),
            "status": self.status,
            "data": variables(self.data),
            "alternatives": joined(self.alternatives),
            "retries": self.retries,
            "contact": named("contact", self.contact),
            "dialerbase": named("dialerbase", self.dialerbase),
            "priority": self.priority,
            "agentphone": self.agentphone,
        }
        return {name: values[name] for name in _ORDER}


def from_cti(cti: Mapping[str, Any]) -> Respool:
    """The respool object of a CTI object, or of the dialer's part of one, with nothing changed.

    Args:
        cti: with a member ``Dialer``, an object or an array in the page's order; or that member's own fields. Names in
            any case and with any spaces; values as text or numbers, upper-case words for flags.

    Raises:
        Permanent: it is no call of a dialer, or lacks what must not change.
    """
    part = next((value for name, value in cti.items() if _plain(str(name)) == "dialer"), cti)
    if isinstance(part, Sequence) and not isinstance(part, str | bytes):
        part = dict(zip(_ORDER, part, strict=False))
    if not isinstance(part, Mapping):
        raise Permanent("cti: it has no dialer part; expected a call that a dialer made")
    known = {_named(str(name)): value for name, value in part.items() if _named(str(name)) in _ORDER}
    lacking = [name for name in ("campaign", "destination", "contact", "dialerbase") if not _text(known.get(name))]
    if lacking:
        raise Permanent(f"cti: found no {', '.join(lacking)}; expected a call that a dialer made")
    return Respool(
        campaign=_text(known["campaign"]),
        destination=_text(known["destination"]),
        contact=_text(known["contact"]),
        dialerbase=_text(known["dialerbase"]),
        status=_count("status", known.get("status"), _STATUS),
        alternatives=_numbers(known.get("alternatives")),
        retries=_count("retries", known.get("retries"), 0),
        priority=_text(known.get("priority")),
        data=_data(known.get("data")),
        agentphone=_text(known.get("agentphone")),
    )


def _plain(name: str) -> str:
    return _LETTERS.sub("", name.lower())


def _named(name: str) -> str:
    plain = _plain(name)
    return _SPELLED.get(plain, plain)


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _count(name: str, value: Any, default: int) -> int:
    text = _text(value)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):  # noqa: PLR2004
        raise Permanent(f"cti: {name} is no number; expected digits")
    return int(text)


def _numbers(value: Any) -> tuple[str, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(_text(one) for one in value if _text(one))
    return split(_text(value))


def _data(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): _text(one) for name, one in value.items()}
    return read_variables(_text(value))
