"""The connections of a lane, and what can go wrong on them in our words.

What decides between ``NotSent`` and ``Doubtful`` is whether a byte of the request may have left: aiohttp tells before
it writes the first. A kept connection that the other side closed while we wrote is doubtful: it may have read it all.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from types import SimpleNamespace
from typing import Any, Final

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    ServerDisconnectedError,
    SocketTimeoutError,
    TCPConnector,
    TraceConfig,
    TraceRequestHeadersSentParams,
)
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from hub.errors import Doubtful, Forbidden, NotSent
from hub.logs import clean_text
from hub.outgoing.guard import Blocked, Guard, forbidden
from hub.outgoing.messages import BODY_LIMIT, Answer, Request
from hub.outgoing.tempo import Tempo
from hub.outgoing.unpacking import ENCODINGS, Spoilt, unpack

_USER_AGENT: Final = "Trunkline"
_CHUNK: Final = 1 << 16
_ADDRESSES: Final = 256  # that were checked and are remembered: most lanes have a few
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(slots=True)
class Progress:
    """Of one request: whether a byte of it may have left."""

    sent: bool = False


class Wire:
    """One session, one pool: no other lane's requests wait for its connections."""

    def __init__(self, guard: Guard, tempo: Tempo, tls: ssl.SSLContext, resolver: AbstractResolver) -> None:
        """Opens nothing yet."""
        self._guard, self._tempo, self._tls, self._resolver = guard, tempo, tls, resolver
        self._session: ClientSession | None = None
        self._once: ClientSession | None = None
        self._waits: set[asyncio.Timeout] = set()
        self.checked = lru_cache(_ADDRESSES)(self._checked)

    def _checked(self, url: str) -> URL:
        """A URL that may be asked for. Raises Forbidden."""
        try:
            parsed = URL(url, encoded=url.isascii())  # kept as it was written, unless nobody could send it so
            self._guard.check(parsed)
        except ValueError:  # some only when it is asked for its parts
            raise Forbidden("the URL cannot be read; expected http:// or https://, a host, a path") from None
        return parsed

    def check(self, request: Request) -> URL:
        """The address of a request that may be sent. Raises Forbidden."""
        for name, value in request.headers.items():
            if not _TOKEN.fullmatch(name) or _BREAKS.search(value):
                raise Forbidden(f"the header {clean_text(name)} cannot be written; expected one line of text")
        if not _TOKEN.fullmatch(request.method):
            raise Forbidden("the method cannot be written; expected GET, POST…")
        return self.checked(request.url)

    async def ask(self, request: Request, url: URL, within: float) -> Answer:
        """Sends a request, reads its answer. Raises as ``Lane.ask``."""
        began = monotonic()
        progress = Progress()
        with _in_our_words(url, progress, within):
            async with (
                self.until(asyncio.get_running_loop().time() + within),
                self.head(request, url, self._tempo.read, ENCODINGS, progress) as response,
            ):
                encoding = response.headers.get("Content-Encoding", "")
                body, whole = await unpack(response.content.iter_chunked(_CHUNK), encoding, BODY_LIMIT)
                if not whole:
                    response.close()
        return Answer(response.status, response.headers, body, monotonic() - began, whole)

    async def open(self, request: Request, url: URL, within: float, read: float) -> ClientResponse:
        """Sends a request; returns at the answer's head. The caller closes it. Raises as ``Lane.ask``."""
        progress = Progress()
        with _in_our_words(url, progress, within):
            async with self.until(asyncio.get_running_loop().time() + within):
                return await self._send(request, url, read, "identity", progress)

    @asynccontextmanager
    async def until(self, deadline: float) -> AsyncIterator[None]:
        """A wait for the other side, which ends with TimeoutError: at a time of the loop's clock, or by ``close``.

        aiohttp closes a connection under whoever reads a body from it without telling him.
        """
        async with asyncio.timeout_at(deadline) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    @asynccontextmanager
    async def head(
        self, request: Request, url: URL, read: float, accept: str, progress: Progress
    ) -> AsyncIterator[ClientResponse]:
        """The answer's head; its connection is kept where its body was read to the end."""
        response = await self._send(request, url, read, accept, progress)
        try:
            yield response
        except BaseException:
            response.close()
            raise
        response.release()

    async def _send(self, request: Request, url: URL, read: float, accept: str, progress: Progress) -> ClientResponse:
        headers = CIMultiDict(request.headers)
        headers.setdefault("Accept-Encoding", accept)
        if request.traceparent:
            headers["traceparent"] = request.traceparent
        connect = self._tempo.connect
        session = self._opened_once() if request.once else self._opened()
        return await session.request(
            request.method,
            url,
            headers=headers,
            data=request.body,
            allow_redirects=False,
            timeout=ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read),
            trace_request_ctx=progress,
        )

    def _opened(self) -> ClientSession:
        if self._session is None:
            self._session = self._made(keepalive_timeout=self._tempo.keepalive)
        return self._session

    def _opened_once(self) -> ClientSession:
        if self._once is None:
            self._once = self._made(force_close=True)
            self._once._retry_connection = False  # noqa: SLF001  there is no public switch
        return self._once

    def _made(self, **more: Any) -> ClientSession:
        connector = TCPConnector(
            limit=0,  # the lane's places are the limit, and the only one
            ssl=self._tls,
            resolver=self._resolver,
            socket_factory=self._guard.socket,
            **more,
        )
        return ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT},
            auto_decompress=False,
            trust_env=False,
            trace_configs=[_tracing()],
        )

    async def close(self) -> None:
        """Ends every wait, closes every connection."""
        for wait in self._waits:
            wait.reschedule(0)
        sessions, self._session, self._once = (self._session, self._once), None, None
        for session in sessions:
            if session is not None:
                await session.close()
        await self._resolver.close()


def _tracing() -> TraceConfig:
    tracing = TraceConfig()

    async def leaves(_: ClientSession, context: SimpleNamespace, __: TraceRequestHeadersSentParams) -> None:
        context.trace_request_ctx.sent = True

    tracing.on_request_headers_sent.append(leaves)
    return tracing


@contextmanager
def _in_our_words(url: URL, progress: Progress, within: float) -> Iterator[None]:
    try:
        yield
    except (ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        if progress.sent:
            raise Doubtful(why_doubtful(error, within)) from None
        if _is_blocked(error):
            raise Forbidden(forbidden(url)) from None
        if isinstance(error, ValueError | InvalidURL) and not isinstance(error, OSError):
            raise Forbidden(f"it cannot be written as HTTP: {clean_text(str(error))}") from None
        raise NotSent(f"{url.host}: {_why_not_sent(error, within)}") from None


def _is_blocked(error: BaseException) -> bool:
    return isinstance(error, ClientConnectorError) and isinstance(error.os_error, Blocked)


def _why_not_sent(error: Exception, within: float) -> str:
    match error:
        case ClientConnectorDNSError():
            why = f"no address for this name: {error.os_error.strerror or error.os_error}"
        case ClientConnectorCertificateError():
            why = f"TLS: {error.certificate_error}"
        case ClientConnectorSSLError():
            why = f"TLS: {error.os_error}"
        case ClientConnectorError():
            why = f"no connection: {error.os_error.strerror or error.os_error}"
        case ConnectionTimeoutError():
            why = "no connection in time"
        case TimeoutError():
            why = f"no connection within {within:g} s"
        case _:
            why = f"no connection: {type(error).__name__}"
    return clean_text(why)


_DOUBTS: Final[tuple[tuple[type[Exception], str], ...]] = (  # the first that fits
    (SocketTimeoutError, "the answer stood still"),
    (ServerDisconnectedError, "the connection was closed before an answer"),
    (ClientPayloadError, "the answer was cut"),
    (ClientResponseError, "the answer is not HTTP"),
)


def why_doubtful(error: Exception, within: float) -> str:
    """What became of an answer, for an operator."""
    known = next((why for kind, why in _DOUBTS if isinstance(error, kind)), None)
    if known is not None:
        return known
    if isinstance(error, TimeoutError):
        return f"no whole answer within {within:g} s"
    if isinstance(error, Spoilt):
        return str(error)
    strerror = error.strerror if isinstance(error, OSError) else None
    return f"the connection broke: {strerror or type(error).__name__}"
