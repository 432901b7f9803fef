"""A lane against real neighbours, sound ones and bad ones."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from hub.errors import Doubtful, Forbidden, LaneClosed, NotSent, NoTurn, RateLimited, TrunklineError
from hub.outgoing import BODY_LIMIT, Closed, Lane, Opened, Outgoing, Request, Tempo, verdict
from hub.outgoing.lane import log
from tests.faults import scale
from tests.outgoing.neighbours import FAST, becomes, http, outgoing, raw, request_of, reset
from tests.servers.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PACKED = gzip.compress(b"x", mtime=0)


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


def lane_of(client: Outgoing, name: str = "crm.a", **options: Any) -> Lane:
    limits: dict[str, Any] = {"rate": 10_000, "concurrency": 10, "timeout": 5, **options}
    return client.lane(name, **limits)


@asynccontextmanager
async def lane(**options: Any) -> AsyncIterator[Lane]:
    tempo = options.pop("tempo", FAST)
    async with outgoing(tempo=tempo) as client:
        yield lane_of(client, **options)


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_meant_and_its_answer_comes_back() -> None:
    seen: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, await request.read(), dict(request.headers)))
        return web.Response(status=201, body=b'{"id":1}', headers={"X-Limit": "9"})

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with http(keep) as base, lane() as one:
        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        url = f"{base}/calls/%2Fa%7E?sig=a%2Bb%3D&x=1"
        answer = await one.ask(Request("POST", url, headers, b'{"a":1}', trace))
    ((method, path, body, got),) = seen
    assert (method, path, body) == ("POST", "/calls/%2Fa%7E?sig=a%2Bb%3D&x=1", b'{"a":1}')
    assert (got["Authorization"], got["Content-Type"], got["traceparent"]) == ("Bearer x", "application/json", trace)
    assert got["User-Agent"] == "Trunkline"
    assert (answer.status, answer.body, answer.headers["x-limit"], answer.whole) == (201, b'{"id":1}', "9", True)
    assert 0 < answer.seconds < 5


async def test_an_event_without_a_trace_gets_no_header_for_it() -> None:
    async def keep(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("traceparent", "none"))

    async with http(keep) as base, lane() as one:
        assert (await one.ask(Request("GET", base))).body == b"none"


async def test_no_cookie_is_kept() -> None:
    async def baker(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Cookie", "none"), headers={"Set-Cookie": "a=b"})

    async with http(baker) as base, lane() as one:
        url = base.replace("127.0.0.1", "localhost")
        assert [(await one.ask(Request("GET", url))).body for _ in range(2)] == [b"none", b"none"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    async with raw() as canary:

        async def leads(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": canary.url})

        async with http(leads) as base, lane() as one:
            assert (await one.ask(Request("POST", base, body=b"x"))).status == status
        assert canary.connections == 0


async def test_a_header_that_breaks_the_line_is_not_sent() -> None:
    async with raw() as canary, lane() as one:
        with pytest.raises(Forbidden):
            await one.ask(Request("GET", canary.url, {"X-A": "b\r\nX-Evil: 1"}))
        assert canary.heard == b""


async def test_a_connection_is_used_again() -> None:
    ports: set[object] = set()

    async def keep(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return web.Response(text="x" * 1000)

    async with http(keep) as base, lane() as one:
        for _ in range(5):
            await one.ask(Request("GET", base))
    assert len(ports) == 1


# --- what is known of the effect -------------------------------------------------------------------------------------


async def test_a_refused_connection_was_certainly_not_sent() -> None:
    async with lane() as one:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1: no connection"):
            await one.ask(Request("POST", f"http://127.0.0.1:{free_port()}/?key=s3cret", body=b"x"))


async def test_a_name_without_address_was_certainly_not_sent() -> None:
    async with lane() as one:
        with pytest.raises(NotSent, match=r"nobody\.invalid: no address for this name"):
            await one.ask(Request("POST", "http://nobody.invalid/", body=b"x"))


async def test_a_server_that_closes_without_an_answer_leaves_a_doubt() -> None:
    async def closes(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_of(reader)

    async with raw(closes) as server, lane() as one:
        with pytest.raises(Doubtful, match="closed before an answer"):
            await one.ask(Request("POST", server.url, body=b"x"))
        assert server.connections == 1  # not asked again behind our back


async def test_a_reset_after_sending_leaves_a_doubt() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        reset(writer)

    async with raw(resets) as server, lane() as one:
        with pytest.raises(Doubtful):
            await one.ask(Request("POST", server.url, body=b"x"))
        assert server.connections == 1


async def test_a_kept_connection_that_breaks_under_a_post_leaves_a_doubt_and_is_not_repeated() -> None:
    heard: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        writer.write(OK)
        heard.append(await request_of(reader))
        reset(writer)

    async with raw(once) as server, lane() as one:
        assert (await one.ask(Request("POST", server.url, body=b"1"))).body == b"ok"
        with pytest.raises(Doubtful):
            await one.ask(Request("POST", server.url, body=b"2"))
        assert (server.connections, len(heard)) == (1, 2)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this", "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\nnope", "not packed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Encoding: gzip\r\n\r\n" + PACKED[:10], "cut"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-", "closed before"),
    ],
)
async def test_half_an_answer_is_none(said: bytes, why: str) -> None:
    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(said)
        await writer.drain()

    async with raw(says) as server, lane() as one:
        with pytest.raises(Doubtful, match=why):
            await one.ask(Request("POST", server.url, body=b"x"))


async def test_an_answer_that_never_comes_is_given_up_in_time_and_its_place_is_free_again() -> None:
    async with raw() as server, lane(concurrency=1) as one:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Doubtful, match="stood still"):
                await one.ask(Request("POST", server.url, body=b"x"))
            assert FAST.read - 0.01 < time.monotonic() - began < FAST.read + 4
        assert one.free() == 1


async def test_a_byte_now_and_then_is_given_up_when_the_time_is_over() -> None:
    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw(drips) as server, lane(timeout=0.7) as one:
        began = time.monotonic()
        with pytest.raises(Doubtful, match=r"no whole answer within 0\.7 s"):
            await one.ask(Request("POST", server.url, body=b"x"))
        assert 0.7 <= time.monotonic() - began < 5


async def test_a_server_that_accepts_and_never_shakes_hands_was_not_sent_to() -> None:
    async with raw() as server, lane() as one:
        began = time.monotonic()
        with pytest.raises(NotSent):
            await one.ask(Request("POST", server.url.replace("http:", "https:"), body=b"x"))
        assert time.monotonic() - began < FAST.connect + 4


# --- how much is read ------------------------------------------------------------------------------------------------


async def test_of_a_huge_answer_the_beginning_is_read_and_the_connection_closed() -> None:
    written = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
                written += 65536
        return response

    async with http(endless) as base, lane() as one:
        answer = await one.ask(Request("GET", base))
        assert (answer.status, len(answer.body), answer.whole) == (200, BODY_LIMIT, False)
        assert written < 64 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw"])
async def test_a_bomb_is_unpacked_as_far_as_there_is_room(encoding: str) -> None:
    window = {"gzip": 31, "deflate": 15, "raw": -15}[encoding]
    packer = zlib.compressobj(9, wbits=window)
    bomb = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(64)) + packer.flush()  # 64 MiB in 64 KiB

    async def throws(_: web.Request) -> web.Response:
        headers = {"Content-Encoding": "deflate" if encoding == "raw" else encoding}
        return web.Response(body=bomb, headers=headers)

    async with http(throws) as base, lane() as one:
        began = time.process_time()
        answer = await one.ask(Request("GET", base))
        assert (answer.body, answer.whole) == (bytes(BODY_LIMIT), False)
        assert time.process_time() - began < 1


@pytest.mark.parametrize("size", [0, 1, 1000, BODY_LIMIT - 1, BODY_LIMIT])
async def test_what_fits_is_read_whole_packed_or_not(size: int) -> None:
    body = (b"Trunkline " * (size // 10 + 1))[:size]
    half = size // 2
    packed = {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "x-gzip": gzip.compress(body[:half]) + gzip.compress(body[half:]),
        "identity": body,
    }

    async def packs(request: web.Request) -> web.Response:
        name = request.path.strip("/")
        return web.Response(body=packed[name], headers={"Content-Encoding": name})

    async with http(packs) as base, lane() as one:
        for name in packed:
            answer = await one.ask(Request("GET", f"{base}/{name}"))
            assert (answer.body == body, answer.whole) == (True, True), name


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_no_more_run_at_once_than_the_concurrency_and_all_get_their_turn() -> None:
    at_once = most = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return web.Response()

    async with http(slow) as base, lane(concurrency=3) as one:
        answers = await asyncio.gather(*(one.ask(Request("GET", base)) for _ in range(30)))
        assert {answer.status for answer in answers} == {200}
        assert most == 3
        assert (one.state().in_flight, one.free()) == (0, 3)


async def test_no_more_are_sent_in_a_second_than_the_rate() -> None:
    times: list[float] = []

    async def keep(_: web.Request) -> web.Response:
        times.append(time.monotonic())
        return web.Response()

    async with http(keep) as base, lane(rate=50, concurrency=20) as one:
        await asyncio.gather(*(one.ask(Request("GET", base)) for _ in range(45)))
    assert len(times) == 45
    assert times[-1] - times[0] >= 44 / 50 * 0.95


async def test_whoever_waits_too_long_for_a_turn_was_not_sent() -> None:
    async with raw() as server, lane(concurrency=1, timeout=0.3) as one:
        first = asyncio.create_task(one.ask(Request("GET", server.url), within=2))
        await becomes(lambda: one.state().in_flight == 1)
        with pytest.raises(NoTurn, match=r"turn did not come within 0\.3 s"):
            await one.ask(Request("GET", server.url))
        first.cancel()
        await asyncio.wait([first])
        assert one.free() == 1


async def test_a_request_that_is_cancelled_gives_its_place_to_the_next() -> None:
    async with raw() as server, http(hello) as base, lane(concurrency=1) as one:
        asked = [asyncio.create_task(one.ask(Request("GET", server.url))) for _ in range(3)]
        await becomes(lambda: one.state().in_flight == 1)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        assert (await one.ask(Request("GET", base))).body == b"hello"
        assert one.state().counts == {"cancelled": 3, "done": 1}


async def test_room_is_told_as_soon_as_there_is_some() -> None:
    release = asyncio.Event()

    async def waits(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with http(waits) as base, lane(concurrency=2) as one:
        assert await one.room() == 2
        asked = [asyncio.create_task(one.ask(Request("GET", base))) for _ in range(2)]
        await becomes(lambda: one.state().in_flight == 2)
        room = asyncio.create_task(one.room())
        assert one.free() == 0
        assert not (await asyncio.wait([room], timeout=0.05))[0]
        release.set()
        assert await asyncio.wait_for(room, 5) >= 1
        await asyncio.gather(*asked)


@pytest.mark.parametrize("status", scale.at(quick=[429], full=[429, 503]))
async def test_it_settles_at_half_the_capacity_when_that_is_what_is_left(status: int) -> None:
    """The neighbour serves so many at once and refuses the others; then it serves half as many."""
    capacity, busy, refused, served = 20, 0, 0, 0

    async def limited(_: web.Request) -> web.Response:
        nonlocal busy, refused, served
        if busy >= capacity:
            refused += 1
            return web.Response(status=status)
        busy += 1
        try:
            await asyncio.sleep(0.02)
        finally:
            busy -= 1
        served += 1
        return web.Response()

    tempo = Tempo(calm=1.0, steps=300, probe_every=30)
    async with http(limited) as base, lane(tempo=tempo, concurrency=20) as one:
        stop = asyncio.Event()
        limits: list[int] = []

        async def work() -> None:
            while not stop.is_set():
                with suppress(TrunklineError):
                    await one.ask(Request("POST", base, body=b"x"))
                limits.append(one.state().limit)

        workers = [asyncio.create_task(work()) for _ in range(25)]
        await becomes(lambda: served >= 200, within=30)
        assert refused == 0
        capacity = 10
        before, limits[:] = served, []
        await becomes(lambda: served >= before + 1500, within=60)
        stop.set()
        await asyncio.gather(*workers)
        settled = limits[len(limits) // 2 :]
        assert sum(settled) / len(settled) == pytest.approx(10, rel=0.1)
        assert 0 < refused < 0.01 * (served - before)
        assert one.state().standing == "closed"


async def test_it_settles_below_a_rate_that_halves() -> None:
    """The neighbour grants so many a second, by a bucket of ten; then half as many."""
    granted, tokens, at = 200.0, 10.0, time.monotonic()
    refused = served = 0

    async def limited(_: web.Request) -> web.Response:
        nonlocal tokens, at, refused, served
        now = time.monotonic()
        tokens, at = min(10.0, tokens + (now - at) * granted), now
        if tokens < 1:
            refused += 1
            return web.Response(status=429)
        tokens -= 1
        served += 1
        return web.Response()

    async with http(limited) as base, lane(tempo=Tempo(calm=2.0, steps=300), rate=180, concurrency=5) as one:
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                await one.ask(Request("POST", base, body=b"x"))

        workers = [asyncio.create_task(work()) for _ in range(8)]
        await becomes(lambda: served >= 150, within=30)
        granted, begin = 100.0, time.monotonic()
        await becomes(lambda: time.monotonic() > begin + 1.5, within=30)
        began, count, wrong = time.monotonic(), served, refused
        await becomes(lambda: time.monotonic() > began + 2, within=30)
        rate = (served - count) / (time.monotonic() - began)
        stop.set()
        await asyncio.gather(*workers)
    assert 80 < rate < 105
    assert refused - wrong <= 0.03 * (served - count)


# --- the breaker -----------------------------------------------------------------------------------------------------


async def test_a_dead_neighbour_is_left_alone_but_for_probes_and_found_again() -> None:
    changes: list[Opened | Closed] = []
    sound, asked = False, 0

    async def sick(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=200 if sound else 500, text="Internal error of +34911888920")

    async with http(sick) as base, lane(on_change=changes.append) as one:
        for _ in range(5):
            await one.ask(Request("POST", base))
        state = one.state()
        assert (state.standing, state.last_error) == ("open", "answered 500: Internal error of +…20")
        assert (await asyncio.gather(one.ask(Request("POST", base)), return_exceptions=True))[0].__class__ is LaneClosed
        assert (asked, one.free()) == (5, 0)
        began = time.monotonic()
        while time.monotonic() < began + 1.0:  # what a worker does
            assert await one.room() == 1
            with suppress(LaneClosed):
                await one.ask(Request("POST", base))
        assert 5 + 2 <= asked <= 5 + 4
        sound = True
        await one.room()
        assert verdict(await one.ask(Request("POST", base)), datetime.now(UTC)) is None
        assert (one.state().standing, await one.room() > 1) == ("closed", True)
    assert [type(change) for change in changes] == [Opened, Closed]
    assert isinstance(changes[0], Opened)
    assert changes[0].reason == "answered 500: Internal error of +…20"
    assert 0 < (changes[0].until - changes[0].at).total_seconds() <= FAST.probe_every
    assert isinstance(changes[1], Closed)
    assert abs((changes[1].since - changes[0].at).total_seconds()) < 0.2


async def test_many_that_ask_at_once_make_one_probe() -> None:
    asked = 0

    async def sick(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return web.Response(status=500)

    async with http(sick) as base, lane(tempo=Tempo(probe_every=0.5)) as one:
        for _ in range(5):
            await one.ask(Request("POST", base))
        await one.room()
        results = await asyncio.gather(*(one.ask(Request("POST", base)) for _ in range(20)), return_exceptions=True)
        assert [type(result) for result in results].count(LaneClosed) == 19
        assert asked == 6


async def test_whoever_waits_for_room_behind_a_probe_that_hangs_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may take longer than the time between two probes."""
    tempo = Tempo(connect=1, read=5, probe_every=0.05)
    async with raw() as server, lane(tempo=tempo) as one:
        one.trip("by the caller's judgement")
        assert await one.room() == 1
        probing = asyncio.create_task(one.ask(Request("GET", server.url), within=0.5))
        looks, news = 0, one._turns.news

        async def counted(within: float) -> None:
            nonlocal looks
            looks += 1
            await news(within)

        monkeypatch.setattr(one._turns, "news", counted)
        await becomes(lambda: one.state().in_flight == 1)
        waiting = asyncio.create_task(one.room())
        with suppress(TrunklineError):
            await probing
        assert 1 < looks < 60
        waiting.cancel()


async def test_answers_that_refuse_are_no_sign_of_sickness() -> None:
    statuses = iter([400, 404, 422, 429, 401, 410, 403] * 5)

    async def strict(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses))

    async with http(strict) as base, lane() as one:
        for _ in range(35):
            await one.ask(Request("POST", base))
        assert one.state().standing == "closed"
        assert one.state().counts == {"refused": 15, "limited": 5, "expired": 10, "gone": 5}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wish_for_a_pause_holds_the_whole_lane_and_no_other(status: int) -> None:
    asked: list[float] = []

    async def later(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        return web.Response(status=status, headers={"Retry-After": "1"})

    async with http(later) as base, http(hello) as other, outgoing() as client:
        one, two = lane_of(client), lane_of(client, "crm.b")
        problem = verdict(await one.ask(Request("POST", base)), datetime.now(UTC))
        assert isinstance(problem, RateLimited) or status == 503
        with pytest.raises(LaneClosed, match="pause") as closed:
            await one.ask(Request("POST", base))
        assert 0 < (closed.value.until - datetime.now(UTC)).total_seconds() <= 1
        assert (await two.ask(Request("GET", other))).body == b"hello"
        assert await asyncio.wait_for(one.room(), 5) >= 1
        await one.ask(Request("POST", base))
    assert asked[1] - asked[0] >= 0.99


async def test_a_caller_that_knows_better_opens_the_breaker_itself() -> None:
    changes: list[Opened | Closed] = []
    status = 401

    async def door(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with http(door) as base, lane(on_change=changes.append) as one:
        one.trip("a fresh token is not accepted")
        with pytest.raises(LaneClosed):
            await one.ask(Request("POST", base))
        await one.room()
        await one.ask(Request("POST", base))  # a probe that is still not let in
        assert one.state().standing == "open"
        status = 200
        await one.room()
        await one.ask(Request("POST", base))
        assert one.state().standing == "closed"
    assert [type(change) for change in changes] == [Opened, Closed]
    assert isinstance(changes[0], Opened)
    assert changes[0].reason == "a fresh token is not accepted"


async def test_a_listener_that_fails_does_not_fail_the_request() -> None:
    def fails(_: Opened | Closed) -> None:
        raise RuntimeError("the listener's own")

    async with lane(on_change=fails) as one:
        one.trip("no")
        assert one.state().standing == "open"


async def test_a_lane_that_hangs_takes_nothing_from_another() -> None:
    async with raw() as hanging, http(hello) as base, outgoing(tempo=Tempo()) as client:
        bad, good = lane_of(client, concurrency=50, timeout=10), lane_of(client, "crm.b", concurrency=5)
        alone = await _time_of(good, base, 200)
        asked = [asyncio.create_task(bad.ask(Request("GET", hanging.url))) for _ in range(200)]
        await becomes(lambda: hanging.connections == 50, within=10)
        beside = await _time_of(good, base, 200)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        assert beside < 3 * alone + 0.5


async def _time_of(one: Lane, url: str, count: int) -> float:
    began = time.monotonic()
    await asyncio.gather(*(one.ask(Request("GET", url)) for _ in range(count)))
    return time.monotonic() - began


# --- beginning and end -----------------------------------------------------------------------------------------------


async def test_closing_ends_what_is_on_its_way_as_a_doubt_and_sends_nothing_more() -> None:
    async with raw() as server, outgoing() as client:
        one = lane_of(client, concurrency=1)
        first, second = (asyncio.create_task(one.ask(Request("POST", server.url, body=b"x"))) for _ in range(2))
        await becomes(lambda: server.connections == 1 and bool(server.heard))
        await client.close()
        results = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5)
        assert [type(result) for result in results] == [Doubtful, NotSent]
        with pytest.raises(NotSent):
            await one.ask(Request("POST", server.url, body=b"x"))
        assert server.connections == 1


async def test_names_of_lanes_are_unique_and_there_are_none_before_the_start() -> None:
    client = Outgoing()
    with pytest.raises(RuntimeError, match="not started"):
        lane_of(client)
    async with outgoing() as started:
        lane_of(started)
        with pytest.raises(ValueError, match=r"crm\.a"):
            lane_of(started)
        assert set(started.lanes) == {"crm.a"}


async def test_every_request_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, object]] = []
    for level in ("info", "debug"):
        monkeypatch.setattr(log, level, lambda event, **fields: lines.append({"event": event, **fields}), raising=False)
    async with http(hello) as base, lane() as one:
        await one.ask(Request("POST", f"{base}/calls?token=s3cret", {"Authorization": "Bearer s3cret"}, b"s3cret"))
    (line,) = lines
    assert "s3cret" not in str(line)
    assert (line["event"], line["lane"], line["verdict"], line["status"]) == ("outgoing.done", "crm.a", "done", 200)
    assert line["url"] == f"{base}/calls?token=…"
