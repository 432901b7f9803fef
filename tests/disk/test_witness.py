"""What is missing in the outbox's file is noticed, and no number is used twice."""

import os
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from hub.disk import Disk
from hub.witness import Reach, Witness
from tests.contract.buses import message
from tests.disk.support import open_disk, refused

TABLES = ("outbox", "quarantine")


def copies(directory: Path) -> dict[str, bytes]:
    """The file and its -wal, as a copy would have them."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name in {"outbox.db", "outbox.db-wal"}}


async def keep(disk: Disk, count: int) -> None:
    for n in range(count):
        await disk.keep([message(n=n)])


async def restarted(directory: Path, stack: AsyncExitStack) -> tuple[Disk, list[EventDict]]:
    """A disk on what is there now, and what its start said about losses."""
    with capture_logs() as logs:
        disk = await open_disk(stack, directory)
    return disk, [log for log in logs if log["event"] == "outbox.tail_lost"]


async def test_a_file_that_was_restored_from_an_older_copy_is_noticed_with_what_is_missing(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        await keep(disk, 5)
        copied = copies(tmp_path)
        await keep(disk, 4)
        await disk.quarantine(refused())
    for name, content in copied.items():
        (tmp_path / name).write_bytes(content)
    disk, told = await restarted(tmp_path, stack)
    assert [(log["table"], log["missing"], log["first"], log["last"], log["log_level"]) for log in told] == [
        ("outbox", 5, 6, 10, "critical"),
        ("quarantine", 1, 1, 1, "critical"),
    ]
    assert disk.state()[0]
    assert "5 rows of outbox are missing: 6 to 10" in disk.state()[1]
    await keep(disk, 1)
    assert [seq for seq, _ in await disk.claim(10)] == [1, 2, 3, 4, 5, 11], "no number is used twice"


async def test_a_wal_that_was_left_behind_is_noticed(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        await keep(disk, 15)
        copied = copies(tmp_path)
    (tmp_path / "outbox.db").write_bytes(copied["outbox.db"])
    assert copied["outbox.db-wal"], "what was committed was in the -wal"
    (tmp_path / "outbox.db-wal").unlink(missing_ok=True)
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",), "SQLite sees nothing"
    _, told = await restarted(tmp_path, stack)
    assert [(log["missing"], log["first"], log["last"]) for log in told] == [(15, 1, 15)]


async def test_what_was_handed_over_is_not_missed(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        copied = copies(tmp_path)
        await keep(disk, 6)
        await disk.remove([seq for seq, _ in await disk.claim(4)])
    for name, content in copied.items():
        (tmp_path / name).write_bytes(content)
    disk, told = await restarted(tmp_path, stack)
    assert [(log["missing"], log["first"], log["last"]) for log in told] == [(2, 5, 6)]
    await keep(disk, 1)
    assert [seq for seq, _ in await disk.claim(10)] == [7]


async def test_a_loss_is_told_once(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        copied = copies(tmp_path)
        await keep(disk, 3)
    for name, content in copied.items():
        (tmp_path / name).write_bytes(content)
    async with AsyncExitStack() as second:
        assert len((await restarted(tmp_path, second))[1]) == 1
    assert (await restarted(tmp_path, stack))[1] == []


async def test_a_sound_file_is_no_alarm_however_many_write_it_and_however_they_end(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    for _ in range(5):
        disks = [await open_disk(stack, tmp_path) for _ in range(3)]
        for disk in disks:
            await keep(disk, 7)
        seen = Witness(tmp_path / "outbox.db.witness", TABLES)
        reached = seen.read()
        assert reached is not None
        with closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
            assert other.execute("SELECT max(seq) FROM outbox").fetchone() == (reached["outbox"].last,)
        seen.close()
        _, told = await restarted(tmp_path, stack)
        assert told == []


async def test_a_witness_that_cannot_be_written_is_told_and_costs_no_event(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    (tmp_path / "outbox.db.witness").mkdir()
    with capture_logs() as logs:
        disk = await open_disk(stack, tmp_path)
        await keep(disk, 3)
    assert [log["event"] for log in logs].count("disk.witness_failed") == 1
    assert await disk.waiting() == 3
    takes, why = disk.state()
    assert takes
    assert "outbox.db.witness cannot be written" in why


async def test_a_witness_that_cannot_be_read_is_told_and_written_anew(tmp_path: Path, stack: AsyncExitStack) -> None:
    (tmp_path / "outbox.db.witness").write_bytes(os.urandom(93))
    with capture_logs() as logs:
        disk = await open_disk(stack, tmp_path)
        await keep(disk, 2)
    assert [log["event"] for log in logs] == ["disk.witness_unreadable"]
    await disk.flush()
    again = Witness(tmp_path / "outbox.db.witness", TABLES)
    assert again.read() == {"outbox": Reach(2, 0), "quarantine": Reach(0, 0)}
    again.close()


@pytest.mark.parametrize("flip", range(0, 93, 7))
def test_a_flipped_bit_of_the_witness_is_no_number(tmp_path: Path, flip: int) -> None:
    path = tmp_path / "witness"
    made = Witness(path, TABLES)
    made.note({"outbox": Reach(7, 3), "quarantine": Reach(2, 2)})
    assert made.read() == {"outbox": Reach(7, 3), "quarantine": Reach(2, 2)}
    line = bytearray(path.read_bytes())
    line[flip] ^= 1
    path.write_bytes(line)
    assert made.read() is None
    made.close()


def test_the_witness_never_goes_back(tmp_path: Path) -> None:
    one, other = [Witness(tmp_path / "witness", TABLES) for _ in range(2)]
    one.note({"outbox": Reach(9, 4), "quarantine": Reach(1, 0)})
    other.note({"outbox": Reach(8, 5), "quarantine": Reach(1, 1)})
    assert one.read() == {"outbox": Reach(9, 5), "quarantine": Reach(1, 1)}
    one.close()
    other.close()


async def test_the_witness_is_never_ahead_of_what_is_on_the_disk(tmp_path: Path, stack: AsyncExitStack) -> None:
    disk = await open_disk(stack, tmp_path)
    await keep(disk, 2)

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO outbox (routing_key, headers, body) VALUES ('a.b.c', '{}', '')")
        connection.execute("SELECT * FROM nothing")

    with pytest.raises(sqlite3.OperationalError):
        await disk._journal.run(fails)
    assert (disk._witness.read() or {})["outbox"] == Reach(2, 0)
