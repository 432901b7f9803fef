"""Zoho CRM: an entry of the module ``Calls`` for each call. Pure.

Source: docs/destinations.md, "Zoho CRM", with what is not verified.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from hub.config import ZohoDestination
from hub.errors import Doubtful, Refused
from hub.forwarding.mapping import FORMATS
from hub.outgoing import Answer, Request, excerpt
from workers.crm.crm import Common, Fields, ask, present, start, title
from workers.crm.reading import identifier, refusal, table

_NOTHING: Final = 204
_MISSED: Final = frozenset({"no_answer", "busy", "failed"})
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "(": "\\(", ")": "\\)", ",": "\\,"})
_PASSING: Final = frozenset({"INTERNAL_ERROR", "TOO_MANY_REQUESTS", "RECORD_LOCKED"})


class Zoho:
    """``workers.crm.crm.Crm`` for Zoho."""

    scheme = "Zoho-oauthtoken"

    def __init__(self, settings: ZohoDestination) -> None:
        self._common = Common.of(settings, settings.path)
        self._contact = settings.contact

    def find_call(self, call_id: str) -> Request:
        """By our field."""
        return self._search("Calls", [(self._common.id_field, call_id)])

    def found_call(self, answer: Answer) -> str | None:
        """The first entry; 204 is none."""
        return _first(answer)

    def find_contact(self, spellings: Sequence[str]) -> Request:
        """By both phones."""
        return self._search(self._contact, [(phone, one) for one in spellings for phone in ("Phone", "Mobile")])

    def found_contact(self, answer: Answer) -> str | None:
        """The first entry; 204 is none."""
        return _first(answer)

    def create_contact(self, number: str) -> Request:
        """A contact must have a last name, a lead a company too."""
        fields = {"Last_Name": number, "Phone": number, **({"Company": number} if self._contact == "Leads" else {})}
        return ask("POST", f"{self._common.base}/{self._contact}", {"data": [fields]})

    def created(self, answer: Answer) -> str:
        """``{"data": [{"status": "success", "details": {"id": …}}]}``: an error comes with a 2xx too."""
        return identifier((_entry(answer).get("details") or {}).get("id"), answer)

    def fields(self, record: Mapping[str, Any]) -> Fields:
        """``mm:ss`` as text; an inbound call that nobody took is of a type of its own."""
        shown = self._common.seen(record)
        seconds = record.get("duration_seconds")
        owned = {
            "Call_Type": _type(record),
            "Call_Start_Time": FORMATS["iso"](start(record).isoformat()),
            "Call_Duration": None if seconds is None else FORMATS["mmss"](seconds),
            "Voice_Recording__s": shown.get("recording", {}).get("url"),
        }
        return present(owned) | self._common.mapped(shown)

    def first_fields(self, record: Mapping[str, Any]) -> Fields:
        """A line for people, and whose it is."""
        owner = None if self._common.owner is None else {"id": self._common.owner}
        return present({"Subject": title(record), "Owner": owner})

    def create_call(self, call_id: str, fields: Fields, contact: str | None) -> Request:
        """With our id in it."""
        entry = {**fields, self._common.id_field: call_id}
        if contact is not None:
            # A lead is no contact: it is what the call is about.
            lead = {"What_Id": {"id": contact}, "$se_module": self._contact}
            entry |= {"Who_Id": {"id": contact}} if self._contact == "Contacts" else lead
        return ask("POST", f"{self._common.base}/Calls", {"data": [entry]})

    def update_call(self, remote_id: str, fields: Fields) -> Request:
        """Fields that are not named stay."""
        return ask("PUT", f"{self._common.base}/Calls/{remote_id}", {"data": [fields]})

    def updated(self, answer: Answer) -> None:
        """As when it was made."""
        _entry(answer)

    def _search(self, module: str, wanted: Sequence[tuple[str, str]]) -> Request:
        alternatives = [f"({field}:equals:{value.translate(_ESCAPES)})" for field, value in wanted]
        criteria = "or".join(alternatives)
        if len(alternatives) > 1:
            criteria = f"({criteria})"
        return ask("GET", f"{self._common.base}/{module}/search?criteria={quote(criteria, safe='')}")


def _type(record: Mapping[str, Any]) -> str | None:
    direction, disposition = record.get("direction"), record.get("disposition")
    if direction == "outbound":
        return "Outbound"
    if direction is None:
        return None
    return "Missed" if disposition in _MISSED else "Inbound"


def _first(answer: Answer) -> str | None:
    if answer.status == _NOTHING or not answer.body:
        return None
    entries = table(answer).get("data")
    if not isinstance(entries, list):
        raise refusal(answer, "no data")
    return identifier(entries[0].get("id"), answer) if entries else None


def _entry(answer: Answer) -> dict[str, Any]:
    """The one result. Raises Refused for an error inside, Doubtful where it may pass or cannot be read."""
    told = table(answer)
    entries = told.get("data")
    entry = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else told
    if entry.get("status") == "success":
        return entry
    if entry.get("status") != "error" or entry.get("code") in _PASSING:
        raise Doubtful(f"{answer.status} with {entry.get('code', 'no word of success')}: {excerpt(answer.body)}")
    raise Refused(answer.status, f"{answer.status} with {entry.get('code')} inside: {excerpt(answer.body)}")
