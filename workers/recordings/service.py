"""The worker of a process: its queue and its loops."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog

from hub import failpoints, metrics
from hub.config import Settings
from hub.custody import Custody
from hub.custody.disk import STAGING, DiskCustody
from hub.errors import CustodyUnavailable, Permanent, StoreUnavailable, TrunklineError
from hub.events import Event, timestamp
from hub.outgoing import Outgoing
from hub.ports import Bus
from hub.ports.recordings import RecordingStore
from workers.beside import OUTAGES, repeat, together
from workers.presence import Crew
from workers.recordings import NAME, QUEUE
from workers.recordings.fetching import LEASE, Fetcher
from workers.recordings.retention import Retention
from workers.recordings.scratch import Scratch
from workers.recordings.sources import fetched, make_source
from workers.recordings.storing import Keeper
from workers.recordings.taking import announced
from workers.runner import Runner, Worker

_BATCH: Final = 100
_AT_ONCE: Final = 100
_PATIENCE: Final = 8.0  # seconds that a stopping worker gives downloads in hand; then they are somebody else's
_LONGEST_WAIT: Final = 2.0  # another process may have taken something that this one does not know of
_AFTER_FAILURE: Final = 1.0
_SWEEP: Final = 30.0  # seconds between two looks for what has outlived its time
_DANGER: Final = 5.0
_BURIAL: Final = 1.0
_LEAD: Final = 15.0
_log = structlog.get_logger("recordings")


class Recordings:
    """The worker; one instance for each process.

    Args:
        settings: all of them.
        store: with recordings.
        bus: the bus.
        custody: where audio is kept.
        outgoing: what asks the vendors; made of the settings where none is given.
        clock: aware, UTC.
    """

    def __init__(
        self,
        settings: Settings,
        store: RecordingStore,
        bus: Bus,
        custody: Custody,
        *,
        outgoing: Outgoing | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._store = store
        self._bus = bus
        self._custody = custody
        self._clock = clock
        self._outgoing = outgoing or Outgoing(settings.egress.allow)
        self._taken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._numbers = count(1)
        worker = Worker(NAME, QUEUE, self.handle, batch=_BATCH, prefetch=2 * _BATCH)
        self.runner = Runner(worker, bus, clock=clock, note=store.attempted)
        self.crew = Crew(store, self.runner, clock=clock)
        self._scratch = Scratch(incoming(settings, custody), settings.recordings.min_free_bytes)
        self._keeper = Keeper(settings, store, custody)
        self._retention = Retention(store, custody, clock)

    @property
    def process(self) -> str:
        """The name of this process in the crew."""
        return self.crew.process

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Makes rows of what is announced; what names no recording is named."""
        taken, failures = [], dict[str, Exception]()
        now = self._clock()
        for event in events:
            try:
                taken.append(announced(event, self._settings, now))
            except Permanent as error:
                failures[event.id] = error
        if await self._store.recordings.take(taken, now):
            self._taken.set()
        failpoints.hit("rec.after_take")
        return failures

    async def run(self) -> None:
        """Works until ``stop``; the loops end with the queue's consumer, and it with them."""
        await self._outgoing.start()
        try:
            await self._prepare()
            loops = [asyncio.create_task(loop, name=f"recordings {loop.__name__}") for loop in self._loops()]
            try:
                await together(self.runner.run, self.stop, working=loops, patience=_PATIENCE + 1)
            finally:
                await self.crew.leave()
        finally:
            await self._outgoing.close()
            await asyncio.to_thread(self._scratch.close)

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand, and return."""
        self._stopping.set()
        self._taken.set()
        self.runner.stop()

    async def _prepare(self) -> None:
        await self._custody.start()
        try:
            removed = await asyncio.to_thread(self._scratch.open)
        except CustodyUnavailable as error:
            _log.error("recordings.no_place", reason=str(error))
        else:
            if removed:
                _log.info("recordings.swept", files=removed)

    def _loops(self) -> list[Any]:
        limits = self._settings.recordings
        loops: list[Any] = []
        for name, source in fetched(self._settings).items():
            lane = self._outgoing.lane(f"recordings.{name}", rate=limits.rate, concurrency=limits.concurrency)
            fetcher = Fetcher(
                name,
                make_source(source, lane, self._clock),
                lane,
                store=self._store,
                keeper=self._keeper,
                scratch=self._scratch,
                clock=self._clock,
                max_bytes=limits.max_bytes,
                timeout=limits.timeout,
            )
            loops.append(self._fetch(fetcher))
        loops += [
            self._steadily(self._bury, "burial"),
            self._steadily(self._warn, "danger"),
            self._steadily(self._delete, "retention"),
            self._steadily(self.crew.tell, "crew"),
        ]
        return loops

    # --- fetching ----------------------------------------------------------------------------------------------------

    async def _fetch(self, fetcher: Fetcher) -> None:
        """Claims what is due of a source whenever its lane has room, and lets each go its way."""
        running: set[asyncio.Task[None]] = set()
        woken = False
        try:
            while not self._stopping.is_set():
                woken = woken or await self._wake(fetcher.name)
                wait = await self._claim(fetcher, running)
                if wait > 0:
                    await self._woken(wait)
        finally:
            if running:
                await asyncio.wait(running, timeout=_PATIENCE)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await fetcher.close()

    async def _wake(self, source: str) -> bool:
        """Those that waited for a place to be configured; whether the store was there to do it."""
        try:
            await self._store.recordings.wake(source, self._clock())
        except StoreUnavailable as error:
            _log.warning("recordings.waiting", what=source, reason=str(error))
            return False
        return True

    async def _claim(self, fetcher: Fetcher, running: set["asyncio.Task[None]"]) -> float:
        """Begins what can begin now; returns the seconds until it is worth another look."""
        self._taken.clear()
        room = min(self._settings.recordings.concurrency - len(running), fetcher.lane.free())
        if room <= 0:
            return _AFTER_FAILURE
        now = self._clock()
        try:
            claim = f"{self.process}.{next(self._numbers)}"
            due = await self._store.recordings.claim(fetcher.name, now, room, LEASE, claim)
            if not due:
                following = await self._store.recordings.next_due(fetcher.name, now)
                wait = _LONGEST_WAIT if following is None else (following - self._clock()).total_seconds()
                return min(max(wait, 0.05), _LONGEST_WAIT)
        except StoreUnavailable as error:
            _log.warning("recordings.waiting", what=fetcher.name, reason=str(error))
            return _AFTER_FAILURE
        for recording in due:
            task = asyncio.create_task(self._one(fetcher, recording.recording_id, fetcher.fetch(recording)))
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(lambda _: self._taken.set())
        return 0

    async def _one(self, fetcher: Fetcher, recording_id: str, fetching: Awaitable[None]) -> None:
        try:
            await fetching
        except StoreUnavailable as error:  # the claim runs out, and what was done is found done
            _log.warning("recordings.waiting", what=fetcher.name, recording_id=recording_id, reason=str(error))

    async def _woken(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._taken.wait()

    # --- beside it ---------------------------------------------------------------------------------------------------

    async def _bury(self) -> float:
        """Puts what was given up among the dead letters, where operators look for it; one process at a time does."""
        if not await self._store.lead("recordings.burial", self.process, self._clock(), _LEAD):
            return _LEAD / 3
        found = await self._store.recordings.lost(_AT_ONCE)
        for lost in found:
            recording = lost.recording
            last = recording.history[-1].reason if recording.history else ""
            for message in lost.messages:
                await self._bus.bury(
                    QUEUE.name, message, f"{recording.reason}: {last}", recording.attempt, recording.history[:-1]
                )
            await self._store.recordings.buried(recording.recording_id)
        return _BURIAL if len(found) < _AT_ONCE else 0.0

    async def _warn(self) -> float:
        for recording in await self._store.recordings.endangered(self._clock(), _AT_ONCE):
            metrics.recordings_endangered.labels(recording.source).inc()
            _log.error(
                "recording.endangered",
                recording_id=recording.recording_id,
                call_id=recording.call_id,
                source=recording.source,
                expires_at=timestamp(recording.expires_at),
                attempts=recording.attempt,
                reason=recording.history[-1].reason if recording.history else "not tried yet",
            )
        return _DANGER

    async def _delete(self) -> float:
        return 0.05 if await self._retention.sweep() else _SWEEP

    async def _steadily(self, step: Callable[[], Awaitable[float]], name: str) -> None:
        """Repeats ``step``, which says how long to wait; failures of the parts around it are waited out."""

        def failed(error: TrunklineError) -> None:
            _log.warning("recordings.waiting", what=name, reason=str(error))

        await repeat(step, self._stopping, failed, outages=(*OUTAGES, CustodyUnavailable))


def incoming(settings: Settings, custody: Custody) -> Path:
    """Where downloads grow: as configured, else where a link makes them part of the custody, else here."""
    if settings.recordings.incoming is not None:
        return settings.recordings.incoming
    return custody.root / STAGING if isinstance(custody, DiskCustody) else Path("data/incoming")
