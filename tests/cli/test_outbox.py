"""``trunkline outbox``: on the ingress's own disk, while an ingress runs or not."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import orjson

from hub.config import load
from hub.disk import Disk
from tests.cli.command import trunkline
from tests.contract.buses import message

T = TypeVar("T")


def on_the_disk(home: Path, use: Callable[[Disk], Awaitable[T]]) -> T:
    """Something done with the configured disk."""
    outbox = load(home / "trunkline.toml").outbox

    async def work() -> T:
        disk = Disk(home / outbox.path, max_bytes=1 << 30, quarantine_bytes=1 << 30)
        await disk.start()
        try:
            return await use(disk)
        finally:
            await disk.close()

    return asyncio.run(work())


async def keep(disk: Disk) -> None:
    await disk.keep([message(n=n) for n in range(5)])


async def waiting(disk: Disk) -> int:
    return await disk.waiting()


def file_of(home: Path) -> Path:
    return home / load(home / "trunkline.toml").outbox.path


def test_a_damaged_file_is_moved_by_a_start_and_salvaged_by_a_command(home: Path) -> None:
    on_the_disk(home, keep)
    file = file_of(home)
    file.write_bytes(b"\x00" * 100 + file.read_bytes()[100:])
    said = trunkline("outbox", "list", at=home)
    assert (said.status, said.out) == (0, "none\n")
    assert "journal.damaged" in said.err, "whoever starts first says where it went"
    [aside] = [path for path in file.parent.glob("*.damaged-*") if not path.name.endswith(("-wal", "-shm"))]
    assert aside.name in said.err

    said = trunkline("outbox", "salvage", str(aside), at=home)
    assert said.status == 0
    assert said.out.startswith("salvage: 5 events and 0 requests put back, 0 were there already, 0 are damaged")
    assert on_the_disk(home, waiting) == 5
    again = trunkline("outbox", "salvage", str(aside), at=home)
    assert again.out.startswith("salvage: 0 events and 0 requests put back, 5 were there already")


def test_what_cannot_be_salvaged_is_a_wrong_question(home: Path) -> None:
    on_the_disk(home, keep)
    for name, complaint in (
        ("nothing.db", "found no file nothing.db"),
        (str(file_of(home)), "is the outbox itself"),
    ):
        said = trunkline("outbox", "salvage", name, at=home)
        assert said.status == 2
        assert complaint in said.err


def test_rows_that_were_set_aside_are_listed_tried_again_and_forgotten(home: Path) -> None:
    on_the_disk(home, keep)

    async def refuse(disk: Disk) -> None:
        await disk.refused({1: "too large", 2: "too large"}, 0)

    on_the_disk(home, refuse)
    with closing(sqlite3.connect(file_of(home), isolation_level=None)) as other:
        other.execute("UPDATE outbox SET body = x'00' WHERE seq = 3")

    async def claim(disk: Disk) -> None:
        await disk.release([seq for seq, _ in await disk.claim(10)])

    on_the_disk(home, claim)
    listed = orjson.loads(trunkline("outbox", "list", "--json", at=home).out)
    assert [(one["id"], one["table"], one["seq"]) for one in listed] == [(n, "outbox", n) for n in (1, 2, 3)]
    assert "ce-id" in listed[0]["content"]["headers"]
    assert "the bus refused it 1 times: too large" in trunkline("outbox", "list", at=home).out

    assert trunkline("outbox", "retry", at=home).out == "retry: 3 would be (dry run; --yes does it)\n"
    said = trunkline("outbox", "retry", "--yes", at=home)
    assert (said.status, said.out) == (1, "retry: 2 of 3 done\n")
    assert "3 is damaged, or not there: it stays" in said.err
    assert on_the_disk(home, waiting) == 4

    assert trunkline("outbox", "discard", at=home).out == "discard: 1 would be (dry run; --yes does it)\n"
    assert trunkline("outbox", "discard", "3", at=home).out == "discard: 1 of 1 done\n"
    assert trunkline("outbox", "discard", "3", at=home).status == 1
    assert trunkline("outbox", "list", at=home).out == "none\n"


def test_without_an_outbox_it_says_what_is_missing(home: Path) -> None:
    said = trunkline("outbox", "list", at=home)
    assert said.status == 2
    assert "outbox.path: found no file" in said.err
