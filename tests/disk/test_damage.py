"""A damaged row stands before nobody, a damaged file is set aside, and what can be read of it comes back."""

import os
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.disk import Damaged, Disk
from hub.errors import ConfigurationError
from hub.events import Message
from hub.salvage import read
from tests.contract.buses import message
from tests.disk.support import open_disk, refused


def change(path: Path, statement: str, *values: Any) -> None:
    """As a disk would: behind everybody's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute(statement, values).rowcount == 1


def moved(directory: Path) -> list[Path]:
    return list(directory.glob("*.damaged-*"))


async def filled(directory: Path, count: int, size: int = 700) -> list[Message]:
    """A file in which so many events wait, and two requests are in quarantine; closed."""
    async with AsyncExitStack() as stack:
        disk = await open_disk(stack, directory)
        sent = [message(n=n, name="Peña €", filler="x" * size) for n in range(count)]
        for one in sent:
            await disk.keep([one])
        for n in range(2):
            await disk.quarantine(refused(body=bytes([n]) * 300))
    return sent


async def events(disk: Disk) -> list[Message]:
    """All that wait, but for what tells of the quarantine."""
    found: list[Message] = []
    while claimed := await disk.claim(500):
        found += [one for _, one in claimed]
    return [one for one in found if not one.routing_key.startswith("callback.")]


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE outbox SET body = CAST(replace(body, 'x', 'y') AS BLOB) WHERE seq = 3",
        "UPDATE outbox SET routing_key = 'call.other.ended' WHERE seq = 3",
        "UPDATE outbox SET routing_key = CAST(x'ff00ff' AS TEXT) WHERE seq = 3",
        "UPDATE outbox SET headers = x'7b' WHERE seq = 3",
        "UPDATE outbox SET headers = '[1]', crc = NULL WHERE seq = 3",
        "UPDATE outbox SET crc = crc + 1 WHERE seq = 3",
        "UPDATE outbox SET crc = 'none' WHERE seq = 3",
    ],
)
async def test_a_damaged_event_is_set_aside_by_its_number_and_the_others_are_not_touched(
    tmp_path: Path, stack: AsyncExitStack, damage: str
) -> None:
    sent = await filled(tmp_path, 6)
    change(tmp_path / "outbox.db", damage)
    disk = await open_disk(stack, tmp_path)
    with capture_logs() as logs:
        assert await events(disk) == [one for n, one in enumerate(sent) if n != 2]
    assert [(log["event"], log["table"], log["seq"]) for log in logs] == [("outbox.row_damaged", "outbox", 3)]
    assert await disk.waiting() == 7
    [aside] = await disk.damaged(10)
    assert (aside.origin, aside.seq) == ("outbox", 3)
    assert set(aside.content) == {"routing_key", "headers", "body", "crc"}
    assert await disk.put_back([aside.id]) == [], "what is damaged is never published"
    assert await disk.discard([aside.id]) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE quarantine SET body = x'00' WHERE seq = 1",
        "UPDATE quarantine SET source = CAST(x'ff' AS TEXT) WHERE seq = 1",
        "UPDATE quarantine SET received_at = 'yesterday', crc = NULL WHERE seq = 1",
    ],
)
async def test_a_damaged_request_is_set_aside_likewise(tmp_path: Path, stack: AsyncExitStack, damage: str) -> None:
    await filled(tmp_path, 1)
    change(tmp_path / "outbox.db", damage)
    disk = await open_disk(stack, tmp_path)
    with capture_logs() as logs:
        assert [kept.seq for kept in await disk.quarantined(10)] == [2]
    assert [(log["event"], log["table"], log["seq"]) for log in logs] == [("outbox.row_damaged", "quarantine", 1)]
    assert [kept.seq for kept in await disk.quarantined(10)] == [2]
    assert [one.origin for one in await disk.damaged(10)] == ["quarantine"]


async def test_a_row_of_an_earlier_version_is_good_without_a_checksum(tmp_path: Path, stack: AsyncExitStack) -> None:
    sent = await filled(tmp_path, 2)
    change(tmp_path / "outbox.db", "UPDATE outbox SET crc = NULL WHERE seq = 1")
    assert await events(await open_disk(stack, tmp_path)) == sent


async def test_counts_that_are_damaged_are_made_anew_at_the_start(tmp_path: Path, stack: AsyncExitStack) -> None:
    await filled(tmp_path, 4)
    change(tmp_path / "outbox.db", "UPDATE held SET events = 1000000, bytes = 1 << 60")
    change(tmp_path / "outbox.db", "UPDATE quarantine_size SET bytes = 1 << 60")
    disk = await open_disk(stack, tmp_path)
    assert await disk.waiting() == 6
    await disk.keep([message()])
    await disk.quarantine(refused())


# --- the file --------------------------------------------------------------------------------------------------------


async def restarted(stack: AsyncExitStack, directory: Path) -> tuple[Disk, Path]:
    """A disk whose start has found damage, and where it put the file."""
    with capture_logs() as logs:
        disk = await open_disk(stack, directory)
    [told] = [log for log in logs if log["event"] == "journal.damaged"]
    assert told["log_level"] == "critical"
    assert told["salvage"] == f"trunkline outbox salvage {told['moved_to']}"
    assert not [log for log in logs if log["event"] == "outbox.tail_lost"], "what is in the other file is not lost"
    return disk, Path(told["moved_to"])


def no_database(path: Path) -> None:
    path.write_bytes(b"these are no pages of a database" * 2000)


def broken_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(100))


def broken_root(path: Path) -> None:
    """The page above all rows of the outbox."""
    with closing(sqlite3.connect(path)) as other:
        (root,) = other.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'outbox'").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))


@pytest.mark.parametrize("damage", [broken_header, broken_root])
async def test_a_damaged_file_is_set_aside_and_all_that_can_be_read_comes_back_once(
    tmp_path: Path, stack: AsyncExitStack, damage: Any
) -> None:
    sent = await filled(tmp_path, 60)
    damage(tmp_path / "outbox.db")
    disk, aside = await restarted(stack, tmp_path)
    assert await disk.waiting() == 0
    await disk.keep([fresh := message()])
    salvaged = await disk.salvage(aside)
    assert (salvaged.events, salvaged.requests, salvaged.unreadable) == (62, 2, 0)
    again = await disk.salvage(aside)
    assert (again.events, again.requests, again.there) == (0, 0, 64)
    assert await events(disk) == [*sent, fresh], "in the order of acceptance"
    assert [kept.request.body for kept in await disk.quarantined(10)] == [bytes([n]) * 300 for n in range(2)]


async def test_long_rows_come_back_whole_from_pages_and_from_a_wal(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        sent = [message(n=n, filler="x" * size) for n, size in enumerate((0, 3000, 4000, 5000, 50_000, 900_000))]
        await disk.keep(sent)
        aside = tmp_path / "aside"
        for suffix in ("", "-wal"):
            (tmp_path / f"aside{suffix}").write_bytes((tmp_path / f"outbox.db{suffix}").read_bytes())
        await disk.remove([seq for seq, _ in await disk.claim(500)])
    assert sorted(seq for table, seq, _, _ in read(aside) if table == "outbox") == [1, 2, 3, 4, 5, 6]
    elsewhere = await open_disk(stack, tmp_path / "other")
    assert (await elsewhere.salvage(aside)).events == 6
    assert await events(elsewhere) == sent


async def test_what_was_handed_over_does_not_come_back_from_a_sound_file(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        for n in range(300):
            await disk.keep([message(n=n, filler="x" * 500)])
        await disk.remove([seq for seq, _ in await disk.claim(290)])
    assert sorted(seq for _, seq, _, _ in read(tmp_path / "outbox.db")) == list(range(291, 301))


async def test_a_file_of_which_nothing_can_be_read_is_set_aside_too(tmp_path: Path, stack: AsyncExitStack) -> None:
    await filled(tmp_path, 3)
    no_database(tmp_path / "outbox.db")
    disk, aside = await restarted(stack, tmp_path)
    assert aside.read_bytes().startswith(b"these are no pages")
    assert (await disk.salvage(aside)).events == 0
    assert "trunkline outbox salvage" in disk.state()[1]


async def test_any_bytes_at_all_can_be_salvaged_and_give_nothing_that_was_never_kept(tmp_path: Path) -> None:
    sent = await filled(tmp_path, 30)
    whole = (tmp_path / "outbox.db").read_bytes()
    random = Random(11)  # noqa: S311
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(random.choice((1, 20, 400))):
            broken[random.randrange(len(broken))] = random.randrange(256)
        place = tmp_path / "broken"
        place.write_bytes(broken[: random.randrange(len(broken))] if random.random() < 0.3 else broken)
        async with AsyncExitStack() as stack:
            fresh = tmp_path / f"{random.random()}"
            disk = await open_disk(stack, fresh)
            await disk.salvage(place)
            assert {one.id for one in await events(disk)} <= {one.id for one in sent}
            assert all(one in sent for one in await events(disk))


async def test_a_wal_without_its_file_is_set_aside_and_read(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        disk = await open_disk(first, tmp_path)
        await disk.keep(sent := [message(n=n) for n in range(5)])
        wal = (tmp_path / "outbox.db-wal").read_bytes()
    (tmp_path / "outbox.db").unlink()
    (tmp_path / "outbox.db-wal").write_bytes(wal)
    disk, aside = await restarted(stack, tmp_path)
    aside.touch()
    assert (await disk.salvage(aside)).events == 5
    assert await events(disk) == sent


async def test_damage_that_ended_a_process_is_found_by_the_next_start_however_large_the_file(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path, 60)
    broken_root(tmp_path / "outbox.db")
    monkeypatch.setattr("hub.opening._LOOK", 0.0)
    (tmp_path / "outbox.db.suspect").touch()
    disk, _ = await restarted(stack, tmp_path)
    assert not (tmp_path / "outbox.db.suspect").exists()
    assert await disk.waiting() == 0


async def test_a_file_that_others_use_is_not_moved_under_them(tmp_path: Path, stack: AsyncExitStack) -> None:
    async with AsyncExitStack() as first:
        using = await open_disk(first, tmp_path)
        await using.keep([message()])
        (tmp_path / "outbox.db.suspect").touch()
        joined = await open_disk(stack, tmp_path)  # it is sound: so it may be joined
        assert await joined.waiting() == 1
    assert not moved(tmp_path)


async def test_a_newer_programs_file_is_refused_and_not_moved(tmp_path: Path, stack: AsyncExitStack) -> None:
    await filled(tmp_path, 1)
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="version 99"):
        await open_disk(stack, tmp_path)
    assert not moved(tmp_path)


# --- what the bus refuses --------------------------------------------------------------------------------------------


async def test_an_event_that_was_refused_too_often_is_set_aside_whole_and_can_be_put_back(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    disk = await open_disk(stack, tmp_path)
    await disk.keep(sent := [message(n=n) for n in range(3)])
    with capture_logs() as logs:
        told = [await disk.refused({2: "too large"}, 3) for _ in range(4)]
    assert told == [[], [], [], [2]]
    assert [(log["event"], log["seq"], log["reason"]) for log in logs] == [("outbox.set_aside", 2, "too large")]
    assert await events(disk) == [sent[0], sent[2]]
    [aside] = await disk.damaged(10)
    assert isinstance(aside, Damaged)
    assert aside.reason == "the bus refused it 4 times: too large"
    assert await disk.put_back([aside.id]) == [aside.id]
    assert await events(disk) == [sent[1]]
    assert await disk.damaged(10) == []
