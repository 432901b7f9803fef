"""What the rows of the ingress's own disk share: what was promised, what is there, and what was said to be missing."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final
from unittest.mock import patch

import orjson
from aiohttp import ClientError, ClientSession
from structlog.testing import capture_logs

from hub.disk import Disk
from hub.errors import NotDurable
from hub.events import Message
from hub.simulator.driver import percentiles
from tests.disk.support import ROOM
from tests.faults.report import Account, _command, publish
from tests.hub import LINE, TOKEN
from tests.process.site import Site

NOWHERE: Final = "amqp://guest:guest@127.0.0.1:1/"
"""A broker that never answers: the outbox is the only place there is."""


@dataclass
class Promises:
    """What a hub answered.

    Attributes:
        accepted: ids of the events of a 200.
        quarantined: ids of a 422.
        statuses: answers by status.
        resets: requests without an answer.
        seconds: until each answer.
        recoveries: from the first refusal of a row of them to the next 200.
    """

    accepted: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    resets: int = 0
    seconds: list[float] = field(default_factory=list)
    sent: int = 0

    async def ask(self, here: Site, session: ClientSession, *, body: bytes | None = None) -> int:
        """One callback; of bytes that are none where there is a body. Returns its status, 0 without an answer."""
        self.sent += 1
        url = f"{here.url}/callbacks/line-900/{TOKEN}/inicio?num={LINE}&id={self.sent}"
        began = monotonic()
        try:
            method, data = ("GET", None) if body is None else ("POST", body)
            async with session.request(method, url if body is None else url.partition("?")[0], data=data) as answer:
                told = orjson.loads(await answer.read())
        except (ClientError, OSError):
            self.resets += 1
            return 0
        self.seconds.append(monotonic() - began)
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.accepted.append(told["event_id"])
        elif answer.status == 422:
            self.quarantined.append(told["quarantine_id"])
        return answer.status


@dataclass
class Found:
    """What an outbox's file holds, and what it said when it was opened."""

    events: dict[str, Message]
    requests: set[str]
    logs: list[Any]

    def told(self, event: str) -> list[Any]:
        return [log for log in self.logs if log["event"] == event]


async def found(path: Path, *, salvage: bool = False) -> Found:
    """All that can be claimed and read there; of the files set aside beside it, too.

    Damage that is met on the way would end a hub, whose next start sets the file aside: here it is read again.
    """
    fatal: list[BaseException] = []
    with capture_logs() as logs, patch("hub.journal._exit", fatal.append):
        for _ in range(4):
            try:
                messages, requests = await _read(path, salvage=salvage)
            except NotDurable:
                assert fatal, "nothing else is in its way"
                continue
            assert len(messages) == len({one.id for one in messages}), "none is there twice"
            return Found({one.id: one for one in messages}, requests, logs)
    raise AssertionError(f"it ends and starts for ever: {fatal}")


async def _read(path: Path, *, salvage: bool) -> tuple[list[Message], set[str]]:
    async with AsyncExitStack() as stack:
        disk = Disk(path, max_bytes=ROOM, quarantine_bytes=ROOM)
        await disk.start()
        stack.push_async_callback(disk.close)
        for aside in asides(path) if salvage else []:
            await disk.salvage(aside)
        messages: list[Message] = []
        while claimed := await disk.claim(500):
            messages += [one for _, one in claimed]
        return messages, {kept.quarantine_id for kept in await disk.quarantined(10_000)}


def asides(path: Path) -> list[Path]:
    """The damaged files that starts have moved away."""
    return sorted(one for one in path.parent.glob(f"{path.name}.damaged-*") if not one.name.endswith(("-wal", "-shm")))


def logged(file: Path, event: str) -> list[dict[str, Any]]:
    """The lines of a process's log with this event."""
    lines = [line for line in file.read_text().splitlines() if f'"{event}"' in line]
    return [orjson.loads(line) for line in lines]


def events_in(path: Path) -> int:
    """How many events wait in a file that a hub has open."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return int(connection.execute("SELECT events FROM held").fetchone()[0])


def dice(seed: int, count: int) -> Iterator[random.Random]:
    """One for each instance, the same in every run."""
    for n in range(count):
        yield random.Random(f"{seed}-{n}")  # noqa: S311  no secret


@dataclass
class Row:
    """Adds the instances of a fault row up."""

    name: str
    seed: int
    planned: int
    injected: int = 0
    attempted: int = 0
    acknowledged: int = 0
    ok: int = 0
    recovered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    resets: int = 0
    seconds: list[float] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    def enter(self, promises: Promises, there: set[str], *, named: bool = False) -> None:
        """An instance in which the fault was seen to happen; ``named``: what is missing was said to be."""
        self.injected += 1
        promised = [*promises.accepted, *promises.quarantined]
        self.attempted += promises.sent
        self.acknowledged += len(promised)
        self.ok += sum(one in there or named for one in promised)
        self.recovered += len(there - set(promised))
        self.statuses += promises.statuses
        self.resets += promises.resets
        self.seconds += promises.seconds

    def check(self) -> None:
        """Publishes the account, and asserts what every row promises."""
        latency = percentiles(self.seconds)
        account = Account(
            row=self.name,
            command=_command(),
            seed=self.seed,
            planned=self.planned,
            injected=self.injected,
            attempted=self.attempted,
            acknowledged=self.acknowledged,
            ok=self.ok,
            lost=self.acknowledged - self.ok,
            duplicated=0,
            recovered=self.recovered,
            unexpected=0,
            unsealed=0,
            statuses={str(status): count for status, count in sorted(self.statuses.items())},
            refused=0,
            resets=self.resets,
            unanswered=0,
            recovery=max(self.recoveries, default=None),
            p50=latency.get("p50", 0),
            p99=latency.get("p99", 0),
            ledger=None,
            differing=None,
        )
        publish(account)
        account.check()
