"""The ingress's own disk as rows of a SQLite file, and the verbs on them: functions of a connection in a transaction.

Every row of the outbox and of the quarantine carries a checksum of what it says. A row that does not say it any more
is damaged: it moves to a table of its own, with its bytes, and stands before nobody. How many events the outbox holds
and how many bytes they take is counted by triggers, so that asking costs nothing, whoever asks.
"""

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zlib import crc32

import orjson

from hub import disk_notes
from hub.errors import QuarantineFull
from hub.events import Message, moment, timestamp
from hub.witness import Reach

_ROW: Final = 100  # bytes that a row costs beside what it says
_HELD: Final = f"{_ROW} + length({{0}}routing_key) + length({{0}}headers) + length({{0}}body)"
_CHARGED: Final = "length({0}url) + length({0}headers) + length({0}body)"

MIGRATIONS: Final = (
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
    f"""
    ALTER TABLE outbox ADD COLUMN crc INTEGER;
    ALTER TABLE outbox ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE quarantine ADD COLUMN crc INTEGER;
    CREATE TABLE damaged (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        origin TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL, content BLOB NOT NULL
    );
    CREATE TABLE held (events INTEGER NOT NULL, bytes INTEGER NOT NULL);
    INSERT INTO held SELECT count(*), coalesce(sum({_HELD.format("")}), 0) FROM outbox;
    CREATE TRIGGER outbox_in AFTER INSERT ON outbox BEGIN
        UPDATE held SET events = events + 1, bytes = bytes + {_HELD.format("new.")};
    END;
    CREATE TRIGGER outbox_out AFTER DELETE ON outbox BEGIN
        UPDATE held SET events = events - 1, bytes = bytes - ({_HELD.format("old.")});
    END
    """,  # noqa: S608  ours
    disk_notes.MIGRATION,
)
"""crc is NULL in rows of an earlier version, which had none; claimed_until is on the machine's monotonic clock."""

TABLES: Final = ("outbox", "quarantine")
"""Those whose numbers are never used twice, and whose reach the witness knows."""

_CHUNKS: Final = (64, 8, 1)  # rows in one INSERT: few different statements, so that each is prepared once

_OLDEST: Final = """
    SELECT seq, length(headers) + length(body) FROM outbox
    WHERE coalesce(claimed_until, 0) NOT BETWEEN ? AND ? ORDER BY seq LIMIT ?"""
_CLAIM: Final = "UPDATE outbox SET claimed_until = ? WHERE seq IN (SELECT value FROM json_each(?))"
# As bytes: a text that is damaged may be no UTF-8, and one such row would fail the whole statement.
_CONTENT: Final = {
    "outbox": ("routing_key", "headers", "body"),
    "quarantine": (
        *("quarantine_id", "source", "vendor", "reason", "detail", "received_at"),
        *("method", "url", "event", "headers", "body"),
    ),
}


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
        named = None if self.ids is None else json(self.ids)
        conditions = {
            "quarantine_id IN (SELECT value FROM json_each(?))": named,
            "source = ?": self.source,
            "reason = ?": self.reason,
        }
        given = {condition: value for condition, value in conditions.items() if value is not None}
        return " AND ".join(["TRUE", *given]), list(given.values())


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that was set aside.

    Attributes:
        id: its own number.
        origin: the table it was in.
        seq: its number there.
        reason: why.
        at: when it was set aside.
        content: its columns by name.
    """

    id: int
    origin: str
    seq: int
    reason: str
    at: datetime
    content: Mapping[str, bytes | int | None]


@dataclass(slots=True)
class Claimed:
    """What a relay took: events with their numbers, oldest first; and rows that were set aside on the way."""

    events: list[tuple[int, Message]] = field(default_factory=list)
    damaged: list[tuple[int, str]] = field(default_factory=list)


# --- what a row says -------------------------------------------------------------------------------------------------


def checksum(parts: Sequence[str | bytes | None]) -> int:
    """Of the columns of a row, of their lengths too: a byte that moved from one to the next is damage."""
    found = 0
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found = crc32(b"-" if raw is None else b"%d:%b" % (len(raw), raw), found)
    return found


def fault(parts: Sequence[bytes | None], crc: object) -> str:
    """What is wrong with a row whose columns came as bytes; empty where nothing is."""
    if crc is None or crc == checksum(parts):
        return ""
    return "its checksum is not that of what it says"


def to_message(parts: Sequence[Any]) -> Message:
    """The event of a row of the outbox. Raises ValueError where there is none in it."""
    key, headers, body = parts
    found = orjson.loads(headers)
    if not (isinstance(found, dict) and isinstance(body, bytes)):
        raise ValueError("its headers are no JSON object")  # noqa: TRY004  of the content, not of the call
    return Message(key.decode(), found, body)


def to_kept(seq: int, parts: Sequence[Any]) -> Kept:
    """The request of a row of the quarantine. Raises ValueError or TypeError where there is none in it."""
    *texts, event, headers, body = parts
    quarantine_id, source, vendor, reason, detail, received_at, method, url = (text.decode() for text in texts)
    pairs = tuple((name, value) for name, value in orjson.loads(headers))
    came = moment(received_at)
    of = None if event is None else event.decode()
    return Kept(seq, quarantine_id, Refused(source, vendor, reason, detail, came, method, url, of, pairs, body))


def _row(quarantine_id: str, refused: Refused) -> tuple[str | bytes | None, ...]:
    return (
        *(quarantine_id, refused.source, refused.vendor, refused.reason, refused.detail),
        *(timestamp(refused.received_at), refused.method, refused.url, refused.event),
        *(
            orjson.dumps([[name, value.encode("utf-8", "replace").decode()] for name, value in refused.headers]),
            refused.body,
        ),
    )


def _columns(table: str) -> str:
    return ", ".join(f"CAST({name} AS BLOB)" for name in _CONTENT[table])


# --- outbox ----------------------------------------------------------------------------------------------------------


def put(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
    """Adds events, in their order."""
    rows = []
    for message in messages:
        content = (message.routing_key, orjson.dumps(message.headers), message.body)
        rows.append((*content, checksum(content)))
    connection.executemany("INSERT INTO outbox (routing_key, headers, body, crc) VALUES (?, ?, ?, ?)", rows)


def held(connection: sqlite3.Connection) -> tuple[int, int]:
    """Events in the outbox, and the bytes that they take."""
    events, used = connection.execute("SELECT events, bytes FROM held").fetchone()
    return int(events), int(used)


def claim(
    connection: sqlite3.Connection, now: float, lease: float, *, limit: int, most_bytes: int, at: datetime
) -> Claimed:
    """Takes the oldest events that nobody else has, for a time; at least one where there is one.

    Args:
        connection: inside a transaction.
        now: seconds, on a clock that all processes of this machine share and that is never set.
        lease: seconds for which they are nobody else's. A claim that ends further ahead than one can was made before
            the machine's last start, and is none.
        limit: how many at most.
        most_bytes: how many bytes at most, beyond the first.
        at: the time of day, for what is set aside.
    """
    chosen: list[int] = []
    room = most_bytes
    for seq, size in connection.execute(_OLDEST, (now, now + 2 * lease, limit)).fetchall():
        if chosen and size > room:
            break
        chosen.append(seq)
        room -= size
    found = Claimed()
    if not chosen:
        return found
    for seq, *parts, crc in _read(connection, "outbox", chosen):
        try:
            wrong = fault(parts, crc)
            if not wrong:
                found.events.append((seq, to_message(parts)))
        except (ValueError, AttributeError, TypeError) as error:
            wrong = f"it cannot be read: {error}"
        if wrong:
            found.damaged.append((seq, wrong))
            set_aside(connection, "outbox", seq, wrong, at)
    hold(connection, [seq for seq, _ in found.events], now + lease)
    return found


def release(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Gives claimed events back."""
    hold(connection, seqs, 0)


def hold(connection: sqlite3.Connection, seqs: Sequence[int], until: float) -> None:
    """Makes claims end at ``until``, on the clock of ``claim``."""
    connection.execute(_CLAIM, (until, json(seqs)))


def remove(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Removes events."""
    connection.execute("DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?))", (json(seqs),))


def count_tries(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, int]:
    """Counts a refusal of each of these events; returns how many each has seen."""
    connection.execute(
        "UPDATE outbox SET tries = tries + 1 WHERE seq IN (SELECT value FROM json_each(?))", (json(seqs),)
    )
    found = connection.execute(
        "SELECT seq, tries FROM outbox WHERE seq IN (SELECT value FROM json_each(?))", (json(seqs),)
    )
    return dict(found.fetchall())


def _read(connection: sqlite3.Connection, table: str, seqs: Sequence[int]) -> list[Any]:
    query = (
        f"SELECT seq, {_columns(table)}, crc FROM {table} WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"  # noqa: S608  ours
    )
    return connection.execute(query, (json(seqs),)).fetchall()


# --- quarantine ------------------------------------------------------------------------------------------------------


def quarantine(connection: sqlite3.Connection, quarantine_id: str, refused: Refused, room: int) -> None:
    """Keeps a request. Raises QuarantineFull where its source holds ``room`` bytes already."""
    content = _row(quarantine_id, refused)
    size = sum(len(part) for part in (content[7], *content[9:]) if part is not None)
    row = connection.execute("SELECT bytes FROM quarantine_size WHERE source = ?", (refused.source,)).fetchone()
    if (row[0] if row else 0) + size > room:
        raise QuarantineFull(f"the quarantine of {refused.source} holds its {room} bytes already")
    _insert_request(connection, None, (*content, checksum(content)))
    _charge(connection, refused.source, size)


def _insert_request(connection: sqlite3.Connection, seq: int | None, row: Sequence[Any]) -> None:
    names = ", ".join(_CONTENT["quarantine"])
    places = ", ".join("?" * (len(row) + 1))
    connection.execute(f"INSERT INTO quarantine (seq, {names}, crc) VALUES ({places})", (seq, *row))  # noqa: S608  ours


def _charge(connection: sqlite3.Connection, source: str, size: int) -> None:
    connection.execute(
        "INSERT INTO quarantine_size VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
        (source, size),
    )


def requests(
    connection: sqlite3.Connection, narrow: Narrow, limit: int, after: int, at: datetime
) -> tuple[list[Kept], list[tuple[int, str]]]:
    """Requests, oldest first, after a place; and the rows that were set aside instead of being read."""
    where, values = narrow.where()
    query = f"SELECT seq FROM quarantine WHERE {where} AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608  ours
    found: list[Kept] = []
    damaged: list[tuple[int, str]] = []
    chosen = [seq for (seq,) in connection.execute(query, (*values, after, limit)).fetchall()]
    for seq, *parts, crc in _read(connection, "quarantine", chosen):
        try:
            wrong = fault(parts, crc)
            if not wrong:
                found.append(to_kept(seq, parts))
        except (ValueError, AttributeError, TypeError) as error:
            wrong = f"it cannot be read: {error}"
        if wrong:
            damaged.append((seq, wrong))
            set_aside(connection, "quarantine", seq, wrong, at)
    return found, damaged


def find(connection: sqlite3.Connection, narrow: Narrow, limit: int) -> list[str]:
    """The ids of requests, oldest first, without reading their bodies."""
    where, values = narrow.where()
    query = f"SELECT CAST(quarantine_id AS BLOB) FROM quarantine WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608  ours
    return [one.decode("utf-8", "replace") for (one,) in connection.execute(query, (*values, limit)).fetchall()]


def forget(connection: sqlite3.Connection, ids: Collection[str]) -> int:
    """Removes requests, and gives their bytes back to their sources; returns how many."""
    where, values = Narrow(ids=ids).where()
    return _forget(connection, where, values)


def _forget(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> int:
    charged = f"SELECT coalesce(sum({_CHARGED.format('')}), 0) FROM quarantine q WHERE {where} AND q.source = s.source"  # noqa: S608  ours
    connection.execute(f"UPDATE quarantine_size AS s SET bytes = max(0, bytes - ({charged}))", list(values))  # noqa: S608
    return int(connection.execute(f"DELETE FROM quarantine WHERE {where}", list(values)).rowcount)  # noqa: S608


# --- what was set aside ----------------------------------------------------------------------------------------------


def set_aside(connection: sqlite3.Connection, table: str, seq: int, reason: str, at: datetime) -> None:
    """Moves a row to where it stands before nobody, with its bytes."""
    for _, *parts, crc in _read(connection, table, [seq]):
        columns = {name: _packed(part) for name, part in zip((*_CONTENT[table], "crc"), (*parts, crc), strict=True)}
        connection.execute(
            "INSERT INTO damaged (origin, seq, reason, at, content) VALUES (?, ?, ?, ?, ?)",
            (table, seq, reason[:500], timestamp(at), orjson.dumps(columns, default=repr)),
        )
    if table == "outbox":
        remove(connection, [seq])
    else:
        _forget(connection, "seq = ?", [seq])


def damaged(connection: sqlite3.Connection, limit: int, ids: Collection[int] | None = None) -> list[Damaged]:
    """Rows that were set aside, oldest first; all of them, or those of these numbers."""
    chosen = "" if ids is None else "WHERE id IN (SELECT value FROM json_each(?))"
    query = f"SELECT id, origin, seq, reason, at, content FROM damaged {chosen} ORDER BY id LIMIT ?"  # noqa: S608  ours
    values: list[Any] = [limit] if ids is None else [json(ids), limit]
    rows = connection.execute(query, values).fetchall()
    return [
        Damaged(number, origin, seq, reason, moment(at), _unpacked(content))
        for number, origin, seq, reason, at, content in rows
    ]


def count_damaged(connection: sqlite3.Connection) -> int:
    """How many rows were set aside."""
    return int(connection.execute("SELECT count(*) FROM damaged").fetchone()[0])


def put_back(connection: sqlite3.Connection, ids: Collection[int]) -> list[int]:
    """Puts rows that were set aside whole back where they were; returns the numbers of those."""
    done = []
    for one in damaged(connection, len(ids), ids):
        parts = [one.content.get(name) for name in _CONTENT[one.origin]]
        if restore(connection, one.origin, one.seq, parts, one.content.get("crc")) is not None:
            done.append(one.id)
    discard(connection, done)
    return done


def discard(connection: sqlite3.Connection, ids: Collection[int]) -> int:
    """Forgets rows that were set aside, for good; returns how many."""
    query = "DELETE FROM damaged WHERE id IN (SELECT value FROM json_each(?))"
    return int(connection.execute(query, (json(ids),)).rowcount)


def restore(connection: sqlite3.Connection, table: str, seq: int, parts: Sequence[Any], crc: object) -> bool | None:
    """Puts a row back at its own number, which nobody else was given since.

    Returns:
        Whether it was put back; False where it is there already, None where it is not what it was.
    """
    try:
        if fault(parts, crc):
            return None
        if table == "outbox":
            to_message(parts)
            there = "SELECT 1 FROM outbox WHERE seq = ? AND CAST(headers AS BLOB) = ?"
            values: tuple[Any, ...] = (seq, parts[1])
        else:
            to_kept(seq, parts)
            there = "SELECT 1 FROM quarantine WHERE quarantine_id = ?"
            values = (parts[0].decode(),)
    except (ValueError, AttributeError, TypeError):
        return None
    if connection.execute(there, values).fetchone() is not None:
        return False
    taken = connection.execute(f"SELECT 1 FROM {table} WHERE seq = ?", (seq,)).fetchone()  # noqa: S608  ours
    number = seq if taken is None and seq > 0 else None
    texts = [None if part is None else part.decode() for part in parts[:-2]]
    row = (*texts, *parts[-2:], checksum(parts))
    if table == "quarantine":
        _insert_request(connection, number, row)
        _charge(connection, str(texts[1]), sum(len(part) for part in (parts[7], parts[9], parts[10])))
    else:
        names = "INSERT INTO outbox (seq, routing_key, headers, body, crc) VALUES (?, ?, ?, ?, ?)"
        connection.execute(names, (number, *row))
    return True


def _packed(value: object) -> object:
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def _unpacked(content: bytes) -> dict[str, bytes | int | None]:
    columns: dict[str, Any] = orjson.loads(content)
    return {name: b64decode(value["base64"]) if isinstance(value, dict) else value for name, value in columns.items()}


# --- how far it goes -------------------------------------------------------------------------------------------------

_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = '{}'"
_FIRST: Final = "SELECT min(seq) FROM {}"
_REACH: Final = f"SELECT {', '.join(f'({_LAST.format(table)}), ({_FIRST.format(table)})' for table in TABLES)}"


def reach(connection: sqlite3.Connection) -> dict[str, Reach]:
    """How far each table goes."""
    row = connection.execute(_REACH).fetchone()
    found = {}
    for at, table in enumerate(TABLES):
        last, first = row[2 * at] or 0, row[2 * at + 1]
        found[table] = Reach(last, last if first is None else first - 1)
    return found


@dataclass(frozen=True, slots=True)
class Missing:
    """Rows of a table that the witness knows of and the file does not: all from ``first`` to ``last``."""

    table: str
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many, at most: some of them may have been handed over."""
        return self.last - self.first + 1


def begin(connection: sqlite3.Connection, seen: Mapping[str, Reach], *, recount: bool) -> list[Missing]:
    """What is missing at a start; from now on no number that was ever used is used again.

    Args:
        connection: inside a transaction.
        seen: the witness's word, read before the transaction began.
        recount: count anew what the outbox and the quarantine hold, since nobody else is at work.
    """
    missing = []
    here = reach(connection)
    for table in TABLES:
        known = seen.get(table, Reach())
        first = max(here[table].last, known.gone) + 1
        if first <= known.last:
            missing.append(Missing(table, first, known.last))
        if here[table].last < known.last:
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, known.last))
    if recount:
        _recount(connection)
    return missing


_COUNTED: Final = {
    "held": f"SELECT count(*), coalesce(sum({_HELD.format('')}), 0) FROM outbox",  # noqa: S608  ours
    "quarantine_size": f"SELECT source, sum({_CHARGED.format('')}) FROM quarantine GROUP BY source",  # noqa: S608  ours
}
_DIFFERS: Final = """
    SELECT EXISTS (SELECT * FROM ({0}) EXCEPT SELECT * FROM {1})
    OR EXISTS (SELECT * FROM {1} WHERE bytes <> 0 EXCEPT SELECT * FROM ({0}))"""


def _recount(connection: sqlite3.Connection) -> None:
    """A flipped bit in a count would close the outbox for ever. Without a write where the counts are right."""
    for table, counted in _COUNTED.items():
        if connection.execute(_DIFFERS.format(counted, table)).fetchone() != (0,):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  ours
            connection.execute(f"INSERT INTO {table} {counted}")


# --- tallies ---------------------------------------------------------------------------------------------------------


def add_tallies(connection: sqlite3.Connection, counted: Mapping[str, int]) -> None:
    """Adds to the counts of answers."""
    connection.executemany(
        "INSERT INTO tally VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
        list(counted.items()),
    )


def tallies(connection: sqlite3.Connection) -> dict[str, int]:
    """Every count so far."""
    found = connection.execute("SELECT CAST(name AS BLOB), count FROM tally").fetchall()
    return {name.decode("utf-8", "replace"): count for name, count in found}


def witnessing(note: Callable[[Mapping[str, Reach]], None]) -> Callable[[sqlite3.Connection], Callable[[], None]]:
    """What a journal calls at the end of each transaction, so that ``note`` learns how far the tables go then."""

    def look(connection: sqlite3.Connection) -> Callable[[], None]:
        reached = reach(connection)
        return lambda: note(reached)

    return look


def json(values: Collection[Any]) -> str:
    """A list for ``json_each``."""
    return orjson.dumps(list(values)).decode()
