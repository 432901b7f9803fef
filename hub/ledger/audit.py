"""Looks all the time for accepted events that are nowhere.

What came while a queue was away is given to it first. Two streams of ids come in: what ingresses accepted, from their
own disks, and what was derived and published, from the store. After a grace, in which nearly all of them have arrived,
the store is asked which it lacks. These are *suspects*; they lie in the store, so that one ledger sees those of every
ingress. A suspect is in the queue, in somebody's hand, waiting, dead, or lost; lost is said only of what is shown to be
none of the others, and taken back when it turns up.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from time import monotonic
from typing import Final

import structlog

from hub import metrics
from hub.disk import Disk
from hub.errors import NotDurable, StoreUnavailable
from hub.ledger.proof import Proof, Roster
from hub.ports import SUSPECTS, Attempt, Bus, Census, Dead, Store, Suspect, SuspectState

WORKER: Final = "persistence"
QUEUE: Final = "trunkline.persistence"
GRACE: Final = 10.0
"""Seconds that an accepted event has to arrive in the store before it is looked for."""

TICK: Final = 2.5
"""Seconds between two rounds; where there is a suspect, ``_HASTE``."""

_HASTE: Final = 1.0
_LEASE: Final = 10.0  # seconds for which one process is the one that judges
_IDS: Final = 20_000  # looked for at once
_SEARCHABLE: Final = 20_000  # messages in a queue that is read for what it lacks
_SEARCHES: Final = 2  # each counts as a return, and what was returned more often is handled alone
_RETURNING: Final = timedelta(seconds=60)  # from a retry queue to the work queue, at the longest
_COUNTED: Final = 15.0  # seconds between two checkpoints
_NAMED: Final = 50  # ids in one log line
_log = structlog.get_logger("ledger")


class Audit:
    """One for each process; of those that watch one store, one at a time judges.

    Args:
        disk: where this process notes what it accepts; None where it accepts nothing.
        grace: seconds, see ``GRACE``.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        disk: Disk | None,
        *,
        grace: float = GRACE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._store, self._bus, self._disk = store, bus, disk
        self._grace, self._clock, self._timer = grace, clock, timer
        self._process = token_hex(8)
        self._proof, self._roster = Proof(), Roster()
        self._once: frozenset[str] = frozenset()
        self._open = False
        self._dead: int | None = None
        self._emptied_at = clock()
        self._searched: tuple[int, int] | None = None
        self._searches = 0
        self._counted_at = timer() - _COUNTED

    async def run(self) -> None:
        """Looks until cancelled; a part that does not answer is asked again."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, NotDurable) as error:
                self._doubt()
                _log.info("ledger.waiting", reason=str(error))
            except Exception:  # noqa: BLE001  a defect of the watch must not end what it watches
                self._doubt()
                _log.exception("ledger.failed")
            await asyncio.sleep(_HASTE if self._open else TICK)

    async def look(self) -> None:
        """One round. Raises StoreUnavailable or NotDurable where a part cannot be asked."""
        if rerouted := await self._bus.reroute():
            _log.warning("bus.rerouted", count=rerouted)
        suspects = await self._store.suspects(WORKER, SUSPECTS)
        metrics.unaccounted.set(sum(one.state == "lost" for one in suspects))
        await self._look_for_accepted(SUSPECTS - sum(one.state != "dead" for one in suspects))
        now = self._clock()
        await self._store.recheck(WORKER, now - timedelta(seconds=self._grace), now)
        if self._timer() - self._counted_at >= _COUNTED:
            self._counted_at = self._timer()
            await self._store.checkpoint()
        suspects = await self._store.suspects(WORKER, SUSPECTS)
        self._open = any(one.state == "open" for one in suspects)
        if not suspects:
            self._doubt()
        elif await self._store.lead("audit", self._process, now, _LEASE):
            await self._judge(suspects)
        else:
            self._dead = None
            self._doubt()

    async def missing(self) -> set[str]:
        """Of all that this process's disk has noted, what the store lacks now, whatever its age."""
        noted = set() if self._disk is None else await self._disk.notes.every()
        known = {one.event_id for one in await self._store.suspects(WORKER, SUSPECTS)}
        return await self._store.lacks(noted | known)

    # --- suspects ----------------------------------------------------------------------------------------------------

    async def _look_for_accepted(self, room: int) -> None:
        """Looks in the store for what the disk has noted; what is missing there and not in the outbox is suspected."""
        if self._disk is None or room <= 0:
            return
        while notes := await self._disk.notes.unchecked(self._grace, _IDS):
            missing = await self._store.lacks({one for note in notes for one in note.ids})
            waiting = await self._disk.notes.waiting(missing) if missing else set()
            if waiting is None:  # an outage: the outbox is long, and they are in it
                return
            gone = sorted(missing - waiting)
            await self._store.suspect(WORKER, gone[:room], self._clock())
            await self._disk.notes.checked(notes, waiting.union(gone[room:]))
            room -= len(gone)
            if room <= 0:
                return

    # --- judgement ---------------------------------------------------------------------------------------------------

    async def _judge(self, suspects: Collection[Suspect]) -> None:
        missing = await self._forget_found([one for one in suspects if one.state != "dead"])
        open_ = {one.event_id for one in suspects if one.state == "open"} & missing
        # In this order: what left the queue for the store between two questions is found by the last of them.
        census = await self._bus.census(QUEUE, open_)
        await self._notice_revived(census)
        if not open_:
            self._doubt()
            return
        noted = await self._noted(open_)
        dead = {name for name, one in noted.items() if one.until is None and census.dead}
        await self._bury(dead)
        nowhere = await self._nowhere(open_ - dead - noted.keys(), census)
        if nowhere:
            await self._name(await self._certain(nowhere, census))

    async def _certain(self, nowhere: frozenset[str], census: Census) -> frozenset[str]:
        """Those of them that did not fail, or die, while we looked."""
        nowhere -= (await self._noted(nowhere)).keys()
        if not census.dead:
            if (await self._bus.census(QUEUE, ())).dead:
                return frozenset()  # one has died meanwhile: the next round knows which
            return nowhere if not census.looked else self._twice(nowhere)
        nowhere -= await self._dead_letters(nowhere, census)
        # Who looks at dead letters while another does sees only the rest.
        return self._twice(nowhere)

    def _twice(self, nowhere: frozenset[str]) -> frozenset[str]:
        """Those that the last round did not find either."""
        before, self._once = self._once, nowhere
        return nowhere & before

    async def _name(self, ids: Collection[str]) -> None:
        lost = await self._store.lacks(ids)
        if lost and await self._store.judge(WORKER, dict.fromkeys(lost, "lost"), self._clock()):
            _log.error("ledger.unaccounted", worker=WORKER, count=len(lost), ids=sorted(lost)[:_NAMED])

    async def _forget_found(self, suspects: Collection[Suspect]) -> set[str]:
        """Clears those that the store has by now; returns the others."""
        states: dict[str, SuspectState] = {one.event_id: one.state for one in suspects}
        missing = await self._store.lacks(states)
        found = states.keys() - missing
        await self._store.clear(WORKER, found)
        back = sorted(one for one in found if states[one] == "lost")
        if back:
            _log.warning("ledger.found", worker=WORKER, count=len(back), ids=back[:_NAMED])
        return missing

    async def _notice_revived(self, census: Census) -> None:
        """Where letters have left the dead ones, nobody knows which: all are suspects again."""
        if self._dead is None or census.dead < self._dead:
            self._emptied_at = self._clock()
            self._doubt()
            await self._store.reopen(WORKER)
        self._dead = census.dead

    async def _nowhere(self, ids: Collection[str], census: Census) -> frozenset[str]:
        """Those that are shown not to be in the queue or in a hand."""
        if census.found is not None:
            return frozenset(ids) - census.found if census.looked else frozenset()
        rows = [one for one in await self._store.presences() if one.worker == WORKER]
        crew = self._roster.crew(rows, census.consumers, self._timer())
        if crew is None or census.aside:
            self._proof.reset()
            return frozenset()
        if census.consumers:
            self._searched, self._searches = None, 0
        elif not crew and 0 < census.ready < len(ids):
            return await self._searched_for(ids, census)
        return self._proof.look(ids, census.ready, crew) & frozenset(ids)

    async def _searched_for(self, ids: Collection[str], census: Census) -> frozenset[str]:
        """Nobody consumes, and more is missing from the store than the queue holds: which, only the queue tells."""
        deficit = (census.ready, len(ids))
        if self._searches >= _SEARCHES or census.ready > _SEARCHABLE:
            return frozenset()
        if deficit != self._searched or census.dead:
            self._searches += 1
        self._searched = deficit
        census = await self._bus.census(QUEUE, ids, search=True)
        return frozenset(ids) - census.found if census.looked and census.found is not None else frozenset()

    async def _dead_letters(self, ids: Collection[str], census: Census) -> set[str]:
        """Those of them that are dead letters after all, put there by the bus itself."""
        if not census.dead or census.looked:
            return set()
        wanted = frozenset(ids)

        def is_wanted(letter: Dead) -> bool:
            return letter.id in wanted

        dead = {letter.id for letter in await self._bus.dead(QUEUE, len(wanted), None, is_wanted)}
        await self._bury(dead)
        return dead

    async def _bury(self, ids: Collection[str]) -> None:
        await self._store.judge(WORKER, dict.fromkeys(ids, "dead"), self._clock())

    async def _noted(self, ids: Collection[str]) -> Mapping[str, Attempt]:
        """The last attempt of those that are noted as dead, or as waiting for a retry."""
        last = {one.event_id: one for one in await self._store.attempts(ids=ids)}
        return {name: one for name, one in last.items() if self._holds(one)}

    def _holds(self, last: Attempt) -> bool:
        if last.until is None:
            return last.at > self._emptied_at  # else somebody may have put it back to work
        return last.until + _RETURNING > self._clock()

    def _doubt(self) -> None:
        self._proof.reset()
        self._once = frozenset()
