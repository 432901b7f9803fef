"""What was accepted, and where all of it is: ``accepted = settled + dead + in flight`` for each worker."""

from typing import Any, Final

from hub.disk import Disk
from hub.ports import Bus, Store

_PERSISTENCE: Final = "trunkline.persistence"
_ANSWERS: Final = ("accepted", "duplicate", "quarantined", "refused")


async def ledger(disk: Disk | None, bus: Bus, store: Store) -> dict[str, Any]:
    """The ledger of this hub.

    ``settled`` is what the store kept; ``dead`` and ``in_flight`` are what the bus and the outbox hold. A worker's
    ``accepted`` is their sum, so it balances by itself and names no loss; ``callbacks`` is counted at the door, and
    ``accepted`` less ``duplicate`` there, held against the store's events, shows one.

    Raises:
        StoreUnavailable, NotDurable: a part cannot be asked now.
    """
    counts = await store.counts()
    depth = await bus.depth(_PERSISTENCE)
    tallies = dict(await disk.tallies()) if disk is not None else {}
    tallies["duplicate"] = counts["repeats"]
    # The tallies of the last second go with a killed process; what it accepted then is in the store all the same.
    tallies["accepted"] = max(tallies.get("accepted", 0), counts["callbacks"] + counts["repeats"])
    waiting = await disk.waiting() if disk is not None else 0
    in_flight = depth.ready + depth.in_flight + counts["outbox"] + waiting
    settled, dead = counts["events"], depth.dead
    return {
        "workers": {
            "persistence": {
                "accepted": settled + dead + in_flight,
                "settled": settled,
                "dead": dead,
                "in_flight": in_flight,
                "unaccounted": [],
            }
        },
        "callbacks": {name: tallies.get(name, 0) for name in _ANSWERS},
    }
