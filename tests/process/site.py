"""Trunkline's own processes as an operator starts them, and the vendors that call them meanwhile."""

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from time import monotonic
from typing import Any, Final, Self

import orjson
import psutil
from aiohttp import ClientError, ClientSession

from hub.simulator.driver import Report, Result, play
from hub.simulator.scenarios import calls, stream
from tests.acceptance.test_equal_records import TARGET
from tests.hub import ADMIN, DESK_TOKEN, LINE, PASSWORD, TOKEN, until
from tests.servers.guard import ended, kill_tree
from tests.servers.ports import free_port, release_port
from tests.servers.processes import spawn

PATIENCE: Final = 30.0
Tables = Mapping[str, Mapping[str, Any]]


@dataclass
class Site:
    """A directory with a configuration, and the processes that run on it.

    Attributes:
        port: of the ingress.
        spare: ports for other listeners, nobody else's.
    """

    directory: Path
    port: int
    spare: tuple[int, ...]
    started: list[psutil.Popen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure(self, **tables: Mapping[str, Any]) -> None:
        """Writes the configuration of an embedded hub; a table given is merged over the one here."""
        base: dict[str, dict[str, Any]] = {
            "http": {"port": self.port},
            "bus": {"url": f"sqlite:///{self.directory}/bus.db"},
            "store": {"url": f"sqlite:///{self.directory}/store.db"},
            "outbox": {"path": str(self.directory / "outbox.db")},
            "admin": {"token": ADMIN},
            "calls": {"settle": 0.2, "gap_after": 0.5, "longest": 3600},
            "log": {"format": "json"},
            "sources.line-900": {"vendor": "infocaller", "tokens": [TOKEN], "lines": {LINE: PASSWORD}},
            "sources.desk": {"vendor": "focalscope", "tokens": [DESK_TOKEN]},
        }
        for name, table in tables.items():
            base[name] = {**base.get(name, {}), **table}
        (self.directory / "trunkline.toml").write_text(_toml(base))

    def start(self, *command: str, listener: socket.socket | None = None, **variables: str) -> psutil.Popen:
        """Starts ``trunkline COMMAND`` in the directory; what it says goes to a file.

        A listener is handed over as systemd does: as file descriptor 3, and said so in the environment.
        """
        words = [sys.executable, "-m", "hub", *command]
        if listener is not None:
            words = ["bash", "-c", f'exec "$@" 3<&{listener.fileno()}', "bash", *words]
            variables = variables | {"LISTEN_FDS": "1"}
        return self.run(words, fds=() if listener is None else (listener.fileno(),), **variables)

    def run(
        self, words: Sequence[str], *, fds: Sequence[int] = (), user: str | None = None, **variables: str
    ) -> psutil.Popen:
        """Starts any program as ``start`` starts ours."""
        process = spawn(
            words,
            fds=fds,
            directory=self.directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")} | variables,
            log=self.log(len(self.started)),
            user=user,
        )
        self.started.append(process)
        return process

    def log(self, number: int) -> Path:
        return self.directory / f"{number}.log"

    def said(self, number: int, event: str) -> int:
        """How often a process, by the order of their starts, logged this."""
        return self.log(number).read_text().count(f'"{event}"')

    async def get(self, path: str, port: int | None = None) -> tuple[int, Any]:
        """Status and body; status 0 where nobody answers."""
        try:
            async with (
                ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as session,
                session.get(f"http://127.0.0.1:{port or self.port}{path}") as answer,
            ):
                body = await answer.read()
                return answer.status, orjson.loads(body) if answer.content_type == "application/json" else body
        except (ClientError, OSError):
            return 0, None

    async def ready(self, port: int | None = None) -> None:
        """Waits until ``/readyz`` is 200."""
        await self.becomes(200, port)

    async def becomes(self, status: int, port: int | None = None) -> Any:
        """Waits until ``/readyz`` has this status; returns its body."""

        async def look() -> Any:
            found, body = await self.get("/readyz", port)
            return (body,) if found == status else None

        return (await until(look, within=PATIENCE))[0]

    async def pages(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list of the read API."""
        items: list[dict[str, Any]] = []
        after = ""
        while True:
            status, page = await self.get(f"{path}?limit=1000&after={after}")
            assert status == 200, page
            items += page["items"]
            after = page["next"]
            if not after:
                return items

    async def has(self, accepted: set[str]) -> None:
        """Waits until the store has every one of these events."""

        async def all_there() -> bool:
            return accepted <= {item["id"] for item in await self.pages("/v1/events")}

        try:
            await until(all_there, within=PATIENCE)
        except TimeoutError:
            lost = accepted - {item["id"] for item in await self.pages("/v1/events")}
            raise AssertionError(f"{len(lost)} of {len(accepted)} accepted events are not in the store") from None

    async def seals(self, count: int, within: float = PATIENCE) -> None:
        """Waits until so many calls are sealed, and their sealed events have come back over the bus."""

        async def sealed() -> bool:
            return sum(".sealed." in item["type"] for item in await self.pages("/v1/events")) >= count

        await until(sealed, within=within)


@asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    """A place of a test's own; nothing runs there any more at its end."""
    ports = [free_port() for _ in range(4)]
    made = Site(directory, ports[0], tuple(ports[1:]))
    try:
        yield made
    finally:
        for process in made.started:
            if not ended(process):
                await asyncio.to_thread(kill_tree, process)
            await asyncio.to_thread(process.wait, PATIENCE)
        for port in ports:
            release_port(port)


async def exit_status(process: psutil.Popen, within: float = PATIENCE) -> int:
    """How the process ended, once it has."""
    return int(await asyncio.to_thread(process.wait, within))


async def terminated(process: psutil.Popen) -> tuple[int, float]:
    """Tells the process to drain; returns its exit status and how long it took."""
    began = monotonic()
    process.send_signal(signal.SIGTERM)
    return await exit_status(process), monotonic() - began


class Load:
    """Vendors that call all the time.

    With calls further ``apart`` fewer go on at once, and the callbacks of one come sooner after each other.

    Attributes:
        accepted: the ids of the events that were answered 200.
        statuses: answers by their status.
        errors: requests without an answer, by the client's error.
        results: of every request, in the order of their answers.
        report: once all have called.
        seed: of its calls.
    """

    def __init__(
        self,
        url: str,
        *,
        seed: int,
        calls: int = 5000,
        rate: float | None = None,
        concurrency: int = 24,
        apart: float = 1.0,
    ) -> None:
        self.accepted: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.results: list[Result] = []
        self.report: Report | None = None
        self.seed = seed
        self._url = url
        self._calls, self._rate, self._concurrency, self._apart = calls, rate, concurrency, apart
        self._enough = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._call())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def playing(self) -> "asyncio.Task[None]":
        """Ends when all have called."""
        assert self._task is not None
        return self._task

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for an answer after which this is true."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def accepts(self, count: int) -> None:
        """Waits until so many more have been answered 200."""
        wanted = len(self.accepted) + count
        await self.until(lambda: len(self.accepted) >= wanted)

    async def ends(self) -> Report:
        """Waits until all have called."""
        await self.until(lambda: self.report is not None)
        assert self.report is not None
        return self.report

    async def finish(self) -> Report:
        """No new calls; waits until those that have begun are over."""
        self._enough = True
        return await self.ends()

    async def _call(self) -> None:
        made = takewhile(lambda _: not self._enough, calls(["all"], seed=self.seed, count=self._calls, target=TARGET))
        steps = stream(made, apart=self._apart)
        self.report = await play(
            steps, self._url, rate=self._rate, concurrency=self._concurrency, on_result=self._enter
        )
        self._news.set()

    def _enter(self, result: Result) -> None:
        self.results.append(result)
        if result.status is None:
            self.errors[str(result.error)] += 1
        else:
            self.statuses[result.status] += 1
            if result.status == 200:
                self.accepted.add(orjson.loads(result.body)["event_id"])
        self._news.set()


def _toml(tables: Tables) -> str:
    return "\n".join(
        line
        for name, table in tables.items()
        for line in (f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items()))
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {_value(item)}' for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return orjson.dumps(value).decode()
