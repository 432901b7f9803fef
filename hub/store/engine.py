"""From the configured URL to an engine: what a connection is set to before anybody uses it."""

from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hub.errors import ConfigurationError

POOL: Final = 5  # connections; a worker has one batch in hand, the rest is for readers
PATIENCE: Final = 10  # seconds for a connection: from the pool, to the server, to SQLite's lock
COMMAND: Final = 30  # seconds for one statement, after which the connection is given up
RECYCLE: Final = 1800  # seconds a connection lives, so that a changed address of the server is found

# Sent with every connection. The server ends a statement before we give up its connection, and ends what we abandoned.
SETTINGS: Final = {
    "application_name": "trunkline",
    "statement_timeout": "25s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    # Every statement has its index. A plan made while the tables were empty would read them whole, and a prepared
    # statement keeps its plan until the next ANALYZE.
    "enable_seqscan": "off",
    "jit": "off",
}
PRAGMAS: Final = (
    f"busy_timeout = {PATIENCE * 1000}",  # first: the next ones may have to wait
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit is on disk; NORMAL syncs when it checkpoints
    "foreign_keys = ON",
    "journal_size_limit = 67108864",
)

WRITES: Final = {"trunkline_writes": True}


def open_engine(url: str, *, pooled: bool = True, patient: bool = False) -> AsyncEngine:
    """The engine for a configured URL. Nothing is opened yet.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, or ``postgresql://`` or ``postgres://`` with
            whatever libpq's URLs may have: several hosts, ``sslmode``, ``target_session_attrs``.
        pooled: False for a single task, such as a migration.
        patient: True lifts the limits of time that statements have.

    Raises:
        ConfigurationError: neither of these.
    """
    path = sqlite_path(url)
    if path is not None:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={"timeout": PATIENCE},
            **_pool(pooled),
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    settings = {**SETTINGS, **({"statement_timeout": "0"} if patient else {})}

    async def connect() -> Any:
        # asyncpg reads the URL by libpq's rules; SQLAlchemy's own reading knows neither sslmode nor several hosts.
        return await asyncpg.connect(
            url, timeout=PATIENCE, command_timeout=None if patient else COMMAND, server_settings=settings
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, **_pool(pooled))
    event.listen(engine.sync_engine, "checkout", _check_alive)
    return engine


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL; None where the URL is PostgreSQL's. Raises ConfigurationError for any other."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        scheme = url.split(":", 1)[0]
        if scheme in ("postgresql", "postgres"):  # several hosts: asyncpg's to read
            return None
        raise _unusable(scheme) from None
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return Path(str(parsed.database))
    if parsed.drivername in ("postgresql", "postgres"):
        return None
    raise _unusable(parsed.drivername)


def _unusable(found: str) -> ConfigurationError:
    # Not the URL itself: it may hold a password.
    return ConfigurationError(f"store.url: found {found}://…, expected sqlite:///path or postgresql://…")


def _pool(pooled: bool) -> dict[str, Any]:
    if not pooled:
        return {"poolclass": NullPool}
    return {"pool_size": POOL, "max_overflow": 0, "pool_timeout": PATIENCE, "pool_recycle": RECYCLE}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by us alone, in the handler below
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later may find that another wrote in between, and fails without waiting;
    # with IMMEDIATE it waits at its beginning. A reader's statements each see one state and need no transaction.
    if connection.get_execution_options().get("trunkline_writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _check_alive(connection: Any, _record: object, _proxy: object) -> None:
    # The loop has seen the server hang up, if it did: a restart costs nobody a failed statement, and no ping is sent.
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has closed this connection")
