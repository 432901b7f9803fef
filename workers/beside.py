"""What a worker does beside its queue: steps that are repeated for as long as it runs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from hub.errors import NotDurable, StoreUnavailable, TrunklineError

Step = Callable[[], Awaitable[float]]
"""Does something, and returns the seconds until it is worth doing again."""

OUTAGES: Final[tuple[type[TrunklineError], ...]] = (StoreUnavailable, NotDurable)
AFTER_OUTAGE: Final = 1.0
_SHORTEST: Final = 0.001  # seconds in which others have their turn


async def repeat(
    step: Step,
    stopping: asyncio.Event,
    failed: Callable[[TrunklineError], None],
    *,
    outages: tuple[type[TrunklineError], ...] = OUTAGES,
    news: asyncio.Event | None = None,
) -> None:
    """Repeats a step until we are stopping. An outage of a part around us is waited out; a defect is raised.

    Args:
        step: what to do.
        stopping: set once there is nothing more to do.
        failed: hears of an outage.
        outages: the errors that are one.
        news: cuts a wait short when it is set; whoever sets it, sets it when we are stopping too.
    """
    while not stopping.is_set():
        try:
            wait = await step()
        except outages as error:
            failed(error)
            wait = AFTER_OUTAGE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait, _SHORTEST)):
                await (news or stopping).wait()


async def together(
    run: Callable[[], Awaitable[None]],
    stop: Callable[[], None],
    *,
    working: Sequence["asyncio.Task[Any]"],
    beside: Sequence["asyncio.Task[Any]"] = (),
    patience: float,
    at_last: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Runs a worker's queue and its loops: they end together, and whatever one of them raised is raised.

    Args:
        run: the queue, until ``stop``.
        stop: asks everything to finish; also called when a loop ends, which is by a defect: somebody starts us anew.
        working: loops that finish what they have in hand, within ``patience``.
        beside: loops that have nothing in hand.
        patience: seconds.
        at_last: done before what is left is cut short.
    """
    tasks = [*working, *beside]
    for task in tasks:
        task.add_done_callback(lambda _: stop())
    try:
        await run()
    finally:
        stop()
        if working:
            await asyncio.wait(working, timeout=patience)
        if at_last is not None:
            await at_last()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()
