"""Whose turn it is: places at once, and requests a second, both no more than the other side bears."""

import asyncio
from collections import deque
from typing import Final

from aiolimiter import AsyncLimiter

from hub.outgoing.adapting import Level, Pace
from hub.outgoing.states import Verdict
from hub.outgoing.tempo import Tempo

_BURST: Final = 0.02  # of a second's requests may go at once after a rest
_DIP, _RATE_DIP = 0.05, 0.1
_TIMED_OUT, _FAILED = 0.7, 0.9
_LATELY: Final = 1.0  # seconds
_SPACING, _ENOUGH = 0.25, 10  # seconds, requests
_MOST: Final = 0.75  # of the places in use: then they may be what is too many


class Turns:
    """First come, first served.

    Attributes:
        places: requests at once, as adapted.
        rate: requests a second, as adapted.
        in_flight: how many were sent and have not ended.
    """

    def __init__(self, rate: float, concurrency: int, tempo: Tempo) -> None:
        """Args: rate: a second; concurrency: at once; tempo: how fast both adapt."""
        self.places = Level(concurrency, 1.0, calm=tempo.calm, steps=tempo.steps)
        self.rate = Level(rate, min(rate, 1.0), calm=tempo.calm, steps=tempo.steps)
        self.in_flight = 0
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._limiter = _limiter(rate)
        self._sent, self._refused = Pace(), Pace()
        self._rate_cut_at = float("-inf")
        self._paced_at = float("-inf")
        self._news = asyncio.Event()

    @property
    def limit(self) -> int:
        """Requests at once, now."""
        return max(1, int(self.places.value + 0.5))

    def free(self) -> int:
        """How many could be sent at once: no more than pass within a second."""
        room = self.limit - self._taken - len(self._waiting)
        return max(0, min(room, max(1, int(self.rate.value)))) if self._limiter.has_capacity(self._portion()) else 0

    def at_once(self) -> bool:
        """Whether ``take`` would not wait now: then it does not give way to others either."""
        ahead = self._taken >= self.limit or bool(self._waiting)
        return not ahead and self._limiter.has_capacity(self.rate.ceiling / self.rate.value)

    async def take(self) -> None:
        """Waits for a place and for the time to send; give it back with ``give``."""
        await self._place()
        try:
            await self._time()
        except BaseException:
            self.give()
            raise

    def give(self) -> None:
        """Gives a place back."""
        self._taken -= 1
        self.wake()

    def begin(self, now: float) -> None:
        """A request is sent."""
        self.in_flight += 1
        self._sent.note(now, self._memory())

    def end(self, verdict: Verdict | None, now: float, sent_at: float, *, busy: bool = False) -> None:
        """A request ended.

        Args:
            verdict: how; None where that says nothing, as of one that was cancelled.
            now: monotonic.
            sent_at: when it was sent.
            busy: it was answered that there was too much at once (503).
        """
        at_limit = self.in_flight >= self.limit
        self.in_flight -= 1
        match verdict:
            case "limited":
                self._too_many(now, sent_at)
            case "later" if busy:
                self.places.cut(now, sent_at, max(1.0, self.in_flight), _DIP)
            case "later" | "doubtful" | "not_sent" if self.places.is_news(sent_at):
                share = _FAILED if verdict == "later" else _TIMED_OUT
                self.places.cut(now, sent_at, max(1.0, self.places.value * share), _DIP)
            case "done" | "refused" | "gone":
                if at_limit:
                    self.places.grow(now)
                if now - self._paced_at < _LATELY:
                    self.rate.grow(now)
            case _:
                pass
        self.wake()

    def change(self, rate: float, concurrency: int) -> None:
        """Other ceilings."""
        self.places.limit(concurrency, 1.0)
        self.rate.limit(rate, min(rate, 1.0))
        self._limiter = _limiter(rate)
        self.wake()

    def wake(self) -> None:
        """There may be a place for somebody."""
        self._news.set()
        while self._waiting and self._taken < self.limit:
            future = self._waiting.popleft()
            if not future.done():
                self._taken += 1
                future.set_result(None)

    async def news(self, within: float) -> None:
        """Waits until something has ended, or for so many seconds."""
        self._news.clear()
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            return

    async def _place(self) -> None:
        if self._taken < self.limit and not self._waiting:
            self._taken += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give()  # it was ours already
            raise

    async def _time(self) -> None:
        """Waits as the rate wants. Where it was cut, a request costs more of the configured one."""
        loop = asyncio.get_running_loop()
        cost = self.rate.ceiling / self.rate.value
        while cost > 0:
            portion = min(cost, self._limiter.max_rate)
            if not self._limiter.has_capacity(portion):
                self._paced_at = loop.time()
            await self._limiter.acquire(portion)
            cost -= portion

    def _portion(self) -> float:
        return min(self.rate.ceiling / self.rate.value, self._limiter.max_rate)

    def _too_many(self, now: float, sent_at: float) -> None:
        """A 429: too many at once, or too many a second? It does not say; whichever limit was in use is cut."""
        paced = now - self._paced_at < max(_LATELY, self._memory())
        self._refused.note(now, self._memory())
        if (paced or self.limit <= 1) and now - self._rate_cut_at >= self._memory():
            sent = self._sent.rate(now)
            refused = min(1.0, self._refused.rate(now) / max(sent, 1e-9))  # of what was sent lately
            self.rate.cut(now, sent_at, (self.rate.value if paced else sent) * (1 - refused), _RATE_DIP)
            self._rate_cut_at = now
        if not paced or self.in_flight + 1 >= _MOST * self.limit:
            self.places.cut(now, sent_at, max(1.0, self.in_flight), _DIP)

    def _memory(self) -> float:
        """Seconds over which it is told what share was refused: enough requests to tell by."""
        return max(_SPACING, _ENOUGH / self.rate.value)


def _limiter(rate: float) -> AsyncLimiter:
    burst = max(1.0, rate * _BURST)
    return AsyncLimiter(burst, burst / rate)
