"""uContact's functions by name, for ``trunkline vendor call``. Each prints the vendor's answer as it came."""

from typing import Any, Final

from hub.vendors.operations import Operation, Parameter, table
from hub.vendors.ucontact import acts
from hub.vendors.ucontact.bases import PART
from hub.vendors.ucontact.client import UContact
from hub.vendors.ucontact.cti import CHANGEABLE

_Table = tuple[Operation[UContact], ...]

# --- parameters ------------------------------------------------------------------------------------------------------


def _must(name: str, doc: str, kind: Any = "text") -> Parameter:
    return Parameter(name, doc, kind, required=True)


def _may(name: str, doc: str, default: Any = "", kind: Any = "text") -> Parameter:
    return Parameter(name, doc, kind, default=default)


_AGENT, _INTERFACE, _MESSAGE = (
    _must("agent", "the agent's name"),
    _must("interface", "SIP/9999"),
    _may("message", "a note"),
)
_CAMPAIGN, _NUMBER, _GUID = (
    _must("campaign", "with its arrow"),
    _must("destination", "the number"),
    _must("guid", "of the call"),
)
_ALTERNATIVES = _may("alternatives", "other numbers", (), "list")
_DATA = _may("data", "variables, an object", None, "json")
_BARRED = _may("campaign", "of which it is barred; all without it")
_HUB, _FILENAME = _must("hub", "name of the outbound hub"), _must("filename", "the list's name")
_LIST = _must("list", 'contacts, [{"clientIds": ["…"]}]', "json")
_UPLOAD = (
    _must("file", "CSV", "file"),
    _CAMPAIGN,
    _must("name", "of the list"),
    _may("username", "who uploads it", "trunkline"),
    _may("rows", "records in one request", str(PART)),
)
_SMS = (
    _NUMBER,
    _must("message", "the text"),
    _CAMPAIGN,
    _may("agent", "the agent's name"),
    _may("source", "of the text"),
)

# --- the table -------------------------------------------------------------------------------------------------------

_CTI: Final = (
    _must("cti", "the CTI object, as the customer's form hands it over", "json"),
    _may("promote", "the next alternative becomes the main number", False, "flag"),
    _may("change", f"an object of {', '.join(CHANGEABLE)}", None, "json"),
)
_CALLS: _Table = (
    Operation(
        "AgentCall",
        "Call an agent, and once that answers the destination; prints the guid.",
        "documented",
        acts.agent_call,
        (
            *(
                _NUMBER,
                _AGENT,
                _must("phone", "the agent's extension"),
                _must("callerid", "what the call goes out with"),
            ),
            *(_must("outqueue", "manual outbound campaign"), _may("tech", "of the extension", "SIP")),
            _may("context", "of the agent", "agentes"),
        ),
        changes=True,
    ),
    Operation(
        "HangupPhone",
        "Hang up what an extension has.",
        "documented",
        lambda client, given: client.hang_up(given["phone"]),
        (_must("phone", "the agent's extension"),),
        changes=True,
    ),
    Operation(
        "AgentLogin",
        "Log an agent in; 0 and 3 are success.",
        "documented",
        acts.agent_login,
        (_AGENT, _must("password", "the agent's"), _MESSAGE, _may("force", "end another login", False, "flag")),
        changes=True,
    ),
    *(
        Operation(name, doc, "documented", acts.agent_state(name), (_AGENT, _INTERFACE, _MESSAGE), changes=True)
        for name, doc in (
            ("AgentLogoff", "Log an agent off."),
            ("AgentPause", "Pause an agent."),
            ("AgentUnPause", "End an agent's pause."),
            ("AgentPauseNoLog", "Pause an agent, unlogged."),
            ("AgentUnPauseNoLog", "End an agent's pause, unlogged."),
        )
    ),
    *(
        Operation(
            name,
            doc,
            "documented",
            acts.agent_state(name),
            (_AGENT, _INTERFACE, _MESSAGE, _must("motive", "a configured break")),
            changes=True,
        )
        for name, doc in (("AgentBreak", "Begin an agent's break."), ("AgentUnBreak", "End an agent's break."))
    ),
    Operation(
        "DispositionCall",
        "Categorise a call.",
        "assumed",
        acts.disposition,
        (
            *(_GUID, _must("disposition", "as configured there"), _may("campaign", "of the call")),
            *(_may("action", "RESPOOL, RESPOOLALTERNATIVE, BLACKLIST, SCHEDULE"), _may("notes", "a text")),
        ),
        changes=True,
    ),
    Operation(
        "WorkflowCall",
        "The external workflow call.",
        "assumed",
        lambda client, given: client.workflow_call(given["workflow"], guid=given["guid"], data=given["data"]),
        (_must("workflow", "its name"), _may("guid", "of a call"), _DATA),
        changes=True,
    ),
    Operation(
        "webhook",
        "Start a flow that you have built.",
        "documented",
        acts.webhook,
        (_must("name", "of the webhook"), _may("body", "an object", None, "json"), _may("method", "of HTTP", "POST")),
        changes=True,
    ),
)
_DIALERS: _Table = (
    Operation(
        "DialerTask",
        "Put a number into a dialer.",
        "documented",
        acts.dialer_task,
        (
            _may("mode", "dialer, priority, click, scheduled", "dialer"),
            *(_CAMPAIGN, _NUMBER, _ALTERNATIVES, _may("agent", "extension"), _DATA),
            _may("calldate", "for scheduled", None, "time"),
        ),
        changes=True,
    ),
    Operation(
        "ScheduleDialerCall",
        "Have a dialer call a number at a time.",
        "documented",
        acts.schedule,
        (
            *(_CAMPAIGN, _NUMBER, _must("calldate", "when", "time"), _ALTERNATIVES),
            *(_may("agentphone", "extension"), _DATA),
        ),
        changes=True,
    ),
    Operation("RespoolCall", "Give a contact back to its dialer.", "assumed", acts.respool, _CTI, changes=True),
    Operation(
        "respoolObject", "Print the respool object of a CTI object; nothing is sent.", "documented", acts.convert, _CTI
    ),
    Operation(
        "DeleteContact",
        "Take a contact out of a dialer.",
        "assumed",
        lambda client, given: client.delete_contact(given["campaign"], given["contact"]),
        (_CAMPAIGN, _must("contact", "its id")),
        changes=True,
    ),
    Operation(
        "DeleteSchedule",
        "Take a scheduled call back.",
        "assumed",
        lambda client, given: client.delete_schedule(given["campaign"], given["destination"], given["calldate"]),
        (_CAMPAIGN, _NUMBER, _must("calldate", "when", "time")),
        changes=True,
    ),
    Operation(
        "uploadbase", "Upload a list from CSV.", "documented", acts.upload_base(timezones=False), _UPLOAD, changes=True
    ),
    Operation(
        "uploadbaseTimezone",
        "Upload a list with time zones from CSV.",
        "assumed",
        acts.upload_base(timezones=True),
        _UPLOAD,
        changes=True,
    ),
)
_BLACKLIST: _Table = tuple(
    Operation(
        name,
        doc,
        "assumed",
        acts.blacklist(remove=name.startswith("Remove")),
        (_must("numbers", "with commas between", "list") if name.endswith("s") else _must("number", "it"), _BARRED),
        changes=True,
    )
    for name, doc in (
        ("AddBlacklist", "Add a number to the blacklist."),
        ("AddBlacklists", "Add numbers to the blacklist."),
        ("RemoveBlacklist", "Remove a number from the blacklist."),
        ("RemoveBlacklists", "Remove numbers from the blacklist."),
    )
)
_AUTOMATION: _Table = (
    Operation(
        "lists",
        "Create a list at an outbound hub; it loads by itself.",
        "verified",
        lambda client, given: client.automation.create_list(
            given["hub"], given["filename"], acts.listed(given["list"])
        ),
        (_HUB, _FILENAME, _LIST),
        changes=True,
    ),
    Operation(
        "listState",
        "The state of a list: loading, inactive, active; null without it.",
        "assumed",
        acts.list_state,
        (_HUB, _FILENAME, _may("within", "seconds to wait until it has loaded", "0")),
    ),
    Operation(
        "freshLeads",
        "Have contacts called at once, or at a time.",
        "documented",
        acts.fresh_leads,
        (_HUB, _FILENAME, _LIST, _may("date", "when", None, "time")),
        changes=True,
    ),
)
_READ: _Table = (
    Operation(
        "GetRecordings",
        "Recordings of a call.",
        "assumed",
        lambda client, given: client.recordings(given["guid"]),
        (_GUID,),
    ),
    Operation(
        "ConvertRecording",
        "Have a recording converted.",
        "assumed",
        lambda client, given: client.convert_recording(given["guid"], given["format"]),
        (_GUID, _may("format", "of the result", "mp3")),
        changes=True,
    ),
    Operation(
        "TagRecording",
        "Tag a recording.",
        "assumed",
        lambda client, given: client.tag_recording(given["guid"], given["tag"]),
        (_GUID, _must("tag", "a text")),
        changes=True,
    ),
    Operation("CampaignsSummary", "All campaigns in short.", "assumed", lambda client, _: client.campaigns_summary()),
    Operation(
        "CampaignStatus",
        "All about the campaigns, or about one.",
        "assumed",
        lambda client, given: client.campaign_status(given["campaign"]),
        (_may("campaign", "with its arrow"),),
    ),
    Operation(
        "getqueuemembersofqueue",
        "Members of a campaign.",
        "documented",
        lambda client, given: client.queue_members(given["campaign"]),
        (_CAMPAIGN,),
    ),
    Operation("GetCampaigns", "Campaigns of the user.", "documented", lambda client, _: client.campaigns()),
    Operation("SendSMS", "Send an SMS; prints OK.", "documented", acts.send_sms(1), _SMS, changes=True),
    Operation("SendSMSv2", "Send an SMS; prints its id.", "documented", acts.send_sms(2), _SMS, changes=True),
)

OPERATIONS: Final = table((*_CALLS, *_DIALERS, *_BLACKLIST, *_AUTOMATION, *_READ))
