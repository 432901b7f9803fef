"""A hub with Queries, and services of a customer's that answer, hang, fail and talk nonsense."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from hub.config import Settings
from tests.hub import LINE, PASSWORD, TOKEN, Hub, configuration, running, until

ORDERS: Final = {"kind": "table", "key": "NUMPEDIDO", "table": {"123456789": {"PEDIDO": "2"}}}


def settings(
    directory: Path, resolvers: Mapping[str, Any], queries: Mapping[str, str] | None = None, **source: Any
) -> Settings:
    """An embedded hub whose source line-900 asks ``ESTADO PEDIDO`` of the first resolver."""
    line = {
        "vendor": "infocaller",
        "tokens": [TOKEN],
        "lines": {LINE: PASSWORD},
        "queries": queries if queries is not None else {"ESTADO PEDIDO": next(iter(resolvers), "nobody")},
        **source,
    }
    return configuration(
        directory, sources={"line-900": line}, resolvers=dict(resolvers), egress={"allow": ["127.0.0.0/8"]}
    )


@asynccontextmanager
async def asked(
    directory: Path, resolvers: Mapping[str, Any], queries: Mapping[str, str] | None = None, **source: Any
) -> AsyncIterator[Hub]:
    """That hub, running."""
    async with running(settings(directory, resolvers, queries, **source)) as hub:
        yield hub


class Service:
    """A customer's service: what it was asked, and what it answers.

    Attributes:
        url: of it.
        asked: the questions, in their order.
        headers: of the last request.
        answer: makes the answer to one.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.headers: Mapping[str, str] = {}
        self.answer: Callable[[dict[str, Any]], Awaitable[web.Response]] = self.in_order
        self.hanging = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        told = orjson.loads(await request.read())
        self.headers = request.headers
        self.asked.append(told)
        return await self.answer(told)

    async def in_order(self, _: dict[str, Any]) -> web.Response:
        return web.json_response({"variables": {"PEDIDO": "2"}})

    async def for_ever(self, _: dict[str, Any]) -> web.Response:
        self.hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    def says(self, content: bytes | Any, status: int = 200) -> None:
        """The same answer from now on."""
        raw = content if isinstance(content, bytes) else orjson.dumps(content)

        async def answer(_: dict[str, Any]) -> web.Response:
            return web.Response(body=raw, status=status, content_type="application/json")

        self.answer = answer


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    """One on a port of its own."""
    made = Service()
    app = web.Application()
    app.router.add_post("/resolve", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/resolve"
    try:
        yield made
    finally:
        await runner.cleanup()


async def events(hub: Hub, count: int = 1) -> list[dict[str, Any]]:
    """The events of Queries that the store has, once there are so many."""

    async def look() -> list[dict[str, Any]] | None:
        page = await hub.read("/v1/events?limit=1000")
        found = [event for event in page["items"] if event["type"].startswith("trunkline.query.")]
        return found if len(found) >= count else None

    return await until(look)
