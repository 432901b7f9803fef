"""FocalScope's dial link: what is asked, and every answer that it may have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hub.dialing.orders import Order
from hub.errors import Doubtful, Expired, Later, NotSent, RateLimited, Refused, TrunklineError, Unacceptable
from hub.events import identity
from hub.outgoing import Answer
from hub.simulator.dialling import FocalScopeServer, Mood, serving
from hub.vendors.focalscope.dialing import DialClient, DialLink, request_id
from tests.outgoing.neighbours import outgoing
from tests.servers.ports import free_port, release_port

ORDER = Order("desk", "+34911888920", agent="José & Cía", campaign="Ventas->", variables={"ref": "a/b?c=d"})
LINK = "https://pbx.example.com/dial?to={number}&who={agent}&cb={adapter}&c={campaign}&x={variables.ref}&s={source}"


def link(template: str = LINK) -> DialLink:
    return DialLink(source="desk", template=template, adapter="trunkline")


@asynccontextmanager
async def asked(url: str, **more: Any) -> AsyncIterator[DialClient]:
    async with outgoing() as out:
        lane = out.lane("focalscope.desk", rate=1000, concurrency=4, timeout=0.5)
        template = f"{url}/dial?number={{number}}&agent={{agent}}&adapter={{adapter}}"
        given = {"source": "desk", "epoch": "2", "method": "GET", "headers": {}, **more}
        yield DialClient(lane, link(template), **given)


def test_every_value_is_encoded_into_its_place() -> None:
    assert link().url(ORDER) == (
        "https://pbx.example.com/dial?to=%2B34911888920&who=Jos%C3%A9%20%26%20C%C3%ADa&cb=trunkline"
        "&c=Ventas-%3E&x=a%2Fb%3Fc%3Dd&s=desk"
    )


def test_what_the_link_needs_and_what_it_has_no_place_for_is_said() -> None:
    with pytest.raises(Unacceptable, match="agent is missing"):
        link().check(Order("desk", "911888920", variables={"ref": "1"}))
    with pytest.raises(Unacceptable, match=r"variables\.other: the source's dial_url has no \{variables\.other\}"):
        link().check(Order("desk", "911888920", agent="1", variables={"other": "1"}))
    link("https://pbx.example.com/dial/{number}").check(Order("desk", "911888920"))


@pytest.mark.parametrize(
    "body",
    [
        b"{RequestID:513}",  # as the page prints it
        b'{"RequestID":513}',
        b'{"RequestID":"513"}',
        b'{"requestid": 513, "Status": "OK"}',
        b"{ RequestID : 00513 }",
        b"{'RequestID':'513'}",
        b'[{"RequestID":513}]',
        b"\xef\xbb\xbf{RequestID:513}\r\n",
        b"RequestID=513",
        b"513",
    ],
)
def test_the_request_id_is_read_out_of_what_is_not_quite_json(body: bytes) -> None:
    assert request_id(Answer(200, body=body)) == "513"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{RequestID:00000}",
        b"{RequestID:}",
        b"{RequestID:-1}",
        b'{"RequestID":true}',
        b"{RequestID:1}{RequestID:2}",
        b"<html>RequestID</html>",
        b'{"Error":"no agent"}',
        b"OK",
        b'{"RequestID":5.5}',
        b"{OtherRequestID:7}",
    ],
)
def test_an_answer_that_names_no_request_leaves_it_open_whether_it_rings(body: bytes) -> None:
    with pytest.raises(Doubtful):
        request_id(Answer(200, body=body))


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, Refused), (401, Expired), (403, Expired), (429, RateLimited), (500, Later), (302, Later)],
)
def test_an_error_status_counts_before_what_the_page_says(status: int, error: type[TrunklineError]) -> None:
    with pytest.raises(error):
        request_id(Answer(status, body=b"{RequestID:513}"))


async def test_a_call_is_placed_and_named_after_its_request() -> None:
    server = FocalScopeServer(headers={"Authorization": "Basic x"})
    async with serving(server) as url, asked(url, headers={"Authorization": "Basic x"}, method="POST") as client:
        placed = await client.dial(Order("desk", "911888920", agent="1001"))
    assert placed.request_id == "513"
    assert placed.call_id == identity("focalscope", "desk", "2", "513")
    assert placed.vendor_ids == {"request_id": "513"}
    assert [one.asked for one in server.placed] == [{"number": "911888920", "agent": "1001", "adapter": "trunkline"}]


@pytest.mark.parametrize("mood", ["drop", "500", "garbage", "empty", "zero", "hang"])
async def test_a_call_that_may_ring_is_doubtful_and_asked_for_once(mood: Mood) -> None:
    server = FocalScopeServer()
    async with serving(server) as url, asked(url) as client:
        await client.dial(Order("desk", "911888920", agent="1001"))
        server.moods.append(mood)
        with pytest.raises(Doubtful):
            await client.dial(Order("desk", "911888920", agent="1001"))
    assert (server.requests, len(server.placed)) == (2, 2)


async def test_a_server_that_is_away_or_a_turn_that_is_too_late_is_certainly_not_sent() -> None:
    async with asked(f"http://127.0.0.1:{(port := free_port())}") as client:
        with pytest.raises(NotSent):
            await client.dial(Order("desk", "911888920", agent="1001"))
    release_port(port)
    server = FocalScopeServer()
    async with serving(server) as url, asked(url) as client:
        with pytest.raises(NotSent):
            await client.dial(Order("desk", "911888920", agent="1001"), before=0.0)
    assert server.requests == 0


async def test_a_connection_that_the_server_closed_meanwhile_is_nobodys_doubt() -> None:
    """Each call goes over a fresh connection: a kept one may be closed in the moment in which it is used."""
    peers: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response(text="{RequestID:513}")

    application = web.Application()
    application.router.add_get("/dial", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with asked(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            for _ in range(3):
                await client.dial(Order("desk", "911888920", agent="1001"))
    finally:
        await runner.cleanup()
    assert len(set(peers)) == 3
