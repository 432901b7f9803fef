"""How fast an operator's verb goes: as many a second as was asked for, in steps of half a second."""

import asyncio
from time import monotonic


class Pace:
    """From now on.

    Attributes:
        step: how many to do at once.
    """

    def __init__(self, rate: float | None, most: int) -> None:
        """Begins to count.

        Args:
            rate: how many a second at most; as many as can be without it.
            most: how many at once at most.
        """
        self.step = most if rate is None else max(1, min(most, int(rate / 2)))
        self._rate = rate
        self._began = monotonic()

    async def turn(self, done: int) -> None:
        """Waits until it is time for more, where so many are done."""
        if self._rate is not None:
            await asyncio.sleep(self._began + done / self._rate - monotonic())
