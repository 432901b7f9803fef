"""The ingress's own disk: the outbox, the quarantine, the tallies of answers and accepted ids, in one journal.

It is what lets the ingress accept, refuse and count while the broker and the database are down. What its rows are
stands in ``hub.disk_rows``; here is when they are written, what bounds them, and who is told of a loss.
"""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from hub import disk_rows as rows, failpoints, metrics
from hub.disk_notes import Notes
from hub.disk_rows import Damaged, Kept, Narrow, Refused
from hub.errors import NotDurable
from hub.events import Event, Message, timestamp, to_message
from hub.journal import Journal
from hub.salvage import Row, read
from hub.witness import Reach, Witness

__all__ = ["Damaged", "Disk", "Kept", "Narrow", "Refused", "Salvaged"]

SALVAGE: Final = "trunkline outbox salvage"
"""The command that reads a damaged file."""

_ALL_OF_IT: Final = Narrow()
_LEASE: Final = 10.0  # seconds; only for another ingress process on the same file, or one that died while it relayed
_TOGETHER: Final = 8 << 20  # bytes of events that a relay has in memory
_LOOK_AT_THE_DISK: Final = 0.25  # seconds
_MANY: Final = 100  # rows of a damaged file in one transaction
_log = structlog.get_logger("disk")


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came of a damaged file, in rows.

    Attributes:
        events: put into the outbox.
        requests: put into the quarantine.
        there: in their place already.
        unreadable: not what they were, or not to be read.
    """

    events: int = 0
    requests: int = 0
    there: int = 0
    unreadable: int = 0


class Disk:
    """Verbs over the journal; each that writes returns once it is synced.

    Attributes:
        notes: ids of what was accepted.
    """

    def __init__(self, path: Path, *, max_bytes: int, quarantine_bytes: int, min_free_bytes: int = 0) -> None:
        """Opens nothing yet.

        Args:
            path: the file; beside it stand its ``-wal``, ``-shm``, ``.lock`` and ``.witness``.
            max_bytes: that the events in the outbox may take.
            quarantine_bytes: that the requests of one source may take.
            min_free_bytes: of the file system, that are left to it; what is deleted needs some room, too.
        """
        self._path = path
        self._witness = Witness(path.with_name(f"{path.name}.witness"), rows.TABLES)
        self._journal = Journal(path, rows.MIGRATIONS, witness=rows.witnessing(self._note), salvage=SALVAGE)
        self.notes = Notes(self._journal)
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._quarantine_bytes = quarantine_bytes
        self._tallied: dict[str, int] = {}
        self._full = self._short = ""
        self._looked = -_LOOK_AT_THE_DISK
        self._unwitnessed = ""
        self._lost: list[str] = []

    async def start(self) -> None:
        """Opens the file, and tells of what is missing in it. Raises ConfigurationError where it cannot be used."""
        seen, unreadable = await asyncio.to_thread(self._seen)
        try:
            await self._journal.start()
        except BaseException:
            self._witness.close()
            raise
        if unreadable is not None:
            self._without_witness(unreadable)
        try:
            missing = await self._journal.run(partial(rows.begin, seen=seen, recount=self._journal.alone))
        except NotDurable as error:
            missing = []
            _log.warning("disk.not_compared", reason=str(error))
        if self._journal.aside is not None:
            metrics.outbox_damaged.labels("file").inc()
            self._lost.append(f"the file was damaged and is now {self._journal.aside.name}: {SALVAGE}")
        else:
            self._tell(missing)

    def state(self) -> tuple[bool, str]:
        """Whether the outbox takes events, and one line that says why not, or what was lost."""
        takes, trouble = self._journal.state()
        reason = trouble or self._full or self._short
        return takes and not reason, reason or "; ".join([*self._lost, *filter(None, [self._unwitnessed])])

    async def close(self) -> None:
        """Writes the last tallies and closes."""
        try:
            if self._journal.state()[0]:
                await self.flush()
        except NotDurable as error:
            _log.warning("disk.tallies_lost", reason=str(error))
        finally:
            await self._journal.close()
            await asyncio.to_thread(self._witness.close)

    # --- the witness -------------------------------------------------------------------------------------------------

    def _seen(self) -> tuple[Mapping[str, Reach], OSError | None]:
        """What the witness says, or why nothing; asked before the file is opened, which cannot be behind it then."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            seen = self._witness.read()
            if seen is None and self._witness.path.stat().st_size:
                _log.error("disk.witness_unreadable", path=str(self._witness.path))
        except OSError as error:
            return {}, error
        return seen or {}, None

    def _note(self, reached: Mapping[str, Reach]) -> None:
        """In the writer's thread, after a commit. A witness that cannot be written is no reason to refuse an event."""
        try:
            self._witness.note(reached)
        except OSError as error:
            self._without_witness(error)
        else:
            self._unwitnessed = ""

    def _without_witness(self, error: OSError) -> None:
        if not self._unwitnessed:
            _log.error("disk.witness_failed", path=str(self._witness.path), error=str(error))
        self._unwitnessed = f"{self._witness.path.name} cannot be written: {error.strerror}"

    def _tell(self, missing: Sequence[rows.Missing]) -> None:
        for one in missing:
            what = {"outbox": "event", "quarantine": "request"}[one.table]
            metrics.outbox_lost.labels(what).inc(one.count)
            _log.critical("outbox.tail_lost", table=one.table, missing=one.count, first=one.first, last=one.last)
            self._lost.append(f"{one.count} rows of {one.table} are missing: {one.first} to {one.last}")

    # --- outbox ------------------------------------------------------------------------------------------------------

    async def keep(self, messages: Sequence[Message]) -> None:
        """Puts events into the outbox. Raises NotDurable where it is full or the disk refuses."""

        def write(connection: sqlite3.Connection) -> None:
            self._room(connection)
            rows.put(connection, messages)
            failpoints.hit("outbox.before_commit")

        await self._journal.run(write, sum(len(message.body) for message in messages))
        failpoints.hit("outbox.after_commit")

    async def claim(self, limit: int) -> list[tuple[int, Message]]:
        """The oldest events of the outbox, in the order of acceptance, for ten seconds; 8 MiB of them at most.

        What is damaged among them is set aside and told of.
        """

        def write(connection: sqlite3.Connection) -> rows.Claimed:
            self._look(connection)
            return rows.claim(
                connection, time.monotonic(), _LEASE, limit=limit, most_bytes=_TOGETHER, at=datetime.now(UTC)
            )

        claimed = await self._journal.run(write)
        self._tell_damaged("outbox", claimed.damaged)
        return claimed.events

    async def release(self, seqs: Sequence[int]) -> None:
        """Gives claimed events back: the bus did not take them."""
        await self._journal.run(partial(rows.release, seqs=seqs))

    async def hold(self, seqs: Sequence[int], seconds: float) -> None:
        """Keeps claimed events from everybody, us too, for a while of at most two leases."""
        await self._journal.run(lambda c: rows.hold(c, seqs, time.monotonic() + seconds))

    async def remove(self, seqs: Sequence[int]) -> None:
        """Removes events that the bus has taken."""

        def write(connection: sqlite3.Connection) -> None:
            rows.remove(connection, seqs)
            self._look(connection)

        await self._journal.run(write)

    async def refused(self, reasons: Mapping[int, str], most: int) -> list[int]:
        """Counts that the bus took others and not these, for this reason; returns those that are in the outbox no more.

        Args:
            reasons: by the event's number.
            most: so often may an event be refused.
        """

        def write(connection: sqlite3.Connection) -> tuple[list[int], list[int]]:
            tries = rows.count_tries(connection, list(reasons))
            given_up = [seq for seq, count in tries.items() if count > most]
            for seq in given_up:
                why = f"the bus refused it {tries[seq]} times: {reasons[seq]}"
                rows.set_aside(connection, "outbox", seq, why, datetime.now(UTC))
            return given_up, [seq for seq in reasons if seq not in tries]

        given_up, gone = await self._journal.run(write)
        for seq in given_up:
            metrics.outbox_damaged.labels("refused").inc()
            _log.error("outbox.set_aside", seq=seq, reason=reasons[seq])
        return given_up + gone

    async def waiting(self) -> int:
        """How many events lie in the outbox."""

        def write(connection: sqlite3.Connection) -> int:
            self._look(connection)
            return rows.held(connection)[0]

        return await self._journal.run(write)

    def _room(self, connection: sqlite3.Connection) -> None:
        """Raises NotDurable where the outbox takes nothing more; in the writer's thread."""
        self._look(connection)
        if self._full or self._short:
            raise NotDurable(self._full or self._short)

    def _look(self, connection: sqlite3.Connection) -> None:
        """Whether the outbox is full, remembered for ``state``; in the writer's thread."""
        full = rows.held(connection)[1] >= self._max_bytes
        self._full = f"the outbox holds its {self._max_bytes} bytes already" if full else ""
        if time.monotonic() - self._looked < _LOOK_AT_THE_DISK:
            return
        self._looked = time.monotonic()
        free = shutil.disk_usage(self._path.parent).free if self._min_free_bytes else 0
        short = free < self._min_free_bytes
        self._short = (
            f"{free >> 20} MiB are free on its disk, {self._min_free_bytes >> 20} MiB stay free" if short else ""
        )

    # --- quarantine --------------------------------------------------------------------------------------------------

    async def quarantine(self, refused: Refused) -> str:
        """Keeps the request, and the event that says so in the outbox, in one transaction; returns its id.

        Raises:
            QuarantineFull: the source's share is used up.
            NotDurable: the disk refuses.
        """
        quarantine_id = str(uuid4())

        def write(connection: sqlite3.Connection) -> None:
            self._look(connection)
            if self._short:
                raise NotDurable(self._short)
            rows.quarantine(connection, quarantine_id, refused, self._quarantine_bytes)
            rows.put(connection, [to_message(_quarantined(quarantine_id, refused))])

        await self._journal.run(write, len(refused.body))
        self.notes.add([quarantine_id])
        return quarantine_id

    async def quarantined(self, limit: int, after: int = 0, narrow: Narrow = _ALL_OF_IT) -> list[Kept]:
        """Requests in quarantine, oldest first, after a place. What is damaged among them is set aside and told of."""
        asking = partial(rows.requests, narrow=narrow, limit=limit, after=after, at=datetime.now(UTC))
        found, damaged = await self._journal.run(asking)
        self._tell_damaged("quarantine", damaged)
        return found

    async def find(self, narrow: Narrow, limit: int) -> list[str]:
        """The ids of requests in quarantine, oldest first, without reading their bodies."""
        return await self._journal.run(partial(rows.find, narrow=narrow, limit=limit))

    async def forget(self, ids: Collection[str]) -> int:
        """Removes requests from quarantine, and gives their bytes back to their sources; returns how many."""
        return await self._journal.run(partial(rows.forget, ids=ids))

    # --- what is damaged ---------------------------------------------------------------------------------------------

    async def damaged(self, limit: int) -> list[Damaged]:
        """Rows that were set aside, oldest first."""
        return await self._journal.run(partial(rows.damaged, limit=limit))

    async def put_back(self, ids: Collection[int]) -> list[int]:
        """Puts rows that were set aside and are whole back where they were; returns the numbers of those."""
        return await self._journal.run(partial(rows.put_back, ids=ids))

    async def discard(self, ids: Collection[int]) -> int:
        """Forgets rows that were set aside; returns how many."""
        return await self._journal.run(partial(rows.discard, ids=ids))

    async def salvage(self, file: Path) -> Salvaged:
        """Puts what can still be read of a damaged file back where it belongs; the file stays as it is.

        Twice does no harm: what is there already stays, and what was handed over meanwhile is the same event again.

        Raises:
            OSError: the file cannot be read.
            NotDurable: the disk refuses; what was put back until then stays.
        """
        found = read(file)
        events = requests = there = unreadable = 0
        while batch := await asyncio.to_thread(lambda: list(islice(found, _MANY))):
            put = await self._journal.run(partial(_restore, batch=batch))
            for one, done in zip(batch, put, strict=True):
                events += done is True and one[0] == "outbox"
                requests += done is True and one[0] == "quarantine"
                there += done is False
                unreadable += done is None
        return Salvaged(events, requests, there, unreadable)

    def _tell_damaged(self, table: str, damaged: Sequence[tuple[int, str]]) -> None:
        for seq, reason in damaged:
            metrics.outbox_damaged.labels("row").inc()
            _log.error("outbox.row_damaged", table=table, seq=seq, reason=reason)

    # --- tallies -------------------------------------------------------------------------------------------------

    def tally(self, name: str) -> None:
        """Counts an answer; written with the next ``flush``."""
        self._tallied[name] = self._tallied.get(name, 0) + 1

    async def flush(self) -> None:
        """Writes what was counted and noted since the last time. Raises NotDurable; then the next one writes it.

        Beside it the witness is synced: off the way of any answer.
        """
        try:
            await asyncio.to_thread(self._witness.sync)
        except OSError as error:
            self._without_witness(error)
        await self.notes.flush()
        counted, self._tallied = self._tallied, {}
        if not counted:
            return
        try:
            await self._journal.run(partial(rows.add_tallies, counted=counted))
        except NotDurable:
            for name, count in counted.items():
                self._tallied[name] = self._tallied.get(name, 0) + count
            raise

    async def tallies(self) -> Mapping[str, int]:
        """Every count so far, over restarts and over the processes on this file."""
        await self.flush()
        return await self._journal.run(rows.tallies)


def _restore(connection: sqlite3.Connection, batch: Sequence[Row]) -> list[bool | None]:
    return [rows.restore(connection, *row) for row in batch]


def _quarantined(quarantine_id: str, refused: Refused) -> Event:
    return Event(
        id=quarantine_id,
        noun="callback",
        vendor=refused.vendor,
        verb="quarantined",
        source=refused.source,
        time=refused.received_at,
        data={
            "quarantine_id": quarantine_id,
            "vendor": refused.vendor,
            "source": refused.source,
            "reason": refused.reason,
            "received_at": timestamp(refused.received_at),
        },
    )
