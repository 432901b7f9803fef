"""Promises of hub/journal.py."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.errors import ConfigurationError, NotDurable
from hub.journal import EXIT_IO_ERROR, Journal, Write
from tests.hub import until

ROOT = Path(__file__).parents[2]
SCHEMA = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",)


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[Journal]:
    journal = Journal(path, settings.pop("migrations", SCHEMA), **settings)
    await journal.start()
    try:
        yield journal
    finally:
        await journal.close()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path / "notes.db") as journal:
        yield journal


def note(text: str, connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT INTO notes (text) VALUES (?)", (text,)).lastrowid or 0


def texts(connection: sqlite3.Connection) -> set[str]:
    return {text for (text,) in connection.execute("SELECT text FROM notes")}


def trace_into(seen: list[str], connection: sqlite3.Connection) -> None:
    connection.set_trace_callback(seen.append)


def io_error(connection: sqlite3.Connection) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    raise error


async def test_a_write_is_in_the_file_when_it_has_returned(journal: Journal) -> None:
    assert await journal.run(partial(note, "a")) == 1
    with sqlite3.connect(journal.path) as other:
        assert texts(other) == {"a"}
    other.close()


async def test_every_commit_is_synced_and_the_file_is_its_owners_alone(journal: Journal) -> None:
    def pragma(name: str, connection: sqlite3.Connection) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert await journal.run(partial(pragma, "journal_mode")) == "wal"
    assert await journal.run(partial(pragma, "synchronous")) == 2
    for name in ("notes.db", "notes.db-wal"):
        assert stat.S_IMODE(journal.path.with_name(name).stat().st_mode) == 0o600


async def test_writes_that_wait_together_share_one_commit(journal: Journal) -> None:
    statements: list[str] = []
    await journal.run(partial(trace_into, statements))
    statements.clear()
    await asyncio.gather(*(journal.run(partial(note, f"{n}")) for n in range(1000)))
    commits = statements.count("COMMIT")
    assert 1000 / 256 <= commits < 50
    assert await journal.run(texts) == {f"{n}" for n in range(1000)}


async def test_a_write_that_fails_does_not_fail_its_neighbours(journal: Journal) -> None:
    def half(connection: sqlite3.Connection) -> None:
        note("half", connection)
        raise ZeroDivisionError

    writes: list[Write] = [partial(note, "a"), half, partial(note, "a"), partial(note, "b")]
    first, broken, twice, last = await asyncio.gather(*(journal.run(write) for write in writes), return_exceptions=True)
    assert isinstance(first, int)
    assert isinstance(broken, ZeroDivisionError)
    assert isinstance(twice, sqlite3.IntegrityError)
    assert isinstance(last, int)
    assert await journal.run(texts) == {"a", "b"}
    assert journal.state() == (True, "")


async def test_a_cancelled_awaiter_leaves_no_transaction_open(journal: Journal) -> None:
    for n in range(50):
        waiting = asyncio.create_task(journal.run(partial(note, f"{n}")))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await journal.run(partial(note, "after"))
    other = sqlite3.connect(journal.path, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    assert "after" in texts(other)
    other.close()


async def test_a_full_disk_is_not_durable_still_deletes_and_passes(journal: Journal) -> None:
    def allow(pages: int, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def forget(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM notes WHERE text = 'a'")

    await journal.run(partial(note, "a"))
    await journal.run(partial(allow, 6))
    long = partial(note, "x" * 100_000)
    full, deleted, small = await asyncio.gather(
        journal.run(long), journal.run(forget), journal.run(partial(note, "b")), return_exceptions=True
    )
    assert isinstance(full, NotDurable)
    assert deleted is None
    assert isinstance(small, int)
    assert await journal.run(texts) == {"b"}
    with pytest.raises(NotDurable):
        await journal.run(long)
    usable, why = journal.state()
    assert not usable
    assert "full" in why
    await journal.run(partial(allow, 10_000))
    assert isinstance(await journal.run(long), int)
    assert journal.state() == (True, "")


async def test_a_file_that_somebody_else_holds_is_not_durable_and_passes(tmp_path: Path) -> None:
    async with opened(tmp_path / "notes.db", busy_timeout=0.05) as journal:
        other = sqlite3.connect(journal.path)
        other.execute("BEGIN IMMEDIATE")
        writes = [journal.run(partial(note, f"{n}")) for n in range(20)]
        assert {type(result) for result in await asyncio.gather(*writes, return_exceptions=True)} == {NotDurable}
        other.close()
        await journal.run(partial(note, "now"))
        assert await journal.run(texts) == {"now"}


async def test_after_an_io_error_nothing_is_committed_ever_again(tmp_path: Path) -> None:
    fatal: list[BaseException] = []
    async with opened(tmp_path / "notes.db", on_fatal=fatal.append) as journal:
        neighbour, broken = await asyncio.gather(
            journal.run(partial(note, "a")), journal.run(io_error), return_exceptions=True
        )
        assert isinstance(neighbour, NotDurable)
        assert isinstance(broken, NotDurable)
        with pytest.raises(NotDurable, match="disk I/O error"):
            await journal.run(partial(note, "b"))
        assert [str(error) for error in fatal] == ["disk I/O error"]
        assert not journal.state()[0]


def test_an_io_error_ends_the_process_and_says_so(tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib
from hub.journal import Journal
from tests.bus.test_journal import SCHEMA, io_error
async def main():
    journal = Journal(pathlib.Path({str(tmp_path / "notes.db")!r}), SCHEMA)
    await journal.start()
    await journal.run(io_error)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == EXIT_IO_ERROR
    assert "journal.fatal" in ended.stdout + ended.stderr
    assert "disk I/O error" in ended.stdout + ended.stderr


async def test_more_writes_than_may_wait_are_refused_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "notes.db", max_waiting=10) as journal:
        results = await asyncio.gather(*(journal.run(partial(note, f"{n}")) for n in range(30)), return_exceptions=True)
        assert [type(result) for result in results] == [int] * 10 + [NotDurable] * 20
        assert isinstance(await journal.run(partial(note, "later")), int)


async def test_closing_finishes_what_waits_and_takes_nothing_more(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "notes.db", SCHEMA)
    with pytest.raises(NotDurable):
        await journal.run(texts)
    await journal.start()
    waiting = [journal.submit(partial(note, f"{n}")) for n in range(600)]
    await journal.close()
    await journal.close()
    assert len(await asyncio.gather(*waiting)) == 600
    with pytest.raises(NotDurable):
        await journal.run(texts)
    assert not journal.state()[0]


async def test_a_newer_program_adds_what_the_file_lacks_and_an_older_one_refuses_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "notes.db") as journal:
        await journal.run(partial(note, "old"))
    newer = (*SCHEMA, "ALTER TABLE notes ADD COLUMN mood TEXT; UPDATE notes SET mood = 'fine'")
    async with opened(tmp_path / "notes.db", migrations=newer) as journal:
        moods = await journal.run(lambda connection: connection.execute("SELECT text, mood FROM notes").fetchall())
        assert moods == [("old", "fine")]
    with pytest.raises(ConfigurationError, match="version 2, this program knows 1"):
        async with opened(tmp_path / "notes.db"):
            pass


async def test_many_that_open_a_new_file_at_once_make_its_schema_once(tmp_path: Path) -> None:
    journals = [Journal(tmp_path / "notes.db", SCHEMA) for _ in range(5)]
    await asyncio.gather(*(journal.start() for journal in journals))
    await asyncio.gather(*(journal.run(partial(note, f"{n}")) for n, journal in enumerate(journals)))
    assert len(await journals[0].run(texts)) == 5
    for journal in journals:
        await journal.close()


async def test_a_file_that_somebody_holds_is_waited_for_and_the_wait_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    async with opened(path):
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    more = (*SCHEMA, "ALTER TABLE notes ADD COLUMN mood TEXT")
    journal = Journal(path, more, busy_timeout=0.1)
    with capture_logs() as logs:
        starting = asyncio.create_task(journal.start())

        async def told_twice() -> bool:
            return [log["event"] for log in logs].count("journal.waiting") >= 2

        await until(told_twice)
        assert not starting.done()
        holder.close()
        await starting
    assert {log["reason"] for log in logs} == {"database is locked"}
    await journal.run(partial(note, "a"))
    await journal.close()


async def test_a_start_that_waits_can_be_given_up(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    journal = Journal(path, SCHEMA, busy_timeout=0.05)
    starting = asyncio.create_task(journal.start())
    await asyncio.sleep(0)
    thread = journal._thread
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert thread is not None
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert not journal.state()[0]
    holder.close()


async def test_a_trigger_is_one_statement_of_a_migration(tmp_path: Path) -> None:
    counted = """
    CREATE TABLE count (n INTEGER); INSERT INTO count VALUES (0);
    CREATE TRIGGER one_more AFTER INSERT ON notes BEGIN UPDATE count SET n = n + 1; UPDATE count SET n = n + 1; END;
    CREATE TABLE last (x)
    """
    async with opened(tmp_path / "notes.db", migrations=(*SCHEMA, counted)) as journal:
        await journal.run(partial(note, "a"))
        assert await journal.run(lambda connection: connection.execute("SELECT n FROM count").fetchone()) == (2,)


async def test_many_bytes_may_not_wait(tmp_path: Path) -> None:
    async with opened(tmp_path / "notes.db", max_waiting_bytes=1000) as journal:
        results = await asyncio.gather(
            *(journal.run(partial(note, f"{n}"), 300) for n in range(6)), return_exceptions=True
        )
        assert [type(result) for result in results] == [int] * 3 + [NotDurable] * 3
        assert isinstance(await journal.run(partial(note, "huge"), 5000), int), "alone it may be as long as it likes"


@pytest.mark.parametrize("damage", ["a directory", "no database", "below a file"])
async def test_a_file_that_cannot_be_used_is_refused_with_its_path(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "notes.db"
    match damage:
        case "a directory":
            path.mkdir()
        case "no database":
            path.write_bytes(b"these are no pages of a database" * 100)
        case _:
            path.write_bytes(b"")
            path /= "notes.db"
    journal = Journal(path, SCHEMA)
    with pytest.raises(ConfigurationError, match=str(path)):
        await journal.start()
    assert not journal.state()[0]
    await journal.close()
