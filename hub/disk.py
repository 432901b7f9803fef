"""The ingress's own disk: the outbox, the quarantine and the tallies of answers, in one journal.

It is what lets the ingress accept, refuse and count while the broker and the database are down.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson

from hub.errors import NotDurable, QuarantineFull
from hub.events import Event, Message, timestamp, to_message
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
_SHOWN: Final = ("quarantine_id", "source", "reason", "detail", "received_at", "method", "url")
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


class Disk:
    """Verbs over the journal; each that writes returns once it is synced."""

    def __init__(self, path: Path, *, max_bytes: int, quarantine_bytes: int) -> None:
        self._journal = Journal(path, _MIGRATIONS)
        self._max_bytes = max_bytes
        self._quarantine_bytes = quarantine_bytes
        self._tallied: dict[str, int] = {}

    async def start(self) -> None:
        """Opens the file. Raises ConfigurationError where it cannot be used."""
        await self._journal.start()

    def state(self) -> tuple[bool, str]:
        """Whether the disk takes events, and one line that says why not."""
        return self._journal.state()

    async def close(self) -> None:
        """Writes the last tallies and closes."""
        if self._journal.state()[0]:
            await self.flush()
        await self._journal.close()

    # --- outbox --------------------------------------------------------------------------------------------------

    async def keep(self, messages: Sequence[Message]) -> None:
        """Puts events into the outbox. Raises NotDurable where it is full or the disk refuses."""

        def write(connection: sqlite3.Connection) -> None:
            if _used(connection) > self._max_bytes:
                raise NotDurable(f"the outbox holds its {self._max_bytes} bytes already")
            _put(connection, messages)

        await self._journal.run(write)

    async def claim(self, limit: int) -> list[tuple[int, Message]]:
        """The oldest events of the outbox, in the order of acceptance, for ten seconds."""

        def write(connection: sqlite3.Connection) -> list[tuple[int, Message]]:
            now = time.time()
            rows = connection.execute(
                "SELECT seq, routing_key, headers, body FROM outbox WHERE claimed_until < ? ORDER BY seq LIMIT ?",
                (now, limit),
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
        await self._journal.run(lambda c: c.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in seqs]))

    async def waiting(self) -> int:
        """How many events lie in the outbox."""
        return await self._journal.run(lambda c: int(c.execute("SELECT count(*) FROM outbox").fetchone()[0]))

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

    async def quarantined(self, limit: int, after: int = 0) -> list[tuple[int, dict[str, Any], bytes]]:
        """Requests in quarantine, oldest first, after a sequence number: number, fields, body."""
        rows = await self._read("seq > ? ORDER BY seq LIMIT ?", after, limit)
        return [(row[0], *_fields(row)) for row in rows]

    async def quarantined_one(self, quarantine_id: str) -> tuple[dict[str, Any], bytes] | None:
        """One request in quarantine; None where there is none of that id."""
        rows = await self._read("quarantine_id = ?", quarantine_id)
        return _fields(rows[0]) if rows else None

    async def _read(self, where: str, *values: Any) -> list[Any]:
        statement = f"SELECT seq, {', '.join(_SHOWN)}, headers, body FROM quarantine WHERE {where}"  # noqa: S608  ours
        return await self._journal.run(lambda c: c.execute(statement, values).fetchall())

    # --- tallies -------------------------------------------------------------------------------------------------

    def tally(self, name: str) -> None:
        """Counts an answer; written with the next ``flush``."""
        self._tallied[name] = self._tallied.get(name, 0) + 1

    async def flush(self) -> None:
        """Writes what was counted since the last time."""
        counted, self._tallied = self._tallied, {}
        if counted:
            await self._journal.run(
                lambda c: c.executemany(
                    "INSERT INTO tally VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                    list(counted.items()),
                )
            )

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


def _fields(row: Sequence[Any]) -> tuple[dict[str, Any], bytes]:
    return dict(zip(_SHOWN, row[1:-2], strict=True)) | {"headers": _joined(row[-2])}, row[-1]


def _joined(headers: bytes) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in orjson.loads(headers):
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


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
