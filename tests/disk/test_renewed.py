"""What a process finds that starts after a sync has failed: pages that it can read and that are on no disk.

What that does to accepted events is shown where power cuts are (tests/simulation); here, that nothing is read before.
"""

import asyncio
import os
import shutil
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from hub import opening
from tests.contract.buses import message
from tests.disk.support import open_disk


async def killed_with_an_event(directory: Path) -> Path:
    """A directory as a killed ingress leaves it: its one event is in the ``-wal``."""
    left = directory / "left"
    left.mkdir()
    async with AsyncExitStack() as stack:
        disk = await open_disk(stack, directory)
        await disk.keep([message()])
        for name in ("outbox.db", "outbox.db-wal"):
            shutil.copy(directory / name, left / name)
    return left


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, in its order."""
    done: list[str] = []

    def telling(module: Any, name: str) -> None:
        real = getattr(module, name)

        def tell(*args: Any, **options: Any) -> Any:
            done.append(name)
            return real(*args, **options)

        monkeypatch.setattr(module, name, tell)

    telling(os, "pwrite")
    telling(os, "fdatasync")
    telling(sqlite3, "connect")
    return done


async def test_a_wal_that_was_left_is_written_again_and_synced_before_anybody_reads_it(
    tmp_path: Path, told: list[str]
) -> None:
    left = await killed_with_an_event(tmp_path)
    told.clear()
    async with AsyncExitStack() as stack:
        disk = await open_disk(stack, left)
        assert await disk.waiting() == 1
    assert told[: told.index("connect")] == ["pwrite", "fdatasync"]


async def test_writing_it_again_changes_no_byte(tmp_path: Path) -> None:
    left = await killed_with_an_event(tmp_path)
    before = (left / "outbox.db-wal").read_bytes()
    assert before
    opening.renew(left / "outbox.db")
    assert (left / "outbox.db-wal").read_bytes() == before


async def test_a_file_that_others_use_is_left_to_them(tmp_path: Path, told: list[str]) -> None:
    async with AsyncExitStack() as stack:
        first = await open_disk(stack, tmp_path)
        await first.keep([message()])
        told.clear()
        await open_disk(stack, tmp_path)
        assert told[0] == "connect"


async def test_a_file_without_a_wal_needs_nothing(tmp_path: Path) -> None:
    opening.renew(tmp_path / "outbox.db")
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
