"""A range of a vendor's records, once, by an operator: resumed where an earlier run of it was interrupted."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hub.errors import Permanent, StoreUnavailable, TrunklineError
from hub.events import timestamp
from hub.polling.gathering import Count, Gatherer
from hub.polling.windows import windows
from hub.ports.polls import Polls
from hub.retry import describe

TRIES: Final = 5
"""Of one window, before the run ends; what it has done stays done."""

_PAUSE: Final = 2.0  # seconds before the second try; doubles
_LONGEST_PAUSE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        since: where this run began: behind the beginning of the range where an earlier one was interrupted.
        upto: everything before is durable; in a dry run, counted.
        until: the end of the range.
        count: of this run.
        problem: why it ended before its end; None where it did not.
    """

    since: datetime
    upto: datetime
    until: datetime
    count: Count
    problem: str | None = None


def stream(source: str, since: datetime) -> str:
    """The name under which a range's progress is stored."""
    return f"backfill/{source}/{timestamp(since)}"


async def backfill(
    gatherer: Gatherer,
    polls: Polls,
    since: datetime,
    until: datetime,
    *,
    window: float,
    dry_run: bool = False,
    tell: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Progress:
    """Brings a range to the bus, window by window, and stores after each how far it came.

    A range that was done to its end begins anew the next time: records may have changed.

    Args:
        gatherer: of the source; without a bus for a dry run.
        polls: where progress is stored.
        since: inclusive.
        until: exclusive.
        window: seconds of calls asked for at once, at most.
        dry_run: only count, from the beginning, and store nothing.
        tell: hears of the progress after each window.
        clock: our time.
        pause: waits between two tries.

    Returns:
        The progress at the end, with ``problem`` where a window failed for good, or ``TRIES`` times.
    """
    name = stream(gatherer.source.name, since)
    done = None if dry_run else await polls.watermark(name)
    begin = since if done is None else min(max(since, done), until)
    progress = Progress(begin, begin, until, Count())
    tell(progress)
    for first, last in windows(begin, until, window):
        try:
            count = await _insisting(gatherer, first, last, pause)
            if not dry_run:
                await polls.advance(name, last, clock())
        except TrunklineError as error:
            return Progress(begin, progress.upto, until, progress.count, describe(error))
        progress = Progress(begin, last, until, progress.count + count)
        tell(progress)
    if not dry_run:
        try:
            await polls.forget(name)
        except StoreUnavailable as error:
            return Progress(begin, progress.upto, until, progress.count, describe(error))
    return progress


async def _insisting(
    gatherer: Gatherer, first: datetime, last: datetime, pause: Callable[[float], Awaitable[None]]
) -> Count:
    """One window, tried again after what passes. Raises the last error."""
    for attempt in range(1, TRIES + 1):
        try:
            return await gatherer.gather(first, last, "backfill")
        except Permanent:
            raise
        except TrunklineError as error:
            if attempt == TRIES:
                raise
            wait = _PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311
            await pause(min(_LONGEST_PAUSE, max(wait, _wished(error))))
    raise AssertionError("unreachable")


def _wished(error: TrunklineError) -> float:
    """Seconds for which the other side, or its lane, wants to be left alone."""
    until = getattr(error, "until", None)
    return (until - datetime.now(UTC)).total_seconds() if isinstance(until, datetime) else 0.0
