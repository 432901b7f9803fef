"""The worker of a process: its queue of commands, and the loops that send what was taken.

Commands and ``POST /v1/dial`` make the same rows; whoever takes one need not be who sends it, so every process looks
for due ones, several times a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.dialing.orders import order_of
from hub.errors import KeyReused, Permanent, StoreUnavailable, TrunklineError, Unacceptable
from hub.events import Event
from hub.operating.dialing import Dialing
from hub.ports import Bus
from hub.ports.dialing import Dial, DialStore, PlacesCalls
from workers.beside import repeat, together
from workers.dial import NAME, QUEUE
from workers.dial.commands import command
from workers.dial.sending import Sender
from workers.presence import Crew
from workers.runner import Runner, Worker

_BATCH: Final = 50
_LOOK: Final = 0.2  # seconds between two looks for what is due: a caller waits for it
_SETTLE: Final = 0.5
_SWEEP: Final = 1.0
_FORGET: Final = 300.0
_LEASE: Final = 5.0  # seconds of a claim until the intent is written, which is the next thing
_AFTER_FAILURE: Final = 1.0
_PATIENCE: Final = 15.0  # seconds that a stopping worker gives requests on their way
_log = structlog.get_logger("dial")


@dataclass(frozen=True, slots=True)
class Line:
    """A source that places calls.

    Attributes:
        free: how many requests could be sent now.
        concurrency: how many may be on their way at once.
        timeout: seconds that a request waits for its turn, and as many again that it takes.
    """

    source: str
    dialer: PlacesCalls
    free: Callable[[], int]
    concurrency: int
    timeout: float


Lines = Callable[[], AbstractAsyncContextManager[Sequence[Line]]]


class Dialling:
    """The worker; one instance for each process.

    Args:
        dialing: takes commands.
        store: with dials.
        bus: the bus.
        lines: the sources that place calls, ready to be asked, for as long as they are wanted.
        clock: aware, UTC.
    """

    def __init__(
        self,
        dialing: Dialing,
        store: DialStore,
        bus: Bus,
        lines: Lines,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Composes; opens nothing."""
        self._dialing, self._store, self._clock = dialing, store, clock
        self._lines = lines
        self._taken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._numbers = count(1)
        self._running: dict[str, set[asyncio.Task[None]]] = {}
        worker = Worker(NAME, QUEUE, self.handle, batch=_BATCH, prefetch=2 * _BATCH, decode=command)
        self.runner = Runner(worker, bus, clock=clock, note=store.attempted)
        self.crew = Crew(store, self.runner, clock=clock)

    @property
    def process(self) -> str:
        """The name of this process in the crew."""
        return self.crew.process

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Makes dials of commands; what cannot be dialled is named."""
        refused: dict[str, Exception] = {}
        for event in events:
            try:
                await self._dialing.take(order_of(event.data), event.id, event.vendor)
            except (Unacceptable, KeyReused) as error:
                refused[event.id] = Permanent(str(error))
        failpoints.hit("dial.after_take")
        self._taken.set()
        return refused

    async def run(self) -> None:
        """Works until ``stop``: the queue, the sources, and what time brings."""
        async with self._lines() as lines:
            steps = [
                asyncio.create_task(self._for_ever(step, name), name=f"dial {name}")
                for name, step in self._steps(lines)
            ]
            try:
                await together(self.runner.run, self.stop, working=steps, patience=_PATIENCE, at_last=self._finish)
            finally:
                await self.crew.leave()

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand and return."""
        self._stopping.set()
        self._taken.set()
        self.runner.stop()

    # --- what is due -------------------------------------------------------------------------------------------------

    def _steps(self, lines: Sequence[Line]) -> list[tuple[str, Callable[[], Awaitable[float]]]]:
        senders = {
            line.source: (line, Sender(line.source, line.dialer, self._store.dials, self._clock, line.timeout))
            for line in lines
        }

        async def send() -> float:
            return await self._send(senders)

        return [
            ("sending", send),
            ("settling", self._settle),
            ("sweeping", self._sweep),
            ("forgetting", self._forget),
            ("crew", self.crew.tell),
        ]

    async def _send(self, senders: Mapping[str, tuple[Line, Sender]]) -> float:
        """Claims what is due of every source that has room, and lets each go its way."""
        self._taken.clear()
        now = self._clock()
        for source in sorted(await self._store.dials.due(now)):
            if source not in senders:
                continue  # it was taken out of the configuration: nobody sends it, and its time runs out
            line, sender = senders[source]
            running = self._running.setdefault(source, set())
            room = min(line.concurrency - len(running), line.free())
            if room <= 0 or self._stopping.is_set():
                continue
            claim = f"{self.process}.{next(self._numbers)}"
            for dial in await self._store.dials.claim(source, self._clock(), room, _LEASE, claim):
                task = asyncio.create_task(self._one(sender, dial), name=f"dial {dial.dial_id}")
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: self._taken.set())
        return _LOOK

    async def _one(self, sender: Sender, dial: Dial) -> None:
        try:
            await sender.send(dial)
        except StoreUnavailable as error:  # nothing was sent; the claim runs out
            _log.warning("dial.waiting", what=sender.source, dial_id=dial.dial_id, reason=str(error))
        except Exception:  # noqa: BLE001  likewise; with an intent it is unknown then
            _log.exception("dial.defect", source=sender.source, dial_id=dial.dial_id)

    async def _finish(self) -> None:
        """Lets requests come to their end; what does not has an intent, and is unknown."""
        tasks = [task for running in self._running.values() for task in running]
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what time brings --------------------------------------------------------------------------------------------

    async def _settle(self) -> float:
        """Ties dials to calls; says what is known now of what was unknown."""
        for dial in await self._store.dials.settle(self._clock()):
            metrics.dials.labels(dial.order.source, "tied").inc()
            _log.info(
                "dial.settled",
                dial_id=dial.dial_id,
                source=dial.order.source,
                request_id=dial.request_id,
                call_id=dial.call_id,
            )
        return _SETTLE

    async def _sweep(self) -> float:
        """What was not sent in time has failed; what was sent by somebody who is gone is unknown."""
        for dial in await self._store.dials.sweep(self._clock()):
            metrics.dials.labels(dial.order.source, dial.state).inc()
            _log.warning(
                "dial.swept", dial_id=dial.dial_id, source=dial.order.source, state=dial.state, reason=dial.reason
            )
        return _SWEEP

    async def _forget(self) -> float:
        if await self._store.lead("dial.forget", self.process, self._clock(), _FORGET / 2):
            await self._store.dials.forget(self._clock())
        return _FORGET

    async def _for_ever(self, step: Callable[[], Awaitable[float]], name: str) -> None:
        """Repeats ``step``, which says how long to wait; an outage of the store is waited out."""

        def failed(error: TrunklineError) -> None:
            _log.warning("dial.waiting", what=name, reason=str(error))

        await repeat(step, self._stopping, failed, news=self._taken if name == "sending" else None)
