"""Confirm first, hedged by the outbox: how the ingress publishes.

A quorum's confirm survives the loss of the ingress host and a local file does not, so the broker is asked first. Where
its confirm is late or cannot come, the event is synced to the outbox and accepted; a late confirm does no harm, since
the id is the same. A path that only outages use is a path nobody has tested: a small share takes it always.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.disk import Disk
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Bus

_BATCH: Final = 200
_LONGEST_PAUSE: Final = 2.0
_FIRST_PAUSE: Final = 0.25
_LOOK_AGAIN: Final = 2.0  # seconds: a process that was killed while it relayed has left claims that run out
_log = structlog.get_logger("outbox")


class Hedge:
    """``publish`` returns once the events are durable somewhere: confirmed by the bus, or synced in the outbox.

    A relay hands what the outbox holds over to the bus, in the order of acceptance, and removes it after its confirm.
    """

    def __init__(self, bus: Bus, disk: Disk, *, bound: float, share: float, only_outbox: bool = False) -> None:
        """Opens nothing.

        Args:
            bus: where events belong.
            disk: where they wait, already open when ``start`` is called.
            bound: seconds that a confirm may take.
            share: fraction of events that take the outbox in any case.
            only_outbox: never wait for the bus.
        """
        self._bus = bus
        self._disk = disk
        self._bound = bound
        self._share = share
        self._only_outbox = only_outbox
        self._late: set[asyncio.Task[None]] = set()
        self._kept = asyncio.Event()
        self._relay: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to relay."""
        self._kept.set()  # what an earlier process left
        self._relay = asyncio.create_task(self._relay_for_ever(), name="outbox relay")

    async def publish(self, messages: Sequence[Message]) -> None:
        """Makes events durable. Raises NotDurable where neither the bus nor the outbox could take them."""
        why, asked = self._shortcut(), None
        if why is None:
            asked = asyncio.create_task(self._bus.publish(messages))
            why = await self._confirmed(asked)
        if why is None:
            return
        try:
            await self._disk.keep(messages)
        except NotDurable as refusal:
            await self._after_all(messages, asked, refusal)
            return
        metrics.outbox_taken.labels(why).inc(len(messages))
        self._kept.set()

    async def nudge(self) -> None:
        """Something was put into the outbox by other means."""
        self._kept.set()

    async def close(self) -> None:
        """Stops relaying; what is left stays in the outbox."""
        for task in (*self._late, self._relay):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, NotDurable):
                    await task

    def _shortcut(self) -> str | None:
        if self._only_outbox:
            return "configured"
        if not self._bus.state()[0]:
            return "bus_down"
        return "share" if random.random() < self._share else None  # noqa: S311  no secret hangs on it

    async def _confirmed(self, asked: "asyncio.Task[None]") -> str | None:
        """None once the bus has confirmed; else why the outbox has to take the events."""
        done, _ = await asyncio.wait((asked,), timeout=self._bound)
        if not done:
            self._late.add(asked)
            asked.add_done_callback(self._forget)
            return "late"
        if asked.cancelled():
            return "refused"
        error = asked.exception()
        if error is None:
            return None
        if not isinstance(error, NotDurable):
            _log.error("outbox.publish_failed", error=repr(error))
        return "refused"

    async def _after_all(
        self, messages: Sequence[Message], asked: "asyncio.Task[None] | None", refusal: NotDurable
    ) -> None:
        """The outbox does not take the events: the bus is asked where it was not, and waited for where it is late."""
        if asked is None:
            asked = asyncio.create_task(self._bus.publish(messages))
        await asyncio.wait((asked,))
        error = "cancelled" if asked.cancelled() else asked.exception()
        if error is not None:
            raise NotDurable(f"{refusal}; the bus: {error}")

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: the outbox has the event, the relay will try again

    async def _relay_for_ever(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._kept.clear()
            try:
                while await self._relay_some():
                    pause = _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001  whatever it is, the events must not wait for a restart
                _log.warning("outbox.waiting", reason=str(error) or repr(error), again_in=round(pause, 2))
                metrics.outbox_rows.set(await self._rows())
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            metrics.outbox_rows.set(await self._rows())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):  # wait_for swallows a cancellation that meets the event
                    await self._kept.wait()

    async def _relay_some(self) -> int:
        """Hands the oldest events over; returns how many. Raises NotDurable where the bus does not take them."""
        up, trouble = self._bus.state()
        if not up and await self._disk.waiting():
            raise NotDurable(trouble)
        claimed = await self._disk.claim(_BATCH)
        if not claimed:
            return 0
        try:
            await self._hand_over(claimed)
        except NotDurable:
            if len(claimed) == 1 or not self._bus.state()[0]:
                raise
            # The bus is up and does not take them together: one that it will not take must not stand before the others.
            taken = [one for one in claimed if await self._taken(one)]
            if not taken:
                raise
        _log.info("outbox.relayed", events=len(claimed))
        return len(claimed)

    async def _taken(self, one: tuple[int, Message]) -> bool:
        try:
            await self._hand_over([one])
        except NotDurable as error:
            _log.warning("outbox.event_refused", event_id=one[1].id, reason=str(error))
            return False
        return True

    async def _hand_over(self, claimed: Sequence[tuple[int, Message]]) -> None:
        seqs = [seq for seq, _ in claimed]
        failpoints.hit("relay.before_publish")
        try:
            await self._bus.publish([message for _, message in claimed])
        except BaseException:
            with contextlib.suppress(NotDurable):
                await self._disk.release(seqs)
            raise
        failpoints.hit("relay.after_confirm")
        await self._disk.remove(seqs)

    async def _rows(self) -> int:
        try:
            return await self._disk.waiting()
        except NotDurable:
            return -1
