"""One destination at work: claims what is due there, as much as it bears, and says what came of it.

Each has a lane, a loop and claims of its own; what they share is the store. One that hangs holds up its own work alone.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import orjson
import structlog

from hub import failpoints, retry
from hub.bus.patterns import matches
from hub.config import AnyDestination
from hub.configured import secrets_in
from hub.custody.links import Links
from hub.errors import Expired, Gone, NotYet, StoreUnavailable, TrunklineError
from hub.events import Event
from hub.forwarding.wanting import Where, binding
from hub.outgoing import Closed, Opened, Outgoing
from hub.ports.forwarding import Again, Done, GivenUp, Going, Outcome, Tried, Work
from workers.crm.clerk import Together
from workers.crm.kinds import KINDS, Around, keeps_calls
from workers.crm.listening import CrmStore
from workers.crm.visit import Lost, Visit, lease

_IDLE: Final = 1.0  # seconds until another look: another process may have taken what is due here
_AFTER_FAILURE: Final = 1.0
_AHEAD: Final = 3  # times as many are claimed as it bears at once, so that the next are at hand
_LOCKED_OUT: Final = 30.0  # seconds, where it does not know us: people have to do something
_STRANGERS: Final = 5  # answers in a row, where requests prove themselves, after which it is not this or that one
_log = structlog.get_logger("crm")


class Wish:
    """What a destination wants of the events that come by. Pure."""

    def __init__(self, name: str, settings: AnyDestination) -> None:
        self._name = name
        self.bindings = tuple(dict.fromkeys(map(binding, settings.events)))
        self._calls = keeps_calls(settings)
        # A CRM is brought to the call's record, so its filter is over that, and asked when the record is at hand.
        self._where = Where({} if self._calls else settings.where)

    def takes(self, routing_key: str) -> bool:
        """Whether it is bound to such events."""
        return any(matches(pattern, routing_key) for pattern in self.bindings)

    def going(self, event: Event) -> Going | None:
        """Where the event goes; None where it does not."""
        if not self.takes(event.routing_key) or not self._where(event.data):
            return None
        if not self._calls:
            return Going(self._name, event.id)
        call_id = event.subject or event.data.get("call_id")
        return Going(self._name, call_id) if isinstance(call_id, str) and call_id else None


class Destination:
    """``run`` until ``stop``."""

    def __init__(
        self,
        name: str,
        settings: AnyDestination,
        store: CrmStore,
        clock: Callable[[], datetime],
        *,
        links: Links | None = None,
    ) -> None:
        """Args: links: sign links to audio, for who is told of it."""
        self.name, self.settings = name, settings
        self.wish = Wish(name, settings)
        self._store, self._clock, self._links = store, clock, links
        self._strangers = 0  # answers in a row that said that nobody knows us there
        self._in_hand: set[asyncio.Task[None]] = set()
        self._due, self._room = asyncio.Event(), asyncio.Event()
        self._stopping = asyncio.Event()
        self._news: asyncio.Queue[Opened | Closed] = asyncio.Queue()
        self._proven = False
        self._places = asyncio.Semaphore(settings.concurrency)
        self._lease = lease(settings.timeout)
        self._extend = Together(self._extended)
        self._conclude = Together(self._concluded)

    def wake(self) -> None:
        """Something may be due."""
        self._due.set()

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand and return."""
        self._stopping.set()
        self._due.set()
        self._room.set()

    async def run(self, outgoing: Outgoing) -> None:
        """Works; what is in hand at the end is finished, within the time that its requests may take."""
        settings, lane_name = self.settings, f"crm.{self.name}"
        self._lane = outgoing.lane(
            lane_name,
            rate=settings.rate,
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            on_change=self._news.put_nowait,
        )
        around = Around(
            self._store,
            self._links,
            door=lambda: outgoing.lane(f"{lane_name}.token", rate=10, concurrency=1, timeout=settings.timeout),
            sealed=lambda vendor: self.wish.takes(f"call.{vendor}.sealed"),
        )
        self._kind = KINDS[settings.kind](settings, around)
        telling = asyncio.create_task(self._tell_news(), name=f"{lane_name} news")
        try:
            while not self._stopping.is_set() and not await self._patiently(self._meet):
                pass
            while not self._stopping.is_set():
                await self._patiently(self._round)
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=2 * settings.timeout)
        finally:
            for task in (telling, *self._in_hand):
                task.cancel()
            await asyncio.gather(telling, *self._in_hand, return_exceptions=True)

    # --- claiming ----------------------------------------------------------------------------------------------------

    async def _meet(self) -> None:
        await self._store.forwarding.meet(self.name, self.settings.kind, fingerprint(self.settings), self._clock())

    async def _round(self) -> None:
        """Claims what there is room for, or waits until there is something."""
        room = await self._bears()
        if self._stopping.is_set() or room <= 0:
            return
        self._due.clear()
        began = monotonic()
        claim = token_hex(8)
        works = await self._store.forwarding.claim_work(self.name, claim, self._clock(), room, self._lease)
        for work in works:
            task = asyncio.create_task(self._deal_with(work, began), name=f"{self.name} {work.key}")
            self._in_hand.add(task)
            task.add_done_callback(self._dealt_with)
        if not works:
            await self._first(self._due, await self._until_due())

    async def _bears(self) -> int:
        """How many more, once fewer are ready than it bears at once: a claim is a transaction, and for many."""
        most = _AHEAD * self.settings.concurrency
        while not self._stopping.is_set():
            free = most - len(self._in_hand)
            if free >= self.settings.concurrency:
                waiting = asyncio.ensure_future(self._lane.room())
                stopping = asyncio.ensure_future(self._stopping.wait())
                try:
                    await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
                    calm = self._lane.state().standing == "closed"
                    return (free if calm else 1) if waiting.done() else 0
                finally:
                    waiting.cancel()
                    stopping.cancel()
            self._room.clear()
            await self._room.wait()
        return 0

    async def _until_due(self) -> float:
        due = await self._store.forwarding.next_work(self.name)
        if due is None:
            return _IDLE
        return min(_IDLE, max(0.02, (due - self._clock()).total_seconds()))

    def _dealt_with(self, task: "asyncio.Task[None]") -> None:
        self._in_hand.discard(task)
        self._room.set()
        self._due.set()  # it may be due again, and nothing else says so
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("crm.defect", destination=self.name, error=repr(error)[:500])

    # --- one piece of work -------------------------------------------------------------------------------------------

    async def _deal_with(self, work: Work, claimed_at: float) -> None:
        """Does it, and writes down what came of it; while the store is away that is kept in mind."""
        visit = Visit(
            work,
            claimed_at,
            lane=self._lane,
            timeout=self.settings.timeout,
            extend=self._extend,
            clock=self._clock,
            scheme=self._kind.scheme,
            credentials=self._kind.credentials,
        )
        try:
            outcome = await self._done(visit)
        except Lost:
            outcome = None
        except StoreUnavailable as error:
            _log.warning("crm.waiting", destination=self.name, reason=str(error))
            outcome = None if visit.remote_id == work.remote_id else self._later(visit, error, counted=False)
        except Exception as error:  # noqa: BLE001  planned by its name, like any delivery's
            outcome = await self._failed(visit, error)
        self._log_attempt(visit, outcome)
        while True:
            try:
                await self._conclude((outcome, visit.tried))
            except StoreUnavailable as error:
                if self._stopping.is_set():
                    return
                _log.warning("crm.waiting", destination=self.name, reason=str(error))
                await self._first(self._stopping, _AFTER_FAILURE)
                continue
            failpoints.hit("crm.after_effect")
            if isinstance(outcome, Done):
                self._strangers = 0
                self._prove()
            return

    def _prove(self) -> None:
        """The first success of this process: a breaker that a killed one left open in the store is closed."""
        if not self._proven:
            self._proven = True
            self._news.put_nowait(Closed(self.name, self._clock(), self._clock()))

    async def _done(self, visit: Visit) -> Outcome | None:
        """What comes of it, when it is its turn; at the end of this process, that somebody else may have it."""
        async with self._places:
            if self._stopping.is_set():
                return Again(visit.work, self._clock(), "the process ended", counted=False)
            return await self._kind.doer.do(visit, self._clock())

    async def _failed(self, visit: Visit, error: Exception) -> Outcome:
        """What happens next with work that failed."""
        now = self._clock()
        match error:
            case NotYet():
                return self._later(visit, error, counted=False, after=error.after)
            case Expired() if self._kind.credentials is not None:
                self._lane.trip(str(error))
                return self._later(visit, error, counted=False, after=_LOCKED_OUT)
            case Expired():  # it was of this request: one that is never let in must not stop the others
                self._strangers += 1
                if self._strangers >= _STRANGERS:
                    self._lane.trip(str(error))
            case Gone():
                await self._disable(str(error))
                return self._later(visit, error, counted=False)
            case TrunklineError():
                pass
            case _:
                _log.exception("crm.unexpected", destination=self.name, key=visit.work.key, exc_info=error)
        plan = retry.plan(error, visit.work.attempt, now, random.random())  # noqa: S311  jitter
        match plan.next:
            case retry.Next.DEAD:
                return GivenUp(visit.work, plan.reason, nothing=self._nothing(visit))
            case retry.Next.RETRY:
                return self._later(visit, error, counted=True, after=plan.after, reason=plan.reason)
            case retry.Next.SNOOZE:
                spread = random.uniform(0, 1)  # noqa: S311  they must not all come back at once
                return self._later(visit, error, counted=False, after=plan.after + spread, reason=plan.reason)

    def _later(
        self, visit: Visit, error: Exception, *, counted: bool, after: float = 0.0, reason: str | None = None
    ) -> Again:
        known = visit.remote_id if visit.remote_id != visit.work.remote_id else None
        return Again(
            visit.work,
            self._clock() + timedelta(seconds=after),
            reason or retry.describe(error),
            counted=counted,
            nothing=self._nothing(visit),
            remote_id=known,
        )

    @staticmethod
    def _nothing(visit: Visit) -> bool:
        """Whether we meant to make the record, and certainly did not."""
        return visit.intended and not visit.making

    async def _disable(self, reason: str) -> None:
        with contextlib.suppress(StoreUnavailable):  # the next who is told so does it
            if await self._store.forwarding.disable(self.name, self.settings.kind, reason, self._clock()):
                _log.error("crm.disabled", destination=self.name, reason=reason)

    def _log_attempt(self, visit: Visit, outcome: Outcome | None) -> None:
        known: dict[str, Any] = {
            "destination": self.name,
            "key": visit.work.key,
            "attempt": visit.work.attempt,
            "requests": len(visit.tried),
            "seconds": round(sum(one.seconds for one in visit.tried), 3),
        }
        match outcome:
            case None:
                _log.warning("crm.claim_lost", **known)
            case Done():
                _log.debug("crm.done", **known)
            case Again(counted=False):
                _log.debug("crm.postponed", **known, until=outcome.at.isoformat(), reason=outcome.reason)
            case Again():
                _log.warning("crm.failed", **known, until=outcome.at.isoformat(), reason=outcome.reason)
            case GivenUp():
                _log.error("crm.given_up", **known, reason=outcome.reason)

    # --- the store ---------------------------------------------------------------------------------------------------

    async def _extended(self, items: Sequence[tuple[Work, bool]]) -> list[bool]:
        found: dict[tuple[str, str], bool] = {}  # by claim: of one that was over we may have the next
        for intent in (False, True):
            works = [work for work, meant in items if meant is intent]
            if works:
                mine = await self._store.forwarding.extend(works, self._clock(), self._lease, intent=intent)
                found |= {(work.key, work.claim): ours for work, ours in zip(works, mine, strict=True)}
        return [found[work.key, work.claim] for work, _ in items]

    async def _concluded(self, items: Sequence[tuple[Outcome | None, Sequence[Tried]]]) -> list[None]:
        outcomes = [outcome for outcome, _ in items if outcome is not None]
        tried = [one for _, some in items for one in some]
        await self._store.forwarding.conclude(outcomes, tried, self._clock())
        return [None] * len(items)

    async def _tell_news(self) -> None:
        """Tells the store how the breaker is, in the order of its changes."""
        while True:
            news = await self._news.get()
            while True:
                try:
                    await self._tell(news)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(_AFTER_FAILURE)

    async def _tell(self, news: Opened | Closed) -> None:
        tell, kind = self._store.forwarding.tell_breaker, self.settings.kind
        if isinstance(news, Opened):
            await tell(self.name, kind, "open", news.reason, news.until, news.at)
        else:
            await tell(self.name, kind, "closed", "", None, news.at)

    # --- patience ----------------------------------------------------------------------------------------------------

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Whether the store was there for it; else a moment has passed."""
        try:
            await step()
        except StoreUnavailable as error:
            _log.warning("crm.waiting", destination=self.name, reason=str(error))
            await self._first(self._stopping, _AFTER_FAILURE)
            return False
        return True

    @staticmethod
    async def _first(event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


def fingerprint(settings: AnyDestination) -> str:
    """Of a configuration, its secrets too: another one is another chance for what was disabled."""
    public = settings.model_dump_json()
    return sha256(orjson.dumps([public, *secrets_in(settings)])).hexdigest()[:32]


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)
