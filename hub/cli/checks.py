"""``trunkline doctor``."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import typer

from hub.cli.shared import run, state
from hub.config import FocalScopeSource, Settings, UContactSource
from hub.disk import Narrow
from hub.errors import ConfigurationError, NotDurable, StoreUnavailable, TrunklineError
from hub.events import UNROUTED
from hub.operating.quarantine import MOST
from hub.parts import make_bus, make_custody, make_disk, make_store, queues
from hub.ports import Bus, Depth
from hub.store.upgrade import pending
from hub.wiring import make_gates

_PATIENCE: Final = 5.0
_LITTLE: Final = 0.1  # of the disk
_Check = Callable[[Settings], Awaitable[str]]


def doctor(context: typer.Context) -> None:
    """Check the configuration, broker, database, bindings and disk: one line each; exit 1 if any is bad."""
    settings = state(context).settings()
    if not run(_doctor(settings)):
        raise typer.Exit(1)


async def _doctor(settings: Settings) -> bool:
    good = True
    async for name, bad, line in _checks(settings):
        typer.echo(f"{'bad' if bad else 'ok':<5} {name:<14} {line}")
        good = good and not bad
    return good


async def _checks(settings: Settings) -> AsyncIterator[tuple[str, bool, str]]:
    for name, check in _CHECKS.items():
        try:
            yield name, False, await check(settings)
        except (TrunklineError, OSError) as error:
            yield name, True, str(error)


async def _configuration(settings: Settings) -> str:
    if not settings.sources:
        raise ConfigurationError("no source is configured; expected at least one table [sources.NAME]")
    gates = make_gates(settings)
    calling = [name for name, gate in gates.items() if gate.tokens]
    for name, gate in gates.items():
        if not gate.tokens and not isinstance(settings.sources[name], UContactSource):  # which may be asked alone
            raise ConfigurationError(f"sources.{name}.tokens: found none; nobody can call it")
    if settings.admin.token is None:
        raise ConfigurationError("admin.token: missing; nobody can read /v1")
    asked = [name for name in settings.sources if name not in calling]
    told = f"{len(calling)} sources that call back" + (f": {', '.join(calling)}" if calling else "")
    return told + (f"; asked alone: {', '.join(asked)}" if asked else "")


async def _broker(settings: Settings) -> str:
    return await _with_bus(settings, _nothing)


async def _bindings(settings: Settings) -> str:
    """Declares the queues and bindings anew, which changes none that is there, and looks at what lies in them."""
    specs = queues(settings)

    async def measure(bus: Bus) -> str:
        await bus.declare(specs)
        depths = {spec.name: await bus.depth(spec.name) for spec in specs}
        stray = await bus.depth(UNROUTED)
        if count := stray.ready + stray.in_flight:
            raise NotDurable(
                f"{UNROUTED} has {count} events: no queue was bound to them when they came; "
                "the bindings are there now, and a running hub moves them within seconds"
            )
        return "; ".join(_depth(name, depth) for name, depth in depths.items())

    return await _with_bus(settings, measure)


def _depth(name: str, depth: Depth) -> str:
    dead = f"{depth.dead} dead: trunkline dead list" if depth.dead else "none dead"
    return f"{name}: {depth.ready} ready, {depth.in_flight} in flight, {dead}"


async def _nothing(bus: Bus) -> str:
    return "takes messages" if bus.state()[0] else ""


async def _with_bus(settings: Settings, use: Callable[[Bus], Awaitable[str]]) -> str:
    bus = make_bus(settings)
    await bus.start()
    try:
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while not bus.state()[0]:
            if asyncio.get_running_loop().time() > deadline:
                raise NotDurable(bus.state()[1])
            await asyncio.sleep(0.05)
        return await use(bus)
    finally:
        await bus.close()


async def _database(settings: Settings) -> str:
    store = make_store(settings)
    await store.start()
    try:
        await store.ping()
    finally:
        await store.close()
    missing = await pending(settings.store.url.get_secret_value())
    if missing:
        raise StoreUnavailable(f"the schema lacks {', '.join(missing)}; run: trunkline db upgrade")
    return "answers, its schema is up to date"


async def _disk(settings: Settings) -> str:
    directory = _existing(settings.outbox.path.absolute().parent)
    if not directory.is_dir() or not os.access(directory, os.W_OK):
        raise ConfigurationError(f"outbox.path: {directory} cannot be written; expected a directory of ours")
    total, _, free = shutil.disk_usage(directory)
    least = settings.outbox.min_free_bytes
    if free < least:
        raise ConfigurationError(
            f"outbox.min_free_bytes: {free >> 20} MiB are free on {directory}, expected {least >> 20}: the outbox "
            "takes nothing, so a broker that is away means 503"
        )
    if free - least < settings.outbox.max_bytes or free < _LITTLE * total:
        raise ConfigurationError(f"outbox.path: {free >> 20} MiB are free on {directory}, expected room for the outbox")
    return "; ".join([f"{free - least >> 20} MiB free for the outbox", *await _kept(settings)])


async def _kept(settings: Settings) -> list[str]:
    """What an operator should know of the ingress's disk, where there is one here."""
    if not settings.outbox.path.exists():
        return []
    disk = make_disk(settings)
    await disk.start()
    try:
        waiting, quarantined = await disk.waiting(), len(await disk.find(Narrow(), MOST))
    finally:
        await disk.close()
    notes = [f"{waiting} events wait in it for the bus"] if waiting else []
    more = " or more" if quarantined == MOST else ""
    return [*notes, f"{quarantined}{more} in quarantine: trunkline quarantine list"] if quarantined else notes


async def _custody(settings: Settings) -> str:
    """Writes, reads and deletes a probe where recordings are kept."""
    custody = make_custody(settings)
    await custody.start()
    try:
        told = await custody.check()
    finally:
        await custody.close()
    idle = [
        name
        for name, source in settings.sources.items()
        if isinstance(source, FocalScopeSource) and not source.recording_url
    ]
    return told + (f"; no recording_url, nothing is fetched: {', '.join(idle)}" if idle else "")


def _existing(directory: Path) -> Path:
    while not directory.exists():
        directory = directory.parent
    return directory


_CHECKS: Final[dict[str, _Check]] = {
    "configuration": _configuration,
    "broker": _broker,
    "database": _database,
    "bindings": _bindings,
    "disk": _disk,
    "recordings": _custody,
}
