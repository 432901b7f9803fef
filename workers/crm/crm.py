"""What a CRM has to be able to say: the seam that each kind of CRM fills. Pure: requests out, answers in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson

from hub.config import CrmDestination
from hub.events import moment
from hub.forwarding.mapping import Template, filled, seen
from hub.outgoing import Answer, Request

JSON_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}
Fields = dict[str, Any]


class Crm(Protocol):
    """One CRM. What reads an answer is given those with a 2xx; it raises Doubtful, Refused or another error.

    Attributes:
        scheme: the first word of ``Authorization``.
    """

    scheme: str

    def find_call(self, call_id: str) -> Request:
        """Looks for the record of a call of ours."""
        ...

    def found_call(self, answer: Answer) -> str | None:
        """Its id; None where there is none."""
        ...

    def find_contact(self, spellings: Sequence[str]) -> Request:
        """Looks for whoever has a number, in any of its spellings."""
        ...

    def found_contact(self, answer: Answer) -> str | None:
        """The contact's id; None where there is none."""
        ...

    def create_contact(self, number: str) -> Request:
        """Makes a contact that is nothing but a number."""
        ...

    def created(self, answer: Answer) -> str:
        """The id of what was made, a call or a contact."""
        ...

    def fields(self, record: Mapping[str, Any]) -> Fields:
        """What we own of the record there: written when it is made, and whenever it differs."""
        ...

    def first_fields(self, record: Mapping[str, Any]) -> Fields:
        """What is written when it is made, and is people's from then on."""
        ...

    def create_call(self, call_id: str, fields: Fields, contact: str | None) -> Request:
        """Makes the record of a call."""
        ...

    def update_call(self, remote_id: str, fields: Fields) -> Request:
        """Writes what we own, and nothing else."""
        ...

    def updated(self, answer: Answer) -> None:
        """Raises where it was not."""
        ...


@dataclass(frozen=True)
class Common:
    """What the kinds of CRMs share.

    Attributes:
        base: address and path of its API.
        mapping: fields of the operator's own.
    """

    base: str
    id_field: str
    owner: str | None
    mapping: Mapping[str, Template]
    recording_url: Template | None

    @classmethod
    def of(cls, settings: CrmDestination, path: str) -> "Common":
        """As configured."""
        return cls(
            base=settings.url + path,
            id_field=settings.id_field,
            owner=settings.owner,
            mapping={name: Template(text) for name, text in settings.mapping.items()},
            recording_url=None if settings.recording_url is None else Template(settings.recording_url),
        )

    def seen(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with what templates find beside it. Raises Permanent."""
        return seen(record, self.recording_url)

    def mapped(self, shown: Mapping[str, Any]) -> Fields:
        """The operator's own fields. Raises Permanent."""
        return filled(self.mapping, shown)


def ask(method: str, url: str, body: Any = None) -> Request:
    """A request with JSON."""
    return Request(method, url, dict(JSON_HEADERS), None if body is None else orjson.dumps(body))


def start(record: Mapping[str, Any]) -> datetime:
    """When the call began, as well as it is known: a record at a CRM has to stand somewhere on a line of time."""
    for name in ("started_at", "answered_at", "ended_at"):
        if record.get(name):
            return moment(str(record[name]))
    sealed = record.get("sealed") or {}
    return moment(str(sealed["at"])) if sealed.get("at") else datetime(1970, 1, 1, tzinfo=UTC)


def ends(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """From which number to which: E.164 where it is known."""
    ours, outer = _number(record.get("line")), _number(record.get("caller"))
    if record.get("direction") == "outbound":
        return ours, _number(record.get("callee"))
    return outer, ours


def title(record: Mapping[str, Any]) -> str:
    """A line for people."""
    outer = ends(record)[1 if record.get("direction") == "outbound" else 0]
    way = "to" if record.get("direction") == "outbound" else "from"
    return f"Call {way} {outer or 'a withheld number'}"


def present(fields: Mapping[str, Any]) -> Fields:
    """Without what is not known."""
    return {name: value for name, value in fields.items() if value is not None}


def _number(party: Any) -> str | None:
    return (party.get("e164") or party.get("number")) if isinstance(party, Mapping) else None
