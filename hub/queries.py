"""The Infocaller Query: a live call asks, and is answered inside the time that it waits.

A Query walks: size, token, address, reading, resolver, event, answer. Whatever happens, if only its token is right,
the vendor gets an answer that it can read, in the format that it asked in: the reply, or a result that runs the
script's own action for errors. The caller is never left waiting on us.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import getrandbits
from typing import Any, Final, Literal, Protocol

import structlog
from aiohttp import web

from hub import metrics
from hub.door import arrived_at
from hub.doorstep import Addresses, Hands, Network, Unread, proved, refuse, trace, whole
from hub.errors import NotDurable, Unusable
from hub.events import Event, Message, identity, timestamp, to_message
from hub.questions import FAILED, FINE, Question, Reply
from hub.resolvers.desk import Desk, Resolution
from hub.turnstile import Turnstile
from hub.vendors.infocaller.queries import CONTENT_TYPES, Heard, Interactive, written

_LEAST_MARGIN, _MOST_MARGIN = 0.05, 0.25  # seconds
_TENTH: Final = 0.1
_BOUND: Final = 0.025  # seconds that a broker's confirm may take before the outbox has the event, where none is ahead
_AT_ONCE: Final = 0.25  # seconds for the event of a Query that no resolver has kept
_PATIENCE: Final = 5.0  # seconds at the end, for events that were late
_LEARNT: Final = 0.1  # of each new measurement
_log = structlog.get_logger("queries")

Outcome = Literal["answered", "declined", "unresolved", "unconfigured", "unusable", "full"]

_TEXTS: Final[Mapping[Outcome, str]] = {
    "unresolved": "No answer",
    "unconfigured": "Query not configured",
    "unusable": "Request not understood",
    "full": "Too many queries",
}


class Publisher(Protocol):
    """Where the events of Queries go."""

    async def publish(self, messages: Sequence[Message], *, bound: float | None = None) -> None:
        """Returns once they are durable; ``bound``: seconds for the broker. Raises NotDurable."""
        ...


@dataclass(frozen=True, slots=True)
class Counter:
    """A source as its Queries see it.

    Attributes:
        tokens: the secret path segments that are valid now.
        allow: networks that may call; empty means any.
        queries: the resolver of each Query, by its name.
        interactive: what reads its requests.
    """

    source: str
    tokens: tuple[str, ...]
    allow: tuple[Network, ...]
    queries: Mapping[str, str]
    interactive: Interactive


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a Query came to."""

    reply: Reply
    outcome: Outcome
    resolution: Resolution | None = None


class Queries:
    """The handler of Queries. One instance for each process."""

    def __init__(
        self,
        counters: Mapping[str, Counter],
        desk: Desk,
        publisher: Publisher,
        *,
        most: int,
        hands: Hands | None = None,
        trusted_proxies: Sequence[Network] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Args: most: Queries in hand at once; one more is told so, and not kept waiting."""
        self._counters, self._desk, self._publisher, self._most = counters, desk, publisher, most
        self._hands = hands or Hands()
        self._addresses = Addresses(trusted_proxies)
        self._clock = clock
        self._now = asyncio.get_running_loop().time
        self._asking = 0
        self._turnstiles = {name: Turnstile(places, self._now) for name, places in desk.places().items()}
        self._takes: dict[str, float] = {}  # seconds that each resolver has taken for an answer lately
        self._telling: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The one route."""
        return [web.post("/queries/{source}/{token}{end:/?}", self.query)]

    async def close(self) -> None:
        """Waits for events that were late; whoever is still resolving has been answered by now."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=_PATIENCE)

    async def query(self, request: web.Request) -> web.Response:
        """Answers one Query."""
        began = arrived_at(request)
        counter = self._counters.get(request.match_info["source"])
        with self._hands.holding():
            response = await self._answer(request, counter, began)
        if self._hands.draining:
            response.force_close()
        metrics.query_seconds.labels(counter.source if counter else "unknown").observe(self._now() - began)
        return response

    async def _answer(self, request: web.Request, counter: Counter | None, began: float) -> web.Response:
        body = await whole(request)
        if not _known(counter, request.match_info["token"]) or counter is None:
            metrics.queries.labels(counter.source if counter else "unknown", "refused").inc()
            return refuse(401, "unknown source or wrong token")
        received_at = self._clock()
        heard = self._heard(counter, request, body)
        resolver = counter.queries.get(heard.question.query, "") if heard.question else ""
        with ExitStack() as place:
            answered = await self._answered(resolver, heard, began, place)
            milliseconds = (self._now() - began) * 1000
            event = _event(
                counter,
                heard,
                answered,
                received_at=received_at,
                milliseconds=milliseconds,
                traceparent=trace(request.headers),
            )
            ahead = place.enter_context(self._turnstiles[resolver].ending()) if resolver else 0.0
            until = self._answer_by(resolver, began)
            # In a crowd the broker's confirm waits for its turn like everything else; an outbox makes the crowd larger.
            bound = max(_BOUND + ahead, (until - self._now()) / 2) if ahead else _BOUND
            await self._tell(event, until, bound)
        self._note(counter, heard, answered, milliseconds)
        response = web.Response(
            body=written(answered.reply, heard.form),
            headers={"Content-Type": CONTENT_TYPES[heard.form], "Cache-Control": "no-store"},
        )
        if isinstance(body, Unread):
            response.force_close()  # the rest may still come
        return response

    def _heard(self, counter: Counter, request: web.Request, body: bytes | Unread) -> Heard:
        """What was asked; of what was not read, or came from elsewhere, nothing but the form of its answer."""
        if isinstance(body, Unread):
            return counter.interactive.unheard(body.begun, Unusable("undecodable", body.detail))
        heard = _heard(counter, body, request.headers.get("Content-Type", ""))
        if not self._addresses.allowed(counter.allow, request):
            return replace(heard, question=None, problem=Unusable("address", "this address may not call this source"))
        return heard

    # --- the answer --------------------------------------------------------------------------------------------------

    async def _answered(self, resolver: str, heard: Heard, began: float, place: ExitStack) -> _Answered:
        """What a Query comes to; ``place`` has what it takes of the resolver's until its answer leaves."""
        if heard.question is None:
            return _failed("unusable")
        if not resolver:
            return _failed("unconfigured")
        wait = self._desk.wait(resolver)
        until = began + wait - margin(wait)
        if self._asking >= self._most:
            return _failed("full", Resolution(None, resolver))
        entered = await self._entered(resolver, until, place)
        asked_at = self._now()
        # Without time for anybody who needs some, there are still the cache and the tables.
        resolution = await self._desk.resolve(resolver, heard.question, until if entered else asked_at)
        if resolution.reply is None:
            return _failed("unresolved" if entered else "full", resolution)
        if entered:
            self._learn(resolver, self._now() - asked_at)
        outcome: Outcome = "answered" if resolution.reply.result == FINE else "declined"
        return _Answered(resolution.reply, outcome, resolution)

    async def _entered(self, resolver: str, until: float, place: ExitStack) -> bool:
        """Whether it had its turn at a resolver; False where so many are before it that there is no time for it."""
        self._asking += 1
        self._hands.on_the_line = self._asking
        place.callback(self._left)
        turnstile = self._turnstiles[resolver]
        entered = await turnstile.enter(until, self._takes.get(resolver, 0.0))
        if entered:
            place.callback(turnstile.leave)
        return entered

    def _left(self) -> None:
        self._asking -= 1
        self._hands.on_the_line = self._asking

    def _learn(self, resolver: str, took: float) -> None:
        before = self._takes.setdefault(resolver, took)
        self._takes[resolver] = before + _LEARNT * (took - before)

    # --- the event ---------------------------------------------------------------------------------------------------

    def _answer_by(self, resolver: str, began: float) -> float:
        """When the answer has to leave, whatever has become of the event."""
        if not resolver:
            return self._now() + _AT_ONCE
        wait = self._desk.wait(resolver)
        return began + wait - margin(wait) / 2

    async def _tell(self, event: Event, until: float, bound: float) -> None:
        """Makes the event durable before the answer; a disk or a broker that takes too long does not keep the caller.

        Then the event is on its way all the same, and an event that nobody could take is never lost in silence.
        """
        task = asyncio.create_task(self._publisher.publish([to_message(event)], bound=bound), name="query event")
        self._telling.add(task)
        task.add_done_callback(self._told)
        await asyncio.wait((task,), timeout=max(_LEAST_MARGIN / 2, until - self._now()))
        if not task.done():
            metrics.query_events_late.inc()
            _log.warning("query.event_late", event_id=event.id, source=event.source)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        error = NotDurable("the process ended") if task.cancelled() else task.exception()
        if error is not None:
            metrics.query_events_lost.inc()
            _log.error("query.event_lost", reason=str(error) or repr(error))

    def _note(self, counter: Counter, heard: Heard, answered: _Answered, milliseconds: float) -> None:
        metrics.queries.labels(counter.source, answered.outcome).inc()
        resolution, question = answered.resolution, heard.question
        said: dict[str, Any] = {
            "source": counter.source,
            "query": heard.query[:80],
            "outcome": answered.outcome,
            "result": answered.reply.result,
            "milliseconds": round(milliseconds, 1),
            "call_id": question.call_id if question else None,
            "caller": (question.caller or {}).get("number") if question else None,
            "resolver": resolution.resolver if resolution else None,
            "variables": sorted(answered.reply.variables),
        }
        if resolution is not None and resolution.tried:
            said["tried"] = [f"{name}: {why.reason}: {why}" for name, why in resolution.tried]
        if answered.outcome in {"answered", "declined"}:
            _log.info("query.answered", **said)
        else:
            _log.warning("query.failed", **said, reason=str(heard.problem) if heard.problem else None)


def margin(wait: float) -> float:
    """Seconds of the vendor's wait that are not the resolver's: for the event, the answer, and the way there.

    A tenth, but at least 50 ms and at most a quarter of a second; of a wait that short, half.
    """
    return min(_MOST_MARGIN, max(_LEAST_MARGIN, _TENTH * wait), wait / 2)


def _failed(outcome: Outcome, resolution: Resolution | None = None) -> _Answered:
    return _Answered(Reply({}, FAILED, _TEXTS[outcome]), outcome, resolution)


def _known(counter: Counter | None, token: str) -> bool:
    """Whether the token is one of the source's; an unknown source takes the time of a wrong token."""
    return proved(counter.tokens if counter else (), token)


def _heard(counter: Counter, body: bytes, content_type: str) -> Heard:
    try:
        return counter.interactive.hear(body, content_type)
    except Exception:  # noqa: BLE001
        # A defect of ours must not leave a caller without an answer: the script has an action for that.
        _log.exception("query.reader_failed", source=counter.source)
        return Heard("xml" if b"<" in body else "json", None, Unusable("undecodable", "the reader failed"))


def _event(
    counter: Counter,
    heard: Heard,
    answered: _Answered,
    *,
    received_at: datetime,
    milliseconds: float,
    traceparent: str,
) -> Event:
    """``query.infocaller.answered``. Each Query is one for itself: a script may ask the same thing twice in a call."""
    question, resolution = heard.question or Question("", "", counter.source), answered.resolution
    tried = resolution.tried if resolution else ()
    data = {
        "call_id": question.call_id,  # not of a request that nobody has proved
        "vendor": "infocaller",
        "source": counter.source,
        "event": "answered",
        "received_at": timestamp(received_at),
        "query": heard.query,
        "resolver": resolution.resolver if resolution else None,
        "result": answered.reply.result,
        "text": answered.reply.text,
        "outcome": answered.outcome,
        "reason": heard.problem.reason if heard.problem else None,
        "tried": [{"resolver": name, "reason": why.reason} for name, why in tried],
        "milliseconds": round(milliseconds, 1),
        "caller": question.caller,
        "line": question.line,
        "asked": question.variables,
        "answered": answered.reply.variables,
    }
    kept = {name: value for name, value in data.items() if value not in (None, "", [])}
    return Event(
        id=identity("query", counter.source, question.call_id, f"{getrandbits(128):032x}"),
        noun="query",
        vendor="infocaller",
        verb="answered",
        source=counter.source,
        time=received_at,
        data=kept,
        subject=question.call_id or None,
        traceparent=traceparent,
    )
