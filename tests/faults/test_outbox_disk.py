"""The ingress's own disk: full at each step, cut, flipped, of another owner, slow. Real processes.

Never a false 200: what was answered 200 is there, or what is missing is named with its number.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

import pytest
from aiohttp import ClientSession

from hub.journal import EXIT_IO_ERROR
from tests.faults.disk_faults import NOWHERE, Promises, Row, asides, dice, events_in, found, logged
from tests.faults.scale import at
from tests.faults.system_calls import python, served, traced
from tests.hub import until
from tests.process.site import Site, exit_status, site

INSTANCES: Final = at(quick=2, full=20)
PATIENT: Final = pytest.mark.timeout(at(quick=600, full=7200))
GARBAGE: Final = b"no callback of anybody's" * 40_000  # just under a MiB


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


def outbox(here: Site) -> Path:
    return here.directory / "outbox.db"


async def accepted(here: Site, count: int) -> Promises:
    """What an ingress without a broker answered to so many callbacks; it was killed then, its -wal is there."""
    here.configure(bus={"url": NOWHERE}, outbox={"accept": "outbox"})
    process = here.start("ingress")
    await here.ready()
    promises = Promises()
    async with ClientSession() as session:
        for n in range(count):
            await promises.ask(here, session, body=b"?" if n % 9 == 4 else None)
    assert set(promises.statuses) == {200, 422}
    process.kill()
    assert await exit_status(process) == -signal.SIGKILL
    return promises


# --- full ------------------------------------------------------------------------------------------------------------

STEPS: Final = {
    "row": ("-wal", range(150, 240)),
    "shared memory": ("-shm", range(1, 2)),
    "checkpoint": ("", range(150, 240)),
    "quarantine": ("-wal", range(150, 240)),
    "witness": (".witness", range(5, 40)),
}
"""The file, and at which of its writes there is no room any more: behind those of a start, which would wait for it."""


@PATIENT
@pytest.mark.parametrize("step", STEPS)
async def test_a_full_disk_is_never_answered_200_and_taken_again_when_there_is_room(tmp_path: Path, step: str) -> None:
    row = Row(f"S01 S02 disk full: {step}", 101, INSTANCES)
    for n, random in enumerate(dice(row.seed, INSTANCES)):
        (tmp_path / f"{n}").mkdir()
        async with site(tmp_path / f"{n}") as here:
            await _full(here, step, random, row)
    row.check()
    assert row.recoveries or step not in {"row", "quarantine"}


async def _full(here: Site, step: str, random: Random, row: Row) -> None:
    """Some writes of one file find no room, and then they do again."""
    here.configure(bus={"url": NOWHERE}, outbox={"accept": "outbox"})
    suffix, writes = STEPS[step]
    first, refused = random.choice(writes), random.randrange(3, 40)
    inject = f"pwrite64:error=ENOSPC:when={first}..{first + refused}"
    file = f"{outbox(here)}{suffix}"
    calls = here.directory / "calls"
    process = here.run(traced(["pwrite64"], calls, python("ingress"), [inject], paths=[file]))
    await served(here)
    promises = Promises()
    refused_at = 0.0
    async with ClientSession() as session:
        for n in range(at(quick=60, full=150)):
            whole = step not in {"quarantine", "checkpoint"} or n % 3
            status = await promises.ask(here, session, body=None if whole else GARBAGE)
            if status == 503:
                refused_at = refused_at or monotonic()
            elif refused_at:
                row.recoveries.append(monotonic() - refused_at)
                assert row.recoveries[-1] < 2 + refused / 3, "it looks for room every quarter of a second"
                refused_at = 0.0
    process.children()[0].terminate()
    assert await exit_status(process, within=120) == 0
    assert set(promises.statuses) <= {200, 422, 503}
    assert b"(INJECTED)" in await asyncio.to_thread(calls.read_bytes), "the fault happened"
    if step in {"row", "quarantine"}:
        assert promises.statuses[503], "the fault was met by a request"
    if step == "witness":
        assert here.said(0, "disk.witness_failed")
    there = await found(outbox(here))
    assert not there.told("outbox.tail_lost")
    assert set(promises.quarantined) <= there.requests
    row.enter(promises, {*there.events, *there.requests})


@PATIENT
async def test_a_sync_that_fails_ends_the_process_and_what_was_answered_200_is_there(tmp_path: Path) -> None:
    row = Row("S03 sync fails", 102, INSTANCES)
    for n, random in enumerate(dice(row.seed, INSTANCES)):
        (tmp_path / f"{n}").mkdir()
        async with site(tmp_path / f"{n}") as here:
            here.configure(bus={"url": NOWHERE}, outbox={"accept": "outbox"})
            inject = f"fdatasync:error=EIO:when={random.randrange(20, 60)}"
            calls = here.directory / "calls"
            process = here.run(traced(["fdatasync"], calls, python("ingress"), [inject], paths=[f"{outbox(here)}-wal"]))
            await served(here)
            promises = Promises()
            async with ClientSession() as session:
                while await promises.ask(here, session) == 200:
                    pass
            assert await exit_status(process, within=60) == EXIT_IO_ERROR
            assert here.said(0, "journal.fatal") == 1
            again = here.start("ingress")
            await here.ready()
            async with ClientSession() as session:
                assert await promises.ask(here, session) == 200
            again.terminate()
            assert await exit_status(again) == 0
            row.enter(promises, set((await found(outbox(here))).events))
    row.check()


@PATIENT
async def test_a_slow_disk_is_shared_by_all_who_wait_for_it(here: Site) -> None:
    here.configure(bus={"url": NOWHERE}, outbox={"accept": "outbox"})
    calls, delay, count = here.directory / "calls", 0.2, at(quick=120, full=1000)
    slow = f"fdatasync:delay_enter={int(delay * 1e6)}"
    process = here.run(traced(["fdatasync"], calls, python("ingress"), [slow], paths=[f"{outbox(here)}-wal"]))
    await served(here)
    row, promises = Row("S13 sync takes 200 ms", 103, 1), Promises()
    began = monotonic()
    async with ClientSession() as session:
        await asyncio.gather(*(promises.ask(here, session) for _ in range(count)))
    assert monotonic() - began < count * delay / 4, "they share their syncs"
    assert min(promises.seconds) >= delay, "none is answered before its own"
    process.children()[0].terminate()
    assert await exit_status(process, within=120) == 0
    row.enter(promises, set((await found(outbox(here))).events))
    row.check()


# --- cut and flipped -------------------------------------------------------------------------------------------------


@PATIENT
async def test_a_cut_wal_is_named_with_what_is_missing(here: Site, tmp_path: Path) -> None:
    """The tail of the -wal is gone at a random byte; SQLite calls what is left sound."""
    promises = await accepted(here, 70)
    whole = outbox(here).with_name("outbox.db-wal").read_bytes()
    kept = {path: path.read_bytes() for path in here.directory.glob("outbox.db*")}
    row = Row("S04 S14 tail of the -wal cut", 104, INSTANCES)
    order = [*promises.accepted]
    for random in dice(row.seed, INSTANCES):
        _put(kept, here)
        cut = random.randrange(1, len(whole) - 4096)
        outbox(here).with_name("outbox.db-wal").write_bytes(whole[:cut])
        process = here.start("ingress")
        await here.ready()
        process.terminate()
        assert await exit_status(process) == 0
        told = logged(here.log(len(here.started) - 1), "outbox.tail_lost")
        there = await found(outbox(here))
        missing = promises.sent - len(there.events)
        named = {log["table"]: log for log in told}
        if missing:
            log = named["outbox"]
            assert (log["missing"], log["first"], log["last"]) == (missing, len(there.events) + 1, promises.sent)
            assert log["level"] == "critical"
        else:
            assert "outbox" not in named
        if lost := len(promises.quarantined) - len(there.requests):
            assert named["quarantine"]["missing"] == lost
        assert [one for one in order if one in there.events] == order[: sum(one in there.events for one in order)]
        row.enter(promises, {*there.events, *there.requests}, named=bool(told))
    row.check()


@PATIENT
async def test_flipped_bits_are_never_published_and_never_lose_what_is_not_named(here: Site, tmp_path: Path) -> None:
    promises = await accepted(here, 70)
    original = (await found(_copy(outbox(here), tmp_path / "original"))).events
    with closing(sqlite3.connect(outbox(here))) as connection:  # into the file itself: a -wal has checksums of SQLite's
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = {path: path.read_bytes() for path in here.directory.glob("outbox.db*")}
    row = Row("S05 bits of the file flipped", 105, INSTANCES)
    here.configure(bus={"url": f"sqlite:///{here.directory}/bus.db"})
    for random in dice(row.seed, INSTANCES):
        _put(kept, here)
        file = bytearray(kept[outbox(here)])
        for _ in range(random.randrange(1, 4)):
            file[random.randrange(len(file))] ^= 1 << random.randrange(8)
        outbox(here).write_bytes(file)
        first = len(here.started)
        await _supervised(here)
        published = _published(here.directory / "bus.db")
        said = [line for n in range(first, len(here.started)) for line in _damage(here.log(n))]
        for one, (key, body) in published.items():
            assert (key, body) == (original[one].routing_key, original[one].body), "nothing is published as garbage"
        left = await found(outbox(here), salvage=True)
        assert {id_: one.body for id_, one in left.events.items()}.items() <= {
            id_: one.body for id_, one in original.items()
        }.items()
        there = {*published, *left.events, *left.requests}
        said += [log["event"] for log in left.logs]
        assert said or there >= {*promises.accepted, *promises.quarantined}, "what is missing is named"
        row.enter(promises, there, named=bool(said))
    row.check()


def _put(kept: dict[Path, bytes], here: Site) -> None:
    """The files as they were, and nothing of an instance before."""
    for path in [*here.directory.glob("outbox.db*"), *here.directory.glob("bus.db*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


def _copy(file: Path, to: Path) -> Path:
    to.mkdir()
    for path in file.parent.glob(f"{file.name}*"):
        shutil.copy(path, to)
    return to / file.name


async def _supervised(here: Site) -> None:
    """An ingress until it has handed all over, started anew when damage ends it."""
    for _ in range(4):
        process = here.start("ingress")

        async def over(process: object = process) -> bool:
            if process.poll() is not None:  # type: ignore[attr-defined]
                return True
            if (await here.get("/readyz"))[0] != 200:
                return False
            try:
                return await asyncio.to_thread(events_in, outbox(here)) == 0
            except sqlite3.Error:
                return False

        await until(over, within=90)
        if process.poll() is None:
            process.terminate()
            assert await exit_status(process) == 0
            return
        assert process.poll() == EXIT_IO_ERROR
    raise AssertionError("it ends and starts for ever")


def _published(bus: Path) -> dict[str, tuple[str, bytes]]:
    with closing(sqlite3.connect(bus)) as connection:
        rows = connection.execute("SELECT json_extract(headers, '$.ce-id'), routing_key, body FROM messages").fetchall()
    return {id_: (key, body) for id_, key, body in rows}


def _damage(log: Path) -> list[str]:
    events = ("journal.damaged", "journal.fatal", "outbox.row_damaged", "outbox.tail_lost", "disk.witness_unreadable")
    return [event for event in events if logged(log, event)]


# --- of another owner ------------------------------------------------------------------------------------------------


def _closed(here: Site) -> None:
    outbox(here).touch(0o000)
    outbox(here).chmod(0o000)


def _read_only(here: Site) -> None:
    outbox(here).touch(0o400)


def _somebody_elses(here: Site) -> None:
    outbox(here).touch(0o600)
    if os.geteuid() == 0:
        os.chown(outbox(here), 65534, 65534)
    else:
        outbox(here).chmod(0o000)


def _shut_directory(here: Site) -> None:
    outbox(here).parent.chmod(0o555)


def _a_directory(here: Site) -> None:
    outbox(here).mkdir()


OWNERS: Final = (_closed, _read_only, _somebody_elses, _shut_directory, _a_directory)


@PATIENT
async def test_a_file_that_is_not_ours_is_refused_at_the_start_by_its_name(tmp_path: Path) -> None:
    for n, random in enumerate(dice(106, at(quick=3, full=20))):
        (tmp_path / f"{n}" / "data").mkdir(parents=True)
        async with site(tmp_path / f"{n}") as here:
            place = here.directory / "data" / "outbox.db"
            here.configure(bus={"url": NOWHERE}, outbox={"path": str(place)})
            hide = OWNERS[n % len(OWNERS)] if n < len(OWNERS) else random.choice(OWNERS)
            hide(Site(place.parent, here.port, here.spare))
            process = here.run([*_without_privileges(), *python("ingress")])
            assert await exit_status(process, within=90) == 2
            said = here.log(0).read_text()
            assert f"trunkline: {place}: " in said
            assert "expected a SQLite file that we may write" in said
            assert not asides(place), "what is not ours is not moved"
            place.parent.chmod(0o755)


def _without_privileges() -> Sequence[str]:
    """Root may do everything; without these, it may do what an owner may."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--")


# --- several ---------------------------------------------------------------------------------------------------------


@PATIENT
async def test_two_ingresses_on_one_file_take_turns_and_lose_nothing(here: Site) -> None:
    here.configure(bus={"url": NOWHERE}, outbox={"accept": "outbox"})
    first = here.start("ingress")
    await here.ready()
    second = here.start("ingress", TRUNKLINE_HTTP__PORT=str(here.spare[0]))
    await here.ready(here.spare[0])
    other = Site(here.directory, here.spare[0], ())
    row, promises = Row("I29 two ingresses, one file", 107, 1), Promises()
    async with ClientSession() as session:

        async def some(at_: Site) -> None:
            for _ in range(at(quick=60, full=500)):
                await promises.ask(at_, session)

        await asyncio.gather(some(here), some(other), some(here), some(other))
        first.kill()
        await exit_status(first)
        await some(other)
    second.terminate()
    assert await exit_status(second) == 0
    there = await found(outbox(here))
    assert not there.told("outbox.tail_lost")
    assert set(promises.statuses) == {200}
    row.enter(promises, set(there.events))
    row.check()
