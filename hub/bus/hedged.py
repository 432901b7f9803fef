"""Confirm first, hedged by the outbox: how the ingress publishes.

A quorum's confirm survives the loss of the ingress host and a local file does not, so the broker is asked first. Where
its confirm is late or cannot come, the event is synced to the outbox and accepted; a late confirm does no harm, since
the id is the same. A path that only outages use is a path nobody has tested: a small share takes it always.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from hub import failpoints, metrics
from hub.disk import Disk
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Bus

_BATCH: Final = 200
_MOST_TRIES: Final = 30  # of an event that the bus refuses while it takes others; _LONGEST_HOLD apart in the end
_LONGEST_PAUSE: Final = 2.0
_LONGEST_HOLD: Final = 10.0
_FIRST_PAUSE: Final = 0.25
_LOOK_AGAIN: Final = 2.0  # seconds: a process that was killed while it relayed has left claims that run out
_log = structlog.get_logger("outbox")


class Hedge:
    """``publish`` returns once the events are durable somewhere: confirmed by the bus, or synced in the outbox.

    A relay hands what the outbox holds over to the bus, in the order of acceptance, and removes it after its confirm.
    An event that the bus refuses does not stand before the others: it goes alone from then on, and is set aside where
    that is in vain again and again while the bus takes others.
    """

    def __init__(
        self, bus: Bus, disk: Disk, *, bound: float, share: float, only_outbox: bool = False, rate: float = 5000
    ) -> None:
        """Opens nothing.

        Args:
            bus: where events belong.
            disk: where they wait, already open when ``start`` is called.
            bound: seconds that a confirm may take.
            share: fraction of events that take the outbox in any case.
            only_outbox: never wait for the bus.
            rate: events a second that the relay hands over at most, so that a backlog does not crowd out what comes in.
        """
        self._bus = bus
        self._disk = disk
        self._bound = bound
        self._share = share
        self._only_outbox = only_outbox
        self._rate = rate
        self._together = _BATCH
        self._refused: dict[int, tuple[str, int]] = {}  # events that the bus did not take: why, and how often
        self._last_refusal = ""
        self._untold: set[int] = set()  # of them, those whose last refusal is not counted yet
        self._takes = False  # the bus has taken something since the last refusal
        self._asked: set[asyncio.Task[None]] = set()
        self._kept = asyncio.Event()
        self._relay: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to relay."""
        self._kept.set()  # what an earlier process left
        self._relay = asyncio.create_task(self._relay_for_ever(), name="outbox relay")

    async def publish(self, messages: Sequence[Message], *, bound: float | None = None) -> None:
        """Makes events durable.

        Args:
            messages: the events.
            bound: seconds that the bus's confirm may take, where that is less than usual.

        Raises:
            NotDurable: neither the bus nor the outbox could take them.
        """
        await self._make_durable(messages, self._bound if bound is None else min(bound, self._bound))
        self._disk.notes.add(message.id for message in messages)

    async def _make_durable(self, messages: Sequence[Message], bound: float) -> None:
        why, asked = self._shortcut(), None
        if why is None:
            asked = self._ask(messages)
            why = await self._confirmed(asked, bound)
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
        for task in (*self._asked, self._relay):
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

    def _ask(self, messages: Sequence[Message]) -> "asyncio.Task[None]":
        """Asks the bus, in a task that outlives whoever waits for it: a late confirm, a cancelled handler."""
        task = asyncio.create_task(self._bus.publish(messages))
        self._asked.add(task)
        task.add_done_callback(self._forget)
        return task

    async def _confirmed(self, asked: "asyncio.Task[None]", bound: float) -> str | None:
        """None once the bus has confirmed; else why the outbox has to take the events."""
        done, _ = await asyncio.wait((asked,), timeout=bound)
        if not done:
            return "late"
        if asked.cancelled():
            return "refused"
        error = asked.exception()
        if error is None:
            self._takes = True
            return None
        if not isinstance(error, NotDurable):
            _log.error("outbox.publish_failed", error=repr(error))
        return "refused"

    async def _after_all(
        self, messages: Sequence[Message], asked: "asyncio.Task[None] | None", refusal: NotDurable
    ) -> None:
        """The outbox does not take the events: the bus is asked where it was not, and waited for where it is late."""
        if asked is None:
            asked = self._ask(messages)
        await asyncio.wait((asked,))
        error = "cancelled" if asked.cancelled() else asked.exception()
        if error is not None:
            raise NotDurable(f"{refusal}; the bus: {error}")

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: the outbox has the event, the relay will try again

    async def _relay_for_ever(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._kept.clear()
            try:
                while await self._relay_at_rate():
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

    async def _relay_at_rate(self) -> int:
        """Hands some over, and takes for it the time that the rate allows."""
        clock = asyncio.get_running_loop().time
        began = clock()
        count = await self._relay_some()
        await asyncio.sleep(max(0.0, count / self._rate - (clock() - began)))
        return count

    async def _relay_some(self) -> int:
        """Hands the oldest events over; returns how many. Raises NotDurable where the bus does not take them."""
        await self._count_refusals()
        up, trouble = self._bus.state()
        if not up and await self._disk.waiting():
            raise NotDurable(trouble)
        claimed = dict(await self._disk.claim(self._together))
        if not claimed:
            return 0
        count, claims = len(claimed), set(claimed)
        try:
            alone = [seq for seq in claimed if seq in self._refused]
            taken = await self._together_or_alone({seq: claimed[seq] for seq in claimed if seq not in alone}, claims)
            for seq in alone:
                taken += await self._alone(seq, claimed[seq], claims)
        finally:
            if claims:
                with contextlib.suppress(NotDurable):
                    await self._disk.release(list(claims))
        if not taken:
            raise NotDurable(self._last_refusal or trouble)
        _log.info("outbox.relayed", events=taken, claimed=count)
        return taken

    async def _together_or_alone(self, group: Mapping[int, Message], claims: set[int]) -> int:
        """How many of these the bus took: all at once, or, where it refuses that, those that it takes alone."""
        if len(group) > 1:
            try:
                await self._hand_over(group, claims)
            except Exception as error:
                self._last_refusal = str(error) or repr(error)
                if not self._bus.state()[0]:
                    self._together = 1  # one of them may be what took the bus down: the next time each goes alone
                    raise
            else:
                self._together = min(_BATCH, 2 * self._together)
                return len(group)
        return sum([await self._alone(seq, message, claims) for seq, message in group.items()])

    async def _alone(self, seq: int, message: Message, claims: set[int]) -> int:
        """1 where the bus took it, else 0: then it is tried again, after the others, and ever more seldom."""
        if not self._bus.state()[0]:
            return 0
        try:
            await self._hand_over({seq: message}, claims)
        except Exception as error:  # noqa: BLE001  one that cannot even be written must not stand before the others
            self._last_refusal = str(error) or repr(error)
            _, before = self._refused.get(seq, ("", 0))
            self._refused[seq] = (self._last_refusal, before + 1)
            self._untold.add(seq)
            self._takes = False
            _log.warning("outbox.event_refused", event_id=message.id, reason=self._last_refusal)
            if before:  # the first time it may have been the bus's end that it met
                claims.discard(seq)
                await self._disk.hold([seq], min(_LONGEST_HOLD, _FIRST_PAUSE * 2**before))
            return 0
        self._together = min(_BATCH, 2 * self._together)
        return 1

    async def _hand_over(self, group: Mapping[int, Message], claims: set[int]) -> None:
        failpoints.hit("relay.before_publish")
        await self._bus.publish(list(group.values()))
        failpoints.hit("relay.after_confirm")
        self._takes = True
        claims.difference_update(group)  # whatever comes now: it is on the bus, so let the claims run out
        for seq in group:
            self._refused.pop(seq, None)
            self._untold.discard(seq)
        await self._disk.remove(list(group))

    async def _count_refusals(self) -> None:
        """A refusal counts once the bus has taken something since: else the trouble is the bus's."""
        if not (self._untold and self._takes):
            return
        reasons = {seq: self._refused[seq][0] for seq in self._untold}
        self._untold.clear()
        for seq in await self._disk.refused(reasons, _MOST_TRIES):
            self._refused.pop(seq, None)

    async def _rows(self) -> int:
        try:
            return await self._disk.waiting()
        except NotDurable:
            return -1
