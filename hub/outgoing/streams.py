"""Downloads: an answer that is read chunk by chunk, behind redirects that are guarded one by one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import ClientError, ClientResponse
from multidict import CIMultiDictProxy
from yarl import URL

from hub.errors import Doubtful, Refused
from hub.outgoing.messages import Request
from hub.outgoing.redaction import HARMLESS
from hub.outgoing.wire import Wire, why_doubtful

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for the head of each hop, for all of it, and without a byte; bytes a second over ``window`` seconds."""

    head: float
    total: float
    read: float
    slowest: int
    window: float


class Streamed:
    """The answer's head, and its body while it comes.

    Attributes:
        status: of the last hop, whatever it is: 200, 206, 404…
        headers: of the last hop, by name in any case; nothing is decompressed (``identity`` was asked for).
        url: of the last hop. It may hold secrets: show it with ``shown_url``.
        problem: why the body was not read to its end; None so far.
    """

    def __init__(self, wire: Wire, response: ClientResponse, url: URL, patience: Patience, deadline: float) -> None:
        """Made by ``Lane.stream``. Args: deadline: on the event loop's clock."""
        self._wire = wire
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers
        self.url = str(url)
        self.problem: Doubtful | None = None
        self._response = response
        self._patience = patience
        self._deadline = deadline
        self._waited = 0.0
        self._came = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes in pieces of at most 64 KiB, once.

        A body that ends where its connection does (without ``Content-Length`` and chunks) cannot be seen to be cut.

        Raises:
            Doubtful: the body was cut, came too slowly or stood still; what came before is good.
        """
        while chunk := await self._next():
            yield chunk

    async def body(self, limit: int = 256 << 10) -> bytes:
        """The first ``limit`` bytes, for an answer that is an error. Raises as ``chunks``."""
        body = bytearray()
        while len(body) < limit and (chunk := await self._next()):
            body += chunk
        return bytes(body[:limit])

    def close(self) -> None:
        """Lets go of the connection, which is kept where the body was read to its end."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    async def _next(self) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._wire.until(self._deadline):
                chunk = await self._response.content.read(_CHUNK)
        except (ClientError, OSError) as error:
            self.problem = Doubtful(why_doubtful(error, self._patience.total))
            raise self.problem from None
        self._waited += loop.time() - began
        self._came += len(chunk)
        if self._waited >= self._patience.window:
            if chunk and self._came < self._patience.slowest * self._waited:
                speed = self._came / self._waited
                self.problem = Doubtful(f"too slow: {speed:.0f} bytes a second; expected {self._patience.slowest}")
                raise self.problem
            self._waited, self._came = 0.0, 0
        return chunk


async def follow(wire: Wire, request: Request, url: URL, redirects: int, patience: Patience) -> Streamed:
    """The answer behind at most so many redirects; the caller closes its response. Raises as ``Lane.stream``."""
    deadline = asyncio.get_running_loop().time() + patience.total
    for left in range(redirects, -1, -1):
        response = await wire.open(request, url, patience.head, patience.read)
        location = response.headers.get("Location")
        follows = redirects and request.method in {"GET", "HEAD"} and response.status in _REDIRECTS
        if not (follows and location):
            return Streamed(wire, response, url, patience, deadline)
        status = response.status
        response.close()
        if not left:
            break
        request, url = _next_hop(wire, request, url, location, status)
    raise Refused(status, f"more than {redirects} redirects")


def _next_hop(wire: Wire, request: Request, url: URL, location: str, status: int) -> tuple[Request, URL]:
    try:
        there = url.join(URL(location, encoded=location.isascii())).with_fragment(None)
    except ValueError:
        raise Refused(status, "a redirect to what is no URL") from None
    if url.scheme == "https" and there.scheme == "http":
        raise Refused(status, "a redirect from https to http")
    there = wire.checked(str(there))
    if there.origin() == url.origin():
        return request, there
    headers = {name: value for name, value in request.headers.items() if name.lower() in HARMLESS}
    return replace(request, headers=headers, body=None), there.with_user(None)
