"""The bus on RabbitMQ: two connections, one to publish and one to consume, both kept whatever the broker does.

Two, because a broker that is short of memory stops those who publish: acknowledgements must still go through. The
topology is declared anew on each connection (``hub.bus.topology``), so a deleted queue or a fresh broker mends itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, TypeVar, cast

import structlog
from aiormq.abc import AbstractConnection
from aiormq.channel import Channel

from hub.bus import letters, topology
from hub.bus.consumer import RabbitSubscription
from hub.bus.link import Broken, Link, Pause, broken_by
from hub.bus.publisher import Publisher, is_blocked
from hub.bus.tasks import end
from hub.bus.wire import Letter, Received, publication, straight
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Dead, Depth, QueueSpec

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
    ) -> None:
        """Connects nowhere yet.

        Args:
            urls: ``amqp://`` or ``amqps://``, one for each node of the broker; tried in turn.
            heartbeat: seconds.
            confirm_timeout: seconds to wait for a confirm.
            patience: seconds for which ``publish``, ``depth`` and ``dead`` wait for a connection before NotDurable.
            ladder: seconds that a delivery can be parked for, ascending; a queue each.
        """
        self._confirm_timeout = confirm_timeout
        self._patience = patience
        self._ladder = tuple(ladder)
        self._specs: dict[str, QueueSpec] = {}
        self._declared: set[str] = set()
        self._declaring = asyncio.Lock()
        self._repairing: asyncio.Task[None] | None = None
        self._subscriptions: list[RabbitSubscription] = []
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
            self._specs[spec.name] = QueueSpec(spec.name, tuple(dict.fromkeys((*known.bindings, *spec.bindings))))
            self._declared.discard(spec.name)
        try:
            await self._declare(await self._consuming.connection(self._patience))
        except Broken as broken:
            log.warning("bus.declared_later", reason=str(broken))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every message. Raises NotDurable."""
        await self._deliver([publication(message) for message in messages])

    async def send(self, queue: str, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every message in that queue. Raises NotDurable."""
        await self._deliver([straight(message, queue) for message in messages])

    def subscribe(self, queue: str, prefetch: int) -> RabbitSubscription:
        """A consumer of ``queue`` with at most ``prefetch`` deliveries in hand."""
        subscription = RabbitSubscription(
            queue,
            prefetch,
            link=self._consuming,
            publisher=self._publisher,
            prepare=self._prepare,
            ladder=self._ladder,
            patience=self._confirm_timeout,
        )
        self._subscriptions.append(subscription)
        return subscription

    async def depth(self, queue: str) -> Depth:
        """Counts of the queue, as the broker gives them now.

        In flight is what waits in the queue's retry queues and what this instance's own subscriptions have in hand:
        AMQP does not tell what others have. A message on its way back from a retry queue is in no count for a moment.
        """
        names = [queue, topology.dead_queue(queue), *(topology.retry_queue(queue, n) for n in self._ladder)]
        ready, dead, *waiting = await self._ask(lambda connection: topology.counts(connection, names))
        if ready is None:
            raise NotDurable(f"there is no queue {queue}")
        in_hand = sum(one.in_hand for one in self._subscriptions if one.queue == queue)
        return Depth(ready=ready, in_flight=in_hand + sum(count or 0 for count in waiting), dead=dead or 0)

    async def dead(
        self, queue: str, limit: int = 50, after: str | None = None, where: Callable[[Dead], bool] | None = None
    ) -> list[Dead]:
        """The oldest dead letters. Who looks at the same moment sees those that are left."""
        place = letters.place(after)
        return await self._ask(lambda connection: letters.look(connection, queue, limit, place, where))

    async def requeue(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Publishes dead letters to their work queue, and takes them out once that is confirmed."""

        async def move(found: Sequence[Received]) -> list[str | None]:
            return await self._publisher.deliver([one.revived(queue) for one in found])

        return await self._ask(lambda connection: letters.take(connection, queue, ids, limit, move))

    async def discard(self, queue: str, ids: Collection[str] | None, limit: int) -> int:
        """Takes dead letters out, and puts them nowhere."""

        async def forget(found: Sequence[Received]) -> list[str | None]:
            return [None] * len(found)

        return await self._ask(lambda connection: letters.take(connection, queue, ids, limit, forget))

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
        while True:
            self._declared.clear()
            await self._declare(connection)
            async with broken_by():
                channel = await connection.channel(on_return_raises=True, timeout=topology.RPC_TIMEOUT)
            problem = await self._publisher.serve(connection, cast("Channel", channel))
            log.warning("bus.channel_replaced", reason=problem or "the broker closed it")
            if is_blocked(connection):
                await connection.ready()
            elif problem:
                raise Broken(problem)
            await pause.wait()
            async with broken_by():
                await topology.close_channel(channel)

    async def _declare(self, connection: AbstractConnection) -> None:
        """Makes exist what was not declared since the last doubt."""
        async with self._declaring:
            missing = [spec for name, spec in self._specs.items() if name not in self._declared]
            parts = [*topology.COMMON, *(part for spec in missing for part in topology.parts(spec, self._ladder))]
            async with broken_by():
                await topology.declare(connection, parts)
            self._declared.update(spec.name for spec in missing)

    async def _prepare(self, connection: AbstractConnection, queue: str) -> None:
        """Makes a queue exist before it is consumed from: it may have been deleted under the last consumer."""
        self._declared.discard(queue)
        await self._declare(connection)

    def _repair(self) -> None:
        """Something went to no queue at all: the topology is not what it was."""
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.create_task(self._declare_again(), name="bus repairing")

    async def _declare_again(self) -> None:
        log.error("bus.returned")
        self._declared.clear()
        try:
            await self._declare(await self._consuming.connection(self._patience))
        except Broken as broken:
            log.warning("bus.declared_later", reason=str(broken))
        await asyncio.sleep(_BETWEEN_REPAIRS)

    async def _ask(self, question: Callable[[AbstractConnection], Awaitable[T]]) -> T:
        """Asks on the consuming connection, which no alarm blocks."""
        try:
            connection = await self._consuming.connection(self._patience)
            async with broken_by():
                return await question(connection)
        except Broken as broken:
            raise NotDurable(str(broken)) from broken
