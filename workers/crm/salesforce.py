"""Salesforce: a ``Task`` for each call. Pure.

Source: docs/destinations.md, "Salesforce", with what is not verified.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from hub.config import SalesforceDestination
from hub.forwarding.mapping import FORMATS
from hub.outgoing import Answer, Request
from workers.crm.crm import Common, Fields, ask, present, start, title
from workers.crm.reading import identifier, refusal, table

_QUERY: Final = "SELECT Id FROM {what} WHERE {where} ORDER BY CreatedDate LIMIT 1"
_TYPE: Final = {"inbound": "Inbound", "outbound": "Outbound"}
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"})


class Salesforce:
    """``workers.crm.crm.Crm`` for Salesforce."""

    scheme = "Bearer"

    def __init__(self, settings: SalesforceDestination) -> None:
        self._common = Common.of(settings, settings.path)
        self._contact = settings.contact

    def find_call(self, call_id: str) -> Request:
        """By the field that has our id; the oldest, should there be two."""
        field = self._common.id_field
        return self._query("Task", f"{field} = {_quoted(call_id)}")

    def found_call(self, answer: Answer) -> str | None:
        """The first record."""
        return _first(answer)

    def find_contact(self, spellings: Sequence[str]) -> Request:
        """By both phones."""
        among = f"IN ({', '.join(map(_quoted, spellings))})"
        return self._query(self._contact, f"Phone {among} OR MobilePhone {among}")

    def found_contact(self, answer: Answer) -> str | None:
        """The first record."""
        return _first(answer)

    def create_contact(self, number: str) -> Request:
        """A contact must have a last name, a lead a company too."""
        fields = {"LastName": number, "Phone": number}
        if self._contact == "Lead":
            fields["Company"] = number
        return ask("POST", f"{self._common.base}/sobjects/{self._contact}", fields)

    def created(self, answer: Answer) -> str:
        """``{"id": …, "success": true, "errors": []}``."""
        told = table(answer)
        if told.get("success") is False or told.get("errors"):
            raise refusal(answer)
        return identifier(told.get("id"), answer)

    def fields(self, record: Mapping[str, Any]) -> Fields:
        """Whole seconds."""
        seconds = record.get("duration_seconds")
        owned = {
            "CallDurationInSeconds": None if seconds is None else FORMATS["seconds"](seconds),
            "CallType": _TYPE.get(str(record.get("direction"))),
            "CallDisposition": record.get("disposition"),
            "ActivityDate": start(record).date().isoformat(),
        }
        return present(owned) | self._common.mapped(self._common.seen(record))

    def first_fields(self, record: Mapping[str, Any]) -> Fields:
        """What makes a task a call, and a line for people."""
        return present(
            {"Subject": title(record), "Status": "Completed", "TaskSubtype": "Call", "OwnerId": self._common.owner}
        )

    def create_call(self, call_id: str, fields: Fields, contact: str | None) -> Request:
        """With our id in it."""
        body = {**fields, self._common.id_field: call_id, **({} if contact is None else {"WhoId": contact})}
        return ask("POST", f"{self._common.base}/sobjects/Task", body)

    def update_call(self, remote_id: str, fields: Fields) -> Request:
        """A patch leaves every other field."""
        return ask("PATCH", f"{self._common.base}/sobjects/Task/{remote_id}", fields)

    def updated(self, answer: Answer) -> None:
        """204, without a body."""
        if answer.body and table(answer).get("success") is False:
            raise refusal(answer)

    def _query(self, what: str, where: str) -> Request:
        text = _QUERY.format(what=what, where=where)
        return ask("GET", f"{self._common.base}/query?q={quote(text, safe='')}")


def _quoted(text: str) -> str:
    return f"'{text.translate(_ESCAPES)}'"


def _first(answer: Answer) -> str | None:
    records = table(answer).get("records")
    if not isinstance(records, list):
        raise refusal(answer, "no records")
    return identifier(records[0].get("Id"), answer) if records else None
