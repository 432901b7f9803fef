"""INFOCU5's API, asked: against the vendor's own samples, and against a vendor of moods."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from hub.errors import Doubtful, Expired, Later, NotSent, Permanent, RateLimited, Refused, TooMuch, TrunklineError
from hub.events import moment
from hub.simulator.infocu5 import Infocu5, Mood, made, serving
from hub.vendors.infocu5 import client as module
from hub.vendors.infocu5.client import Answer, Client, agents_of, campaigns_of
from hub.vendors.infocu5.codes import EMPTY, problem
from hub.vendors.infocu5.leads import FIELDS, read_xml
from hub.vendors.infocu5.polling import Infocu5Records
from hub.vendors.infocu5.records import Reader, read_calls
from tests.outgoing.neighbours import http, outgoing
from tests.servers.ports import free_port, release_port
from tests.vendors.infocu5 import samples

SINCE: Final = moment("2026-11-20T08:00:00Z")
UNTIL: Final = SINCE + timedelta(hours=1)
KEY: Final = "0123456789abcdef0123456789abcdef"
LEAD: Final = {"leadNameFirst": "Ana & Co", "leadPhone": "8885551212", "leadCountry": "US"}
CARD: Final = "4111111111111111"


def client(lane: Any, url: str, **more: Any) -> Client:
    return Client(lane, **{"base_url": url, "affiliate_id": "AFFILIATE001", "affiliate_key": KEY, **more})


@asynccontextmanager
async def asked(url: str, **more: Any) -> AsyncIterator[Client]:
    async with outgoing() as out:
        yield client(out.lane("infocu5.focu5", rate=1000, concurrency=4, timeout=1.0), url, timeout=1.0, **more)


@asynccontextmanager
async def vendor(**options: Any) -> AsyncIterator[tuple[Infocu5, Client]]:
    leads = options.pop("client", {})
    simulated = Infocu5(**options)
    async with serving(simulated) as url, asked(url, **leads) as asking:
        yield simulated, asking


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[Client]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with http(answer) as url, asked(f"{url}/dialer/") as asking:
        yield asking


# --- the vendor's samples --------------------------------------------------------------------------------------------


async def test_the_samples_of_the_page_are_read() -> None:
    async with answering(samples.GET_AGENTS) as asking:
        [agent] = agents_of(await asking.get_agents())
        assert (agent.id, agent.first_name, agent.last_name) == ("_AGENT_ID_", "First", "Last")
    async with answering(samples.GET_CALLS) as asking:
        [record] = read_calls((await asking.get_calls(SINCE, UNTIL)).details).records
        assert record.call_id == "_CALL_ID_"
    async with answering(samples.REFUSED) as asking:
        with pytest.raises(Refused, match="code 100: Invalid ID and Transaction Key"):
            await asking.get_agents()


@pytest.mark.parametrize("said", [samples.GET_CAMPAIGNS, samples.GET_CAMPAIGNS_OF_THE_TEXT])
async def test_campaigns_are_read_in_the_shape_of_the_example_and_in_that_of_the_text(said: dict[str, Any]) -> None:
    async with answering(json.dumps(said).encode()) as asking:
        [campaign] = campaigns_of(await asking.get_campaigns())
    assert (campaign.id, campaign.name) == ("1111", "Campaign Name")
    [place] = campaign.lists
    assert (place.dialer_id, place.dialer_name, place.fields) == ("_UNIQUE_DIALER_ID_", "Dialer Name", samples.FIELDS)
    assert (place.list_id, place.list_name) in [("111000", "List Name"), ("", "")]


async def test_the_pages_own_request_with_its_trailing_comma_is_answered_with_80() -> None:
    async with (
        serving(Infocu5()) as url,
        ClientSession() as session,
        session.post(url, data=samples.REQUEST_WITH_A_COMMA) as answer,
    ):
        assert (await answer.json())["responseCode"] == 80


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_a_function_is_a_post_of_json_with_the_credentials_and_the_names_of_the_page() -> None:
    heard: list[tuple[web.Request, dict[str, Any]]] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append((request, await request.json()))
        return web.json_response({"responseCode": 340, "responseMessage": "No Calls found"})

    async with http(answer) as url, asked(f"{url}/dialer/") as asking:
        await asking.get_calls(
            moment("2026-11-20T09:00:00.250+01:00"), moment("2026-11-20T09:00:00.250Z"), campaigns=["1"], agents=["2"]
        )
    [(request, body)] = heard
    assert (request.method, request.path, request.content_type) == ("POST", "/dialer/", "application/json")
    assert body == {
        "affiliateID": "AFFILIATE001",
        "affiliateKey": KEY,
        "dialerFunction": "getCalls",
        "dateStart": "2026-11-20T08:00:00+00:00",
        "dateEnd": "2026-11-20T09:00:01+00:00",
        "filterCampaigns": ["1"],
        "filterAgents": ["2"],
    }


async def test_all_or_only_our_own_are_asked_for_by_a_letter() -> None:
    async with vendor() as (simulated, asking):
        for show_all in (True, False):
            await asking.get_agents(show_all=show_all)
            await asking.get_campaigns(show_all=show_all)
    assert [(name, said["showAll"]) for name, said in simulated.asked] == [
        *(("getAgents", "y"), ("getCampaigns", "y")),
        *(("getAgents", "n"), ("getCampaigns", "n")),
    ]


async def test_everything_that_the_vendor_has_of_a_time_is_found_in_both_shapes() -> None:
    calls = made(1, 300, SINCE, UNTIL)
    for shape in ("object", "array"):
        async with vendor(details=shape, calls=calls) as (_, asking):
            found = read_calls((await asking.get_calls(SINCE, UNTIL)).details)
            assert {record.call_id for record in found.records} == {call.call_id for call in calls}
            filtered = read_calls((await asking.get_calls(SINCE, UNTIL, agents=["1001"])).details)
            assert {record.fields["callAgentName"] for record in filtered.records} == {"Kasper"}
            assert read_calls((await asking.get_calls(UNTIL, UNTIL + timedelta(hours=1))).details).records == ()


async def test_paths_replace_the_url_of_one_operation() -> None:
    paths = {"addLeads": "../x_dialer/index.php"}
    async with vendor(client={"paths": paths}) as (simulated, asking):
        assert (await asking.add_leads("DI1111AA", "1111", [LEAD])).code == 1
        assert simulated.leads == []  # the vendor's own test URL: checked, not taken
        assert (await asking.get_agents(show_all=False)).code == 1


async def ask(asking: Client, function: str) -> Answer:
    match function:
        case "getCalls":
            return await asking.get_calls(SINCE, UNTIL)
        case "getAgents":
            return await asking.get_agents()
        case _:
            return await asking.get_campaigns()


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "code", "error"),
    [
        ("getCalls", 1, None),
        ("getCalls", 340, None),
        ("getCampaigns", 340, None),
        ("getAgents", 341, None),
        ("getAgents", 340, Refused),  # not of this function
        ("getCalls", 341, Refused),
        ("getCalls", 80, Refused),
        ("getCalls", 100, Refused),
        ("getCalls", 800, Refused),
        ("getCalls", 900, Later),
        ("addLeads", 900, Doubtful),
        ("addLeads", 777, Refused),
    ],
)
async def test_each_code_has_its_meaning(function: str, code: int, error: type[TrunklineError] | None) -> None:
    found = problem(function, code, "said so")
    assert type(found) is (Later if error is Doubtful else error) if error else found is None
    body = json.dumps({"responseCode": str(code), "responseMessage": "said so"}).encode()
    if function == "addLeads":
        return
    async with answering(body) as asking:
        if error is None:
            answer = await ask(asking, function)
            assert (answer.code, answer.details) == (code, None)
        else:
            with pytest.raises(error, match="said so"):
                await ask(asking, function)


def test_the_codes_of_nothing_found_are_those_of_the_page() -> None:
    assert set(EMPTY) == {("getCalls", 340), ("getCampaigns", 340), ("getAgents", 341)}


@pytest.mark.parametrize(
    ("mood", "error"),
    [("900", Later), ("500", Later), ("429", RateLimited), ("html", Doubtful), ("cut", Doubtful), ("hang", Doubtful)],
)
async def test_a_mood_is_an_error_by_what_happens_next_and_the_next_answer_is_good(
    mood: Mood, error: type[TrunklineError]
) -> None:
    async with vendor() as (simulated, asking):
        simulated.moods.append(mood)
        with pytest.raises(error):
            await asking.get_agents()
    async with vendor() as (simulated, asking):
        assert len(agents_of(await asking.get_agents())) == 5


async def test_the_vendor_says_that_there_is_none_by_a_code_or_by_an_empty_array() -> None:
    async with vendor(agents=()) as (simulated, asking):
        assert ((await asking.get_agents()).code, (await asking.get_calls(SINCE, UNTIL)).code) == (341, 340)
        assert (await asking.get_campaigns(show_all=False)).code == 340
        simulated.moods.extend(["none"] * 3)
        assert agents_of(await asking.get_agents()) == []
        assert campaigns_of(await asking.get_campaigns()) == []
        assert read_calls((await asking.get_calls(SINCE, UNTIL)).details).records == ()


async def test_a_success_that_lacks_its_records_is_no_time_without_calls() -> None:
    async with answering(b'{"responseCode": 1, "responseMessage": "Success"}') as asking:
        polled = await Infocu5Records("focu5", asking, Reader(source="focu5")).between(SINCE, UNTIL, "poll")
    assert polled.events == ()
    assert polled.unreadable == ("a success without responseDetails; expected records",)


async def test_leads_go_over_a_connection_that_nobody_may_have_closed() -> None:
    peers: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        peers.append(request.transport and request.transport.get_extra_info("peername"))
        return web.Response(text="<dialerResponse><responseCode>1</responseCode></dialerResponse>")

    async with http(answer) as url, asked(f"{url}/dialer/") as asking:
        for _ in range(3):
            await asking.add_leads("DI1111AA", "1111", [LEAD])
    assert len(set(peers)) == 3


async def test_a_slow_answer_is_waited_for() -> None:
    async with vendor() as (simulated, asking):
        simulated.moods.append("slow")
        assert (await asking.get_calls(SINCE, UNTIL)).code == 340


@pytest.mark.parametrize(("status", "error"), [(401, Expired), (404, Refused), (503, Later)])
async def test_an_http_status_counts_where_there_is_no_code(status: int, error: type[TrunklineError]) -> None:
    async with answering(b"nothing here", status) as asking:
        with pytest.raises(error):
            await asking.get_agents()


async def test_a_code_counts_before_the_http_status() -> None:
    async with answering(samples.REFUSED, 500) as asking:
        with pytest.raises(Refused, match="code 100"):
            await asking.get_agents()
    async with answering(samples.GET_AGENTS, 500) as asking:
        with pytest.raises(Later):  # a success that says it failed is not believed
            await asking.get_agents()


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"responseCode": null}', b'{"responseCode": true}', b"", b"\xff"])
async def test_an_answer_without_a_code_is_doubtful(body: bytes) -> None:
    async with answering(body) as asking:
        with pytest.raises(Doubtful):
            await asking.get_agents()


async def test_half_a_character_does_not_hide_the_other_records() -> None:
    body = samples.GET_CALLS.replace(b'"Contact Name"', b'"Contact \\ud83d"')
    async with answering(body) as asking:
        [record] = read_calls((await asking.get_calls(SINCE, UNTIL)).details).records
    assert record.fields["callContact"] == "Contact ?"


async def test_an_answer_that_is_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 2000)
    async with vendor(calls=made(1, 50, SINCE, UNTIL)) as (_, asking):
        with pytest.raises(TooMuch):
            await asking.get_calls(SINCE, UNTIL)


async def test_of_leads_whose_answer_is_too_long_nobody_knows_whether_they_were_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LIMIT", 20)
    async with vendor() as (simulated, asking):
        with pytest.raises(Doubtful):
            await asking.add_leads("DI1111AA", "1", [{"leadPhone": "911888920"}])
        assert len(simulated.leads) == 1


async def test_nobody_there_is_certainly_not_sent() -> None:
    port = free_port()
    async with asked(f"http://127.0.0.1:{port}/dialer/") as asking:
        with pytest.raises(NotSent):
            await asking.get_agents()
    release_port(port)


# --- leads -----------------------------------------------------------------------------------------------------------


async def test_leads_go_as_numbered_xml_to_the_url_of_the_older_version() -> None:
    leads = [LEAD, {"leadNameFirst": "Ñandú <3", "leadPhone": 8885551313}]
    async with vendor() as (simulated, asking):
        assert (await asking.add_leads("DI1111AA", "1111", leads)).code == 1
    where = {"dialerID": "DI1111AA", "listID": "1111"}
    assert simulated.leads == [
        {**where, **LEAD},
        {**where, "leadNameFirst": "Ñandú <3", "leadPhone": "8885551313"},
    ]
    [(function, fields)] = simulated.asked
    assert (function, fields["callTimeOffset"], fields["listAutoPopulate"]) == ("addLeads", "0", "y")
    assert not any("CC" in name for name in fields)


async def test_leads_go_as_json_where_that_is_configured() -> None:
    async with vendor(json_leads=True, client={"leads_as": "json"}) as (simulated, asking):
        assert (await asking.add_leads("DI1111AA", "1111", [LEAD])).code == 1
        assert simulated.leads == [{"dialerID": "DI1111AA", "listID": "1111", **LEAD}]
    async with vendor(client={"leads_as": "json"}) as (_, asking):
        with pytest.raises(Refused, match="800"):
            await asking.add_leads("DI1111AA", "1111", [LEAD])


async def test_ten_leads_fit_and_eleven_or_none_are_refused_unsent() -> None:
    async with vendor() as (simulated, asking):
        await asking.add_leads("DI1111AA", "1111", [LEAD] * 10)
        assert len(simulated.leads) == 10
        for wrong in ([LEAD] * 11, [], "leads", {"leadCity": "Reno"}, [["leadCity"]], [{"leadCity": ["Reno"]}]):
            with pytest.raises(Permanent):
                await asking.add_leads("DI1111AA", "1111", wrong)
        assert len(simulated.asked) == 1


@pytest.mark.parametrize("name", ["leadCCNumber", "leadccnumber", "leadCCNumber_1", " LeadCCNumber "])
@pytest.mark.parametrize("leads_as", ["xml", "json"])
async def test_a_payment_cards_number_is_refused_unsent_and_said_nowhere(name: str, leads_as: str) -> None:
    async with vendor(json_leads=True, client={"leads_as": leads_as}) as (simulated, asking):
        with capture_logs() as logs, pytest.raises(Permanent, match="payment card") as refused:
            await asking.add_leads("DI1111AA", "1111", [LEAD, {**LEAD, name: CARD}])
    assert simulated.asked == []
    assert simulated.cards == 0
    assert CARD not in str(refused.value)
    assert CARD not in str(logs)
    assert "leadCCNumber" not in FIELDS


async def test_every_field_of_a_lead_is_sent_and_one_that_no_lead_has_is_refused_by_its_name_without_its_value() -> (
    None
):
    assert {*FIELDS, "leadCCNumber"} == set(samples.FIELDS)
    async with vendor() as (simulated, asking):
        lead = {name: name.upper() for name in FIELDS}
        await asking.add_leads("DI1111AA", "1111", [lead])
        assert simulated.leads == [{"dialerID": "DI1111AA", "listID": "1111", **lead}]
        simulated.asked.clear()
        with pytest.raises(Permanent, match="leadShoe") as refused:
            await asking.add_leads("DI1111AA", "1111", [{"leadShoe": "very private"}])
        with pytest.raises(Permanent, match="leadCity_1"):
            await asking.add_leads("DI1111AA", "1111", [{"leadCity": "a\0b"}])
    assert "very private" not in str(refused.value)
    assert simulated.asked == []


async def test_an_error_of_the_interface_leaves_it_open_whether_leads_were_taken() -> None:
    async with vendor() as (simulated, asking):
        simulated.moods.append("900")
        with pytest.raises(Doubtful, match="addLeads was answered with code 900"):
            await asking.add_leads("DI1111AA", "1111", [LEAD])


@pytest.mark.parametrize(
    "body", [b"", b"no", b"<html/>", b"<dialerResponse>", b'<!DOCTYPE x [<!ENTITY a "b">]><dialerResponse/>']
)
def test_xml_that_is_no_answer_is_doubtful(body: bytes) -> None:
    with pytest.raises(Doubtful):
        read_xml(body)


def test_the_dialers_of_the_older_version_are_details() -> None:
    said = read_xml(
        b"<dialerResponse><responseCode>1</responseCode><responseMessage>Success</responseMessage>"
        b"<dialer><dialerName/><dialerID>DI1111AA</dialerID></dialer></dialerResponse>"
    )
    assert said == {
        "responseCode": "1",
        "responseMessage": "Success",
        "responseDetails": [{"dialerName": "", "dialerID": "DI1111AA"}],
    }


# --- secrets ---------------------------------------------------------------------------------------------------------


async def test_the_affiliates_key_is_in_no_log_and_no_error_also_where_the_vendor_echoes_it() -> None:
    async def echo(request: web.Request) -> web.Response:
        said = await request.text()
        return web.json_response({"responseCode": 100, "responseMessage": f"bad: {said}"})

    with capture_logs() as logs:
        async with http(echo) as url, asked(f"{url}/dialer/") as asking:
            with pytest.raises(Refused) as refused:
                await asking.get_agents()
            with pytest.raises(TrunklineError):
                await asking.add_leads("DI1111AA", "1111", [LEAD])
    assert KEY not in str(refused.value)
    assert KEY not in str(logs)


async def test_two_who_ask_at_once_get_each_their_own_answer() -> None:
    calls = made(1, 40, SINCE, UNTIL)
    early = [replace(call) for call in calls if call.at < SINCE + timedelta(minutes=30)]
    async with vendor(calls=calls) as (_, asking):
        answers = await asyncio.gather(
            asking.get_calls(SINCE, UNTIL), asking.get_calls(SINCE, SINCE + timedelta(minutes=30)), asking.get_agents()
        )
    counts = [len(read_calls(answer.details).records) for answer in answers[:2]]
    assert counts[0] == 40
    assert counts[1] >= len(early)
