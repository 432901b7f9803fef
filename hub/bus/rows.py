"""The embedded bus as rows of a SQLite file, and the verbs on them: functions of a connection, inside a transaction.

A message is stored once, with a delivery for each queue it lies in; the last delivery that goes takes the message with
it. A delivery is ready, in hand (of a consumer), waiting (for its retry) or dead. A consumer is a lease: while its row
is renewed its deliveries are its own; when it has expired, or its process has ended, they are ready again.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import orjson

from hub.bus import ordered_rows
from hub.bus.patterns import matches
from hub.bus.suspicion import ALONE, SUSPECT_AFTER
from hub.errors import NotDurable
from hub.events import COMMANDS, Message
from hub.ports import HISTORY, HISTORY_REASON, Depth, QueueSpec

DELIVERY_LIMIT: Final = SUSPECT_AFTER + ALONE
"""Returned more often than this by consumers that ended without a word, a delivery is what ends them."""

MIGRATIONS: Final = (
    """
    CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    INSERT INTO queues (id, name) VALUES (0, 'trunkline.unrouted');
    CREATE TABLE bindings (
        queue INTEGER NOT NULL REFERENCES queues (id), pattern TEXT NOT NULL, PRIMARY KEY (queue, pattern)
    ) WITHOUT ROWID;
    CREATE TABLE topology (version INTEGER NOT NULL);
    INSERT INTO topology VALUES (0);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, routing_key TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL
    );
    CREATE TABLE consumers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL REFERENCES queues (id),
        process TEXT NOT NULL,
        expires_at REAL NOT NULL
    );
    CREATE TABLE deliveries (
        message INTEGER NOT NULL REFERENCES messages (id),
        queue INTEGER NOT NULL REFERENCES queues (id),
        state TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'in_hand', 'waiting', 'dead')),
        attempt INTEGER NOT NULL DEFAULT 1,
        returned INTEGER NOT NULL DEFAULT 0,
        consumer INTEGER,
        available_at REAL,
        died_at REAL,
        reason TEXT,
        PRIMARY KEY (message, queue)
    ) WITHOUT ROWID;
    CREATE INDEX deliveries_in_order ON deliveries (queue, state, message);
    CREATE INDEX deliveries_waiting ON deliveries (queue, available_at) WHERE state = 'waiting'
    """,
    "ALTER TABLE deliveries ADD COLUMN history TEXT",  # failed attempts: [[Unix milliseconds, reason], …]
    ordered_rows.MIGRATION,
    f"CREATE INDEX deliveries_suspected ON deliveries (queue, state, message) WHERE returned >= {SUSPECT_AFTER}",
)

_OF_COMMANDS: Final = f"{COMMANDS}/"
"""Before the patterns of commands: with a mark that no word of a routing key has."""

UNROUTED_QUEUE: Final = 0
"""The row of the queue for what no other is bound to."""

_CHUNKS: Final = (64, 8, 1)  # rows in one INSERT: few different statements, so that each is prepared once

_DUE = """
    UPDATE deliveries SET state = 'ready', available_at = NULL
    WHERE queue = ? AND state = 'waiting' AND available_at <= ?"""
_COLUMNS = """
    SELECT message, attempt, CAST(routing_key AS BLOB), headers, body
    FROM deliveries JOIN messages ON id = message"""  # a BLOB: bytes that are no text fail alone
_OLDEST = f"""
    {_COLUMNS} WHERE queue = ? AND state = 'ready' AND returned < {SUSPECT_AFTER} ORDER BY message LIMIT ?"""
_TAKE = f"""
    UPDATE deliveries SET state = 'in_hand', consumer = ?
    WHERE queue = ? AND state = 'ready' AND returned < {SUSPECT_AFTER} AND message <= ?"""  # noqa: S608  ours
_SUSPECT_IN_HAND = f"""
    SELECT 1 FROM deliveries WHERE queue = ? AND state = 'in_hand' AND returned >= {SUSPECT_AFTER} AND consumer = ?
    LIMIT 1"""  # noqa: S608  ours
_OLDEST_SUSPECT = f"""
    {_COLUMNS} WHERE queue = ? AND state = 'ready' AND returned >= {SUSPECT_AFTER} ORDER BY message LIMIT 1"""
_TAKE_ALONE = "UPDATE deliveries SET state = 'in_hand', consumer = ? WHERE queue = ? AND message = ?"
_NEXT = "SELECT min(available_at) FROM deliveries WHERE queue = ? AND state = 'waiting'"
_ACK = """
    DELETE FROM deliveries
    WHERE message IN (SELECT value FROM json_each(?)) AND consumer = ? AND state = 'in_hand'"""
_CLEAN = """
    DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)"""
_PARK = """
    UPDATE deliveries SET state = 'waiting', available_at = ?, attempt = ?, reason = ?, consumer = NULL
    WHERE message = ? AND consumer = ? AND state = 'in_hand'"""
_REMEMBER = f"""
    UPDATE deliveries SET history = json_insert(
        CASE WHEN json_array_length(history) >= {HISTORY} THEN json_remove(history, '$[0]')
        ELSE coalesce(history, '[]') END, '$[#]', json_array(?, ?))
    WHERE message = ? AND consumer = ? AND state = 'in_hand' AND attempt < ?"""  # noqa: S608  ours
_BURY = """
    UPDATE deliveries SET state = 'dead', died_at = ?, attempt = ?, reason = ?, consumer = NULL
    WHERE message = ? AND consumer = ? AND state = 'in_hand'"""
_RETURN = """
    UPDATE deliveries SET state = 'ready', consumer = NULL, returned = returned + ?
    WHERE queue = ? AND state = 'in_hand' AND consumer = ?"""
_SUSPECT = """
    UPDATE deliveries SET state = 'dead', reason = 'delivery_limit', died_at = ?
    WHERE queue = ? AND state = 'ready' AND returned > ?"""

_PAGE: Final = "SELECT message FROM deliveries WHERE queue = ? AND message > ? ORDER BY message LIMIT ?"
_NAMES: Final = """
    SELECT CASE WHEN json_valid(CAST(headers AS TEXT)) THEN json_extract(CAST(headers AS TEXT), '$."ce-id"') END AS name
    FROM deliveries JOIN messages ON id = message
    WHERE queue = ? AND message BETWEEN ? AND ? AND name IN (SELECT value FROM json_each(?))"""


def declare(connection: sqlite3.Connection, specs: Sequence[QueueSpec]) -> None:
    """Makes queues and bindings exist. Existing ones stay, those that are not asked for any more too, as in AMQP."""
    before = connection.total_changes
    for spec in specs:
        connection.execute("INSERT OR IGNORE INTO queues (name) VALUES (?)", (spec.name,))
        queue = queue_id(connection, spec.name)
        connection.executemany(
            "INSERT OR IGNORE INTO bindings VALUES (?, ?)",
            [(queue, pattern) for pattern in (*spec.bindings, *(_OF_COMMANDS + one for one in spec.commands))],
        )
        if spec.ordered:
            connection.execute("UPDATE queues SET ordered = 1 WHERE id = ? AND NOT ordered", (queue,))
    if connection.total_changes > before:
        connection.execute("UPDATE topology SET version = version + 1")


def queue_id(connection: sqlite3.Connection, name: str) -> int:
    """The row of a queue. Raises NotDurable where nobody has declared it."""
    row = connection.execute("SELECT id FROM queues WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotDurable(f"there is no queue {name}")
    return int(row[0])


@dataclass(slots=True)
class Routes:
    """The bindings, kept in memory for as long as nobody changes them; asked inside each publish's transaction."""

    _version: int = -1
    _bindings: list[tuple[int, str]] = field(default_factory=list)
    _commands: list[tuple[int, str]] = field(default_factory=list)
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ordered: frozenset[int] = frozenset()

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Reads them again where another process, or we, declared something."""
        (version,) = connection.execute("SELECT version FROM topology").fetchone()
        if version != self._version:
            every = connection.execute("SELECT queue, pattern FROM bindings").fetchall()
            self._bindings = [one for one in every if not one[1].startswith(_OF_COMMANDS)]
            commands = (one for one in every if one[1].startswith(_OF_COMMANDS))
            self._commands = [(queue, pattern.removeprefix(_OF_COMMANDS)) for queue, pattern in commands]
            self._known.clear()
            self.ordered = frozenset(row[0] for row in connection.execute("SELECT id FROM queues WHERE ordered"))
            self._version = version

    def queues(self, routing_key: str) -> tuple[int, ...]:
        """The queues a message goes to: those bound to it, else the one for the unrouted."""
        known = self._known.get(routing_key)
        if known is None:
            bound = {queue for queue, pattern in self._bindings if matches(pattern, routing_key)}
            known = self._known[routing_key] = tuple(sorted(bound)) or (UNROUTED_QUEUE,)
        return known

    def commanded(self, routing_key: str) -> tuple[int, ...]:
        """The queues a command goes to. Raises NotDurable where there is none."""
        bound = {queue for queue, pattern in self._commands if matches(pattern, routing_key)}
        if not bound:
            raise NotDurable(f"no queue takes the command {routing_key[:100]}")
        return tuple(sorted(bound))


def publish(connection: sqlite3.Connection, routes: Routes, messages: Sequence[Message]) -> set[int]:
    """Stores messages in their order; returns the queues they lie in now."""
    routes.refresh(connection)
    ids = keep(connection, messages)
    deliveries = [
        (message, queue) for message, one in zip(ids, messages, strict=True) for queue in routes.queues(one.routing_key)
    ]
    lay(connection, routes, dict(zip(ids, messages, strict=True)), deliveries)
    return {queue for _, queue in deliveries}


def command(connection: sqlite3.Connection, routes: Routes, messages: Sequence[Message]) -> set[int]:
    """Stores commands in their order; returns the queues they lie in now. Raises NotDurable where none takes one."""
    routes.refresh(connection)
    homes = [routes.commanded(one.routing_key) for one in messages]
    ids = keep(connection, messages)
    deliveries = [(message, queue) for message, queues in zip(ids, homes, strict=True) for queue in queues]
    lay(connection, routes, dict(zip(ids, messages, strict=True)), deliveries)
    return {queue for _, queue in deliveries}


def send(connection: sqlite3.Connection, routes: Routes, name: str, messages: Sequence[Message]) -> int:
    """Stores messages in their order, in one queue; returns its row. Raises NotDurable where there is none."""
    queue = queue_id(connection, name)
    routes.refresh(connection)
    ids = keep(connection, messages)
    lay(connection, routes, dict(zip(ids, messages, strict=True)), [(message, queue) for message in ids])
    return queue


def keep(connection: sqlite3.Connection, messages: Sequence[Message]) -> list[int]:
    """Stores messages without a delivery; returns their rows."""
    rows = [(one.routing_key, orjson.dumps(one.headers), one.body) for one in messages]
    return _insert(connection, "INSERT INTO messages (routing_key, headers, body) VALUES ", rows)


def lay(
    connection: sqlite3.Connection,
    routes: Routes,
    messages: Mapping[int, Message],
    deliveries: Sequence[tuple[int, int]],
) -> None:
    """Stores the deliveries of messages."""
    if any(queue in routes.ordered for _, queue in deliveries):
        deliveries = _line_up(connection, routes, messages, deliveries)
    _insert(connection, "INSERT INTO deliveries (message, queue) VALUES ", deliveries)


def _line_up(
    connection: sqlite3.Connection,
    routes: Routes,
    messages: Mapping[int, Message],
    deliveries: Sequence[tuple[int, int]],
) -> list[tuple[int, int]]:
    """Stores the deliveries that stand in lines; returns the others."""
    others: list[tuple[int, int]] = []
    lines: dict[int, list[tuple[Any, ...]]] = {}
    for message, queue in deliveries:
        row = ordered_rows.place(message, queue, messages[message]) if queue in routes.ordered else None
        if row is None:
            others.append((message, queue))
        else:
            lines.setdefault(queue, []).append(row)
    for queue, rows in lines.items():
        _insert(connection, ordered_rows.JOIN, rows)
        ordered_rows.advance(connection, queue, {row[2] for row in rows})
    return others


def _insert(connection: sqlite3.Connection, head: str, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Inserts rows in few statements and returns their rowids.

    A statement for each row would hand the interpreter's lock to the busy event loop and wait for it for each row.
    """
    ids: list[int] = []
    place = f"({', '.join('?' * len(rows[0]))})" if rows else ""
    at = 0
    while at < len(rows):
        size = next(size for size in _CHUNKS if size <= len(rows) - at)
        values = tuple(chain.from_iterable(rows[at : at + size]))
        last = connection.execute(head + ", ".join([place] * size), values).lastrowid or 0
        ids.extend(range(last - size + 1, last + 1))  # one statement, one writer: the ids are consecutive
        at += size
    return ids


@dataclass(frozen=True, slots=True)
class Taken:
    """What a consumer got.

    Attributes:
        queue: the queue's row.
        consumer: the consumer's row; another one than before where its lease was lost.
        rows: message id, attempt, routing key as UTF-8, headers as JSON, body; oldest first.
        next_at: Unix time at which the next waiting delivery becomes ready.
    """

    queue: int
    consumer: int
    rows: list[tuple[int, int, bytes, bytes, bytes]]
    next_at: float | None


def take(
    connection: sqlite3.Connection,
    name: str,
    process: str,
    consumer: int | None,
    *,
    room: int,
    now: float,
    lease: float,
) -> Taken:
    """Leases the oldest ready deliveries to a consumer, and makes it one where it is none yet, or none any more."""
    queue = queue_id(connection, name)
    alive = "SELECT 1 FROM consumers WHERE id = ?"
    if consumer is None or connection.execute(alive, (consumer,)).fetchone() is None:
        row = (queue, process, now + lease)
        inserted = connection.execute("INSERT INTO consumers (queue, process, expires_at) VALUES (?, ?, ?)", row)
        consumer = inserted.lastrowid or 0
    connection.execute(_DUE, (queue, now))
    suspects = _take_suspect(connection, queue, consumer) if room else []
    rows = connection.execute(_OLDEST, (queue, max(0, room - len(suspects)))).fetchall()
    if rows:
        connection.execute(_TAKE, (consumer, queue, rows[-1][0]))
    rows = sorted([*suspects, *rows], key=lambda row: row[0])
    (next_at,) = connection.execute(_NEXT, (queue,)).fetchone()
    return Taken(queue, consumer, rows, next_at)


def message(key: bytes, headers: bytes, body: bytes) -> Message | None:
    """A message of its columns; None where the disk gave back something else than was written."""
    table = headers_of(headers)
    try:
        return None if table is None else Message(key.decode(), table, body)
    except UnicodeDecodeError:
        return None


def _take_suspect(
    connection: sqlite3.Connection, queue: int, consumer: int
) -> list[tuple[int, int, bytes, bytes, bytes]]:
    """One of those that came back too often, where the consumer has none of them in hand."""
    if connection.execute(_SUSPECT_IN_HAND, (queue, consumer)).fetchone() is not None:
        return []
    found = connection.execute(_OLDEST_SUSPECT, (queue,)).fetchall()
    connection.executemany(_TAKE_ALONE, [(consumer, queue, row[0]) for row in found])
    return found


def headers_of(column: bytes) -> dict[str, str] | None:
    """A message's headers; None where they cannot be read."""
    try:
        table = orjson.loads(column)
    except orjson.JSONDecodeError:
        return None
    return table if isinstance(table, dict) else None


@dataclass(slots=True)
class Verdicts:
    """What becomes of deliveries at ``now``: ``parked`` and ``dead`` are (Unix time, attempt, reason, message id)."""

    now: float
    acked: list[int] = field(default_factory=list)
    parked: list[tuple[float, int, str, int]] = field(default_factory=list)
    dead: list[tuple[float, int, str, int]] = field(default_factory=list)

    def messages(self) -> Iterable[int]:
        """The ids of all that is settled."""
        return chain(self.acked, (row[-1] for row in self.parked), (row[-1] for row in self.dead))


def settle(connection: sqlite3.Connection, queue: int, consumer: int, verdicts: Verdicts) -> bool:
    """Settles deliveries that are still in that consumer's hand; others are left to whoever holds them.

    Returns:
        Whether the settling made others ready: those behind them, in an ordered queue.
    """
    ordered = ordered_rows.is_ordered(connection, queue)
    calls = ordered_rows.subjects(connection, queue, verdicts.acked) if ordered else set()
    if verdicts.acked:
        ids = orjson.dumps(verdicts.acked).decode()
        connection.execute(_ACK, (ids, consumer))
        clean(connection, ids)
    failed_at = int(verdicts.now * 1000)
    connection.executemany(
        _REMEMBER,
        [
            (failed_at, reason[:HISTORY_REASON], message, consumer, attempt)
            for _, attempt, reason, message in verdicts.parked
        ],
    )
    connection.executemany(_PARK, [(*row, consumer) for row in verdicts.parked])
    connection.executemany(_BURY, [(*row, consumer) for row in verdicts.dead])
    buried = ordered and bool(verdicts.dead) and ordered_rows.bury(connection, queue)
    return ordered_rows.advance(connection, queue, calls) or buried


def clean(connection: sqlite3.Connection, messages: str) -> None:
    """Deletes those messages, a JSON list of ids, that lie in no queue any more."""
    connection.execute(_CLEAN, (messages,))


def renew(connection: sqlite3.Connection, process: str, *, now: float, lease: float) -> list[tuple[int, str, bool]]:
    """Extends this process's leases; returns the consumers of others: id, process, whether the lease is over.

    A lease that ends further ahead than one can is over too: the clock was set back.
    """
    connection.execute("UPDATE consumers SET expires_at = ? WHERE process = ?", (now + lease, process))
    consumers = connection.execute("SELECT id, process, expires_at FROM consumers")
    return [
        (consumer, owner, not now < expires_at <= now + 2 * lease)
        for consumer, owner, expires_at in consumers
        if owner != process
    ]


def release(connection: sqlite3.Connection, consumers: Iterable[int], now: float, *, silent: bool) -> None:
    """Ends consumers; what they had in hand is ready again.

    Args:
        connection: inside a transaction.
        consumers: their ids.
        now: Unix time.
        silent: they ended without a word. A delivery that has seen that too often is dead, since it may be the cause.
    """
    for consumer in consumers:
        row = connection.execute("SELECT queue FROM consumers WHERE id = ?", (consumer,)).fetchone()
        if row is None:
            continue
        connection.execute(_RETURN, (int(silent), *row, consumer))
        suspected = connection.execute(_SUSPECT, (now, *row, DELIVERY_LIMIT)).rowcount
        if suspected and ordered_rows.is_ordered(connection, *row):
            ordered_rows.bury(connection, *row)
        connection.execute("DELETE FROM consumers WHERE id = ?", (consumer,))


def among(connection: sqlite3.Connection, name: str, ids: str, after: int, limit: int) -> tuple[set[str], int | None]:
    """Which of the ids, a JSON list, are of the queue's next messages behind a row.

    Returns:
        them, and the row to go on behind; None at the end.
    """
    queue = queue_id(connection, name)
    page = connection.execute(_PAGE, (queue, after, limit)).fetchall()
    if not page:
        return set(), None
    found = connection.execute(_NAMES, (queue, page[0][0], page[-1][0], ids)).fetchall()
    return {one for (one,) in found}, page[-1][0] if len(page) == limit else None


def consumers(connection: sqlite3.Connection, name: str) -> int:
    """How many consume from the queue."""
    query = "SELECT count(*) FROM consumers WHERE queue = ?"
    return int(connection.execute(query, (queue_id(connection, name),)).fetchone()[0])


def depth(connection: sqlite3.Connection, name: str) -> Depth:
    """Counts of a queue."""
    query = "SELECT state, count(*) FROM deliveries WHERE queue = ? GROUP BY state"
    counts = dict(connection.execute(query, (queue_id(connection, name),)).fetchall())
    return Depth(
        ready=counts.get("ready", 0),
        in_flight=counts.get("in_hand", 0) + counts.get("waiting", 0),
        dead=counts.get("dead", 0),
    )
