"""aiohttp's server, with what the contract asks of the door beyond it.

- A byte that a vendor left unescaped in a URL is read as if it had been escaped: a name with an accent must not cost
  the event. aiohttp's parser refuses it.
- A request that is no HTTP is answered with one fixed line; aiohttp's own answer quotes it, its token too.
- A URL too long to be read at all is 414 like every other too long one.
- While the process drains, the body of a request in hand is read to its end: aiohttp stops reading, and its sender
  waits for an answer that never comes.
- While the process drains, a connection that is kept alive may send one more request, whose answer ends it: aiohttp
  closes it at once, and what was on its way is reset.
- A connection that does not finish its header within ten seconds is closed: aiohttp waits for as long as it lasts.
- A crowd is let in as it comes: uvloop accepts one connection of a listener in each turn of its loop, and where the
  turns are long, the last of a thousand callers waits for a second before anybody has read what it wants.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

import orjson
import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from hub import metrics
from hub.errors import ConfigurationError

MAX_BODY: Final = 1024 * 1024
_KEEP_ALIVE: Final = 30.0
_DRAIN: Final = 10.0
_LAST_REQUEST: Final = 1.0  # seconds
_LOOK: Final = 0.02
_BACKLOG: Final = 4096  # connections that the kernel holds; Linux takes it down to net.core.somaxconn
_AT_ONCE: Final = 16  # connections accepted in one turn of the loop
_LAST_DATA: Final = struct.Struct("52xI")  # of tcp(7)'s tcp_info, tcpi_last_data_recv: milliseconds
_log = structlog.get_logger("process")
_PATIENCE: Final = 10.0
_ASCII: Final = 0x80
_LONGEST_LINE: Final = 1 << 20


class _Door(RequestHandler):
    """One connection."""

    __slots__ = ("_arrived_at", "_impatience")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._arrived_at: float | None = None
        self._impatience = asyncio.get_running_loop().call_later(_PATIENCE, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._impatience.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Only where a request begins: what comes while one is being read may be its body, which is nobody's to change.
        if self._current_request is None and not self._messages:
            self._arrived_at = asyncio.get_running_loop().time()
            if not data.isascii():
                data = _escaped(data)
        closing = self._close, self._force_close
        if self._current_request is not None:
            self._close = self._force_close = False
        super().data_received(data)
        if self._current_request is not None:
            self._close, self._force_close = self._close or closing[0], self._force_close or closing[1]
        if self._current_request is not None or self._messages:
            self._impatience.cancel()

    def arrived_at(self) -> float | None:
        """When the request that is handled now was read; None once it has been asked for, or was pipelined."""
        at, self._arrived_at = self._arrived_at, None
        return at

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        answer = super().handle_error(request, status, exc, message)
        status, detail = (414, "the URL is too long") if _too_long(exc) else (status, _DETAILS.get(status, "refused"))
        fixed = web.Response(
            status=status,
            body=orjson.dumps({"status": "refused", "detail": detail}),
            content_type="application/json",
        )
        if not answer.keep_alive:
            fixed.force_close()
        return fixed

    def _give_up(self) -> None:
        if self._current_request is None and not self._messages and self.transport is not None:
            self.transport.close()


def arrived_at(request: web.Request) -> float:
    """When a request came, on the loop's clock: where many come at one moment, long before its handler has its turn.

    Its last bytes came when the kernel says so, which may be long before the loop had a turn to read them; where no
    kernel can say, and of a request whose body came later, it is when the first of them were read.
    """
    door = request.protocol
    now = asyncio.get_running_loop().time()
    read_at = door.arrived_at() if isinstance(door, _Door) else None
    return min(now if read_at is None else read_at, now - _since_data(request.transport))


def _since_data(transport: asyncio.BaseTransport | None) -> float:
    """Seconds since the kernel had data of a connection, to a few milliseconds; 0 where it cannot say."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return 0.0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
        return float(_LAST_DATA.unpack(info)[0]) / 1000
    except (AttributeError, OSError, struct.error):
        return 0.0


_DETAILS: Final = {400: "this is no HTTP request that can be read", 500: "the request could not be handled"}


def _too_long(error: BaseException | None) -> bool:
    """Whether it was the URL: a header that is too long is the same error with another limit in its text."""
    return isinstance(error, LineTooLong) and str(_LONGEST_LINE) in str(error)


def _escaped(data: bytes) -> bytes:
    """The request with the bytes of its first line percent-encoded that are not ASCII."""
    line, end, rest = data.partition(b"\r\n")
    if line.isascii():
        return data
    return b"".join(bytes((byte,)) if byte < _ASCII else b"%%%02X" % byte for byte in line) + end + rest


class _Server(web.Server):
    __slots__ = ()

    def __call__(self) -> _Door:
        return _Door(self, loop=self._loop, **self._kwargs)


class DoorRunner(web.AppRunner):
    """``aiohttp.web.AppRunner`` whose connections are doors."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, max_line_size=_LONGEST_LINE, **options)

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server  # the runner makes its server by itself; only what it makes of a connection differs
        return server


class Drains(Protocol):
    """What has requests in hand that must come to their answers."""

    in_hand: int

    async def drained(self) -> None:
        """Returns when nothing is in hand."""
        ...


async def serve(
    stack: AsyncExitStack,
    routes: Sequence[web.AbstractRouteDef],
    host: str,
    port: int,
    listener: socket.socket | None = None,
    *,
    key: str,
    hands: Drains | None = None,
) -> int:
    """Serves routes until the stack is left; returns the port. Raises ConfigurationError that names the port's key."""
    app = web.Application(client_max_size=MAX_BODY + 1)  # aiohttp refuses a body of exactly its limit
    app.add_routes(routes)
    runner = DoorRunner(
        app,
        access_log=None,
        handle_signals=False,
        auto_decompress=False,  # a body is kept as it came, and no bomb goes off here
        keepalive_timeout=_KEEP_ALIVE,
        shutdown_timeout=_DRAIN,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site: web.BaseSite
    if listener is not None:
        site = web.SockSite(runner, listener, backlog=_BACKLOG)
    else:
        siblings = metrics.SHARED in os.environ  # the children of one parent open the operators' port each
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG, reuse_address=True, reuse_port=siblings)
    try:
        await site.start()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error  # asyncio puts a sentence of its own into strerror
        raise ConfigurationError(f"{key}: found {port}; cannot listen on {host}: {why}") from None
    port = int(runner.addresses[0][1])
    for one in _again(site):
        await web.SockSite(runner, one, backlog=_BACKLOG).start()
    if hands is not None:
        stack.push_async_callback(_drained, runner, hands)
    return port


def _again(site: web.BaseSite) -> list[socket.socket]:
    """The site's sockets under more descriptors: the loop accepts one connection from each in a turn."""
    sockets = getattr(site._server, "sockets", ())  # noqa: SLF001  aiohttp shows a site's address, not its sockets
    return [socket.socket(fileno=os.dup(one.fileno())) for one in sockets for _ in range(_AT_ONCE - 1)]


async def _drained(runner: web.AppRunner, hands: Drains) -> None:
    """Lets the requests in hand come to their answers, before aiohttp stops reading their bodies."""
    for site in list(runner.sites):
        await site.stop()
    try:
        async with asyncio.timeout(_DRAIN):
            await hands.drained()
            await _last_requests(runner)
            await hands.drained()
    except TimeoutError:
        _log.warning("process.requests_abandoned", requests=hands.in_hand)


async def _last_requests(runner: web.AppRunner) -> None:
    """Gives each connection that is kept alive time for one more request, whose answer ends it.

    What a busy client has sent by now may lie unread in the kernel: closed at once, it would be reset, and a vendor
    does not repeat it.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _LAST_REQUEST
    while runner.server is not None and runner.server.connections and loop.time() < until:  # noqa: ASYNC110  no event
        await asyncio.sleep(_LOOK)
