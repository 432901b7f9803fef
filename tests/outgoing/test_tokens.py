"""Credentials that expire, against a real token endpoint."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from multidict import MultiDictProxy

from hub.errors import Doubtful, Expired, LaneClosed, NotSent, Refused, TrunklineError
from hub.outgoing import Lane, Request, Token, Tokens, oauth, verdict
from hub.outgoing.tokens import Fetch
from tests.outgoing.neighbours import http
from tests.outgoing.test_answers import NOW
from tests.outgoing.test_lane import lane


@dataclass
class Crm:
    """Accepts its latest token only; gives a new one where it is asked for one properly."""

    base: str = ""
    valid: str = "t0"
    lifetime: Any = 3600
    issued: int = 0
    forms: list[dict[str, Any]] = field(default_factory=list)
    answer: web.Response | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            form: MultiDictProxy[Any] = await request.post()
            self.forms.append(dict(form))
            await asyncio.sleep(0.05)
            if self.answer is not None:
                return self.answer
            self.issued += 1
            self.valid = f"t{self.issued}"
            return web.json_response(
                {
                    "access_token": self.valid,
                    "expires_in": self.lifetime,
                    "refresh_token": f"r{self.issued}",
                    "instance_url": self.base,
                    "scope": ["a"],
                }
            )
        return web.Response(status=200 if request.headers["Authorization"] == f"Bearer {self.valid}" else 401)


@asynccontextmanager
async def crm() -> AsyncIterator[tuple[Crm, Lane]]:
    server = Crm()
    async with http(server.serve) as base, lane(concurrency=60, timeout=30) as one:
        server.base = base
        yield server, one


def refresh(server: Crm, one: Lane) -> Fetch:
    return oauth(
        one, f"{server.base}/token", grant_type="refresh_token", refresh_token="r0", client_id="us", client_secret="s"
    )


async def call(server: Crm, one: Lane, tokens: Tokens) -> int:
    """As a worker does: one renewal, one repetition."""
    token = await tokens.get()
    for _ in range(2):
        answer = await one.ask(Request("POST", f"{server.base}/calls", {"Authorization": f"Bearer {token.value}"}))
        if not isinstance(verdict(answer, NOW), Expired):
            break
        token = await tokens.renew(token)
    return answer.status


async def test_fifty_that_find_their_token_expired_make_one_refresh() -> None:
    async with crm() as (server, one):
        tokens = Tokens(refresh(server, one))
        assert await call(server, one, tokens) == 200
        server.valid = "revoked"
        statuses = await asyncio.gather(*(call(server, one, tokens) for _ in range(50)))
        assert (set(statuses), server.issued) == ({200}, 2)


async def test_whoever_comes_late_with_the_old_token_gets_the_new_one_without_a_refresh() -> None:
    async with crm() as (server, one):
        tokens = Tokens(refresh(server, one))
        old = await tokens.get()
        new = await tokens.renew(old)
        assert (await tokens.renew(old), server.issued) == (new, 2)
        assert (await tokens.renew(new)).value == "t3"


async def test_a_refresh_sends_its_form_and_the_token_that_the_last_one_brought() -> None:
    async with crm() as (server, one):
        tokens = Tokens(refresh(server, one))
        token = await tokens.renew(await tokens.get())
        first, second = server.forms
        assert first == {"grant_type": "refresh_token", "refresh_token": "r0", "client_id": "us", "client_secret": "s"}
        assert second["refresh_token"] == "r1"
        assert (token.lifetime, token.extra["instance_url"]) == (3600, server.base)
        assert "t2" not in repr(token)


async def test_client_credentials_are_sent_anew_each_time() -> None:
    async with crm() as (server, one):
        fetch = oauth(one, f"{server.base}/token", grant_type="client_credentials", client_id="us", client_secret="s")
        tokens = Tokens(fetch)
        await tokens.renew(await tokens.get())
        assert server.forms == [{"grant_type": "client_credentials", "client_id": "us", "client_secret": "s"}] * 2


async def test_a_session_call_of_the_vendors_own_will_do() -> None:
    given: list[Token | None] = []

    async def login(last: Token | None) -> Token:
        given.append(last)
        return Token(f"session-{len(given)}")

    tokens = Tokens(login)
    first = await tokens.get()
    assert await tokens.get() is first
    assert (await tokens.renew(first)).value == "session-2"
    assert given == [None, first]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("hub.outgoing.tokens.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def counting(outcomes: Callable[[int], Token | TrunklineError]) -> tuple[list[int], Fetch]:
    fetched: list[int] = []

    async def fetch(_: Token | None) -> Token:
        fetched.append(1)
        outcome = outcomes(len(fetched))
        if isinstance(outcome, TrunklineError):
            raise outcome
        return outcome

    return fetched, fetch


async def test_a_known_expiry_is_not_waited_for(clock: Clock) -> None:
    fetched, fetch = counting(lambda n: Token(f"t{n}", 3600))
    tokens = Tokens(fetch)
    assert (await tokens.get()).value == "t1"
    clock.now += 3539
    assert (await tokens.get()).value == "t1"
    clock.now += 2
    assert (await tokens.get()).value == "t2"
    assert len(fetched) == 2


async def test_a_short_life_is_not_spent_on_refreshing(clock: Clock) -> None:
    fetched, fetch = counting(lambda n: Token(f"t{n}", 30))
    tokens = Tokens(fetch)
    for _ in range(26):
        await tokens.get()
        clock.now += 1
    assert len(fetched) == 1
    clock.now += 2
    await tokens.get()
    assert len(fetched) == 2


async def test_a_token_that_is_still_good_serves_while_a_new_one_cannot_be_had(clock: Clock) -> None:
    fetched, fetch = counting(lambda n: Token("t1", 3600) if n == 1 else NotSent("down"))
    tokens = Tokens(fetch)
    await tokens.get()
    clock.now += 3550
    assert (await tokens.get()).value == "t1"
    clock.now += 60
    with pytest.raises(NotSent):
        await tokens.get()
    assert len(fetched) == 3


async def test_a_failure_stands_for_all_and_for_a_while(clock: Clock) -> None:
    fetched, fetch = counting(lambda n: Refused(400, "invalid_grant") if n == 1 else Token("t2"))
    tokens = Tokens(fetch)
    results = await asyncio.gather(*(tokens.get() for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {Refused}
    clock.now += 9
    with pytest.raises(Refused):
        await tokens.get()
    assert len(fetched) == 1
    clock.now += 2
    assert (await tokens.get()).value == "t2"


async def test_one_that_gives_up_waiting_takes_it_from_nobody() -> None:
    async with crm() as (server, one):
        tokens = Tokens(refresh(server, one))
        first, second = (asyncio.create_task(tokens.get()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).value == "t1"
        assert server.issued == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.json_response({"error": "invalid_grant"}, status=400), Refused),
        (lambda: web.json_response({"error": "invalid_client"}), Refused),
        (lambda: web.Response(text="<html>login</html>"), Doubtful),
        (lambda: web.json_response({"access_token": ""}), Doubtful),
        (lambda: web.json_response(["t"]), Doubtful),
        (lambda: web.Response(status=500), Doubtful),
        (lambda: web.Response(status=401), Expired),
    ],
)
async def test_what_is_no_token_is_an_error(answer: Callable[[], web.Response], error: type[Exception]) -> None:
    async with crm() as (server, one):
        server.answer = answer()
        with pytest.raises(error) as caught:
            await Tokens(refresh(server, one)).get()
        assert not isinstance(caught.value, LaneClosed)


@pytest.mark.parametrize(("said", "lifetime"), [("3600", 3600), (None, None), ("soon", None), (-5, None), (1.5, 1.5)])
async def test_a_lifetime_that_makes_no_sense_is_unknown(said: Any, lifetime: float | None) -> None:
    async with crm() as (server, one):
        server.lifetime = said
        assert (await Tokens(refresh(server, one)).get()).lifetime == lifetime
