"""Ends: of background tasks, by us, and of what the library lets us watch."""

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


def ending(closing: "asyncio.Future[Any]", silent: str) -> str:
    """Why a connection or a channel has ended; ``silent`` where it does not say."""
    error = error_of(closing)
    return silent if error is None else f"{type(error).__name__}: {error}"


def error_of(closing: "asyncio.Future[Any]") -> BaseException | None:
    """The error that a connection or a channel has ended with."""
    return closing.exception() if closing.done() and not closing.cancelled() else None
