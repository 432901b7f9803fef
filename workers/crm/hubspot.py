"""HubSpot: an object ``calls`` for each call, associated with a contact. Pure.

Source: docs/destinations.md, "HubSpot", with what is not verified.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.config import HubSpotDestination
from hub.forwarding.mapping import FORMATS
from hub.outgoing import Answer, Request
from workers.crm.crm import Common, Fields, ask, ends, present, start, title
from workers.crm.reading import identifier, refusal, table

_STATUS: Final = {"answered": "COMPLETED", "no_answer": "NO_ANSWER", "busy": "BUSY", "failed": "FAILED"}
_PHONES: Final = ("phone", "mobilephone")
_GROUPS: Final = 5  # that a search takes at most


class HubSpot:
    """``workers.crm.crm.Crm`` for HubSpot."""

    scheme = "Bearer"

    def __init__(self, settings: HubSpotDestination) -> None:
        self._common = Common.of(settings, settings.path)
        self._association = settings.association

    def find_call(self, call_id: str) -> Request:
        """By our property."""
        return self._search("calls", [(self._common.id_field, call_id)])

    def found_call(self, answer: Answer) -> str | None:
        """The first of the results."""
        return _first(answer)

    def find_contact(self, spellings: Sequence[str]) -> Request:
        """A group is an alternative: E.164 and the national form of both phones come first."""
        wanted = [(phone, number) for number in spellings for phone in _PHONES]
        return self._search("contacts", wanted[:_GROUPS])

    def found_contact(self, answer: Answer) -> str | None:
        """The first of the results."""
        return _first(answer)

    def create_contact(self, number: str) -> Request:
        """With its phone alone."""
        return ask("POST", f"{self._common.base}/contacts", {"properties": {"phone": number}})

    def created(self, answer: Answer) -> str:
        """The id of the new object."""
        return identifier(table(answer).get("id"), answer)

    def fields(self, record: Mapping[str, Any]) -> Fields:
        """Milliseconds; the direction as HubSpot's user sees it, which is ours."""
        shown = self._common.seen(record)
        caller, called = ends(record)
        seconds, direction = record.get("duration_seconds"), record.get("direction")
        link = shown.get("recording", {}).get("url")
        owned = {
            "hs_timestamp": str(FORMATS["epoch_ms"](start(record).isoformat())),
            "hs_call_duration": None if seconds is None else str(FORMATS["ms"](seconds)),
            "hs_call_direction": None if direction is None else str(direction).upper(),
            "hs_call_status": _STATUS.get(str(record.get("disposition"))),
            "hs_call_from_number": caller,
            "hs_call_to_number": called,
            "hs_call_recording_url": link if str(link).startswith("https://") else None,
        }
        return present(owned) | self._common.mapped(shown)

    def first_fields(self, record: Mapping[str, Any]) -> Fields:
        """Title, owner, origin."""
        return present(
            {
                "hs_call_title": title(record),
                "hs_call_source": "INTEGRATIONS_PLATFORM",
                "hubspot_owner_id": self._common.owner,
            }
        )

    def create_call(self, call_id: str, fields: Fields, contact: str | None) -> Request:
        """With our id in it, and its association."""
        body: dict[str, Any] = {"properties": {**fields, self._common.id_field: call_id}}
        if contact is not None:
            kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": self._association}
            body["associations"] = [{"to": {"id": contact}, "types": [kind]}]
        return ask("POST", f"{self._common.base}/calls", body)

    def update_call(self, remote_id: str, fields: Fields) -> Request:
        """A patch leaves every other property."""
        return ask("PATCH", f"{self._common.base}/calls/{remote_id}", {"properties": fields})

    def updated(self, answer: Answer) -> None:
        """The object comes back."""
        if table(answer).get("status") == "error":
            raise refusal(answer)

    def _search(self, what: str, wanted: Sequence[tuple[str, str]]) -> Request:
        groups = [{"filters": [{"propertyName": name, "operator": "EQ", "value": value}]} for name, value in wanted]
        return ask("POST", f"{self._common.base}/{what}/search", {"filterGroups": groups, "limit": 2})


def _first(answer: Answer) -> str | None:
    results = table(answer).get("results")
    if not isinstance(results, list):
        raise refusal(answer, "no results")
    return identifier(results[0].get("id"), answer) if results else None
