"""Migrations, over each store."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from hub.errors import ConfigurationError, StoreUnavailable
from hub.store.engine import WRITES, open_engine
from hub.store.tables import metadata
from hub.store.upgrade import pending, upgrade
from tests.contract.stores import MIGRATIONS, Place

ALL = MIGRATIONS


async def test_an_upgrade_applies_what_is_missing_and_then_nothing(place: Place) -> None:
    assert await pending(place.url) == ALL
    assert await upgrade(place.url) == ALL
    assert await pending(place.url) == []
    assert await upgrade(place.url) == []


async def test_of_many_that_upgrade_at_once_one_does_the_work(place: Place) -> None:
    done = await asyncio.gather(*(upgrade(place.url) for _ in range(6)))
    assert sorted(done, key=len) == [[]] * 5 + [ALL]
    assert await pending(place.url) == []


async def test_the_migrations_make_the_tables_that_the_statements_speak_of(place: Place) -> None:
    await upgrade(place.url)

    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    engine = open_engine(place.url, pooled=False)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_a_database_of_a_newer_version_is_left_alone(place: Place) -> None:
    await upgrade(place.url)
    engine = open_engine(place.url, pooled=False)
    async with engine.connect() as connection:
        await connection.execution_options(**WRITES)
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
        await connection.commit()
    await engine.dispose()
    for verb in (pending, upgrade):
        with pytest.raises(StoreUnavailable, match="9999_later"):
            await verb(place.url)


async def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path: object) -> None:
    for verb in (pending, upgrade):
        with pytest.raises(StoreUnavailable):
            await verb("postgresql://user:hush@127.0.0.1:1/none")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://user:hush@host/db", "store.db", ""])
async def test_a_url_that_is_no_stores_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.url: .* expected sqlite") as refused:
        await pending(url)
    assert "hush" not in str(refused.value)
