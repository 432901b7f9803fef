"""Rows W08 to W14: the database's bad days, under load.

With ``FAULTS=full`` each fault is a row of its own, many times; else all of them happen to one hub, one after another.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import pytest

from tests.faults.proxy import COMMIT, Proxy
from tests.faults.scale import FULL, at
from tests.faults.trial import Trial, ask, trial
from tests.hub import until
from tests.servers.postgres import SUPERUSER, PostgreSQL

STATEMENT: Final = 25.0  # seconds, of a statement of the store
DISK: Final = "400m"  # of the tablespace: an empty database has 8 MB, the callbacks of a long row 100


class Scene:
    """The server, the line to it, the database on a small disk of its own, and the hub beyond."""

    def __init__(self, server: PostgreSQL, url: str, line: Proxy, disk: Path, row: Trial) -> None:
        self.server = server
        self.url = url
        self.database = url.rpartition("/")[2]
        self.line = line
        self.disk = disk
        self.row = row

    def processes(self) -> list[int]:
        """The server and all that it has started."""
        postmaster = psutil.Process(self.server.pid)
        return [postmaster.pid, *(child.pid for child in postmaster.children(recursive=True))]

    async def sql(self, statement: str) -> list[asyncpg.Record]:
        """On a connection of the test's own, to another database."""
        connection = await asyncpg.connect(self.server.url, timeout=10, command_timeout=10)
        try:
            return list(await connection.fetch(statement))
        finally:
            connection.terminate()

    async def paused(self, more_than: int) -> None:
        """Waits until a worker has met the fault."""

        async def met() -> bool:
            return self.pauses() > more_than

        await until(met, within=60)

    def pauses(self) -> int:
        """How often the workers found the store unavailable."""
        here = self.row.here
        return sum(here.said(number, event) for number in (1, 2) for event in ("worker.paused", "persistence.waiting"))


async def crashed(scene: Scene) -> None:
    """W08: `pg_ctl restart -m immediate`."""
    pid = scene.server.pid
    await asyncio.to_thread(scene.server.stop, "immediate")
    await scene.row.load.accepts(10)
    await asyncio.to_thread(scene.server.start)
    assert scene.server.pid != pid
    await scene.row.recovers()


async def backends_terminated(scene: Scene) -> None:
    """W08: every connection of the database is ended by the server."""
    ended = await scene.sql(
        "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity"
        f" WHERE datname = '{scene.database}' AND pid <> pg_backend_pid()"
    )
    assert [row["ended"] for row in ended].count(True) >= 2  # those of two workers
    await scene.row.recovers()


async def commit_unanswered(scene: Scene) -> None:
    """W09: the server commits, and whoever asked for it never hears of it."""
    sprung = scene.line.sprung
    scene.line.trap(COMMIT)

    async def sprang() -> bool:
        return scene.line.sprung > sprung

    await until(sprang)
    await scene.row.recovers()


async def read_only(scene: Scene) -> None:
    """W11: the primary is one no longer."""
    pauses = scene.pauses()
    await scene.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        await scene.sql("SELECT pg_reload_conf()")
        await scene.paused(pauses)
        assert await ask(scene.url, "SELECT 1 WHERE current_setting('transaction_read_only') = 'on'")
    finally:
        await scene.sql("ALTER SYSTEM RESET default_transaction_read_only")  # this is no transaction that writes
        await scene.sql("SELECT pg_reload_conf()")
    await scene.row.recovers()


async def stopped(scene: Scene) -> None:
    """W12: SIGSTOP; no connection breaks and none answers."""
    frozen = scene.processes()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        await scene.row.load.accepts(1)
        assert {psutil.Process(pid).status() for pid in frozen} == {psutil.STATUS_STOPPED}
        await asyncio.sleep(at(quick=3, full=60))  # the fault is a time
        await scene.row.load.accepts(1)
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    await scene.row.recovers()


async def statement_hangs(scene: Scene) -> None:
    """W13: somebody has locked the table; a statement waits for as long as it may, and those behind it with it."""
    locker = await asyncpg.connect(scene.url, timeout=10)
    pauses = scene.pauses()
    waiting = "SELECT count(*) AS waiting FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    try:
        await locker.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")

        async def hangs() -> bool:
            return bool((await scene.sql(waiting))[0]["waiting"])

        await until(hangs)
        if FULL:  # until the server gives the statements up
            await asyncio.wait_for(scene.paused(pauses), STATEMENT * 2)
        await scene.row.load.accepts(20)
    finally:
        locker.terminate()
    await scene.row.recovers()


async def disk_full(scene: Scene) -> None:
    """W14: 53100, `could not extend file`."""
    said = scene.server.log.read_text().count("No space left on device")
    pauses = scene.pauses()
    filler = scene.disk / "filler"
    await asyncio.to_thread(_fill, filler)
    try:
        await scene.paused(pauses)
        assert scene.server.log.read_text().count("No space left on device") > said
    finally:
        filler.unlink()
    await scene.row.recovers()


def _fill(filler: Path) -> None:
    for size in (1 << 20, 1 << 12):  # whole megabytes, and then the last page
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(size))


Fault = Callable[[Scene], Awaitable[None]]
FAULTS: Final[dict[str, tuple[Fault, int]]] = {
    "W08 crash and restart": (crashed, at(quick=2, full=20)),
    "W08 backends terminated": (backends_terminated, at(quick=3, full=50)),
    "W09 COMMIT without an answer": (commit_unanswered, at(quick=3, full=50)),
    "W11 read-only primary": (read_only, at(quick=1, full=5)),
    "W12 SIGSTOP": (stopped, 1),
    "W13 statements hang": (statement_hangs, at(quick=1, full=3)),
    "W14 disk full": (disk_full, at(quick=1, full=5)),
}
ROWS: Final = list(FAULTS) if FULL else [", ".join(FAULTS)]


@pytest.fixture
def small_disk(postgres: PostgreSQL) -> Iterator[Path]:
    """A file system that is soon full; only root may have one."""
    place = postgres.directory / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
    place.rmdir()


@pytest.fixture
def database(postgres: PostgreSQL, small_disk: Path) -> Iterator[str]:
    """URL of a database that lies on the small disk."""
    postgres.start()
    home = small_disk / "tablespace"
    home.mkdir()
    shutil.chown(home, SUPERUSER)
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{home}'")
    postgres.execute("CREATE DATABASE on_small TABLESPACE small")
    url = postgres.url.rpartition("/")[0] + "/on_small"
    yield url
    postgres.start()
    postgres.drop_database(url)
    postgres.execute("DROP TABLESPACE small")


@pytest.fixture
async def scene(
    amqp_url: str, postgres: PostgreSQL, database: str, small_disk: Path, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with Proxy(database) as line, trial(tmp_path, amqp_url, line.url, witness=database) as made:
        yield Scene(postgres, database, line, small_disk, made)


@pytest.mark.timeout(at(quick=240, full=1500))
@pytest.mark.parametrize("row", ROWS)
async def test_every_answer_is_200_nothing_is_lost_and_nothing_is_there_twice(
    row: str, scene: Scene, tmp_path: Path
) -> None:
    planned = [fault for name, (fault, times) in FAULTS.items() if name in row for _ in range(times)]
    for fault in planned:
        await fault(scene)
    await scene.row.ends(row, len(planned), tmp_path / "oracle")
