"""Brings a database's tables to this version. Two processes may start at once: one works, the other waits for it.

The migrations are a line, each file named after its revision, so that whether one is missing can be told without
alembic: it is slow to import, and nearly every start has nothing to do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.errors import StoreUnavailable
from hub.store.engine import WRITES, open_engine, sqlite_path
from hub.store.failures import Meaning, meaning, unavailable

SCRIPTS: Final = Path(__file__).parent / "migrations"
LOCK: Final = 0x7472756E6B6C696E  # "trunklin": the advisory lock of migrations


async def upgrade(url: str) -> list[str]:
    """Applies what is missing, all or nothing; returns the names of the migrations applied, oldest first.

    Raises:
        StoreUnavailable: the database cannot be reached, or was upgraded by a newer version.
    """
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    async with _connected(url) as connection:
        await connection.execution_options(**WRITES)
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # On SQLite the transaction has begun with IMMEDIATE: no other writer is let in before its end.
        missing = await connection.run_sync(_missing)
        if missing:
            await connection.run_sync(_upgrade)
        await connection.commit()
        return missing


async def pending(url: str) -> list[str]:
    """The names of the migrations that are not applied, oldest first. Changes nothing. Raises as ``upgrade`` does."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return _names()
    async with _connected(url) as connection:
        return await connection.run_sync(_missing)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = open_engine(url, pooled=False, patient=True)
    try:
        async with engine.connect() as connection:
            yield connection
    except Exception as error:
        if meaning(error) is Meaning.BUG:
            raise
        raise unavailable(error) from error
    finally:
        await engine.dispose()


def _missing(connection: Connection) -> list[str]:
    names = _names()
    if not inspect(connection).has_table("alembic_version"):
        return names
    current = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if current is None:
        return names
    if current not in names:
        raise StoreUnavailable(f"the store is not of this version: it has {current}, which this program does not know")
    return names[names.index(current) + 1 :]


def _names() -> list[str]:
    return sorted(path.stem for path in (SCRIPTS / "versions").glob("[0-9]*.py"))


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  see above
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")
