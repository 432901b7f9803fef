"""Asks the vendors that have records instead of callbacks, again and again, and never leaves a time out.

A role without a queue. For each source, one of all processes asks (a lease in the store), and what it learns goes to
the bus as events. A *watermark* in the store says up to when everything is confirmed by the bus; it moves after that
confirm alone, so that an outage, of the vendor or ours, is caught up from where it began, and a killed process repeats
what it had in hand: the same events, which are kept once.

Each source has two streams. The *poll* is frequent and looks a little back; the *sweep* is seldom and looks back by as
much as the longest call lasts, for records that appear, or change, late.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import structlog

from hub import metrics
from hub.errors import Permanent, StoreUnavailable, TrunklineError
from hub.polling.gathering import Count, Gatherer
from hub.polling.windows import Stream, windows
from hub.ports import Bus
from hub.ports.polls import PollStore, RecordSource
from hub.retry import delay, describe

NAME: Final = "poll"
LEASE: Final = 6.0
"""Seconds for which one process is the one who asks; renewed while it does."""

_RENEW: Final = LEASE / 3
_SHORTEST: Final = 0.05  # seconds between two looks
_LONGEST_WAIT: Final = 300.0  # seconds after a failure, where the interval is not longer
_FAR_BEHIND: Final = 2.0  # intervals: what is longer is told as a gap that is being caught up
_log = structlog.get_logger("poll")

Open = Callable[[], "contextlib.AbstractAsyncContextManager[Sequence[Polling]]"]


@dataclass(frozen=True, slots=True)
class Polling:
    """A source, and how it is asked.

    Attributes:
        records: who has them.
        streams: the most frequent one first.
        window: seconds of calls asked for at once, at most.
    """

    records: RecordSource
    streams: tuple[Stream, ...]
    window: float


class Poller:
    """The role, in one process; any number of processes."""

    name = NAME

    def __init__(
        self, store: PollStore, bus: Bus, opened: Open, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Opens nothing. ``opened`` gives the sources for as long as ``run`` goes on."""
        self.process = f"{socket.gethostname()}.{os.getpid()}.{token_hex(4)}"
        self._store, self._bus, self._opened, self._clock = store, bus, opened, clock
        self._stopping = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self.started = False

    def troubles(self) -> Mapping[str, str]:
        """Why a source's records do not come, by source; it is being tried again."""
        return dict(self._troubles)

    async def run(self) -> None:
        """Polls until stopped."""
        self.started = True
        async with self._opened() as pollings:
            desks = [_Desk(self, polling) for polling in pollings]
            async with asyncio.TaskGroup() as tasks:
                for desk in desks:
                    tasks.create_task(desk.run(), name=f"poll {desk.source}")
                tasks.create_task(self._stopping.wait())

    def stop(self) -> None:
        """Asks ``run`` to return; what is asked for at this moment is left, and asked for again by the next."""
        self._stopping.set()


class _Desk:
    """One source in one process."""

    def __init__(self, poller: Poller, polling: Polling) -> None:
        self.source = polling.records.name
        self._poller, self._polling = poller, polling
        self._store = poller._store  # noqa: SLF001
        self._gatherer = Gatherer(polling.records, self._store, poller._bus, clock=poller._clock)  # noqa: SLF001
        self._lease = f"{NAME}/{self.source}"
        self._failures = 0
        self._not_before = 0.0  # monotonic

    async def run(self) -> None:
        """Asks whenever it is time and ours to ask."""
        stopping = self._poller._stopping  # noqa: SLF001
        while not stopping.is_set():
            wait = await self._until_stopped(self._turn())
            await _first(stopping, max(_SHORTEST, wait))
        with contextlib.suppress(StoreUnavailable):
            await self._led(0.0)  # whoever waits for it need not wait for its end

    async def _until_stopped(self, turn: Coroutine[Any, Any, float]) -> float:
        """What the turn returns; 0 where it was cut short."""
        stopping = asyncio.create_task(self._poller._stopping.wait())  # noqa: SLF001
        turning = asyncio.create_task(turn)
        try:
            await asyncio.wait((turning, stopping), return_when=asyncio.FIRST_COMPLETED)
            return turning.result() if turning.done() else 0.0
        finally:
            for task in (turning, stopping):
                task.cancel()
            await asyncio.gather(turning, stopping, return_exceptions=True)

    async def _turn(self) -> float:
        """Asks what is due, where that is ours; returns the seconds until it is worth another look."""
        try:
            await self._show_lag()
            if not await self._led(LEASE):
                self._forget_troubles()
                return _soon(_RENEW)
            if (pause := self._not_before - monotonic()) > 0:
                return _soon(pause)
            wait = await self._while_leading(self._due())
        except TrunklineError as error:
            wait = self._failed(error)
            self._not_before = monotonic() + wait
        except Exception as error:  # noqa: BLE001  a defect in one vendor's reader must not end the others, or an ingress
            _log.exception("poll.defect", source=self.source)
            wait = self._failed(error)
            self._not_before = monotonic() + wait
        else:
            self._well()
        return _soon(wait)

    async def _due(self) -> float:
        """Asks each stream that is due; returns the seconds until the next one is."""
        waits = []
        for stream in self._polling.streams:
            now = self._now()
            mark = await self._store.polls.watermark(stream.name)
            if mark is not None and mark > now:  # the clock was set back: what was asked for is no measure of time
                _log.warning("poll.clock_behind", source=self.source, stream=stream.name, seconds=_between(now, mark))
                mark = now - timedelta(seconds=stream.interval)
            if stream.due_in(mark, now) <= 0:
                await self._catch_up(stream, mark, now)
                mark = now
            waits.append(stream.due_in(mark, self._now()))
        return min(waits)

    async def _catch_up(self, stream: Stream, mark: datetime | None, now: datetime) -> None:
        """Everything since the watermark, less the overlap, window by window; the watermark follows each confirm."""
        behind = 0.0 if mark is None else _between(mark, now)
        gap = behind > _FAR_BEHIND * stream.interval and behind > stream.overlap
        if gap and mark is not None:
            _log.warning("poll.gap", source=self.source, stream=stream.name, since=mark.isoformat(), seconds=behind)
        total = Count()
        for first, last in windows(stream.begins(mark, now), now, self._polling.window):
            total += await self._gatherer.gather(first, last, "poll")
            if last < now and (mark is None or last > mark):
                await self._store.polls.advance(stream.name, last, self._now())
        await self._store.polls.advance(stream.name, now, self._now())
        if gap:
            _log.info("poll.caught_up", source=self.source, stream=stream.name, seconds=behind, new=total.new)
        if stream is not self._polling.streams[0] and total.new:
            _log.info("poll.late_records", source=self.source, stream=stream.name, count=total.new)

    async def _while_leading(self, work: Coroutine[Any, Any, float]) -> float:
        """What the work returns; where another process has taken over it is given up."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=_RENEW)
                if not task.done() and not await self._led(LEASE):
                    _log.warning("poll.lead_lost", source=self.source)
                    return _RENEW
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _led(self, lease: float) -> bool:
        return await self._store.lead(self._lease, self._poller.process, self._now(), lease)

    async def _show_lag(self) -> None:
        """Every process shows it, whoever asks."""
        mark = await self._store.polls.watermark(self._polling.streams[0].name)
        if mark is not None:
            metrics.poll_lag.labels(self.source).set(max(0.0, _between(mark, self._now())))

    def _failed(self, error: Exception) -> float:
        """Says so; returns how long to wait. It is never given up: what is missed meanwhile is asked for then."""
        self._failures += 1
        reason = describe(error)
        self._poller._troubles[self.source] = reason  # noqa: SLF001
        interval = self._polling.streams[0].interval
        wait = delay(self._failures, spread=random.random())  # noqa: S311
        wait = max(interval, wait) if isinstance(error, Permanent) else min(interval, wait)
        until = getattr(error, "until", None)
        if isinstance(until, datetime):
            wait = max(wait, _between(self._now(), until))
        wait = min(wait, max(interval, _LONGEST_WAIT))
        if isinstance(error, Permanent):
            _log.error("poll.refused", source=self.source, reason=reason, again_in=round(wait, 2))
        else:
            _log.warning("poll.failed", source=self.source, reason=reason, again_in=round(wait, 2))
        return wait

    def _well(self) -> None:
        if self._failures:
            _log.info("poll.recovered", source=self.source, failures=self._failures)
        self._forget_troubles()

    def _forget_troubles(self) -> None:
        self._failures, self._not_before = 0, 0.0
        self._poller._troubles.pop(self.source, None)  # noqa: SLF001

    def _now(self) -> datetime:
        return self._poller._clock()  # noqa: SLF001


def _soon(wait: float) -> float:
    """Not at the same moment as the others; the lease is renewed on the way, and a killed process is soon missed."""
    return min(wait, _RENEW) * random.uniform(0.9, 1.0)  # noqa: S311


def _between(early: datetime, late: datetime) -> float:
    return round((late - early).total_seconds(), 3)


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Waits for the event, or as long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
