"""Where an event is, or all events of a call: kept, dead, in quarantine, or still on its way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson

from hub.disk import Disk, Kept, Narrow
from hub.errors import NotDurable
from hub.operating.dead_letters import Found
from hub.ports import SUSPECTS, Attempt, Bus, Dead, EventFilter, Store, Stored, Suspect
from hub.ports.forwarding import ForwardingStore, Tried

_PAGE: Final = 500
_LETTERS: Final = 100
_WORKER: Final = "persistence"


@dataclass(slots=True)
class Whereabouts:
    """What is known of an id.

    Attributes:
        id: of an event, of a call, or of a request in quarantine; canonical where it is a UUID.
        of_call: whether it is a call's.
        events: kept ones: the call's, in the order of their keeping, or the one.
        record: the call's, of the one event too; None where there is none.
        dead: its dead letters, of every worker that gave it up; of a call, those of its events.
        tries: requests to destinations for it, oldest first.
        attempts: of its deliveries that failed, of a call's events too, oldest first; a dead letter tells its own.
        suspect: what the ledger says of it, where it was accepted and is not kept.
        quarantined: the request.
        under_way: how many events are on their way, by the place where they are: it may be among them.
        unasked: what could not be asked, and why.
    """

    id: str
    of_call: bool = False
    events: list[Stored] = field(default_factory=list)
    record: dict[str, Any] | None = None
    dead: list[Found] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    tries: list[Tried] = field(default_factory=list)
    suspect: Suspect | None = None
    quarantined: Kept | None = None
    under_way: dict[str, int] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether it is anywhere."""
        return bool(self.events or self.dead or self.quarantined or self.record or self.attempts)


async def look_up(
    text: str, store: ForwardingStore, bus: Bus | None, workers: dict[str, str], disk: Disk | None
) -> Whereabouts:
    """Looks everywhere.

    Args:
        text: the id.
        store: open.
        bus: that answers; None where none does.
        workers: name → queue.
        disk: the ingress's, open; None where it is not on this machine.

    Raises:
        StoreUnavailable: the store cannot be asked.
    """
    where = Whereabouts(_canonical(text))
    await _in_store(where, store)
    if bus is not None:
        await _on_bus(where, bus, workers)
    if disk is not None:
        await _on_disk(where, disk)
    return where


async def _in_store(where: Whereabouts, store: ForwardingStore) -> None:
    where.attempts = await store.attempts(ids=[where.id]) or await store.attempts(call_id=where.id)
    where.tries = await store.forwarding.tries(key=where.id) or await store.forwarding.tries(call_id=where.id)
    suspects = await store.suspects(_WORKER, SUSPECTS)
    where.suspect = next((one for one in suspects if one.event_id == where.id), None)
    where.events = await _all(store, EventFilter(call_id=where.id))
    where.record = _parsed(await store.call(where.id))
    where.of_call = bool(where.events) or where.record is not None
    if where.of_call:
        return
    where.events = await _all(store, EventFilter(ids=[where.id]))
    for event in where.events:
        if event.call_id is not None:
            where.record = _parsed(await store.call(event.call_id))
    if not where.events and (waiting := (await store.counts())["outbox"]):
        where.under_way["the store's outbox"] = waiting


async def _on_bus(where: Whereabouts, bus: Bus, workers: dict[str, str]) -> None:
    def meant(letter: Dead) -> bool:
        return where.id in (letter.id, letter.message.headers.get("ce-subject"))

    try:
        for name, queue in sorted(workers.items()):
            where.dead += [Found(name, letter) for letter in await bus.dead(queue, _LETTERS, None, meant)]
            depth = await bus.depth(queue)
            if depth.ready or depth.in_flight:
                where.under_way[f"the queue of {name}"] = depth.ready + depth.in_flight
    except NotDurable as error:
        where.unasked["the bus"] = str(error)
    if where.dead and not where.events:
        where.of_call = all(found.letter.id != where.id for found in where.dead)


async def _on_disk(where: Whereabouts, disk: Disk) -> None:
    try:
        ids = [where.id, *_quarantine_ids(where.events)]
        found = await disk.quarantined(1, 0, Narrow(ids=ids))
        where.quarantined = found[0] if found else None
        waiting = await disk.waiting()
    except NotDurable as error:
        where.unasked["the ingress's disk"] = str(error)
        return
    if waiting:
        where.under_way["the ingress's outbox"] = waiting


def _quarantine_ids(events: Sequence[Stored]) -> list[str]:
    """Of an event that says that a request is in quarantine, that request."""
    told = [orjson.loads(one.message.body) for one in events if one.message.routing_key.endswith(".quarantined")]
    return [str(data["quarantine_id"]) for data in told if "quarantine_id" in data]


async def _all(store: Store, narrow: EventFilter) -> list[Stored]:
    upto = (await store.survey(narrow)).upto
    found: list[Stored] = []
    while True:
        page = await store.stored(narrow, _PAGE, found[-1].seq if found else 0, upto)
        found += page
        if len(page) < _PAGE:
            return found


def _parsed(record: bytes | None) -> dict[str, Any] | None:
    return None if record is None else orjson.loads(record)


def _canonical(text: str) -> str:
    """As ids are written; what is no UUID may be a stranger's event, under whatever name."""
    try:
        return str(UUID(text))
    except ValueError:
        return text
