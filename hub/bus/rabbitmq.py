"""The bus on RabbitMQ: two connections, one to publish and one to consume, both kept whatever the broker does.

Two, because a broker that is short of memory stops those who publish: acknowledgements must still go through. The
topology is declared anew on each connection (``hub.bus.topology``), so a deleted queue or a fresh broker mends itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar, cast

import structlog
from aiormq.abc import AbstractConnection
from aiormq.channel import Channel

from hub.bus import bystanders, letters, parking, partitions, topology, watchdog
from hub.bus.bystanders import Bystanders
from hub.bus.consumer import MOST_BYTES, RabbitSubscription
from hub.bus.link import LASTED, Broken, Link, Pause, broken_by
from hub.bus.ordered import OrderedSubscription
from hub.bus.parking import Ladder, Parking
from hub.bus.publisher import Publisher, is_blocked
from hub.bus.slots import slot
from hub.bus.tasks import end
from hub.bus.watchdog import Watchdog
from hub.bus.wire import Letter, Received, given_up, probe, publication, straight
from hub.errors import NotDurable
from hub.events import COMMANDS, UNROUTED, Message
from hub.ports import Census, Dead, Depth, Failure, QueueSpec

log = structlog.get_logger("bus")

T = TypeVar("T")

_FIRST_ATTEMPT: Final = 2.0  # seconds that `start` waits for a broker that does not answer
_BETWEEN_REPAIRS: Final = 1.0


class RabbitBus:
    """``hub.ports.Bus`` on RabbitMQ 3.10 and later."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        heartbeat: int = 15,
        confirm_timeout: float = 5.0,
        patience: float = 0.25,
        ladder: Sequence[int] = topology.LADDER,
        native_retry: bool = False,
        most_bytes: int = MOST_BYTES,
        watch: float = watchdog.INTERVAL,
        rescue: float = bystanders.INTERVAL,
        on_stuck: Callable[[str], None] | None = None,
    ) -> None:
        """Connects nowhere yet.

        Args:
            urls: ``amqp://`` or ``amqps://``, one for each node of the broker; tried in turn.
            heartbeat: seconds.
            confirm_timeout: seconds to wait for a confirm.
            patience: seconds for which ``publish``, ``depth`` and ``dead`` wait for a connection before NotDurable.
            ladder: seconds that a delivery can be parked for, ascending; a queue each.
            native_retry: whether the queue's own delay is used where the broker has it (``hub.bus.parking``).
            most_bytes: of the bodies that a subscription may have in hand.
            watch: seconds between two looks whether a consumer gets what it should (``hub.bus.watchdog``).
            rescue: seconds between two looks for bystanders among the dead letters (``hub.bus.bystanders``).
            on_stuck: called with the reason where a consumer gets nothing for six looks and could not be mended: this
                process had better be another one.
        """
        self._confirm_timeout = confirm_timeout
        self._patience = patience
        self._ladder = tuple(ladder)
        self._native_retry = native_retry
        self._most_bytes = most_bytes
        self._watch, self._rescue = watch, rescue
        self._on_stuck = on_stuck
        self._parking: Parking = Ladder(self._ladder)
        self._specs: dict[str, QueueSpec] = {}
        self._declared: set[str] = set()
        self._declaring = asyncio.Lock()
        self._declared_once = False
        self._repairing: asyncio.Task[None] | None = None
        self._subscriptions: list[RabbitSubscription | OrderedSubscription] = []
        self._publisher = Publisher(confirm_timeout=confirm_timeout, patience=patience, on_returned=self._repair)
        self._publishing = Link(urls, "publishing", heartbeat=heartbeat, serve=self._serve)
        self._consuming = Link(urls, "consuming", heartbeat=heartbeat)

    async def start(self) -> None:
        """Begins to connect. Waits for the first attempt to end, two seconds at most, and never fails."""
        self._publishing.start()
        self._consuming.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ATTEMPT):
                await self._consuming.tried()
                await self._publishing.tried()
                if not self._publishing.trouble:
                    await self._publisher.attached()

    async def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Makes the queues exist with their bindings, now or with the next connection."""
        for spec in queues:
            known = self._specs.get(spec.name, spec)
            bindings = tuple(dict.fromkeys((*known.bindings, *spec.bindings)))
            commands = tuple(dict.fromkeys((*known.commands, *spec.commands)))
            self._specs[spec.name] = QueueSpec(spec.name, bindings, known.ordered, commands)
            self._declared.discard(spec.name)
        try:
            await self._declare(await self._consuming.connection(self._patience))
        except Broken as broken:
            log.warning("bus.declared_later", reason=str(broken))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every message. Raises NotDurable."""
        slotted = any(spec.ordered for spec in self._specs.values())
        await self._deliver([publication(message, slotted=slotted) for message in messages])

    async def command(self, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every command. Raises NotDurable."""
        await self._deliver([publication(message, exchange=COMMANDS) for message in messages])

    async def send(self, queue: str, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every message in that queue. Raises NotDurable."""
        if self._is_ordered(queue):
            homes = [partitions.partition(queue, slot(message)) for message in messages]
            letters = [straight(one, home, slotted=True) for one, home in zip(messages, homes, strict=True)]
            return await self._deliver(letters)
        return await self._deliver([straight(message, queue) for message in messages])

    def subscribe(self, queue: str, prefetch: int) -> RabbitSubscription | OrderedSubscription:
        """A consumer of ``queue`` with at most ``prefetch`` deliveries in hand.

        That a queue is ordered is known by its declaration here.
        """
        if self._is_ordered(queue):
            ordered = OrderedSubscription(
                queue,
                prefetch,
                link=self._consuming,
                publisher=self._publisher,
                prepare=self._prepare,
                patience=self._confirm_timeout,
                watch=self._watch,
            )
            self._subscriptions.append(ordered)
            return ordered
        subscription = RabbitSubscription(
            queue,
            prefetch,
            link=self._consuming,
            publisher=self._publisher,
            prepare=self._prepare,
            parking=lambda: self._parking,
            isolates=lambda: queue in self._specs,
            patience=self._confirm_timeout,
            most_bytes=self._most_bytes,
        )
        self._subscriptions.append(subscription)
        self._attend(subscription)
        return subscription

    async def depth(self, queue: str) -> Depth:
        """Counts of the queue, as the broker gives them now.

        In flight is what waits in the queue's retry queues or among its suspects, and what this instance's own
        subscriptions have in hand: AMQP does not tell what others have. A message on its way back from a retry queue is
        in no count for a moment.
        """
        in_hand = sum(one.in_hand for one in self._subscriptions if one.queue == queue)
        if self._is_ordered(queue):
            total, held, buried = await self._ask(lambda connection: partitions.depths(connection, queue))
            if total is None:
                raise NotDurable(f"there is no queue {queue}")
            return Depth(total, in_hand + held, buried, alone=True)
        retries = (topology.retry_queue(queue, seconds) for seconds in self._ladder)
        names = [queue, topology.dead_queue(queue), topology.suspects_queue(queue), *retries]
        ready, dead, *waiting = await self._ask(lambda connection: topology.counts(connection, names))
        if ready is None:
            raise NotDurable(f"there is no queue {queue}")
        return Depth(ready, in_hand + sum(count or 0 for count in waiting), dead or 0, alone=True)

    async def census(self, queue: str, ids: Collection[str], *, search: bool = False) -> Census:
        """Counts; the broker knows nothing of ids, so they are only looked for where ``search`` allows to read all.

        Of an ordered queue that would disturb the order, so there nobody looks.
        """
        if self._is_ordered(queue):
            counted = await self._ask(lambda connection: partitions.census(connection, queue))
            if counted is None:
                raise NotDurable(f"there is no queue {queue}")
            return counted

        async def ask(connection: AbstractConnection) -> Census:
            others = [topology.suspects_queue(queue), topology.dead_queue(queue)]
            standing = await topology.standing(connection, queue)
            if standing is None:
                raise NotDurable(f"there is no queue {queue}")
            aside, dead = await topology.counts(connection, others)
            seen: list[str] | None = None
            if search and not standing[1]:
                seen = await letters.names(connection, queue)
                standing = await topology.standing(connection, queue) or standing
            ready, consumers = standing
            return Census(
                ready=ready,
                aside=aside or 0,
                consumers=consumers,
                dead=dead or 0,
                found=None if seen is None else frozenset(ids) & frozenset(seen),
                # Somebody who came in between, a consumer or another reader, may have had what we did not see.
                looked=seen is not None and not consumers and len(seen) >= ready,
            )

        return await self._ask(ask)

    async def dead(
        self, queue: str, limit: int = 50, after: str | None = None, where: Callable[[Dead], bool] | None = None
    ) -> list[Dead]:
        """The oldest dead letters. Who looks at the same moment sees those that are left."""
        place = letters.place(after)
        return await self._ask(lambda connection: letters.look(connection, queue, limit, place, where))

    async def requeue(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Publishes dead letters to their work queue, and takes them out once that is confirmed."""

        async def move(found: Sequence[Received]) -> list[str | None]:
            ordered = self._is_ordered(queue)
            homes = [partitions.home(queue, one.headers) if ordered else queue for one in found]
            return await self._publisher.deliver([one.revived(to) for one, to in zip(found, homes, strict=True)])

        return await self._ask(lambda connection: letters.take(connection, queue, ids, limit, move))

    async def discard(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Takes dead letters out, and puts them nowhere."""

        async def forget(found: Sequence[Received]) -> list[str | None]:
            return [None] * len(found)

        return await self._ask(lambda connection: letters.take(connection, queue, ids, limit, forget))

    async def reroute(self) -> int:
        """Publishes again what no queue was bound to when it came, and takes it out once that is confirmed.

        What still has no queue comes back to where it was, behind the others.
        """

        async def move(found: Sequence[Received]) -> list[str | None]:
            slotted = any(spec.ordered for spec in self._specs.values())
            return await self._publisher.deliver([publication(one.message, slotted=slotted) for one in found])

        return await self._ask(lambda connection: letters.reroute(connection, UNROUTED, move))

    async def bury(
        self, queue: str, message: Message, reason: str, attempt: int, history: Sequence[Failure] = ()
    ) -> None:
        """Returns when the broker has confirmed the message among the queue's dead letters. Raises NotDurable."""
        ordered = self._is_ordered(queue)
        letter = Dead(message, reason, attempt, datetime.now(UTC), tuple(history))
        await self._deliver([given_up(letter, topology.dead_queue(queue), slotted=ordered)])

    def state(self) -> tuple[bool, str]:
        """Whether messages can be published now, and one line that says why not."""
        trouble = self._publishing.trouble or self._publisher.trouble
        return not trouble, trouble

    async def close(self) -> None:
        """Stops consuming, then publishing, then disconnects; takes seconds at most, whatever the broker does."""
        await asyncio.gather(*(subscription.close() for subscription in self._subscriptions))
        await end([self._repairing])
        await asyncio.gather(self._publishing.close(), self._consuming.close())

    async def _deliver(self, letters: Sequence[Letter]) -> None:
        outcomes = await self._publisher.deliver(letters)
        problem = next((outcome for outcome in outcomes if outcome is not None), None)
        if problem is not None:
            raise NotDurable(problem)

    # --- what the connections carry ----------------------------------------------------------------------------------

    async def _serve(self, connection: AbstractConnection) -> None:
        """Publishes on a connection for as long as it is good, with a fresh channel after each that was not."""
        pause = Pause()
        loop = asyncio.get_running_loop()
        while True:
            await self._ready_to_publish(connection)
            async with broken_by():
                channel = await connection.channel(on_return_raises=True, timeout=topology.RPC_TIMEOUT)
            began = loop.time()
            problem, connected = await self._publisher.serve(connection, cast("Channel", channel))
            log.warning("bus.channel_replaced", reason=problem)
            if is_blocked(connection):
                await connection.ready()
            elif not connected:
                raise Broken(problem)
            if loop.time() - began > LASTED:
                pause.reset()
            else:
                await pause.wait()
            async with broken_by():
                await topology.close_channel(channel)

    async def _ready_to_publish(self, connection: AbstractConnection) -> None:
        """Nothing is published before its queue exists.

        What was declared once is only checked: asking for each queue asks its leader, and one that is away would hold
        up what goes to all others. The rest of the topology is declared beside the publishing.
        """
        self._declared.clear()
        if self._declared_once and await self._stands(connection):
            self._declare_soon()
        else:
            await self._declare(connection)
            self._declared_once = True

    async def _stands(self, connection: AbstractConnection) -> bool:
        async with broken_by():
            kinds = ((partitions if spec.ordered else topology, spec) for spec in self._specs.values())
            return await topology.stands(connection, [part for kind, spec in kinds for part in kind.bindings(spec)])

    async def _declare(self, connection: AbstractConnection) -> None:
        """Makes exist what was not declared since the last doubt."""
        async with self._declaring:
            self._parking = parking.choose(self._ladder, connection.server_properties, native=self._native_retry)
            missing = [spec for name, spec in self._specs.items() if name not in self._declared]
            parts = [*topology.COMMON, *(part for spec in missing for part in self._parts(spec))]
            async with broken_by():
                await topology.declare(connection, parts)
            self._declared.update(spec.name for spec in missing)

    def _parts(self, spec: QueueSpec) -> Iterable[topology.Part]:
        if spec.ordered:
            return partitions.parts(spec)
        return topology.parts(spec, self._ladder, self._parking.arguments())

    def _is_ordered(self, queue: str) -> bool:
        spec = self._specs.get(queue)
        return spec is not None and spec.ordered

    async def _prepare(self, connection: AbstractConnection, queue: str) -> None:
        """Makes a queue exist before it is consumed from: it may have been deleted under the last consumer."""
        self._declared.discard(queue)
        await self._declare(connection)

    def _repair(self) -> None:
        """Something went to no queue at all: the topology is not what it was."""
        if self._repairing is None or self._repairing.done():
            log.error("bus.returned")
        self._declare_soon()

    def _declare_soon(self) -> None:
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.create_task(self._declare_again(), name="bus repairing")

    async def _declare_again(self) -> None:
        self._declared.clear()
        try:
            await self._declare(await self._consuming.connection(self._patience))
        except Broken as broken:
            log.warning("bus.declared_later", reason=str(broken))
        await asyncio.sleep(_BETWEEN_REPAIRS)

    # --- what looks after consumers ----------------------------------------------------------------------------------

    def _attend(self, subscription: RabbitSubscription) -> None:
        """Watches a consumer, and looks after its queue's dead letters."""
        watching = Watchdog(
            subscription,
            look=self._waiting,
            probe=self._probe,
            reconnect=self._consuming.replace,
            give_up=self._on_stuck or (lambda _: None),
            interval=self._watch,
        )
        rescuing = Bystanders(subscription.queue, dead=self._count_dead, give_back=self._rescued, interval=self._rescue)
        subscription.attend(watching.run(), rescuing.run())

    async def _waiting(self, queue: str) -> topology.Waiting | None:
        try:
            return await self._ask(lambda connection: topology.waiting(connection, queue))
        except NotDurable:
            return None

    async def _probe(self, queue: str, count: int) -> bool:
        outcomes = await self._publisher.deliver([probe(queue) for _ in range(count)])
        return all(outcome is None for outcome in outcomes)

    async def _count_dead(self, queue: str) -> int:
        found = await self._ask(lambda connection: topology.waiting(connection, topology.dead_queue(queue)))
        return 0 if found is None else found.ready

    async def _rescued(self, queue: str) -> int:
        async def move(found: Sequence[Received]) -> list[str | None]:
            return await self._publisher.deliver([one.isolated(topology.suspects_queue(queue)) for one in found])

        return await self._ask(lambda connection: letters.rescue(connection, queue, move))

    async def _ask(self, question: Callable[[AbstractConnection], Awaitable[T]]) -> T:
        """Asks on the consuming connection, which no alarm blocks."""
        try:
            connection = await self._consuming.connection(self._patience)
            async with broken_by():
                return await question(connection)
        except Broken as broken:
            raise NotDurable(str(broken)) from broken
