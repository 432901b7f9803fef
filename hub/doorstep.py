"""What is looked at before a vendor's request is read: size, token, address. Callbacks and Queries share it."""

import asyncio
import contextlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from random import getrandbits
from typing import Final

import orjson
from aiohttp import web

from hub.door import MAX_BODY

Network = IPv4Network | IPv6Network

MAX_URL: Final = 32 * 1024
_THROWN_AWAY: Final = 16 * 1024 * 1024
_BEGINNING: Final = 4096
_PATIENCE: Final = 5.0
_WHOLE_BODY: Final = 15.0  # seconds
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_NOBODY: Final = "0" * 43  # compared with where the source is unknown, so that the answer takes the same time


class Hands:
    """Requests that have begun and are not answered yet, of all kinds that must come to their answers.

    Attributes:
        in_hand: how many.
        draining: from now on an answer is its connection's last.
        on_the_line: how many of them a caller waits for: Queries.
    """

    def __init__(self) -> None:
        self.in_hand = self.on_the_line = 0
        self.draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """One more, until the context is left."""
        self.in_hand += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_hand -= 1
            if not self.in_hand:
                self._idle.set()

    async def drained(self) -> None:
        """Returns when nothing is in hand; from now on an answer is its connection's last."""
        self.draining = True
        await self._idle.wait()


class Addresses:
    """Who calls: the peer, or, behind a proxy that is trusted, whom that one names."""

    def __init__(self, trusted_proxies: Sequence[Network] = ()) -> None:
        """Args: trusted_proxies: only these may set ``X-Forwarded-For``."""
        self._trusted = tuple(trusted_proxies)

    def allowed(self, allow: Sequence[Network], request: web.Request) -> bool:
        """Whether the caller's address is in one of the networks; none at all means any address."""
        if not allow:
            return True
        address = _address(request.remote)
        if address is not None and any(address in network for network in self._trusted):
            for hop in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
                address = _address(hop.strip())
                if address is None or not any(address in network for network in self._trusted):
                    break
        return address is not None and any(address in network for network in allow)


def proved(tokens: Sequence[str], given: str) -> bool:
    """Compares with every valid token, whether or not one matched already, in constant time.

    Args:
        tokens: of the source; none where there is no such source.
        given: in the URL.
    """
    said = given.encode("utf-8", "replace")
    matches = [hmac.compare_digest(said, known.encode()) for known in tokens or (_NOBODY,)]
    return bool(tokens) and any(matches)


def trace(headers: Mapping[str, str]) -> str:
    """The caller's trace context where it sent one, else one that begins here."""
    given = headers.get("traceparent", "")
    if _TRACEPARENT.fullmatch(given):
        return given
    # No secret hangs on it, and the system's generator lets another thread have the interpreter meanwhile.
    return f"00-{getrandbits(128) or 1:032x}-{getrandbits(64) or 1:016x}-01"


def told(status: int, body: Mapping[str, str], **headers: str) -> web.Response:
    """An answer of ours, as JSON."""
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers={"Content-Type": "application/json", "Cache-Control": "no-store", **headers},
    )


def refuse(status: int, detail: str) -> web.Response:
    """An answer to a request of which nothing is kept."""
    return told(status, {"status": "refused", "detail": detail})


@dataclass(frozen=True, slots=True)
class Unread:
    """A request of which not all was read: too large, or too slow to wait for.

    Attributes:
        status: of the answer to a callback.
        detail: why.
        begun: how its body begins, as far as that was seen.
    """

    status: int
    detail: str
    begun: bytes = b""

    def refused(self) -> web.Response:
        """The answer to a callback; it ends the connection, on which the rest may still come."""
        response = refuse(self.status, self.detail)
        response.force_close()
        return response


async def whole(request: web.Request) -> bytes | Unread:
    """The body, unless it is not to be had."""
    if len(request.raw_path) > MAX_URL:
        return await _oversized(request, Unread(414, f"the URL is over {MAX_URL} bytes"))
    large = Unread(413, f"the body is over {MAX_BODY} bytes")
    if (request.content_length or 0) > MAX_BODY:
        return await _oversized(request, large)
    body = bytearray()
    try:
        async with asyncio.timeout(_WHOLE_BODY):
            while len(body) <= MAX_BODY and (chunk := await request.content.readany()):
                body += chunk
    except TimeoutError:
        return Unread(408, f"the body did not come within {_WHOLE_BODY:.0f} seconds", bytes(body[:_BEGINNING]))
    if len(body) > MAX_BODY:
        return await _oversized(request, replace(large, begun=bytes(body[:_BEGINNING])))
    return bytes(body)


async def _oversized(request: web.Request, why: Unread) -> Unread:
    """Throws some of what comes away: a sender that is still writing would see a reset instead of the answer."""
    left, begun = _THROWN_AWAY, why.begun
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(_PATIENCE):
            while left > 0 and (chunk := await request.content.readany()):
                left -= len(chunk)
                begun = begun or chunk[:_BEGINNING]
    return replace(why, begun=begun)


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
