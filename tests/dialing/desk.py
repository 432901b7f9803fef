"""A hub in this process beside vendors that place calls."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientResponse

from hub.config import Settings
from hub.simulator.call import Source
from hub.simulator.dialling import FocalScopeServer, InfocallerOutbound, serving
from tests.hub import ADMIN, DESK_TOKEN, LINE, PASSWORD, TOKEN, Hub, configuration, running, until

NUMBER: Final = "+34911888920"
DESK: Final = Source("desk", "focalscope", DESK_TOKEN, line="900805089")
LINE_900: Final = Source("line-900", "infocaller", TOKEN, line=LINE, password=PASSWORD)
LINK: Final = "/dial?number={number}&agent={agent}&adapter={adapter}"


def settings_for(directory: Path, focalscope: str, infocaller: str, more: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Both vendors' sources, told to dial there."""
    sources: dict[str, Any] = {
        "line-900": {
            "vendor": "infocaller",
            "tokens": [TOKEN],
            "lines": {LINE: PASSWORD},
            "outbound_url": infocaller,
            "timeout": 1,
        },
        "desk": {"vendor": "focalscope", "tokens": [DESK_TOKEN], "dial_url": focalscope + LINK, "timeout": 1},
    }
    for name, keys in more.items():
        sources[name] |= keys
    return configuration(directory, sources=sources, egress={"allow": ["127.0.0.0/8"]})


@dataclass
class Office:
    """A hub, and its vendors."""

    hub: Hub
    focalscope: FocalScopeServer
    infocaller: InfocallerOutbound

    async def post(self, body: Any, key: str | None = None) -> ClientResponse:
        headers = {"Authorization": f"Bearer {ADMIN}"} | ({} if key is None else {"Idempotency-Key": key})
        return await self.hub.session.post(self.hub.url / "v1/dial", json=body, headers=headers)

    async def dial(self, source: str = "desk", key: str | None = None, **more: Any) -> str:
        """A dial that is taken; its id."""
        body = {"source": source, "destination": NUMBER, "agent": "1001"} | more
        async with await self.post(body, key) as answer:
            told = await answer.json()
            assert answer.status == 202, told
            assert told["state"] in ("requested", "accepted")
            return str(told["dial_id"])

    async def state(self, dial_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.hub.read(f"/v1/dial/{dial_id}")
        return found

    async def becomes(self, dial_id: str, *states: str) -> dict[str, Any]:
        """The dial, once it is in one of the states."""

        async def look() -> dict[str, Any] | None:
            found = await self.state(dial_id)
            return found if found["state"] in states else None

        return await until(look)

    async def events(self, noun: str = "dial") -> list[dict[str, Any]]:
        page = await self.hub.read("/v1/events?limit=1000")
        return [item for item in page["items"] if item["type"].startswith(f"trunkline.{noun}.")]


@asynccontextmanager
async def office(directory: Path, **more: Mapping[str, Any]) -> AsyncIterator[Office]:
    """All of it, until the end."""
    focalscope, infocaller = FocalScopeServer(), InfocallerOutbound(lines={LINE: PASSWORD})
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(one)) for one in (focalscope, infocaller)]
        hub = await stack.enter_async_context(running(settings_for(directory, urls[0], urls[1], more)))
        yield Office(hub, focalscope, infocaller)


async def quiet(seconds: float) -> None:
    """For what must not happen: as long as the worker needs to look several times."""
    await asyncio.sleep(seconds)
