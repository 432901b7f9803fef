"""The ingress's own disk keeps what it took, in its order, within its bounds."""

import shutil
import sqlite3
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from hub import disk as module
from hub.disk import Disk
from hub.errors import NotDurable, QuarantineFull
from hub.events import to_event
from tests.contract.buses import message
from tests.disk.support import fill, open_disk, refused
from tests.hub import until

FEW = 400_000


# --- outbox ----------------------------------------------------------------------------------------------------------


async def test_what_is_kept_is_claimed_oldest_first_byte_for_byte(disk: Disk) -> None:
    sent = [message(n=n, name="Peña €") for n in range(5)]
    await disk.keep(sent[:2])
    await disk.keep(sent[2:])
    claimed = await disk.claim(3) + await disk.claim(10)
    assert [one for _, one in claimed] == sent
    assert await disk.waiting() == 5
    await disk.remove([seq for seq, _ in claimed[:4]])
    assert await disk.waiting() == 1


async def test_what_is_claimed_is_nobody_elses_until_it_is_released(
    disk: Disk, tmp_path: Path, stack: AsyncExitStack
) -> None:
    other = await open_disk(stack, tmp_path)
    await disk.keep(sent := [message(), message(), message()])
    mine = await disk.claim(2)
    assert [one for _, one in await other.claim(10)] == sent[2:]
    assert await other.claim(10) == []
    await disk.release([seq for seq, _ in mine])
    assert await other.claim(10) == mine


async def test_the_claims_of_a_process_that_died_run_out(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEASE", 0.0)
    dead, heir = await open_disk(stack, tmp_path), await open_disk(stack, tmp_path)
    await dead.keep(sent := [message(), message()])
    assert len(await dead.claim(10)) == 2
    assert [one for _, one in await heir.claim(10)] == sent


async def test_what_is_kept_outlives_its_process(tmp_path: Path) -> None:
    sent = [message() for _ in range(3)]
    async with AsyncExitStack() as stack:
        await (await open_disk(stack, tmp_path)).keep(sent)
    async with AsyncExitStack() as stack:
        assert [one for _, one in await (await open_disk(stack, tmp_path)).claim(10)] == sent


async def test_a_full_outbox_refuses_says_so_and_takes_again_once_it_is_emptied(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    disk = await open_disk(stack, tmp_path, max_bytes=FEW)
    kept = await fill(disk)
    assert 5 < len(kept) < 40
    takes, why = disk.state()
    assert not takes
    assert f"{FEW} bytes" in why
    assert await disk.waiting() == len(kept)  # what was refused left nothing behind

    claimed = await disk.claim(1000)
    assert [one for _, one in claimed] == kept
    await disk.remove([seq for seq, _ in claimed])
    assert disk.state() == (True, "")
    assert len(await fill(disk)) == len(kept)


async def test_another_process_sees_that_the_outbox_is_full_and_that_it_is_not(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    one, other = [await open_disk(stack, tmp_path, max_bytes=FEW) for _ in range(2)]
    await fill(one)
    with pytest.raises(NotDurable):
        await other.keep([message()])
    claimed = await one.claim(1000)
    await one.remove([seq for seq, _ in claimed])
    assert not other.state()[0]  # it has not looked
    await other.claim(1)
    assert other.state()[0]


async def test_a_disk_that_is_closed_refuses(disk: Disk) -> None:
    await disk.close()
    assert not disk.state()[0]
    with pytest.raises(NotDurable):
        await disk.keep([message()])


async def test_the_outbox_is_bounded_by_its_own_bytes_and_not_by_those_in_quarantine(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    disk = await open_disk(stack, tmp_path, max_bytes=FEW)
    for n in range(40):
        await disk.quarantine(refused(f"line-{n}", b"x" * 20_000))
    assert disk.state() == (True, "")
    assert len(await fill(disk)) > 5


async def test_little_room_on_the_disk_is_left_to_it_and_taken_again_once_there_is_more(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1 << 30]
    asked = []

    def usage(directory: Path) -> SimpleNamespace:
        asked.append(directory)
        return SimpleNamespace(free=free[0])

    monkeypatch.setattr(shutil, "disk_usage", usage)
    disk = await open_disk(stack, tmp_path, min_free=1 << 20)
    await disk.keep([message()])
    before = len(asked)
    for _ in range(50):
        await disk.keep([message()])
    assert len(asked) - before < 50, "not for every commit"

    free[0] = 1000
    monkeypatch.setattr(module, "_LOOK_AT_THE_DISK", 0.0)
    with pytest.raises(NotDurable, match="0 MiB are free on its disk, 1 MiB stay free"):
        await disk.keep([message()])
    with pytest.raises(NotDurable, match="MiB are free"):
        await disk.quarantine(refused())
    assert not disk.state()[0]
    claimed = await disk.claim(10)
    await disk.remove([seq for seq, _ in claimed])
    assert await disk.waiting() == 41, "what is there can leave"

    free[0] = 1 << 30
    await disk.waiting()  # as the relay asks, every two seconds
    assert disk.state() == (True, "")
    await disk.keep([message()])


async def test_a_claim_is_bounded_by_bytes_too(disk: Disk) -> None:
    for size in (6 << 20, 1 << 20, 3 << 20, 10 << 20, 1):
        await disk.keep([message(filler="x" * size)])
    sizes = []
    while claimed := await disk.claim(200):
        sizes.append([len(one.body) >> 20 for _, one in claimed])
    assert sizes == [[6, 1], [3], [10], [0]]


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_clock_that_jumps_a_day_neither_stalls_a_claim_nor_ends_it(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr(module, "_LEASE", 0.6)
    one, other = [await open_disk(stack, tmp_path) for _ in range(2)]
    await one.keep(sent := [message() for _ in range(4)])
    claimed = await one.claim(2)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    assert [one for _, one in await other.claim(10)] == sent[2:], "they are still the first one's"
    await one.remove([claimed[0][0]])

    async def comes_back() -> bool:
        return [one for _, one in await other.claim(1)] == [sent[1]]

    await until(comes_back, within=5)


async def test_a_claim_from_before_the_machines_last_start_is_none(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = await open_disk(stack, tmp_path)
    await disk.keep(sent := [message()])
    assert await disk.claim(1)
    before = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: before() - 1000)
    assert [one for _, one in await disk.claim(1)] == sent


# --- quarantine ------------------------------------------------------------------------------------------------------


async def test_a_request_is_quarantined_whole_and_an_event_says_so(disk: Disk) -> None:
    quarantine_id = await disk.quarantine(sent := refused(body=b"\x00\xff{"))
    [kept] = await disk.quarantined(10)
    assert (kept.quarantine_id, kept.request) == (quarantine_id, sent)
    [(_, told)] = await disk.claim(10)
    event = to_event(told)
    assert (event.id, event.routing_key) == (quarantine_id, "callback.infocaller.quarantined")
    assert orjson.loads(told.body)["quarantine_id"] == quarantine_id


async def test_each_source_has_its_own_share_and_a_full_one_leaves_nothing_behind(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    disk = await open_disk(stack, tmp_path, share=5_000)
    await disk.quarantine(refused("line-900", b"x" * 3_000))
    with pytest.raises(QuarantineFull, match="line-900"):
        await disk.quarantine(refused("line-900", b"x" * 3_000))
    assert await disk.waiting() == 1
    await disk.quarantine(refused("desk", b"x" * 3_000))
    await disk.quarantine(refused("line-900", b"x" * 500))
    assert [kept.request.source for kept in await disk.quarantined(10)] == ["line-900", "desk", "line-900"]


async def test_a_share_is_counted_over_restarts(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        await (await open_disk(stack, tmp_path, share=5_000)).quarantine(refused(body=b"x" * 3_000))
    async with AsyncExitStack() as stack:
        disk = await open_disk(stack, tmp_path, share=5_000)
        with pytest.raises(QuarantineFull):
            await disk.quarantine(refused(body=b"x" * 3_000))


async def test_the_quarantine_is_read_in_pages_oldest_first(disk: Disk) -> None:
    made = [await disk.quarantine(refused(body=bytes([n]))) for n in range(5)]
    first = await disk.quarantined(2)
    rest = await disk.quarantined(10, first[-1].seq)
    assert [kept.quarantine_id for kept in first + rest] == made


# --- tallies ---------------------------------------------------------------------------------------------------------


async def test_tallies_survive_a_restart_and_add_up_over_processes(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        one, other = [await open_disk(stack, tmp_path) for _ in range(2)]
        one.tally("accepted")
        one.tally("accepted")
        other.tally("accepted")
        other.tally("refused")
    async with AsyncExitStack() as stack:
        again = await open_disk(stack, tmp_path)
        again.tally("accepted")
        assert await again.tallies() == {"accepted": 4, "refused": 1}


async def test_what_could_not_be_written_is_counted_with_the_next_flush(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "outbox.db", max_bytes=FEW, quarantine_bytes=FEW)
    disk._journal._busy_timeout = 0.01
    await disk.start()
    disk.tally("accepted")
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotDurable):
            await disk.flush()
        disk.tally("accepted")
        other.execute("ROLLBACK")
    assert await disk.tallies() == {"accepted": 2}
    await disk.close()


async def test_a_disk_that_cannot_be_written_is_closed_all_the_same(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "outbox.db", max_bytes=FEW, quarantine_bytes=FEW)
    disk._journal._busy_timeout = 0.01
    await disk.start()
    disk.tally("accepted")
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await disk.close()
    assert disk.state()[0] is False
