"""A double's door: its port, its tokens, its mischief. What is behind it is each kind's own."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Final, TypeVar

import orjson
from aiohttp import web

from hub.simulator.crms.mischief import Fault, Mischief

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, Any]

_LATER: Final[Mapping[Fault, int]] = {"limited": 429, "limited_for": 429, "busy": 503, "expired": 401, "gone": 410}
_COMMITTED: Final[frozenset[Fault | None]] = frozenset({"drop", "failed", "drip"})
_LIFETIME: Final = 3600


class Objects:
    """Objects of one sort by their ids; a search sees a new one only after ``lag`` seconds.

    Attributes:
        all: fields by id.
        writes: how often each was written, making it included.
    """

    def __init__(self, prefix: str = "", lag: float = 0.0) -> None:
        self.all: dict[str, Json] = {}
        self.writes: Counter[str] = Counter()
        self._prefix, self._lag = prefix, lag
        self._since: dict[str, float] = {}

    def add(self, fields: Mapping[str, Any]) -> str:
        """A new one; returns its id."""
        name = f"{self._prefix}{len(self._since) + 1}"
        self.all[name] = dict(fields)
        self.writes[name] += 1
        self._since[name] = monotonic()
        return name

    def write(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Over the fields that are there; False where there is no such object."""
        if name not in self.all:
            return False
        self.all[name] |= fields
        self.writes[name] += 1
        return True

    def find(self, where: Callable[[Json], bool]) -> list[str]:
        """The ids of those that a search sees."""
        seen = monotonic() - self._lag
        return [name for name, fields in self.all.items() if self._since[name] <= seen and where(fields)]


class Double:
    """A server of one kind.

    Args:
        token: what ``Authorization`` must have behind its scheme; None where only tokens that were given out do.
        refresh_token: for which tokens are given out.
        lifetime: seconds of such a token.
        lag: seconds until a search sees what was made.
        mischief: what it does wrong.
        pause: seconds that every answer takes.

    Attributes:
        calls: records of calls.
        contacts: people.
        asked: requests by method and path.
        tokens_given: how many.
        hanging: requests that will never be answered.
    """

    scheme = "Bearer"

    def __init__(
        self,
        *,
        token: str | None = None,
        refresh_token: str | None = None,
        lifetime: float = _LIFETIME,
        lag: float = 0.0,
        mischief: Mischief | None = None,
        pause: float = 0.0,
    ) -> None:
        self.calls, self.contacts = Objects("call-", lag), Objects("contact-", lag)
        self.mischief = mischief or Mischief()
        self.asked: Counter[str] = Counter()
        self.tokens_given = 0
        self.hanging = 0
        self.url = ""
        self.pause = pause
        self.lifetime = lifetime
        self._refresh_token = refresh_token
        self._tokens: dict[str, float] = {} if token is None else {token: float("inf")}
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """What is behind the door."""
        raise NotImplementedError

    def error_inside(self) -> tuple[int, Any]:
        """A success in name."""
        return 200, {"status": "error", "message": "it was not"}

    def expire(self) -> None:
        """No token that was given out is known any more."""
        self._tokens = {token: until for token, until in self._tokens.items() if until == float("inf")}

    def application(self) -> web.Application:
        """The server's application."""
        application = web.Application(middlewares=[self._door])
        application.add_routes([*self.routes(), web.post("/oauth/token", self._give_token)])
        return application

    async def _give_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self._refresh_token:
            return reply({"error": "invalid_grant"}, 400)
        token = secrets.token_hex(8)
        self._tokens[token] = monotonic() + self.lifetime
        self.tokens_given += 1
        return reply({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"})

    def _knows(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == self.scheme and self._tokens.get(token, 0.0) > monotonic()

    @web.middleware
    async def _door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked[f"{request.method} {request.path}"] += 1
        if request.path != "/oauth/token" and not self._knows(request):
            return reply({"message": "the token is unknown or expired"}, 401)
        changes = request.method != "GET" and not request.path.endswith("/search")
        fault = self.mischief.draw(request.method, request.path, changes=changes)
        if self.pause:
            await asyncio.sleep(self.pause)
        return await self._spoilt(fault, request, handler)

    async def _spoilt(self, fault: Fault | None, request: web.Request, handler: Handler) -> web.StreamResponse:
        if fault in _COMMITTED:
            return await self._committed(fault, request, await handler(request))
        if fault == "hang":
            self.hanging += 1
            await self._closing.wait()
            return web.Response(status=503)
        if fault == "inside":
            status, body = self.error_inside()
            return reply(body, status)
        if fault == "page":
            return web.Response(text="<!doctype html><title>Sign in</title>", content_type="text/html")
        headers = {"Retry-After": "1"} if fault == "limited_for" else {}
        return reply({"message": fault}, _LATER[fault], headers) if fault else await handler(request)

    async def _committed(
        self, fault: Fault | None, request: web.Request, done: web.StreamResponse
    ) -> web.StreamResponse:
        """It was done; what is told of it is another matter."""
        if fault == "drip":
            return await self._drip(request, done)
        if fault == "failed":
            return reply({"message": "an error occurred"}, 500)
        if request.transport is not None:
            request.transport.abort()
        return done

    async def _drip(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b"{}"
        slow = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        slow.content_length = len(body)
        await slow.prepare(request)
        for byte in body:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._closing.wait()
                    return slow
            await slow.write(bytes([byte]))
        return slow

    def close(self) -> None:
        """Lets go of what hangs."""
        self._closing.set()


D = TypeVar("D", bound=Double)


@asynccontextmanager
async def served(double: D, port: int = 0) -> AsyncIterator[D]:
    """The double on loopback, at ``double.url``."""
    runner = web.AppRunner(double.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    double.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield double
    finally:
        double.close()
        await runner.cleanup()


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(
        body=b"" if body is None else orjson.dumps(body),
        status=status,
        headers=headers,
        content_type="application/json",
    )
