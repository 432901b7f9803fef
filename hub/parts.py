"""One of each part, as the configuration chooses it: bus, store, disk, decoders, workers.

Each implementation is imported when it is chosen, and not before: a command over the embedded files starts without the
broker's client, and one that prints the configuration without any of them.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from hub.calls import PROMISED, Timing
from hub.clients import dialers_of, lines, make_dialing, pollings
from hub.config import (
    AnySource,
    FocalScopeSource,
    InfocallerSource,
    Settings,
    UContactSource,
)
from hub.custody import Custody
from hub.disk import Disk
from hub.operating.replay import Target
from hub.ports import Bus, QueueSpec, Vendor
from hub.ports.dialing import DialStore
from hub.ports.forwarding import ForwardingStore
from hub.ports.gaps import GapStore
from hub.ports.recordings import RecordingStore
from hub.ports.respool import RespoolStore
from workers import crm, dial, persistence, poll, recordings, respool, watch
from workers.runner import Service, Timed


class EveryStore(ForwardingStore, RecordingStore, GapStore, RespoolStore, DialStore, Protocol):
    """All the verbs that there are."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of worker.

    Attributes:
        queue: what it consumes, as the configuration has it.
        make: one of them, for a process.
        repeatable: whether its effect may be had again for an event that is published again.
    """

    queue: Callable[[Settings], QueueSpec]
    make: Callable[[Settings, EveryStore, Bus], Service]
    repeatable: bool = True


def _crm(settings: Settings, store: EveryStore, bus: Bus) -> Service:
    from workers.crm.service import Forwarder

    return Forwarder(settings, store, bus)


def _recordings(settings: Settings, store: RecordingStore, bus: Bus) -> Service:
    from workers.recordings.service import Recordings

    return Recordings(settings, store, bus, make_custody(settings))


def _dial(settings: Settings, store: DialStore, bus: Bus) -> Service:
    from workers.dial.service import Dialling

    return Dialling(make_dialing(settings, store.dials), store, bus, lambda: lines(settings))


def _respooler(settings: Settings, store: RespoolStore, bus: Bus) -> Service:
    from workers.respool.service import Respooler

    return Respooler(settings, store, bus, lambda: dialers_of(settings))


WORKERS: Final[dict[str, Kind]] = {
    persistence.NAME: Kind(lambda _: persistence.QUEUE, lambda _, store, bus: persistence.Persistence(store, bus)),
    crm.NAME: Kind(crm.queue, _crm, repeatable=False),
    recordings.NAME: Kind(
        lambda _: recordings.QUEUE,
        _recordings,
    ),
    dial.NAME: Kind(lambda _: dial.QUEUE, _dial, repeatable=False),
    respool.NAME: Kind(lambda _: respool.QUEUE, _respooler, repeatable=False),
}
"""Every worker by its name: a new one is one file and one line here."""


def _poller(settings: Settings, store: GapStore, bus: Bus) -> Timed:
    return poll.Poller(store, bus, lambda: pollings(settings, store))


def _watch(settings: Settings, store: GapStore, bus: Bus) -> Timed:
    calling = [
        watch.Watched(name, source.vendor, settings.calls.longest, ZoneInfo(getattr(source, "timezone", "UTC")))
        for name, source in settings.sources.items()
        if source.tokens
    ]
    return watch.Watch(store, bus, calling, every=settings.gaps.every, weeks=settings.gaps.weeks)


TIMED: Final[dict[str, Callable[[Settings, GapStore, Bus], Timed]]] = {
    poll.NAME: _poller,
    watch.NAME: _watch,
}
"""Every role without a queue by its name: what it does because it is time."""

ROLES: Final = (*WORKERS, *TIMED)
"""What ``trunkline worker`` takes, and ``trunkline up`` runs beside the ingress."""

_VERBS: Final = {"inicio": "started", "desvio_correcto": "answered", "desvio_fallido": "missed", "fin": "ended"}


def make_bus(settings: Settings, on_stuck: Callable[[str], None] | None = None) -> Bus:
    """The bus that ``bus.url`` names; ``on_stuck`` hears of a consumer that only another process can mend."""
    urls = settings.bus.urls
    if urls[0].startswith("sqlite:"):
        from hub.bus.sqlite import SqliteBus

        return SqliteBus(sqlite_path(urls[0]))
    from hub.bus.rabbitmq import RabbitBus

    return RabbitBus(urls, on_stuck=on_stuck)


def make_store(settings: Settings) -> EveryStore:
    """The store that ``store.url`` names."""
    from hub.store.sql import SqlStore

    timing = Timing(settings.calls.settle, settings.calls.gap_after, settings.calls.longest)
    expected = {name: _expected(source) for name, source in settings.sources.items()}
    everything = frozenset().union(*PROMISED.values())
    return SqlStore(
        settings.store.url.get_secret_value(),
        expected=lambda source: expected.get(source, everything),
        timing=timing,
    )


def make_custody(settings: Settings) -> Custody:
    """The place for recordings that ``recordings.url`` names."""
    part = settings.recordings
    scheme, _, rest = part.url.partition("://")
    if scheme == "file":
        from hub.custody.disk import DiskCustody

        return DiskCustody(Path(rest).absolute())
    from hub.custody.objects import ObjectCustody

    return ObjectCustody(part.url, {name: value.get_secret_value() for name, value in part.options.items()})


def make_disk(settings: Settings) -> Disk:
    """The ingress's own disk."""
    outbox = settings.outbox
    return Disk(
        outbox.path,
        max_bytes=outbox.max_bytes,
        quarantine_bytes=outbox.quarantine_bytes,
        min_free_bytes=outbox.min_free_bytes,
    )


def make_decoder(name: str, source: AnySource) -> Vendor | None:
    """What reads a source's callbacks; None where none is read."""
    match source:
        case InfocallerSource():
            from hub.vendors.infocaller.callbacks import Infocaller

            return Infocaller(
                source=name,
                lines={line: password.get_secret_value() for line, password in source.lines.items()},
                timezone=source.timezone,
                country=source.country,
                require_signature=source.require_signature,
                refuse_bad_signature=source.bad_signature == "refuse",
            )
        case FocalScopeSource():
            from hub.vendors.focalscope.callbacks import FocalScope

            return FocalScope(source=name, epoch=source.epoch, country=source.country)
        case UContactSource():
            from hub.vendors.ucontact.callbacks import UContactEvents

            return UContactEvents(
                source=name,
                country=source.country,
                dispositions=dict(source.dispositions),
                recorded=bool(source.recording_urls),
            )
        case _:
            return None


def make_decoders(settings: Settings) -> dict[str, Vendor]:
    """What reads callbacks, by the name of each source that calls back."""
    made = {name: make_decoder(name, source) for name, source in settings.sources.items()}
    return {name: decoder for name, decoder in made.items() if decoder is not None}


# --- queues ----------------------------------------------------------------------------------------------------------


def queues(settings: Settings) -> list[QueueSpec]:
    """The queue of every worker, whether it runs here or elsewhere."""
    return [kind.queue(settings) for kind in WORKERS.values()]


def worker_queues(settings: Settings) -> dict[str, str]:
    """Every worker's name with its queue's."""
    return {name: kind.queue(settings).name for name, kind in WORKERS.items()}


def replay_targets(settings: Settings) -> dict[str, Target]:
    """Every worker by its name, as one that events can be published again for."""
    return {
        name: Target.of_worker(name, kind.queue(settings), repeatable=kind.repeatable) for name, kind in WORKERS.items()
    }


def sqlite_path(url: str) -> Path:
    """The file of an SQLite URL: ``sqlite:///relative`` or ``sqlite:////absolute``."""
    return Path(url.partition("://")[2].removeprefix("/"))


def _expected(source: AnySource) -> frozenset[str]:
    promised = PROMISED[source.vendor]
    if isinstance(source, InfocallerSource):
        return promised & {_VERBS[event] for event in source.events}
    return promised


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[EveryStore]:
    """The store alone, for a command that reads."""
    store = make_store(settings)
    await store.start()
    try:
        yield store
    finally:
        await store.close()
