"""Keeps every event and folds it into its call's record; says when a call is sealed.

Four loops in one process, any number of processes: batches from the queue into the store; the sealer, a timer that
the store remembers; the relay, which publishes what the store's transactions derived; and the crew's, in which each
process tells what it has in hand. Each is safe to repeat.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.errors import NotDurable, Permanent, StoreUnavailable
from hub.events import Event
from hub.ports import Bus, Claimed, QueueSpec, Store
from workers.presence import Crew
from workers.runner import Runner, Worker

NAME: Final = "persistence"
QUEUE: Final = QueueSpec("trunkline.persistence", ("#",))
_BATCH: Final = 500
_PREFETCH: Final = 1000  # two batches: one is handled while the next arrives
_SEALED_AT_ONCE: Final = 200
_RELAYED_AT_ONCE: Final = 500
_LEASE: Final = 15.0  # seconds for which derived events are ours to publish; those of a killed process wait as long
_IN_TIME: Final = 9.0  # seconds of the lease in which a publish may begin: it takes five, and the removal follows
_PATIENCE: Final = 8.0  # seconds that a stopping worker gives a publish that is under way
_SWEEP: Final = 0.1  # seconds between two looks for calls that are due, at least
_LONGEST_WAIT: Final = 2.0  # another process may have planned something that this one does not know of
_AFTER_FAILURE: Final = 1.0
_log = structlog.get_logger("persistence")


class Persistence:
    """The worker, its sealer and its relay. One instance for each process."""

    def __init__(
        self, store: Store, bus: Bus, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC), batch: int = _BATCH
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._planned = asyncio.Event()
        self._derived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._claimed: list[Claimed] = []
        self._claimed_at = 0.0
        self._durable: list[int] = []
        worker = Worker(NAME, QUEUE, self.handle, batch=batch, prefetch=min(_PREFETCH, 2 * batch))
        self.runner = Runner(worker, bus, clock=clock, note=store.attempted)
        self.crew = Crew(store, self.runner, clock=clock)

    @property
    def process(self) -> str:
        """The name of this process in the crew."""
        return self.crew.process

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Applies a batch in one transaction; what the store refuses for good is named."""
        applied = await self._store.apply(events, self._clock())
        metrics.events_kept.labels("new").inc(applied.new)
        metrics.events_kept.labels("repeated").inc(applied.repeated)
        metrics.conflicts.inc(applied.conflicts)
        if applied.new:
            self._planned.set()
        if applied.derived:
            self._derived.set()
        return {event_id: Permanent(reason) for event_id, reason in applied.refused.items()}

    async def run(self) -> None:
        """Works until ``stop``; the sealer and the relay end with it, and it with them."""
        loops = [asyncio.create_task(loop(), name=loop.__name__) for loop in (self._seal, self._relay, self._tell)]
        for loop in loops:
            loop.add_done_callback(lambda _: self.stop())  # ended by a defect: nobody would seal, or tell
        try:
            await self.runner.run()
        finally:
            self.stop()
            await asyncio.wait(loops, timeout=_PATIENCE)
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            await self.crew.leave()
        for loop in loops:
            if not loop.cancelled():
                loop.result()

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand, a batch and a publish, and return."""
        self._stopping.set()
        self._planned.set()
        self._derived.set()
        self.runner.stop()

    async def _seal(self) -> None:
        """Seals calls as they become due, never beyond what the queue has shown.

        After an outage the queue may hold the very events whose absence would be sealed as a gap, and another process
        may have them in hand, so silence counts only up to the crew's watermark.
        """
        await self._for_ever(self._seal_due, self._planned, "sealer")

    async def _seal_due(self) -> float:
        """Seals what is due; returns the seconds until the next call is."""
        upto = self.crew.watermark()
        if upto is None:
            return _SWEEP
        sealed = await self._store.seal(upto, _SEALED_AT_ONCE)
        if sealed:
            failpoints.hit("sealer.after_seal")
            metrics.sealed.inc(sealed)
            self._derived.set()
        if sealed == _SEALED_AT_ONCE:
            return 0
        due = await self._store.next_seal()
        return _LONGEST_WAIT if due is None else max(_SWEEP, (due - self._clock()).total_seconds())

    async def _tell(self) -> None:
        """Tells the other processes, and the ledger, what is in hand here."""
        await self._for_ever(self.crew.tell, self._stopping, "crew")

    async def _relay(self) -> None:
        """Publishes what transactions derived, in their order, and forgets it after the confirm."""
        await self._for_ever(self._relay_some, self._derived, "relay")

    async def _relay_some(self) -> float:
        """Publishes the oldest derived events; returns the seconds until it is worth another look."""
        if not self._durable:
            if not self._claimed:
                self._claimed_at = monotonic()
                self._claimed = await self._store.claim(self._clock(), _RELAYED_AT_ONCE, _LEASE)
            if not self._claimed:
                return _LONGEST_WAIT
            age = monotonic() - self._claimed_at
            if age > _IN_TIME:
                # Too late to be sure that nobody else has them before we are done. What was derived later must not
                # overtake them either, so we wait until they can be claimed again.
                if age >= _LEASE:
                    self._claimed = []
                return max(0.0, _LEASE - age)
            await self._bus.publish([one.message for one in self._claimed])
            failpoints.hit("derived.after_publish")
            self._durable, self._claimed = [one.seq for one in self._claimed], []
        await self._store.published(self._durable, self._clock())
        metrics.relayed.inc(len(self._durable))
        self._durable = []
        return 0

    async def _for_ever(self, step: Callable[[], Awaitable[float]], wake: asyncio.Event, name: str) -> None:
        """Repeats ``step``, which says how long to wait; woken early by ``wake``; failures are waited out."""
        while not self._stopping.is_set():
            if wake is not self._stopping:
                wake.clear()
            try:
                wait = await step()
            except (StoreUnavailable, NotDurable) as error:
                _log.warning("persistence.waiting", what=name, reason=str(error))
                await _first(self._stopping, _AFTER_FAILURE)
                continue
            if wait <= 0:
                continue
            await _first(wake, min(wait, _LONGEST_WAIT))
            if wake is self._planned:
                await _first(self._stopping, _SWEEP)  # a busy queue plans all the time: look in steps


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Waits for the event, or as long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can swallow the cancellation that ends us
            await event.wait()
