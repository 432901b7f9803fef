"""Whether a consumer really gets what is in its queue. A connection that is up proves nothing.

Every quarter of a minute the queue is asked whether anything waits in it. Where nothing does, probes are published into
it, one for each consumer, over the connection that events are published on; where something does, that is the probe.
A consumer that has room for it and hears nothing is not served. Probes never expire, since what expires would be a dead
letter; instead there are none while anything waits, so that at most one for each consumer can be left behind, and
whoever gets one acknowledges it and forgets it.

A consumer whose prefetch is full gets nothing, and rightly: its worker waits for the store, say. Then nothing is
judged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, Protocol

import structlog

from hub.bus.topology import Waiting

log = structlog.get_logger("bus")

INTERVAL: Final = 15.0
_REBUILD, _RECONNECT, _GIVE_UP = 3, 4, 6  # looks without a word
_MOST_PROBES: Final = 32


class Watched(Protocol):
    """A consumer."""

    @property
    def queue(self) -> str:
        """Its queue's name."""
        ...

    @property
    def registered(self) -> bool:
        """Whether the broker knows it."""
        ...

    @property
    def heard_at(self) -> float:
        """When it last got something or had no room for it, by the event loop's clock."""
        ...

    @property
    def full(self) -> bool:
        """Whether it has no room."""
        ...

    def rebuild(self, reason: str) -> None:
        """Ends the consumer; another is made."""
        ...


class Step(Enum):
    """What a silence asks for."""

    NOTHING = 0
    REBUILD = _REBUILD
    RECONNECT = _RECONNECT
    GIVE_UP = _GIVE_UP


class Silence:
    """How often a consumer was silent while it should not have been. Pure.

    Looks are counted and not seconds: a process that was stopped for a while has looked once, and not often.

    Attributes:
        looks: without a word, one after another.
    """

    def __init__(self) -> None:
        self.looks = 0

    def broken(self) -> None:
        """The consumer was heard, or had no room."""
        self.looks = 0

    def again(self) -> Step:
        """It was silent once more; each step is said once."""
        self.looks += 1
        return next((step for step in Step if step.value == self.looks), Step.NOTHING)


class Watchdog:
    """Watches one consumer until it is cancelled."""

    def __init__(
        self,
        watched: Watched,
        *,
        look: Callable[[str], Awaitable[Waiting | None]],
        probe: Callable[[str, int], Awaitable[bool]],
        reconnect: Callable[[str], None],
        give_up: Callable[[str], None],
        interval: float = INTERVAL,
    ) -> None:
        """Watches nothing yet.

        Args:
            watched: the consumer.
            look: asks a queue; None where it cannot be asked now.
            probe: publishes so many probes into a queue; whether all of them are there.
            reconnect: ends the connection; another is made.
            give_up: the consumer cannot be mended from here; the reason.
            interval: seconds between two looks.
        """
        self._watched = watched
        self._look = look
        self._probe = probe
        self._reconnect = reconnect
        self._give_up = give_up
        self._interval = interval
        self._silence = Silence()
        self._since = 0.0
        self._due = False  # whether something should have arrived since then

    async def run(self) -> None:
        """Looks again and again."""
        loop = asyncio.get_running_loop()
        while True:
            self._since = loop.time()
            self._due = self._has_room() and await self._something_comes()
            await asyncio.sleep(self._interval)
            self._judge()

    def _judge(self) -> None:
        if self._watched.full or self._watched.heard_at >= self._since:
            self._silence.broken()
        elif self._due and self._watched.registered:
            self._act(self._silence.again())

    def _act(self, step: Step) -> None:
        if step is Step.NOTHING:
            return
        seconds = self._silence.looks * self._interval
        reason = f"nothing arrived for {seconds:.0f} s, though there is something in the queue and room for it"
        log.error("bus.consumer_silent", queue=self._watched.queue, reason=reason, step=step.name.lower())
        match step:
            case Step.REBUILD:
                self._watched.rebuild(reason)
            case Step.RECONNECT:
                self._reconnect(reason)
            case Step.GIVE_UP:
                self._give_up(f"{self._watched.queue}: {reason}")

    def _has_room(self) -> bool:
        return self._watched.registered and not self._watched.full

    async def _something_comes(self) -> bool:
        """Whether something is ready for the consumer: what waits already, else a probe."""
        waiting = await self._look(self._watched.queue)
        if waiting is None:
            return False
        if waiting.ready:
            return True
        return await self._probe(self._watched.queue, max(1, min(waiting.consumers, _MOST_PROBES)))
