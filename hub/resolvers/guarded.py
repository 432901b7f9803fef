"""A resolver with what keeps it from hurting a caller: a limit of time, a breaker, a limit of number, a cache."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from hub import metrics
from hub.config import AnyResolver, HttpResolver, TableResolver
from hub.errors import Unresolved
from hub.outgoing.breaker import Breaker
from hub.questions import FINE, Question, Reply, Resolver, checked

MOST: Final = 1000
"""Questions that one resolver may have in hand; more are for its fallback at once."""

PROBE_EVERY: Final = 5.0
"""Seconds between two questions to a resolver whose breaker is open: a caller each."""

_PLACES: Final = 64  # at least: an answer's event takes longer than a quick resolver
_REMEMBERED: Final = 10_000  # replies
_GOOD: Final = frozenset({"none", "invalid"})  # it is there, whatever it says
_log = structlog.get_logger("resolver")


class Guarded:
    """One configured resolver as the desk asks it.

    Attributes:
        name: of the resolver.
        fallback: the name of the next one; None where it is the last.
        wait: seconds that it may have.
        instant: it takes no time, so none is kept for it.
        places: how many may be asking it, or be on their way from it, at once.
    """

    def __init__(self, name: str, configured: AnyResolver, resolver: Resolver, clock: Callable[[], float]) -> None:
        """Opens nothing. ``clock``: monotonic."""
        self.name, self.fallback, self.wait = name, configured.fallback, configured.wait
        self.instant = isinstance(configured, TableResolver)
        self.places = min(MOST, max(_PLACES, 2 * getattr(configured, "concurrency", MOST)))
        self._resolver, self._clock = resolver, clock
        self._running: set[asyncio.Task[Reply]] = set()
        self._lifetime = configured.cache
        self._replies: OrderedDict[tuple[object, ...], tuple[float, Reply]] = OrderedDict()
        has_one = self.instant or isinstance(configured, HttpResolver)  # or does not need one
        self._breaker = None if has_one else Breaker(clock(), probe_every=PROBE_EVERY, together=MOST)

    async def open(self) -> None:
        """Prepares."""
        await self._resolver.open()

    async def ask(self, question: Question, within: float) -> Reply:
        """A reply that the vendor can read, within so many seconds. Raises Unresolved."""
        began = self._clock()
        outcome = "answered"
        try:
            remembered = self._remembered(question, began)
            if remembered is not None:
                outcome = "cached"
                return remembered
            reply = checked(await self._within(question, within))
            self._remember(question, reply, self._clock())
        except Unresolved as unresolved:
            outcome = unresolved.reason
            raise
        else:
            return reply
        finally:
            metrics.resolver_answers.labels(self.name, outcome).inc()
            metrics.resolver_seconds.labels(self.name).observe(self._clock() - began)

    async def close(self) -> None:
        """Gives up what is under way."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=PROBE_EVERY)
        await self._resolver.close()

    # --- time and number ---------------------------------------------------------------------------------------------

    async def _within(self, question: Question, within: float) -> Reply:
        """Asks in a task that may outlive the wait: what does not end when it is told to must not keep a caller."""
        if self.instant:
            return await self._resolver.resolve(question, within)
        if within <= 0:
            raise Unresolved("late", "no time was left for it")
        if len(self._running) >= MOST:
            raise Unresolved("full", f"it has {MOST} questions in hand")
        probe = self._may_pass()
        task = asyncio.create_task(self._resolver.resolve(question, within), name=f"resolver {self.name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait((task,), timeout=within)
        except asyncio.CancelledError:
            task.cancel()
            if self._breaker is not None:
                self._breaker.left(self._clock(), probe=probe)
            raise
        try:
            return self._ended(task, within)
        except Unresolved as unresolved:
            self._tell(good=unresolved.reason in _GOOD, probe=probe, why=str(unresolved))
            raise
        finally:
            if task.done() and not task.cancelled() and task.exception() is None:
                self._tell(good=True, probe=probe)

    def _ended(self, task: "asyncio.Task[Reply]", within: float) -> Reply:
        if not task.done():
            task.cancel()
            task.add_done_callback(_looked_at)
            raise Unresolved("late", f"no answer within {within:.3f} s")
        try:
            return task.result()
        except Unresolved:
            raise
        except asyncio.CancelledError:
            raise Unresolved("failed", "it was closed") from None
        except Exception as defect:
            _log.exception("resolver.crashed", resolver=self.name)
            raise Unresolved("failed", f"a defect: {type(defect).__name__}") from defect

    # --- the breaker -------------------------------------------------------------------------------------------------

    def _may_pass(self) -> bool:
        """Whether this question is a probe. Raises Unresolved while the breaker is open."""
        if self._breaker is None:
            return False
        now = self._clock()
        if self._breaker.until(now) is not None:
            raise Unresolved("open", "it was failing; another question is tried in a moment")
        return self._breaker.enter(now)

    def _tell(self, *, good: bool, probe: bool, why: str = "") -> None:
        if self._breaker is None:
            return
        change = self._breaker.tell("good" if good else "bad", self._clock(), probe=probe)
        if change == "opened":
            _log.warning("resolver.opened", resolver=self.name, reason=why)
        elif change == "closed":
            _log.info("resolver.closed", resolver=self.name)

    # --- the cache ---------------------------------------------------------------------------------------------------

    def _remembered(self, question: Question, now: float) -> Reply | None:
        if not self._lifetime:
            return None
        until, reply = self._replies.get(_key(question), (now, None))
        return reply if now < until else None

    def _remember(self, question: Question, reply: Reply, now: float) -> None:
        """Keeps what let the script go on; an error of a moment ago is no answer for the next caller."""
        if not self._lifetime or reply.result != FINE:
            return
        key = _key(question)
        self._replies[key] = (now + self._lifetime, reply)
        self._replies.move_to_end(key)
        if len(self._replies) > _REMEMBERED:
            self._replies.popitem(last=False)


def _key(question: Question) -> tuple[object, ...]:
    """All that was asked, but which call it is."""
    parties = ((party or {}).get("number") for party in (question.caller, question.line))
    return (question.query, question.source, *parties, *sorted(question.variables.items()))


def _looked_at(task: "asyncio.Task[Reply]") -> None:
    if not task.cancelled():
        task.exception()
