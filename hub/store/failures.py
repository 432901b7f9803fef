"""What an error of the driver means: do it again, the data are at fault, or the store is unavailable. Pure."""

import sqlite3
from enum import Enum, auto
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, DisconnectionError, StatementError, TimeoutError as PoolTimeout

from hub.errors import StoreUnavailable, TrunklineError

WIDTH: Final = 300  # characters of a reason
DRIVERS: Final = (
    *(DBAPIError, DisconnectionError, PoolTimeout),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, sqlite3.Error),
    OSError,  # a timeout is one, too
)
# What code raises that meets a value of a shape it does not know.
CONVERSIONS: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)

READ_ONLY: Final = "25006"
MISSING: Final = frozenset({"42P01", "42703", "42883"})  # a table, a column, a function
MISSING_SQLITE: Final = ("no such table", "no such column")
AGAIN: Final = frozenset({"40001", "40P01"})  # serialisation failure, deadlock
DATA: Final = frozenset({"22", "23", "54"})  # classes: data exception, constraint violation, program limit


class BadData(TrunklineError):
    """The database, or what prepares the data for it, will never take these data; the message is its reason."""


class Meaning(Enum):
    """What follows from an error."""

    AGAIN = auto()  # the transaction was rolled back for its neighbours' sake
    BAD = auto()  # the same data will fail again
    READ_ONLY = auto()  # this was the primary, and no longer is
    DOWN = auto()  # everything else that a driver says
    BUG = auto()  # not a driver's word


TAKEN: Final = "23505"  # unique_violation: what may be repeated is inserted ON CONFLICT DO NOTHING


def meaning(error: BaseException) -> Meaning:
    """What follows from an error of a transaction."""
    if isinstance(error, BadData):
        return Meaning.BAD
    code = sqlstate(error)
    if code in AGAIN:
        return Meaning.AGAIN
    if code == READ_ONLY:
        return Meaning.READ_ONLY
    # TAKEN is a number that was drawn twice: the sequence is behind its table, for an operator to mend.
    if code != TAKEN and _is_data_error(error, code):
        return Meaning.BAD
    if isinstance(error, DRIVERS):
        return Meaning.DOWN
    return Meaning.BUG


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five characters, where the error has them."""
    found = getattr(_driver(error), "sqlstate", None)
    return found if isinstance(found, str) else None


def unavailable(error: BaseException) -> StoreUnavailable:
    """The error for the caller: one line, and nothing of the URL in it."""
    return StoreUnavailable(f"the store does not answer: {_explained(error)}")


def bad_data(error: BaseException) -> BadData:
    """The error for the guilty event's dead letter."""
    return error if isinstance(error, BadData) else BadData(reason(error))


def reason(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    cause = _driver(error)
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"[:WIDTH].removesuffix(": ")


def _explained(error: BaseException) -> str:
    text = reason(error)
    if sqlstate(error) in MISSING or any(words in text for words in MISSING_SQLITE):
        return f"its tables are missing or old, run `trunkline db upgrade` ({text})"
    return text


def _is_data_error(error: BaseException, code: str | None) -> bool:
    if code is not None:
        return code[:2] in DATA
    cause = _driver(error)
    if isinstance(error, DBAPIError) and isinstance(cause, (sqlite3.IntegrityError, sqlite3.DataError)):
        return True
    return isinstance(error, StatementError) and isinstance(cause, CONVERSIONS)  # a parameter could not be encoded


def _driver(error: BaseException) -> BaseException:
    """The driver's own error below SQLAlchemy's two layers."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    while isinstance(cause.__cause__, Exception) and not isinstance(cause, (asyncpg.PostgresError, sqlite3.Error)):
        cause = cause.__cause__
    return cause
