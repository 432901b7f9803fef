"""``python -m tests.faults.soak --minutes 120``: a hub on RabbitMQ and PostgreSQL, with a random fault each minute.

One child of the ingress and one worker are never touched: on them memory and open files are measured. All others are
killed, stopped and restarted, and so are the servers. At the end every accepted event must be in the store once, every
call sealed once, and the ledger quiet. Each minute a line of JSON; the last one is the verdict.
"""

import argparse
import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import orjson
import psutil

from tests.hub import until
from tests.process.site import Load, Site, site
from tests.servers.postgres import PostgreSQL
from tests.servers.rabbitmq import RabbitMQ

_EVERY: Final = 60.0
_SAMPLE: Final = 10.0
_WARM_UP: Final = 0.2  # of the run: caches fill, pools open
_EVENTS_A_CALL: Final = 3.4
_MB: Final = 1 << 20


@dataclass
class Witness:
    """A process that lives through all of it: what it weighs, over time."""

    process: psutil.Process
    name: str
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def look(self, at: float) -> None:
        self.samples.append((at, self.process.memory_info().rss, self.process.num_fds()))

    def figures(self, whole: float) -> dict[str, Any]:
        """Slope of its memory after the warm-up in MB an hour, and its open files then: least and most."""
        later = [sample for sample in self.samples if sample[0] > _WARM_UP * whole]
        hours = [at / 3600 for at, _, _ in later]
        return {
            "mb": [round(self.samples[0][1] / _MB, 1), round(self.samples[-1][1] / _MB, 1)],
            "mb_an_hour": round(_slope(hours, [rss / _MB for _, rss, _ in later]), 2),
            "files": [min(fds for _, _, fds in later), max(fds for _, _, fds in later)],
            "files_an_hour": round(_slope(hours, [float(fds) for _, _, fds in later]), 2),
        }


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


class Soak:
    """The hub, its servers, and what is done to them."""

    def __init__(self, here: Site, rabbitmq: RabbitMQ, postgres: PostgreSQL, seed: int) -> None:
        self.here = here
        self.rabbitmq = rabbitmq
        self.postgres = postgres
        self.dice = random.Random(seed)  # noqa: S311  a seed reproduces the plan
        self.injected: Counter[str] = Counter()
        self.witnesses: list[Witness] = []
        self.faults: dict[str, Callable[[], Awaitable[bool]]] = {
            "ingress child killed": self._kill_child,
            "worker killed": self._kill_worker,
            "worker restarted": self._restart_worker,
            "worker stopped for 8 s": self._stop_worker,
            "broker killed": self._kill_broker,
            "broker's connections closed": self._close_connections,
            "memory alarm for 8 s": self._memory_alarm,
            "database restarted at once": self._restart_database,
            "database's connections ended": self._end_backends,
        }

    async def start(self) -> None:
        self.parent = self.here.start("ingress", "--processes", "2")
        kept = self.here.start("worker", "persistence")
        self.worker = self.here.start("worker", "persistence", TRUNKLINE_WORKER__PORT=str(self.here.spare[1]))
        await self.here.ready()
        await until(lambda: _number(self.parent, 2), within=30)
        self.kept_child = self.parent.children()[0]
        self.witnesses = [Witness(self.kept_child, "ingress child"), Witness(psutil.Process(kept.pid), "worker")]

    async def provoke(self) -> str:
        """One fault; true to its name, or an AssertionError."""
        name = self.dice.choice(sorted(self.faults))
        assert await self.faults[name](), f"{name} did not happen"
        self.injected[name] += 1
        return name

    async def _kill_child(self) -> bool:
        victim = next(child for child in self.parent.children() if child.pid != self.kept_child.pid)
        victim.kill()
        return not await asyncio.to_thread(_lives, victim)

    async def _kill_worker(self) -> bool:
        self.worker.kill()
        status = await asyncio.to_thread(self.worker.wait, 30)
        self._replace()
        return bool(status == -signal.SIGKILL)

    async def _restart_worker(self) -> bool:
        self.worker.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self.worker.wait, 30)
        self._replace()
        return bool(status == 0)

    def _replace(self) -> None:
        self.worker = self.here.start("worker", "persistence", TRUNKLINE_WORKER__PORT=str(self.here.spare[1]))

    async def _stop_worker(self) -> bool:
        self.worker.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1)
        stopped = self.worker.status() == psutil.STATUS_STOPPED
        await asyncio.sleep(7)
        self.worker.send_signal(signal.SIGCONT)
        return stopped

    async def _kill_broker(self) -> bool:
        before = self.rabbitmq.pid
        await asyncio.to_thread(self.rabbitmq.kill)
        await asyncio.to_thread(self.rabbitmq.start)
        return self.rabbitmq.pid != before

    async def _close_connections(self) -> bool:
        closed = await asyncio.to_thread(
            self.rabbitmq.evaluate,
            "Every = rabbit_networking:connections(),"
            ' [rabbit_networking:close_connection(One, "soak") || One <- Every], length(Every)',
        )
        return int(closed) > 0

    async def _memory_alarm(self) -> bool:
        await asyncio.to_thread(self.rabbitmq.evaluate, "vm_memory_monitor:set_vm_memory_high_watermark(0.00001)")
        await asyncio.sleep(8)
        alarms = await asyncio.to_thread(self.rabbitmq.evaluate, "rabbit_alarm:get_alarms()")
        await asyncio.to_thread(self.rabbitmq.evaluate, "vm_memory_monitor:set_vm_memory_high_watermark(0.4)")
        return "memory" in alarms

    async def _restart_database(self) -> bool:
        before = self.postgres.pid
        await asyncio.to_thread(self.postgres.stop, "immediate")
        await asyncio.to_thread(self.postgres.start)
        return self.postgres.pid != before

    async def _end_backends(self) -> bool:
        ended = await asyncio.to_thread(
            self.postgres.execute,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname LIKE 'test\\_%'",
        )
        return ended is None or bool(ended)


async def _number(parent: psutil.Popen, count: int) -> bool:
    return len(parent.children()) == count


def _lives(process: psutil.Process) -> bool:
    gone, _ = psutil.wait_procs([process], timeout=10)
    return not gone


async def run(minutes: float, rate: float, seed: int, directory: Path) -> dict[str, Any]:
    """Plays it; returns the verdict."""
    with ExitStack() as stack:
        rabbitmq, postgres = stack.enter_context(RabbitMQ()), stack.enter_context(PostgreSQL())
        async with site(directory) as here:
            here.configure(
                bus={"url": rabbitmq.create_vhost()},
                store={"url": postgres.create_database()},
                worker={"port": here.spare[0]},
                calls={"settle": 2, "gap_after": 15, "longest": 3600},
            )
            soak = Soak(here, rabbitmq, postgres, seed)
            await soak.start()
            calls = int(minutes * 60 * rate / _EVENTS_A_CALL)
            began = monotonic()
            async with Load(here.url, seed=seed, calls=calls, rate=rate) as load:
                measuring = asyncio.create_task(_measure(soak.witnesses, began))
                await _minutes(soak, load, began)
                measuring.cancel()
            whole = monotonic() - began
            return await _verdict(soak, load, whole)


async def _minutes(soak: Soak, load: Load, began: float) -> None:
    """A fault each minute until all have called."""
    while load.report is None:
        done, _ = await asyncio.wait([load.playing], timeout=soak.dice.uniform(0.6, 1.4) * _EVERY)
        if done:
            return
        line = {"minute": round((monotonic() - began) / 60, 1), "fault": await soak.provoke()}
        line |= {"accepted": len(load.accepted), "answers": dict(load.statuses), "unanswered": dict(load.errors)}
        line |= {one.name: [round(one.samples[-1][1] / _MB, 1), one.samples[-1][2]] for one in soak.witnesses}
        _print(line)


async def _measure(witnesses: Sequence[Witness], began: float) -> None:
    while True:
        for witness in witnesses:
            witness.look(monotonic() - began)
        await asyncio.sleep(_SAMPLE)


async def _verdict(soak: Soak, load: Load, whole: float) -> dict[str, Any]:
    here = soak.here
    assert load.report is not None

    async def quiet() -> Any:
        status, ledger = await here.get("/v1/ledger")
        if status != 200:
            return None
        worker = ledger["workers"]["persistence"]
        return ledger if worker["in_flight"] == 0 and worker["settled"] >= len(load.accepted) else None

    async def sealed() -> bool:
        return all("sealed" in record for record in await here.pages("/v1/calls"))

    ledger = await until(quiet, within=180)
    await until(sealed, within=120)
    ledger = await until(quiet, within=60)
    events = await here.pages("/v1/events")
    records = await here.pages("/v1/calls")
    stored = Counter(item["id"] for item in events)
    seals = Counter(item["subject"] for item in events if item["type"].endswith(".sealed.v1"))
    verdict = {
        "minutes": round(whole / 60, 1),
        "faults": dict(soak.injected),
        "attempted": load.report.sent,
        "acknowledged": len(load.accepted),
        "answers": dict(load.statuses),
        "unanswered": dict(load.errors),
        "lost": len(load.accepted - stored.keys()),
        "duplicated": sum(count - 1 for count in stored.values()),
        "calls": len(records),
        "sealed once": all(seals[record["call_id"]] == 1 for record in records) and len(seals) == len(records),
        "resealed": sum(item["type"].endswith(".resealed.v1") for item in events),
        "ledger": ledger,
        "p50": round(load.report.latency["p50"], 4),
        "p99": round(load.report.latency["p99"], 4),
        "witnesses": {one.name: one.figures(whole) for one in soak.witnesses},
    }
    good = (verdict["lost"], verdict["duplicated"], verdict["sealed once"]) == (0, 0, True)
    return {"good": good and set(load.statuses) == {200}, **verdict}


def _print(line: dict[str, Any]) -> None:
    print(orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS).decode(), flush=True)  # noqa: T201  what it is for


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a random fault each minute")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--rate", type=float, default=50, help="callbacks a second")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="trunkline-soak-") as name:
        outcome = asyncio.run(run(given.minutes, given.rate, given.seed, Path(name)))
    _print(outcome)
    sys.exit(0 if outcome["good"] else 1)
