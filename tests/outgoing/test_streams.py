"""Downloads from real neighbours that redirect, cut, drip and serve ranges."""

import asyncio
import time
import tracemalloc
from contextlib import suppress

import pytest
from aiohttp import web

from hub.errors import Doubtful, Forbidden, LaneClosed, NotSent, Refused
from hub.outgoing import Lane, Request
from tests.outgoing.neighbours import Names, becomes, http, outgoing, raw, request_of
from tests.outgoing.test_lane import hello, lane, lane_of

AUDIO = bytes(range(256)) * 4096  # 1 MiB


async def audio(request: web.Request) -> web.StreamResponse:
    start, stop = request.http_range.start or 0, request.http_range.stop or len(AUDIO)
    status = 206 if "Range" in request.headers else 200
    return web.Response(status=status, body=AUDIO[start:stop], headers={"ETag": '"v1"', "Content-Type": "audio/wav"})


async def read(one: Lane, request: Request, **options: float) -> tuple[int, bytes]:
    body = bytearray()
    async with one.stream(request, **options) as streamed:  # type: ignore[arg-type]
        async for chunk in streamed.chunks():
            assert len(chunk) <= 65536
            body += chunk
        return streamed.status, bytes(body)


async def test_a_download_comes_in_pieces_and_whole() -> None:
    async with http(audio) as base, lane() as one:
        assert await read(one, Request("GET", f"{base}/a.wav")) == (200, AUDIO)
        assert one.state().counts == {"done": 1}
        assert one.free() == 10


async def test_a_download_goes_on_where_it_was_cut() -> None:
    async with http(audio) as base, lane() as one:
        request = Request("GET", f"{base}/a.wav", {"Range": "bytes=1000-", "If-Range": '"v1"'})
        async with one.stream(request) as streamed:
            assert (streamed.status, streamed.headers["ETag"]) == (206, '"v1"')
            assert b"".join([chunk async for chunk in streamed.chunks()]) == AUDIO[1000:]


async def test_nothing_is_unpacked() -> None:
    async def packs(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=b"\x1f\x8bnot really", headers={"Content-Encoding": "gzip"})

    async with http(packs) as base, lane() as one:
        assert (await read(one, Request("GET", base)))[1] == b"\x1f\x8bnot really"


async def test_a_big_download_does_not_stay_in_memory() -> None:
    async def big(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(AUDIO)
        return response

    async with http(big) as base, lane() as one:
        tracemalloc.start()
        try:
            size = 0
            async with one.stream(Request("GET", base)) as streamed:
                async for chunk in streamed.chunks():
                    size += len(chunk)
            assert size == 64 << 20
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n"],
)
async def test_a_body_that_is_cut_is_an_error_and_what_came_before_is_good(head: bytes) -> None:
    async def cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(head + b"x" * 60)
        await writer.drain()

    async with raw(cuts) as server, lane() as one:
        async with one.stream(Request("GET", server.url)) as streamed:
            chunks = streamed.chunks()
            got = await anext(chunks)
            with pytest.raises(Doubtful, match="cut"):
                await anext(chunks)
        assert got == b"x" * 60
        assert one.state().counts == {"doubtful": 1}


async def test_a_body_that_stands_still_is_given_up() -> None:
    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await writer.drain()
        await reader.read()

    async with raw(stops) as server, lane() as one:
        with pytest.raises(Doubtful, match="stood still"):
            await read(one, Request("GET", server.url), read=0.2)


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_a_body_that_drips_is_too_slow() -> None:
    async with raw(drips) as server, lane() as one:
        began = time.monotonic()
        with pytest.raises(Doubtful, match=r"too slow: .* expected 512"):
            await read(one, Request("GET", server.url))
        assert time.monotonic() - began < 5


async def test_a_download_ends_when_its_time_is_over() -> None:
    async with raw(drips) as server, lane() as one:
        with pytest.raises(Doubtful, match=r"no whole answer within 0\.4 s"):
            await read(one, Request("GET", server.url), total=0.4, slowest=0)


async def test_a_reader_that_takes_its_time_is_not_the_servers_fault() -> None:
    async with http(audio) as base, lane() as one:
        async with one.stream(Request("GET", base), read=0.2) as streamed:
            size = 0
            async for chunk in streamed.chunks():
                size += len(chunk)
                if size == len(chunk):
                    await asyncio.sleep(0.6)  # longer than `read`, and than the window in which speed is measured
        assert size == len(AUDIO)


async def test_leaving_early_frees_the_place() -> None:
    async with raw(drips) as server, lane(concurrency=1) as one:
        for _ in range(2):
            async with one.stream(Request("GET", server.url)) as streamed:
                async for _ in streamed.chunks():
                    break
        assert one.free() == 1


async def test_an_error_of_the_readers_own_is_not_the_neighbours() -> None:
    async with http(audio) as base, lane() as one:
        for _ in range(6):
            with suppress(KeyError):
                async with one.stream(Request("GET", base)):
                    raise KeyError("the disk is full")
        assert (one.state().standing, one.state().counts) == ("closed", {"done": 6})


async def test_what_is_not_there_yet_says_so_with_its_status() -> None:
    async def not_yet(_: web.Request) -> web.Response:
        return web.Response(status=404, text="not ready")

    async with http(not_yet) as base, lane() as one, one.stream(Request("GET", base)) as streamed:
        assert (streamed.status, await streamed.body()) == (404, b"not ready")


# --- redirects -------------------------------------------------------------------------------------------------------


async def chain(request: web.Request) -> web.StreamResponse:
    left = int(request.path.strip("/") or 0)
    if left:
        return web.Response(status=[301, 302, 307, 308][left % 4], headers={"Location": f"/{left - 1}"})
    return await audio(request)


async def test_three_redirects_are_followed_and_a_fourth_is_refused() -> None:
    async with http(chain) as base, lane() as one:
        assert await read(one, Request("GET", f"{base}/3")) == (200, AUDIO)
        with pytest.raises(Refused, match="more than 3 redirects"):
            await read(one, Request("GET", f"{base}/4"))
        assert one.state().standing == "closed"


async def test_without_redirects_a_redirect_is_an_answer() -> None:
    async with http(chain) as base, lane() as one, one.stream(Request("GET", f"{base}/1"), redirects=0) as streamed:
        assert streamed.status == 302


async def test_a_post_is_not_redirected() -> None:
    async with http(chain) as base, lane() as one, one.stream(Request("POST", f"{base}/1")) as streamed:
        assert streamed.status == 302


async def test_credentials_stay_with_the_host_that_they_are_for() -> None:
    seen: list[dict[str, str]] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(text="there")

    async with http(keep) as other:

        async def leads(request: web.Request) -> web.Response:
            seen.append(dict(request.headers))
            there = "/same" if request.path == "/first" else other.replace("127.0.0.1", "user:pass@localhost")
            return web.Response(status=302, headers={"Location": there})

        async with http(leads) as base, lane() as one:
            secrets = {"Authorization": "Bearer x", "X-Api-Key": "k", "Cookie": "c=d", "Range": "bytes=5-"}
            assert (await read(one, Request("GET", f"{base}/first", secrets)))[1] == b"there"
    first, same, there = seen
    assert all(headers.get(name) == value for headers in (first, same) for name, value in secrets.items())
    assert {name for name in secrets if name in there} == {"Range"}


async def test_another_port_is_another_host() -> None:
    seen: list[str | None] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    async with http(keep) as other:

        async def leads(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": other})

        async with http(leads) as base, lane() as one:
            await read(one, Request("GET", base, {"Authorization": "x"}))
    assert seen == [None]


@pytest.mark.parametrize("location", ["http://[::1", "", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://"])
async def test_a_redirect_to_nowhere_is_an_error(location: str) -> None:
    async def leads(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    async with http(leads) as base, lane() as one:
        if not location:  # no redirect at all: an answer
            assert (await read(one, Request("GET", base)))[0] == 302
            return
        with pytest.raises((Refused, Forbidden)):
            await read(one, Request("GET", base))


async def test_a_redirect_to_a_name_that_turns_out_to_be_inside_is_forbidden() -> None:
    async with raw() as canary:

        async def leads(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": f"http://audio.example:{canary.port}/"})

        names = Names({"audio.example": [["10.0.0.1"]]})
        async with http(leads) as base, outgoing(resolver=lambda _: names) as client:
            with pytest.raises(Forbidden):
                await read(lane_of(client), Request("GET", base))
        assert canary.connections == 0


async def test_a_probe_may_be_a_download() -> None:
    async with http(audio) as base, lane() as one:
        one.trip("down")
        with pytest.raises(LaneClosed):
            await read(one, Request("GET", base))
        await one.room()
        async with one.stream(Request("GET", base)) as streamed:
            assert one.state().standing == "closed"  # at its head: others need not wait for its end
            assert len([chunk async for chunk in streamed.chunks()]) > 1


async def test_closing_ends_a_download() -> None:
    async with raw(drips) as server, outgoing() as client:
        one = lane_of(client)
        reading = asyncio.create_task(read(one, Request("GET", server.url), slowest=0))
        await becomes(lambda: one.state().in_flight == 1 and server.connections == 1)
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises((Doubtful, NotSent)):
            await asyncio.wait_for(reading, 5)


async def test_downloads_of_one_lane_do_not_hold_up_another() -> None:
    async with raw(drips) as server, http(hello) as base, outgoing() as client:
        slow, quick = lane_of(client, "rec.a", concurrency=4), lane_of(client, "rec.b")
        reading = [asyncio.create_task(read(slow, Request("GET", server.url), slowest=0)) for _ in range(8)]
        await becomes(lambda: server.connections == 4)
        assert (await asyncio.wait_for(read(quick, Request("GET", base)), 5))[1] == b"hello"
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
