"""The embedded bus: one SQLite file, for every process of one machine.

Nothing to install and nothing to run, with the promises of the broker: what ``publish`` returned for is synced to the
disk in every queue that is bound to it; deliveries are leased, so what a killed worker had in hand comes back.

What wakes a consumer: a commit in the same process, a byte from another process (``hub.bus.wakeup``), the time at which
a retry is due, and, should all that fail, a slow poll.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import structlog

from hub.bus import dead_rows, rows, unrouted_rows
from hub.bus.inbox import Inbox
from hub.bus.tasks import end
from hub.bus.wakeup import Wakeup
from hub.errors import NotDurable
from hub.events import Message
from hub.journal import Journal
from hub.ports import Ack, Census, Dead, DeadLetter, Delivery, Depth, Failure, Held, Outcome, QueueSpec, Retry, Snooze

log = structlog.get_logger("bus")

LEASE: Final = 60.0
POLL: Final = 5.0
_SPOILT: Final = "its routing key or its headers cannot be read in the bus's file: expected UTF-8, and a JSON object"
SEARCHED: Final = 100_000
"""Messages that a census looks at."""

_PAGE: Final = 2_000  # of them, in one transaction: nobody who publishes waits for long

_Publishing = tuple[Sequence[Message], "asyncio.Future[None]"]


class SqliteBus:
    """``hub.ports.Bus`` on one SQLite file.

    Attributes:
        journal: the file's writer.
    """

    def __init__(self, path: Path, *, lease: float = LEASE, poll: float = POLL) -> None:
        """Opens nothing yet.

        Args:
            path: the file; beside it stand its ``-wal`` and ``-shm``, and the directory ``<path>.wake``.
            lease: seconds for which deliveries stay with a process that shows no sign of life.
            poll: seconds between looks for what no wake-up told of, and for consumers that are gone.
        """
        self.journal = Journal(path, rows.MIGRATIONS)
        self.lease = lease
        self.poll = poll
        self.wakeup = Wakeup(path.with_name(f"{path.name}.wake"), self._wake_all)
        self._routes = rows.Routes()
        self._publishing: list[_Publishing] = []
        self._subscriptions: set[SqliteSubscription] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._kept_at = time.time()

    async def start(self) -> None:
        """Opens the file. Raises ConfigurationError where it cannot be used."""
        await self.journal.start()
        try:
            self.wakeup.open()
        except OSError as error:
            log.warning("bus.no_wakeup", error=str(error))

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Makes the queues exist with their bindings."""
        await self.journal.run(partial(rows.declare, specs=tuple(queues)))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when the messages are synced to the disk. Raises NotDurable."""
        if not messages:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        # All publishes of one turn of the loop become one write: fewer statements, less hand-over between two threads.
        if not self._publishing:
            loop.call_soon(self._flush)
        self._publishing.append((messages, future))
        await future

    async def command(self, messages: Sequence[Message]) -> None:
        """Returns when the commands are synced to the disk. Raises NotDurable."""
        if messages:
            commanding = partial(rows.command, routes=self._routes, messages=tuple(messages))
            self.committed(await self.journal.run(commanding))

    async def send(self, queue: str, messages: Sequence[Message]) -> None:
        """Returns when the messages are synced to the disk in that queue. Raises NotDurable."""
        if messages:
            sending = partial(rows.send, routes=self._routes, name=queue, messages=tuple(messages))
            self.committed({await self.journal.run(sending)})

    def subscribe(self, queue: str, prefetch: int) -> "SqliteSubscription":
        """A consumer of ``queue`` with at most ``prefetch`` deliveries in hand."""
        self.wakeup.listen()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="bus keeper")
        subscription = SqliteSubscription(self, queue, prefetch)
        self._subscriptions.add(subscription)
        return subscription

    async def depth(self, queue: str) -> Depth:
        """Counts of the queue now; in flight is what consumers have in hand and what waits for a retry."""
        return await self.journal.run(partial(rows.depth, name=queue))

    async def census(self, queue: str, ids: Collection[str], *, search: bool = False) -> Census:  # noqa: ARG002
        """Counts, and the ids that are in the queue in whatever state, among its ``SEARCHED`` oldest messages.

        A message that is settled leaves, and none changes its place: a walk in their order misses none that stays.
        """
        wanted, found = orjson.dumps(list(ids)).decode(), set[str]()
        after: int | None = 0
        for _ in range(SEARCHED // _PAGE if ids else 0):
            if after is None or len(found) == len(ids):
                break
            page = partial(rows.among, name=queue, ids=wanted, after=after, limit=_PAGE)
            more, after = await self.journal.run(page)
            found |= more
        depth = await self.depth(queue)
        return Census(
            ready=depth.ready,
            aside=0,
            consumers=await self.journal.run(partial(rows.consumers, name=queue)),
            dead=depth.dead,
            found=frozenset(found),
            looked=after is None or len(found) == len(ids),
        )

    async def dead(
        self, queue: str, limit: int = 50, after: str | None = None, where: Callable[[Dead], bool] | None = None
    ) -> list[Dead]:
        """The dead letters of the oldest messages."""
        place = dead_rows.place(after)
        return await self.journal.run(partial(dead_rows.dead, name=queue, limit=limit, after=place, where=where))

    async def requeue(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Makes dead letters ready again, at their old places, in one transaction."""
        row, count = await self.journal.run(partial(dead_rows.requeue, name=queue, ids=ids, limit=limit))
        self.committed({row})
        return count

    async def discard(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Forgets dead letters, in one transaction."""
        return await self.journal.run(partial(dead_rows.discard, name=queue, ids=ids, limit=limit))

    async def reroute(self) -> int:
        """Lays what no queue was bound to when it came into those that are bound now; a page in one transaction."""
        count, after = 0, 0
        place: int | None = 0
        while place is not None:
            page = partial(unrouted_rows.reroute, routes=self._routes, after=after, limit=_PAGE)
            queues, moved, place = await self.journal.run(page)
            count, after = count + len(moved), place or 0
            if queues:
                self.committed(queues)
        return count

    async def bury(
        self, queue: str, message: Message, reason: str, attempt: int, history: Sequence[Failure] = ()
    ) -> None:
        """Stores a message as a dead letter, in one transaction."""
        letter = Dead(message, reason, attempt, datetime.now(UTC), tuple(history))
        await self.journal.run(partial(dead_rows.bury, name=queue, letter=letter))

    def state(self) -> tuple[bool, str]:
        """Whether the last write could be synced, and one line that says why not."""
        return self.journal.state()

    async def close(self) -> None:
        """Gives back what subscriptions have in hand, finishes what waits, closes the file."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        keeper, self._keeper = self._keeper, None
        await end([keeper])
        self.wakeup.close()
        await self.journal.close()

    def committed(self, queues: set[int] | None = None) -> None:
        """Something became ready: in those queues, or in any. Wakes whoever waits, here and elsewhere."""
        for subscription in self._subscriptions:
            if queues is None or subscription.queue_id in queues or subscription.queue_id is None:
                subscription.wake()
        self.wakeup.ring()

    def left(self, subscription: "SqliteSubscription") -> None:
        """A subscription has closed."""
        self._subscriptions.discard(subscription)

    def _wake_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.wake()

    def _flush(self) -> None:
        batch, self._publishing = self._publishing, []
        messages = [message for group, _ in batch for message in group]
        written = self.journal.submit(partial(rows.publish, routes=self._routes, messages=messages))
        written.add_done_callback(partial(self._published, batch))

    def _published(self, batch: Sequence[_Publishing], written: "asyncio.Future[set[int]]") -> None:
        error = written.exception()
        if error is None:
            self.committed(written.result())
        elif not isinstance(error, NotDurable):
            error = NotDurable(f"the message cannot be stored: {error}")
        for _, future in batch:
            if future.done():
                continue  # cancelled; what was written stays written
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    async def _keep(self) -> None:
        """Renews this process's leases, and ends those of processes that are gone."""
        while True:
            try:
                await self._sweep()
            except (NotDurable, sqlite3.Error) as error:
                log.warning("bus.keep_failed", error=str(error))
            await asyncio.sleep(min(self.poll, self.lease / 3))

    async def _sweep(self) -> None:
        now = time.time()
        if not 0 <= now - self._kept_at < self.lease:  # we hung, and what we had may be somebody else's by now
            for subscription in self._subscriptions:
                subscription.doubt()
        self._kept_at = now
        renewing = partial(rows.renew, process=self.wakeup.name, now=time.time(), lease=self.lease)
        others = await self.journal.run(renewing)
        ended = {process for _, process, _ in others if self.wakeup.is_dead(process)}
        gone = [consumer for consumer, process, over in others if over or process in ended]
        if gone:
            log.warning("bus.consumers_gone", consumers=len(gone))
            await self.journal.run(partial(rows.release, consumers=gone, now=time.time(), silent=True))
            self.committed()
        for process in ended:
            self.wakeup.forget(process)


class SqliteSubscription:
    """``hub.ports.Subscription`` on one queue of the file.

    A task of its own leases deliveries up to ``prefetch`` ahead, so that ``fetch`` never owns what it may lose when it
    is cancelled, and a worker that takes them one by one does not wait for the disk each time.

    Attributes:
        queue_id: the queue's row, once it is known.
    """

    def __init__(self, bus: SqliteBus, queue: str, prefetch: int) -> None:
        self.queue_id: int | None = None
        self._bus = bus
        self._queue = queue
        self._prefetch = prefetch
        self._inbox = Inbox(queue)
        self._in_hand: set[int] = set()  # message ids, those in the inbox too
        self._consumer: int | None = None
        self._news = asyncio.Event()
        self._doubtful = False
        self._closed = False
        self._pump = asyncio.create_task(self._run(), name=f"bus {queue}")

    @property
    def registered(self) -> bool:
        """True while the file knows this consumer."""
        return self._consumer is not None and not self._closed

    async def held(self) -> Held:
        """What is in hand; the file itself knows whose each delivery is, so they have no numbers."""
        return Held(self._consumer or 0, 0, 0, len(self._in_hand))

    async def fetch(self, limit: int) -> list[Delivery]:
        """Waits for the first delivery, returns at most ``limit``, oldest first."""
        taken = await self._inbox.fetch(limit)
        self._want_more()
        return taken

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Settles all of them in one transaction. Raises NotDurable where the disk does not take it: then none is."""
        now = time.time()
        verdicts: dict[int, rows.Verdicts] = {}
        for delivery, outcome in outcomes:
            consumer, message = delivery.tag
            _judge(verdicts.setdefault(consumer, rows.Verdicts(now)), message, delivery.attempt, outcome, now)
        settling = [self._settle(consumer, verdict) for consumer, verdict in verdicts.items()]
        # Shielded: the write is under way and will free its room in our hand, whether anybody still waits or not.
        await asyncio.gather(*map(asyncio.shield, settling))

    def _settle(self, consumer: int, verdicts: rows.Verdicts) -> "asyncio.Future[bool]":
        settling = partial(rows.settle, queue=self.queue_id or 0, consumer=consumer, verdicts=verdicts)
        writing = self._bus.journal.submit(settling)
        writing.add_done_callback(partial(self._settled, consumer, verdicts))
        return writing

    def _settled(self, consumer: int, verdicts: rows.Verdicts, writing: "asyncio.Future[bool]") -> None:
        if writing.cancelled() or writing.exception() is not None:
            return  # they are still in hand, and their worker knows
        if consumer == self._consumer:
            self._in_hand.difference_update(verdicts.messages())
        if writing.result() and self.queue_id is not None:
            self._bus.committed({self.queue_id})
        if verdicts.parked:
            self.wake()  # to learn when the next one is due
        self._want_more()

    async def close(self) -> None:
        """Gives back what was taken and not settled."""
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        await end([self._pump])
        self._bus.left(self)
        if self._consumer is not None:
            giving = partial(rows.release, consumers=[self._consumer], now=time.time(), silent=False)
            with contextlib.suppress(NotDurable):  # then the lease runs out
                await self._bus.journal.run(giving)
            self._bus.committed()

    def wake(self) -> None:
        """There may be something to take."""
        self._news.set()

    def doubt(self) -> None:
        """What is in hand may be ours no more."""
        self._doubtful = True
        self.wake()

    def _want_more(self) -> None:
        # Half a prefetch at a time: taking each single delivery that has room again would be a transaction for each.
        if len(self._inbox) == 0 or self._prefetch - len(self._in_hand) >= (self._prefetch + 1) // 2:
            self.wake()

    async def _run(self) -> None:
        while True:
            pause = self._bus.poll
            self._news.clear()
            try:
                pause = await self._take()
            except Exception as error:  # noqa: BLE001  whatever it is, the queue must not wait for a restart
                log.warning("bus.take_failed", queue=self._queue, error=str(error) or repr(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    async def _take(self) -> float:
        """Leases what there is room for; returns seconds until it is worth another look."""
        room = self._prefetch - len(self._in_hand)
        if room <= 0 and not self._doubtful:
            return self._bus.poll
        taking = self._bus.journal.submit(
            partial(
                rows.take,
                name=self._queue,
                process=self._bus.wakeup.name,
                consumer=self._consumer,
                room=max(0, room),
                now=time.time(),
                lease=self._bus.lease,
            )
        )
        # Shielded: were it cancelled halfway, close() would not know the consumer whose deliveries to give back.
        try:
            taken = await asyncio.shield(taking)
        except asyncio.CancelledError:
            with contextlib.suppress(NotDurable, sqlite3.Error):
                self._consumer = (await taking).consumer
            raise
        self._doubtful = False
        if taken.consumer != self._consumer:
            self._in_hand.clear()  # our lease was lost: what we had is somebody else's
            self._inbox.drop(lambda delivery: delivery.tag[0] != taken.consumer)
            self.wake()  # there may be room for more than was asked for
        self.queue_id, self._consumer = taken.queue, taken.consumer
        self._in_hand.update(row[0] for row in taken.rows)
        self._inbox.put(self._deliveries(taken))
        if taken.next_at is None:
            return self._bus.poll
        return min(self._bus.poll, max(0.0, taken.next_at - time.time()))

    def _deliveries(self, taken: rows.Taken) -> list[Delivery]:
        """What was taken; what the disk has spoilt goes to the dead letters, each for itself."""
        deliveries: list[Delivery] = []
        spoilt = rows.Verdicts(time.time())
        for number, attempt, key, headers, body in taken.rows:
            message = rows.message(key, headers, body)
            if message is None:
                spoilt.dead.append((spoilt.now, attempt, _SPOILT, number))
            else:
                deliveries.append(Delivery(message, attempt, (taken.consumer, number)))
        if spoilt.dead:
            log.error("bus.spoilt", queue=self._queue, messages=[row[-1] for row in spoilt.dead])
            self._settle(taken.consumer, spoilt)
        return deliveries


def _judge(verdicts: rows.Verdicts, message: int, attempt: int, outcome: Outcome, now: float) -> None:
    match outcome:
        case Ack():
            verdicts.acked.append(message)
        case Retry(after, reason):
            verdicts.parked.append((now + after, attempt + 1, reason, message))
        case Snooze(after, reason):
            verdicts.parked.append((now + after, attempt, reason, message))
        case DeadLetter(reason):
            verdicts.dead.append((now, attempt, reason, message))
