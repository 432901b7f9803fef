"""What a subscription has ready for its worker: deliveries in order, and whoever waits for them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from hub.errors import BusClosed
from hub.ports import Delivery


class Inbox:
    """A queue in memory between what brings deliveries and ``fetch``.

    ``fetch`` only waits for a signal and then takes without awaiting anything, so a cancelled one has taken nothing.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._deliveries)

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Adds deliveries behind those already here."""
        self._deliveries.extend(deliveries)
        if self._deliveries:
            self._arrived.set()

    def drop(self, gone: Callable[[Delivery], bool]) -> None:
        """Forgets the deliveries that somebody else will get."""
        self._deliveries = deque(one for one in self._deliveries if not gone(one))
        if not self._deliveries and not self._closed:
            self._arrived.clear()

    def close(self) -> None:
        """Ends every ``fetch``, now and later, with BusClosed."""
        self._closed = True
        self._deliveries.clear()
        self._arrived.set()

    async def fetch(self, limit: int) -> list[Delivery]:
        """Waits for the first delivery, returns at most ``limit``. Raises BusClosed after ``close``."""
        while True:
            await self._arrived.wait()
            if self._closed:
                raise BusClosed(f"the subscription of {self._queue} is closed")
            taken = [self._deliveries.popleft() for _ in range(min(limit, len(self._deliveries)))]
            if not self._deliveries:
                self._arrived.clear()
            if taken:
                return taken
