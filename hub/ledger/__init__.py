"""What was accepted, and where all of it is: ``accepted = settled + dead + in flight`` for each worker.

What is in none of the three is ``unaccounted``: lost. ``audit`` finds it, all the time and in every process; this is
what it comes to.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hub.disk import Disk
from hub.ledger.audit import QUEUE, WORKER, Audit
from hub.ports import SUSPECTS, Bus, Presence, Store

__all__ = ["QUEUE", "Audit", "ledger"]

_ANSWERS: Final = ("accepted", "duplicate", "quarantined", "refused")
_LATELY: Final = 10_000  # ids accepted or derived of late that a question looks for
_SILENT: Final = timedelta(seconds=10)


async def ledger(
    disk: Disk | None,
    bus: Bus,
    store: Store,
    mine: Collection[str] = (),
    others: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The ledger of this hub.

    ``settled`` is what the store kept; ``dead`` and ``in_flight`` are what the bus, the outboxes and the workers hold:
    what other processes have in hand as of a second ago, where the bus cannot tell. ``accepted`` is all of these and
    the unaccounted. A loss is named within a minute, and is counted as in flight until then.

    Args:
        disk: of this process's ingress; its outbox and its tallies are in the ledger, those of other hosts are not.
        bus: the bus.
        store: the store.
        mine: names of this process's own consumers, of which the bus knows what they have in hand.
        others: workers that keep their work in the store, with their queues.

    Raises:
        StoreUnavailable, NotDurable: a part cannot be asked now.
    """
    tallies = dict(await disk.tallies()) if disk is not None else {}
    # What moves goes from the outbox to the bus to the store: asked in that order, it may be seen twice, and never not.
    waiting = await disk.waiting() if disk is not None else 0
    kept = {name: await _kept(name, queue, bus, store, mine) for name, queue in (others or {}).items()}
    depth = await bus.depth(QUEUE)
    in_hand = _in_hand(await store.presences(), mine) if depth.alone else 0
    lost, underway = await _missing(disk, store)
    totals = await store.totals()
    tallies["duplicate"] = totals.repeats
    # The tallies of the last second go with a killed process; what it accepted then is in the store all the same.
    tallies["accepted"] = max(tallies.get("accepted", 0), totals.callbacks + totals.repeats)
    # What is missing and not known to be lost is somewhere, also where no count shows it.
    counted = waiting + depth.ready + depth.in_flight + in_hand + totals.outbox
    in_flight = max(counted, underway - depth.dead)
    return {
        "workers": {
            WORKER: {
                "accepted": totals.events + depth.dead + in_flight + len(lost),
                "settled": totals.events,
                "dead": depth.dead,
                "in_flight": in_flight,
                "unaccounted": lost,
            },
            **kept,
        },
        "callbacks": {name: tallies.get(name, 0) for name in _ANSWERS},
    }


async def _kept(name: str, queue: str, bus: Bus, store: Store, mine: Collection[str]) -> dict[str, Any]:
    """A worker that takes an event by writing down what it makes due.

    The queue is asked before the store, so that an event between the two is seen twice and never not. Nobody looks for
    what was published and never came: its ids are not noted anywhere, so ``unaccounted`` is empty.
    """
    depth = await bus.depth(queue)
    in_hand = _in_hand(await store.presences(), mine, name) if depth.alone else 0
    load = await store.workload(name)
    in_flight = depth.ready + depth.in_flight + in_hand + load.waiting
    return {
        "accepted": load.settled + depth.dead + in_flight,
        "settled": load.settled,
        "dead": depth.dead,
        "in_flight": in_flight,
        "unaccounted": [],
    }


async def _missing(disk: Disk | None, store: Store) -> tuple[list[str], int]:
    """What is lost, and how many events, of those that this process can tell, are accepted and not kept yet."""
    states = {one.event_id: one.state for one in await store.suspects(WORKER, SUSPECTS) if one.state != "dead"}
    noted = set() if disk is None else await disk.notes.every(_LATELY)
    missing = await store.lacks({*states, *noted, *await store.unreturned(_LATELY)})
    lost = sorted(one for one in missing if states.get(one) == "lost")
    return lost, len(missing) - len(lost)


def _in_hand(rows: Collection[Presence], mine: Collection[str], worker: str = WORKER) -> int:
    """What others have in hand; of whoever is silent the bus has given it to somebody else, or will."""
    heard = datetime.now(UTC) - _SILENT
    others = (one for one in rows if one.worker == worker and one.process not in mine and one.seen_at > heard)
    return sum(one.held.count for one in others)
