"""What only SQLite can get wrong."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from hub.errors import ConfigurationError, StoreUnavailable
from hub.ports import CallFilter
from hub.store import engine as engines
from hub.store.engine import open_engine
from hub.store.sql import SqlStore
from tests.contract.stores import Place, record
from tests.store.evidence import NOON, TIMING, after, call_id, expected, started, whole_call


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("sqlite", f"sqlite:///{tmp_path}/store.db")


async def test_every_connection_syncs_its_commits_and_waits_its_turn(place: Place) -> None:
    async with place.store():
        pass
    engine = open_engine(place.url)
    async with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            for pragma, value in (
                ("synchronous", 2),
                ("journal_mode", "wal"),
                ("foreign_keys", 1),
                ("busy_timeout", 10000),
            ):
                assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value
    await engine.dispose()


async def test_readers_read_while_somebody_writes(place: Place) -> None:
    async with place.store() as store:
        await store.apply(whole_call(1), NOON)
        with sqlite3.connect(place.url.removeprefix("sqlite:///"), isolation_level=None) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(5):
                assert (await record(store, call_id(1)))["revision"] == 4
                assert len((await store.calls(CallFilter(), 10, None)).items) == 1
            stranger.execute("ROLLBACK")
        stranger.close()


async def test_a_file_that_is_locked_for_too_long_is_unavailable_and_then_is_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "PRAGMAS", ("busy_timeout = 50", *engines.PRAGMAS[1:]))
    async with place.store() as store:
        stranger = sqlite3.connect(place.url.removeprefix("sqlite:///"), isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.apply(whole_call(1), NOON)
        stranger.execute("ROLLBACK")
        stranger.close()
        assert (await store.apply(whole_call(1), NOON)).new == 4
        assert await store.seal(after(60)) == 1


async def test_a_file_that_is_no_database_is_unavailable(place: Place, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is a letter, not a database" * 100)
    store = SqlStore(place.url, expected=expected, timing=TIMING)
    await store.start()
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.apply([started(1)], NOON)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.ping()
    await store.close()


async def test_the_directory_of_the_file_is_made_or_named(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/a/b/store.db", expected=expected, timing=TIMING)
    await store.start()
    assert (tmp_path / "a" / "b").is_dir()
    await store.close()

    (tmp_path / "file").write_text("")
    store = SqlStore(f"sqlite:///{tmp_path}/file/store.db", expected=expected, timing=TIMING)
    with pytest.raises(ConfigurationError, match=r"store\.url: .*file"):
        await store.start()
    await store.close()


async def test_a_full_disk_is_unavailable_and_loses_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place.store() as store:
        await store.apply(whole_call(1), NOON)
    pages = sqlite3.connect(place.url.removeprefix("sqlite:///"))
    (count,) = pages.execute("PRAGMA page_count").fetchone()
    pages.close()
    monkeypatch.setattr(engines, "PRAGMAS", (*engines.PRAGMAS, f"max_page_count = {count + 2}"))
    store = SqlStore(place.url, expected=expected, timing=TIMING)
    with pytest.raises(StoreUnavailable, match="full"):
        await store.apply([event for number in range(2, 40) for event in whole_call(number)], NOON)
    assert (await store.counts())["events"] == 4
    assert await store.seal(after(60)) == 1
    await store.close()
