"""Infocaller's outbound API: what is posted, and every answer that it may have."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Any, Literal
from urllib.parse import parse_qs

import pytest
import xmltodict

from hub.dialing.orders import Order
from hub.errors import Doubtful, Expired, Later, Refused, TrunklineError, Unacceptable
from hub.outgoing import Answer
from hub.simulator.dialling import InfocallerOutbound, Mood, serving
from hub.vendors.infocaller.outbound import RESULTS, CallRequest, Outbound, Said, judged, read_answer
from tests.outgoing.neighbours import outgoing

LINES = {"123456789": "3956"}
ORDER = Order("line-900", "+34911888920", agent="Peña", campaign="Campaña", variables={"PEDIDO": "<2> & 'ñ'"})


def posted(order: Order = ORDER, **more: Any) -> tuple[str, dict[str, Any]]:
    """The variable's name and the request in it, read by other hands."""
    body = CallRequest(lines=LINES, **more).body(order)
    assert body.isascii()
    [(name, [text])] = parse_qs(body.decode(), strict_parsing=True).items()
    read = xmltodict.parse(text) if name == "apiCALLxml" else json.loads(text)
    return name, read["callRequest"]


@asynccontextmanager
async def asked(url: str, **more: Any) -> AsyncIterator[Outbound]:
    async with outgoing() as out:
        lane = out.lane("infocaller.line-900", rate=1000, concurrency=4, timeout=0.5)
        yield Outbound(lane, CallRequest(lines=LINES, **more), url=url)


def test_the_xml_is_the_pages() -> None:
    name, request = posted(wait=30, retries=2)
    assert name == "apiCALLxml"
    assert request == {
        "@xmlns": "http://tempuri.org/",
        "UserID": {"idinfocaller": "123456789", "firma": md5(b"123456789+349118889203956").hexdigest()},  # noqa: S324
        "callData": {
            "numtelefono": "+34911888920",
            "gruporeglas": "Campaña",
            "fechahora": None,
            "EsperaMax": "30",
            "Reintentos": "2",
            "CustVars": {
                "CustVar": [
                    {"VarName": "AGENT", "VarValue": "Peña"},
                    {"VarName": "PEDIDO", "VarValue": "<2> & 'ñ'"},
                ]
            },
        },
    }


def test_the_xml_has_the_reserved_characters_as_entities() -> None:
    [text] = parse_qs(CallRequest(lines=LINES).body(ORDER).decode())["apiCALLxml"]
    assert "<VarValue>&lt;2&gt; &amp; &apos;&#241;&apos;</VarValue>" in text
    assert text.startswith("<callRequest xmlns='http://tempuri.org/'><UserID><idinfocaller>123456789</idinfocaller>")


def test_the_json_has_the_same_names_and_the_reserved_characters_as_entities() -> None:
    name, request = posted(form="json", agent_variable="AGENTE")
    assert name == "apiCALLjson"
    assert request["UserID"]["idinfocaller"] == "123456789"
    assert request["callData"]["EsperaMax"] == ""
    assert request["callData"]["CustVars"]["CustVar"] == [
        {"VarName": "AGENTE", "VarValue": "Peña"},
        {"VarName": "PEDIDO", "VarValue": "&lt;2&gt; &amp; &apos;ñ&apos;"},
    ]


def test_what_the_signature_is_made_of_can_be_configured() -> None:
    _, request = posted(signed="{password}|{group}|{line}|{number}")
    assert request["UserID"]["firma"] == md5("3956|Campaña|123456789|+34911888920".encode("latin-1")).hexdigest()  # noqa: S324


def test_the_line_is_the_only_one_or_the_one_that_is_asked_for() -> None:
    both = CallRequest(lines={**LINES, "900805089": "1"}, group="G")
    assert b"900805089" in both.body(Order("line-900", "911", caller_number="+34900805089"))
    with pytest.raises(Unacceptable, match="caller_number is missing, expected one of the source's lines"):
        both.check(Order("line-900", "911"))
    with pytest.raises(Unacceptable, match="none of the source's lines"):
        both.check(Order("line-900", "911", caller_number="600000000"))


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (Order("l", "911"), "campaign is missing"),
        (Order("l", "911", campaign="€"), "campaign is not of printable"),
        (Order("l", "911", campaign="G", agent="€"), "variables.AGENT"),
        (Order("l", "911", campaign="G", variables={"A" * 16: ""}), "1 to 15 letters"),
        (Order("l", "911", campaign="G", variables={"A": "\t"}), "variables.A: expected printable"),
    ],
)
def test_what_the_vendor_cannot_read_is_not_sent(order: Order, reason: str) -> None:
    with pytest.raises(Unacceptable, match=reason):
        CallRequest(lines=LINES).check(order)


def test_an_order_without_a_campaign_goes_to_the_configured_group() -> None:
    assert posted(Order("l", "911"), group="G")[1]["callData"]["gruporeglas"] == "G"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"callResponse":{"Status":{"Result":"0","Text":"OK"},"idcall":"7"}}', Said("0", "7", "OK")),
        (b'{"Result":0,"idcall":7}', Said("0", "7", "")),
        (
            b"<r xmlns='http://tempuri.org/'><Status><Result>0</Result></Status><idcall>7</idcall></r>",
            Said("0", "7", ""),
        ),
        (b"<r><RESULT> 3 </RESULT><Text>no credit</Text><idcall/></r>", Said("3", "", "no credit")),
        (b"<r><idcall>0</idcall><Result>0</Result></r>", Said("0", "", "")),
        (b"", Said("", "", "")),
        (b"[" * 2000, Said("", "", "")),
        ("<r><Text>número</Text></r>".encode("latin-1"), Said("", "", "número")),
    ],
)
def test_an_answer_is_read_in_either_form_wherever_its_fields_stand(body: bytes, said: Said) -> None:
    assert read_answer(body) == said


def test_every_result_code_but_zero_is_a_refusal_with_its_text() -> None:
    assert set(RESULTS) == {"0"}
    for code in ("1", "2", "-1", "00"):
        with pytest.raises(Refused, match=f"result {code}: no credit"):
            judged(Answer(200, body=b"<r><Result>%b</Result><Text>no credit</Text></r>" % code.encode()))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200), Doubtful),
        (Answer(200, body=b"<html>Maintenance</html>"), Doubtful),
        (Answer(500, body=b"<r><Result>0</Result></r>"), Later),
        (Answer(401), Expired),
        (Answer(404, body=b"<r><Result>0</Result></r>"), Refused),
    ],
)
def test_an_answer_that_says_neither_leaves_it_open_whether_it_rings(
    answer: Answer, error: type[TrunklineError]
) -> None:
    with pytest.raises(error):
        judged(answer)


@pytest.mark.parametrize("form", ["xml", "json"])
async def test_a_call_is_issued_and_its_request_is_named(form: Literal["xml", "json"]) -> None:
    server = InfocallerOutbound(lines=LINES, form=form)
    async with serving(server) as url, asked(url, form=form) as client:
        placed = await client.dial(ORDER)
    assert (placed.request_id, placed.call_id, placed.vendor_ids) == ("700001", None, {"idcall": "700001"})
    [call] = server.placed
    assert (call.number, call.variables) == ("+34911888920", {"AGENT": "Peña", "PEDIDO": "<2> & 'ñ'"})


async def test_a_wrong_password_is_refused() -> None:
    server = InfocallerOutbound(lines={"123456789": "other"})
    async with serving(server) as url, asked(url) as client:
        with pytest.raises(Refused, match="result 2: firma"):
            await client.dial(ORDER)


@pytest.mark.parametrize("mood", ["drop", "500", "garbage", "empty", "hang"])
async def test_a_call_that_may_ring_is_doubtful_and_asked_for_once(mood: Mood) -> None:
    server = InfocallerOutbound(lines=LINES)
    server.moods.append(mood)
    async with serving(server) as url, asked(url) as client:
        with pytest.raises(Doubtful):
            await client.dial(ORDER)
    assert (server.requests, len(server.placed)) == (1, 1)
