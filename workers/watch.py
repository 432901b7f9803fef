"""Watches how much each source says: a vendor that has stopped calling back tells nobody so.

A role without a queue. For each source that calls back, one of all processes looks (a lease in the store). What is
usual is what the weeks before brought; a source that falls silent, and one that is heard again, is an event, a log line
and a metric. Since when a source is silent stands in the store, so that whoever looks next tells of its return. How
many callbacks go missing in the calls that are heard of is measured from their life cycles.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import nan
from secrets import token_hex
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from hub import metrics
from hub.errors import StoreUnavailable, TrunklineError
from hub.events import Event, identity, timestamp, to_message
from hub.gaps.volume import SPANS, Volume, spans, volume
from hub.ports import Bus
from hub.ports.gaps import GapStore
from hub.retry import describe

NAME: Final = "watch"
_HOUR: Final = timedelta(hours=1)
_log = structlog.get_logger("watch")


@dataclass(frozen=True, slots=True)
class Watched:
    """A source that calls back.

    Attributes:
        name: the source.
        vendor: whose it is.
        longest: seconds after which a call is sealed without its end: what is younger may still be told of.
        zone: whose clock its people call by.
    """

    name: str
    vendor: str
    longest: float
    zone: ZoneInfo

    @property
    def silence(self) -> str:
        """The stream in whose place the store keeps when the last call before its silence began."""
        return f"silent/{self.name}"


class Watch:
    """The role, in one process; any number of processes."""

    name = NAME

    def __init__(
        self,
        store: GapStore,
        bus: Bus,
        watched: Sequence[Watched],
        *,
        every: float,
        weeks: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens nothing.

        Args:
            store: with what was heard.
            bus: where silence is told of.
            watched: the sources.
            every: seconds between two looks.
            weeks: that the present is compared with.
            clock: our time.
        """
        self.process = f"{socket.gethostname()}.{os.getpid()}.{token_hex(4)}"
        self._store, self._bus, self._watched, self._clock = store, bus, watched, clock
        self._every, self._weeks = every, weeks
        self._shown: set[str] = set()
        self._stopping = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self.started = False

    def troubles(self) -> Mapping[str, str]:
        """Why a source cannot be looked at, by source; it is being tried again."""
        return dict(self._troubles)

    def stop(self) -> None:
        """Asks ``run`` to return."""
        self._stopping.set()

    async def run(self) -> None:
        """Looks until stopped."""
        self.started = True
        while not self._stopping.is_set():
            for watched in self._watched:
                await self._look(watched)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every * random.uniform(0.9, 1.0)):  # noqa: S311
                    await self._stopping.wait()
        for watched in self._watched:  # whoever comes after us need not wait for its end
            with contextlib.suppress(StoreUnavailable):
                await self._store.lead(f"{NAME}/{watched.name}", self.process, self._clock(), 0)

    async def _look(self, watched: Watched) -> None:
        try:
            if await self._store.lead(f"{NAME}/{watched.name}", self.process, self._clock(), 2 * self._every):
                self._shown.add(watched.name)
                await self._volume(watched)
                await self._cycle(watched)
            else:
                self._unshow(watched.name)
            silent = await self._store.polls.watermark(watched.silence) is not None
            metrics.source_silent.labels(watched.name).set(silent)  # by every process, whoever looks
            self._troubles.pop(watched.name, None)
        except TrunklineError as error:
            self._troubles[watched.name] = describe(error)
            _log.warning("watch.failed", source=watched.name, reason=describe(error))
        except Exception as error:  # noqa: BLE001  a defect here must not end an ingress that runs beside it
            self._troubles[watched.name] = describe(error)
            _log.exception("watch.defect", source=watched.name)

    async def _volume(self, watched: Watched) -> None:
        """How much was heard of late, against what is usual."""
        now = self._clock()
        extent = await self._store.gaps.extent(watched.name)
        seen = []
        for span, times in spans(now, self._weeks, watched.zone):
            counts = await self._store.gaps.begun(watched.name, times)
            one = volume(span, counts, extent and extent[0], now)
            seen.append(one)
            if one.ratio is not None:
                metrics.source_volume.labels(watched.name, _minutes(span)).set(one.ratio)
        if extent is not None:
            await self._tell(watched, seen, extent[1], now)

    async def _tell(self, watched: Watched, seen: Sequence[Volume], last: datetime, now: datetime) -> None:
        """An event when it falls silent, and when it is heard again."""
        silent = next((one for one in seen if one.silent), None)
        since = await self._store.polls.watermark(watched.silence)
        if silent is not None and since is None:
            await self._publish(watched, "silent", last, now, silent)
            await self._store.polls.advance(watched.silence, last, now)
        elif since is not None and silent is None and any(one.lively for one in seen):
            await self._publish(watched, "heard", since, now, next(one for one in seen if one.lively))
            await self._store.polls.forget(watched.silence)

    async def _publish(self, watched: Watched, verb: str, since: datetime, now: datetime, one: Volume) -> None:
        """Once for each silence, whoever looks: its event is named after the last call before it."""
        data = {
            "vendor": watched.vendor,
            "source": watched.name,
            "event": verb,
            "occurred_at": timestamp(now),
            "since": timestamp(since),
            "span_seconds": int(one.span.total_seconds()),
            "heard": one.heard,
            "usual": one.usual,
        }
        name = identity("source", watched.name, verb, timestamp(since))
        event = Event(name, "source", watched.vendor, verb, watched.name, now, data)
        await self._bus.publish([to_message(event)])
        said = {"source": watched.name, "since": timestamp(since), "heard": one.heard, "usual": one.usual}
        if verb == "silent":
            _log.error("source.silent", **said)
        else:
            _log.info("source.heard", **said)

    async def _cycle(self, watched: Watched) -> None:
        """The loss within the calls of the youngest hour of which all calls are sealed."""
        until = self._clock() - timedelta(seconds=watched.longest)
        found = await self._store.gaps.cycle(watched.name, until - _HOUR, until)
        if promised := found.callbacks + found.missing:
            metrics.callback_loss.labels(watched.name, "cycle").set(found.missing / promised)

    def _unshow(self, name: str) -> None:
        """Another process looks, and shows it: what was ours to show would stay for ever."""
        if name in self._shown:
            self._shown.remove(name)
            metrics.callback_loss.labels(name, "cycle").set(nan)
            for span in SPANS:
                metrics.source_volume.labels(name, _minutes(span)).set(nan)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f}m"
