"""The proxy does what it is told, and nothing else; each fault leaves its number behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic

import aio_pika
import asyncpg
import pytest

from tests.faults.proxy import COMMIT, PUBLISH, Proxy
from tests.hub import until

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


class Echo:
    """A server that says what it is told, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while data := await reader.read(1000):
                self.heard += data
                writer.write(data)
        self.ended += 1


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    yield echo
    await echo.stop()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy(await echo.start()) as proxy:
        yield proxy


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """New connections through the proxy; closed at the end."""
    clients: list[asyncio.StreamWriter] = []

    async def connected() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", int(proxy.url.split(":")[-1].rstrip("/")))
        clients.append(streams[1])
        return streams

    yield connected
    for client in clients:
        client.close()
    await asyncio.gather(*(client.wait_closed() for client in clients), return_exceptions=True)


async def say(streams: Streams, what: bytes) -> None:
    streams[1].write(what)
    await streams[1].drain()


async def hears(streams: Streams, what: bytes) -> None:
    async with asyncio.timeout(5):
        assert await streams[0].readexactly(len(what)) == what


async def is_reset(streams: Streams) -> None:
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(5):
            await streams[0].readexactly(1_000_000)


async def becomes(true: Callable[[], bool]) -> None:
    async def look() -> bool:
        return true()

    await until(look, within=5)


async def test_told_nothing_it_passes_everything_and_the_goodbyes_too(
    proxy: Proxy, connect: Connect, echo: Echo
) -> None:
    streams = await connect()
    for _ in range(50):
        await say(streams, b"x" * 10_000)
        await hears(streams, b"x" * 10_000)
    assert (proxy.up.passed, proxy.down.passed, proxy.swallowed, proxy.resets) == (500_000, 500_000, 0, 0)
    streams[1].close()
    await becomes(lambda: echo.ended == 1)


async def test_a_delay_is_of_one_direction_keeps_the_order_and_does_not_add_up(proxy: Proxy, connect: Connect) -> None:
    streams = await connect()
    proxy.down.delay = 0.3
    began = monotonic()
    for number in range(20):
        await say(streams, b"%02d" % number)
        await asyncio.sleep(0.01)
    await becomes(lambda: proxy.up.passed == 40)
    await hears(streams, b"".join(b"%02d" % number for number in range(20)))
    assert 0.5 <= monotonic() - began < 2
    assert (proxy.down.late, proxy.up.late) == (40, 0)


async def test_a_black_hole_keeps_the_connection_open_and_tells_nobody(
    proxy: Proxy, connect: Connect, echo: Echo
) -> None:
    old = await connect()
    await say(old, b"a")
    await hears(old, b"a")
    assert proxy.silence() == 1
    await say(old, b"b")
    await becomes(lambda: proxy.up.swallowed == 1)
    new = await connect()
    await say(new, b"c")
    await hears(new, b"c")
    assert echo.heard == b"ac"
    proxy.up.blackhole = True
    await say(new, b"d")
    await becomes(lambda: proxy.up.swallowed == 2)
    assert echo.heard == b"ac"
    for streams in (old, new):
        assert not streams[0].at_eof()
        streams[1].close()
    await becomes(lambda: proxy.up.seen == 4)
    assert echo.ended == 0  # nor does a goodbye pass


async def test_a_reset_is_one_at_both_ends_and_new_connections_are_taken(
    proxy: Proxy, connect: Connect, echo: Echo
) -> None:
    streams = await connect()
    await say(streams, b"a")
    await hears(streams, b"a")
    assert proxy.reset() == 1
    await is_reset(streams)
    await becomes(lambda: echo.ended == 1)
    again = await connect()
    await say(again, b"b")
    await hears(again, b"b")
    assert proxy.resets == 1


async def test_it_cuts_after_so_many_bytes_and_those_arrive(proxy: Proxy, connect: Connect, echo: Echo) -> None:
    streams = await connect()
    proxy.up.cut_after = 7
    await say(streams, b"abcde")
    await hears(streams, b"abcde")
    await say(streams, b"fghij")
    await is_reset(streams)
    await becomes(lambda: echo.ended == 1)
    assert echo.heard == b"abcdefg"
    assert (proxy.up.swallowed, proxy.resets) == (3, 1)
    again = await connect()
    await say(again, b"once")
    await hears(again, b"once")


async def test_a_throttle_is_a_rate(proxy: Proxy, connect: Connect) -> None:
    streams = await connect()
    proxy.up.rate = 20_000
    began = monotonic()
    await say(streams, b"x" * 10_000)
    await hears(streams, b"x" * 10_000)
    assert 0.4 < monotonic() - began < 5


async def test_a_mute_server_accepts_and_says_nothing(proxy: Proxy, connect: Connect, echo: Echo) -> None:
    proxy.mute = True
    streams = await connect()
    await say(streams, b"anybody there?")
    await becomes(lambda: proxy.up.swallowed == 14)
    assert not streams[0].at_eof()
    assert (echo.heard, proxy.accepted) == (b"", 1)
    proxy.mute = False
    again = await connect()
    await say(again, b"now?")
    await hears(again, b"now?")


async def test_an_outage_refuses_until_it_is_mended(proxy: Proxy, connect: Connect) -> None:
    streams = await connect()
    await proxy.cut()
    assert proxy.refused
    await is_reset(streams)
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await proxy.mend()
    again = await connect()
    await say(again, b"b")
    await hears(again, b"b")


async def test_a_trap_springs_on_a_pattern_that_comes_in_pieces_and_as_often_as_it_is_set(
    proxy: Proxy, connect: Connect, echo: Echo
) -> None:
    proxy.trap(COMMIT, times=2, answered=False)
    for expected in (1, 2):
        streams = await connect()
        for piece in (b"xxQ\x00\x00", b"\x00\x0c", b"COM", b"MIT;\x00"):
            await say(streams, piece)
            await asyncio.sleep(0.02)  # so that they are read apart
        await is_reset(streams)
        assert proxy.sprung == expected
    await becomes(lambda: echo.ended == 2)
    assert echo.heard == b"xxQ\x00\x00\x00\x0cCOMMIT" * 2
    streams = await connect()
    await say(streams, b"Q\x00\x00\x00\x0cCOMMIT;\x00")
    await hears(streams, b"Q\x00\x00\x00\x0cCOMMIT;\x00")


async def test_a_transaction_whose_commit_is_not_answered_is_committed_and_its_client_never_hears_of_it(
    postgres_url: str,
) -> None:
    async with Proxy(postgres_url) as proxy:
        client = await asyncpg.connect(proxy.url)
        await client.execute("CREATE TABLE calls (id int)")
        proxy.trap(COMMIT)
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError, asyncpg.InterfaceError)):
            async with client.transaction():
                await client.execute("INSERT INTO calls VALUES (1)")
        assert (proxy.sprung, proxy.resets) == (1, 1)
        client.terminate()
    witness = await asyncpg.connect(postgres_url)
    assert await witness.fetchval("SELECT count(*) FROM calls") == 1
    await witness.close()


async def test_a_publisher_is_cut_in_the_midst_of_its_message(amqp_url: str) -> None:
    async with Proxy(amqp_url) as proxy:
        connection = await aio_pika.connect(proxy.url)
        channel = await connection.channel()
        queue = await channel.declare_queue("calls", durable=True)
        proxy.trap(PUBLISH, answered=False)
        with pytest.raises((ConnectionError, aio_pika.exceptions.AMQPError, asyncio.CancelledError)):
            await channel.default_exchange.publish(aio_pika.Message(b"x"), queue.name, timeout=5)
        assert proxy.sprung == 1
        await connection.close()
    async with await aio_pika.connect(amqp_url) as witness:
        asked = await (await witness.channel()).declare_queue("calls", passive=True)
        assert asked.declaration_result.message_count == 0
