"""What stands in for a disk and a store is what it says: the disk forgets, the store is the store."""

import asyncio
from pathlib import Path

import pytest

from hub.store.folding import Folding
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.simulation.disk import SECTOR, Disk, DiskFull, PowerCut, SyncFailed
from tests.simulation.store import Connection, Server, SimulatedStore, Tables
from tests.simulation.world import Options, run
from tests.store.evidence import TIMING, after, chance, expected, missed, recording, started, whole_call

LUCKS = range(200)


# --- the disk --------------------------------------------------------------------------------------------------------


def written(*, synced: bool, writes: int = 4) -> Disk:
    """A file with so many writes to as many sectors."""
    disk = Disk()
    disk.load({"file": bytes(writes * SECTOR)})
    file = disk.open("file")
    for at in range(writes):
        disk.write(file, at * SECTOR, bytes([at + 1]) * SECTOR)
    if synced:
        disk.sync(file)
    return disk


def after_a_cut(disk: Disk, luck: int) -> bytes:
    disk.cut(chance(luck))
    return disk.image()["file"]


def test_what_was_synced_survives_every_power_cut() -> None:
    wanted = written(synced=True).image()["file"]
    assert {after_a_cut(written(synced=True), luck) for luck in LUCKS} == {wanted}


def test_what_was_not_synced_may_be_gone_whole_in_part_or_torn() -> None:
    before, whole = bytes(4 * SECTOR), written(synced=False).image()["file"]
    left = {after_a_cut(written(synced=False), luck) for luck in LUCKS}
    assert {before, whole} <= left
    assert any(one[:SECTOR] == before[:SECTOR] and one[-SECTOR:] == whole[-SECTOR:] for one in left), "out of order"
    assert any(len(set(one[at : at + SECTOR])) > 1 for one in left for at in range(0, len(one), SECTOR)), "torn"


def test_a_length_that_was_not_synced_may_be_an_earlier_one() -> None:
    def grown(luck: int) -> int:
        disk = Disk()
        disk.load({"file": b"x"})
        file = disk.open("file")
        disk.write(file, 1, bytes(2 * SECTOR))
        disk.truncate(file, SECTOR)
        return len(after_a_cut(disk, luck))

    assert {1, SECTOR} < {grown(luck) for luck in LUCKS}


def test_a_name_without_a_synced_directory_may_be_gone_or_back() -> None:
    def names(luck: int) -> frozenset[str]:
        disk = Disk()
        disk.load({"old": b"1"})
        disk.delete("old", synced=False)
        disk.sync(disk.open("new"))
        disk.cut(chance(luck))
        return frozenset(disk.names)

    assert {names(luck) for luck in LUCKS} == {frozenset(some) for some in (("old", "new"), ("old",), ("new",), ())}


def test_a_kill_loses_nothing() -> None:
    disk = written(synced=False)
    before = disk.image()
    disk.killed()
    assert disk.image() == before


def test_what_a_failed_sync_left_is_read_by_programs_and_gone_with_the_power() -> None:
    disk = written(synced=False)
    disk.sync_fails_in = 1
    with pytest.raises(SyncFailed):
        disk.sync(disk.open("file"))
    seen = disk.image()["file"]
    disk.sync(disk.open("file"))  # reports no error, and writes nothing
    assert seen[:SECTOR] == b"\1" * SECTOR
    assert after_a_cut(disk, 0) == bytes(4 * SECTOR)


def test_a_full_disk_takes_what_needs_no_room() -> None:
    disk = written(synced=True)
    disk.full = True
    disk.write(disk.open("file"), 0, b"again")
    with pytest.raises(DiskFull):
        disk.write(disk.open("file"), 4 * SECTOR, b"more")


def test_the_power_goes_at_the_operation_that_was_asked_for() -> None:
    disk = written(synced=True)
    disk.cut_in = 2
    disk.write(disk.open("file"), 0, b"one")
    with pytest.raises(PowerCut):
        disk.sync(disk.open("file"))
    with pytest.raises(PowerCut):
        disk.write(disk.open("file"), 0, b"nobody is there any more")


# --- the store -------------------------------------------------------------------------------------------------------


class Nobody:
    """Looks at nothing."""

    def befell(self, fault: str) -> None:
        pass

    def committed(self, before: Tables, tables: Tables) -> None:
        pass

    def failed(self, defect: Exception) -> None:
        pass


@pytest.mark.parametrize("seed", range(4))
async def test_the_simulated_store_does_what_the_real_one_does(seed: int, tmp_path: Path) -> None:
    random = chance(seed)
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(lambda: asyncio.run(upgrade(url)))
    real = SqlStore(url, expected=expected, timing=TIMING)
    server = Server(random, Nobody())
    server.slow = 0.0
    double = SimulatedStore(server, Folding("postgresql", expected, TIMING))
    await real.start()
    events = [
        event
        for number in range(4)
        for event in (
            *whole_call(number),
            missed(number, 4, agent={"name": "Ana"}),
            started(number, 1),
            recording(number, 60),
        )
    ]
    told = random.sample(events * 2, 2 * len(events))
    try:
        while told:
            batch, told = told[:5], told[5:]
            now = after(100 - len(told))
            assert await double.apply(batch, now) == await real.apply(batch, now)
            if random.random() < 0.4:
                assert await double.seal(after(40), 2) == await real.seal(after(40), 2)
            assert await double.next_seal() == await real.next_seal()
        assert await double.seal(after(20_000)) == await real.seal(after(20_000))
        for call_id, call in server.tables.calls.items():
            assert await real.call(call_id) == call.record.encode()
        assert await double.counts() == await real.counts()
        mine, theirs = await double.claim(after(0), 50, 10), await real.claim(after(0), 50, 10)
        assert [one.message for one in mine] == [one.message for one in theirs]
        await double.published([one.seq for one in mine], after(0))
        assert await double.claim(after(11), 50, 10) == []
    finally:
        await real.close()


def test_a_statement_that_the_simulated_store_does_not_know_breaks_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's worker takes such an error for a handler's and buries the events: the run would go on without calls."""

    async def strange(connection: Connection, _: object) -> None:
        await connection.execute("SELECT a statement of tomorrow")

    monkeypatch.setattr("hub.store.folding.note", strange)
    assert "a statement of tomorrow" in (run(1, Options()).broken or "")
