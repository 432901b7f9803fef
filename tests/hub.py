"""A whole hub in this process, on its own files and ports, for tests that speak HTTP to it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from hub.config import Settings
from hub.parts import ROLES
from hub.wiring import Process

T = TypeVar("T")

TOKEN: Final = "t0ken-of-line-900"
DESK_TOKEN: Final = "t0ken-of-desk"
ADMIN: Final = "administrator"
LINE, PASSWORD = "123456789", "3956"
FAST: Final = {"settle": 0.05, "gap_after": 0.3, "longest": 3600}


def configuration(directory: Path, **tables: Mapping[str, Any]) -> Settings:
    """Settings of an embedded hub in a directory; a table given is merged over the one here."""
    base: dict[str, dict[str, Any]] = {
        "http": {"port": 0},
        "bus": {"url": f"sqlite:///{directory}/bus.db"},
        "store": {"url": f"sqlite:///{directory}/store.db"},
        # What is counted must not hang on the disk: a sync that takes longer than usual sends an event twice.
        "outbox": {"path": str(directory / "outbox.db"), "hedge": 5.0},
        "recordings": {"url": f"file://{directory}/recordings"},
        "admin": {"token": ADMIN},
        "calls": dict(FAST),
        "sources": {
            "line-900": {"vendor": "infocaller", "tokens": [TOKEN, "an0ther"], "lines": {LINE: PASSWORD}},
            "desk": {"vendor": "focalscope", "tokens": [DESK_TOKEN]},
        },
    }
    for name, table in tables.items():
        base[name] = {**base.get(name, {}), **table}
    return Settings(**base)  # type: ignore[arg-type]


def sign(sequence: str, line: str = LINE, password: str = PASSWORD) -> str:
    """Infocaller's signature."""
    return hashlib.md5(f"{line}{sequence}{password}".encode("latin-1")).hexdigest()  # noqa: S324  the vendor's choice


def body(
    sequence: str = "98565656", *, signature: str | None = None, line: str = LINE, **infocaller: Any
) -> dict[str, Any]:
    """An Infocaller body of a received call."""
    return {
        "ApiCall": {
            "UserID": {
                "LineNumber": line,
                "LineNumberInt": f"34{line}",
                "CallSequence": sequence,
                "Signature": sign(sequence, line) if signature is None else signature,
            },
            "Infocaller": {"CallType": "R", "CallerNumber": "911888920", "InboundNumber": "900805089", **infocaller},
            "CustVars": {"CustVar": []},
        }
    }


def fin(sequence: str = "98565656", **more: Any) -> dict[str, Any]:
    """The body of FIN."""
    ended = {
        "CallSeconds": "42",
        "StartDate": "2022-01-01T10:00:00",
        "EndDate": "2022-01-01T10:00:42",
        "CostRX": 0.12,
        "CostTX": 0.0,
    }
    return body(sequence, **{**ended, **more})


class Hub:
    """A running hub and a client of it."""

    def __init__(self, process: Process, session: ClientSession) -> None:
        self.process = process
        self.session = session
        self.url = URL(f"http://127.0.0.1:{process.port}")

    async def infocaller(self, event: str, payload: Any = None, query: str = "", token: str = TOKEN) -> ClientResponse:
        """An Infocaller callback with a JSON body in its form variable, or with URL variables alone."""
        url = URL(f"{self.url}/callbacks/line-900/{token}/{event}{'?' if query else ''}{query}", encoded=True)
        if payload is None:
            return await self.session.get(url)
        return await self.session.post(url, data={"apiInfocaller": orjson.dumps(payload).decode()})

    async def focalscope(self, query: str, token: str = DESK_TOKEN) -> ClientResponse:
        """A FocalScope callback."""
        return await self.session.get(URL(f"{self.url}/callbacks/desk/{token}?{query}", encoded=True))

    async def read(self, path: str) -> Any:
        """An answer of the read API."""
        async with self.session.get(self.url.join(URL(path)), headers={"Authorization": f"Bearer {ADMIN}"}) as answer:
            assert answer.status == 200, await answer.text()
            return orjson.loads(await answer.read())

    async def calls(self) -> list[dict[str, Any]]:
        """Every call record."""
        items: list[dict[str, Any]] = []
        after = ""
        while True:
            page = await self.read(f"/v1/calls?limit=1000&after={after}")
            items += page["items"]
            after = page["next"]
            if not after:
                return items

    async def call(self, call_id: str, when: Callable[[dict[str, Any]], Any] = lambda _: True) -> dict[str, Any]:
        """The record of a call, as soon as it exists and ``when`` holds."""

        async def look() -> dict[str, Any] | None:
            found = {record["call_id"]: record for record in await self.calls()}.get(call_id)
            return found if found is not None and when(found) else None

        return await until(look)

    async def sealed(self, call_id: str) -> dict[str, Any]:
        """The record of a call, once it is sealed."""
        return await self.call(call_id, lambda record: record.get("sealed"))


async def until(look: Callable[[], Awaitable[T | None]], within: float = 40.0) -> T:
    """What ``look`` finds, as soon as it finds something."""
    async with asyncio.timeout(within):
        while (found := await look()) is None or found is False:  # noqa: ASYNC110
            await asyncio.sleep(
                0.01
            )  # the hub is asked over HTTP, as a stranger would: there is nothing to be woken by
        return found


@asynccontextmanager
async def running(settings: Settings, *, ingress: bool = True, workers: tuple[str, ...] = ROLES) -> AsyncIterator[Hub]:
    """A hub from its start to its drain."""
    process = Process(settings, ingress=ingress, workers=workers)
    ready = asyncio.Event()
    task = asyncio.create_task(process.run(ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        await task
    session = ClientSession()
    try:
        yield Hub(process, session)
    finally:
        await session.close()  # for a connection that is kept alive a drain waits a second
        process.stop()
        await task
