"""The worker: takes events off its queue, and keeps a loop for each destination that is owed something.

A delivery is settled once it is written down what it makes due. So an outage of a destination keeps rows waiting, and
no messages; and the rows are what every process of the crew works on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.config import Settings
from hub.custody.links import Links
from hub.errors import Permanent, TrunklineError
from hub.events import Event, to_message
from hub.outgoing import Outgoing, Tempo
from hub.ports import Bus
from hub.ports.forwarding import Given
from workers.beside import repeat, together
from workers.crm import NAME, queue
from workers.crm.destination import Destination
from workers.crm.listening import CrmStore
from workers.presence import Crew
from workers.runner import Runner, Worker

_BATCH: Final = 200
_BURIED_AT_ONCE: Final = 100
_BURY_LEASE: Final = 20.0
_SWEEP: Final = 0.5  # seconds between two looks for what was given up
_LOOK: Final = 5.0  # seconds between two looks at how the destinations are
_FORGET: Final = 600.0  # seconds between two removals of old requests
_KEPT: Final = 30.0  # days, of a destination that is configured no more
_PATIENCE: Final = 15.0  # seconds that requests on their way are given at the end
_log = structlog.get_logger("crm")


class Forwarder:
    """The worker, its destinations and its undertaker. One instance for each process."""

    def __init__(
        self,
        settings: Settings,
        store: CrmStore,
        bus: Bus,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tempo: Tempo | None = None,
    ) -> None:
        """Composes; opens nothing."""
        self._store, self._bus, self._clock = store, bus, clock
        self._outgoing = Outgoing(settings.egress.allow, tempo=tempo)
        self.destinations = [
            Destination(name, one, store, clock, links=Links.of(settings))
            for name, one in sorted(settings.destinations.items())
        ]
        self._stopping = asyncio.Event()
        worker = Worker(NAME, queue(settings), self.handle, batch=_BATCH, prefetch=2 * _BATCH)
        self.runner = Runner(worker, bus, clock=clock, note=store.attempted)
        self.crew = Crew(store, self.runner, clock=clock)

    @property
    def process(self) -> str:
        """The name of this process in the crew."""
        return self.crew.process

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Writes down, in one transaction, what the events make due."""
        refused: dict[str, Exception] = {}
        given: list[Given] = []
        for event in events:
            goings = [one for destination in self.destinations if (one := destination.wish.going(event)) is not None]
            if any("\0" in text for text in (event.id, event.subject or "", *(one.key for one in goings))):
                refused[event.id] = Permanent("a NUL (0x00) in its id or its call's: no text that can be kept")
                continue
            given.append(Given(to_message(event), tuple(goings), again=event.again))
        await self._store.forwarding.take(given, self._clock())
        failpoints.hit("crm.after_take")
        due = {going.destination for one in given for going in one.goings}
        for destination in self.destinations:
            if destination.name in due:
                destination.wake()
        return refused

    async def run(self) -> None:
        """Works until ``stop``: the queue, the destinations, and what is given up."""
        await self._outgoing.start()
        working = [asyncio.create_task(one.run(self._outgoing), name=one.name) for one in self.destinations]
        beside = [
            asyncio.create_task(repeat(step, self._stopping, self._waiting), name=step.__name__)
            for step in (self._bury, self._look, self._forget, self.crew.tell)
        ]
        try:
            await together(self.runner.run, self.stop, working=working, beside=beside, patience=_PATIENCE)
        finally:
            await self._outgoing.close()
            await self.crew.leave()

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand and return."""
        self._stopping.set()
        self.runner.stop()
        for destination in self.destinations:
            destination.stop()

    # --- beside the queue --------------------------------------------------------------------------------------------

    async def _bury(self) -> float:
        """Puts what was given up among the dead letters, then lets go of it: twice rather than never."""
        dying = await self._store.forwarding.dying(_BURIED_AT_ONCE)
        if not dying or not await self._store.lead("crm.bury", self.process, self._clock(), _BURY_LEASE):
            return _SWEEP
        for one in dying:
            failpoints.hit("crm.before_bury")
            await self._bus.bury(
                self.runner.worker.queue.name, one.message, f"{one.destination}: {one.reason}", one.attempt, one.history
            )
            failpoints.hit("crm.after_bury")
            await self._store.forwarding.buried([one])
        return 0.0

    async def _look(self) -> float:
        """Shows how the destinations are."""
        now = self._clock()
        known = {one.destination: one for one in await self._store.forwarding.standings()}
        for destination in self.destinations:
            one = known.get(destination.name)
            if one is not None:
                metrics.crm_waiting.labels(one.destination).set(one.waiting)
                age = 0.0 if one.oldest is None else max(0.0, (now - one.oldest).total_seconds())
                metrics.crm_oldest_seconds.labels(one.destination).set(age)
                metrics.crm_disabled.labels(one.destination).set(one.disabled is not None)
        return _LOOK

    async def _forget(self) -> float:
        """Removes requests whose time is over."""
        if not await self._store.lead("crm.forget", self.process, self._clock(), _FORGET / 2):
            return _FORGET
        kept = {one.destination: _KEPT for one in await self._store.forwarding.standings()}
        kept |= {one.name: one.settings.keep_days for one in self.destinations}
        for name, days in kept.items():
            before = self._clock() - timedelta(days=days)
            while await self._store.forwarding.forget(name, before):
                _log.debug("crm.forgot", destination=name, before=before.isoformat())
        return _FORGET

    def _waiting(self, error: TrunklineError) -> None:
        _log.warning("crm.waiting", destination="", reason=str(error))
