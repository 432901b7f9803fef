"""Recordings over HTTP: ``/v1/recordings/{id}`` and its audio, for who has the Bearer token or a signed link.

A link is for one recording's audio and a time (``hub.custody.links``): a CRM's player has no token to send.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from aiohttp import web

from hub.answers import error, reply, uuid_of
from hub.custody import Custody
from hub.custody.links import Links
from hub.errors import CustodyUnavailable, StoreUnavailable
from hub.events import timestamp
from hub.ports.recordings import Kept, Recording, RecordingStore

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUDIO: Final = "/v1/recordings/{recording_id}/audio"
_RETRY: Final = {"Retry-After": "5"}
_log = structlog.get_logger("api")


class RecordingRoutes:
    """The handlers.

    Args:
        store: what is known of recordings.
        custody: where the audio is.
        links: signs and knows links; None where there is no secret to sign with.
        presign: seconds that the object store's own links are good for; 0 serves everything from here.
        clock: aware, UTC.
    """

    def __init__(
        self,
        store: RecordingStore,
        custody: Custody,
        links: Links | None,
        *,
        presign: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._custody = custody
        self._links = links
        self._presign = presign
        self._clock = clock

    def routes(self) -> dict[tuple[str, str], Handler]:
        """By method and path, to stand behind the Bearer token."""
        return {("GET", "/v1/recordings/{recording_id}"): self.shown, ("GET", AUDIO): self.audio}

    def door(self, guarded: Handler | None = None) -> web.AbstractRouteDef:
        """The audio's route for strangers too: with ``?token=`` a signed link, without one the guarded handler.

        To be routed before the API's own. Without ``guarded``, for a listener that has no API, links alone are good.
        """

        async def enter(request: web.Request) -> web.StreamResponse:
            token = request.query.get("token")
            if token is None and guarded is not None:
                return await guarded(request)
            recording_id = uuid_of(request.match_info["recording_id"])
            good = self._links is not None and self._links.good(recording_id, token or "", self._clock())
            if not good:
                return error(401, "this link is none of ours, or its time is over")
            try:
                return await self.audio(request)
            except StoreUnavailable as trouble:
                _log.warning("api.unavailable", path=request.path, reason=str(trouble))
                return error(503, "the store cannot be read now", **_RETRY)

        return web.get(AUDIO, enter)

    async def shown(self, request: web.Request) -> web.Response:
        """``GET /v1/recordings/{id}``: what is known of it, and a link where there is audio."""
        found = await self._store.recordings.recording(uuid_of(request.match_info["recording_id"]))
        return error(404, "no such recording") if found is None else reply(self._told(found))

    def _told(self, recording: Recording) -> dict[str, Any]:
        kept = recording.kept
        told: dict[str, Any] = {
            "recording_id": recording.recording_id,
            "call_id": recording.call_id,
            "vendor": recording.vendor,
            "source": recording.source,
            "leg": recording.leg,
            "state": "available" if recording.state in ("idle", "waiting") and kept is None else recording.state,
            "available_at": timestamp(recording.at),
            "expires_at": timestamp(recording.expires_at) if kept is None else None,
            "next_at": None if recording.next_at is None else timestamp(recording.next_at),
            "reason": recording.reason,
            "attempts": [{"at": timestamp(one.at), "reason": one.reason} for one in recording.history],
        }
        if kept is not None:
            told |= {
                "sha256": kept.sha256,
                "bytes": kept.bytes,
                "seconds": kept.seconds,
                "content_type": kept.content_type,
                "flags": list(kept.flags),
                "settled_at": None if recording.settled_at is None else timestamp(recording.settled_at),
                "delete_at": None if kept.delete_at is None else timestamp(kept.delete_at),
                "versions": list(recording.versions),
            }
            if self._links is not None and _there(recording) and recording.settled_at is not None:
                told["link"] = self._links.link(recording.recording_id, recording.settled_at)
        return {name: value for name, value in told.items() if value is not None}

    async def audio(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/recordings/{id}/audio``: all of it, or the one range that is asked for."""
        found = await self._store.recordings.recording(uuid_of(request.match_info["recording_id"]))
        if found is None:
            return error(404, "no such recording")
        if found.state in ("deleting", "deleted"):
            return error(410, "its audio was deleted: its time was over")
        if found.kept is None:
            return error(404, f"there is no audio of it: {found.reason or 'not fetched yet'}")
        try:
            return await self._served(request, found, found.kept)
        except CustodyUnavailable as trouble:
            _log.warning("api.no_custody", path=request.path, reason=str(trouble))
            return error(503, "the place for recordings cannot be read now", **_RETRY)

    async def _served(self, request: web.Request, recording: Recording, kept: Kept) -> web.StreamResponse:
        if self._presign:
            url = await self._custody.presigned(kept.key, self._presign)
            if url is not None:
                return web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
        etag = f'"{kept.sha256}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private",
            "Content-Type": kept.content_type,
            "Content-Disposition": f'inline; filename="{recording.recording_id}{_extension(kept.key)}"',
            "X-Content-Type-Options": "nosniff",
        }
        if etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={"ETag": etag})
        span = _span(request, kept.bytes, etag)
        if span is None:
            outside = {"Content-Range": f"bytes */{kept.bytes}"}
            return error(416, f"expected a range within {kept.bytes} bytes", **outside)
        start, stop, partial = span
        if partial:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{kept.bytes}"
        headers["Content-Length"] = str(stop - start)
        answer = web.StreamResponse(status=206 if partial else 200, headers=headers)
        if request.method == "HEAD":
            await answer.prepare(request)
            return answer
        pieces = self._custody.read(kept.key, start, stop)
        first = await anext(pieces, b"")  # what cannot be read at all is said before the head is sent
        await answer.prepare(request)
        sent = len(first)
        if first:
            await answer.write(first)
        async for piece in pieces:
            sent += len(piece)
            await answer.write(piece)
        if sent != stop - start and request.transport is not None:
            _log.error("api.short_audio", recording_id=recording.recording_id, sent=sent, expected=stop - start)
            request.transport.abort()  # a whole answer would say that this is all
        return answer


def _there(recording: Recording) -> bool:
    return recording.state not in ("deleting", "deleted")


def _extension(key: str) -> str:
    _, dot, extension = key.rpartition(".")
    return f"{dot}{extension}" if dot else ""


def _span(request: web.Request, size: int, etag: str) -> tuple[int, int, bool] | None:
    """The bytes that are asked for, and whether as a range; None where that is outside.

    All of them where a range is not understood, of several for instance: the whole is a good answer to these.
    """
    if "Range" not in request.headers or request.headers.get("If-Range", etag) != etag:
        return 0, size, False
    try:
        wanted = request.http_range
    except ValueError:
        return 0, size, False
    start, stop = wanted.start or 0, wanted.stop
    if start < 0:
        return max(0, size + start), size, True
    if start >= size:
        return None
    return start, size if stop is None else min(stop, size), True
