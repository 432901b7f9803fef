"""A TCP proxy that does to connections what networks do: late, slow, silent, cut in the midst of a word, refused.

It stands before the server of a URL, a broker or a database, and is told per direction what to do::

    async with Proxy(amqp_url) as proxy:
        hub = …(proxy.url)
        proxy.down.delay = 6             # all that the server says is late
        proxy.up.blackhole = True        # nothing arrives, and nobody is told
        proxy.silence()                  # the connections that there are go dead; new ones are as good as ever
        proxy.trap(COMMIT)               # the server has committed, and its client never hears of it
        await proxy.cut()                # an outage; `mend` ends it

What it did to how many bytes and connections is counted: a test asserts that its fault has happened.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Coroutine
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.servers.ports import free_port, release_port

COMMIT: Final = re.compile(rb"Q.{4}COMMIT", re.DOTALL)
"""PostgreSQL's message that ends a transaction, as asyncpg sends it."""

PUBLISH: Final = re.compile(rb"\x01.{6}\x00\x3c\x00\x28", re.DOTALL)
"""AMQP's frame of method 60, 40: ``basic.publish``."""

_REACH: Final = 16  # bytes that a pattern has at most: it may begin in one read and end in the next
_READ: Final = 65_536
_TICK: Final = 0.05  # seconds
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset, and what is unsent is forgotten


class Way:
    """One direction.

    Attributes:
        delay: seconds by which everything is late, in its order.
        rate: bytes a second; None for as many as there are.
        blackhole: nothing passes, and the connections stay open.
        cut_after: bytes that still pass, on whichever connections; the one that would bring more is reset. None: all.
        seen: bytes that came.
        passed: bytes of them that went on.
        late: bytes of them that were delayed.
        swallowed: bytes that never arrived.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self.rate: float | None = None
        self.blackhole = False
        self.cut_after: int | None = None
        self.seen = 0
        self.passed = 0
        self.late = 0
        self.swallowed = 0

    @property
    def under_way(self) -> int:
        """Bytes that came and have not gone on yet: what a delay that has ended still holds."""
        return self.seen - self.passed - self.swallowed


class _Connection:
    """A client, and the server beyond where there is one."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter | None = None) -> None:
        self.client = client
        self.server = server
        self.silent = False
        self.answer_is_lost = False
        self.over = False
        self.said = b""  # the last of what passed up: a pattern may begin there

    def reset(self) -> None:
        """Ends it at both ends, without a goodbye."""
        self.silent = False
        for end in self._ends:
            _reset(end)

    def close(self) -> None:
        """Ends it politely."""
        for end in self._ends:
            end.close()

    @property
    def _ends(self) -> list[asyncio.StreamWriter]:
        return [end for end in (self.client, self.server) if end is not None]


class Proxy:
    """Stands before the server of a URL; ``url`` is the way through it.

    Attributes:
        up: from the clients to the server.
        down: from the server to the clients.
        mute: new connections are accepted, and nobody ever answers.
        sprung: how often a trap has sprung.
        resets: connections that were reset.
        accepted: connections so far.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._port = free_port()
        self.url = url.replace(f":{self._target.port}/", f":{self._port}/")
        self.up, self.down = Way(), Way()
        self.mute = False
        self.sprung = 0
        self.resets = 0
        self.accepted = 0
        self._trap: tuple[re.Pattern[bytes], bool] | None = None
        self._traps = 0
        self._connections: set[_Connection] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._arriving: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()
        release_port(self._port)

    @property
    def refused(self) -> bool:
        """Whether connections are refused."""
        return self._server is None

    @property
    def swallowed(self) -> int:
        """Bytes that came and never arrived, either way: the proof that a silent connection was in use."""
        return self.up.swallowed + self.down.swallowed

    async def mend(self) -> None:
        """From now on connections are taken."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Ends every connection; from now on they are refused."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._end()
        await asyncio.gather(*self._arriving, return_exceptions=True)
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    def reset(self) -> int:
        """Resets every connection that there is; returns how many. New ones are as good as ever."""
        ended = self._end()
        self.resets += ended
        return ended

    def silence(self) -> int:
        """From now on nothing passes on the connections that there are; returns how many still spoke.

        New ones are untouched.
        """
        speaking = [connection for connection in self._connections if not connection.silent]
        for connection in speaking:
            connection.silent = True
        return len(speaking)

    def trap(self, pattern: re.Pattern[bytes], *, times: int = 1, answered: bool = True) -> None:
        """Cuts the next connections whose client says this.

        Args:
            pattern: of ``_REACH`` bytes at most.
            times: how many connections.
            answered: whether the server gets all of it, and the cut comes where its answer would; else the cut comes
                right behind the pattern.
        """
        self._trap, self._traps = (pattern, answered), times

    def _end(self) -> int:
        for connection in self._connections:
            connection.reset()
        return len(self._connections)

    # --- a connection ------------------------------------------------------------------------------------------------

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.mute:
            self._serve(connection := _Connection(writer), self._swallow(reader))
            return
        arriving = asyncio.current_task()
        assert arriving is not None
        self._arriving.add(arriving)
        try:
            there, server = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            _reset(writer)  # nobody beyond: the connection is worth nothing
            return
        finally:
            self._arriving.discard(arriving)
        connection = _Connection(writer, server)
        if self.refused:  # since a moment
            connection.reset()
            return
        self._serve(
            connection,
            self._pass(connection, self.up, reader, server),
            self._pass(connection, self.down, there, writer),
        )

    def _serve(self, connection: _Connection, *ways: Coroutine[Any, Any, None]) -> None:
        self._connections.add(connection)
        task = asyncio.create_task(self._carry(connection, *ways))
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)

    async def _carry(self, connection: _Connection, *ways: Coroutine[Any, Any, None]) -> None:
        """A connection until both its directions have ended."""
        try:
            await asyncio.gather(*ways)
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ):
                self.up.swallowed += len(data)

    async def _pass(
        self, connection: _Connection, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        """One direction of a connection until it ends; what is delayed does not delay what comes behind it."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        reading = asyncio.create_task(_read(source, way, line))
        try:
            with contextlib.suppress(OSError):
                while (arrived := await line.get())[1]:
                    await self._arrive(connection, way, sink, *arrived)
            if connection.silent or way.blackhole:
                await asyncio.Event().wait()  # a goodbye does not pass either
            sink.close()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            while not line.empty():
                way.swallowed += len(line.get_nowait()[1])

    async def _arrive(
        self, connection: _Connection, way: Way, sink: asyncio.StreamWriter, came_at: float, data: bytes
    ) -> None:
        """What becomes of some bytes."""
        if way.delay:
            await asyncio.sleep(came_at + way.delay - asyncio.get_running_loop().time())
            way.late += len(data)
        if connection.silent or connection.over or way.blackhole:
            way.swallowed += len(data)
        elif way is self.down and connection.answer_is_lost:
            way.swallowed += len(data)
            self.sprung += 1
            self._cut(connection, sink)
        else:
            room = self._room(connection, way, data)
            await _write(sink, data[:room], way)
            if room is not None:
                way.swallowed += len(data[room:])
                self._cut(connection, sink)

    def _room(self, connection: _Connection, way: Way, data: bytes) -> int | None:
        """How many of these bytes pass before the connection is cut; None where it is not."""
        if way is self.up and (end := self._caught(connection, data)) is not None:
            self.sprung += 1
            return end
        if way.cut_after is None:
            return None
        if len(data) <= way.cut_after:
            way.cut_after -= len(data)
            return None
        room, way.cut_after = way.cut_after, None
        return room

    def _caught(self, connection: _Connection, data: bytes) -> int | None:
        """Where the pattern of a trap that cuts at once ends in this; arms one that waits for the answer."""
        before = len(connection.said)
        said, connection.said = connection.said + data, (connection.said + data)[-_REACH:]
        if self._trap is None or not self._traps:
            return None
        pattern, answered = self._trap
        ends = [match.end() - before for match in pattern.finditer(said) if match.end() > before]
        if not ends:
            return None
        self._traps -= 1
        if answered:
            connection.answer_is_lost = True
            return None
        return ends[0]

    def _cut(self, connection: _Connection, sink: asyncio.StreamWriter) -> None:
        """Ends a connection: what was passed on arrives, and whoever has sent more gets a reset."""
        self.resets += 1
        connection.over = True
        for end in (connection.client, connection.server):
            if end is not None and (end is not sink or connection.answer_is_lost):
                _reset(end)
        sink.close()


async def _read(source: asyncio.StreamReader, way: Way, line: "asyncio.Queue[tuple[float, bytes]]") -> None:
    """Puts what comes on the line with the time at which it came; nothing, at the end."""
    loop = asyncio.get_running_loop()
    data = b""
    with contextlib.suppress(OSError):
        while data := await source.read(_READ):
            way.seen += len(data)
            line.put_nowait((loop.time(), data))
    line.put_nowait((loop.time(), b""))


async def _write(sink: asyncio.StreamWriter, data: bytes, way: Way) -> None:
    while data:
        piece = data if way.rate is None else data[: max(1, int(way.rate * _TICK))]
        if way.rate is not None:
            await asyncio.sleep(len(piece) / way.rate)
        if sink.transport.is_closing():
            way.swallowed += len(data)
            raise ConnectionResetError("nobody is there any more")
        sink.write(piece)
        way.passed += len(piece)
        data = data[len(piece) :]


def _reset(end: asyncio.StreamWriter) -> None:
    if not end.transport.is_closing():
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()
