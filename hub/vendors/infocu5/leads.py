"""Leads for INFOCU5's dialers, as its XML of version 2.4 and as the JSON that version 3.1 may want. Pure.

Source: docs/vendors.md, chapter 3. A lead is what its fields say; the number of a payment card is none of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lxml import etree

from hub.errors import Doubtful, Permanent
from hub.respooling.words import LEAD_FIELDS
from hub.vendors.infocu5.card import NAME, is_card

MOST: Final = 10
"""Leads in one post."""

FIELDS: Final = LEAD_FIELDS


def checked(leads: Any) -> list[dict[str, str]]:
    """Leads that may be posted together.

    Raises:
        Permanent: too many or none, no objects, a field that a lead does not have, or a payment card's. Values are
            never in the message.
    """
    if not isinstance(leads, Sequence) or isinstance(leads, str | bytes) or not 1 <= len(leads) <= MOST:
        found = len(leads) if isinstance(leads, Sequence) and not isinstance(leads, str | bytes) else "no list"
        raise Permanent(f"leads: found {found}; expected 1 to {MOST} of them in one post")
    return [_lead(number, lead) for number, lead in enumerate(leads, 1)]


def _lead(number: int, lead: Any) -> dict[str, str]:
    if not isinstance(lead, Mapping):
        raise Permanent(f"lead {number}: found no object; expected fields by name")
    for name, value in lead.items():
        if is_card(str(name)):
            raise Permanent(f"lead {number}: found {NAME}: a payment card's number is never sent, kept or logged")
        if name not in FIELDS:
            raise Permanent(f"lead {number}: found the field {str(name)[:40]!r}; expected {', '.join(FIELDS)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise Permanent(f"lead {number}: {name} is no text")
    return {name: str(value) for name, value in lead.items() if value is not None}


def as_xml(head: Mapping[str, str], leads: Sequence[Mapping[str, str]]) -> bytes:
    """The body of version 2.4: the root element names the function, a lead's fields carry its number.

    Args:
        head: credentials, dialer and list, by the names of their elements.
        leads: as ``checked`` returns them.

    Raises:
        Permanent: a value has a character that XML cannot hold.
    """
    root = etree.Element("addLeads")
    numbered = ((f"{name}_{n}", value) for n, lead in enumerate(leads, 1) for name, value in lead.items())
    for name, value in (*head.items(), *numbered):
        try:
            etree.SubElement(root, name).text = value
        except ValueError:
            raise Permanent(f"{name}: it has a character that XML cannot hold") from None
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def as_fields(head: Mapping[str, str], leads: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What version 3.1 may want beside ``dialerFunction``: the name ``leads`` is a guess."""
    return {**head, "leads": [dict(lead) for lead in leads]}


def read_xml(body: bytes) -> dict[str, Any]:
    """An answer of version 2.4 in the names of 3.1: ``responseCode``, ``responseMessage``, ``responseDetails``.

    Raises:
        Doubtful: it is no such answer: what became of the request is not known.
    """
    try:
        if b"<!DOCTYPE" in body:
            raise Doubtful("the answer has a DOCTYPE")
        root = etree.fromstring(body.strip(), etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        raise Doubtful("the answer is not XML") from None
    if etree.QName(root).localname != "dialerResponse":
        raise Doubtful("the answer is XML without dialerResponse")
    answer: dict[str, Any] = {}
    details: list[dict[str, str]] = []
    for child in root.iterchildren(tag=etree.Element):
        name = etree.QName(child).localname
        if len(child):
            inner = child.iterchildren(tag=etree.Element)
            details.append({etree.QName(each).localname: (each.text or "").strip() for each in inner})
        else:
            answer[name] = (child.text or "").strip()
    return {**answer, "responseDetails": details} if details else answer
