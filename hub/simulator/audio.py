"""Recordings as a vendor serves them: audio made from a name, over HTTP, with every misbehaviour on order.

Paths are invented: the vendors' own are not public. ``GET /recordings/{name}`` answers with a WAV of telephone quality
whose bytes depend on the name alone.
"""

import asyncio
import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

RATE: Final = 8000
_HEADER: Final = 44
_CUT: Final = 0.6
_PIECE: Final = 64 << 10
_READ: Final = 0.1  # seconds in which the other side reads what it has, before a cut takes away what it has not read

Misbehaviour = Callable[["AudioServer", web.Request, str, int], Awaitable[web.StreamResponse]]
"""Answers instead: the server, the request, the recording's name, and how often it was asked for before."""


def wav(name: str, seconds: float) -> bytes:
    """A WAV, 8 kHz, 8 bit, mono, of noise that is the name's own."""
    length = int(seconds * RATE)
    noise = hashlib.shake_128(name.encode()).digest(length)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + length, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8, b"data", length
    )
    return head + noise + b"\0" * (length % 2)


class AudioServer:
    """A vendor's recordings, as an aiohttp application.

    Attributes:
        asked: requests by name.
        manners: a misbehaviour by name; without one it behaves.
        seconds: length of audio by name.
        ready_after: requests for a name that are answered 404 before there is something.
    """

    def __init__(self, *, ready_after: int = 0, seconds: float = 1.0) -> None:
        self.asked: Counter[str] = Counter()
        self.manners: dict[str, str] = {}
        self.seconds: dict[str, float] = defaultdict(lambda: seconds)
        self.ready_after = ready_after
        self.elsewhere = ""

    def app(self) -> web.Application:
        """What serves it."""
        app = web.Application()
        app.router.add_get("/recordings/{name}", self._serve)
        app.router.add_get("/moved/{name}", self._moved)
        return app

    def truth(self, name: str) -> bytes:
        """The audio of a recording."""
        return wav(name, self.seconds[name])

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"].partition(".")[0].lower()
        before = self.asked[name]
        self.asked[name] += 1
        manner = self.manners.get(name)
        if manner is not None:
            return await MANNERS[manner](self, request, name, before)
        if before < self.ready_after:
            return web.Response(status=404)
        return self.sound(request, name)

    async def _moved(self, request: web.Request) -> web.StreamResponse:
        return self.sound(request, request.match_info["name"])

    def sound(self, request: web.Request, name: str, *, content_type: str = "audio/wav") -> web.Response:
        """A server as it should be: length, ETag, ranges."""
        return ranged(request, self.truth(name), content_type=content_type)


def ranged(request: web.Request, body: bytes, *, content_type: str = "audio/wav") -> web.Response:
    """A body with ETag and ranges."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": content_type}
    wanted = request.headers.get("Range")
    if wanted is None or request.headers.get("If-Range", etag) != etag:
        return web.Response(body=body, headers=headers)
    start = int(wanted.removeprefix("bytes=").partition("-")[0])
    if start >= len(body):
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:], headers=headers)


# --- misbehaviours ---------------------------------------------------------------------------------------------------


async def _late(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(status=404) if before < 2 else server.sound(request, name)  # noqa: PLR2004  twice


async def _accepted(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(status=202) if before < 1 else server.sound(request, name)


async def _empty(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(body=b"", content_type="audio/wav") if before < 1 else server.sound(request, name)


async def _cut(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    """The connection ends at 60 %, though the length was told; ranges work."""
    if before:
        return server.sound(request, name)
    body = server.truth(name)
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return await _some(request, body[: int(len(body) * _CUT)], {"Content-Length": str(len(body)), "ETag": etag})


async def _cut_chunked(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    if before:
        return server.sound(request, name)
    body = server.truth(name)
    return await _some(request, body[: int(len(body) * _CUT)], {}, chunked=True)


async def _cut_without_a_length(
    server: AudioServer, request: web.Request, name: str, before: int
) -> web.StreamResponse:
    """The end of the connection is the end of the file: no error is to be seen."""
    body = server.truth(name)
    return await _some(request, body if before else body[: int(len(body) * _CUT)], {})


async def _page(_: AudioServer, __: web.Request, ___: str, ____: int) -> web.StreamResponse:
    return web.Response(text="<!DOCTYPE html><html><body>Please log in</body></html>", content_type="audio/wav")


async def _page_first(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return server.sound(request, name) if before else await _page(server, request, name, before)


async def _json(_: AudioServer, __: web.Request, ___: str, ____: int) -> web.StreamResponse:
    return web.Response(text='{"error": "no such recording"}', content_type="audio/wav")


async def _broken(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(status=500) if before < 1 else server.sound(request, name)


async def _limited(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "1"}) if before < 1 else server.sound(request, name)


async def _limited_silently(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(status=429) if before < 1 else server.sound(request, name)


async def _drip(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    """One byte a second."""
    if before:
        return server.sound(request, name)
    body = server.truth(name)
    answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await answer.prepare(request)
    for place in range(len(body)):
        await answer.write(body[place : place + 1])
        await asyncio.sleep(1)
    return answer


async def _grows(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    """A WAV that is still written: its head does not know its length, and each time there is more."""
    body = server.truth(name)
    if before > 3:  # noqa: PLR2004  two looks at each of two downloads
        return ranged(request, body)
    so_far = b"RIFF\0\0\0\0" + body[8:40] + b"\0\0\0\0" + body[_HEADER : _HEADER + len(body) * (before + 1) // 8]
    return ranged(request, so_far)


async def _wrong_type(server: AudioServer, request: web.Request, name: str, _: int) -> web.StreamResponse:
    return server.sound(request, name, content_type="text/html")


async def _wrong_call(server: AudioServer, request: web.Request, _: str, __: int) -> web.StreamResponse:
    """Somebody else's audio, without a fault in itself."""
    return server.sound(request, "somebody-elses")


async def _gone(_: AudioServer, __: web.Request, ___: str, ____: int) -> web.StreamResponse:
    return web.Response(status=410)


async def _missing(_: AudioServer, __: web.Request, ___: str, ____: int) -> web.StreamResponse:
    return web.Response(status=404)


async def _expired(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    return web.Response(status=401) if before < 1 else server.sound(request, name)


async def _huge(_: AudioServer, request: web.Request, ___: str, ____: int) -> web.StreamResponse:
    return await _some(request, b"RIFF", {"Content-Length": str(1 << 40)})


async def _endless(_: AudioServer, request: web.Request, ___: str, ____: int) -> web.StreamResponse:
    answer = web.StreamResponse()
    answer.enable_chunked_encoding()
    await answer.prepare(request)
    while True:
        await answer.write(b"RIFF" * (_PIECE // 4))


async def _moves(_: AudioServer, __: web.Request, name: str, ___: int) -> web.StreamResponse:
    raise web.HTTPFound(f"/moved/{name}")


async def _to_a_private_address(_: AudioServer, __: web.Request, name: str, ____: int) -> web.StreamResponse:
    raise web.HTTPFound(f"http://10.255.255.1/{name}")


async def _to_another_scheme(_: AudioServer, __: web.Request, name: str, ____: int) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"ftp://files.example/{name}"})


async def _to_a_name_inside(server: AudioServer, _: web.Request, name: str, __: int) -> web.StreamResponse:
    raise web.HTTPFound(f"{server.elsewhere}/{name}")


async def _in_circles(_: AudioServer, request: web.Request, ___: str, ____: int) -> web.StreamResponse:
    raise web.HTTPFound(request.path)


async def _resets(server: AudioServer, request: web.Request, name: str, before: int) -> web.StreamResponse:
    if before:
        return server.sound(request, name)
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _some(
    request: web.Request, body: bytes, headers: Mapping[str, str], *, chunked: bool = False
) -> web.StreamResponse:
    """A body that ends where the connection does, whatever the head says."""
    answer = web.StreamResponse(headers={"Content-Type": "audio/wav", **headers})
    if chunked:
        answer.enable_chunked_encoding()
    elif "Content-Length" not in headers:
        answer.force_close()
        answer.headers["Connection"] = "close"
        answer._length_check = False  # noqa: SLF001  aiohttp would chunk it by itself
    await answer.prepare(request)
    await answer.write(body)
    if request.transport is not None:
        if headers or chunked:
            await asyncio.sleep(_READ)
            request.transport.close()
        else:
            await answer.write_eof()
    return answer


MANNERS: Final[Mapping[str, Misbehaviour]] = {
    "late": _late,
    "accepted": _accepted,
    "empty": _empty,
    "cut": _cut,
    "cut-chunked": _cut_chunked,
    "cut-without-a-length": _cut_without_a_length,
    "page": _page,
    "page-first": _page_first,
    "json": _json,
    "broken": _broken,
    "limited": _limited,
    "limited-silently": _limited_silently,
    "drip": _drip,
    "grows": _grows,
    "wrong-type": _wrong_type,
    "wrong-call": _wrong_call,
    "gone": _gone,
    "missing": _missing,
    "expired": _expired,
    "huge": _huge,
    "endless": _endless,
    "moves": _moves,
    "to-a-private-address": _to_a_private_address,
    "to-another-scheme": _to_another_scheme,
    "to-a-name-inside": _to_a_name_inside,
    "in-circles": _in_circles,
    "resets": _resets,
}
"""Every misbehaviour by its name."""
