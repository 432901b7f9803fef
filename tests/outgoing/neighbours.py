"""Neighbours of the outgoing client: real servers, some of them bad."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from hub.outgoing import Outgoing, Tempo
from hub.outgoing.guard import Network

LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
FAST: Final = Tempo(connect=1.0, read=0.5, probe_every=0.3, calm=0.3, steps=50, slow_window=0.3)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def outgoing(allow: Iterable[Network] = LOOPBACK, **options: object) -> AsyncIterator[Outgoing]:
    client = Outgoing(allow, **{"tempo": FAST, **options})  # type: ignore[arg-type]
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def http(handler: Handler, **options: object) -> AsyncIterator[str]:
    """A server; yields its URL."""
    application = web.Application(client_max_size=1 << 24)
    application.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
    await site.start()
    scheme = "https" if options.get("ssl_context") else "http"
    try:
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Raw:
    """A server of bytes.

    Attributes:
        port: of 127.0.0.1.
        connections: how many there were.
        heard: what the last one began with.
    """

    port: int = 0
    connections: int = 0
    heard: bytes = b""
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def raw(talk: Talk | None = None, host: str = "127.0.0.1") -> AsyncIterator[Raw]:
    """A server that says what it is told to, and without that nothing: a canary."""
    server = Raw()
    release = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            if talk is None:
                server.heard = await reader.read(100)
                await release.wait()
            else:
                await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, host, 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        release.set()
        listening.close()
        await listening.wait_closed()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Head of a request, and its body where that has a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    """Breaks a connection off instead of closing it."""
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


class Names(AbstractResolver):
    """A name server that is told what to say, another thing each time where it is told several."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.answers:
            raise OSError(None, "no such name")
        said = self.answers[host]
        addresses = said.pop(0) if len(said) > 1 else said[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


async def becomes(true: Callable[[], bool], within: float = 20.0) -> None:
    """Waits for what sends no signal."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
