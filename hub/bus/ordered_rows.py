"""The lines of ordered queues on the embedded bus: functions of a connection, inside a transaction.

The deliveries of one call in an ordered queue stand in a line. Its head is ready, in hand or waiting for its retry,
like any delivery; those ``behind`` it wait without a time. When the head has left, the oldest behind it is the next
one. A unique index allows one head to a line, so that two events of a call are in hand at once is no matter of care.

A dead letter stands in no line, nor does what belongs to no call.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import orjson

from hub.events import Message

MIGRATION: Final = """
    ALTER TABLE queues ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE deliveries ADD COLUMN subject TEXT;
    ALTER TABLE deliveries ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
    CREATE UNIQUE INDEX deliveries_heads ON deliveries (queue, subject) WHERE subject IS NOT NULL AND behind = 0;
    CREATE INDEX deliveries_behind ON deliveries (queue, subject, message) WHERE subject IS NOT NULL AND behind = 1
    """

JOIN: Final = "INSERT INTO deliveries (message, queue, subject, behind, state) VALUES "
"""Puts deliveries at the ends of their lines; ``advance`` makes heads of those that have nobody before them."""

_ADVANCE: Final = """
    UPDATE deliveries SET state = 'ready', behind = 0 WHERE queue = ?1 AND message IN (
        SELECT (SELECT min(message) FROM deliveries WHERE queue = ?1 AND subject = value AND behind = 1)
        FROM json_each(?2)
        WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE queue = ?1 AND subject = value AND behind = 0))"""
_SUBJECTS: Final = """
    SELECT subject FROM deliveries
    WHERE queue = ? AND subject IS NOT NULL AND message IN (SELECT value FROM json_each(?))"""
_BURIED: Final = "SELECT subject FROM deliveries WHERE queue = ? AND state = 'dead' AND subject IS NOT NULL"
_OUT: Final = "UPDATE deliveries SET subject = NULL WHERE queue = ? AND state = 'dead' AND subject IS NOT NULL"
_REJOIN: Final = """
    UPDATE deliveries SET state = 'waiting', behind = 1, subject = (
        SELECT json_extract(CAST(headers AS TEXT), '$."ce-subject"') FROM messages WHERE id = message)
    WHERE queue = ? AND message IN (
        SELECT value FROM json_each(?) JOIN messages ON messages.id = value
        WHERE CASE WHEN json_valid(CAST(headers AS TEXT))
              THEN json_type(CAST(headers AS TEXT), '$."ce-subject"') = 'text' END)"""


def place(message: int, queue: int, published: Message) -> tuple[Any, ...] | None:
    """The row of a delivery that stands in a line, for ``JOIN``; None where the message belongs to no call."""
    subject = published.headers.get("ce-subject")
    return None if subject is None else (message, queue, subject, 1, "waiting")


def is_ordered(connection: sqlite3.Connection, queue: int) -> bool:
    """Whether the queue's deliveries stand in lines."""
    row = connection.execute("SELECT ordered FROM queues WHERE id = ?", (queue,)).fetchone()
    return bool(row and row[0])


def subjects(connection: sqlite3.Connection, queue: int, messages: Iterable[int]) -> set[str]:
    """The calls whose deliveries these are."""
    return {row[0] for row in connection.execute(_SUBJECTS, (queue, _json(list(messages))))}


def advance(connection: sqlite3.Connection, queue: int, calls: Collection[str]) -> bool:
    """Makes a head of the oldest behind, in each line that has none; returns whether there was one."""
    return bool(calls) and connection.execute(_ADVANCE, (queue, _json(list(calls)))).rowcount > 0


def bury(connection: sqlite3.Connection, queue: int) -> bool:
    """Takes what has died out of its line; the call goes on. Returns whether somebody stood behind it."""
    left = {row[0] for row in connection.execute(_BURIED, (queue,))}
    if left:
        connection.execute(_OUT, (queue,))
    return advance(connection, queue, left)


def rejoin(connection: sqlite3.Connection, queue: int, messages: Sequence[int]) -> None:
    """Puts dead letters that were made ready back into their lines: next, behind whoever is the head now."""
    connection.execute(_REJOIN, (queue, _json(messages)))
    advance(connection, queue, subjects(connection, queue, messages))


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(values).decode()
