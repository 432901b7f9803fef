"""A lane: everything that limits what we ask of one system."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

import structlog
from yarl import URL

from hub import metrics
from hub.errors import LaneClosed, Later, NotSent, NoTurn, RateLimited, TrunklineError
from hub.logs import clean_text
from hub.outgoing.answers import verdict, word
from hub.outgoing.breaker import Breaker, Change, Sign
from hub.outgoing.messages import Answer, Request
from hub.outgoing.redaction import shown_url
from hub.outgoing.states import Closed, LaneState, OnChange, Opened, Verdict
from hub.outgoing.streams import Patience, Streamed, follow
from hub.outgoing.tempo import Tempo
from hub.outgoing.turns import Turns
from hub.outgoing.wire import Wire

log = structlog.get_logger("outgoing")

_BUSY: Final = 503
_SIGNS: Final[dict[Verdict, Sign]] = {
    "done": "good",
    "limited": "good",  # it is there, and has its wits about it
    "refused": "good",
    "gone": "good",
    "expired": "none",  # its own door may answer for a house that is down
    "later": "bad",
    "doubtful": "bad",
    "not_sent": "bad",
}
_QUIET: Final = frozenset({"done", "closed"})  # the one is well, the other was said once
_LONGEST_WAIT: Final = 1.0  # seconds between two looks for room
_SHORTEST_WAIT: Final = 0.02  # a probe may take longer than until the next one is due: that is then, and not yet


class Lane:
    """One neighbour: its rate, its concurrency, its breaker, its connections. Made by ``Outgoing.lane``.

    Attributes:
        name: in logs and metrics, ``crm.acme``.
    """

    def __init__(
        self,
        name: str,
        wire: Wire,
        tempo: Tempo,
        *,
        rate: float,
        concurrency: int,
        timeout: float,
        on_change: OnChange | None,
    ) -> None:
        """Opens nothing yet."""
        self.name = name
        self._wire, self._tempo, self._timeout = wire, tempo, timeout
        self._turns = Turns(rate, concurrency, tempo)
        self._breaker = Breaker(monotonic(), probe_every=tempo.probe_every, together=concurrency)
        self._on_change: Callable[[Opened | Closed], None] = on_change or (lambda _: None)
        self._counts: Counter[str] = Counter()
        self._last_error: tuple[str, datetime] | None = None
        self._closed = False
        self._open, self._limit = metrics.outgoing_open.labels(name), metrics.outgoing_limit.labels(name)
        self._in_flight, self._seconds = metrics.outgoing_in_flight.labels(name), metrics.outgoing_seconds.labels(name)
        self._show()

    async def ask(self, request: Request, *, within: float | None = None, before: float | None = None) -> Answer:
        """Sends a request when it is its turn, and reads the answer; no redirect is followed, no cookie kept.

        Takes at most ``within`` seconds waiting for its turn, and as many again for the request.

        Args:
            request: what to send.
            within: seconds in all, instead of the lane's ``timeout``.
            before: of the monotonic clock: it is not sent after that, when whoever asks has no claim to it any more.

        Raises:
            Forbidden: the guard refuses the address. Permanent.
            NotSent: certainly nothing was done.
            LaneClosed: a ``NotSent``: the breaker is open, or the other side asked for a pause.
            NoTurn: a ``NotSent``: its turn did not come in time.
            Doubtful: sent, and no whole answer.
        """
        seconds = within or self._timeout
        async with self._turn(request, seconds, before) as turn:
            answer = await self._wire.ask(request, turn.url, seconds)
            turn.answered(answer)
        return answer

    @asynccontextmanager
    async def stream(
        self,
        request: Request,
        *,
        redirects: int = 3,
        total: float = 3600.0,
        read: float = 10.0,
        slowest: int = 512,
        before: float | None = None,
    ) -> AsyncIterator[Streamed]:
        """Asks for something long. Holds one of the lane's places until the context ends.

        Redirects (GET and HEAD only) are followed, each one guarded anew; from https to http never; to another host,
        port or scheme without ``Authorization``, cookies and every header that is not known to be harmless. Put
        ``Range``, ``If-Range``, ``If-None-Match`` into the request's headers.

        Args:
            request: what to send.
            redirects: how many to follow; one more is ``Refused``. With 0, a redirect is an answer like any other.
            total: seconds for all of it.
            read: seconds without a byte.
            slowest: bytes a second, over the last 30 s of waiting for them; what is slower is given up.
            before: of the monotonic clock: it is not sent after that.

        Raises:
            As ``ask``, on entering; ``Refused`` for redirects that are too many or lead from https to http.
        """
        patience = Patience(self._timeout, total, read, slowest, self._tempo.slow_window)
        async with self._turn(request, self._timeout, before) as turn:
            streamed = await follow(self._wire, request, turn.url, redirects, patience)
            turn.answered(Answer(streamed.status, streamed.headers))
            try:
                yield streamed
            finally:
                streamed.close()
                if streamed.problem is not None:
                    turn.broke(streamed.problem)

    async def room(self) -> int:
        """Waits until a request could be sent at once; returns how many could, at least 1.

        For whoever claims work: claim so many, so that nothing waits under a lease. Not a reservation.
        """
        while not (free := self.free()):
            until = self._breaker.until(monotonic())
            wait = _LONGEST_WAIT if until is None else until - monotonic()
            await self._turns.news(max(_SHORTEST_WAIT, min(_LONGEST_WAIT, wait, 1 / self._turns.rate.value)))
        return free

    def free(self) -> int:
        """How many requests could be sent now: 0 while the breaker is open or the other side wants a pause."""
        if self._closed or self._breaker.until(monotonic()) is not None:
            return 0
        return min(self._turns.free(), 1) if self._breaker.standing != "closed" else self._turns.free()

    def trip(self, reason: str) -> None:
        """Opens the breaker by the caller's judgement: fresh credentials that are not accepted, answers of nonsense."""
        self._note(reason)
        self._tell_of(self._breaker.trip(monotonic()))

    def state(self) -> LaneState:
        """How it is now, for people."""
        now = monotonic()
        until = self._breaker.until(now)
        error, at = self._last_error or (None, None)
        return LaneState(
            name=self.name,
            standing=self._breaker.standing,
            since=_wall(self._breaker.since),
            until=None if until is None else _wall(until),
            limit=self._turns.limit,
            concurrency=int(self._turns.places.ceiling),
            rate=self._turns.rate.value,
            in_flight=self._turns.in_flight,
            last_error=error,
            last_error_at=at,
            counts=dict(self._counts),
        )

    def change(self, *, rate: float, concurrency: int, timeout: float) -> None:
        """Other limits from now on."""
        self._timeout = timeout
        self._breaker.together = concurrency
        self._turns.change(rate, concurrency)
        self._show()

    async def close(self) -> None:
        """Ends what is on its way, closes the connections; whoever asks later is told ``NotSent``."""
        self._closed = True
        await self._wire.close()
        self._turns.wake()

    @asynccontextmanager
    async def _turn(self, request: Request, within: float, before: float | None = None) -> AsyncIterator["_Turn"]:
        """A request's turn; every one that is asked for is counted and logged once, whatever becomes of it."""
        turn = _Turn(self)
        try:
            turn.url = self._wire.check(request)
            self._may_pass()
            await self._waited(within)
            try:
                self._may_pass()
                if before is not None and monotonic() > before:
                    raise NoTurn("its turn came too late")
                turn.begin()
                yield turn
            finally:
                self._turns.give()
        except TrunklineError as problem:
            turn.failed(problem)
            raise
        finally:
            turn.end()
            self._asked(request, turn)

    def _may_pass(self) -> None:
        if self._closed:
            raise NotSent(f"{self.name} is closed")
        until = self._breaker.until(monotonic())
        if until is not None:
            why = "the other side asked for a pause" if self._breaker.paused else "the other side was failing"
            raise LaneClosed(_wall(until), f"{why}; not asked before {_wall(until):%H:%M:%S} UTC")

    async def _waited(self, within: float) -> None:
        if self._turns.at_once():
            await self._turns.take()
            return
        try:
            async with asyncio.timeout(within):
                await self._turns.take()
        except TimeoutError:
            raise NoTurn(f"its turn did not come within {within:g} s") from None

    def _judged(self, turn: "_Turn", problem: TrunklineError | None) -> None:
        """What the end of a request says of the other side."""
        now = monotonic()
        name = word(problem)
        if isinstance(problem, RateLimited | Later) and problem.until is not None:
            wish = (problem.until - datetime.now(UTC)).total_seconds()
            if wish > 0:
                self._breaker.pause(now + wish)
        sign = _SIGNS.get(name, "none")
        busy = isinstance(problem, Later) and problem.status == _BUSY
        if problem is not None and name not in {"refused", "forbidden", "closed"}:
            self._note(str(problem))
        self._tell_of(self._breaker.tell("busy" if busy else sign, now, probe=turn.probe))

    def _note(self, error: str) -> None:
        self._last_error = (clean_text(error), datetime.now(UTC))

    def _tell_of(self, change: Change | None) -> None:
        if change is None:
            return
        since, now = _wall(self._breaker.opened_at), datetime.now(UTC)
        self._turns.wake()
        if change == "closed":
            log.info("outgoing.closed", lane=self.name, seconds=round((now - since).total_seconds(), 3))
            said: Opened | Closed = Closed(self.name, now, since)
        else:
            reason = self._last_error[0] if self._last_error else ""
            until = _wall(self._breaker.until(monotonic()) or monotonic())
            log.warning("outgoing.opened", lane=self.name, reason=reason, until=until.isoformat())
            said = Opened(self.name, now, reason, until)
        try:
            self._on_change(said)
        except Exception:
            log.exception("outgoing.listener_failed", lane=self.name)

    def _show(self) -> None:
        self._open.set(self._breaker.standing != "closed")
        self._limit.set(self._turns.limit)
        self._in_flight.set(self._turns.in_flight)

    def _asked(self, request: Request, turn: "_Turn") -> None:
        name = turn.verdict or "cancelled"
        self._counts[name] += 1
        metrics.outgoing.labels(self.name, name).inc()
        if turn.seconds is not None:
            self._seconds.observe(turn.seconds)
        self._show()
        if not log.is_enabled_for(logging.DEBUG if name in _QUIET else logging.INFO):
            return
        line = {
            "lane": self.name,
            "verdict": name,
            "method": request.method,
            "url": shown_url(request.url),
            "status": turn.status,
            "seconds": None if turn.seconds is None else round(turn.seconds, 4),
            "waited": round(turn.waited, 4),
            "bytes_sent": len(request.body or b""),
            "bytes_read": turn.read,
            "probe": turn.probe,
            "limit": self._turns.limit,
            "reason": None if turn.problem is None else clean_text(str(turn.problem)),
            "trace": request.traceparent,
        }
        if name in _QUIET:
            log.debug("outgoing.done", **line)
        else:
            log.info("outgoing.asked", **line)


class _Turn:
    """One request from its wish to its end.

    Attributes:
        url: checked.
        probe: whether the breaker is open, and waits for this one.
        problem: what it ended with.
        verdict: its word; None where it was cancelled, or has not ended.
        status: of the answer.
        read: bytes of the answer's body, where it was read here.
        seconds: since it was sent; None where it was not.
        waited: seconds before that.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._wished_at = monotonic()
        self._sent_at: float | None = None
        self._told = False
        self._busy = False
        self.url = URL()
        self.probe = False
        self.problem: TrunklineError | None = None
        self.verdict: Verdict | None = None
        self.status: int | None = None
        self.read = 0
        self.seconds: float | None = None
        self.waited = 0.0

    def begin(self) -> None:
        """It is sent now."""
        self._sent_at = now = monotonic()
        self.waited = now - self._wished_at
        self.probe = self._lane._breaker.enter(now)  # noqa: SLF001
        self._lane._turns.begin(now)  # noqa: SLF001

    def answered(self, answer: Answer) -> None:
        """An answer is there, or its head."""
        self.status, self.read = answer.status, len(answer.body)
        self._tell(verdict(answer, datetime.now(UTC)))

    def broke(self, problem: TrunklineError) -> None:
        """The body of a download broke off."""
        self._told = False
        self._tell(problem)

    def failed(self, problem: TrunklineError) -> None:
        """It was not sent, or there is no answer; what the caller raises once it has one is the caller's."""
        if not self._told:
            self._tell(problem)

    def end(self) -> None:
        """It gives way to others."""
        now = monotonic()
        if self._sent_at is None:
            self.waited = now - self._wished_at
            return
        self.seconds = now - self._sent_at
        self._lane._turns.end(self.verdict, now, self._sent_at, busy=self._busy)  # noqa: SLF001
        if not self._told:
            self._lane._breaker.left(now, probe=self.probe)  # noqa: SLF001

    def _tell(self, problem: TrunklineError | None) -> None:
        self._told = True
        self.problem, self.verdict = problem, word(problem)
        self._busy = isinstance(problem, Later) and problem.status == _BUSY
        if self._sent_at is not None:
            self._lane._judged(self, problem)  # noqa: SLF001


def _wall(at: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=at - monotonic())
