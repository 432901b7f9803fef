"""``make demo``: an embedded hub, simulated vendors, and a table that must balance.

The hub is the one of ``trunkline up``, on files of its own in a temporary directory and a free port of loopback.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from aiohttp import web
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hub import logs
from hub.cli.shared import run
from hub.cli.simulating import answered, steps
from hub.config import Settings
from hub.parts import WORKERS
from hub.ports import EventFilter
from hub.simulator.audio import AudioServer
from hub.simulator.crms.double import Double, served
from hub.simulator.crms.hubspot import HubSpotDouble
from hub.simulator.crms.mischief import Mischief
from hub.simulator.crms.salesforce import SalesforceDouble
from hub.simulator.crms.webhook import WebhookDouble
from hub.simulator.crms.zoho import ZohoDouble
from hub.simulator.driver import Report, bar, play
from hub.simulator.infocu5 import Infocu5, serving
from hub.simulator.mutators import Mutations
from hub.wiring import Process

CALLS: Final = 600
SEED: Final = 20
RATE: Final = 400.0
MUTATIONS: Final = Mutations(duplicate=0.05, reorder=0.2)
_PATIENCE: Final = 180.0
SECRET: Final = "whsec_ZGVtbyBvZiB0cnVua2xpbmUsIDI0IGJ5dGVz"  # noqa: S105  of the demo's receiver, nobody else's


def doubles() -> dict[str, Double]:
    """A CRM of each kind, each dropping an answer now and then."""
    made = {name: Mischief({"drop": 0.01}, seed=SEED) for name in ("webhook", "hubspot", "salesforce", "zoho")}
    return {
        "webhook": WebhookDouble(SECRET, mischief=made["webhook"]),
        "hubspot": HubSpotDouble(token="demo", mischief=made["hubspot"]),  # noqa: S106  the demo's own
        "salesforce": SalesforceDouble(token="demo", mischief=made["salesforce"]),  # noqa: S106
        "zoho": ZohoDouble(token="demo", mischief=made["zoho"]),  # noqa: S106
    }


def destinations(crms: Mapping[str, Double]) -> dict[str, dict[str, Any]]:
    """A destination for each, patient enough for a machine that does everything at once."""
    common = {"rate": 500, "concurrency": 20, "timeout": 3}
    webhook = {"kind": "webhook", "url": f"{crms['webhook'].url}/hook", "secrets": [SECRET], **common}
    return {"webhook": webhook} | {
        kind: {"kind": kind, "url": double.url, "token": "demo", "settle": 0.5, **common}
        for kind, double in crms.items()
        if kind != "webhook"
    }


def settings_in(directory: Path, audio: str, crms: Mapping[str, Double], dialer: str) -> Settings:
    """A hub for the demo: everything in ``directory``, sealing quick enough to be watched.

    Args:
        directory: of its own.
        audio: where the simulated vendor serves recordings.
        crms: the destinations.
        dialer: where the simulated INFOCU5 listens.
    """
    vendor = Infocu5()
    template = f"{audio}/recordings/{{call_uuid}}.wav"
    sources = {
        "line-900": {"vendor": "infocaller", "tokens": ["demo-of-infocaller"], "lines": {"123456789": "3956"}},
        "desk": {"vendor": "focalscope", "tokens": ["demo-of-focalscope"], "recording_url": template},
        "focu5": {
            "vendor": "infocu5",
            "base_url": dialer,
            "affiliate_id": vendor.affiliate_id,
            "affiliate_key": vendor.affiliate_key,
            "rate": 500,
            "country": "ES",
        },
    }
    rule = {
        "sources": ["line-900"],
        "dispositions": ["no_answer"],
        "dialer": "focu5",
        "campaign": "Campaign Name",
        "delays": ["0s"],
    }
    return Settings.model_validate(
        {
            "http": {"port": 0},
            "bus": {"url": f"sqlite:///{directory}/bus.db"},
            "store": {"url": f"sqlite:///{directory}/store.db"},
            "outbox": {"path": str(directory / "outbox.db")},
            "calls": {"settle": 1, "gap_after": 3},
            "recordings": {"url": f"file://{directory}/recordings", "rate": 200, "min_free_bytes": 0},
            "egress": {"allow": ["127.0.0.0/8"]},
            "sources": sources,
            "destinations": destinations(crms),
            "respool": {"rules": [rule]},
        }
    )


@asynccontextmanager
async def vendor_of_audio() -> AsyncIterator[str]:
    """A simulated vendor that serves recordings, each at the second time of asking; its address."""
    runner = web.AppRunner(AudioServer(ready_after=1).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def demonstrate(
    directory: Path, progress: Progress, crms: Mapping[str, Double], dialer: Infocu5
) -> tuple[Report, dict[str, int], dict[str, Any]]:
    """Plays the simulation until all is sealed, stored and forwarded; the report, the counts, and the ledger."""
    async with AsyncExitStack() as stack:
        audio = await stack.enter_async_context(vendor_of_audio())
        for double in crms.values():
            await stack.enter_async_context(served(double))
        url = await stack.enter_async_context(serving(dialer))
        return await _demonstrate(settings_in(directory, audio, crms, url), progress)


async def _demonstrate(settings: Settings, progress: Progress) -> tuple[Report, dict[str, int], dict[str, Any]]:
    process = Process(settings, ingress=True, workers=list(WORKERS))
    ready = asyncio.Event()
    serving = asyncio.create_task(process.run(ready=ready.set))
    await ready.wait()
    try:
        played = steps(settings, ["all"], MUTATIONS, seed=SEED, count=CALLS)
        url = f"http://127.0.0.1:{process.port}"
        report = await play(played, url, rate=RATE, on_result=bar(progress))
        await _quiet(process, progress)
        books = dict(await process.ledger())
        # The audit gives an event time to arrive before it looks for it; here everything has arrived.
        books["workers"]["persistence"]["unaccounted"] = sorted(await process.audit.missing())
        return report, await process.store.counts() | await _audio(process) | await _respools(process), books
    finally:
        process.stop()
        await serving


async def _quiet(process: Process, progress: Progress) -> None:
    """Waits until every call is sealed and nothing is in flight, or patience ends: the table will show it."""
    task = progress.add_task("calls sealed", total=CALLS)
    sent = progress.add_task("calls forwarded", total=CALLS)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while loop.time() < deadline:
        counts, books = await process.store.counts(), await process.ledger()
        progress.update(task, completed=counts["sealed"])
        audio = await _audio(process)
        heard = audio["announced"] == audio["stored"]
        progress.update(sent, completed=books["workers"]["crm"]["settled"])
        still = all(worker["in_flight"] == 0 for worker in books["workers"].values())
        if counts["sealed"] >= CALLS and still and heard:
            return
        await asyncio.sleep(0.1)


async def _audio(process: Process) -> dict[str, int]:
    """How many recordings were announced, and how many are stored, as events tell."""
    keys = {"announced": "recording.focalscope.available", "stored": "recording.focalscope.stored"}
    found = (await process.store.survey(EventFilter(routing_keys=list(keys.values())))).counts
    told = {name: found.get(key, 0) for name, key in keys.items()}
    return told | {"audio": sum(told.values())}


async def _respools(process: Process) -> dict[str, int]:
    """How many contacts were put back into the dialer, as events tell, and how many were not."""
    keys = {"accepted": "respool.infocu5.accepted", "refused": "respool.infocu5.refused"}
    found = (await process.store.survey(EventFilter(routing_keys=list(keys.values())))).counts
    return {f"respools {name}": found.get(key, 0) for name, key in keys.items()}


def records(crms: Mapping[str, Double]) -> dict[str, int]:
    """What each CRM has."""
    return {
        name: len(double.got) if isinstance(double, WebhookDouble) else len(double.calls.all)
        for name, double in crms.items()
    }


def balances(
    report: Report, counts: dict[str, int], books: dict[str, Any], there: Mapping[str, int], leads: int
) -> dict[str, tuple[int, int, bool]]:
    """Each line of the account: what went in, what came out, whether they are equal."""
    callbacks, worker, crm = books["callbacks"], books["workers"]["persistence"], books["workers"]["crm"]
    kept = counts["events"] - counts["derived"] - counts["audio"]
    kept -= counts["respools accepted"] + counts["respools refused"]
    respool = books["workers"]["respool"]
    lines = {
        "callbacks in = answered 200": (report.statuses.get(200, 0), callbacks["accepted"]),
        "accepted, without repetitions = events kept": (callbacks["accepted"] - callbacks["duplicate"], kept),
        "calls in = calls sealed": (CALLS, counts["sealed"]),
        "calls sealed = seals that came back": (counts["sealed"], counts["seals"]),
        "recordings announced = stored": (counts["announced"], counts["stored"]),
        **{f"calls sealed = records at {name}": (counts["sealed"], found) for name, found in there.items()},
        "respools accepted = leads at the dialer": (counts["respools accepted"], leads),
        "respooling: dead, in flight": (0, respool["dead"] + respool["in_flight"]),
        "forwarding: dead, in flight": (0, crm["dead"] + crm["in_flight"]),
        "dead, in flight, unaccounted": (0, worker["dead"] + worker["in_flight"] + len(worker["unaccounted"])),
    }
    return {name: (one, other, one == other) for name, (one, other) in lines.items()}


def main() -> None:
    """Runs the demo; ends the process with 0 only if the account balances."""
    logs.configure("error")  # what the doubles drop is told as a warning, and mended
    console = Console(width=None if sys.stdout.isatty() else 100)
    with TemporaryDirectory(prefix="trunkline-demo-") as directory, Progress(console=console) as progress:
        crms, dialer = doubles(), Infocu5()
        report, counts, books = run(demonstrate(Path(directory), progress, crms, dialer), fast=True)
    account = balances(report, counts, books, records(crms), len(dialer.leads))
    table = Table("account", "in", "out", "", title="Trunkline, embedded", title_justify="left")
    for name, (one, other, equal) in account.items():
        table.add_row(name, str(one), str(other), "=" if equal else "DIFFERS")
    for name in ("p50", "p99"):
        table.add_row(f"answer, {name}", f"{report.latency[name] * 1000:.1f} ms", "", "")
    console.print(table)
    sys.exit(0 if answered(report) and all(equal for _, _, equal in account.values()) else 1)


if __name__ == "__main__":
    main()
