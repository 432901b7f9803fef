"""The store: its verbs, each one transaction. What they do stands in ``folding`` and ``reading``."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.calls import Timing
from hub.errors import ConfigurationError, StoreUnavailable
from hub.events import Event
from hub.ports import (
    Applied,
    Attempt,
    CallFilter,
    Claimed,
    EventFilter,
    Page,
    Presence,
    Stored,
    Survey,
    Suspect,
    SuspectState,
    Totals,
    Workload,
)
from hub.ports.dialing import WORKER as DIAL
from hub.ports.forwarding import WORKER as CRM
from hub.ports.recordings import WORKER as RECORDINGS
from hub.ports.respool import WORKER as RESPOOL
from hub.store import reading, replaying
from hub.store.books import Books
from hub.store.dials_verbs import SqlDials
from hub.store.engine import open_engine, sqlite_path
from hub.store.failures import BadData
from hub.store.folding import Folding
from hub.store.forwarding_verbs import SqlForwarding
from hub.store.gaps import GapBook
from hub.store.polls import PollBook
from hub.store.recordings_verbs import SqlRecordings
from hub.store.respool_verbs import SqlRespools
from hub.store.rows import message_of
from hub.store.tables import outbox, relayed
from hub.store.transactions import Transactions

GRACE: Final = 10  # seconds that close() gives to what still runs
PROBE: Final = 5  # seconds that ping() waits


class SqlStore:
    """``hub.ports.Store`` over PostgreSQL or one SQLite file.

    Attributes:
        polls: how far each stream of polled records has come.
        respools: the arbiter of who is put back into a dialer.
        gaps: what was heard of a source's calls.
        dials: calls that are to be placed, and that were.

    Args:
        url: as configured: ``sqlite:///data/store.db``, ``postgresql://…``.
        expected: the verbs that a source, by its name, is configured to send.
        timing: when calls are sealed.

    Raises:
        ConfigurationError: the URL is of no database that can be a store.
    """

    def __init__(self, url: str, *, expected: Callable[[str], frozenset[str]], timing: Timing) -> None:
        engine = open_engine(url)
        self._path = sqlite_path(url)
        self._transactions = Transactions(engine)
        self._folding = Folding(engine.dialect.name, expected, timing)
        self._books = Books(engine.dialect.name)
        self.recordings = SqlRecordings(self._transactions, engine.dialect.name)
        self.forwarding = SqlForwarding(self._transactions, engine.dialect.name)
        self.respools = SqlRespools(self._transactions, engine.dialect.name)
        self.dials = SqlDials(self._transactions, engine.dialect.name)
        self._workloads = {
            CRM: self.forwarding.workload,
            RECORDINGS: self.recordings.workload,
            RESPOOL: self.respools.workload,
            DIAL: self.dials.workload,
        }
        self.polls = PollBook(self._transactions, engine.dialect.name)
        self.gaps = GapBook(self._transactions, engine.dialect.name)

    async def start(self) -> None:
        """Makes a SQLite file, for its owner's eyes alone; nothing is connected before it is needed.

        Raises:
            ConfigurationError: the file cannot be made.
        """
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch(mode=0o600)  # SQLite gives -wal and -shm the same rights
            except OSError as error:
                raise ConfigurationError(f"store.url: found {self._path}, which cannot be made: {error}") from error

    async def apply(self, events: Sequence[Event], now: datetime) -> Applied:
        """Keeps each new event once, folds the calls they touch, plans their sealing, derives ``resealed``.

        An event that the database, or the fold, will never take is refused with their reason, and its neighbours are
        kept: a batch with one is halved until it stands alone.

        Raises:
            StoreUnavailable: nothing of some of the events was kept, or it is not known whether it was: repeat all.
        """
        if not events:
            return Applied(0, 0, {})
        try:
            return await self._transactions.write(lambda connection: self._folding.apply(connection, events, now))
        except BadData as error:
            if len(events) == 1:
                return Applied(0, 0, {events[0].id: str(error)})
        half = len(events) // 2
        return _together(await self.apply(events[:half], now), await self.apply(events[half:], now))

    async def seal(self, now: datetime, limit: int = 100) -> int:
        """Seals the calls whose time has come, each exactly once over all processes; returns how many."""
        return await self._transactions.write(lambda connection: self._folding.seal(connection, now, limit))

    async def next_seal(self) -> datetime | None:
        """When the next call is due; None where none waits."""
        return await self._transactions.read(reading.next_seal)

    async def claim(self, now: datetime, limit: int, lease: float) -> list[Claimed]:
        """Takes derived events to publish, oldest first, for ``lease`` seconds."""

        async def work(connection: AsyncConnection) -> list[Claimed]:
            taken = outbox.c.claimed_until
            beyond = now + timedelta(seconds=2 * lease)  # further ahead than a lease can be: the clock was set back
            free = or_(taken.is_(None), taken <= now, taken > beyond)
            oldest = select(outbox).where(free).order_by(outbox.c.seq).limit(limit).with_for_update(skip_locked=True)
            rows = (await connection.execute(oldest)).all()
            if rows:
                mine = outbox.c.seq.in_([row.seq for row in rows])
                until = now + timedelta(seconds=lease)
                await connection.execute(update(outbox).where(mine).values(claimed_until=until))
            return [Claimed(row.seq, message_of(row)) for row in rows]

        return await self._transactions.write(work)

    async def published(self, seqs: Sequence[int], now: datetime) -> None:
        """Removes derived events that are durable on the bus, and notes their ids for ``recheck``."""

        async def work(connection: AsyncConnection) -> None:
            gone = delete(outbox).where(outbox.c.seq.in_(seqs)).returning(outbox.c.event_id)
            ids = (await connection.scalars(gone)).all()
            if ids:
                await connection.execute(insert(relayed).values(at=now, ids="\n".join(ids)))

        if seqs:
            await self._transactions.write(work)

    async def call(self, call_id: str) -> bytes | None:
        """The record as JSON; None where there is no such call."""
        return await self._transactions.read(lambda connection: reading.call(connection, call_id))

    async def calls(self, narrow: CallFilter, limit: int, after: str | None) -> Page:
        """Records, newest first. Raises ValueError where ``after`` is not a cursor of ours."""
        return await self._transactions.read(lambda connection: reading.calls_page(connection, narrow, limit, after))

    async def events(self, limit: int, after: str | None, call_id: str | None = None) -> Page:
        """Events in the order of their keeping. Raises ValueError where ``after`` is not a cursor of ours."""
        return await self._transactions.read(lambda connection: reading.events_page(connection, limit, after, call_id))

    async def survey(self, narrow: EventFilter, after: int = 0) -> Survey:
        """What a filter finds behind a place, by routing key; a stretch at a time."""
        upto = await self._transactions.read(replaying.newest)
        counts: Counter[str] = Counter()
        for stretch in replaying.stretches(narrow, after, upto):
            counts.update(await self._transactions.read(partial(replaying.count, narrow=narrow, stretch=stretch)))
        return Survey(counts, upto)

    async def stored(self, narrow: EventFilter, limit: int, after: int, upto: int) -> list[Stored]:
        """Events as they were published, in the order of their keeping; a stretch at a time."""
        found: list[Stored] = []
        for stretch in replaying.stretches(narrow, after, upto):
            room = limit - len(found)
            work = partial(replaying.page, narrow=narrow, stretch=stretch, limit=room)
            found += await self._transactions.read(work)
            if len(found) >= limit:
                break
        return found

    async def done(self, worker: str, ids: Collection[str]) -> frozenset[str]:
        """Those of the events that the worker has noted."""
        if not ids:
            return frozenset()
        return await self._transactions.read(partial(replaying.done, worker=worker, ids=ids))

    async def note(self, worker: str, ids: Collection[str], now: datetime) -> None:
        """Notes that the worker has had its effect for these events; safe to repeat."""
        if ids:
            await self._transactions.write(partial(replaying.note, worker=worker, ids=ids, now=now))

    async def counts(self) -> dict[str, int]:
        """Totals, see ``hub.ports.Store``; exact, and as slow as the indexes are long."""
        return await self._transactions.read(reading.counts)

    # --- the ledger: hub.ports.Store says what each promises ---------------------------------------------------------

    async def totals(self) -> Totals:
        """Totals of one moment, at the cost of what was kept since the last checkpoint."""
        return await self._transactions.read(self._books.totals)

    async def checkpoint(self, limit: int = 1_000_000) -> int:
        """Counts events that were kept since the last one, once and for all; returns how many."""
        return await self._transactions.write(lambda connection: self._books.checkpoint(connection, limit))

    async def lacks(self, ids: Collection[str]) -> set[str]:
        """Those that are of no event kept."""
        return await self._transactions.read(lambda connection: self._books.lacks(connection, ids)) if ids else set()

    async def suspect(self, worker: str, ids: Collection[str], now: datetime) -> int:
        """Notes accepted events that the store lacks; returns how many are new."""
        if not ids:
            return 0
        return await self._transactions.write(lambda connection: self._books.suspect(connection, worker, ids, now))

    async def suspects(self, worker: str, limit: int) -> list[Suspect]:
        """Those that are not discarded: the lost ones, then the open ones, then the dead; the oldest first."""
        return await self._transactions.read(lambda connection: self._books.suspects(connection, worker, limit))

    async def judge(self, worker: str, verdicts: Mapping[str, SuspectState], now: datetime) -> int:
        """Gives suspects another state; returns how many it changed."""
        if not verdicts:
            return 0
        return await self._transactions.write(lambda connection: self._books.judge(connection, worker, verdicts, now))

    async def reopen(self, worker: str) -> int:
        """Dead suspects are open again; returns how many."""
        return await self._transactions.write(lambda connection: self._books.reopen(connection, worker))

    async def clear(self, worker: str, ids: Collection[str]) -> None:
        """Forgets suspects: they turned up."""
        if ids:
            await self._transactions.write(lambda connection: self._books.clear(connection, worker, ids))

    async def recheck(self, worker: str, before: datetime, now: datetime) -> int:
        """Looks for what was published before then; returns how many did not come back."""
        return await self._transactions.write(lambda connection: self._books.recheck(connection, worker, before, now))

    async def unreturned(self, limit: int) -> set[str]:
        """Ids of derived events that were published and not rechecked yet, about so many of the youngest."""
        return await self._transactions.read(lambda connection: self._books.unreturned(connection, limit))

    async def present(self, mine: Presence) -> list[Presence]:
        """Keeps what this process says of itself; returns what the others said last."""
        return await self._transactions.write(lambda connection: self._books.present(connection, mine))

    async def presences(self) -> list[Presence]:
        """What every process said last."""
        return await self._transactions.read(self._books.presences)

    async def leave(self, process: str) -> None:
        """Forgets a process: it has given back what it had in hand."""
        await self._transactions.write(lambda connection: self._books.leave(connection, process))

    async def attempted(self, attempts: Sequence[Attempt]) -> None:
        """Keeps failed attempts."""
        if attempts:
            await self._transactions.write(lambda connection: self._books.attempted(connection, attempts))

    async def attempts(self, *, ids: Collection[str] = (), call_id: str | None = None) -> list[Attempt]:
        """The failed attempts of events, or of a call's, oldest first."""
        return await self._transactions.read(lambda connection: self._books.attempts(connection, ids, call_id))

    async def lead(self, name: str, holder: str, now: datetime, lease: float) -> bool:
        """Whether ``holder`` is the one who does this, for ``lease`` seconds from now."""
        return await self._transactions.write(lambda connection: self._books.lead(connection, name, holder, now, lease))

    async def workload(self, worker: str) -> Workload:
        """Of a worker that keeps its work here."""
        count = self._workloads.get(worker)
        return Workload(0, 0) if count is None else await self._transactions.read(count)

    async def ping(self) -> None:
        """Raises StoreUnavailable with one line that says what is wrong, within five seconds."""
        complaint = await self._transactions.read(reading.check, within=PROBE)
        if complaint is not None:
            raise StoreUnavailable(complaint)

    async def close(self) -> None:
        """Lets running transactions end, then closes the connections; takes fifteen seconds at the most."""
        await self._transactions.close(GRACE)


def _together(one: Applied, other: Applied) -> Applied:
    return Applied(
        new=one.new + other.new,
        repeated=one.repeated + other.repeated,
        refused={**one.refused, **other.refused},
        conflicts=one.conflicts + other.conflicts,
        derived=one.derived + other.derived,
    )
