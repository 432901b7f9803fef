"""Every function, asked of a simulated instance that was written from the same page and not from the client."""

from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import web

from hub.errors import ConfigurationError, Doubtful, Expired, Permanent, Refused
from hub.simulator.ucontact import UContact as Simulated
from hub.vendors.ucontact.automation import LOADING
from hub.vendors.ucontact.cti import Respool
from hub.vendors.ucontact.making import make
from hub.vendors.ucontact.paths import PATHS
from tests.outgoing.neighbours import http
from tests.vendors.ucontact.instance import CALL, NOW, TASK, asked, instance, source

CONTACT: Final = Respool("POWER<-", "099124484", "8821", "june", alternatives=("099222222",))
GUID: Final = "824da669-2239-46f2-98c7-1a8cafa34701"


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_a_call_has_the_seven_parameters_of_the_page_and_its_guid_comes_back() -> None:
    async with instance() as (vendor, client):
        guid = await client.agent_call("+34 600-123-456", context="agents", **CALL)
        assert vendor.books.calls[guid] == {
            "callerid": "24001000",
            "agent": "agentTest",
            "phone": "9999",
            "tech": "SIP",
            "context": "agents",
            "outqueue": "Sale->",
            "destination": "+34600123456",
            "state": "ringing",
        }
        assert await client.hang_up("9999") == "1"
        assert vendor.books.calls[guid]["state"] == "ended"
        with pytest.raises(Refused):
            await client.hang_up("9999")


async def test_a_campaigns_arrow_and_every_character_survive_the_form() -> None:
    heard: list[tuple[str, bytes, str]] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append((request.path, await request.read(), request.headers["Content-Type"]))
        return web.Response(text="1")

    async with http(answer) as url, asked(url, Simulated()) as client:
        await client.dialer_task("dialer", data={"naïve & co": "50 % = 'x'"}, **TASK)
    path, body, kind = heard[1]
    assert (path, kind) == ("/Integra/resources/Dialers/DialerTask", "application/x-www-form-urlencoded; charset=UTF-8")
    assert b"%3C-" in body
    assert b"na%C3%AFve" in body
    assert b"50+%25" in body
    assert b"%27" not in body


async def test_agents_log_in_with_a_zero_that_is_success() -> None:
    async with instance() as (vendor, client):
        assert await client.agent_login("agentTest", "secret") == "0"
        assert await client.agent_login("agentTest", "secret", force=True) == "3"
        with pytest.raises(Refused):
            await client.agent_login("agentTest", "wrong")
        for function in ("AgentLogoff", "AgentPause", "AgentUnPause", "AgentPauseNoLog", "AgentUnPauseNoLog"):
            assert await client.agent_state(function, "agentTest", "SIP/9999") == "1"
        for function in ("AgentBreak", "AgentUnBreak"):
            assert await client.agent_state(function, "agentTest", "SIP/9999", motive="Lunch") == "1"
        assert [form["motive"] for name, form in vendor.books.done if name.endswith("reak")] == ["Lunch", "Lunch"]


async def test_a_disposition_a_workflow_and_a_flow_of_the_customers_are_told() -> None:
    async with instance() as (vendor, client):
        await client.disposition(GUID, "No contesta", campaign="POWER<-", action="RESPOOL")
        await client.workflow_call("renewals", guid=GUID, data={"order": "7"})
        assert await client.webhook("respool", {"contact": "7"}) == "flow respool"
        assert await client.webhook("respool", {"contact": "7"}, method="GET") == "flow respool"
        told = dict(vendor.books.done)
        assert told["DispositionCall"]["action"] == "RESPOOL"
        assert told["WorkflowCall"]["data"] == "order=7"
        assert told["webhook"]["query"] == {"contact": "7"}


# --- dialers ---------------------------------------------------------------------------------------------------------


async def test_a_number_goes_into_a_dialer_in_each_of_the_four_modes() -> None:
    async with instance() as (vendor, client):
        await client.dialer_task("dialer", **TASK)
        await client.dialer_task("priority", **TASK)
        await client.dialer_task("click", agent="9999", **TASK)
        await client.dialer_task("scheduled", at=NOW + timedelta(hours=1), **TASK)
        assert vendor.books.per_number() == {"099124484": 4}
        assert [dial.at for dial in vendor.books.dials] == [None, None, None, "2026-11-20 07:15:00"]


async def test_a_call_is_scheduled_and_anything_but_1_is_a_refusal() -> None:
    async with instance(answers={"DialerTask": "one"}) as (vendor, client):
        assert await client.schedule_call(at=NOW, alternatives=["099222222"], **TASK) == "1"
        [dial] = vendor.books.dials
        assert (dial.function, dial.said["agentphone"], dial.at) == ("ScheduleDialerCall", "", "2026-11-20 06:15:00")


async def test_a_missing_key_in_json_in_a_form_is_a_zero() -> None:
    async with instance() as (vendor, client):
        with pytest.raises(Refused):
            await client._ask.classic("DialerTask", {"call": '{"campaign": "POWER<-", "destination": "1"}'})
        with pytest.raises(Refused):
            await client._ask.classic("ScheduleDialerCall", {"callschedule": "no JSON"})
        assert vendor.books.dials == []


async def test_a_contact_is_respooled_by_its_own_function_under_the_names_of_the_instance() -> None:
    async with instance() as (vendor, client):
        assert await client.respool(CONTACT.promoted()) == "1"
        [dial] = vendor.books.dials
        assert (dial.contact, dial.destination, dial.said["dialerbase"]) == ("8821", "099222222", "june")
    heard: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append({"path": request.path, **(await request.post())})
        return web.Response(text="1")

    names = {"RespoolCall.respool": "object", "RespoolCall.dialerbase": "dialebase"}
    async with (
        http(answer) as url,
        asked(
            url, Simulated(), names=names, paths={"RespoolCall": "IntegraChannels/resources/webhook/respool"}
        ) as client,
    ):
        await client.respool(CONTACT)
    assert heard[1]["path"] == "/IntegraChannels/resources/webhook/respool"
    assert '"dialebase":"june"' in heard[1]["object"]


async def test_contacts_and_schedules_are_deleted() -> None:
    async with instance() as (vendor, client):
        assert await client.delete_contact("POWER<-", "8821") == "1"
        assert await client.delete_schedule("POWER<-", "099124484", NOW) == "1"
        assert [name for name, _ in vendor.books.deleted] == ["DeleteContact", "DeleteSchedule"]
        assert vendor.books.deleted[1][1]["calldate"] == "2026-11-20 06:15:00"


async def test_the_blacklist_takes_and_gives_back_one_number_and_many() -> None:
    async with instance() as (vendor, client):
        await client.blacklist(["099124484"], campaign="POWER<-")
        await client.blacklist(["099222222", "099333333"])
        assert vendor.books.blacklist == {"099124484": {"POWER<-"}, "099222222": {""}, "099333333": {""}}
        await client.blacklist(["099124484"], campaign="POWER<-", remove=True)
        await client.blacklist(["099222222", "099333333"], remove=True)
        assert vendor.books.blacklist == {}
        assert [name for name, _ in vendor.asked] == [
            *("AddBlacklist", "AddBlacklists", "RemoveBlacklist", "RemoveBlacklists"),
        ]
        with pytest.raises(Permanent):
            await client.blacklist([])


# --- the automation API ----------------------------------------------------------------------------------------------


async def test_a_list_loads_by_itself_and_its_state_tells_when() -> None:
    now = [NOW]
    async with instance(Simulated(clock=lambda: now[0], load_seconds=5)) as (vendor, client):
        lists = client.automation
        assert await lists.list_state("outbound hub", "June sales") is None
        await lists.create_list("outbound hub", "June sales", [{"clientIds": ["1567890", "1234567"]}])
        assert await lists.list_state("outbound hub", "June sales") == LOADING
        now[0] += timedelta(seconds=5)
        assert await lists.list_state("outbound hub", "June sales") == "inactive"
        assert vendor.books.lists["outbound hub", "June sales"].contacts == [{"clientIds": ["1567890", "1234567"]}]
        assert vendor.logins == 0
        with pytest.raises(Refused):
            await lists.create_list("outbound hub", "June sales", [{"clientIds": ["1567890"]}])


async def test_a_list_whose_answer_was_lost_can_be_looked_for() -> None:
    async with instance() as (vendor, client):
        vendor.moods.append("drop")
        with pytest.raises(Doubtful):
            await client.automation.create_list("hub", "June", [{"clientIds": ["1567890"]}])
        assert await client.automation.list_state("hub", "June") is not None
        vendor.moods.append("lose")
        with pytest.raises(Doubtful):
            await client.automation.create_list("hub", "July", [{"clientIds": ["1567890"]}])
        assert await client.automation.list_state("hub", "July") is None


async def test_a_list_is_waited_for_until_it_has_loaded_and_no_longer_than_told() -> None:
    async with instance(Simulated(load_seconds=0.05)) as (_, client):
        await client.automation.create_list("hub", "June", [{"clientIds": ["1567890"]}])
        assert await client.automation.loaded("hub", "June", within=20, every=0.01) == "inactive"
        with pytest.raises(Refused, match="no list"):
            await client.automation.loaded("hub", "July", within=1)
    async with instance(Simulated(load_seconds=60)) as (_, client):
        await client.automation.create_list("hub", "June", [{"clientIds": ["1567890"]}])
        with pytest.raises(Doubtful, match="still loading"):
            await client.automation.loaded("hub", "June", within=0.05, every=0.01)


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (404, '{"error": "not found"}', Refused),
        (200, '{"error": "not found"}', Doubtful),
        (200, '[{"name": "June", "status": "loading"}]', Doubtful),
        (200, '[{"filename": "June", "state": 1}]', Doubtful),
        (200, "<html></html>", Doubtful),
    ],
)
async def test_only_an_answer_that_names_lists_says_that_there_is_none(status: int, said: str, error: Any) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=said)

    async with http(answer) as url, asked(url, Simulated()) as client:
        with pytest.raises(error):
            await client.automation.list_state("hub", "June")


async def test_fresh_leads_are_called_at_once_or_at_a_time() -> None:
    async with instance() as (vendor, client):
        await client.automation.fresh_leads("hub", "now", [{"clientIds": ["1567890"], "contact": "7"}])
        await client.automation.fresh_leads("hub", "later", [{"clientIds": ["1567890"]}], at=NOW)
        assert [(dial.at, dial.contact) for dial in vendor.books.dials] == [
            (None, "7"),
            ("2026-11-20 06:15:00", "1567890"),
        ]


async def test_a_contact_without_numbers_is_refused_unsent_and_a_token_is_needed() -> None:
    async with instance() as (vendor, client):
        wrong: list[list[dict[str, Any]]] = [[], *([{"clientIds": each}] for each in ([], "1567890", ["x"], None))]
        for contacts in wrong:
            with pytest.raises(Permanent):
                await client.automation.create_list("hub", "June", contacts)
        assert vendor.asked == []
    async with instance(api_token=None) as (vendor, client):
        with pytest.raises(Expired, match="api_token"):
            await client.automation.list_state("hub", "June")
    async with instance(api_token="old") as (vendor, client):
        with pytest.raises(Expired):
            await client.automation.list_state("hub", "June")


# --- recordings, campaigns, the rest ----------------------------------------------------------------------------------


async def test_recordings_are_found_converted_and_tagged() -> None:
    async with instance(Simulated(audio={GUID: b"RIFF"})) as (vendor, client):
        [found] = await client.recordings(GUID)
        assert found["place"] == "archive"
        assert await client.recordings("another") == []
        assert (await client.convert_recording(GUID, "mp3")).endswith(".mp3")
        with pytest.raises(Refused):
            await client.convert_recording("another", "mp3")
        assert await client.tag_recording(GUID, "complaint") == "1"
        assert vendor.books.done == [("TagRecording", {"guid": GUID, "tag": "complaint"})]


async def test_campaigns_are_told_in_short_and_in_full_with_their_members() -> None:
    async with instance() as (_, client):
        await client.dialer_task("dialer", **TASK)
        assert {"campaign": "POWER<-", "calls": 1} in await client.campaigns_summary()
        assert len(await client.campaign_status()) == 3
        [one] = await client.campaign_status("POWER<-")
        assert one["agents"] == ["agentTest"]
        assert await client.queue_members("Demo<-") == [{"membername": "agentTest"}]
        assert "Sale->" in await client.campaigns()


async def test_an_sms_is_ok_or_has_an_id() -> None:
    sms = {"destination": "099124484", "message": "Hi", "campaign": "SMS->", "agent": "", "source": ""}
    async with instance() as (_, client):
        assert await client.send_sms(sms) == "OK"
        assert (await client.send_sms(sms, version=2))["id"]
        with pytest.raises(Refused):
            await client.send_sms({**sms, "message": ""})


# --- the configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("paths", {"Respool": "x"}, r"sources\.cloud\.paths: found 'Respool'; expected one of .*RespoolCall"),
        ("names", {"RespoolCall.colour": "x"}, r"sources\.cloud\.names: found 'RespoolCall\.colour'"),
        ("answers", {"Respool": "one"}, r"sources\.cloud\.answers: found 'Respool'"),
        ("task_modes", {"click": {"destination": "1"}}, r"task_modes\.click: found 'destination'"),
    ],
)
def test_a_key_that_names_nothing_is_one_line(key: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make("cloud", source("http://127.0.0.1", Simulated(), **{key: value}), None)  # type: ignore[arg-type]


async def test_an_absolute_path_replaces_the_address_too() -> None:
    async with instance() as (vendor, other):
        base = other._ask._base
        async with asked(
            "http://127.0.0.1:9", vendor, paths={name: f"{base}/{path}" for name, path in PATHS.items()}
        ) as one:
            assert await one.dialer_task("dialer", **TASK) == "1"
            assert await one.automation.list_state("hub", "June") is None
