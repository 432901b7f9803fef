"""Records of a time, from the vendor to the bus: asked for, those that are known left out, published, confirmed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.errors import TooMuch
from hub.events import Event, to_message
from hub.polling.windows import halves
from hub.ports import Bus, Store
from hub.ports.polls import Origin, Polled, RecordSource

_TOGETHER: Final = 500  # events in one publish
_REMEMBERED: Final = 50_000  # ids that were confirmed, or counted, of late: the store may not have them yet
_TOLD: Final = 3  # reasons in one line
_log = structlog.get_logger("poll")


@dataclass(frozen=True, slots=True)
class Count:
    """What a time came to, in records.

    Attributes:
        new: published; in a dry run, those that would be.
        known: that the store has, or that we published before.
        unreadable: that are no records.
    """

    new: int = 0
    known: int = 0
    unreadable: int = 0

    @property
    def records(self) -> int:
        """All of them."""
        return self.new + self.known + self.unreadable

    def __add__(self, other: "Count") -> "Count":
        return Count(self.new + other.new, self.known + other.known, self.unreadable + other.unreadable)


class Gatherer:
    """Brings one source's records of a time to the bus.

    Safe to repeat, and to run in many processes at once: an event's id is its content's, so what is published twice is
    kept once.
    """

    def __init__(
        self,
        source: RecordSource,
        store: Store,
        bus: Bus | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Without a bus it only counts."""
        self.source = source
        self._store, self._bus, self._clock = store, bus, clock
        self._seen: dict[str, None] = {}

    async def gather(self, since: datetime, until: datetime, origin: Origin) -> Count:
        """Everything that the vendor has of a time is durable when this returns.

        Raises:
            NotDurable, StoreUnavailable: a part of ours is away.
            TrunklineError: as ``RecordSource.between``; ``TooMuch`` where even a second holds too much.
        """
        try:
            polled = await self._asked(since, until, origin)
        except TooMuch:
            parts = halves(since, until)
            if not parts:
                raise
            total = Count()
            for first, last in parts:
                total += await self.gather(first, last, origin)
            return total
        count = await self._published(polled.events)
        count += Count(unreadable=len(polled.unreadable))
        if polled.unreadable:
            reasons = sorted(set(polled.unreadable))[:_TOLD]
            _log.warning("poll.unreadable", source=self.source.name, count=len(polled.unreadable), reasons=reasons)
        self._counted(count, polled.events)
        return count

    async def _asked(self, since: datetime, until: datetime, origin: Origin) -> Polled:
        end = "failed"
        try:
            polled = await self.source.between(since, until, origin)
            end = "done"
        except TooMuch:
            end = "split"
            raise
        finally:
            metrics.poll_requests.labels(self.source.name, end).inc()
        return polled

    async def _published(self, events: Sequence[Event]) -> Count:
        """Publishes what the store lacks, and what it is not known to have."""
        distinct = {event.id: event for event in events if event.id not in self._seen}
        lacking = await self._store.lacks(distinct)
        new = [event for event in distinct.values() if event.id in lacking]
        for batch in _batches(new):
            if self._bus is not None:
                failpoints.hit("poll.before_publish")
                await self._bus.publish([to_message(event) for event in batch])
                failpoints.hit("poll.after_publish")
            self._remember(batch)
        return Count(new=len(new), known=len(events) - len(new))

    def _remember(self, events: Sequence[Event]) -> None:
        self._seen.update(dict.fromkeys(event.id for event in events))
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def _counted(self, count: Count, events: Sequence[Event]) -> None:
        if self._bus is None:
            return
        for what in ("new", "known", "unreadable"):
            metrics.poll_records.labels(self.source.name, what).inc(getattr(count, what))
        for event in events:
            for what in event.unknown:
                metrics.unknown.labels(self.source.name, what).inc()


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for start in range(0, len(events), _TOGETHER):
        yield events[start : start + _TOGETHER]
