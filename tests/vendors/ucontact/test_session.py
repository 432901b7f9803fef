"""The session: begun once, carried as it came, renewed once, ended; and what is repeated for it and what is not."""

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from hub.errors import Doubtful, Expired, NotSent, RateLimited, Refused
from hub.outgoing import Request
from hub.simulator.ucontact import Mood, UContact as Simulated, serving
from hub.vendors.ucontact.making import make_session
from tests.outgoing.neighbours import http, outgoing
from tests.servers.ports import free_port, release_port
from tests.vendors.ucontact.instance import CALL, NOW, TASK, asked, instance, source
from workers.recordings.sources import Candidates


async def test_the_token_is_the_credential_as_it_came_and_one_session_serves_all_requests() -> None:
    async with instance() as (vendor, client):
        assert await asyncio.gather(*(client.dialer_task("dialer", **TASK) for _ in range(8))) == ["1"] * 8
        assert vendor.logins == 1
        [token] = vendor.sessions
        assert base64.b64decode(token).startswith(b"api-user:")


async def test_quotes_and_newlines_around_a_token_are_no_part_of_it() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("getUserToken"):
            return web.Response(text='"dXNlcjp1dWlk"\r\n')
        return web.Response(text="1" if request.headers["Authorization"] == "Basic dXNlcjp1dWlk" else "0")

    async with http(answer) as url, asked(url, Simulated()) as client:
        assert await client.dialer_task("dialer", **TASK) == "1"


async def test_a_session_ends_once_where_it_was_begun_and_not_where_none_was() -> None:
    simulated = Simulated()
    async with instance(simulated) as (_, client):
        await client.dialer_task("dialer", **TASK)
        await client.close()
        await client.close()
    assert len(simulated.ended) == 1
    assert simulated.sessions == set()
    async with instance(idle := Simulated()):
        pass
    assert (idle.logins, idle.ended) == (0, [])


async def test_an_expired_session_is_renewed_once_and_the_request_is_repeated_since_nothing_was_done() -> None:
    async with instance() as (vendor, client):
        await client.dialer_task("dialer", **TASK)
        vendor.expire()
        results = await asyncio.gather(*(client.dialer_task("dialer", **TASK) for _ in range(6)))
        assert results == ["1"] * 6
        assert vendor.logins == 2
        assert len(vendor.books.dials) == 7


@pytest.mark.parametrize("mood", ["expired", "forbidden"])
async def test_a_fresh_session_that_is_not_accepted_either_is_an_error_after_two_requests(mood: Mood) -> None:
    async with instance() as (vendor, client):
        vendor.moods.extend([mood] * 5)
        with pytest.raises(Expired):
            await client.agent_call("099124484", **CALL)
        assert len(vendor.asked) == 2
        assert vendor.books.calls == {}


async def test_a_wrong_password_is_answered_with_0_and_nothing_else_is_asked() -> None:
    async with instance(password="wrong") as (vendor, client):
        with pytest.raises(Expired, match="password"):
            await client.dialer_task("dialer", **TASK)
        assert vendor.asked == []


@pytest.mark.parametrize("mood", ["drop", "lose", "fail", "down", "empty", "page", "zero"])
async def test_a_login_that_fails_in_whatever_way_leaves_no_doubt_about_the_call_that_it_was_for(mood: Mood) -> None:
    async with instance() as (vendor, client):
        vendor.login_moods.append(mood)
        with pytest.raises((NotSent, Expired)):
            await client.agent_call("099124484", **CALL)
        assert vendor.asked == []


async def test_a_renewal_that_fails_leaves_no_doubt_either() -> None:
    async with instance() as (vendor, client):
        await client.dialer_task("dialer", **TASK)
        vendor.expire()
        vendor.login_moods.append("drop")
        with pytest.raises(NotSent):
            await client.dialer_task("dialer", **TASK)
        assert len(vendor.books.dials) == 1


@pytest.mark.parametrize(
    ("mood", "error", "done"),
    [
        ("drop", Doubtful, 1),
        ("fail", Doubtful, 1),
        ("html", Doubtful, 1),
        ("empty", Doubtful, 1),
        ("hang", Doubtful, 0),
        ("lose", Doubtful, 0),
        ("down", Doubtful, 0),
        ("page", Doubtful, 0),
        ("zero", Refused, 0),
        ("busy", RateLimited, 0),
    ],
)
async def test_what_changes_something_is_sent_once_and_a_doubt_is_told_as_one(
    mood: Mood, error: Any, done: int
) -> None:
    async with instance(timeout=0.3) as (vendor, client):
        await client.dialer_task("dialer", **TASK)
        vendor.moods.append(mood)
        with pytest.raises(error) as caught:
            await client.dialer_task("dialer", **TASK)
        assert isinstance(caught.value, Doubtful) == (error is Doubtful)
        assert len(vendor.asked) == 2
        assert len(vendor.books.dials) == 1 + done


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_flow_is_started_once_by_whatever_method_also_where_the_connection_breaks(method: str) -> None:
    async with instance() as (vendor, client):
        await client.webhook("flow", {})
        vendor.moods.append("lose")
        with pytest.raises(Doubtful):
            await client.webhook("flow", {}, method=method)
        assert [said["method"] for _, said in vendor.asked] == ["POST", method]


async def test_what_changes_something_goes_over_a_connection_that_nobody_may_have_closed() -> None:
    peers: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        peers.append(request.transport and request.transport.get_extra_info("peername"))
        return web.Response(text="1")

    async with http(answer) as url, asked(url, Simulated(), api_key="fixed", user=None, password=None) as client:
        for _ in range(3):
            await client.dialer_task("dialer", **TASK)
    assert len(set(peers)) == 3


async def test_an_instance_that_cannot_be_reached_was_certainly_not_told() -> None:
    port = free_port()
    async with asked(f"http://127.0.0.1:{port}", Simulated()) as client:
        with pytest.raises(NotSent):
            await client.agent_call("099124484", **CALL)
    release_port(port)


async def test_a_request_whose_claim_is_over_is_not_sent() -> None:
    async with instance() as (vendor, client):
        with pytest.raises(NotSent):
            await client.dialer_task("dialer", **TASK, before=0.0)
        assert vendor.asked == []


@pytest.mark.parametrize("says", ["array", "object"])
async def test_user_login_gives_the_token_in_an_array_or_in_an_object(says: Any) -> None:
    async with instance(Simulated(says=says), login="UserLogin") as (vendor, client):
        assert await client.dialer_task("dialer", **TASK) == "1"
        assert vendor.logins == 1


async def test_a_fixed_key_needs_no_session_and_cannot_be_renewed() -> None:
    async with instance(Simulated(api_key="fixed"), api_key="fixed", user=None, password=None) as (vendor, client):
        assert await client.dialer_task("dialer", **TASK) == "1"
        vendor.api_key = "another"
        with pytest.raises(Expired, match="api_key"):
            await client.dialer_task("dialer", **TASK)
        assert vendor.logins == 0
    assert vendor.ended == []


async def test_downloads_that_are_rejected_together_begin_one_session_anew() -> None:
    simulated = Simulated()
    async with serving(simulated) as url, outgoing() as out:
        lane = out.lane("recordings.cloud", rate=1000, concurrency=4, timeout=1.0)
        session = make_session(source(url, simulated), lane, lambda: NOW)
        places = Candidates(("{guid}",), session)
        token = await session.authorization()
        rejected = [Request("GET", url, {"Authorization": token.value}) for _ in range(3)]
        simulated.expire()
        for request in rejected:  # the later ones find the new session, which nobody has rejected
            assert await places.rejected(request)
        assert (simulated.logins, len(simulated.sessions)) == (2, 1)
        await places.close()
        assert simulated.sessions == set()


async def test_neither_password_nor_token_is_in_what_is_said_of_a_failure() -> None:
    async with instance() as (vendor, client):
        vendor.moods.extend(["forbidden", "forbidden"])
        with pytest.raises(Expired) as caught:
            await client.dialer_task("dialer", **TASK)
        assert vendor.password not in str(caught.value)
        assert not any(token in str(caught.value) for token in vendor.sessions)
