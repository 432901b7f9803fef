"""Puts a process together, of the parts that the configuration chooses (``hub.parts``)."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog
from aiohttp import web

from hub import failpoints, heap, ledger, prefork, pulse
from hub.api import Api
from hub.bus.hedged import Hedge
from hub.clients import make_dialing
from hub.config import InfocallerSource, Settings
from hub.custody.links import Links
from hub.destinations import DestinationRoutes
from hub.dials import DialRoutes
from hub.disk import Disk
from hub.door import serve
from hub.doorstep import Hands
from hub.errors import ConfigurationError, StoreUnavailable, Stuck
from hub.health import Health, Part, exposition
from hub.ingress import Gate, Ingress
from hub.operating.dead_letters import DeadLetters
from hub.operating.quarantine import Quarantine
from hub.operating.replay import Replay
from hub.operators import DeadLetterRoutes, QuarantineRoutes, ReplayRoutes
from hub.outgoing import Outgoing, Tempo
from hub.parts import (
    ROLES,
    TIMED,
    WORKERS,
    make_bus,
    make_custody,
    make_decoder,
    make_disk,
    make_store,
    queues,
    replay_targets,
    worker_queues,
)
from hub.queries import Counter, Queries
from hub.recordings import RecordingRoutes
from hub.resolvers import Means
from hub.resolvers.desk import Desk
from hub.resolvers.guarded import PROBE_EVERY
from hub.store.upgrade import pending, upgrade
from hub.vendors.infocaller.queries import Interactive
from workers.runner import Service, Timed

_SAME_WISH: Final = 1.0
_UPGRADE_AGAIN: Final = 2.0
_FEW: Final = 50  # Queries at once that workers need not give way to
_log = structlog.get_logger("process")


def make_gates(settings: Settings) -> dict[str, Gate]:
    """A gate for each source that calls back."""
    gates = {}
    for name, source in settings.sources.items():
        decoder = make_decoder(name, source)
        if decoder is not None:
            gates[name] = Gate(
                source=name,
                vendor=source.vendor,
                tokens=tuple(token.get_secret_value() for token in source.tokens),
                allow=tuple(source.allow),
                decoder=decoder,
                refuse_bad_signature=isinstance(source, InfocallerSource) and source.bad_signature == "refuse",
            )
    return gates


def make_counters(settings: Settings) -> dict[str, Counter]:
    """A counter for each source that may ask Queries."""
    return {
        name: Counter(
            source=name,
            tokens=tuple(token.get_secret_value() for token in source.tokens),
            allow=tuple(source.allow),
            queries=source.queries,
            interactive=Interactive(
                source=name,
                lines={line: password.get_secret_value() for line, password in source.lines.items()},
                country=source.country,
            ),
        )
        for name, source in settings.sources.items()
        if isinstance(source, InfocallerSource)
    }


# --- a process -----------------------------------------------------------------------------------------------------


class Process:
    """What one process runs: an ingress, workers, or both, over one bus and one store."""

    def __init__(self, settings: Settings, *, ingress: bool, workers: Sequence[str]) -> None:
        """Composes; opens nothing.

        Raises:
            ConfigurationError: a worker's name is unknown, or failpoints are armed outside of tests.
        """
        failpoints.arm(os.environ)
        unknown = [name for name in workers if name not in ROLES]
        if unknown:
            raise ConfigurationError(f"worker: found {unknown[0]!r}; expected one of {', '.join(sorted(ROLES))}")
        self.settings = settings
        self.bus = make_bus(settings, self._stuck)
        self.store = make_store(settings)
        self.disk = make_disk(settings) if ingress else None
        self.workers = [WORKERS[name].make(settings, self.store, self.bus) for name in workers if name in WORKERS]
        self.timed = [TIMED[name](settings, self.store, self.bus) for name in workers if name in TIMED]
        self.audit = ledger.Audit(self.store, self.bus, self.disk)
        self.port = 0
        self._stopping = asyncio.Event()
        self._crashed: BaseException | None = None
        self._hands = Hands()

    @property
    def in_hand(self) -> int:
        """Callbacks and Queries that have begun and are not answered yet."""
        return self._hands.in_hand

    def stop(self) -> None:
        """Asks ``run`` to drain and return."""
        self._stopping.set()

    async def run(self, *, listener: socket.socket | None = None, ready: Callable[[], None] | None = None) -> None:
        """Serves until stopped, then drains: requests in hand first, batches in hand next, connections last.

        Args:
            listener: an open socket that outlives this process; None to bind ``http.host`` and ``http.port``.
            ready: called once everything has been started.
        """
        with _signals(self.stop):
            async with AsyncExitStack() as stack:
                stack.push_async_callback(_cancelled, asyncio.create_task(pulse.watch(), name="pulse"))
                stack.push_async_callback(_cancelled, asyncio.create_task(heap.trim(), name="heap"))
                if not await self._opened(stack):
                    return
                await self._work(stack)
                stack.push_async_callback(_cancelled, asyncio.create_task(self.audit.run(), name="audit"))
                await self._listen(stack, listener)
                if ready is not None:
                    ready()
                prefork.tell_ready()
                roles = [*(worker.runner.worker.name for worker in self.workers), *(role.name for role in self.timed)]
                _log.info("process.ready", port=self.port, workers=roles)
                await self._stopping.wait()
                _log.info("process.draining")
        if self._crashed is not None:
            raise self._crashed

    async def _opened(self, stack: AsyncExitStack) -> bool:
        """Whether everything is open: a file that somebody holds is waited for, until we are told to stop."""
        opening = asyncio.create_task(self._open(stack), name="opening")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(stopping)
            if not opening.done():
                await _cancelled(opening)
        if not opening.cancelled():
            await opening  # it raises what it met
        return not opening.cancelled()

    def _stuck(self, reason: str) -> None:
        """A consumer gets nothing any more, whatever was rebuilt: a supervisor is to start another process."""
        _log.critical("process.stuck", reason=reason)
        self._crashed = Stuck(reason)
        self.stop()

    async def _open(self, stack: AsyncExitStack) -> None:
        if self.disk is not None:
            await self.disk.start()
            stack.push_async_callback(self.disk.close)
        await self.bus.start()
        stack.push_async_callback(self.bus.close)
        await self.store.start()
        stack.push_async_callback(self.store.close)
        if self.settings.store.url.get_secret_value().startswith("sqlite"):
            with contextlib.suppress(StoreUnavailable):  # the door opens without a store; the workers wait for theirs
                await upgrade(self.settings.store.url.get_secret_value())
        # Before anything is published: a queue that does not exist yet would miss what comes first.
        await self.bus.declare(queues(self.settings))

    async def _work(self, stack: AsyncExitStack) -> None:
        for worker in self.workers:
            name = worker.runner.worker.name
            worker.runner.crowded = self._crowded
            task = asyncio.create_task(self._run_worker(name, worker), name=name)
            stack.push_async_callback(_stopped, task, worker)
        for role in self.timed:
            task = asyncio.create_task(self._run_worker(role.name, role), name=role.name)
            stack.push_async_callback(_stopped, task, role)

    def _crowded(self) -> bool:
        return self._hands.on_the_line > _FEW

    async def _run_worker(self, name: str, worker: Service | Timed) -> None:
        try:
            await self._schema()
            await worker.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001
            # A worker that ended by a defect must not leave a process that looks alive: a supervisor starts it anew.
            _log.critical("process.worker_crashed", worker=name, error=repr(error))
            self._crashed = error
            self.stop()

    async def _schema(self) -> None:
        """Waits for the database; sets up an empty one; leaves the upgrade of another to ``trunkline db upgrade``."""
        url = self.settings.store.url.get_secret_value()
        while True:
            try:
                missing = await pending(url)
                if missing and missing[0].startswith("0001"):
                    missing = [] if await upgrade(url) else missing
                if not missing:
                    return
                _log.error("store.schema_behind", missing=missing, hint="run: trunkline db upgrade")
            except StoreUnavailable as error:
                _log.warning("store.unavailable", reason=str(error))
            await asyncio.sleep(_UPGRADE_AGAIN)

    async def _listen(self, stack: AsyncExitStack, listener: socket.socket | None) -> None:
        http, admin, worker = self.settings.http, self.settings.admin, self.settings.worker
        if self.disk is not None:
            hedge = await self._hedge(stack, self.disk)
            gates = make_gates(self.settings)
            ingress = Ingress(gates, hedge, self.disk, hands=self._hands, trusted_proxies=http.trusted_proxies)
            queries = await self._queries(stack, hedge)
            routes: list[web.AbstractRouteDef] = [*ingress.routes(), *queries.routes(), *self._health().probes()]
            decoders = {name: gate.decoder for name, gate in gates.items()}
            audio = self._recordings()
            api = self._api(Quarantine(self.disk, hedge, decoders), audio)
            operators = [audio.door(api.behind_token(audio.audio)), *api.routes(), exposition()]
            if admin.port is not None:
                routes.append(audio.door())  # a signed link is followed from outside
                operators += self._health().probes()
                await serve(stack, operators, admin.host or http.host, admin.port, key="admin.port")
            else:
                routes += operators
            self.port = await serve(stack, routes, http.host, http.port, listener, key="http.port", hands=self._hands)
        elif worker.port is not None:
            routes = [*self._health().probes(), exposition()]
            self.port = await serve(stack, routes, worker.host, worker.port, key="worker.port")

    async def _hedge(self, stack: AsyncExitStack, disk: Disk) -> Hedge:
        outbox = self.settings.outbox
        hedge = Hedge(
            self.bus,
            disk,
            bound=outbox.hedge,
            share=outbox.share,
            only_outbox=outbox.accept == "outbox",
            rate=outbox.relay_rate,
        )
        await hedge.start()
        stack.push_async_callback(hedge.close)
        tallies = asyncio.create_task(_flush_for_ever(disk))
        stack.push_async_callback(_cancelled, tallies)
        return hedge

    async def _queries(self, stack: AsyncExitStack, hedge: Hedge) -> Queries:
        """What answers live calls, over neighbours, connections and pools of its own: callbacks wait for none."""
        settings = self.settings
        outgoing = Outgoing(settings.egress.allow, tempo=Tempo(probe_every=PROBE_EVERY))
        await outgoing.start()
        stack.push_async_callback(outgoing.close)
        means = Means(outgoing, settings.store.url.get_secret_value(), settings.bus.urls)
        desk = await Desk(settings.resolvers, means).open()
        stack.push_async_callback(desk.close)
        queries = Queries(
            make_counters(settings),
            desk,
            hedge,
            most=settings.http.queries,
            hands=self._hands,
            trusted_proxies=settings.http.trusted_proxies,
        )
        stack.push_async_callback(queries.close)
        return queries

    def _recordings(self) -> RecordingRoutes:
        links, presign = Links.of(self.settings), self.settings.recordings.presign
        return RecordingRoutes(self.store, make_custody(self.settings), links, presign=presign)

    def _api(self, quarantine: Quarantine, audio: RecordingRoutes) -> Api:
        token = self.settings.admin.token
        letters = DeadLetters(self.bus, worker_queues(self.settings), self.store)
        replay = Replay(self.bus, self.store, replay_targets(self.settings))
        return Api(
            self.store,
            token.get_secret_value() if token else None,
            ledger=self.ledger,
            deliveries=self.store.forwarding.tries,
            more=DestinationRoutes(self.settings, self.store.forwarding).routes()
            | DeadLetterRoutes(letters).routes()
            | QuarantineRoutes(quarantine).routes()
            | ReplayRoutes(replay).routes()
            | DialRoutes(make_dialing(self.settings, self.store.dials)).routes()
            | audio.routes(),
        )

    async def ledger(self) -> Mapping[str, Any]:
        """The ledger as ``GET /v1/ledger`` shows it."""
        mine = [worker.process for worker in self.workers if worker.process is not None]
        others = {name: queue for name, queue in worker_queues(self.settings).items() if queue != ledger.QUEUE}
        return await ledger.ledger(self.disk, self.bus, self.store, mine, others)

    # --- health ------------------------------------------------------------------------------------------------------

    def _health(self) -> Health:
        return Health(self._parts, self._ready)

    def _parts(self) -> dict[str, Part]:
        up, why = self.bus.state()
        parts = {"bus": Part("ok" if up else "down", "" if up else why)}
        if self.disk is not None:
            takes, trouble = self.disk.state()
            parts["outbox"] = Part("ok" if takes else "down", trouble)  # what was lost is told though it takes again
        for worker in self.workers:
            consuming = worker.runner.registered
            parts[worker.runner.worker.name] = Part("ok" if consuming else "down", "" if consuming else "not consuming")
        for role in self.timed:
            parts[role.name] = _timed(role)
        return parts

    def _ready(self, parts: Mapping[str, Part]) -> bool:
        """An ingress accepts while the bus or the outbox does; a worker works while its consumer is registered."""
        if self.disk is not None:
            return "ok" in (parts["bus"].state, parts["outbox"].state)
        consuming = all(parts[worker.runner.worker.name].state == "ok" for worker in self.workers)
        return consuming and all(parts[role.name].state != "down" for role in self.timed)


def _timed(role: Timed) -> Part:
    """A vendor that does not answer is no reason to take the process out of service: it is asked again."""
    if not role.started:
        return Part("down", "not started")
    troubles = "; ".join(f"{name}: {why}" for name, why in role.troubles().items())
    return Part("degraded" if troubles else "ok", troubles)


async def _stopped(task: "asyncio.Task[None]", worker: Service | Timed) -> None:
    worker.stop()
    started = worker.started if isinstance(worker, Timed) else worker.runner.started
    if not started:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _flush_for_ever(disk: Disk) -> None:
    while True:
        await asyncio.sleep(1)
        with contextlib.suppress(Exception):  # counted again at the next flush
            await disk.flush()


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT drain; one that comes later ends the process as it would by default: as safe as a crash.

    A terminal and systemd tell every process of a group, and a parent tells its children: within a second it is the
    same wish, told twice.
    """
    loop = asyncio.get_running_loop()
    both = (signal.SIGTERM, signal.SIGINT)
    told: asyncio.TimerHandle | None = None

    def give_up() -> None:
        for number in both:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    def once() -> None:
        nonlocal told
        if told is None:
            told = loop.call_later(_SAME_WISH, give_up)
            stop()

    for number in both:
        loop.add_signal_handler(number, once)
    try:
        yield
    finally:
        if told is not None:
            told.cancel()
        for number in both:
            loop.remove_signal_handler(number)
