"""How late the event loop is: whatever blocks it stops answers, heartbeats and settling alike."""

import asyncio
from typing import Final

import structlog

from hub import metrics

_EVERY: Final = 0.25  # seconds
_LATE: Final = 1.0
_log = structlog.get_logger("process")


async def watch(every: float = _EVERY, late: float = _LATE) -> None:
    """Looks for ever: a metric each time, a line where the loop stood still for ``late`` seconds or more."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        behind = loop.time() - due
        metrics.loop_late.set(behind)
        if behind >= late:
            _log.error("process.loop_blocked", seconds=round(behind, 1))
