"""Who may begin, where more come at one moment than can be answered at once.

An event loop that is given a thousand questions begins all of them before it ends one: the first is answered as late as
the last. Through the turnstile goes a handful at a time, in the order of their coming, and only while few are being
ended; so the first are answered first, and whoever would be answered too late is told so while there is time for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_TOGETHER: Final = 200  # begin in one turn of the event loop
_ENDING: Final = 200  # at once; nobody begins meanwhile
_LEAST, _MOST = 0.0015, 0.02  # seconds of an end
_UNKNOWN: Final = 0.0025  # until some are known
_A_NO: Final = 0.4  # of an end, where nobody was inside
_ENOUGH: Final = 8  # ends at once that tell how long one takes
_LEARNT: Final = 0.05  # of each new measurement


class Turnstile:
    """First come, first served, on one event loop."""

    def __init__(self, places: int, clock: Callable[[], float]) -> None:
        """Nobody is there.

        Args:
            places: inside at once.
            clock: the event loop's.
        """
        self._places, self._clock = places, clock
        self._inside = 0
        self._waiting: deque[tuple[float, float, asyncio.Future[bool]]] = deque()
        self._begun = self._ending = 0
        self._turning = False
        self._each = _UNKNOWN

    async def enter(self, until: float, takes: float) -> bool:
        """Waits for a turn; True: inside, until ``leave``; False: there is only time left to say so.

        Args:
            until: when the end has to begin, on the clock.
            takes: seconds from here to there, as far as that is known.
        """
        if not self._waiting and self._free():
            self._begin()
            self._turn_soon()
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((until, takes, turn))
        self._turn_soon()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise

    def leave(self) -> None:
        """One place is free again."""
        self._inside -= 1
        self._turn_soon()

    @contextmanager
    def ending(self) -> Iterator[float]:
        """From the answer's content to the answer; what begins waits for what ends.

        Yields the seconds that those before it take.
        """
        self._ending += 1
        before, began = self._ending, self._clock()
        try:
            yield self._each * (before - 1)
        finally:
            together = max(before, self._ending)
            self._ending -= 1
            if together >= _ENOUGH:
                each = (self._clock() - began) / together
                self._each += _LEARNT * (min(max(each, _LEAST), _MOST) - self._each)
            self._turn_soon()

    def _free(self) -> bool:
        return self._begun < _TOGETHER and self._ending < _ENDING and self._inside < self._places

    def _begin(self) -> None:
        self._begun += 1
        self._inside += 1

    def _turn_soon(self) -> None:
        if not self._turning and (self._begun or self._waiting):
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """The next handful, as far as nobody has to be ended first."""
        self._turning = False
        self._begun = 0
        while self._waiting and self._free():
            until, takes, turn = self._waiting.popleft()
            if turn.done():
                continue
            # Those inside are ended before it, and those behind may all have to be told that it is too late.
            ends = self._each * (self._inside + _A_NO * len(self._waiting))
            if self._clock() + takes + ends <= until:
                self._begin()
                turn.set_result(True)
            else:
                self._begun += 1
                turn.set_result(False)
        if self._begun:
            self._turn_soon()
