"""What is played arrives as it was made, is counted exactly, and keeps to its bounds: against a real server."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console
from rich.progress import Progress

from hub.simulator.driver import Report, Result, bar, percentiles, play, table
from hub.simulator.mutators import Mutations, changes, mutate
from hub.simulator.scenarios import Step, stream
from tests.servers.ports import free_port, release_port
from tests.simulator.support import made

Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Double:
    """A server that takes everything and keeps it as it came."""

    url: str = ""
    answer: Answer | None = None
    received: list[tuple[str, str, str | None, bytes]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    in_hand: int = 0
    most: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        try:
            body = await request.read()
            kind = request.headers.get("Content-Type")
            self.received.append((request.method, request.raw_path, kind, body))
            assert request.transport is not None
            self.connections.add(request.transport.get_extra_info("peername"))
            if self.answer is not None:
                return await self.answer(request, body)
            return web.json_response({"status": "accepted"})
        finally:
            self.in_hand -= 1


@asynccontextmanager
async def serving(answer: Answer | None = None) -> AsyncIterator[Double]:
    double = Double(answer=answer)
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", double.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        double.url = f"http://127.0.0.1:{port}"
        yield double
    finally:
        await runner.cleanup()
        release_port(port)


def wire(step: Step) -> tuple[str, str, str | None, bytes]:
    request = step.request
    return (
        request.method,
        f"{request.path}?{request.query}",
        request.content_type or None,
        request.body,
    )


async def test_every_request_arrives_byte_for_byte() -> None:
    steps = list(stream(made(count=70)))
    async with serving() as double:
        report = await play(steps, f"{double.url}/", concurrency=8)
    assert Counter(double.received) == Counter(wire(step) for step in steps)
    assert report.sent == len(steps)
    assert report.statuses == {200: len(steps)}
    assert report.errors == report.mutations == {}


async def test_what_was_done_is_counted_exactly() -> None:
    async def answer(_: web.Request, body: bytes) -> web.Response:
        return web.Response(status=422 if len(body) % 2 else 200)

    steps = list(mutate(stream(made(count=140)), Mutations(0.2, 0.2, 0.2, 0.2, 0.2), seed=3))
    sent = [step for step in steps if "drop" not in step.marks]
    told: list[Result] = []
    async with serving(answer) as double:
        report = await play(steps, double.url, on_result=told.append)
    assert Counter(double.received) == Counter(wire(step) for step in sent)
    assert report.sent == len(told) == len(sent)
    assert report.statuses == Counter(422 if len(step.request.body) % 2 else 200 for step in sent)
    assert report.scenarios == Counter(step.call.scenario for step in sent)
    assert report.mutations == {name: count for name, count in changes(steps).counts.items() if count}
    assert Counter(id(result.step) for result in told) == Counter(map(id, sent))


async def test_a_calls_requests_never_overtake_one_another() -> None:
    going: Counter[str] = Counter()
    seen: defaultdict[str, list[str]] = defaultdict(list)

    async def answer(request: web.Request, _: bytes) -> web.Response:
        key = request.query.get("id", "")
        going[key] += 1
        await asyncio.sleep(0)  # every other connection may come in between
        assert going[key] == 1
        going[key] -= 1
        seen[key].append(request.raw_path)
        return web.Response()

    steps = list(stream(made("infocaller", count=60), apart=0))
    async with serving(answer) as double:
        report = await play(steps, double.url, concurrency=16)
    assert report.statuses == {200: len(steps)}
    expected: defaultdict[str, list[str]] = defaultdict(list)
    for step in steps:
        number = step.request.query.partition("&id=")[2].partition("&")[0]
        expected[number].append(f"{step.request.path}?{step.request.query}")
    assert seen == expected


async def test_no_more_than_the_allowed_connections_are_opened_and_they_are_kept() -> None:
    steps = list(stream(made(count=60)))
    async with serving() as double:
        await play(steps, double.url, concurrency=3)
    assert double.most <= 3
    assert 1 <= len(double.connections) <= 3


async def test_a_broken_connection_is_an_error_and_never_a_second_request() -> None:
    count = 0

    async def answer(request: web.Request, _: bytes) -> web.Response:
        nonlocal count
        count += 1
        if count % 3 == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    steps = list(stream(made("focalscope", count=60)))
    async with serving(answer) as double:
        report = await play(steps, double.url, concurrency=2)
    assert len(double.received) == report.sent == len(steps)
    assert sum(report.errors.values()) == len(steps) // 3
    assert report.statuses[200] + sum(report.errors.values()) == report.sent


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    never = asyncio.Event()

    async def answer(_: web.Request, __: bytes) -> web.Response:
        await never.wait()
        return web.Response()

    steps = list(stream(made("outbound-unanswered", count=2)))
    async with serving(answer) as double:
        report = await play(steps, double.url, timeout=0.05)
        never.set()
    assert (report.sent, report.statuses, sum(report.errors.values())) == (2, {}, 2)
    assert report.latency == {}


async def test_where_nobody_listens_everything_is_an_error() -> None:
    port = free_port()
    try:
        report = await play(stream(made(count=5)), f"http://127.0.0.1:{port}")
    finally:
        release_port(port)
    assert report.errors == {"ClientConnectorError": report.sent}
    assert report.sent > 5


async def test_a_rate_is_kept_to() -> None:
    steps = list(stream(made("inbound-abandoned", count=20)))
    async with serving() as double:
        report = await play(steps, double.url, rate=200)
    assert report.sent == 40
    assert report.seconds >= 39 / 200


async def test_what_a_listener_raises_ends_the_play() -> None:
    def listener(_: Result) -> None:
        raise RuntimeError("enough")

    async with serving() as double:
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(play(stream(made(count=200)), double.url, on_result=listener), 20)
    assert raised.group_contains(RuntimeError, match="enough")


@pytest.mark.parametrize(("rate", "concurrency"), [(0, 1), (-1, 1), (None, 0)])
async def test_a_play_without_speed_or_connections_is_refused(rate: float | None, concurrency: int) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        await play([], "http://127.0.0.1:1", rate=rate, concurrency=concurrency)


async def test_nothing_to_play_is_an_empty_report() -> None:
    report = await play([], "http://127.0.0.1:1")
    assert (report.sent, report.statuses, report.latency) == (0, {}, {})


def test_percentiles_are_measured_values() -> None:
    assert percentiles([n / 100 for n in range(100, 0, -1)]) == {
        "p50": 0.5,
        "p90": 0.9,
        "p95": 0.95,
        "p99": 0.99,
        "max": 1.0,
    }
    assert percentiles([0.2]) == dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 0.2)


def test_a_report_is_shown_as_a_table() -> None:
    report = Report(3, {200: 2, 422: 1}, {}, {"agent-missed": 3}, {"drop": 1}, {"p50": 0.0125}, 1.5)
    console = Console(width=60, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table(report))
    lines = [line.strip("│ ").replace(" ", "") for line in captured.get().splitlines()]
    for shown in (
        "sent│3",
        "asecond│2.0",
        "status422│1",
        "latencyp50│12.5ms",
        "mutated:drop│1",
        "scenario:agent-missed│3",
    ):
        assert shown in lines


async def test_a_progress_bar_moves_by_one_for_each_answer() -> None:
    steps = list(stream(made(count=10)))
    with Progress(console=Console(quiet=True)) as progress:
        async with serving() as double:
            await play(steps, double.url, on_result=bar(progress, len(steps)))
        assert (progress.tasks[0].completed, progress.finished) == (len(steps), True)
