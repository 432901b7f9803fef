"""Brings a database's tables to this version. Two processes may start at once: one works, the other waits for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, text
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
        return _names(ScriptDirectory(str(SCRIPTS)), ())
    async with _connected(url) as connection:
        return await connection.run_sync(_missing)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = open_engine(url, pooled=False, patient=True)
    try:
        async with engine.connect() as connection:
            yield connection
    except (CommandError, RevisionError) as error:
        raise StoreUnavailable(f"the store is not of this version: {error}") from error
    except Exception as error:
        if meaning(error) is Meaning.BUG:
            raise
        raise unavailable(error) from error
    finally:
        await engine.dispose()


def _missing(connection: Connection) -> list[str]:
    return _names(ScriptDirectory(str(SCRIPTS)), MigrationContext.configure(connection).get_current_heads())


def _names(scripts: ScriptDirectory, heads: tuple[str, ...]) -> list[str]:
    wanted = scripts.iterate_revisions("heads", heads or "base")
    return [script.revision for script in wanted][::-1]


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")
