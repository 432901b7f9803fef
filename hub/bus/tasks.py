"""Ending background tasks."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

log = structlog.get_logger("bus")

PATIENCE: Final = 10.0


async def end(tasks: Iterable["asyncio.Task[Any] | None"]) -> None:
    """Cancels tasks and waits until they have ended; for ten seconds at most, so that nothing holds up a shutdown."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        _, stuck = await asyncio.wait(running, timeout=PATIENCE)
        for task in stuck:
            log.error("bus.task_stuck", task=task.get_name())
