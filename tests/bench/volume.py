"""``python -m tests.bench.volume [CALLS]``: many calls through whole hubs, with their figures.

For the embedded hub, and for RabbitMQ and PostgreSQL with an ingress and two persistence workers: the same seed once as
the vendors send it and once with repetitions and disorder. Every call must be sealed once, and the records of both
runs must be equal but for receipt times.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import orjson
from aiohttp import ClientSession
from rich.console import Console
from rich.table import Table

from hub.simulator.driver import play
from hub.simulator.mutators import Mutations, mutate
from hub.simulator.scenarios import calls, stream
from tests.acceptance.fleet import Fleet, fleet
from tests.acceptance.test_equal_records import TARGET, without_receipts
from tests.acceptance.test_real_servers import ROLES
from tests.hub import ADMIN, until
from tests.servers.postgres import PostgreSQL
from tests.servers.rabbitmq import RabbitMQ

SEED: Final = 7
RUNS: Final = {"plain": Mutations(), "duplicate 0.1, reorder 0.3": Mutations(duplicate=0.1, reorder=0.3)}
_PATIENCE: Final = 600.0


@dataclass(frozen=True)
class Figures:
    """What one run came to."""

    callbacks: int
    sealed: int
    derived: int
    sending: float
    whole: float
    p50: float
    p99: float
    peak: dict[str, int]
    records: dict[str, dict[str, Any]]


async def one(directory: Path, bus: str, store: str, roles: Any, *, count: int, mutations: Mutations) -> Figures:
    """Plays ``count`` calls against a hub of its own and reads every record."""
    began = monotonic()
    async with fleet(directory, bus, store, roles, settle=5, gap_after=30) as hub:
        made = calls(["all"], seed=SEED, count=count, target=TARGET)
        report = await play(mutate(stream(made), mutations, seed=SEED), hub.url)
        if set(report.statuses) != {200} or report.errors:
            raise SystemExit(f"answers: {report.statuses}, errors: {report.errors}\n{hub.logs()}")
        ledger = await until(lambda: _quiet(hub, count), within=_PATIENCE)
        records = await _records(hub)
        derived = ledger["workers"]["persistence"]["settled"]
    return Figures(
        callbacks=report.sent,
        sealed=sum("sealed" in record for record in records.values()),
        derived=derived - (ledger["callbacks"]["accepted"] - ledger["callbacks"]["duplicate"]),
        sending=report.seconds,
        whole=monotonic() - began,
        p50=report.latency["p50"],
        p99=report.latency["p99"],
        peak=hub.peak,
        records={call_id: without_receipts(record) for call_id, record in records.items()},
    )


async def _quiet(hub: Fleet, count: int) -> dict[str, Any] | None:
    """The ledger, once every call is sealed and its seal has come back over the bus."""
    await asyncio.sleep(0.5)
    ledger: dict[str, Any] = await _read(hub, "/v1/ledger")
    worker, callbacks = ledger["workers"]["persistence"], ledger["callbacks"]
    kept = callbacks["accepted"] - callbacks["duplicate"]
    return ledger if worker["in_flight"] == 0 and worker["settled"] >= kept + count else None


async def _records(hub: Fleet) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    after = ""
    while True:
        page = await _read(hub, f"/v1/calls?limit=1000&after={after}")
        found |= {record["call_id"]: record for record in page["items"]}
        after = page["next"]
        if not after:
            return found


async def _read(hub: Fleet, path: str) -> Any:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with ClientSession(headers=headers) as session, session.get(hub.url + path) as answer:
        return orjson.loads(await answer.read())


async def main(count: int) -> int:
    """Runs all four; 0 where every call was sealed once and the records are equal."""
    table = Table(*("hub", "run", "callbacks", "calls sealed", "seals published", "sent in", "a second", "p50", "p99"))
    table.add_column("all sealed after")
    table.add_column("peak memory")
    good = True
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="trunkline-volume-")))
        rabbitmq, postgres = stack.enter_context(RabbitMQ()), stack.enter_context(PostgreSQL())
        for hub in ("embedded", "RabbitMQ, PostgreSQL"):
            runs = []
            for n, (name, mutations) in enumerate(RUNS.items()):
                place = directory / f"{hub[0]}{n}"
                await asyncio.to_thread(place.mkdir)
                real = hub != "embedded"
                bus = rabbitmq.create_vhost() if real else f"sqlite:///{place}/bus.db"
                store = postgres.create_database() if real else f"sqlite:///{place}/store.db"
                run = await one(place, bus, store, ROLES if real else [("up",)], count=count, mutations=mutations)
                runs.append(run)
                table.add_row(*_row(hub, name, run))
                good = good and run.sealed == len(run.records) == run.derived == count
            same = runs[0].records == runs[1].records
            table.add_row(hub, f"records equal: {same}")
            good = good and same
    Console(width=220).print(table)
    return 0 if good else 1


def _row(hub: str, name: str, run: Figures) -> list[str]:
    peak = ", ".join(f"{role.rpartition(' ')[0]} {size >> 20} MiB" for role, size in run.peak.items())
    return [
        *(hub, name, str(run.callbacks), str(run.sealed), str(run.derived), f"{run.sending:.1f} s"),
        *(f"{run.callbacks / run.sending:.0f}", f"{run.p50 * 1000:.1f} ms", f"{run.p99 * 1000:.1f} ms"),
        *(f"{run.whole:.1f} s", peak),
    ]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
