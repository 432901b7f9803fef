"""Kept events published again for one worker, or for one queue of somebody else's, and for nobody beside it.

The store is where they come from, the queue itself is where they go: through the exchange every other worker would have
them too. They have their old ids, and a header that says what they are. A worker whose effect must not be repeated is
not sent what it has had its effect for, unless that is what is wanted.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import structlog

from hub.bus.patterns import matches
from hub.errors import NotDurable
from hub.events import AGAIN, ONCE, REPLAY, Message
from hub.operating.pace import Pace
from hub.ports import Bus, EventFilter, QueueSpec, Store

MOST: Final = 10_000
"""Ids that one question may name."""

_TOGETHER: Final = 500
_OURS: Final = "trunkline."
_log = structlog.get_logger("operator")


@dataclass(frozen=True, slots=True)
class Target:
    """Where replayed events go.

    Attributes:
        name: the worker's, or the queue's where it is somebody else's.
        queue: its name.
        bindings: the patterns of what it takes; what is somebody else's is taken to take everything.
        repeatable: whether the effect may be had twice.
    """

    name: str
    queue: str
    bindings: tuple[str, ...] = ("#",)
    repeatable: bool = True

    @classmethod
    def of_worker(cls, name: str, queue: QueueSpec, *, repeatable: bool) -> "Target":
        """A worker's own queue."""
        return cls(name, queue.name, queue.bindings, repeatable)

    def takes(self, routing_key: str) -> bool:
        """Whether such an event would have come here by itself."""
        return any(matches(pattern, routing_key) for pattern in self.bindings)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; None narrows nothing.

    Attributes:
        ids: of events.
        call: a call's id.
        vendor: as in ``ce-source``.
        source: likewise.
        type: ``call.ended``, or the whole ``ce-type``.
        since: inclusive, on when the store kept them.
        until: exclusive, likewise.
    """

    ids: Collection[str] | None = None
    call: str | None = None
    vendor: str | None = None
    source: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def named(self) -> bool:
        """Whether they are named, and not searched for."""
        return self.ids is not None or self.call is not None

    def narrow(self) -> EventFilter:
        """What the store can tell of it."""
        return EventFilter(self.ids, self.call, self.source, None, self.since, self.until)

    def means(self, routing_key: str) -> bool:
        """What the routing key can tell of it."""
        noun, vendor, verb = routing_key.split(".")
        kinds = (f"{noun}.{verb}", f"trunkline.{noun}.{verb}.v1")
        return self.vendor in (None, vendor) and (self.type is None or self.type in kinds)


@dataclass(slots=True)
class Report:
    """What was done, or on a dry run would be.

    Attributes:
        target: the worker's name, or the queue's.
        chosen: how many events were asked for that the queue takes.
        published: how many of them are durable in the queue; on a dry run, would be.
        skipped: how many of them were left out, since the worker has had its effect for them.
        not_taken: how many others were asked for, by routing key: the worker's queue is not bound to them.
        missing: ids that were asked for and are not kept.
        after: the place of the last one that was looked at: one can go on behind it.
        problem: why it ended early; empty where it did not.
    """

    target: str
    queue: str
    again: bool
    dry_run: bool
    chosen: int = 0
    published: int = 0
    skipped: int = 0
    not_taken: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    after: int = 0
    problem: str = ""

    @property
    def left(self) -> int:
        """How many have not had their turn."""
        return self.chosen - self.published - self.skipped

    def shown(self) -> dict[str, Any]:
        """It as the answer of ``POST /v1/replay``."""
        return {
            "target": self.target,
            "queue": self.queue,
            "again": self.again,
            "dry_run": self.dry_run,
            "chosen": self.chosen,
            "published": self.published,
            "skipped": self.skipped,
            "not_taken": self.not_taken,
            "missing": self.missing,
            "next": str(self.after) if self.left and not self.dry_run else "",
            **({"error": self.problem} if self.problem else {}),
        }


Progress = Callable[[Report], None]
"""Told after each step."""


class Replay:
    """The verb, over a bus and a store.

    Attributes:
        workers: by their names.
    """

    def __init__(self, bus: Bus, store: Store, workers: Mapping[str, Target]) -> None:
        self.workers = workers
        self._bus = bus
        self._store = store

    def target(self, worker: str | None, queue: str | None) -> Target:
        """A worker by its name, or whoever has the queue.

        Raises:
            ValueError: not exactly one of them, no such worker, or a queue of the hub's that is no worker's.
        """
        known = ", ".join(sorted(self.workers))
        if (worker is None) == (queue is None):
            raise ValueError("expected either a worker or a queue")
        if worker is not None:
            if worker not in self.workers:
                raise ValueError(f"worker: found {worker[:40]!r}; expected one of {known}")
            return self.workers[worker]
        assert queue is not None  # noqa: S101  the first lines say so
        found = next((target for target in self.workers.values() if target.queue == queue), None)
        if found is None and (queue.startswith(_OURS) or not queue):
            raise ValueError(f"queue: found {queue[:60]!r}; expected a worker's or one of your own")
        return found or Target(queue, queue)

    async def run(
        self,
        target: Target,
        wanted: Wanted,
        *,
        after: int = 0,
        limit: int | None = None,
        rate: float | None = None,
        again: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Report:
        """Publishes events once more, in the order in which they were kept.

        What is kept after the beginning is not of it. Cancelled, it finishes the step in hand, tells of it, and ends.

        Args:
            target: for whom.
            wanted: which.
            after: where an earlier one ended.
            limit: how many at most; all without it.
            rate: how many a second at most.
            again: also those whose effect was had.
            dry_run: only say how many.
            progress: told after each step.

        Raises:
            NotDurable: there is no such queue, or the bus cannot be asked.
            StoreUnavailable: the store cannot be asked which events there are.
        """
        await self._bus.depth(target.queue)
        report = Report(target.name, target.queue, again, dry_run, after=after)
        chosen = await self._choose(report, target, wanted)
        if wanted.ids is not None:
            await self._look_for(report, wanted, chosen.upto, wanted.ids)
        if dry_run and (again or target.repeatable):
            report.published = report.chosen if limit is None else min(report.chosen, limit)
        elif report.chosen:
            await self._carry_out(report, chosen, limit, Pace(rate, _TOGETHER), progress)
        if not dry_run:
            _log.warning(
                "operator.replayed",
                target=target.name,
                published=report.published,
                skipped=report.skipped,
                again=again,
            )
        return report

    async def _choose(self, report: Report, target: Target, wanted: Wanted) -> "_Chosen":
        """Counts what is asked for, and narrows it to what the target takes."""
        survey = await self._store.survey(wanted.narrow(), report.after)
        meant = {key: count for key, count in survey.counts.items() if wanted.means(key)}
        taken = {key: count for key, count in meant.items() if target.takes(key)}
        report.chosen = sum(taken.values())
        report.not_taken = {key: count for key, count in meant.items() if key not in taken}
        return _Chosen(target, replace(wanted.narrow(), routing_keys=tuple(taken)), survey.upto)

    async def _look_for(self, report: Report, wanted: Wanted, upto: int, ids: Collection[str]) -> None:
        found = await self._store.stored(wanted.narrow(), len(ids), report.after, upto)
        there = {one.message.id for one in found}
        report.missing = [one for one in dict.fromkeys(ids) if one not in there]

    async def _carry_out(
        self, report: Report, chosen: "_Chosen", limit: int | None, pace: Pace, progress: Progress | None
    ) -> None:
        done = 0
        while limit is None or done < limit:
            await pace.turn(report.published)
            size = pace.step if limit is None else min(pace.step, limit - done)
            step = asyncio.create_task(self._step(report, chosen, size))
            try:
                more = await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.gather(step, return_exceptions=True)  # what it publishes is to be told of
                raise
            finally:
                if progress is not None:
                    progress(report)
            if not more:
                return
            done = report.published + report.skipped

    async def _step(self, report: Report, chosen: "_Chosen", size: int) -> bool:
        """Publishes some; returns whether there may be more."""
        target = chosen.target
        found = await self._store.stored(chosen.narrow, size, report.after, chosen.upto)
        had: Collection[str] = ()
        if not (target.repeatable or report.again):
            had = await self._store.done(target.name, [one.message.id for one in found])
        due = [one.message for one in found if one.message.id not in had]
        try:
            if not report.dry_run:
                await self._bus.send(target.queue, [_marked(message, again=report.again) for message in due])
        except NotDurable as error:
            report.problem = str(error)
            return False
        report.published += len(due)
        report.skipped += len(found) - len(due)
        report.after = found[-1].seq if found else report.after
        return bool(found)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is published, for whom, up to which place."""

    target: Target
    narrow: EventFilter
    upto: int


def _marked(message: Message, *, again: bool) -> Message:
    return replace(message, headers={**message.headers, REPLAY: AGAIN if again else ONCE})
