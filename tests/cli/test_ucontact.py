"""Commands about a uContact source: every function by its name, lists from files, its URL, a pasted webhook."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest

from hub.simulator.ucontact import UContact, serving
from hub.vendors.ucontact.operations import OPERATIONS
from tests.cli.command import clean_environment, trunkline
from tests.cli.test_operating import ROOT
from tests.cli.vendor import beside
from tests.polling.house import becomes
from tests.vendors.ucontact.test_bases import DIALER, SAMPLE
from tests.vendors.ucontact.test_callbacks import BREAK, GUID, RING
from tests.vendors.ucontact.test_objects import DIALER as CTI

BASE: Final = "https://hub.example.com"
CONTACTS: Final = '[{"clientIds": ["1567890"]}]'
AGENT: Final = ["agent=agentTest", "interface=SIP/9999"]
GIVEN: Final[dict[str, list[str]]] = {
    "AgentCall": [
        *("destination=099124484", "agent=agentTest", "phone=9999", "callerid=24001000", "outqueue=Sale->"),
    ],
    "HangupPhone": ["phone=9999"],
    "AgentLogin": ["agent=agentTest", "password=secret", "force=y"],
    **dict.fromkeys(("AgentLogoff", "AgentPause", "AgentUnPause", "AgentPauseNoLog", "AgentUnPauseNoLog"), AGENT),
    **{name: [*AGENT, "motive=Lunch"] for name in ("AgentBreak", "AgentUnBreak")},
    "DispositionCall": [f"guid={GUID}", "disposition=Venta", "action=BLACKLIST"],
    "WorkflowCall": ["workflow=renewals", 'data={"order": "7"}'],
    "webhook": ["name=respool", 'body={"contact": "7"}'],
    "DialerTask": ["campaign=POWER<-", "destination=099124484", "mode=priority", "alternatives=099222222,099333333"],
    "ScheduleDialerCall": ["campaign=POWER<-", "destination=099124484", "calldate=2026-11-20T09:15:00Z"],
    "RespoolCall": [f"cti={orjson.dumps(CTI).decode()}", "promote=y", 'change={"priority": "1"}'],
    "respoolObject": [f"cti={orjson.dumps(CTI).decode()}"],
    "DeleteContact": ["campaign=POWER<-", "contact=8821"],
    "DeleteSchedule": ["campaign=POWER<-", "destination=099124484", "calldate=2026-11-20T09:15:00Z"],
    "uploadbase": ["file=list.csv", f"campaign={DIALER}", "name=june", "rows=2"],
    "uploadbaseTimezone": ["file=zones.csv", f"campaign={DIALER}", "name=july"],
    "AddBlacklist": ["number=099124484", "campaign=POWER<-"],
    "AddBlacklists": ["numbers=099222222,099333333"],
    "RemoveBlacklist": ["number=099124484", "campaign=POWER<-"],
    "RemoveBlacklists": ["numbers=099222222,099333333"],
    "lists": ["hub=out", "filename=June", f"list={CONTACTS}"],
    "listState": ["hub=out", "filename=June"],
    "freshLeads": ["hub=out", "filename=now", f"list={CONTACTS}", "date=2026-11-20T09:15:00Z"],
    "GetRecordings": [f"guid={GUID}"],
    "ConvertRecording": [f"guid={GUID}"],
    "TagRecording": [f"guid={GUID}", "tag=complaint"],
    "CampaignsSummary": [],
    "CampaignStatus": ["campaign=POWER<-"],
    "getqueuemembersofqueue": ["campaign=Demo<-"],
    "GetCampaigns": [],
    "SendSMS": ["destination=099124484", "message=Hi", "campaign=SMS->"],
    "SendSMSv2": ["destination=099124484", "message=Hi", "campaign=SMS->"],
}


@pytest.fixture
def vendor() -> UContact:
    return UContact(audio={GUID: b"RIFF"}, load_seconds=0)


@pytest.fixture
def place(home: Path, vendor: UContact) -> Iterator[Path]:
    (home / "list.csv").write_text(SAMPLE)
    (home / "zones.csv").write_text(SAMPLE.replace("999777777;;", "999777777;state=NY;"))
    with beside(serving(vendor)) as url:
        path = home / "trunkline.toml"
        more = f"""
[sources.cloud]
vendor = "ucontact"
tokens = ["T0KEN"]
base_url = "{url}"
user = "{vendor.user}"
password = "{vendor.password}"
api_token = "{vendor.api_token}"
rate = 1000
[egress]
allow = ["127.0.0.0/8"]
"""
        path.write_text(path.read_text() + more)
        yield home


# --- functions -------------------------------------------------------------------------------------------------------


def test_every_function_prints_the_vendors_answer_and_ends_its_session(place: Path, vendor: UContact) -> None:
    assert set(GIVEN) == set(OPERATIONS)
    for operation, parameters in GIVEN.items():
        said = trunkline("vendor", "call", "cloud", operation, *parameters, at=place)
        assert (said.status, said.err) == (0, ""), operation
        orjson.loads(said.out)
        assert vendor.password not in said.out
    assert vendor.sessions == set()
    assert len(vendor.ended) == vendor.logins > 20
    assert [dial.function for dial in vendor.books.dials] == [
        *("DialerTask", "ScheduleDialerCall", "RespoolCall", "lists", "freshLeads"),
    ]
    assert vendor.books.dials[2].destination == "099222222"
    assert vendor.books.uploads.keys() == {"june_1.csv", "june_2.csv", "july.csv"}
    assert vendor.books.blacklist == {}


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["DialerTask", "campaign=POWER<-"], 2, "DialerTask: destination is missing"),
        (["DialerTask", "campaign=P<-", "destination=1", "mode=often"], 2, "DialerTask: found the mode 'often'"),
        (["DialerTask", "campaign=P<-", "destination=x"], 1, "destination: found 1 characters that are no number"),
        (["RespoolCall", "cti=[]"], 2, "cti: found no object"),
        (["RespoolCall", 'cti={"Guid": "1"}'], 1, "cti: found no campaign, destination, contact, dialerbase"),
        (["uploadbase", "file=no.csv", "campaign=P<-", "name=x"], 2, "file: found 'no.csv'; expected a file of CSV"),
        (["uploadbase", "file=list.csv", "campaign=P<-", "name=x"], 1, "3 values cannot be sent, nothing was:"),
        (["webhook", "name=x", "method=BREW"], 2, "webhook: found the method 'BREW'"),
        (["freshLeads", "hub=o", "filename=f", "list={}"], 1, "list: found no array"),
        (["HangupPhone", "phone=1"], 1, "HangupPhone was answered '0', which means that it was not done"),
    ],
)
def test_a_wrong_value_and_a_refusal_are_told(place: Path, words: list[str], status: int, told: str) -> None:
    said = trunkline("vendor", "call", "cloud", *words, at=place)
    assert (said.status, said.out) == (status, "")
    assert said.err.startswith(f"trunkline: {told}")


def test_what_must_not_change_cannot_be_changed_from_the_command_line(place: Path, vendor: UContact) -> None:
    cti = f"cti={orjson.dumps(CTI).decode()}"
    said = trunkline("vendor", "call", "cloud", "RespoolCall", cti, 'change={"contact": "1"}', at=place)
    assert (said.status, vendor.books.dials) == (1, [])
    assert "contact must stay" in said.err


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_is_checked_by_a_dry_run_and_then_taken_in_parts(place: Path, vendor: UContact) -> None:
    words = ("vendor", "upload", "cloud", "list.csv", "--campaign", DIALER)
    dry = trunkline(*words, "--dry-run", at=place)
    assert (dry.status, dry.out, vendor.asked) == (0, "3 records can be sent\n", [])
    done = trunkline(*words, "--rows", "2", "--json", at=place)
    assert orjson.loads(done.out) == {"rows": 3, "of": 3, "files": ["list_1.csv", "list_2.csv"], "dry_run": False}


@pytest.mark.parametrize("words", [("--name", "Report"), ("--rows", "1", "--name", "x" * 49), ("--from-line", "9")])
def test_a_dry_run_refuses_what_the_upload_would(place: Path, vendor: UContact, words: tuple[str, ...]) -> None:
    said = trunkline("vendor", "upload", "cloud", "list.csv", "--campaign", DIALER, "--dry-run", *words, at=place)
    assert (said.status, said.out, vendor.asked) == (1, "", [])


def test_an_interrupted_upload_says_how_far_it_came_and_what_is_in_doubt(place: Path, vendor: UContact) -> None:
    vendor.moods.extend([None, "hang"])

    async def interrupted() -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "--config", str(place / "trunkline.toml")),
            *("vendor", "upload", "cloud", str(place / "list.csv"), "--campaign", DIALER, "--rows", "1"),
            cwd=ROOT,
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await becomes(lambda: len(vendor.asked) == 2, within=60)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    status, out, err = asyncio.run(interrupted())
    assert (status, out) == (1, "1 of 3 records taken: list_1.csv\n")
    assert "interrupted; the part from line 2 was not confirmed; it may have been taken all the same" in err
    assert len(vendor.ended) == vendor.logins == 1, "its session is ended"


def test_an_upload_that_fails_says_where_to_go_on_and_goes_on_there(place: Path, vendor: UContact) -> None:
    words = ("vendor", "upload", "cloud", "list.csv", "--campaign", DIALER, "--rows", "1")
    vendor.moods.extend([None, "fail"])
    failed = trunkline(*words, at=place)
    assert failed.status == 1
    assert failed.out == "1 of 3 records taken: list_1.csv\n"
    assert "the part from line 2 was not confirmed; it may have been taken all the same" in failed.err
    rest = trunkline(*words, "--from-line", "3", at=place)
    assert (rest.status, rest.out) == (0, "1 of 1 records taken: list_3.csv\n")
    assert trunkline(*words, "--from-line", "9", at=place).status == 1


def test_every_slip_of_a_file_is_a_line_and_nothing_is_sent(place: Path, vendor: UContact) -> None:
    (place / "list.csv").write_text("destination\nx\n600123456\n12\n")
    said = trunkline("vendor", "upload", "cloud", "list.csv", "--campaign", "POWER<-", at=place)
    assert (said.status, vendor.asked) == (1, [])
    assert [line.partition(": found")[0] for line in said.err.splitlines()[1:]] == [
        *("line 2, destination", "line 4, destination"),
    ]
    other = trunkline("vendor", "upload", "desk", "list.csv", "--campaign", "POWER<-", at=place)
    assert (other.status, other.err.count("\n")) == (2, 1)


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_a_source_has_one_url_to_paste_and_none_without_a_token(place: Path) -> None:
    said = trunkline("vendor", "url", "cloud", at=place, TRUNKLINE_HTTP__PUBLIC_URL=BASE)
    assert (said.status, said.out) == (0, f"{BASE}/callbacks/cloud/T0KEN\n")
    path = place / "trunkline.toml"
    path.write_text(path.read_text().replace('tokens = ["T0KEN"]\n', ""))
    said = trunkline("vendor", "url", "cloud", at=place)
    assert (said.status, said.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (RING, 0, ["ok    event        call.ucontact.missed", "ok    call         none"]),
        (BREAK, 0, ["ok    event        agent.ucontact.break_started", "ok    call         none"]),
        ('{"event":"FinishInteraction"}', 1, ["bad   identity     FinishInteraction has no guid"]),
        ('{"event":"CallStarted"}', 1, ["bad   event        the event 'CallStarted' is none of AgentRingNoAnswer"]),
        ("<xml/>", 1, ["bad   undecodable  the JSON is malformed"]),
    ],
)
def test_a_pasted_webhook_is_read_aloud_or_its_wrong_part_named(
    place: Path, body: str, status: int, told: list[str]
) -> None:
    words = ("vendor", "verify", "cloud", f"{BASE}/callbacks/cloud/T0KEN", "--body", "-")
    said = trunkline(*words, at=place, stdin=body.encode())
    assert said.status == status
    for line, expected in zip(said.lines[1:], told, strict=False):
        assert line.startswith(expected)
