"""Ids of what was accepted, on the ingress's own disk, until the store has been seen to have them.

Not on the way to an answer: ids are gathered and written every second, sixteen bytes each. What a killed process loses
of its last second is watchfulness, and no event.
"""

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
import structlog

from hub.errors import NotDurable
from hub.journal import Journal

MIGRATION: Final = """
    CREATE TABLE accepted (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, ids BLOB NOT NULL, claimed_until REAL NOT NULL DEFAULT 0
    )
    """
"""``at`` and ``claimed_until`` are Unix time: ids are noted in the second before ``at``."""

_ID: Final = 16  # bytes
_MOST: Final = 4 * 1024 * 1024  # ids: 64 MiB
_WRITTEN: Final = 120  # notes between two looks whether there are too many
_CHECKING: Final = 15.0  # seconds that a note is its reader's
_SEARCHED: Final = 10_000  # rows of the outbox that are looked through
_DUE: Final = """
    SELECT seq, ids FROM accepted
    WHERE at <= ? AND (claimed_until <= ? OR claimed_until > ?) ORDER BY seq"""
_HELD: Final = """
    SELECT CASE WHEN json_valid(CAST(headers AS TEXT)) THEN json_extract(CAST(headers AS TEXT), '$."ce-id"') END AS name
    FROM outbox WHERE name IN (SELECT value FROM json_each(?))"""
_log = structlog.get_logger("disk")


@dataclass(frozen=True, slots=True)
class Note:
    """Ids of events that were accepted together; ``seq`` is the note's place."""

    seq: int
    ids: frozenset[str]


class Notes:
    """Verbs over the journal of the outbox."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._gathered = bytearray()
        self._written = 0

    def add(self, ids: Iterable[str]) -> None:
        """Notes events that were accepted, to be looked for in the store; on disk with the next ``flush``."""
        for one in ids:
            with contextlib.suppress(ValueError):  # all that we make are UUIDs; a stranger's is not ours to look for
                self._gathered += UUID(one).bytes

    async def flush(self) -> None:
        """Writes what was gathered. Raises NotDurable; then the next one writes it."""
        gathered, self._gathered = self._gathered, bytearray()
        if not gathered:
            return
        self._written += 1
        look = self._written % _WRITTEN == 0

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("INSERT INTO accepted (at, ids) VALUES (?, ?)", (time.time(), gathered))
            return _let_go(connection) if look else 0

        try:
            dropped = await self._journal.run(write)
        except NotDurable:
            self._gathered = (gathered + self._gathered)[-_MOST * _ID :]
            raise
        if dropped:
            _log.warning("disk.notes_dropped", ids=dropped)

    async def unchecked(self, age: float, limit: int) -> list[Note]:
        """The oldest notes of at least that age in seconds; nobody else gets them for fifteen seconds.

        Args:
            age: of the youngest id.
            limit: ids, about.
        """

        def read(connection: sqlite3.Connection) -> list[Note]:
            now = time.time()
            found: list[Note] = []
            size = 0
            with contextlib.closing(connection.execute(_DUE, (now - age, now, now + 2 * _CHECKING))) as rows:
                for seq, ids in rows:
                    found.append(Note(seq, _named(ids)))
                    size += len(ids) // _ID
                    if size >= limit:
                        break
            connection.executemany(
                "UPDATE accepted SET claimed_until = ? WHERE seq = ?", [(now + _CHECKING, note.seq) for note in found]
            )
            return found

        return await self._journal.run(read)

    async def checked(self, notes: Sequence[Note], keep: Collection[str]) -> None:
        """Forgets notes, but for those of their ids that are to be looked for again."""

        def write(connection: sqlite3.Connection) -> None:
            for note in notes:
                rest = b"".join(UUID(one).bytes for one in note.ids if one in keep)
                if rest:
                    connection.execute("UPDATE accepted SET ids = ? WHERE seq = ?", (rest, note.seq))
                else:
                    connection.execute("DELETE FROM accepted WHERE seq = ?", (note.seq,))

        await self._journal.run(write)

    async def waiting(self, ids: Collection[str]) -> set[str] | None:
        """Which of these events lie in the outbox; None where it is too long to be looked through."""
        wanted = orjson.dumps(list(ids)).decode()

        def read(connection: sqlite3.Connection) -> set[str] | None:
            (rows,) = connection.execute("SELECT events FROM held").fetchone()
            if rows > _SEARCHED:
                return None
            return {name for (name,) in connection.execute(_HELD, (wanted,))}

        return await self._journal.run(read)

    async def every(self, limit: int | None = None) -> set[str]:
        """The ids that are noted, those of this moment too; with ``limit`` about as many of the youngest."""
        await self.flush()

        def read(connection: sqlite3.Connection) -> set[str]:
            found: set[str] = set()
            with contextlib.closing(connection.execute("SELECT ids FROM accepted ORDER BY seq DESC")) as rows:
                for (ids,) in rows:
                    found |= _named(ids)
                    if limit is not None and len(found) >= limit:
                        break
            return found

        return await self._journal.run(read)


def _named(ids: bytes) -> frozenset[str]:
    return frozenset(str(UUID(bytes=ids[at : at + _ID])) for at in range(0, len(ids), _ID))


def _let_go(connection: sqlite3.Connection) -> int:
    """Forgets the oldest notes where there are too many, after days without a store; returns how many ids."""
    (size,) = connection.execute("SELECT coalesce(sum(length(ids)), 0) FROM accepted").fetchone()
    gone = 0
    while size - gone > _MOST * _ID:
        seq, length = connection.execute("SELECT seq, length(ids) FROM accepted ORDER BY seq LIMIT 1").fetchone()
        connection.execute("DELETE FROM accepted WHERE seq = ?", (seq,))
        gone += length
    return gone // _ID
