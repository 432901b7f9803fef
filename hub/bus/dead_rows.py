"""The embedded bus's dead letters: functions of a connection, inside a transaction, like those of ``hub.bus.rows``."""

import sqlite3
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import orjson

from hub.bus import ordered_rows, rows
from hub.events import Message
from hub.ports import HISTORY, HISTORY_REASON, Dead, Failure

_DIGITS: Final = 18  # of a row's number, at most
_COLUMNS = "SELECT message, CAST(routing_key AS BLOB), headers, body, reason, attempt, died_at, history"
_LETTERS: Final = f"""
    {_COLUMNS} FROM deliveries JOIN messages ON id = message
    WHERE queue = ? AND state = 'dead' AND message > ? ORDER BY message"""
_NAMED: Final = f"""
    {_COLUMNS} FROM deliveries JOIN messages ON id = message
    WHERE queue = ? AND state = 'dead'
    AND coalesce(
        CASE WHEN json_valid(CAST(headers AS TEXT)) THEN json_extract(CAST(headers AS TEXT), '$."ce-id"') END, ''
    ) IN (SELECT value FROM json_each(?))
    ORDER BY message"""  # noqa: S608  ours
_LAY_DEAD: Final = """
    INSERT INTO deliveries (message, queue, state, attempt, died_at, reason, history)
    VALUES (?, ?, 'dead', ?, ?, ?, ?)"""
_REVIVE: Final = """
    UPDATE deliveries SET state = 'ready', attempt = 1, returned = 0, died_at = NULL, reason = NULL, history = NULL
    WHERE queue = ? AND state = 'dead' AND message IN (SELECT value FROM json_each(?))"""
_FORGET: Final = """
    DELETE FROM deliveries WHERE queue = ? AND state = 'dead' AND message IN (SELECT value FROM json_each(?))"""


def place(cursor: str | None) -> int:
    """The row that a cursor stands for. Raises ValueError where it is none of ours."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _DIGITS):
        raise ValueError(f"{cursor!r} is not a cursor of this bus")
    return int(cursor)


def dead(
    connection: sqlite3.Connection, name: str, limit: int, after: int, where: Callable[[Dead], bool] | None
) -> list[Dead]:
    """The dead letters of a queue behind a row, oldest message first."""
    found = connection.execute(_LETTERS, (rows.queue_id(connection, name), after))
    return list(islice(filter(where, map(_letter, found)), limit))


def bury(connection: sqlite3.Connection, name: str, letter: Dead) -> None:
    """Stores a message as a dead letter of a queue; in an ordered one it stands in no line, like any that has died."""
    queue = rows.queue_id(connection, name)
    (message,) = rows.keep(connection, [letter.message])
    past = [(int(one.at.timestamp() * 1000), one.reason[:HISTORY_REASON]) for one in letter.history[-HISTORY:]]
    row = (message, queue, letter.attempt, letter.died_at.timestamp(), letter.reason, _json(past) if past else None)
    connection.execute(_LAY_DEAD, row)


def requeue(connection: sqlite3.Connection, name: str, ids: Collection[str] | None, limit: int) -> tuple[int, int]:
    """Makes dead letters ready, as attempt 1; returns the queue's row and how many there were."""
    queue = rows.queue_id(connection, name)
    chosen = _chosen(connection, queue, ids, limit)
    count = connection.execute(_REVIVE, (queue, _json(chosen))).rowcount
    if ordered_rows.is_ordered(connection, queue):
        ordered_rows.rejoin(connection, queue, chosen)
    return queue, count


def discard(connection: sqlite3.Connection, name: str, ids: Collection[str] | None, limit: int) -> int:
    """Deletes dead letters, with the messages that lie nowhere else; returns how many there were."""
    queue = rows.queue_id(connection, name)
    chosen = _json(_chosen(connection, queue, ids, limit))
    count = connection.execute(_FORGET, (queue, chosen)).rowcount
    rows.clean(connection, chosen)
    return count


def _chosen(connection: sqlite3.Connection, queue: int, ids: Collection[str] | None, limit: int) -> list[int]:
    """The messages of the oldest dead letters, or of the oldest of those ids."""
    if ids is None:
        found = connection.execute(_LETTERS, (queue, 0))
        return [row[0] for row in islice(found, limit)]
    named = frozenset(ids)
    # A stranger's message without an id has one that only Python can tell.
    candidates = connection.execute(_NAMED, (queue, _json([*named, ""])))
    return [row[0] for row in islice((row for row in candidates if _letter(row).id in named), limit)]


def _letter(row: tuple[Any, ...]) -> Dead:
    message, key, headers, body, reason, attempt, died_at, history = row
    return Dead(
        Message(key.decode(errors="replace"), rows.headers_of(headers) or {}, body),
        reason,
        attempt,
        datetime.fromtimestamp(died_at, UTC),
        tuple(Failure(datetime.fromtimestamp(at / 1000, UTC), why) for at, why in orjson.loads(history or "[]")),
        str(message),
    )


def _json(values: Iterable[Any]) -> str:
    return orjson.dumps(list(values)).decode()
