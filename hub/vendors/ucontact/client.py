"""What we ask of uContact: calls, dialers, lists, blacklist, recordings, campaigns.

Source: docs/vendors.md, chapter 4. The classic functions take a form with a session's token, and answer text or JSON,
failures with HTTP 200 too. A function that changes something is asked once: again only where the vendor did not know
our session, and so did nothing.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import orjson

from hub.errors import Permanent
from hub.outgoing import Request
from hub.vendors.ucontact import tasks
from hub.vendors.ucontact.asking import JSON, Asking
from hub.vendors.ucontact.automation import Automation
from hub.vendors.ucontact.cti import Respool
from hub.vendors.ucontact.session import FORM

Generation = Literal["classic", "automation"]
_UPLOAD: Final = 8.0  # times the lane's time limit: for a request that is long


class UContact:
    """One instance of uContact, as one user.

    Attributes:
        api: which generation takes contacts: ``classic`` is DialerTask and uploadbase, ``automation`` is freshLeads and
            lists.
        automation: the functions of the newer generation.

    Args:
        asking: who asks.
        zone: of the instance: ``calldate`` is in it.
        api: as above.
        modes: what distinguishes the modes of DialerTask, where it differs from ``tasks.MODES``.

    What every function raises:
        Refused, Forbidden, Gone, Permanent: it was not done, and will not be: ``0``, or 4xx.
        RateLimited, NotSent, Expired: it was not done; a fresh session was not accepted either.
        Doubtful: sent, and nobody knows what became of it: no whole answer, 5xx, a page instead of text. Of a function
            that only reads, ask again; of another, never without looking.
        TooMuch: the answer is longer than ``asking.LIMIT``.
    """

    def __init__(
        self,
        asking: Asking,
        *,
        zone: ZoneInfo,
        api: Generation = "classic",
        modes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Opens nothing."""
        self._ask = asking
        self._zone = zone
        self._modes = dict(modes or {})
        self.api: Generation = api
        self.automation = Automation(asking, zone)

    @property
    def state_variable(self) -> str:
        """The variable that a record of a list with time zones says its state in."""
        return self._ask.name("uploadbaseTimezone", "state")

    async def close(self) -> None:
        """Ends the session, where one was begun."""
        await self._ask.close()

    # --- calls -------------------------------------------------------------------------------------------------------

    async def agent_call(
        self,
        destination: str,
        *,
        agent: str,
        phone: str,
        callerid: str,
        outqueue: str,
        tech: str = "SIP",
        context: str = "agentes",
        before: float | None = None,
    ) -> str:
        """Calls the agent, and once that has answered the destination; returns the call's guid.

        Args:
            destination: the number.
            agent: the agent's name.
            phone: the agent's extension.
            callerid: the number that the call goes out with.
            outqueue: the manual outbound campaign, ``Sale->``.
            tech: of the extension.
            context: of the agent.
            before: of the monotonic clock: it is not sent after that (``NotSent``).
        """
        form = {
            "callerid": tasks.named("callerid", callerid),
            "agent": tasks.named("agent", agent),
            "phone": tasks.named("phone", phone),
            "tech": tech,
            "context": context,
            "outqueue": tasks.named("outqueue", outqueue),
            "destination": tasks.number("destination", destination),
        }
        return str(await self._ask.classic("AgentCall", form, before=before))

    async def hang_up(self, phone: str) -> str:
        """Hangs up whatever call an extension has; returns what the vendor said."""
        return str(await self._ask.classic("HangupPhone", {"phone": tasks.named("phone", phone)}))

    async def agent_login(self, agent: str, password: str, *, message: str = "", force: bool = False) -> str:
        """Logs an agent in; ``0`` is success, ``3`` one that was forced."""
        form = {"agent": agent, "password": password, "message": message, "force": "1" if force else "0"}
        return str(await self._ask.classic("AgentLogin", form))

    async def agent_state(
        self, function: str, agent: str, interface: str, *, message: str = "", motive: str = ""
    ) -> str:
        """AgentLogoff, AgentPause and its like; what success looks like is not public, so the text is returned.

        Args:
            function: by its name.
            agent: the agent's name.
            interface: ``SIP/9999``.
            message: a note.
            motive: of a break, as configured there.
        """
        form = {"agent": agent, "interface": interface, "message": message}
        return str(await self._ask.classic(function, form | ({"motive": motive} if motive else {})))

    async def disposition(
        self, guid: str, disposition: str, *, campaign: str = "", action: str = "", notes: str = ""
    ) -> str:
        """Categorises a call. Assumed.

        Args:
            guid: of the call.
            disposition: as configured there.
            campaign: of the call.
            action: ``RESPOOL``, ``RESPOOLALTERNATIVE``, ``BLACKLIST``, ``SCHEDULE``; empty for what is configured.
            notes: a text.
        """
        said = {"guid": guid, "campaign": campaign, "disposition": disposition, "action": action, "notes": notes}
        return str(await self._ask.classic("DispositionCall", self._ask.called("DispositionCall", said)))

    async def workflow_call(self, workflow: str, *, guid: str = "", data: Mapping[str, str] | None = None) -> str:
        """The external workflow call. Assumed: its endpoint is not public."""
        said = {"workflow": tasks.named("workflow", workflow), "guid": guid, "data": tasks.variables(data or {})}
        return str(await self._ask.classic("WorkflowCall", self._ask.called("WorkflowCall", said)))

    async def webhook(self, name: str, body: Mapping[str, Any], *, method: str = "POST") -> str:
        """Starts a flow that the customer has built; returns what the flow answers.

        Args:
            name: of the webhook.
            body: sent as JSON; of GET and DELETE, as the query.
            method: ``GET``, ``POST``, ``PUT`` or ``DELETE``, as the flow expects it.
        """
        url = self._ask.url("webhook", name=tasks.named("name", name))
        if method in ("GET", "DELETE"):
            query = urlencode({key: str(value) for key, value in body.items()})
            return str(await self._ask.basic("webhook", Request(method, f"{url}?{query}" if query else url)))
        return str(await self._ask.basic("webhook", Request(method, url, JSON, orjson.dumps(body))))

    # --- dialers -----------------------------------------------------------------------------------------------------

    async def dialer_task(
        self,
        mode: tasks.Mode,
        *,
        campaign: str,
        destination: str,
        alternatives: Iterable[str] = (),
        agent: str = "",
        data: Mapping[str, str] | None = None,
        at: datetime | None = None,
        before: float | None = None,
    ) -> str:
        """Puts a number into a dialer, outside of any list; returns what the vendor said, an id or ``1``.

        Arguments as of ``tasks.task``. Not idempotent.
        """
        call = tasks.task(
            mode,
            campaign=campaign,
            destination=destination,
            alternatives=alternatives,
            agent=agent,
            data=data,
            at=at,
            zone=self._zone,
            modes=self._modes,
        )
        return str(await self._ask.classic("DialerTask", {"call": _json(call)}, before=before))

    async def schedule_call(
        self,
        *,
        campaign: str,
        destination: str,
        at: datetime,
        alternatives: Iterable[str] = (),
        agentphone: str = "",
        data: Mapping[str, str] | None = None,
        before: float | None = None,
    ) -> str:
        """Has a dialer call a number at a time; returns ``1``. Arguments as of ``tasks.schedule``. Not idempotent."""
        call = tasks.schedule(
            campaign=campaign,
            destination=destination,
            at=at,
            alternatives=alternatives,
            agentphone=agentphone,
            data=data,
            zone=self._zone,
        )
        return str(await self._ask.classic("ScheduleDialerCall", {"callschedule": _json(call)}, before=before))

    async def respool(self, contact: Respool, *, before: float | None = None) -> str:
        """Gives a contact back to its dialer; returns what the vendor said. Assumed, and not idempotent."""
        shown = self._ask.called("RespoolCall", contact.shown())
        form = {self._ask.name("RespoolCall", "respool"): _json(shown)}
        return str(await self._ask.classic("RespoolCall", form, before=before))

    async def delete_contact(self, campaign: str, contact: str) -> str:
        """Takes a contact out of a dialer. Assumed."""
        said = {"campaign": tasks.named("campaign", campaign), "contact": tasks.named("contact", contact)}
        return str(await self._ask.classic("DeleteContact", self._ask.called("DeleteContact", said)))

    async def delete_schedule(self, campaign: str, destination: str, at: datetime) -> str:
        """Takes a scheduled call back. Assumed."""
        said = {
            "campaign": tasks.named("campaign", campaign),
            "destination": tasks.number("destination", destination),
            "calldate": tasks.local(at, self._zone),
        }
        return str(await self._ask.classic("DeleteSchedule", self._ask.called("DeleteSchedule", said)))

    # --- blacklist ---------------------------------------------------------------------------------------------------

    async def blacklist(self, numbers: Sequence[str], *, campaign: str = "", remove: bool = False) -> str:
        """Adds numbers to the blacklist, or removes them; one number goes by the function for one. Assumed.

        Args:
            numbers: one or more.
            campaign: of which they are barred; empty for all.
            remove: take them out of it.
        """
        if not numbers:
            raise Permanent("blacklist: found no number; expected one or more")
        function = ("RemoveBlacklist" if remove else "AddBlacklist") + ("s" if len(numbers) > 1 else "")
        date = tasks.local(self._ask.now(), self._zone)
        rows = [
            self._ask.called(function, {"clientId": tasks.number("number", one), "campaign": campaign, "date": date})
            for one in numbers
        ]
        form = {self._ask.name(function, "blacklist"): _json(rows if len(rows) > 1 else rows[0])}
        return str(await self._ask.classic(function, form))

    # --- lists -------------------------------------------------------------------------------------------------------

    async def upload_base(
        self, filename: str, content: str, *, campaign: str, rows: int, username: str, timezones: bool = False
    ) -> str:
        """Uploads a list to a dialer, in one request; returns what the vendor said.

        Args:
            filename: ``name.csv``, by ``bases.list_name``.
            content: the file as ``bases`` writes it.
            campaign: the dialer.
            rows: how many records it has.
            username: who uploads it.
            timezones: by the function for lists with time zones. Assumed.
        """
        form = {
            "filename": filename,
            "fileb64": b64encode(content.encode()).decode(),
            "campaign": tasks.named("campaign", campaign),
            "cant": str(rows),
            "username": username,
        }
        function = "uploadbaseTimezone" if timezones else "uploadbase"
        return str(await self._ask.classic(function, form, within=_UPLOAD * self._ask.timeout))

    # --- recordings and campaigns ------------------------------------------------------------------------------------

    async def recordings(self, guid: str) -> Any:
        """The recordings of a call. Assumed."""
        return await self._ask.classic("GetRecordings", self._ask.called("GetRecordings", {"guid": guid}))

    async def convert_recording(self, guid: str, form: str = "mp3") -> str:
        """Has a recording converted; returns what the vendor said. Assumed."""
        said = {"guid": guid, "format": form}
        return str(await self._ask.classic("ConvertRecording", self._ask.called("ConvertRecording", said)))

    async def tag_recording(self, guid: str, tag: str) -> str:
        """Tags a recording. Assumed."""
        return str(
            await self._ask.classic("TagRecording", self._ask.called("TagRecording", {"guid": guid, "tag": tag}))
        )

    async def campaigns_summary(self) -> Any:
        """The state of all campaigns in short. Assumed."""
        return await self._ask.classic("CampaignsSummary", {})

    async def campaign_status(self, campaign: str = "") -> Any:
        """All about the campaigns, or about one. Assumed."""
        said = {"campaign": campaign} if campaign else {}
        return await self._ask.classic("CampaignStatus", self._ask.called("CampaignStatus", said))

    async def queue_members(self, campaign: str) -> Any:
        """The members of a campaign: an array of objects with ``membername``; the parameter is in the URL."""
        url = f"{self._ask.url('getqueuemembersofqueue')}?{urlencode({'queue': campaign})}"
        return await self._ask.basic("getqueuemembersofqueue", Request("POST", url, FORM, b""))

    async def campaigns(self) -> Any:
        """The campaigns of the user."""
        return await self._ask.classic("GetCampaigns", {})

    async def send_sms(self, form: Mapping[str, str], *, version: Literal[1, 2] = 1) -> Any:
        """SendSMS, which answers ``OK``, or SendSMSv2, which answers ``{"id": …}``."""
        return await self._ask.classic("SendSMS" if version == 1 else "SendSMSv2", form)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
