"""Bystanders: what the broker buried because its consumers ended, over and over, while it was in hand.

It says nothing against a message that it lay beside the one that crashed a worker. Suspects are handled alone long
before the limit (``hub.bus.suspicion``), so few get here: those of a process that died before it could look. They are
put among the suspects by themselves, once; the mark that they carry keeps them dead the second time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hub.errors import NotDurable

log = structlog.get_logger("bus")

INTERVAL: Final = 15.0
_LEFT_TO_OTHERS: Final = 20


class Bystanders:
    """Looks after the dead letters of one queue until it is cancelled."""

    def __init__(
        self,
        queue: str,
        *,
        dead: Callable[[str], Awaitable[int]],
        give_back: Callable[[str], Awaitable[int]],
        interval: float = INTERVAL,
    ) -> None:
        """Looks at nothing yet.

        Args:
            queue: whose.
            dead: counts its dead letters. Raises NotDurable.
            give_back: puts bystanders among them back; returns how many. Raises NotDurable.
            interval: seconds between two counts.
        """
        self._queue = queue
        self._dead = dead
        self._give_back = give_back
        self._interval = interval
        self._known = 0

    async def run(self) -> None:
        """Looks again and again."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._look()
            except NotDurable as error:
                log.debug("bus.not_looked", queue=self._queue, reason=str(error))
            # While we read the letters nobody else sees them: of many we leave more to the others.
            await asyncio.sleep(max(self._interval, _LEFT_TO_OTHERS * (loop.time() - began)))

    async def _look(self) -> None:
        """Reads the letters only where there are more than were there before: they are read from the head, each."""
        count = await self._dead(self._queue)
        if count > self._known:
            back = await self._give_back(self._queue)
            count -= back
            if back:
                log.warning("bus.given_back", queue=self._queue, count=back)
        self._known = count
