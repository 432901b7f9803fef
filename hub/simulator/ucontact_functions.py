"""The functions of a simulated uContact: what each understands, what it does, what it answers.

Written from docs/vendors.md for itself. Where the vendor's endpoint or object is not public, this one has the same
default as the client.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from aiohttp import web

from hub.simulator.ucontact_books import (
    BLACKLIST_KEYS,
    RESPOOL_KEYS,
    SCHEDULE_KEYS,
    TASK_KEYS,
    Books,
    is_calldate,
    read_object,
    read_rows,
)

CLASSIC: Final = "/Integra/resources"
CHANNELS: Final = "/IntegraChannels/resources"
CAMPAIGNS: Final = ("POWER<-", "Demo<-", "Sale->")
_AGENT_STATES: Final = (
    *("AgentLogoff", "AgentPause", "AgentUnPause", "AgentPauseNoLog", "AgentUnPauseNoLog"),
    *("AgentBreak", "AgentUnBreak"),
)
_CALL: Final = ("callerid", "agent", "phone", "tech", "context", "outqueue", "destination")

Form = Mapping[str, str]
Done = Callable[[Form], str | web.Response]


@dataclass
class Functions:
    """What an instance can do for whoever is let in.

    Attributes:
        agents: passwords by agent, for AgentLogin.
        load_seconds: that a list takes to load.
        audio: of a recording, by guid.
        place: of the four, the one that has the recordings.
        books: what has been done.
        clock: our time.
    """

    agents: dict[str, str] = field(default_factory=lambda: {"agentTest": "secret"})
    load_seconds: float = 0.2
    audio: dict[str, bytes] = field(default_factory=dict)
    place: str = "archive"
    books: Books = field(default_factory=Books)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def classic(self) -> dict[str, Done]:
        """The classic functions by their paths."""
        dialers = f"{CLASSIC}/Dialers"
        return {
            f"{CLASSIC}/Agents/AgentCall": self._agent_call,
            f"{CLASSIC}/Agents/HangupPhone": self._hang_up,
            f"{CLASSIC}/api/AgentLogin": self._agent_login,
            **{f"{CLASSIC}/api/{name}": self._kept(name, "agent", "interface") for name in _AGENT_STATES},
            f"{CLASSIC}/Dispositions/DispositionCall": self._kept("DispositionCall", "guid", "disposition"),
            f"{CLASSIC}/Workflows/ExternalCall": self._kept("WorkflowCall", "workflow"),
            f"{dialers}/DialerTask": self._dialer_task,
            f"{dialers}/ScheduleDialerCall": self._schedule,
            f"{dialers}/RespoolCall": self._respool,
            f"{dialers}/DeleteContact": self._deleted("DeleteContact", "campaign", "contact"),
            f"{dialers}/DeleteSchedule": self._deleted("DeleteSchedule", "campaign", "destination", "calldate"),
            f"{dialers}/uploadbase": self._upload,
            f"{dialers}/uploadbaseTimezone": self._upload,
            f"{CLASSIC}/Blacklist/AddBlacklist": self._blacklist(one=True, remove=False),
            f"{CLASSIC}/Blacklist/AddBlacklists": self._blacklist(one=False, remove=False),
            f"{CLASSIC}/Blacklist/RemoveBlacklist": self._blacklist(one=True, remove=True),
            f"{CLASSIC}/Blacklist/RemoveBlacklists": self._blacklist(one=False, remove=True),
            f"{CLASSIC}/Recordings/GetRecordings": self._recordings,
            f"{CLASSIC}/Recordings/ConvertRecording": self._convert,
            f"{CLASSIC}/Recordings/TagRecording": self._kept("TagRecording", "guid", "tag"),
            f"{CLASSIC}/Campaigns/CampaignsSummary": lambda _: as_json(self._campaigns(short=True)),
            f"{CLASSIC}/Campaigns/CampaignStatus": self._campaign_status,
            f"{CHANNELS}/AgentResources/GetCampaigns": lambda _: as_json(list(CAMPAIGNS)),
            f"{CLASSIC}/SMS/SendSMS": lambda form: "OK" if self._sms(form) else "ERROR",
            f"{CLASSIC}/SMS/SendSMSv2": lambda form: as_json({"id": self._sms(form)}),
        }

    def automation(self) -> dict[str, Callable[[str, dict[str, Any]], web.Response]]:
        """The functions of the newer generation, by their names."""
        return {"lists": self._lists, "listState": self._list_state, "freshLeads": self._fresh_leads}

    # --- calls -------------------------------------------------------------------------------------------------------

    def _agent_call(self, form: Form) -> str:
        if not all(form.get(name) for name in _CALL):
            return "0"
        guid = str(uuid4())
        self.books.calls[guid] = {**form, "state": "ringing"}
        return guid

    def _hang_up(self, form: Form) -> str:
        calls = [call for call in self.books.calls.values() if call["phone"] == form.get("phone")]
        live = [call for call in calls if call["state"] != "ended"]
        for call in live:
            call["state"] = "ended"
        return "1" if live else "0"

    def _agent_login(self, form: Form) -> str:
        if self.agents.get(form.get("agent", "")) != form.get("password"):
            return "1"
        return "3" if form.get("force") == "1" else "0"

    def _kept(self, name: str, *wanted: str) -> Done:
        def function(form: Form) -> str:
            if not all(form.get(one) for one in wanted):
                return "0"
            self.books.done.append((name, dict(form)))
            return "1"

        return function

    # --- dialers -----------------------------------------------------------------------------------------------------

    def _dialer_task(self, form: Form) -> str:
        said = read_object(form.get("call"), TASK_KEYS)
        if said is None or not said["campaign"] or not said["destination"]:
            return "0"
        if said["calldate"] is not None and not is_calldate(said["calldate"]):
            return "0"
        self.books.dial("DialerTask", said, self.clock())
        return "1"

    def _schedule(self, form: Form) -> str:
        said = read_object(form.get("callschedule"), SCHEDULE_KEYS)
        if said is None or not said["campaign"] or not said["destination"] or not is_calldate(said["calldate"]):
            return "0"
        self.books.dial("ScheduleDialerCall", said, self.clock())
        return "1"

    def _respool(self, form: Form) -> str:
        said = read_object(form.get("respool"), RESPOOL_KEYS)
        if said is None or said["status"] != 1 or not all(said[one] for one in ("campaign", "contact", "dialerbase")):
            return "0"
        self.books.dial("RespoolCall", said, self.clock())
        return "1"

    def _deleted(self, name: str, *wanted: str) -> Done:
        def function(form: Form) -> str:
            if not all(form.get(one) for one in wanted):
                return "0"
            self.books.deleted.append((name, dict(form)))
            return "1"

        return function

    def _upload(self, form: Form) -> str:
        try:
            text = base64.b64decode(form.get("fileb64", ""), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return "0"
        rows = read_rows(form.get("filename", ""), text, form.get("campaign", ""), form.get("cant", ""))
        if rows is None or not form.get("username"):
            return "0"
        self.books.uploads[form["filename"]] = rows
        return "1"

    def _blacklist(self, *, one: bool, remove: bool) -> Done:
        def function(form: Form) -> str:
            try:
                said = json.loads(form.get("blacklist", ""))
            except ValueError:
                return "0"
            rows = [said] if one else said
            if not isinstance(rows, list) or not rows:
                return "0"
            if not all(isinstance(row, dict) and row.keys() >= BLACKLIST_KEYS for row in rows):
                return "0"
            for row in rows:
                held = self.books.blacklist.setdefault(row["clientId"], set())
                (held.discard if remove else held.add)(row["campaign"])
                if not held:
                    del self.books.blacklist[row["clientId"]]
            return "1"

        return function

    # --- recordings, campaigns, the rest -----------------------------------------------------------------------------

    def _recordings(self, form: Form) -> web.Response:
        guid = form.get("guid", "")
        found = [{"guid": guid, "place": self.place, "file": f"recordings/{self.place}/{guid}"}]
        return as_json(found if guid in self.audio else [])

    def _convert(self, form: Form) -> str:
        guid = form.get("guid", "")
        return f"recordings/{self.place}/{guid}.{form.get('format')}" if guid in self.audio else "0"

    def _campaigns(self, *, short: bool) -> list[dict[str, Any]]:
        counts = {name: sum(dial.campaign == name for dial in self.books.dials) for name in CAMPAIGNS}
        rows = [{"campaign": name, "calls": counts[name]} for name in CAMPAIGNS]
        return rows if short else [{**row, "agents": ["agentTest"], "waiting": 0} for row in rows]

    def _campaign_status(self, form: Form) -> web.Response:
        wanted = form.get("campaign")
        return as_json([row for row in self._campaigns(short=False) if wanted in (None, row["campaign"])])

    def _sms(self, form: Form) -> str:
        if not form.get("destination") or not form.get("message"):
            return ""
        self.books.done.append(("SendSMS", dict(form)))
        return str(len(self.books.done))

    # --- automation --------------------------------------------------------------------------------------------------

    def _lists(self, hub: str, said: dict[str, Any]) -> web.Response:
        filename, contacts = said.get("filename"), _contacts(said)
        if not filename or contacts is None:
            return as_json({"error": "filename and list are required"}, 400)
        if (hub, filename) in self.books.lists:
            return as_json({"error": "this list exists"}, 409)
        made = self.books.load(hub, filename, contacts, self.clock(), self.load_seconds)
        return as_json({"filename": filename, "status": made.status(self.clock())}, 201)

    def _list_state(self, hub: str, said: dict[str, Any]) -> web.Response:
        wanted = said.get("filename")
        found = [one for one in self.books.lists.values() if one.hub == hub and wanted in (None, one.filename)]
        now = self.clock()
        return as_json(
            [{"filename": one.filename, "status": one.status(now), "size": len(one.contacts)} for one in found]
        )

    def _fresh_leads(self, hub: str, said: dict[str, Any]) -> web.Response:
        contacts = _contacts(said)
        if contacts is None or (said.get("date") is not None and not is_calldate(said["date"])):
            return as_json({"error": "list is required"}, 400)
        self.books.leads("freshLeads", hub, contacts, said.get("date"), self.clock())
        return as_json({"saved": len(contacts)})


def _contacts(said: dict[str, Any]) -> list[dict[str, Any]] | None:
    contacts = said.get("list")
    if not isinstance(contacts, list) or not contacts:
        return None
    sound = all(isinstance(one, dict) and one.get("clientIds") for one in contacts)
    return contacts if sound else None


def as_json(value: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.json_response(value, status=status)
