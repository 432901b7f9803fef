"""The worker of a process: its queue, and a loop for each dialer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.config import Settings
from hub.errors import Permanent, TrunklineError
from hub.events import Event
from hub.ports import Bus
from hub.ports.respool import Dialer, RespoolStore, Taken
from hub.respooling.planning import NO_RULE, Planned, Respool, reported
from workers.beside import repeat, together
from workers.presence import Crew
from workers.respool import NAME, QUEUE
from workers.respool.lists import Lists
from workers.respool.rules import rules_of
from workers.respool.sending import Sender
from workers.respool.taking import Taking, was_told_live
from workers.runner import Runner, Worker

_BATCH: Final = 100
_AT_ONCE: Final = 100
_BURIAL: Final = 1.0  # seconds between two looks
_LOOK: Final = 5.0
_LEAD: Final = 15.0
_DISOWNED_AFTER: Final = timedelta(minutes=10)
_AFTER_FAILURE: Final = 1.0
_PATIENCE: Final = 15.0  # seconds that requests on their way are given at the end
_log = structlog.get_logger("respool")


@dataclass(frozen=True, slots=True)
class Asked:
    """A dialer, and how much it can be asked for at this moment."""

    dialer: Dialer
    room: Callable[[], int]


Dialers = Callable[[], AbstractAsyncContextManager[Mapping[str, Asked]]]
"""Every source that dials for a rule, ready to be asked for as long as the worker runs."""


class Respooler:
    """The worker; one instance for each process.

    Args:
        settings: all of them.
        store: the arbiter.
        bus: the bus.
        dialers: who is asked.
        clock: aware, UTC.

    Raises:
        ConfigurationError: a do-not-call list cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        store: RespoolStore,
        bus: Bus,
        dialers: Dialers,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._bus, self._dialers, self._clock = store, bus, dialers, clock
        self._doubt = timedelta(seconds=settings.respool.doubt)
        self._lists = Lists(settings)
        self._rules = {rule.name: rule for rule in rules_of(settings)}
        self._taking = Taking(settings, tuple(self._rules.values()), self._lists.now)
        self._senders: list[Sender] = []
        self._stopping = asyncio.Event()
        worker = Worker(NAME, QUEUE, self.handle, batch=_BATCH, prefetch=2 * _BATCH)
        self.runner = Runner(worker, bus, clock=clock, note=store.attempted)
        self.crew = Crew(store, self.runner, clock=clock)

    @property
    def process(self) -> str:
        """The name of this process in the crew."""
        return self.crew.process

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Writes down, in one transaction, what sealed calls come to; without rules nothing does."""
        if not self._rules:
            return {}
        failures: dict[str, Exception] = {}
        taken: list[Taken] = []
        for event in events:
            try:
                old = self._taking.is_stale(event) and event.subject is not None
                live = old and await was_told_live(self._store, str(event.subject))
                taken.append(self._taking.taken(event, live=live))
            except Permanent as error:
                failures[event.id] = error
        came = await self._store.respools.take(taken, self._follow, self._clock())
        failpoints.hit("respool.after_take")
        if came.planned:
            for sender in self._senders:
                sender.wake()
        return failures

    def _follow(self, respool: Respool, report: Taken) -> Planned | None:
        rule = self._rules.get(respool.planned.rule)
        return reported(respool.planned, rule, report.outcome, report.ended_at)

    async def run(self) -> None:
        """Works until ``stop``: the queue, the dialers, and what is given up."""
        if not any(rule.window.limited for rule in self._rules.values()) and self._rules:
            _log.warning("respool.no_window", rules=sorted(self._rules))
        async with self._opened() as senders:
            self._senders = senders
            working = [asyncio.create_task(one.run(), name=f"respool {one.source}") for one in senders]
            beside = [
                asyncio.create_task(repeat(step, self._stopping, self._waiting), name=f"respool {step.__name__}")
                for step in (self._settle, self._disown, self._bury, self._look, self.crew.tell)
            ]
            try:
                await together(self.runner.run, self.stop, working=working, beside=beside, patience=_PATIENCE)
            finally:
                await self.crew.leave()

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand and return."""
        self._stopping.set()
        self.runner.stop()
        for sender in self._senders:
            sender.stop()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[list[Sender]]:
        if not self._rules:
            yield []
            return
        async with self._dialers() as dialers:
            yield [
                Sender(
                    name,
                    asked.dialer,
                    self._store,
                    rules=self._rules,
                    blocked=self._lists.now,
                    room=asked.room,
                    process=self.process,
                    clock=self._clock,
                )
                for name, asked in dialers.items()
            ]

    # --- beside the queue --------------------------------------------------------------------------------------------

    async def _settle(self) -> float:
        """Finds those whose process never said what came of its intent."""
        for respool in await self._store.respools.abandoned(self._clock(), _AT_ONCE):
            metrics.respools.labels(respool.planned.dialer, "unknown").inc()
            _log.error("respool.unknown", respool_id=respool.respool_id, dialer=respool.planned.dialer)
        return _BURIAL

    async def _disown(self) -> float:
        """Refuses what waits for a dialer that no rule names any more: else it would stand in others' way for good.

        Not at once: while a new configuration is brought out, another process may know more rules than this one.
        """
        dialers, now = {rule.dialer for rule in self._rules.values()}, self._clock()
        for respool in await self._store.respools.disowned(dialers, now - _DISOWNED_AFTER, now, _AT_ONCE):
            metrics.respools.labels(respool.planned.dialer, "refused").inc()
            known = {"dialer": respool.planned.dialer, "respool_id": respool.respool_id}
            _log.info("respool.refused", **known, attempt=respool.planned.attempt, reason=NO_RULE)
        return _LOOK

    async def _bury(self) -> float:
        """Puts among the dead letters what was given up, and what stayed doubtful: people look there."""
        dying = await self._store.respools.dying(self._clock() - self._doubt, _AT_ONCE)
        if not dying or not await self._store.lead("respool.bury", self.process, self._clock(), _LEAD):
            return _BURIAL
        for one in dying:
            for message in one.messages:
                await self._bus.bury(QUEUE.name, message, one.reason, one.respool.tries + 1)
            await self._store.respools.buried(one)
        return _BURIAL

    async def _look(self) -> float:
        """Shows how much waits, and whether a list cannot be read."""
        found = await self._store.respools.standings()
        for sender in self._senders:
            for state in ("waiting", "sending", "unknown"):
                metrics.respools_open.labels(sender.source, state).set(found.get((sender.source, state), 0))
        for rule, unreadable in self._lists.unreadable().items():
            metrics.respool_list_unreadable.labels(rule).set(unreadable)
        return _LOOK

    def _waiting(self, error: TrunklineError) -> None:
        _log.warning("respool.waiting", dialer="", reason=str(error))
