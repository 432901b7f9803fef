"""Ordered queues over replicas that come, go and are killed, in real processes, over each bus."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import psutil
import pytest

from hub.ports import Bus
from tests.contract.buses import Place, eventually, publish
from tests.contract.ordered_worker import ORDERED
from tests.contract.test_bus_order import numbered
from tests.faults.scale import FULL

CALLS: Final = 30
BACKLOG: Final = 4  # events of a call that are not over yet, at the most and roughly
SCALES: Final = ((1, 0), (4, 2), (3, 1), (2, 0), (1, 1), (2, 0)) if FULL else ((1, 0), (3, 1), (2, 0))
"""How many replicas, and how many of them are killed, one step after the other."""

LONG: Final = 120.0  # for one step, on a machine that is busy with other things


class Replicas:
    """The processes, and the diary that they share."""

    def __init__(self, place: Place, diary: Path) -> None:
        self.running: list[Process] = []
        self._place = place
        self._diary = diary
        diary.touch()

    async def scale(self, count: int) -> None:
        """So many run; the others were asked to stop."""
        while len(self.running) < count:
            arguments = ("-m", "tests.contract.ordered_worker", self._place.kind, self._place.address, str(self._diary))
            root = Path(__file__).parents[2]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=root, stderr=asyncio.subprocess.DEVNULL
            )
            self.running.append(process)
        await eventually(self._ready, LONG)
        leaving, self.running = self.running[count:], self.running[:count]
        for process in leaving:
            process.terminate()
        assert [await asyncio.wait_for(process.wait(), 30) for process in leaving] == [0] * len(leaving)

    async def _ready(self) -> bool:
        return {process.pid for process in self.running} <= {pid for word, pid, _, _ in self.lines() if word == "ready"}

    async def kill(self) -> None:
        """One of them, in the middle of whatever it does."""
        process = self.running.pop(random.randrange(len(self.running)))  # noqa: S311
        # Stopped first, so that its end stands in the diary before anybody else can know of it.
        process.send_signal(signal.SIGSTOP)
        stopping = psutil.Process(process.pid)

        async def stopped() -> bool:
            return stopping.status() == psutil.STATUS_STOPPED

        await eventually(stopped)
        with self._diary.open("ab", buffering=0) as diary:
            diary.write(f"killed {process.pid} - 0\n".encode())
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    def lines(self) -> list[tuple[str, int, str, int]]:
        text = self._diary.read_text()
        whole = text[: text.rfind("\n") + 1]  # of the last line only a part may be here yet
        split = [line.split() for line in whole.splitlines()]
        return [(word, int(pid), call, int(number)) for word, pid, call, number in split]

    async def at_work(self) -> None:
        """Waits until each of them has handled something since now."""
        seen = len(self.lines())

        async def all_did() -> bool:
            did = {pid for word, pid, _, _ in self.lines()[seen:] if word == "done"}
            return {process.pid for process in self.running} <= did

        await eventually(all_did, LONG)

    def over(self) -> set[tuple[str, int]]:
        """The events that are done or dead."""
        return {(call, number) for word, _, call, number in self.lines() if word in {"done", "dead"}}


class Feed:
    """Publishes the next event of every call whenever the replicas have nearly caught up, until told to stop."""

    def __init__(self, bus: Bus, them: Replicas) -> None:
        self.calls = [str(uuid4()) for _ in range(CALLS)]
        self.rounds = 0
        self.enough = False
        self._bus = bus
        self._them = them

    async def run(self) -> None:
        while not self.enough:
            await publish(self._bus, *(numbered(call, self.rounds) for call in self.calls))
            self.rounds += 1
            await eventually(self._nearly, LONG)
        await eventually(self._all, LONG)

    async def _nearly(self) -> bool:
        return self.enough or len(self._them.over()) >= (self.rounds - BACKLOG) * CALLS

    async def _all(self) -> bool:
        return len(self._them.over()) == self.rounds * CALLS


@asynccontextmanager
async def replicas(place: Place, tmp_path: Path) -> AsyncIterator[Replicas]:
    them = Replicas(place, tmp_path / "diary")
    try:
        yield them
    finally:
        for process in them.running:
            process.kill()
            await process.wait()


@pytest.mark.timeout(600)
async def test_each_calls_events_are_handled_in_order_whatever_happens_to_the_replicas(
    place: Place, tmp_path: Path
) -> None:
    async with place.bus() as bus, replicas(place, tmp_path) as them:
        await bus.declare([ORDERED])
        feed = Feed(bus, them)
        async with asyncio.TaskGroup() as group:
            group.create_task(feed.run())
            for count, killed in SCALES:
                await them.scale(count)
                await them.at_work()
                for _ in range(killed):
                    await them.kill()
            feed.enough = True
        lines = them.lines()
    judge(lines, feed.calls, feed.rounds)


def judge(lines: list[tuple[str, int, str, int]], calls: list[str], rounds: int) -> None:
    """Reads the diary: who was at which event of a call, and which of its events were over by then."""
    at_it: dict[str, int] = {}
    over: dict[str, list[int]] = defaultdict(list)
    for word, pid, call, number in lines:
        match word:
            case "ready":
                pass
            case "killed":
                at_it = {busy: its for busy, its in at_it.items() if its != pid}
            case "begin":
                assert call not in at_it, f"two at once at {call}: {at_it[call]} and {pid}"
                assert number <= len(over[call]), f"{number} of {call} after {over[call]}"
                at_it[call] = pid
            case _:
                assert at_it.pop(call) == pid
                if word in {"done", "dead"} and number not in over[call]:
                    over[call].append(number)
    assert {call: over[call] for call in calls} == {call: list(range(rounds)) for call in calls}
