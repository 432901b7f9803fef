"""Runs a worker: fetches deliveries, hands their events over, settles them. Nobody else settles anything.

A handler says what went wrong by raising, and errors are named by what should happen next; here is the one place that
turns them into outcomes. While the store is away the worker keeps what it has in hand and waits: an outage must not
push a queue's messages through the retry ladder.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from hub import failpoints, metrics, retry
from hub.calls.facts import received_at
from hub.errors import BusClosed, NotDurable, StoreUnavailable, Undecodable
from hub.events import Event, Message, to_event
from hub.ports import (
    Ack,
    Attempt,
    Bus,
    DeadLetter,
    Delivery,
    Held,
    Inbox,
    Outcome,
    QueueSpec,
    Retry,
    Snooze,
    Subscription,
)

_PATIENCE: Final = 15.0  # seconds that a stopping worker gives the batch in hand
_IDLE: Final = 0.1  # seconds without a delivery after which the queue counts as empty
_SILENCE: Final = 0.3  # seconds: three looks without a delivery
_AFTER_OUTAGE: Final = 5.0  # longer than the outbox's relay sleeps
_PAUSE: Final = (0.25, 10.0)
_COURTESY, _LOOK = 1.0, 0.05  # seconds before a batch, while people wait on the line
NOTHING: Final = Held(0, 0, 0, 0)
_log = structlog.get_logger("worker")

Handler = Callable[[Sequence[Event]], Awaitable[Mapping[str, Exception]]]
"""Takes events, repetitions among them; returns what went wrong, by the id of the event that failed.

Raising fails all of them.
"""

Note = Callable[[Sequence[Attempt]], Awaitable[None]]
"""Keeps failed attempts. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What happens because of an event.

    Attributes:
        name: ``persistence``, ``crm``…; metrics and logs carry it.
        queue: what it consumes.
        handle: what it does with a batch.
        batch: events in one call of ``handle`` at most.
        prefetch: deliveries in hand at most; more than ``batch`` keeps the next batch ready while one is handled.
        decode: makes an event of a message. Raises Undecodable.
        inbox: of a worker whose effect must not be repeated: where its handler notes the events that it has had it for.
            These are not handed over any more, unless an operator wants them again. None: the effect may be repeated.
    """

    name: str
    queue: QueueSpec
    handle: Handler
    batch: int = 1
    prefetch: int = 20
    inbox: Inbox | None = None
    decode: Callable[[Message], Event] = to_event


class Service(Protocol):
    """A worker of a process: its runner, and whatever else it does beside its queue."""

    @property
    def runner(self) -> "Runner":
        """Who takes its deliveries."""
        ...

    @property
    def process(self) -> str | None:
        """The name by which it tells the others what it has in hand; None where it tells nothing."""
        ...

    async def run(self) -> None:
        """Works until ``stop``."""
        ...

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand, and return."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A role without a queue: what it does, it does because it is time."""

    @property
    def name(self) -> str:
        """As ``trunkline worker`` takes it."""
        ...

    @property
    def started(self) -> bool:
        """Whether ``run`` has begun."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """What does not work at the moment and is tried again, by source, one line each."""
        ...

    async def run(self) -> None:
        """Works until ``stop``."""
        ...

    def stop(self) -> None:
        """Asks ``run`` to finish what is in hand, and return."""
        ...


class Runner:
    """One worker at one bus. ``run`` until ``stop``.

    Attributes:
        crowded: whether people wait on the line for what else this process does; a batch lets them pass for a moment.
    """

    def __init__(
        self,
        worker: Worker,
        bus: Bus,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        note: Note | None = None,
    ) -> None:
        self.worker = worker
        self._note = note
        self._bus = bus
        self._clock = clock
        self._stopping = asyncio.Event()
        self._subscription: Subscription | None = None
        self._waiting_since: float | None = None
        self._reached: datetime | None = None
        self._lost = True
        self._patience = 0.0  # at the first registration
        self._distrusted_until = 0.0
        self.crowded: Callable[[], bool] = lambda: False

    @property
    def registered(self) -> bool:
        """Whether deliveries can arrive: the broker knows this consumer."""
        return self._subscription is not None and self._subscription.registered

    @property
    def started(self) -> bool:
        """Whether ``run`` has begun."""
        return self._subscription is not None

    async def held(self) -> Held:
        """What the subscription has in hand. Raises NotDurable where the bus does not answer."""
        return NOTHING if self._subscription is None else await self._subscription.held()

    def watermark(self) -> datetime | None:
        """Up to when every event that reached the queue has been handled; None where that is not known.

        It is now while the queue has nothing for us, and the receipt of the oldest event of the last batch while we
        work through a backlog. What a timer concludes from silence holds only up to here. For some seconds after an
        outage it is not known: what the ingress kept meanwhile is on its way.
        """
        if not self.registered or monotonic() < self._distrusted_until:
            return None
        waiting = self._waiting_since
        if waiting is not None and not self._lost and monotonic() - waiting > _SILENCE:
            return self._clock()
        return self._reached

    def stop(self) -> None:
        """Asks ``run`` to finish the batch in hand and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Works until stopped. What is in hand is finished, what is not goes back to the queue."""
        await self._bus.declare([self.worker.queue])
        self._subscription = subscription = self._bus.subscribe(self.worker.queue.name, self.worker.prefetch)
        try:
            while not self._stopping.is_set():
                deliveries = await self._next(subscription)
                await self._courtesy()
                await self._finish(subscription, deliveries)
        except BusClosed:
            _log.info("worker.bus_closed", worker=self.worker.name)
        finally:
            await subscription.close()

    async def _courtesy(self) -> None:
        """What is in the queue is safe there; who is on the line hangs up."""
        until = monotonic() + _COURTESY
        while self.crowded() and monotonic() < until and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._stopping.wait()

    async def _next(self, subscription: Subscription) -> list[Delivery]:
        """Waits for the next batch; empty once stopped."""
        self._waiting_since = monotonic()
        fetching = asyncio.create_task(subscription.fetch(self.worker.batch))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not (fetching.done() or stopping.done()):
                await asyncio.wait((fetching, stopping), timeout=_IDLE, return_when=asyncio.FIRST_COMPLETED)
                self._look(subscription)
            self._look(subscription)
            return fetching.result() if fetching.done() else []
        finally:
            self._waiting_since = None
            await _ended(fetching, stopping)

    def _look(self, subscription: Subscription) -> None:
        """Silence counts from the registration: what waited for us meanwhile is on its way only then."""
        if not subscription.registered:
            self._lost = True
            self._waiting_since = monotonic()
        elif self._lost:
            self._lost = False
            self._distrusted_until = monotonic() + self._patience
            self._patience = _AFTER_OUTAGE

    async def _finish(self, subscription: Subscription, deliveries: list[Delivery]) -> None:
        """Handles a batch; a stop in the middle lets it finish, within limits."""
        if not deliveries:
            return
        batch = asyncio.create_task(self._batch(subscription, deliveries))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((batch, stopping), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((batch,), timeout=_PATIENCE)  # no wait at all, unless we are being stopped
            if batch.done():
                batch.result()
            else:
                _log.warning("worker.batch_abandoned", worker=self.worker.name, deliveries=len(deliveries))
        finally:
            await _ended(batch, stopping)

    async def _batch(self, subscription: Subscription, deliveries: list[Delivery]) -> None:
        began = perf_counter()
        failpoints.hit("worker.after_receive")
        decoded, outcomes = _decode(deliveries, self.worker.decode)
        events = [event for _, event in decoded]
        now = self._clock()
        self._reached = min((_receipt(event, now) for event in events), default=now)
        try:
            failures = await self._handle(events) if events else {}
        except StoreUnavailable as error:
            _log.info("worker.put_back", worker=self.worker.name, deliveries=len(decoded), reason=str(error))
            decoded, failures = [], {}
        failpoints.hit("worker.after_effect")
        now = self._clock()
        for delivery, event in decoded:
            failure = failures.get(event.id)
            outcomes.append((delivery, Ack() if failure is None else _outcome(failure, delivery.attempt, now)))
        await self._note_failures(outcomes, now)
        await self._settle(subscription, outcomes)
        failpoints.hit("worker.after_settle")
        self._report(outcomes, perf_counter() - began)

    async def _note_failures(self, outcomes: Sequence[tuple[Delivery, Outcome]], now: datetime) -> None:
        """Notes what failed before it is settled: the ledger must not take for lost what waits for its retry."""
        failed = [
            _attempt(self.worker.name, delivery, outcome, now)
            for delivery, outcome in outcomes
            if not isinstance(outcome, Ack)
        ]
        if failed and self._note is not None:
            try:
                await self._note(failed)
            except StoreUnavailable as error:
                _log.warning("worker.not_noted", worker=self.worker.name, attempts=len(failed), reason=str(error))

    async def _settle(self, subscription: Subscription, outcomes: list[tuple[Delivery, Outcome]]) -> None:
        """Settles a batch. What was decided stays decided while the bus cannot write it down."""
        pauses = _pauses()
        while outcomes:
            try:
                return await subscription.settle(outcomes)
            except NotDurable as error:
                if self._stopping.is_set():
                    _log.warning("worker.not_settled", worker=self.worker.name, reason=str(error))
                    return None
                await self._pause(next(pauses), error)
        return None

    async def _handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """What went wrong, by event id. Waits for the store as long as it is away.

        Raises:
            StoreUnavailable: we are being stopped and it still is: nothing is decided, the events go back as they are.
        """
        pauses = _pauses()
        while True:
            try:
                failpoints.hit("worker.before_effect")
                due = await self._due(events)
                return await self.worker.handle(due) if due else {}
            except StoreUnavailable as error:
                if self._stopping.is_set():
                    raise
                await self._pause(next(pauses), error)
            except Exception as error:  # noqa: BLE001  whatever a handler raises is planned by its name
                return await self._one_by_one(events, error)

    async def _due(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those whose effect is still to be had.

        Not replays alone are looked up: a letter that is requeued after its event was replayed must not do it twice.
        """
        if self.worker.inbox is None:
            return events
        done = await self.worker.inbox.done(self.worker.name, [event.id for event in events if not event.again])
        if done:
            _log.info("worker.skipped", worker=self.worker.name, event_ids=sorted(done))
        return [event for event in events if event.again or event.id not in done]

    async def _pause(self, seconds: float, error: Exception) -> None:
        """Waits, or is stopped."""
        _log.warning("worker.paused", worker=self.worker.name, reason=str(error), again_in=round(seconds, 2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _one_by_one(self, events: Sequence[Event], error: Exception) -> Mapping[str, Exception]:
        """Finds the guilty: one event that fails must not fail its neighbours."""
        if len(events) == 1:
            return {events[0].id: error}
        _log.warning("worker.batch_failed", worker=self.worker.name, events=len(events), error=repr(error)[:500])
        failures: dict[str, Exception] = {}
        for event in events:
            failures.update(await self._handle([event]))
        return failures

    def _report(self, outcomes: Sequence[tuple[Delivery, Outcome]], seconds: float) -> None:
        metrics.batch_size.labels(self.worker.name).observe(len(outcomes))
        metrics.batch_seconds.labels(self.worker.name).observe(seconds)
        for delivery, outcome in outcomes:
            name = type(outcome).__name__.lower()
            metrics.deliveries.labels(self.worker.name, name).inc()
            if not isinstance(outcome, Ack):
                _log.warning(
                    "worker.attempt",
                    worker=self.worker.name,
                    event_id=delivery.message.id,
                    routing_key=delivery.message.routing_key,
                    attempt=delivery.attempt,
                    outcome=name,
                    reason=outcome.reason[:500],
                )


async def _ended(*tasks: "asyncio.Task[Any]") -> None:
    """Cancels what still runs, and waits for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _pauses() -> Iterator[float]:
    """Seconds between two tries, growing, spread so that many workers do not come back at once."""
    pause, longest = _PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311  no secret hangs on it
        pause = min(pause * 2, longest)


def _receipt(event: Event, now: datetime) -> datetime:
    """When the event was received; a stranger's may say something that is no time, which is its handler's to refuse."""
    try:
        return min(now, received_at(event))
    except ValueError:
        return now


def _decode(
    deliveries: Sequence[Delivery], decode: Callable[[Message], Event]
) -> tuple[list[tuple[Delivery, Event]], list[tuple[Delivery, Outcome]]]:
    """The events, and the outcomes of what is no event: waiting would not make it one."""
    decoded: list[tuple[Delivery, Event]] = []
    outcomes: list[tuple[Delivery, Outcome]] = []
    for delivery in deliveries:
        try:
            decoded.append((delivery, decode(delivery.message)))
        except Undecodable as error:
            outcomes.append((delivery, DeadLetter(f"undecodable: {error}")))
    return decoded, outcomes


def _attempt(worker: str, delivery: Delivery, outcome: Retry | Snooze | DeadLetter, now: datetime) -> Attempt:
    after = None if isinstance(outcome, DeadLetter) else outcome.after
    return Attempt(
        worker=worker,
        event_id=delivery.message.id,
        call_id=delivery.message.headers.get("ce-subject"),
        attempt=delivery.attempt,
        outcome=type(outcome).__name__.lower(),
        reason=outcome.reason[:500],
        at=now,
        until=None if after is None else now + timedelta(seconds=after),
    )


def _outcome(error: Exception, attempt: int, now: datetime) -> Outcome:
    """What the bus is to do about an error."""
    plan = retry.plan(error, attempt, now, random.random())  # noqa: S311  jitter
    match plan.next:
        case retry.Next.SNOOZE:
            return Snooze(plan.after, plan.reason)
        case retry.Next.RETRY:
            return Retry(plan.after, plan.reason)
        case retry.Next.DEAD:
            return DeadLetter(plan.reason)
