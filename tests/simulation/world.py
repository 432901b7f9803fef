"""A whole hub in one seed: vendors, an ingress with its disk, a broker, workers and a store, and all that befalls them.

The seed draws a plan (``faults``), the plan is carried out on a loop without a clock, everything is checked as it
changes hands (``books``), then every fault ends and the world has to come to rest with nothing lost. One seed is one
execution: the same trace, byte for byte, on every machine.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast
from unittest.mock import patch
from uuid import UUID

import orjson
import structlog
from aiohttp import web

from hub import disk_rows, opening
from hub.bus.hedged import Hedge
from hub.disk import Disk as Outbox
from hub.doorstep import Hands
from hub.errors import NotYet, Permanent, RateLimited
from hub.events import Event, Message
from hub.ingress import Ingress
from hub.ports import QueueSpec
from tests.simulation import vendors
from tests.simulation.books import PERSISTENCE, PROBE, Books, Violation
from tests.simulation.broker import EMPTY, Broker, Moods, SimulatedBus
from tests.simulation.calls import NO_LOCKS, Calls
from tests.simulation.chance import chance
from tests.simulation.disk import Disk, PowerCut
from tests.simulation.faults import SPAN, Fault, Plan, draw
from tests.simulation.journal import PATH, SimulatedJournal, set_up
from tests.simulation.loop import RUNNING, Process, VirtualLoop
from tests.simulation.store import Server, SimulatedStore, Tables
from tests.simulation.vfs import Connection, mount
from workers.persistence import Persistence
from workers.runner import Runner, Worker

NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
_ROOM: Final = 1 << 30
_REST: Final = 240.0
"""Seconds after the last fault in which everything must have come to rest."""

_RESTLESS: Final = 200_000
"""Steps in which a seed has long ended; the longest take a tenth of them."""

_LOOK: Final = 0.5
_AGAIN: Final = 0.3
"""Seconds that a supervisor waits before it starts a process again, about."""

# Idle looks cost a simulation what they never cost a hub: they are further apart here. None decides anything.
_SLOWER: Final[dict[str, Any]] = {
    "workers.runner._IDLE": 0.8,
    "workers.runner._SILENCE": 1.7,
    "workers.persistence._SWEEP": 0.8,
    "hub.bus.publisher._TICK": 0.8,
}
# What is waited for lasts two fifths of what it does in a hub, all of it, with CONFIRM_TIMEOUT: the same relations.
_SHORTER: Final[dict[str, Any]] = {
    "hub.disk._LEASE": 4.0,
    "hub.bus.hedged._LOOK_AGAIN": 2.0,
    "hub.bus.hedged._LONGEST_PAUSE": 0.8,
    "hub.bus.hedged._LONGEST_HOLD": 4.0,
    "workers.persistence._LEASE": 6.0,
    "workers.persistence._IN_TIME": 3.6,
    "workers.runner._AFTER_OUTAGE": 2.0,
    "workers.runner._PAUSE": (0.1, 4.0),
}
# Twelve attempts take two days; nothing is waited for that long here.
_QUICKER: Final[dict[str, Any]] = {"hub.retry._FIRST": 0.1, "hub.retry._FACTOR": 1.4, "hub.retry._LONGEST": 3.0}


@dataclass
class Options:
    """How a world is made other than by its seed.

    Attributes:
        trace: keep one.
        loses: what was not synced is lost with the power.
        plan: instead of the seed's.
        server: the store's; another one for mutants.
        heed_witness: the witness must tell of nothing.
        cut_in: the power goes at this operation of the disk, the first that counts.
        luck: which of many outcomes a power cut has.
    """

    trace: bool = False
    loses: bool = True
    plan: Callable[[Random], Plan] = draw
    server: type[Server] = Server
    heed_witness: bool = True
    cut_in: int | None = None
    luck: int = 0


@dataclass
class Outcome:
    """What a seed came to.

    Attributes:
        seed: which.
        broken: the promise that was broken; None where all held.
        happened: every fault that really happened, by its name.
        tally: attempted, acknowledged, ok…
        seconds: of virtual time.
        steps: of the loop.
        trace: lines, where one was asked for.
    """

    seed: int
    broken: str | None = None
    happened: Counter[str] = field(default_factory=Counter)
    tally: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    steps: int = 0
    operations: int = 0
    trace: list[str] = field(default_factory=list)


def run(seed: int, options: Options | None = None) -> Outcome:
    """Plays a seed to its end."""
    return World(seed, options or Options()).play()


class World:
    """Everything there is, for one seed."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed = seed
        self.options = options
        self.loop = VirtualLoop()
        self.happened: Counter[str] = Counter()
        self.trace: list[str] = []
        self.random = chance(seed, "world")
        self.plan = options.plan(chance(seed, "plan"))
        self.broker = Broker(self.loop, chance(seed, "broker"), self)
        self.broker.moods = self.plan.moods
        self.server = options.server(chance(seed, "store"), self)
        self.server.lost_before, self.server.lost_after = self.plan.lost_before, self.plan.lost_after
        self.books = Books(self.broker, lambda: self.server.tables)
        self.ingress = IngressMachine(self)
        self.workers: list[WorkerMachine] = [WorkerMachine(self, f"worker {n}") for n in range(self.plan.workers)]
        if self.plan.probe:
            self.workers.append(ProbeMachine(self, "probe"))
        self.answering = 0
        self.quiet = False
        self.broken: str | None = None
        self.violations: list[Violation] = []
        self.died: list[Process] = []

    def play(self) -> Outcome:
        with _deterministic(self), self.loop.running():
            try:
                self._carry_out()
            except Violation as violation:
                self.broken = str(violation)
            finally:
                self._end()
            if self.loop.defects and self.broken is None:
                self.broken = f"nobody caught: {self.loop.defects[0]}"
            if self.broken is not None:
                self.note("world", f"BROKEN: {self.broken}")
        return Outcome(
            self.seed,
            self.broken,
            self.happened,
            self.books.tally,
            self.loop.now,
            self.loop.steps,
            self.ingress.disk.operations,
            self.trace,
        )

    # --- what everybody tells the world ------------------------------------------------------------------------------

    def note(self, who: str, text: str) -> None:
        if self.options.trace:
            self.trace.append(f"{self.loop.now:11.6f}  {who:<9} {text}")

    def befell(self, fault: str) -> None:
        self.happened[fault] += 1
        self.note("fault", fault)

    def confirmed(self, messages: Sequence[Message]) -> None:
        self.check(self.books.confirmed, messages)

    def asked(self, process: Process, messages: Sequence[Message]) -> None:
        task = asyncio.current_task()
        relay = process is self.ingress.process and task is not None and task.get_name() == "outbox relay"
        if relay:
            self.check(self.books.relayed, messages)
        self.note(process.name, f"{'relays' if relay else 'publishes'} {' '.join(one.id for one in messages)}")

    def left(self, queue: str, event_id: str) -> None:
        self.note("broker", f"{queue} forgets {event_id}")
        self.check(self.books.left_queue, queue, event_id)

    def committed(self, before: Tables, tables: Tables) -> None:
        self.check(self.books.committed, before, tables)
        if len(tables.events) > len(before.events):
            self.note("store", f"keeps {' '.join(row.id for row in tables.events[len(before.events) :])}")

    def failed(self, defect: Exception) -> None:
        """A transaction met what the world did not send: a statement that the store here does not know, say."""
        violation = defect if isinstance(defect, Violation) else Violation(f"a transaction failed: {defect!r}")
        self.violations.append(violation)

    def check(self, check: Callable[..., None], *args: Any) -> None:
        """Where the hub's own handlers of errors stand around it, a broken promise is not to be swallowed."""
        try:
            check(*args)
        except Violation as violation:
            self.violations.append(violation)
            raise

    # --- the course of things ----------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        self.ingress.begin(blank=self.plan.blank)
        for worker in self.workers:
            worker.begin()
        told = vendors.script(
            chance(self.seed, "vendors"), count=self.plan.calls, span=SPAN, mutations=self.plan.mutations
        )
        for callback in told:
            self.at(callback.at, self.ingress.receive, callback.request)
        for fault in self.plan.faults:
            self.at(fault.at, self._strike, fault)
        ends = max([SPAN, *(callback.at for callback in told), *(f.at + f.seconds for f in self.plan.faults)])
        self._until(lambda: self.loop.now >= ends, ends)
        self._heal()
        self._until(self._at_rest, self.loop.now + _REST)
        if self._restless().startswith("calls to seal"):
            self._pass_time()
            self._until(self._at_rest, self.loop.now + _REST)
        if not self._at_rest():
            raise Violation(f"nothing comes to rest: {self._restless()}")
        self.books.accounted("is, at rest,")
        self.books.closed(chance(self.seed, "books"))
        self.note("world", "at rest")

    def at(self, when: float, act: Callable[..., object], *args: Any) -> None:
        self.loop.call_at(when, act, *args, context=EMPTY)

    def after(self, seconds: float, act: Callable[..., object], *args: Any) -> None:
        self.loop.call_later(seconds, act, *args, context=EMPTY)

    def _until(self, done: Callable[[], bool], deadline: float) -> None:
        """Steps on, and looks now and then."""
        self.loop.call_at(deadline, _nothing, context=EMPTY)  # there is always one more step
        look = self.loop.now
        while self.loop.now < deadline:
            try:
                if not self.loop.step():
                    return
            except PowerCut:
                self.ingress.dark()
            if self.violations:
                raise self.violations[0]
            if self.loop.defects:
                raise Violation(f"nobody caught: {self.loop.defects[0]}")
            if self.loop.steps > _RESTLESS:
                raise Violation(f"{self.loop.steps} steps in {self.loop.now:.0f} s: somebody asks for ever")
            if self.loop.now >= look:
                look = self.loop.now + _LOOK
                if done():
                    return

    def _heal(self) -> None:
        """No fault any more, from now on."""
        self.quiet = True
        self.note("world", "no faults from now on")
        self.broker.moods = Moods()
        self.broker.refused.clear()
        self.broker.routes = True
        self.broker.come_up()
        self.server.up, self.server.lost_before, self.server.lost_after = True, 0.0, 0.0
        self.ingress.heal()
        for worker in self.workers:
            worker.offset = 0.0

    def _pass_time(self) -> None:
        """A worker whose clock ran a day ahead has planned a seal for tomorrow: tomorrow comes."""
        due = max(call.seal_at for call in self.server.tables.calls.values() if call.seal_at is not None)
        for worker in self.workers:
            worker.offset = max(0.0, (due - NOON).total_seconds() - self.loop.now)
        self.books.tally["sealed a day late"] += 1

    def _at_rest(self) -> bool:
        return not self._restless()

    def _restless(self) -> str:
        tables, broker = self.server.tables, self.broker
        reasons = {
            "answers": self.answering,
            "outbox": len(self.books.outbox),
            "outbox of the store": len(tables.outbox),
            "calls to seal": sum(call.seal_at is not None for call in tables.calls.values()),
            "on the wire": broker.flying,
            "queues not declared": int(PERSISTENCE not in broker.queues),
            **{
                name: len(queue.ready) + len(queue.unacked) + len(queue.waiting)
                for name, queue in broker.queues.items()
            },
            "processes down": sum(machine.process.dead for machine in (self.ingress, *self.workers)),
        }
        return ", ".join(f"{name}: {count}" for name, count in reasons.items() if count)

    def _end(self) -> None:
        alive = [machine.process for machine in (self.ingress, *self.workers)]
        for process in alive:
            process.end()
        self.ingress.abandon()
        for process in alive:
            process.bury(killed=self.broken is not None)
        for process in self.died:
            process.bury(killed=True)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        self.note("fault", f"{fault.kind} ({fault.seconds:.3f} s, {fault.number})")
        _STRIKES[fault.kind](self, fault)

    def worker(self, fault: Fault) -> "WorkerMachine":
        return self.workers[fault.number % len(self.workers)]

    def during(self, fault: Fault, begin: Callable[[], object], end: Callable[[], object]) -> None:
        """Begins now, ends after the fault's time."""
        self.befell(fault.kind)
        begin()
        self.after(fault.seconds, end)


class Machine:
    """A machine with one process on it, that a supervisor starts again and again."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.offset = 0.0
        self.process = Process(name, world.loop)
        self.stopping = False

    def clock(self) -> datetime:
        """This machine's."""
        return NOON + timedelta(seconds=self.world.loop.now + self.offset)

    def begin(self) -> None:
        """The process starts."""
        self.stopping = False
        self.process = process = Process(self.name, self.world.loop)
        self.world.note(self.name, "starts")
        task = process.spawn(self.main())
        task.add_done_callback(self._ended, context=EMPTY)

    async def main(self) -> None:
        raise NotImplementedError

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """The process has come to its end by itself; a defect, unless it was told to stop."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            raise error
        if not self.stopping:
            raise Violation(f"{self.name} has ended by itself")
        self.die("stopped")

    def kill(self, fuse: int = 0) -> None:
        """``kill -9``, so many of its steps from now."""
        if not self.process.dead:
            self.process.fuse = fuse
            self.process.on_fuse = lambda _: self.die("killed")

    def die(self, why: str) -> None:
        """The process is gone; the broker hears of it, and the supervisor starts another."""
        world = self.world
        process = self.process
        if process.dead:
            return
        process.end()
        if why in ("killed", "stopped"):
            world.befell(f"{self.name.split()[0]} {why}")
        world.died.append(process)
        world.note(self.name, why)
        world.after(world.random.random() * 0.2, world.broker.disconnect, lambda one: one is process)
        world.after(_AGAIN * (0.5 + world.random.random()), self.begin)


class IngressMachine(Machine):
    """The ingress, and the disk that it accepts on."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "ingress")
        self._speed = chance(world.seed, "disk")
        self._luck = chance(world.seed, "luck", world.options.luck)
        self.disk = Disk(loses=world.options.loses)
        self.disk.happened = world.happened
        self.disk.cut_in = world.options.cut_in
        self.lazy = 0.003
        self._booted = -1000.0
        self.journal: SimulatedJournal | None = None
        self.hedge: Hedge | None = None
        self.door: Ingress | None = None
        self.outbox: Outbox | None = None
        self._handlers: list[asyncio.Task[Any]] = []

    def begin(self, *, blank: bool = True) -> None:
        if not blank:
            self.disk.load(_prepared())
        mount(self.disk)
        super().begin()

    async def main(self) -> None:
        world, plan = self.world, self.world.plan
        world.books.reopened(self.uptime)
        outbox = WatchedOutbox(world.books)
        witnessing = disk_rows.witnessing(outbox._note)
        self.journal = SimulatedJournal(self, self.process, PATH, disk_rows.MIGRATIONS, witnessing)
        outbox._journal = self.journal
        bus = SimulatedBus(world.broker, self.process)
        await outbox.start()
        if outbox._lost and world.options.heed_witness:
            raise Violation(f"the witness tells of a loss where there is none: {outbox._lost}")
        await bus.start()
        hedge = Hedge(bus, outbox, bound=0.25, share=plan.share, only_outbox=plan.only_outbox)
        await hedge.start()
        hands = Hands()
        door = Ingress(vendors.GATES, hedge, outbox, hands=hands, clock=self.clock)
        self.door, self.hedge, self.outbox = door, hedge, outbox
        stop = self._stop = asyncio.Event()
        await stop.wait()
        await hands.drained()
        self.door = None
        await hedge.close()
        await bus.close()
        await outbox.close()

    def stop(self) -> None:
        """SIGTERM."""
        if self.door is not None and not self.process.dead:
            self.stopping = True
            self._stop.set()

    # --- the door ----------------------------------------------------------------------------------------------------

    def receive(self, request: Any) -> None:
        world = self.world
        world.books.sending(request)
        if self.door is None or self.process.dead or self.stopping:
            world.books.tally["refused"] += 1
            return
        world.note("vendor", f"sends {request.method} {request.path}")
        task = self.process.spawn(self.door.callback(cast("Any", vendors.Arrived(request))), "callback")
        self._handlers.append(task)
        world.answering += 1
        task.add_done_callback(self._answered, context=EMPTY)

    def cancel_handler(self, number: int) -> None:
        """Its client has gone, under a server that tells handlers so."""
        if self._handlers and not self.process.dead:
            self.world.befell("handler cancelled")
            self._handlers[number % len(self._handlers)].cancel()

    def _answered(self, task: "asyncio.Task[web.Response]") -> None:
        if task not in self._handlers:
            return  # the answer was written, and the process died before it was sent
        self._handlers.remove(task)
        self.world.answering -= 1
        if task.cancelled():
            self.world.books.tally["unanswered"] += 1
            return
        response = task.result()
        body = orjson.loads(cast("bytes", response.body))
        self.world.note(
            "vendor", f"is answered {response.status} {body.get('event_id') or body.get('quarantine_id') or ''}"
        )
        self.world.books.answered(response.status, body)

    # --- the machine -------------------------------------------------------------------------------------------------

    def lag(self) -> float:
        return self._speed.random() * self.lazy

    def lingers(self) -> bool:
        return self._speed.random() < 0.5

    def looked(self, connection: Connection) -> None:
        self.world.note("disk", f"{self.disk.operations} operations")
        self.world.check(self.world.books.looked, connection)

    def uptime(self) -> float:
        """The machine's monotonic clock: it begins again when the power comes back."""
        return self.world.loop.now - self._booted

    def cut(self) -> None:
        """The power goes, now."""
        self.disk.dark = True
        self.dark()

    def dark(self) -> None:
        world = self.world
        world.befell("power cut")
        self.die("without power")
        lost = self.disk.cut(self._luck)
        self._booted = world.loop.now
        if lost:
            world.befell("unsynced writes lost")
        world.note("disk", f"{lost} writes lost")

    def gave_up(self, error: BaseException) -> None:
        self.world.befell("ingress ended itself")
        self.die(f"ends itself: {error}")

    def die(self, why: str) -> None:
        if not self.process.dead:
            super().die(why)
            if why != "stopped":
                self.disk.killed()
            self.abandon()
            self.world.books.tally["reset"] += len(self._handlers)
            self.world.answering -= len(self._handlers)
            self._handlers.clear()
            self.door = None

    def abandon(self) -> None:
        if self.journal is not None:
            if self.journal.open:
                self.disk.killed()
            self.journal.abandon()
            self.journal = None

    def heal(self) -> None:
        self.disk.full, self.disk.sync_fails_in = False, None
        if self.world.options.cut_in is None:
            self.disk.cut_in = None
        self.lazy, self.offset = 0.003, 0.0


class WatchedOutbox(Outbox):
    """The outbox; what it hands to the relay is noted with its place, since two rows may be one event."""

    def __init__(self, books: Books) -> None:
        super().__init__(PATH, max_bytes=_ROOM, quarantine_bytes=_ROOM)
        self._books = books

    async def claim(self, limit: int) -> list[tuple[int, Message]]:
        self._books.claimed = await super().claim(limit)
        return self._books.claimed


class WorkerMachine(Machine):
    """A process of the persistence worker."""

    worker: Any = None

    async def main(self) -> None:
        bus = SimulatedBus(self.world.broker, self.process)
        await bus.start()
        await self.work(bus)
        await bus.close()

    async def work(self, bus: SimulatedBus) -> None:
        self.worker = Persistence(SimulatedStore(self.world.server), bus, clock=self.clock, batch=20)
        await self.worker.run()

    def stop(self) -> None:
        """SIGTERM."""
        if self.worker is not None and not self.process.dead:
            self.stopping = True
            self.worker.stop()

    def die(self, why: str) -> None:
        if not self.process.dead:
            super().die(why)
            self.worker = None


_DERIVED: Final = ("call.*.sealed", "call.*.resealed", "recording.*.available")  # whatever the store derives


class ProbeMachine(WorkerMachine):
    """A worker whose handler fails in every way that a handler can: what the runner and the retry plan make of it."""

    async def work(self, bus: SimulatedBus) -> None:
        worker = Worker("probe", QueueSpec(PROBE, _DERIVED), self.handle, batch=3, prefetch=4)
        self.worker = Runner(worker, bus, clock=self.clock)
        await self.worker.run()

    async def handle(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        await asyncio.sleep(self.world.random.random() * 0.05)
        return {event.id: failure for event in events if (failure := self._failure(event)) is not None}

    def _failure(self, event: Event) -> Exception | None:
        """How it fails this time; each event has its own way, and the effect is kept with its inbox row."""
        books = self.world.books
        way, times = _WAYS[int(event.id[:8], 16) % len(_WAYS)]
        if books.failures[way, event.id] >= times or books.effects[event.id]:
            books.effects[event.id] = 1
            return None
        self.world.befell(f"handler: {way}")
        books.failures[way, event.id] += 1
        match way:
            case "permanent":
                return Permanent("no such thing")
            case "not yet":
                return NotYet(0.2, "too early")
            case "rate limited":
                return RateLimited(self.clock() + timedelta(seconds=1), "slower")
            case "time limit":
                return TimeoutError("no answer")
            case _:
                return KeyError("a defect")


_WAYS: Final = (
    ("time limit", 0),
    ("time limit", 2),
    ("time limit", 1000),
    ("rate limited", 2),
    ("not yet", 3),
    ("permanent", 1),
    ("defect", 3),
    ("defect", 1000),
)
"""How a handler fails, and how often before it succeeds."""


# --- faults ----------------------------------------------------------------------------------------------------------


def _at_operation(world: World, fault: Fault) -> None:
    world.ingress.disk.cut_in = 1 + fault.number % 60


def _clock_jumps(world: World, fault: Fault) -> None:
    machine = (world.ingress, *world.workers)[fault.number % (1 + len(world.workers))]
    jump = (-86_400.0, -3600.0, -3.0, 3.0, 3600.0, 86_400.0)[fault.number % 6]

    def back() -> None:
        machine.offset = 0.0

    def away() -> None:
        machine.offset = jump

    world.during(fault, away, back)


def _event_refused(world: World, fault: Fault) -> None:
    waiting = sorted(set(world.books.outbox.values())) or sorted(world.books.sent)
    if waiting:
        event_id = waiting[fault.number % len(waiting)]
        world.during(fault, lambda: world.broker.refused.add(event_id), lambda: world.broker.refused.discard(event_id))


def _broken(world: World, fault: Fault) -> None:
    machine = (world.ingress, *world.workers)[fault.number % (1 + len(world.workers))]
    world.befell("connection broken")
    world.broker.disconnect(lambda process: process is machine.process)


def _broker_down(world: World, fault: Fault) -> None:
    world.during(fault, world.broker.go_down, world.broker.come_up)


def _sync_fails(world: World, fault: Fault) -> None:
    world.ingress.disk.sync_fails_in = 1 + fault.number % 8


def _switch(place: Callable[[World], Any], name: str, value: Any, normal: Any) -> Callable[[World, Fault], None]:
    def strike(world: World, fault: Fault) -> None:
        world.during(fault, lambda: setattr(place(world), name, value), lambda: setattr(place(world), name, normal))

    return strike


_STRIKES: Final[Mapping[str, Callable[[World, Fault], object]]] = {
    "power cut": lambda world, _: world.ingress.cut(),
    "power cut at a disk operation": _at_operation,
    "ingress killed": lambda world, fault: world.ingress.kill(fault.number % 40),
    "ingress stopped": lambda world, _: world.ingress.stop(),
    "worker killed": lambda world, fault: world.worker(fault).kill(fault.number % 60),
    "worker stopped": lambda world, fault: world.worker(fault).stop(),
    "broker down": _broker_down,
    "connection broken": _broken,
    "bindings gone": _switch(lambda world: world.broker, "routes", value=False, normal=True),
    "store down": _switch(lambda world: world.server, "up", value=False, normal=True),
    "disk is full": _switch(lambda world: world.ingress.disk, "full", value=True, normal=False),
    "disk is slow": _switch(lambda world: world.ingress, "lazy", value=0.8, normal=0.003),
    "sync fails": _sync_fails,
    "clock jumps": _clock_jumps,
    "handler cancelled": lambda world, fault: world.ingress.cancel_handler(fault.number),
    "event refused": _event_refused,
}


# --- one seed, one execution -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _deterministic(world: World) -> Iterator[None]:
    """Clocks, chance and names are the world's own, and the log goes into its trace."""
    names = chance(world.seed, "names")
    before = random.getstate()
    random.seed(f"{world.seed}/hub")
    with ExitStack() as stack:
        stack.enter_context(patch("hub.disk.time", SimpleNamespace(monotonic=world.ingress.uptime)))
        stack.enter_context(patch("hub.disk.datetime", SimpleNamespace(now=lambda _: world.ingress.clock())))
        stack.enter_context(patch("hub.journal.suspect", lambda _: None))
        calls = Calls(world.ingress.disk)
        stack.enter_context(patch("hub.witness.os", calls))
        stack.enter_context(patch("hub.opening.os", calls))
        pragmas = (*opening.PRAGMAS, f"PRAGMA wal_autocheckpoint = {world.plan.checkpoint}")
        stack.enter_context(patch("hub.opening.PRAGMAS", pragmas))
        stack.enter_context(patch("hub.witness.fcntl", NO_LOCKS))
        stack.enter_context(patch("hub.disk.uuid4", lambda: UUID(int=names.getrandbits(128))))
        stack.enter_context(patch("hub.doorstep.getrandbits", names.getrandbits))
        stack.enter_context(patch("workers.runner.monotonic", world.loop.time))
        stack.enter_context(patch("workers.persistence.monotonic", world.loop.time))
        stack.enter_context(patch("workers.presence.monotonic", world.loop.time))
        for name, value in (_SLOWER | _SHORTER | _QUICKER).items():
            stack.enter_context(patch(name, value))
        stack.enter_context(_logged(world))
        try:
            yield
        finally:
            random.setstate(before)


@contextlib.contextmanager
def _logged(world: World) -> Iterator[None]:
    """The hub's log lines are lines of the trace."""

    def write(_logger: Any, _method: str, line: Any) -> Any:
        fields = " ".join(f"{name}={value}" for name, value in line.items() if name != "event")
        world.note(_who(), f"log: {line['event']} {fields}")
        raise structlog.DropEvent

    before = structlog.get_config()
    level = logging.NOTSET if world.options.trace else logging.CRITICAL
    aiormq = logging.getLogger("aiormq.channel")
    disabled, aiormq.disabled = aiormq.disabled, True
    structlog.configure(processors=[write], wrapper_class=structlog.make_filtering_bound_logger(level))
    try:
        yield
    finally:
        aiormq.disabled = disabled
        structlog.configure(**before)


def _who() -> str:
    process = RUNNING.get()
    return process.name if process is not None else "world"


_image: dict[str, bytes] = {}


def _prepared() -> dict[str, bytes]:
    """A disk on which an ingress has been before: its file exists, its schema is made, its WAL was never closed."""
    if not _image:
        disk = Disk()
        connection = Connection(disk, str(PATH))
        set_up(connection, disk_rows.MIGRATIONS)
        _image.update(disk.image())
        disk.killed()
        connection.abandon()
    return _image


def _nothing() -> None:
    pass
