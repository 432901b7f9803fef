"""A process among those that run the same worker: what it tells of itself every second, and what the others told."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from secrets import token_hex
from time import monotonic
from typing import Final

from hub.errors import StoreUnavailable
from hub.ports import Presence, Store
from workers.runner import Runner

BEAT: Final = 1.0
"""Seconds between two."""

LEASE: Final = timedelta(seconds=5)
"""Whoever has been silent for longer is not waited for: it was killed, or stands still."""

_GOODBYE: Final = 2.0  # seconds


class Crew:
    """One process's place in it.

    Attributes:
        process: its name, never given twice.
    """

    def __init__(
        self, store: Store, runner: Runner, *, clock: Callable[[], datetime], timer: Callable[[], float] | None = None
    ) -> None:
        self.process = f"{socket.gethostname()}.{os.getpid()}.{token_hex(4)}"
        self._store = store
        self._runner = runner
        self._clock = clock
        self._timer = timer or monotonic
        self._beat = 0
        self._others: dict[str, tuple[Presence, float]] = {}  # and when we first heard that beat

    async def tell(self) -> float:
        """Tells, and hears the others; returns the seconds until the next time.

        Raises:
            StoreUnavailable, NotDurable: a part does not answer; the others notice that we are silent.
        """
        held = await self._runner.held()
        worker, registered, watermark = self._runner.worker.name, self._runner.registered, self._runner.watermark()
        mine = Presence(self.process, worker, self._beat + 1, registered, watermark, held, self._clock())
        others = await self._store.present(mine)
        self._beat += 1
        self._others = {one.process: (one, self._first_heard(one)) for one in others if one.worker == worker}
        return BEAT

    def _first_heard(self, other: Presence) -> float:
        """By our own monotonic clock: a beat that a clock a day ahead has dated must not be waited for for a day."""
        before, heard = self._others.get(other.process, (None, 0.0))
        return heard if before is not None and before.beat == other.beat else self._timer()

    def watermark(self) -> datetime | None:
        """Up to when every event that reached the queue has been handled by whoever got it; None where unknown.

        Of a process that consumes and was heard of within ``LEASE``, its own word counts; of others there is none.
        """
        mark, since = self._runner.watermark(), self._timer() - LEASE.total_seconds()
        for other, heard in self._others.values():
            if other.registered and heard >= since:
                mark = None if mark is None or other.watermark is None else min(mark, other.watermark)
        return mark

    async def leave(self) -> None:
        """Says that nothing is in hand any more."""
        with contextlib.suppress(StoreUnavailable, TimeoutError):  # then the others will notice by the silence
            async with asyncio.timeout(_GOODBYE):
                await self._store.leave(self.process)
