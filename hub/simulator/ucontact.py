"""A uContact that can be asked: both generations of its API, its zeros with HTTP 200, and its moods.

Written from docs/vendors.md for itself, not from the client: what both misread would pass unseen. Where the vendor's
endpoint is not public, this one has the same default as the client.
"""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import uuid4

from aiohttp import web

from hub.simulator.ucontact_functions import CAMPAIGNS, CHANNELS, CLASSIC, Done, Form, Functions, as_json

Mood = Literal[
    "slow", "hang", "drop", "lose", "fail", "down", "html", "page", "zero", "empty", "expired", "forbidden", "busy"
]
"""Of one answer. Done, but: ``slow``; ``drop``: the connection is closed instead; ``fail``: 500; ``html``: a page;
``empty``: nothing. Not done: ``hang``: no answer ever; ``lose``: the connection is closed; ``down``: 503; ``page``: a
page; ``zero``: ``0``; ``expired``: 401, the session is over; ``forbidden``: 403; ``busy``: 429."""

_UNDONE: Final = frozenset({"hang", "lose", "down", "page", "zero", "expired", "forbidden", "busy"})
_PAGE: Final = "<!DOCTYPE html><html><body>Maintenance</body></html>"


@dataclass
class UContact(Functions):
    """One instance of the vendor's.

    Attributes:
        user: of the API.
        password: encrypted, as it is sent.
        api_token: of the automation API.
        says: how UserLogin tells its token: as the third of an array, or as ``Md5secret`` of an object.
        api_key: a fixed key that is as good as a session; None without one.
        slow: seconds that a slow answer takes.
        moods: of the next answers, those to logins apart; None is a good one.
        login_moods: of the next logins.
        mood: chooses the mood of an answer by function and form, once ``moods`` is empty.
        asked: the functions that were asked for, with what was said, credentials left out.
        sessions: tokens that are good.
        logins: how many were given.
        ended: tokens whose session was ended.
    """

    user: str = "api-user"
    password: str = "c2ltdWxhdGVkLXB3LTE2Yg=="  # noqa: S105  as the vendor's look
    api_token: str = "portal-token"  # noqa: S105
    says: Literal["array", "object"] = "array"
    api_key: str | None = None
    slow: float = 0.3
    moods: deque[Mood | None] = field(default_factory=deque)
    login_moods: deque[Mood | None] = field(default_factory=deque)
    mood: Callable[[str, Form], Mood | None] = lambda _, __: None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    logins: int = 0
    ended: list[str] = field(default_factory=list)

    def expire(self) -> None:
        """Every session is over, and nobody was told."""
        self.sessions.clear()

    def routes(self) -> list[web.RouteDef]:
        """Where it listens."""
        auth = f"{CLASSIC}/auth"
        hub = "/api/dialer/id/{hub}"
        return [
            web.post(f"{auth}/getUserToken", self._login),
            web.post(f"{auth}/UserLogin", self._login),
            web.post(f"{auth}/EndSession", self._end),
            *(
                web.post(path, self._classic(path.rpartition("/")[2], function))
                for path, function in self.classic().items()
            ),
            web.post(f"{CLASSIC}/queues/getqueuemembersofqueue", self._members),
            web.route("*", f"{CHANNELS}/webhook/{{name}}", self._webhook),
            web.get("/recordings/{place}/{guid}", self._audio),
            web.post(f"{hub}/lists", self._automated("lists")),
            web.get(f"{hub}/lists", self._automated("listState")),
            web.post(f"{hub}/freshLeads", self._automated("freshLeads")),
        ]

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        mood = self.login_moods.popleft() if self.login_moods else None
        if mood in _UNDONE:
            return await self._undone(request, mood)
        if (form.get("user"), form.get("password")) != (self.user, self.password):
            return web.Response(text="0")
        token = base64.b64encode(f"{self.user}:{uuid4()}".encode()).decode()
        self.sessions.add(token)
        self.logins += 1
        if mood is not None:
            return await self._done(request, mood, web.Response(text=token))
        if request.path.endswith("UserLogin"):
            return as_json(
                [self.user, "api", token] if self.says == "array" else {"User": self.user, "Md5secret": token}
            )
        return web.Response(text=f'"{token}"\n' if self.logins % 2 else token)  # its habit, now and then

    async def _end(self, request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        token = form.get("token", "")
        if token not in self.sessions or request.headers.get("Authorization") != f"Basic {token}":
            return web.Response(text="0")
        self.sessions.discard(token)
        self.ended.append(token)
        return web.Response(text="1")

    def _known(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Basic" and (token in self.sessions or (self.api_key is not None and token == self.api_key))

    # --- asking ------------------------------------------------------------------------------------------------------

    def _classic(self, name: str, function: Done) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            if not self._known(request):
                return web.Response(status=401, text="Unauthorized")
            form = await _form(request)

            def done() -> web.Response:
                said = function(form)
                return web.Response(text=said) if isinstance(said, str) else said

            return await self._answered(request, name, form, done)

        return answer

    async def _answered(
        self, request: web.Request, name: str, said: Mapping[str, Any], done: Callable[[], web.Response]
    ) -> web.StreamResponse:
        self.asked.append((name, {key: value for key, value in said.items() if key != "password"}))
        mood = self.moods.popleft() if self.moods else self.mood(name, said)
        if mood is None:
            return done()
        if mood in _UNDONE:
            return await self._undone(request, mood)
        return await self._done(request, mood, done())

    async def _undone(self, request: web.Request, mood: str) -> web.StreamResponse:
        match mood:
            case "hang":
                await asyncio.Event().wait()
            case "lose":
                _cut(request)
            case "down":
                return web.Response(status=503, text="Service Unavailable")
            case "page":
                return web.Response(text=_PAGE, content_type="text/html")
            case "expired":
                self.sessions.discard(request.headers.get("Authorization", "").partition(" ")[2])
                return web.Response(status=401, text="Unauthorized")
            case "forbidden":
                return web.Response(status=403, text="Forbidden")
            case "busy":
                return web.Response(status=429, headers={"Retry-After": "1"})
        return web.Response(text="0")

    async def _done(self, request: web.Request, mood: str, answer: web.Response) -> web.StreamResponse:
        match mood:
            case "slow":
                await asyncio.sleep(self.slow)
            case "drop":
                _cut(request)
            case "fail":
                return web.Response(status=500, text="Internal Server Error")
            case "html":
                return web.Response(text=_PAGE, content_type="text/html")
            case "empty":
                return web.Response(text="")
        return answer

    # --- what has a form of its own ----------------------------------------------------------------------------------

    async def _audio(self, request: web.Request) -> web.StreamResponse:
        if not self._known(request):
            return web.Response(status=401)
        guid = request.match_info["guid"].rpartition(".")[0] or request.match_info["guid"]
        if request.match_info["place"] != self.place or guid not in self.audio:
            return web.Response(status=404)
        return web.Response(body=self.audio[guid], content_type="audio/wav")

    async def _members(self, request: web.Request) -> web.StreamResponse:
        if not self._known(request):
            return web.Response(status=401)
        known = request.query.get("queue") in CAMPAIGNS
        return await self._answered(
            request,
            "getqueuemembersofqueue",
            dict(request.query),
            lambda: as_json([{"membername": "agentTest"}] if known else []),
        )

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        name, text = request.match_info["name"], await request.text()
        said = {"name": name, "method": request.method, "query": dict(request.query), "body": text}
        self.books.done.append(("webhook", said))
        return await self._answered(request, "webhook", said, lambda: web.Response(text=f"flow {name}"))

    # --- automation --------------------------------------------------------------------------------------------------

    def _automated(self, name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        function = self.automation()[name]

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {self.api_token}":
                return as_json({"error": "unauthorized"}, 401)
            try:
                said = await request.json() if request.can_read_body else dict(request.query)
            except ValueError:
                return as_json({"error": "not JSON"}, 400)
            hub = request.match_info["hub"]
            return await self._answered(request, name, {"hub": hub, **said}, lambda: function(hub, said))

        return answer


@asynccontextmanager
async def serving(vendor: UContact, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """The vendor on a port; yields its ``base_url``."""
    application = web.Application(client_max_size=64 << 20)
    application.add_routes(vendor.routes())
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _form(request: web.Request) -> dict[str, str]:
    """A form as the classic API wants it; anything else is read as an empty one."""
    if not request.content_type.startswith("application/x-www-form-urlencoded"):
        return {}
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
