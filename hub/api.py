"""The read API: calls, their timelines, events, the ledger; and the token before all of ``/v1``.

Everything under ``/v1`` wants ``Authorization: Bearer <admin token>``. Lists are ``{"items": [...], "next": "…"}`` and
take ``?limit=&after=``.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from hub.answers import BadRequest, error, limit_of, page, uuid_of
from hub.errors import NotDurable, StoreUnavailable
from hub.events import moment
from hub.operating.destinations import shown
from hub.ports import CallFilter, Page, Store
from hub.ports.forwarding import Tried

_STATES: Final = ("in_progress", "ended")
_log = structlog.get_logger("api")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ledger = Callable[[], Awaitable[Mapping[str, Any]]]
Deliveries = Callable[..., Awaitable[Sequence[Tried]]]


class Api:
    """The handlers of ``/v1``."""

    def __init__(
        self,
        store: Store,
        token: str | None,
        *,
        ledger: Ledger | None = None,
        deliveries: Deliveries | None = None,
        more: Mapping[tuple[str, str], Handler] | None = None,
    ) -> None:
        """Composes the API.

        Args:
            store: where records and events are read.
            token: of the administrator; without one nobody gets in.
            ledger: makes the ledger; None where this process has none.
            deliveries: the requests to destinations for a call; None where they are not told.
            more: handlers of others by method and path, to stand behind the same token.
        """
        self._store = store
        self._token = token
        self._ledger = ledger
        self._deliveries = deliveries
        self._more = dict(more or {})

    def routes(self) -> list[web.AbstractRouteDef]:
        """Every route of the API, behind the token."""
        table: dict[str, Handler] = {
            "/v1/calls": self.calls,
            "/v1/calls/{call_id}": self.call,
            "/v1/calls/{call_id}/timeline": self.timeline,
            "/v1/events": self.events,
        }
        if self._ledger is not None:
            table["/v1/ledger"] = self.ledger
        every = {("GET", path): handler for path, handler in table.items()} | self._more
        methods = {"GET": web.get, "POST": web.post}
        # The last one keeps the token before every path, whether or not there is something behind it.
        nothing = web.route("*", "/v1{tail:(?:/.*)?}", self.behind_token(_nothing))
        return [
            *(methods[method](path, self.behind_token(handler)) for (method, path), handler in every.items()),
            nothing,
        ]

    def behind_token(self, handler: Handler) -> Handler:
        """A handler that is reached with the token alone."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            known = self._token or ""
            same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), known.encode())
            if not (known and same and scheme.lower() == "bearer"):
                return error(401, "expected Authorization: Bearer <admin token>", **{"WWW-Authenticate": "Bearer"})
            try:
                return await handler(request)
            except BadRequest as bad:
                return error(400, str(bad))
            except (StoreUnavailable, NotDurable) as trouble:
                _log.warning("api.unavailable", path=request.path, reason=str(trouble))
                what = "store" if isinstance(trouble, StoreUnavailable) else "bus"
                return error(503, f"the {what} cannot be read now", **{"Retry-After": "5"})

        return guarded

    async def calls(self, request: web.Request) -> web.Response:
        """``GET /v1/calls``: records, newest first."""
        query = request.query
        state = query.get("state") or None
        if state is not None and state not in _STATES:
            raise BadRequest(f"state is {state!r}, expected one of {', '.join(_STATES)}")
        narrow = CallFilter(
            number=(query.get("number") or "").strip() or None,
            vendor=query.get("vendor") or None,
            source=query.get("source") or None,
            state=state,
            since=_when(query, "since"),
            until=_when(query, "until"),
        )
        return _page(await _paged(self._store.calls(narrow, limit_of(query), query.get("after") or None)))

    async def call(self, request: web.Request) -> web.Response:
        """``GET /v1/calls/{call_id}``: one record."""
        record = await self._store.call(uuid_of(request.match_info["call_id"]))
        if record is None:
            return error(404, "no such call")
        return web.Response(body=record, content_type="application/json")

    async def timeline(self, request: web.Request) -> web.Response:
        """``GET /v1/calls/{call_id}/timeline``: the call's events, and what was sent to destinations."""
        call_id = uuid_of(request.match_info["call_id"])
        found = await _paged(self._store.events(limit_of(request.query), request.query.get("after") or None, call_id))
        if not found.items and await self._store.call(call_id) is None:
            return error(404, "no such call")
        if self._deliveries is None:
            return _page(found)
        tries = [orjson.dumps(shown(one)) for one in await self._deliveries(call_id=call_id)]
        return page(found.items, found.next, deliveries=tries)

    async def events(self, request: web.Request) -> web.Response:
        """``GET /v1/events``: every event kept, oldest first."""
        return _page(await _paged(self._store.events(limit_of(request.query), request.query.get("after") or None)))

    async def ledger(self, _: web.Request) -> web.Response:
        """``GET /v1/ledger``: what was accepted, and where all of it is."""
        assert self._ledger is not None  # noqa: S101  the route exists only with a ledger
        return web.Response(body=orjson.dumps(await self._ledger()), content_type="application/json")


async def _nothing(_: web.Request) -> web.Response:
    return error(404, "nothing is here, or not with this method")


async def _paged(asked: Awaitable[Page]) -> Page:
    try:
        return await asked
    except ValueError:
        raise BadRequest("after is not a cursor of an earlier answer") from None


def _when(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return moment(text.replace(" ", "+"))  # a + that the query string took for a space
    except ValueError:
        raise BadRequest(f"{name} is {text[:40]!r}, expected a time like 2026-11-20T09:15:30Z") from None


def _page(found: Page) -> web.Response:
    return page(found.items, found.next)
