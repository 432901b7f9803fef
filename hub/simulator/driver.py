"""Plays a stream of requests against a running hub, and reports what it answered."""

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from rich.progress import Progress
from rich.table import Table
from yarl import URL

from hub.simulator.scenarios import Step

_BACKLOG = 4  # steps in hand for each connection: enough that a call's later requests find it, little enough to hold
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one step.

    Attributes:
        step: what was sent.
        status: the answer's status; None where there was no answer.
        body: the answer's body.
        error: name of the client's error where there was no answer, else None.
        seconds: from the sending to the end of the answer.
    """

    step: Step
    status: int | None
    body: bytes
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a play came to.

    Attributes:
        sent: requests, answered or not; dropped ones are not among them.
        statuses: answers by status.
        errors: requests without an answer, by the client's error.
        scenarios: requests by scenario.
        mutations: steps by mutator; ``drop`` are those that were not sent.
        latency: ``p50``, ``p90``, ``p95``, ``p99``, ``max`` of the answered requests, in seconds.
        seconds: from the first request to the last answer.
    """

    sent: int
    statuses: Mapping[int, int]
    errors: Mapping[str, int]
    scenarios: Mapping[str, int]
    mutations: Mapping[str, int]
    latency: Mapping[str, float]
    seconds: float


OnResult = Callable[[Result], None]


@dataclass
class _Books:
    """Everything that the report is made of, counted as it happens."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    scenarios: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    latencies: "array[float]" = field(default_factory=lambda: array("d"))

    def enter(self, result: Result) -> None:
        self.sent += 1
        self.scenarios[result.step.call.scenario] += 1
        if result.status is None:
            self.errors[str(result.error)] += 1
        else:
            self.statuses[result.status] += 1
            self.latencies.append(result.seconds)

    def report(self, seconds: float) -> Report:
        return Report(
            sent=self.sent,
            statuses=dict(sorted(self.statuses.items())),
            errors=dict(self.errors),
            scenarios=dict(self.scenarios),
            mutations=dict(self.mutations),
            latency=percentiles(self.latencies),
            seconds=seconds,
        )


def percentiles(latencies: Iterable[float]) -> dict[str, float]:
    """The percentiles of a report, by nearest rank; empty where nothing was measured."""
    ranked = sorted(latencies)
    if not ranked:
        return {}
    return {name: ranked[max(0, ceil(part * len(ranked)) - 1)] for name, part in _PERCENTILES.items()}


class _Player:
    """Sends steps over a bounded number of connections; a call's own steps never overtake one another.

    A call is in ``ready`` at most once: whoever takes it sends its oldest step, and puts it back while it has more.
    """

    def __init__(self, session: ClientSession, base_url: str, concurrency: int, on_result: OnResult | None) -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._concurrency = concurrency
        self._on_result = on_result
        self._room = asyncio.Semaphore(concurrency * _BACKLOG)
        self._ready: asyncio.Queue[str | None] = asyncio.Queue()
        self._calls: dict[str, deque[Step]] = {}
        self.books = _Books()

    async def play(self, steps: Iterable[Step], rate: float | None) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work())
            await self._feed(steps, rate)
            for _ in range(self._concurrency * _BACKLOG):
                await self._room.acquire()  # every place is free: everything was answered
            for _ in range(self._concurrency):
                self._ready.put_nowait(None)

    async def _feed(self, steps: Iterable[Step], rate: float | None) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        number = 0
        for step in steps:
            self.books.mutations.update(step.marks)
            if "drop" in step.marks:
                continue
            if rate is not None:
                # From the first request, not from the one before: what was late is caught up with.
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            number += 1
            await self._room.acquire()
            key = step.call.key
            if key in self._calls:
                self._calls[key].append(step)
            else:
                self._calls[key] = deque((step,))
                self._ready.put_nowait(key)

    async def _work(self) -> None:
        while (key := await self._ready.get()) is not None:
            waiting = self._calls[key]
            result = await self._send(waiting[0])
            self.books.enter(result)
            if self._on_result is not None:
                self._on_result(result)
            waiting.popleft()
            if waiting:
                self._ready.put_nowait(key)
            else:
                del self._calls[key]
            self._room.release()

    async def _send(self, step: Step) -> Result:
        request = step.request
        url = URL(f"{self._base}{request.path}{'?' if request.query else ''}{request.query}", encoded=True)
        headers = {"Content-Type": request.content_type} if request.content_type else {}
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._session.request(
                request.method, url, data=request.body or None, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except (ClientError, TimeoutError, OSError) as error:
            return Result(step, None, b"", type(error).__name__, loop.time() - began)
        return Result(step, response.status, body, None, loop.time() - began)


async def play(
    steps: Iterable[Step],
    base_url: str,
    *,
    rate: float | None = None,
    concurrency: int = 64,
    timeout: float = 30.0,  # noqa: ASYNC109 - of each request, not of the play
    on_result: OnResult | None = None,
) -> Report:
    """Sends every step that is not marked ``drop``; the times within a call become nothing but an order.

    The requests of one call go one after another, in the stream's order. Connections are kept alive. No request is
    repeated: a vendor does not repeat it either.

    Args:
        steps: from ``stream`` or ``mutate``; taken as they are needed.
        base_url: of the hub, ``http://127.0.0.1:8080``.
        rate: callbacks a second; None sends as fast as the answers come.
        concurrency: connections at most.
        timeout: seconds until a request without an answer is given up.
        on_result: told each result as it comes; see :func:`bar`.

    Raises:
        ValueError: a rate or a concurrency that is not above 0.
    """
    if concurrency < 1 or (rate is not None and rate <= 0):
        raise ValueError(f"rate is {rate} and concurrency {concurrency}, expected more than 0 of both")
    loop = asyncio.get_running_loop()
    async with ClientSession(
        connector=TCPConnector(limit=concurrency),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=timeout),
        # A request without a content type is one without: nothing is to be made up for it.
        skip_auto_headers=("Content-Type",),
    ) as session:
        # aiohttp sends a GET again when a kept-alive connection breaks: the books would miss that one.
        session._retry_connection = False  # noqa: SLF001 - there is no public switch
        player = _Player(session, base_url, concurrency, on_result)
        began = loop.time()
        await player.play(steps, rate)
        return player.books.report(loop.time() - began)


def bar(progress: Progress, total: int | None = None) -> OnResult:
    """An ``on_result`` that moves a bar of ``progress`` by one for each answer.

    Args:
        progress: running, the caller's own.
        total: how many requests there will be, where known.
    """
    task = progress.add_task("callbacks", total=total)
    return lambda _: progress.advance(task)


def table(report: Report) -> Table:
    """The report, to be printed."""
    shown = Table(title="callbacks", title_justify="left", show_header=False)
    shown.add_column(style="bold")
    shown.add_column(justify="right")
    rate = report.sent / report.seconds if report.seconds else 0.0
    shown.add_row("sent", f"{report.sent}")
    shown.add_row("seconds", f"{report.seconds:.2f}")
    shown.add_row("a second", f"{rate:.1f}")
    for title, counts in (("status", report.statuses), ("error", report.errors)):
        for name, count in counts.items():
            shown.add_row(f"{title} {name}", f"{count}")
    for name, seconds in report.latency.items():
        shown.add_row(f"latency {name}", f"{seconds * 1000:.1f} ms")
    for title, counts in (("mutated", report.mutations), ("scenario", report.scenarios)):
        for name, count in counts.items():
            shown.add_row(f"{title}: {name}", f"{count}")
    return shown
