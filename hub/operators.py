"""The operator verbs over HTTP: ``/v1/dead-letters``, ``/v1/quarantine`` and ``/v1/replay``.

What is chosen by a filter is only named unless ``"dry_run": false`` says otherwise; what is named by its id is done.
"""

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from aiohttp import web

from hub.answers import BadRequest, error, limit_of, page, reply, uuid_of, whole
from hub.disk import Narrow
from hub.errors import NotDurable
from hub.events import moment
from hub.operating import dead_letters, quarantine, replay
from hub.operating.dead_letters import DeadLetters, Filter
from hub.operating.quarantine import Quarantine
from hub.operating.replay import Replay, Wanted

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Routes = dict[tuple[str, str], Handler]

_DEFAULT_BATCH: Final = 1000
_LETTER_FILTER: Final = ("reason", "vendor", "source", "type")
_REQUEST_FILTER: Final = ("source", "reason")
_EVENT_FILTER: Final = ("call", "vendor", "source", "type", "since", "until")
_CURSOR_PARTS: Final = 2


class DeadLetterRoutes:
    """``/v1/dead-letters``."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def routes(self) -> Routes:
        """Handlers by method and path."""
        return {
            ("GET", "/v1/dead-letters"): self.listed,
            ("GET", "/v1/dead-letters/{worker}/{event_id:.+}"): self.shown,
            ("POST", "/v1/dead-letters/{verb:requeue|discard}"): self.act,
        }

    async def listed(self, request: web.Request) -> web.Response:
        """``GET /v1/dead-letters``: what workers gave up, worker by worker, oldest first."""
        query = request.query
        which = Filter(**{name: query.get(name) or None for name in _LETTER_FILTER})
        worker = query.get("worker") or None
        if worker is not None:
            self._known(worker)
        try:
            found, after = await self._letters.page(limit_of(query), _read(query.get("after")), which, worker)
        except ValueError:
            raise BadRequest("after is not a cursor of an earlier answer") from None
        return page([orjson.dumps(one.shown()) for one in found], _written(after))

    async def shown(self, request: web.Request) -> web.Response:
        """``GET /v1/dead-letters/{worker}/{event_id}``: one, with every attempt that is remembered."""
        worker = request.match_info["worker"]
        found = await self._letters.find(request.match_info["event_id"], worker) if self._is_known(worker) else []
        return reply(found[0].shown_whole()) if found else error(404, "no such dead letter")

    async def act(self, request: web.Request) -> web.Response:
        """``POST /v1/dead-letters/requeue`` and ``…/discard``: the answer comes when all of it is done."""
        asked = await _Asked.of(request, ("worker", "rate"), _LETTER_FILTER)
        worker = asked.text("worker")
        if worker is None:
            raise BadRequest("worker is missing, expected the name of a worker")
        self._known(worker)
        verb: dead_letters.Verb = "requeue" if request.match_info["verb"] == "requeue" else "discard"
        report = await self._letters.act(
            verb,
            worker,
            ids=asked.ids(),
            which=Filter(**asked.filter()),
            limit=asked.limit(dead_letters.MOST),
            rate=asked.rate(),
            dry_run=asked.dry_run(),
        )
        return reply(report.shown(), 503 if report.problem else 200)

    def _is_known(self, worker: str) -> bool:
        return worker in self._letters.workers

    def _known(self, worker: str) -> None:
        if not self._is_known(worker):
            raise BadRequest(f"worker is {worker[:40]!r}, expected one of {', '.join(sorted(self._letters.workers))}")


class QuarantineRoutes:
    """``/v1/quarantine``."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    def routes(self) -> Routes:
        """Handlers by method and path."""
        return {
            ("GET", "/v1/quarantine"): self.listed,
            ("GET", "/v1/quarantine/{quarantine_id}"): self.shown,
            ("POST", "/v1/quarantine/{verb:retry|discard}"): self.act,
            ("POST", "/v1/quarantine/{quarantine_id}/retry"): self.retry,
        }

    async def listed(self, request: web.Request) -> web.Response:
        """``GET /v1/quarantine``: what came with the right token and could not be used, oldest first."""
        query = request.query
        after = whole(query.get("after") or "0")
        if after is None:
            raise BadRequest("after is not a cursor of an earlier answer")
        narrow = Narrow(source=query.get("source") or None, reason=query.get("reason") or None)
        found, following = await self._quarantine.page(limit_of(query), after, narrow)
        items = [orjson.dumps(quarantine.shown(kept)) for kept in found]
        return page(items, None if following is None else str(following))

    async def shown(self, request: web.Request) -> web.Response:
        """``GET /v1/quarantine/{quarantine_id}``: one request, byte for byte."""
        found = await self._quarantine.one(uuid_of(request.match_info["quarantine_id"]))
        return error(404, "no such request in quarantine") if found is None else reply(quarantine.shown(found))

    async def retry(self, request: web.Request) -> web.Response:
        """``POST /v1/quarantine/{quarantine_id}/retry``: 200 where it could be used, 422 where it stays."""
        report = await self._quarantine.retry(Narrow(ids=[uuid_of(request.match_info["quarantine_id"])]))
        if not report.verdicts:
            return error(404, "no such request in quarantine")
        verdict = report.verdicts[0]
        status = {"": 200, "not_durable": 503}.get(verdict.reason, 422)
        return reply(verdict.shown(), status)

    async def act(self, request: web.Request) -> web.Response:
        """``POST /v1/quarantine/retry`` and ``…/discard``: the answer comes when all of it is done."""
        asked = await _Asked.of(request, (), _REQUEST_FILTER)
        do = self._quarantine.retry if request.match_info["verb"] == "retry" else self._quarantine.discard
        narrow = Narrow(ids=asked.ids(), **asked.filter())
        report = await do(narrow, limit=asked.limit(quarantine.MOST), dry_run=asked.dry_run())
        return reply(report.shown())


class ReplayRoutes:
    """``/v1/replay``."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def routes(self) -> Routes:
        """Handlers by method and path."""
        return {("POST", "/v1/replay"): self.act}

    async def act(self, request: web.Request) -> web.Response:
        """``POST /v1/replay``: the answer comes when all of it is done; ``next`` is where to go on."""
        asked = await _Asked.of(request, ("worker", "queue", "rate", "again", "after"), _EVENT_FILTER)
        try:
            target = self._replay.target(asked.text("worker"), asked.text("queue"))
        except ValueError as wrong:
            raise BadRequest(str(wrong)) from None
        after = whole(asked.text("after") or "0")
        if after is None:
            raise BadRequest("after is not the next of an earlier answer")
        try:
            report = await self._replay.run(
                target,
                asked.wanted(),
                after=after,
                limit=asked.limit(replay.MOST),
                rate=asked.rate(),
                again=asked.flag("again", default=False),
                dry_run=asked.dry_run(),
            )
        except NotDurable as trouble:  # most often a queue that is not there: say so
            return error(503, str(trouble))
        return reply(report.shown(), 503 if report.problem else 200)


class _Asked:
    """The JSON body of a verb, taken apart; every complaint is BadRequest."""

    def __init__(self, body: Mapping[str, Any], filters: tuple[str, ...]) -> None:
        self._body = body
        self._filters = filters

    @classmethod
    async def of(cls, request: web.Request, more: tuple[str, ...], filters: tuple[str, ...]) -> "_Asked":
        known = ("ids", "filter", "limit", "dry_run", *more)
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            raise BadRequest("the body is no JSON, expected an object") from None
        if not isinstance(body, dict):
            raise BadRequest("the body is no object, expected one with ids or filter")
        unknown = next((key for key in body if key not in known), None)
        if unknown is not None:
            raise BadRequest(f"{unknown[:40]!r} is not known, expected {', '.join(known)}")
        if ("ids" in body) == ("filter" in body):
            raise BadRequest('expected either "ids" or "filter"; {} as filter means all')
        return cls(body, filters)

    def text(self, name: str) -> str | None:
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{name} is no text")
        return value

    def ids(self) -> list[str] | None:
        if "ids" not in self._body:
            return None
        ids = self._body["ids"]
        if not (isinstance(ids, list) and ids and all(isinstance(one, str) for one in ids)):
            raise BadRequest("ids is not a list of texts, expected at least one")
        return ids

    def filter(self) -> dict[str, str | None]:
        given = self._body.get("filter", {})
        known = isinstance(given, dict) and set(given) <= set(self._filters)
        if not known or not all(isinstance(value, str) and value for value in given.values()):
            raise BadRequest(f"filter is not understood, expected texts for any of {', '.join(self._filters)}")
        return {name: given.get(name) for name in self._filters}

    def wanted(self) -> Wanted:
        """Which events; a replay's ids or filter."""
        ids, given = self.ids(), self.filter()
        if ids is not None and len(ids) > replay.MOST:
            raise BadRequest(f"ids are {len(ids)}, expected {replay.MOST} at most")
        return Wanted(
            ids,
            given["call"],
            given["vendor"],
            given["source"],
            given["type"],
            since=self._moment("since", given["since"]),
            until=self._moment("until", given["until"]),
        )

    def limit(self, most: int) -> int:
        limit = self._body.get("limit", most if "ids" in self._body else _DEFAULT_BATCH)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= most:
            raise BadRequest(f"limit is {str(limit)[:40]}, expected a whole number from 1 to {most}")
        return limit

    def rate(self) -> float | None:
        rate = self._body.get("rate")
        if rate is None:
            return None
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < math.inf:
            raise BadRequest(f"rate is {str(rate)[:40]}, expected more than 0 a second")
        return float(rate)

    def dry_run(self) -> bool:
        return self.flag("dry_run", default="filter" in self._body)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._body.get(name, default)
        if not isinstance(value, bool):
            raise BadRequest(f"{name} is neither true nor false")
        return value

    @staticmethod
    def _moment(name: str, text: str | None) -> datetime | None:
        try:
            return None if text is None else moment(text)
        except ValueError:
            raise BadRequest(f"{name} is {str(text)[:40]!r}, expected a time like 2026-11-20T09:15:30Z") from None


def _read(cursor: str | None) -> tuple[str, str] | None:
    """The place that a cursor stands for. Raises ValueError where it is none of ours."""
    if not cursor:
        return None
    padded = cursor + "=" * (-len(cursor) % 4)
    parts = orjson.loads(urlsafe_b64decode(padded.encode("ascii")))
    if not (isinstance(parts, list) and len(parts) == _CURSOR_PARTS and all(isinstance(one, str) for one in parts)):
        raise ValueError(f"{cursor!r} is no cursor")
    return parts[0], parts[1]


def _written(place: tuple[str, str] | None) -> str | None:
    return None if place is None else urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")
