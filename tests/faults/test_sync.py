"""G7: an event is synced to the disk before its 200 is sent, by the order of the system calls.

A killed process proves nothing of it: the kernel writes what it has in its cache. The negative control is a hub whose
commits are not synced: the same look at it must find fault.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from tests.faults.scale import at
from tests.faults.system_calls import python, read, served, traced
from tests.hub import LINE, TOKEN
from tests.process.site import Site, exit_status, site

REQUESTS: Final = at(quick=100, full=1000)
CALLS: Final = ("pwrite64", "pwritev", "fdatasync", "fsync", "write", "writev", "sendto", "sendmsg")
UNSYNCED: Final = """
import sys
import hub.opening
before = hub.opening.PRAGMAS
hub.opening.PRAGMAS = tuple(pragma.replace("synchronous = FULL", "synchronous = NORMAL") for pragma in before)
assert hub.opening.PRAGMAS != before
from hub.__main__ import main
sys.exit(main())
"""
WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "outbox": {"accept": "outbox"},
    "embedded bus": {"accept": "confirm", "share": 0, "hedge": 60},
}
FILES: Final = {"outbox": b"outbox.db-wal", "embedded bus": b"bus.db-wal"}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


async def answered(here: Site, way: str, command: list[str]) -> tuple[int, int]:
    """Of so many requests: how many events were written and answered 200, and how many of these were synced between."""
    here.configure(outbox=WAYS[way])
    log = here.directory / "calls"
    process = here.run(traced(CALLS, log, command))
    await served(here)
    async with ClientSession() as session:

        async def some(first: int, last: int) -> None:
            for n in range(first, last):
                url = f"{here.url}/callbacks/line-900/{TOKEN}/inicio?num={LINE}&id={n}"
                async with session.get(url) as answer:
                    assert answer.status == 200, await answer.text()

        each = REQUESTS // 4
        await asyncio.gather(*(some(n * each, (n + 1) * each) for n in range(4)))
    process.children()[0].terminate()  # strace ends with it
    assert await exit_status(process, within=120) == 0
    return await asyncio.to_thread(_looked_at, log, FILES[way])


def _looked_at(log: Path, file: bytes) -> tuple[int, int]:
    written: dict[bytes, int] = {}  # when the event's row had first been written
    syncs: list[tuple[int, int]] = []
    sent: dict[bytes, int] = {}
    named = re.compile(rb'\\"event_id\\":\\"([0-9a-f-]{36})')
    ids = re.compile(rb'ce-id\\":\\"([0-9a-f-]{36})')
    for call in read(log):
        if call.name.startswith("pwrite") and file in call.said[:200]:
            for one in ids.findall(call.said):
                written.setdefault(one, call.ended or 0)
        elif call.name in {"fdatasync", "fsync"} and file in call.said and call.result == 0:
            syncs.append((call.began, call.ended or 0))
        elif b"HTTP/1.1 200" in call.said:
            for one in named.findall(call.said):
                sent.setdefault(one, call.began)
    assert len(sent) == REQUESTS, "every answer was seen"
    assert set(sent) <= set(written), "every row was seen"
    return len(sent), sum(
        any(written[one] < began and ended < answer for began, ended in syncs) for one, answer in sent.items()
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
async def test_every_event_is_synced_between_its_row_and_its_answer(here: Site, way: str) -> None:
    role = "ingress" if way == "outbox" else "up"
    assert await answered(here, way, python(role)) == (REQUESTS, REQUESTS)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
async def test_without_the_sync_the_same_look_finds_fault(here: Site, way: str) -> None:
    role = "ingress" if way == "outbox" else "up"
    sent, synced = await answered(here, way, [python()[0], "-c", UNSYNCED, role])
    assert sent == REQUESTS
    assert synced < REQUESTS / 2
