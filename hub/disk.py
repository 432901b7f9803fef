"""The ingress's own disk: the outbox, the quarantine and the tallies of answers, in one journal.

It is what lets the ingress accept, refuse and count while the broker and the database are down.
"""

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from hub import failpoints
from hub.errors import NotDurable, QuarantineFull
from hub.events import Event, Message, moment, timestamp, to_message
from hub.journal import Journal

_MIGRATIONS: Final = (
    """
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        routing_key TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL,
        claimed_until REAL NOT NULL DEFAULT 0
    );
    CREATE TABLE quarantine (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        quarantine_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, vendor TEXT NOT NULL,
        reason TEXT NOT NULL, detail TEXT NOT NULL, received_at TEXT NOT NULL,
        method TEXT NOT NULL, url TEXT NOT NULL, event TEXT, headers BLOB NOT NULL, body BLOB NOT NULL
    );
    CREATE TABLE quarantine_size (source TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
    CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL)
    """,
)
_log = structlog.get_logger("disk")
_KEPT: Final = """
    seq, quarantine_id, source, vendor, reason, detail, received_at, method, url, event, headers, body
    FROM quarantine"""
_LEASE: Final = 10.0  # seconds; only for another ingress process on the same file, or one that died while it relayed


@dataclass(frozen=True, slots=True)
class Refused:
    """A request with the right token that could not become an event, byte for byte but for its token.

    Attributes:
        url: path and query as they came, the token masked.
        event: the event segment of the path, where there was one.
        headers: name and value pairs in the order they came.
    """

    source: str
    vendor: str
    reason: str
    detail: str
    received_at: datetime
    method: str
    url: str
    event: str | None
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes of its source's share."""
        return len(self.body) + len(self.url) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Kept:
    """A request in quarantine; ``seq`` is its place in the order of arrival."""

    seq: int
    quarantine_id: str
    request: Refused


@dataclass(frozen=True, slots=True)
class Narrow:
    """Which requests in quarantine; None narrows nothing."""

    ids: Collection[str] | None = None
    source: str | None = None
    reason: str | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition and its values."""
        named = None if self.ids is None else orjson.dumps(list(self.ids)).decode()
        conditions = {
            "quarantine_id IN (SELECT value FROM json_each(?))": named,
            "source = ?": self.source,
            "reason = ?": self.reason,
        }
        given = {condition: value for condition, value in conditions.items() if value is not None}
        return " AND ".join(["TRUE", *given]), list(given.values())


_ALL_OF_IT: Final = Narrow()


class Disk:
    """Verbs over the journal; each that writes returns once it is synced."""

    def __init__(self, path: Path, *, max_bytes: int, quarantine_bytes: int) -> None:
        self._journal = Journal(path, _MIGRATIONS)
        self._max_bytes = max_bytes
        self._quarantine_bytes = quarantine_bytes
        self._tallied: dict[str, int] = {}
        self._full = ""

    async def start(self) -> None:
        """Opens the file. Raises ConfigurationError where it cannot be used."""
        await self._journal.start()

    def state(self) -> tuple[bool, str]:
        """Whether the outbox takes events, and one line that says why not."""
        takes, trouble = self._journal.state()
        return takes and not self._full, trouble or self._full

    async def close(self) -> None:
        """Writes the last tallies and closes."""
        try:
            if self._journal.state()[0]:
                await self.flush()
        except NotDurable as error:
            _log.warning("disk.tallies_lost", reason=str(error))
        finally:
            await self._journal.close()

    # --- outbox --------------------------------------------------------------------------------------------------

    async def keep(self, messages: Sequence[Message]) -> None:
        """Puts events into the outbox. Raises NotDurable where it is full or the disk refuses."""

        def write(connection: sqlite3.Connection) -> None:
            if self._look(connection):
                raise NotDurable(self._full)
            _put(connection, messages)
            failpoints.hit("outbox.before_commit")

        await self._journal.run(write)
        failpoints.hit("outbox.after_commit")

    async def claim(self, limit: int) -> list[tuple[int, Message]]:
        """The oldest events of the outbox, in the order of acceptance, for ten seconds."""

        def write(connection: sqlite3.Connection) -> list[tuple[int, Message]]:
            self._look(connection)
            now = time.time()
            rows = connection.execute(
                "SELECT seq, routing_key, headers, body FROM outbox"
                " WHERE claimed_until < ? OR claimed_until > ? ORDER BY seq LIMIT ?",
                (now, now + 2 * _LEASE, limit),  # further ahead than a lease can be: the clock was set back
            ).fetchall()
            connection.executemany(
                "UPDATE outbox SET claimed_until = ? WHERE seq = ?", [(now + _LEASE, r[0]) for r in rows]
            )
            return [(seq, Message(key, orjson.loads(headers), body)) for seq, key, headers, body in rows]

        return await self._journal.run(write)

    async def release(self, seqs: Sequence[int]) -> None:
        """Gives claimed events back: the bus did not take them."""
        await self._journal.run(
            lambda c: c.executemany("UPDATE outbox SET claimed_until = 0 WHERE seq = ?", [(seq,) for seq in seqs])
        )

    async def remove(self, seqs: Sequence[int]) -> None:
        """Removes events that the bus has taken."""

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in seqs])
            self._look(connection)

        await self._journal.run(write)

    async def waiting(self) -> int:
        """How many events lie in the outbox."""
        return await self._journal.run(lambda c: int(c.execute("SELECT count(*) FROM outbox").fetchone()[0]))

    def _look(self, connection: sqlite3.Connection) -> bool:
        """Whether the outbox is full, remembered for ``state``; in the writer's thread."""
        full = _used(connection) > self._max_bytes
        self._full = f"the outbox holds its {self._max_bytes} bytes already" if full else ""
        return full

    # --- quarantine ----------------------------------------------------------------------------------------------

    async def quarantine(self, refused: Refused) -> str:
        """Keeps the request, and the event that says so in the outbox, in one transaction; returns its id.

        Raises:
            QuarantineFull: the source's share is used up.
            NotDurable: the disk refuses.
        """
        quarantine_id = str(uuid4())

        def write(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT bytes FROM quarantine_size WHERE source = ?", (refused.source,)).fetchone()
            if (row[0] if row else 0) + refused.size > self._quarantine_bytes:
                raise QuarantineFull(
                    f"the quarantine of {refused.source} holds its {self._quarantine_bytes} bytes already"
                )
            connection.execute(
                "INSERT INTO quarantine (quarantine_id, source, vendor, reason, detail, received_at, method, url,"
                " event, headers, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                _row(quarantine_id, refused),
            )
            connection.execute(
                "INSERT INTO quarantine_size VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
                (refused.source, refused.size),
            )
            _put(connection, [to_message(_quarantined(quarantine_id, refused))])

        await self._journal.run(write)
        return quarantine_id

    async def quarantined(self, limit: int, after: int = 0, narrow: Narrow = _ALL_OF_IT) -> list[Kept]:
        """Requests in quarantine, oldest first, after a place."""
        where, values = narrow.where()
        statement = f"SELECT {_KEPT} WHERE {where} AND seq > ? ORDER BY seq LIMIT ?"
        rows = await self._journal.run(lambda c: c.execute(statement, (*values, after, limit)).fetchall())
        return [_kept(row) for row in rows]

    async def find(self, narrow: Narrow, limit: int) -> list[str]:
        """The ids of requests in quarantine, oldest first, without reading their bodies."""
        where, values = narrow.where()
        statement = f"SELECT quarantine_id FROM quarantine WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608  ours
        return await self._journal.run(lambda c: [one for (one,) in c.execute(statement, (*values, limit))])

    async def forget(self, ids: Collection[str]) -> int:
        """Removes requests from quarantine, and gives their bytes back to their sources; returns how many."""
        where, values = Narrow(ids=ids).where()

        def write(connection: sqlite3.Connection) -> int:
            rows = connection.execute(f"SELECT {_KEPT} WHERE {where}", values).fetchall()
            sizes = [(kept.request.size, kept.request.source) for kept in map(_kept, rows)]
            connection.executemany("UPDATE quarantine_size SET bytes = max(0, bytes - ?) WHERE source = ?", sizes)
            connection.execute(f"DELETE FROM quarantine WHERE {where}", values)  # noqa: S608  ours
            return len(rows)

        return await self._journal.run(write)

    # --- tallies -------------------------------------------------------------------------------------------------

    def tally(self, name: str) -> None:
        """Counts an answer; written with the next ``flush``."""
        self._tallied[name] = self._tallied.get(name, 0) + 1

    async def flush(self) -> None:
        """Writes what was counted since the last time. Raises NotDurable; then the next one writes it."""
        counted, self._tallied = self._tallied, {}
        if not counted:
            return
        try:
            await self._journal.run(
                lambda c: c.executemany(
                    "INSERT INTO tally VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                    list(counted.items()),
                )
            )
        except NotDurable:
            for name, count in counted.items():
                self._tallied[name] = self._tallied.get(name, 0) + count
            raise

    async def tallies(self) -> Mapping[str, int]:
        """Every count so far, over restarts and over the processes on this file."""
        await self.flush()
        return dict(await self._journal.run(lambda c: c.execute("SELECT name, count FROM tally").fetchall()))


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _put(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
    connection.executemany(
        "INSERT INTO outbox (routing_key, headers, body) VALUES (?, ?, ?)",
        [(message.routing_key, orjson.dumps(message.headers), message.body) for message in messages],
    )


def _row(quarantine_id: str, refused: Refused) -> tuple[Any, ...]:
    return (
        *(quarantine_id, refused.source, refused.vendor, refused.reason, refused.detail),
        *(timestamp(refused.received_at), refused.method, refused.url, refused.event),
        *(
            orjson.dumps([[name, value.encode("utf-8", "replace").decode()] for name, value in refused.headers]),
            refused.body,
        ),
    )


def _kept(row: Sequence[Any]) -> Kept:
    seq, quarantine_id, source, vendor, reason, detail, received_at, method, url, event, headers, body = row
    pairs = tuple((name, value) for name, value in orjson.loads(headers))
    came = moment(received_at)
    return Kept(seq, quarantine_id, Refused(source, vendor, reason, detail, came, method, url, event, pairs, body))


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
