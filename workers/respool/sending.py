"""One dialer at work: claims what is due, decides, asks, and writes down what came of it."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import count
from math import inf
from time import monotonic
from typing import Final

import structlog

from hub import failpoints, metrics, retry
from hub.errors import Doubtful, Expired, LaneClosed, NotSent, NoTurn, Permanent, RateLimited, StoreUnavailable
from hub.ports.respool import Accepted, Dialer, GivenUp, Order, Outcome, Postponed, RespoolStore, Unknown
from hub.respooling.blocked import Blocked
from hub.respooling.numbers import dialled
from hub.respooling.planning import HELD, Desk, Facts, Refuse, Respool, Send, Verdict, Wait, following
from hub.respooling.rules import Rule

_IDLE: Final = 1.0  # seconds until another look: another process may have taken what is due here
_SHORTEST: Final = 0.02
_AFTER_FAILURE: Final = 1.0
_DECIDING: Final = 15.0  # seconds of a claim until it is decided on
_MARGIN: Final = 5.0
_CERTAIN: Final = (NotSent, RateLimited, Expired)
_log = structlog.get_logger("respool")


class Sender:
    """``run`` until ``stop``.

    Args:
        source: the dialer's name.
        dialer: who is asked.
        rules: by name.
        blocked: a rule's do-not-call list now.
        room: how many more it can be asked for at this moment.
        process: the name of this process.
    """

    def __init__(
        self,
        source: str,
        dialer: Dialer,
        store: RespoolStore,
        *,
        rules: Mapping[str, Rule],
        blocked: Callable[[str], Blocked | None],
        room: Callable[[], int],
        process: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.source = source
        self._dialer, self._store, self._rules = dialer, store, rules
        self._blocked, self._room, self._process, self._clock = blocked, room, process, clock
        self._lease = dialer.longest + _MARGIN
        self._in_hand: set[asyncio.Task[None]] = set()
        self._due, self._stopping = asyncio.Event(), asyncio.Event()
        self._numbers = count(1)

    def wake(self) -> None:
        """Something may be due."""
        self._due.set()

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand and return."""
        self._stopping.set()
        self._due.set()

    async def run(self) -> None:
        """Works; what is in hand at the end is finished."""
        try:
            while not self._stopping.is_set():
                await self._woken(await self._round())
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=self._dialer.longest)
        finally:
            for task in self._in_hand:
                task.cancel()
            await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def _round(self) -> float:
        """Claims what there is room for; returns the seconds until it is worth another look."""
        self._due.clear()
        room = self._room() - len(self._in_hand)
        if room <= 0:
            return _IDLE
        now = self._clock()
        try:
            claim = f"{self._process}.{next(self._numbers)}"
            due = await self._store.respools.claim(self.source, claim, now, room, _DECIDING)
            if not due:
                soonest = await self._store.respools.next_due(self.source)
                wait = _IDLE if soonest is None else (soonest - now).total_seconds()
                return min(max(wait, _SHORTEST), _IDLE)
        except StoreUnavailable as error:
            _log.warning("respool.waiting", dialer=self.source, reason=str(error))
            return _AFTER_FAILURE
        for respool in due:
            task = asyncio.create_task(self._deal_with(respool), name=f"respool {respool.respool_id}")
            self._in_hand.add(task)
            task.add_done_callback(self._dealt_with)
        return 0.0

    def _dealt_with(self, task: "asyncio.Task[None]") -> None:
        self._in_hand.discard(task)
        self._due.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("respool.defect", dialer=self.source, error=repr(error)[:500])

    # --- one attempt -------------------------------------------------------------------------------------------------

    async def _deal_with(self, respool: Respool) -> None:
        """Decides, asks, and writes down what came of it; while the store is away that is kept in mind."""
        rule = self._rules.get(respool.planned.rule)
        failpoints.hit("respool.before_intent")
        try:
            verdict = await self._decided(respool, rule)
        except StoreUnavailable as error:  # nothing was asked; a note of the intent, if any, is found doubtful later
            _log.warning("respool.waiting", dialer=self.source, reason=str(error))
            return
        self._log_verdict(respool, verdict)
        if not isinstance(verdict, Send) or rule is None:
            return
        failpoints.hit("respool.after_intent")
        outcome = await self._asked(respool, rule, verdict)
        self._log_outcome(respool, outcome)
        while True:
            try:
                await self._store.respools.conclude(respool, outcome, self._clock())
            except StoreUnavailable as error:
                _log.warning("respool.waiting", dialer=self.source, reason=str(error))
                await asyncio.sleep(_AFTER_FAILURE)
                continue
            failpoints.hit("respool.after_effect")
            return

    async def _decided(self, respool: Respool, rule: Rule | None) -> Verdict | None:
        planned, now = respool.planned, self._clock()
        desk = Desk(rule, self._blocked(planned.rule))

        def judge(facts: Facts) -> Verdict:
            return desk.judge(planned, facts, now)

        return await self._store.respools.decide(respool, judge, desk.day(planned, now), now, self._lease)

    async def _asked(self, respool: Respool, rule: Rule, send: Send) -> Outcome:
        """What came of asking. Only what is known to have done nothing is tried again."""
        try:
            failpoints.hit("respool.before_request")
            # The request may wait for its turn, and for a session: the window may close meanwhile.
            left = inf if send.until is None else (send.until - self._clock()).total_seconds()
            remote_id = await self._dialer.respool(self._order(respool, rule, send), monotonic() + left)
            failpoints.hit("respool.after_response")
        except _CERTAIN as error:
            return self._again(respool, error)
        except Doubtful as error:
            return Unknown(retry.describe(error))
        except Permanent as error:
            return GivenUp(retry.describe(error))
        except Exception as error:  # noqa: BLE001  a defect, or a hang-up in the midst: what was done is not known
            _log.exception("respool.unexpected", dialer=self.source, respool_id=respool.respool_id)
            return Unknown(retry.describe(error))
        after = following(respool.planned, rule, send.at) if rule.unreported == "go_on" else None
        return Accepted(remote_id, after)

    def _again(self, respool: Respool, error: Exception) -> Outcome:
        now = self._clock()
        plan = retry.plan(error, respool.tries + 1, now, random.random())  # noqa: S311  jitter
        match plan.next:
            case retry.Next.DEAD:
                return GivenUp(plan.reason)
            case _:
                until = now + timedelta(seconds=max(plan.after, _SHORTEST))
                return Postponed(until, plan.reason, counted=not isinstance(error, LaneClosed | NoTurn))

    def _order(self, respool: Respool, rule: Rule, send: Send) -> Order:
        planned = respool.planned
        written = [dialled(number, rule.dial_as, rule.country) for number in send.numbers]
        return Order(
            respool_id=respool.respool_id,
            campaign=planned.campaign,
            number=written[0],
            alternatives=tuple(written[1:]) if rule.alternatives == "next" else (),
            at=send.at if rule.ahead and send.at > self._clock() else None,
            how=rule.how,
            priority=rule.priority,
            agent=rule.agent,
            list=rule.list,
            data=planned.details.get("data", {}),
            details=planned.details,
        )

    # --- telling -----------------------------------------------------------------------------------------------------

    def _log_verdict(self, respool: Respool, verdict: Verdict | None) -> None:
        known = {"dialer": self.source, "respool_id": respool.respool_id, "attempt": respool.planned.attempt}
        match verdict:
            case Wait():
                if verdict.reason == HELD:
                    metrics.respool_held.labels(respool.planned.rule).inc()
                _log.debug("respool.postponed", **known, until=verdict.until.isoformat(), reason=verdict.reason)
            case Refuse():
                metrics.respools.labels(self.source, "refused").inc()
                _log.info("respool.refused", **known, reason=verdict.reason)
            case None:
                _log.warning("respool.claim_lost", **known)

    def _log_outcome(self, respool: Respool, outcome: Outcome) -> None:
        known = {"dialer": self.source, "respool_id": respool.respool_id, "attempt": respool.planned.attempt}
        metrics.respools.labels(self.source, _WORDS[type(outcome)]).inc()
        match outcome:
            case Accepted():
                _log.info("respool.accepted", **known)
            case Postponed():
                _log.warning("respool.failed", **known, until=outcome.until.isoformat(), reason=outcome.reason)
            case GivenUp():
                _log.error("respool.given_up", **known, reason=outcome.reason)
            case Unknown():
                _log.error("respool.unknown", **known, reason=outcome.reason)

    async def _woken(self, seconds: float) -> None:
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._due.wait()


_WORDS: Final = {Accepted: "accepted", Postponed: "failed", GivenUp: "given_up", Unknown: "unknown"}
