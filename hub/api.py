"""The read API: calls, their timelines, events, the quarantine, the ledger.

Everything under ``/v1`` wants ``Authorization: Bearer <admin token>``. Lists are ``{"items": [...], "next": "…"}`` and
take ``?limit=&after=``.
"""

import hmac
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from aiohttp import web

from hub.disk import Disk
from hub.errors import NotDurable, StoreUnavailable
from hub.events import moment
from hub.ports import CallFilter, Page, Store

_DEFAULT_LIMIT: Final = 50
_MAX_LIMIT: Final = 1000
_STATES: Final = ("in_progress", "ended")
_log = structlog.get_logger("api")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ledger = Callable[[], Awaitable[Mapping[str, Any]]]


class BadRequest(Exception):
    """The query string cannot be read; the message says which part and what is expected."""


class Api:
    """The handlers of ``/v1``."""

    def __init__(
        self, store: Store, token: str | None, *, disk: Disk | None = None, ledger: Ledger | None = None
    ) -> None:
        """Composes the API.

        Args:
            store: where records and events are read.
            token: of the administrator; without one nobody gets in.
            disk: the ingress's, for the quarantine; None where this process is no ingress.
            ledger: makes the ledger; None where this process has none.
        """
        self._store = store
        self._token = token
        self._disk = disk
        self._ledger = ledger

    def routes(self) -> list[web.RouteDef]:
        """Every route of the API, behind the token."""
        table: dict[str, Handler] = {
            "/v1/calls": self.calls,
            "/v1/calls/{call_id}": self.call,
            "/v1/calls/{call_id}/timeline": self.timeline,
            "/v1/events": self.events,
        }
        if self._disk is not None:
            table |= {"/v1/quarantine": self.quarantine, "/v1/quarantine/{quarantine_id}": self.quarantined}
        if self._ledger is not None:
            table["/v1/ledger"] = self.ledger
        return [web.get(path, self._behind_token(handler)) for path, handler in table.items()]

    def _behind_token(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            known = self._token or ""
            same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), known.encode())
            if not (known and same and scheme.lower() == "bearer"):
                return _error(401, "expected Authorization: Bearer <admin token>", **{"WWW-Authenticate": "Bearer"})
            try:
                return await handler(request)
            except BadRequest as error:
                return _error(400, str(error))
            except (StoreUnavailable, NotDurable) as error:
                _log.warning("api.unavailable", path=request.path, reason=str(error))
                return _error(503, "the store cannot be read now", **{"Retry-After": "5"})

        return guarded

    async def calls(self, request: web.Request) -> web.Response:
        """``GET /v1/calls``: records, newest first."""
        query = request.query
        state = query.get("state")
        if state is not None and state not in _STATES:
            raise BadRequest(f"state is {state!r}, expected one of {', '.join(_STATES)}")
        narrow = CallFilter(
            number=(query.get("number") or "").strip() or None,
            vendor=query.get("vendor"),
            source=query.get("source"),
            state=state,
            since=_when(query, "since"),
            until=_when(query, "until"),
        )
        return _page(await _paged(self._store.calls(narrow, _limit(query), query.get("after") or None)))

    async def call(self, request: web.Request) -> web.Response:
        """``GET /v1/calls/{call_id}``: one record."""
        record = await self._store.call(_uuid(request.match_info["call_id"]))
        if record is None:
            return _error(404, "no such call")
        return web.Response(body=record, content_type="application/json")

    async def timeline(self, request: web.Request) -> web.Response:
        """``GET /v1/calls/{call_id}/timeline``: the call's events in the order of their keeping."""
        call_id = _uuid(request.match_info["call_id"])
        page = await _paged(self._store.events(_limit(request.query), request.query.get("after") or None, call_id))
        if not page.items and await self._store.call(call_id) is None:
            return _error(404, "no such call")
        return _page(page)

    async def events(self, request: web.Request) -> web.Response:
        """``GET /v1/events``: every event kept, oldest first."""
        return _page(await _paged(self._store.events(_limit(request.query), request.query.get("after") or None)))

    async def quarantine(self, request: web.Request) -> web.Response:
        """``GET /v1/quarantine``: what came with the right token and could not be used, oldest first."""
        assert self._disk is not None  # noqa: S101  the route exists only with a disk
        limit, after = _limit(request.query), request.query.get("after") or "0"
        if not after.isdecimal():
            raise BadRequest(f"after is {after!r}, expected a cursor of an earlier answer")
        rows = await self._disk.quarantined(limit + 1, int(after))
        items = [orjson.dumps(_quarantined(fields, body)) for _, fields, body in rows[:limit]]
        return _page(Page(items, str(rows[limit - 1][0]) if len(rows) > limit else None))

    async def quarantined(self, request: web.Request) -> web.Response:
        """``GET /v1/quarantine/{quarantine_id}``: one request, byte for byte."""
        assert self._disk is not None  # noqa: S101  the route exists only with a disk
        found = await self._disk.quarantined_one(_uuid(request.match_info["quarantine_id"]))
        if found is None:
            return _error(404, "no such request in quarantine")
        return web.Response(body=orjson.dumps(_quarantined(*found)), content_type="application/json")

    async def ledger(self, _: web.Request) -> web.Response:
        """``GET /v1/ledger``: what was accepted, and where all of it is."""
        assert self._ledger is not None  # noqa: S101  the route exists only with a ledger
        return web.Response(body=orjson.dumps(await self._ledger()), content_type="application/json")


def _quarantined(fields: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    return {**fields, "body_base64": b64encode(body).decode()}


async def _paged(page: Awaitable[Page]) -> Page:
    try:
        return await page
    except ValueError:
        raise BadRequest("after is not a cursor of an earlier answer") from None


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit")
    if not text:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise BadRequest(f"limit is {text[:40]!r}, expected a whole number from 1 to {_MAX_LIMIT}")
    return min(int(text), _MAX_LIMIT)


def _when(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return moment(text.replace(" ", "+"))  # a + that the query string took for a space
    except ValueError:
        raise BadRequest(f"{name} is {text[:40]!r}, expected a time like 2026-11-20T09:15:30Z") from None


def _uuid(text: str) -> str:
    """The id in its canonical form; what is no id names nothing, so it is passed on as it is."""
    try:
        return str(UUID(text))
    except ValueError:
        return "00000000-0000-0000-0000-000000000000"


def _page(page: Page) -> web.Response:
    tail = b',"next":' + orjson.dumps(page.next or "") + b"}"
    return web.Response(body=b'{"items":[' + b",".join(page.items) + b"]" + tail, content_type="application/json")


def _error(status: int, detail: str, **headers: str) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps({"error": detail}), content_type="application/json", headers=headers
    )
