"""Where each function of uContact's is, and what an answer of it means. Pure.

Source: docs/vendors.md, chapter 4. Many of the vendor's endpoints are not public: what is assumed here is a default
that ``paths``, ``names`` and ``answers`` of the source replace.
"""

from collections.abc import Mapping
from typing import Final

from hub.vendors.ucontact.answers import Meaning

_CLASSIC: Final = "Integra/resources"
_CHANNELS: Final = "IntegraChannels/resources"

PATHS: Final[Mapping[str, str]] = {
    "getUserToken": f"{_CLASSIC}/auth/getUserToken",
    "UserLogin": f"{_CLASSIC}/auth/UserLogin",
    "EndSession": f"{_CLASSIC}/auth/EndSession",
    "AgentCall": f"{_CLASSIC}/Agents/AgentCall",
    "HangupPhone": f"{_CLASSIC}/Agents/HangupPhone",
    "AgentLogin": f"{_CLASSIC}/api/AgentLogin",
    "AgentLogoff": f"{_CLASSIC}/api/AgentLogoff",
    "AgentPause": f"{_CLASSIC}/api/AgentPause",
    "AgentUnPause": f"{_CLASSIC}/api/AgentUnPause",
    "AgentPauseNoLog": f"{_CLASSIC}/api/AgentPauseNoLog",
    "AgentUnPauseNoLog": f"{_CLASSIC}/api/AgentUnPauseNoLog",
    "AgentBreak": f"{_CLASSIC}/api/AgentBreak",
    "AgentUnBreak": f"{_CLASSIC}/api/AgentUnBreak",
    "DispositionCall": f"{_CLASSIC}/Dispositions/DispositionCall",
    "WorkflowCall": f"{_CLASSIC}/Workflows/ExternalCall",
    "webhook": f"{_CHANNELS}/webhook/{{name}}",
    "DialerTask": f"{_CLASSIC}/Dialers/DialerTask",
    "ScheduleDialerCall": f"{_CLASSIC}/Dialers/ScheduleDialerCall",
    "RespoolCall": f"{_CLASSIC}/Dialers/RespoolCall",
    "DeleteContact": f"{_CLASSIC}/Dialers/DeleteContact",
    "DeleteSchedule": f"{_CLASSIC}/Dialers/DeleteSchedule",
    "uploadbase": f"{_CLASSIC}/Dialers/uploadbase",
    "uploadbaseTimezone": f"{_CLASSIC}/Dialers/uploadbaseTimezone",
    "AddBlacklist": f"{_CLASSIC}/Blacklist/AddBlacklist",
    "AddBlacklists": f"{_CLASSIC}/Blacklist/AddBlacklists",
    "RemoveBlacklist": f"{_CLASSIC}/Blacklist/RemoveBlacklist",
    "RemoveBlacklists": f"{_CLASSIC}/Blacklist/RemoveBlacklists",
    "GetRecordings": f"{_CLASSIC}/Recordings/GetRecordings",
    "ConvertRecording": f"{_CLASSIC}/Recordings/ConvertRecording",
    "TagRecording": f"{_CLASSIC}/Recordings/TagRecording",
    "CampaignsSummary": f"{_CLASSIC}/Campaigns/CampaignsSummary",
    "CampaignStatus": f"{_CLASSIC}/Campaigns/CampaignStatus",
    "getqueuemembersofqueue": f"{_CLASSIC}/queues/getqueuemembersofqueue",
    "GetCampaigns": f"{_CHANNELS}/AgentResources/GetCampaigns",
    "SendSMS": f"{_CLASSIC}/SMS/SendSMS",
    "SendSMSv2": f"{_CLASSIC}/SMS/SendSMSv2",
    "lists": "api/dialer/id/{hub}/lists",
    "listState": "api/dialer/id/{hub}/lists",
    "freshLeads": "api/dialer/id/{hub}/freshLeads",
}
"""Endpoints by the names of the functions in docs/vendors.md; ``paths`` of a source replaces them."""

MEANINGS: Final[Mapping[str, Meaning]] = {
    "EndSession": "one",
    "AgentCall": "id",
    "HangupPhone": "done",
    "AgentLogin": "login",
    **dict.fromkeys(
        (
            *("AgentLogoff", "AgentPause", "AgentUnPause", "AgentPauseNoLog", "AgentUnPauseNoLog"),
            *("AgentBreak", "AgentUnBreak"),
        ),
        "text",
    ),
    **dict.fromkeys(("DispositionCall", "WorkflowCall", "DeleteContact", "DeleteSchedule"), "done"),
    **dict.fromkeys(("ConvertRecording", "TagRecording"), "done"),
    **dict.fromkeys(("AddBlacklist", "AddBlacklists", "RemoveBlacklist", "RemoveBlacklists"), "done"),
    **dict.fromkeys(("DialerTask", "RespoolCall", "uploadbase", "uploadbaseTimezone"), "done"),
    "ScheduleDialerCall": "one",
    "webhook": "text",
    **dict.fromkeys(("GetRecordings", "CampaignsSummary", "CampaignStatus", "GetCampaigns"), "json"),
    "getqueuemembersofqueue": "json",
    "SendSMS": "ok",
    "SendSMSv2": "json",
    **dict.fromkeys(("lists", "listState", "freshLeads"), "json"),
}
"""What the body of an answer of 200 has to be, by the function's name; ``answers`` of a source replaces it."""

NAMES: Final[frozenset[str]] = frozenset(
    {
        *("RespoolCall.respool", *(f"RespoolCall.{name}" for name in ("campaign", "destination", "status", "data"))),
        *(f"RespoolCall.{name}" for name in ("alternatives", "retries", "contact", "dialerbase", "priority")),
        "RespoolCall.agentphone",
        *(f"DispositionCall.{name}" for name in ("guid", "campaign", "disposition", "action", "notes")),
        *(f"WorkflowCall.{name}" for name in ("workflow", "guid", "data")),
        *(f"DeleteContact.{name}" for name in ("campaign", "contact")),
        *(f"DeleteSchedule.{name}" for name in ("campaign", "destination", "calldate")),
        *(
            f"{function}.{name}"
            for function in ("AddBlacklist", "AddBlacklists", "RemoveBlacklist", "RemoveBlacklists")
            for name in ("blacklist", "clientId", "campaign", "date")
        ),
        *("GetRecordings.guid", "ConvertRecording.guid", "ConvertRecording.format"),
        *("TagRecording.guid", "TagRecording.tag", "CampaignStatus.campaign"),
        *("freshLeads.filename", "freshLeads.date", "listState.filename", "listState.status"),
        "uploadbaseTimezone.state",
    }
)
"""Parameters whose name is assumed, as ``FUNCTION.NAME``; ``names`` of a source replaces them."""
