"""An INFOCU5 that can be asked: it answers as the vendor's pages have it, slips and moods included.

Written from docs/vendors.md for itself, not from the client: what both misread would pass unseen.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from xml.etree import ElementTree as ET

from aiohttp import web

from hub.simulator.dice import Dice
from hub.simulator.people import AGENTS, CUSTOMERS, QUEUES

PATH: Final = "/dialer/"
OLD_PATH: Final = "/dialer/index.php"
TEST_PATH: Final = "/x_dialer/index.php"
MOST_LEADS: Final = 10

Mood = Literal["900", "500", "429", "slow", "hang", "html", "cut", "none"]
"""900: the interface's own error. html: a page instead of an answer. cut: half an answer. none: a success with an empty
array, as PHP writes an empty object."""

_MESSAGES: Final = {
    1: "Success",
    80: "Improperly formatted request (JSON format required)",
    100: "Invalid ID and Transaction Key combination",
    341: "No Agents available",
    800: "Invalid function",
    900: "The interface encountered an error",
}
_OLD_MESSAGES: Final = {**_MESSAGES, 80: "Improperly formatted request (XML format required)"}
_DIALERS: Final = (("DI1111AA", "Dialer One"), ("DI2222BB", "Dialer Two"))
_LEAD_FIELDS: Final = (
    *("leadNameFirst", "leadNameLast", "leadAddress", "leadAddress2", "leadCity", "leadState", "leadZip"),
    *("leadCountry", "leadPhone", "leadPhone2", "leadEmail", "leadIPAddress", "leadCompany", "leadGender"),
    *("leadCCNumber", "leadProductList"),
)


@dataclass(slots=True)
class Call:
    """A call of the vendor's: its record, when it began, and when the record can first be seen."""

    call_id: str
    at: datetime
    seen_at: datetime
    fields: dict[str, str]


def made(seed: int, count: int, since: datetime, until: datetime, delay: float = 0.0) -> list[Call]:
    """Calls spread over a time; the same arguments give the same calls.

    Args:
        seed: of the dice.
        count: how many.
        since: the first may begin here.
        until: the last begins before.
        delay: seconds from a call's end until its record is there, at most.
    """
    dice = Dice("infocu5", seed)
    span = (until - since).total_seconds()
    return [_call(dice, f"{seed}{n:07d}", since + timedelta(seconds=dice.share() * span), delay) for n in range(count)]


def _call(dice: Dice, call_id: str, at: datetime, delay: float) -> Call:
    at = at.astimezone(UTC).replace(microsecond=0)
    talk = 0 if dice.chance(0.25) else dice.integer(3, 1800)
    queue, after = dice.integer(0, 120), dice.integer(0, 60)
    fields = {
        "callDate": at.isoformat(),
        "callCampaignID": "1111",
        "callCampaignName": dice.pick(QUEUES),
        "callListID": "111000",
        "callListName": "List Name",
        "callAgentName": dice.pick(AGENTS)[1],
        "callContact": dice.pick(CUSTOMERS),
        "callType": "Inbound" if dice.chance(0.5) else "Outbound",
        "callNumberInbound": f"212555{dice.digits(4)}",
        "callNumberOutbound": f"888555{dice.digits(4)}",
        "callTime": _clock(talk + queue),
        "callQueueTime": _clock(queue),
        "callTalkTime": _clock(talk),
        "callHoldTime": _clock(0),
        "callHandleTime": _clock(talk + after),
        "callAfterCallWorkTime": _clock(after),
    }
    seen_at = at + timedelta(seconds=(talk + queue + dice.share() * delay) if delay else 0)
    return Call(call_id, at, seen_at, fields)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@dataclass
class Infocu5:
    """One affiliate's view of the vendor.

    Attributes:
        affiliate_id: 12 alphanumeric characters.
        affiliate_key: 32.
        agents: that are available: number and name, our own affiliate's first.
        details: how getCalls writes its records: by call id, as the page's sample, or in an array, as its text.
        campaigns: how getCampaigns does: ``products`` as its sample, or ``lists`` as its text.
        json_leads: whether addLeads is understood as JSON too, which no page says.
        calls: what can be asked for.
        moods: what the next answers are, instead of what was asked for.
        slow: seconds that a slow answer takes.
        asked: the functions that were asked for, with their fields, credentials left out.
        leads: that were taken, each with its dialer and list.
        cards: how many leads came with the number of a payment card.
        clock: our time: a record is not seen before its own, and a lead is marked with it.
        lost: the share of leads that are taken and whose answer never comes, by ``luck``.
    """

    affiliate_id: str = "AFFILIATE001"
    affiliate_key: str = "0123456789abcdef0123456789abcdef"
    agents: Sequence[Sequence[str]] = AGENTS
    details: Literal["object", "array"] = "object"
    campaigns: Literal["products", "lists"] = "products"
    json_leads: bool = False
    calls: list[Call] = field(default_factory=list)
    moods: deque[Mood] = field(default_factory=deque)
    slow: float = 0.3
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    leads: list[dict[str, str]] = field(default_factory=list)
    cards: int = 0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    lost: float = 0.0
    luck: Dice = field(default_factory=lambda: Dice("infocu5 answers", 0))
    lost_answers: int = 0
    taken_at: list[datetime] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        """Where it listens."""
        return [web.post(PATH, self._json), web.post(OLD_PATH, self._xml), web.post(TEST_PATH, self._xml)]

    # --- version 3.1 -------------------------------------------------------------------------------------------------

    async def _json(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if self.moods:
            return await self._moody(request, self.moods.popleft())
        try:
            asked = json.loads(raw)
        except ValueError:
            return _said(80)
        if not isinstance(asked, dict):
            return _said(80)
        if (asked.get("affiliateID"), asked.get("affiliateKey")) != (self.affiliate_id, self.affiliate_key):
            return _said(100)
        function = asked.get("dialerFunction")
        known: dict[Any, Callable[[dict[str, Any]], web.Response]] = {
            "getAgents": self._get_agents,
            "getCalls": self._get_calls,
            "getCampaigns": self._get_campaigns,
        }
        if self.json_leads:
            known["addLeads"] = self._add_leads
        if function not in known:
            return _said(800)
        self.asked.append((str(function), _without_credentials(asked)))
        return known[function](asked)

    def _get_agents(self, asked: dict[str, Any]) -> web.Response:
        if asked.get("showAll") not in ("y", "n"):
            return _said(80)
        shown = self.agents if asked["showAll"] == "y" else self.agents[:1]
        return _said(1, [_agent(number, name) for number, name, *_ in shown]) if shown else _said(341)

    def _get_campaigns(self, asked: dict[str, Any]) -> web.Response:
        if asked.get("showAll") not in ("y", "n"):
            return _said(80)
        if asked["showAll"] == "n":
            return _said(340, message="No Campaigns available")
        dialers = [{"dialerID": name, "dialerName": text, "fields": list(_LEAD_FIELDS)} for name, text in _DIALERS]
        campaign: dict[str, Any] = {"campaignID": "1111", "campaignName": "Campaign Name"}
        if self.campaigns == "lists":
            return _said(1, [campaign | {"campaignLists": dialers}])
        product = {"listID": "111000", "listName": "List Name", "listMapping": dialers}
        return _said(1, [campaign | {"campaignProducts": [product]}])

    def _get_calls(self, asked: dict[str, Any]) -> web.Response:
        try:
            since, until = (datetime.fromisoformat(str(asked[name])) for name in ("dateStart", "dateEnd"))
            found = [call for call in self.calls if since <= call.at <= until and call.seen_at <= self.clock()]
        except (KeyError, ValueError, TypeError):
            return _said(80)
        for name, of in (("filterCampaigns", "callCampaignID"), ("filterAgents", "callAgentName")):
            if wanted := asked.get(name):
                allowed = {str(one) for one in wanted}
                names = {one[0]: one[1] for one in AGENTS}
                allowed |= {names[one] for one in allowed if one in names}
                found = [call for call in found if call.fields[of] in allowed]
        if not found:
            return _said(340, message="No Calls found")
        if self.details == "array":
            return _said(1, [{"callID": call.call_id, **call.fields} for call in found])
        return _said(1, {call.call_id: call.fields for call in found})

    def _add_leads(self, asked: dict[str, Any]) -> web.Response:
        leads = asked.get("leads")
        if not isinstance(leads, list) or not 1 <= len(leads) <= MOST_LEADS:
            return _said(80)
        self._take(({**lead} for lead in leads), str(asked.get("dialerID")), str(asked.get("listID")))
        return _said(1)

    # --- version 2.4 -------------------------------------------------------------------------------------------------

    async def _xml(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if self.moods:
            return await self._moody(request, self.moods.popleft())
        try:
            root = ET.fromstring(raw)  # noqa: S314  our own client's
        except ET.ParseError:
            return _said_xml(80)
        values = {child.tag: (child.text or "") for child in root}
        if (values.get("affiliateID"), values.get("affiliateKey")) != (self.affiliate_id, self.affiliate_key):
            return _said_xml(100)
        self.asked.append((root.tag, _without_credentials(values)))
        answer = self._old_function(root.tag, values, kept=request.path != TEST_PATH)
        if root.tag == "addLeads" and self.lost and self.luck.chance(self.lost):
            self.lost_answers += 1
            if request.transport is not None:
                request.transport.close()
        return answer

    def _old_function(self, name: str, values: dict[str, str], *, kept: bool) -> web.Response:
        match name:
            case "getDialers":
                dialers = (f"<dialerName>{text}</dialerName><dialerID>{one}</dialerID>" for one, text in _DIALERS)
                return _said_xml(1, inner="".join(f"<dialer>{dialer}</dialer>" for dialer in dialers))
            case "getAllLists" | "getLists":
                return _said_xml(1, inner="<list><listName>List Name</listName><listID>111000</listID></list>")
            case "addLeads":
                leads = list(_numbered(values))
                if not 1 <= len(leads) <= MOST_LEADS:
                    return _said_xml(80)
                if kept:
                    self._take(leads, values.get("dialerID", ""), values.get("listID", ""))
                return _said_xml(1)
            case _:
                return _said_xml(800)

    def _take(self, leads: Iterable[dict[str, str]], dialer_id: str, list_id: str) -> None:
        for lead in leads:
            self.cards += bool(lead.get("leadCCNumber"))
            self.leads.append({"dialerID": dialer_id, "listID": list_id, **lead})
            self.taken_at.append(self.clock())

    # --- moods -------------------------------------------------------------------------------------------------------

    async def _moody(self, request: web.Request, mood: Mood) -> web.StreamResponse:
        old = request.path != PATH
        if mood == "hang":
            await asyncio.Event().wait()
        if mood == "slow":
            await asyncio.sleep(self.slow)
        answers: dict[Mood, Callable[[], web.Response]] = {
            "900": lambda: _said_xml(900) if old else _said(900),
            "500": lambda: web.Response(status=500, text="Internal Server Error"),
            "429": lambda: web.Response(status=429, headers={"Retry-After": "1"}),
            "html": lambda: web.Response(text="<html><body>Maintenance</body></html>", content_type="text/html"),
            "none": lambda: _said(1, []),
            "cut": lambda: web.Response(text='{"responseCode":1,"responseMessage":"Success","responseDe'),
            "slow": lambda: _said_xml(1) if old else _said(340, message="No Calls found"),
        }
        return answers[mood]()


@asynccontextmanager
async def serving(vendor: Infocu5, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """The vendor on a port; yields the URL of its API."""
    application = web.Application()
    application.add_routes(vendor.routes())
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}{PATH}"
    finally:
        await runner.cleanup()


def _said(code: int, details: Any = None, message: str | None = None) -> web.Response:
    """An answer; as PHP writes it, nothing found is an empty array whatever it would have been."""
    said: dict[str, Any] = {"responseCode": code, "responseMessage": message or _MESSAGES[code]}
    if details is not None:
        said["responseDetails"] = details or []
    return web.json_response(said)


def _said_xml(code: int, message: str | None = None, inner: str = "") -> web.Response:
    text = (
        "<?xml version='1.0' encoding='UTF-8' ?>"
        f"<dialerResponse><responseCode>{code}</responseCode><responseMessage>{message or _OLD_MESSAGES[code]}"
        f"</responseMessage>{inner}</dialerResponse>"
    )
    return web.Response(text=text, content_type="text/xml")


def _agent(number: str, name: str) -> dict[str, str]:
    first, _, last = name.partition(" ")
    return {"agentID": number, "agentNameFirst": first, "agentNameLast": last}


def _numbered(values: dict[str, str]) -> Iterator[dict[str, str]]:
    """The leads of an XML post: their fields end in ``_1``, ``_2`` and so on."""
    numbers: Sequence[str] = list(dict.fromkeys(name.rpartition("_")[2] for name in values if name.startswith("lead")))
    for number in numbers:
        yield {
            name.rpartition("_")[0]: value
            for name, value in values.items()
            if name.startswith("lead") and name.rpartition("_")[2] == number
        }


def _without_credentials(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name not in ("affiliateID", "affiliateKey")}
