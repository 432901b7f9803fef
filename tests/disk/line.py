"""A TCP line to a server, which can be cut, mended, and slow on the way back: an outage without stopping the server."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit

from tests.servers.ports import free_port, release_port


class Line:
    """Stands before the server of a URL; `url` is the way through it.

    Attributes:
        slow: seconds by which everything that the server says is late.
        late: bytes that were: the proof that it happened.
        refused: whether the line is cut; a connection is refused then.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._port = free_port()
        self.url = url.replace(f":{self._target.port}/", f":{self._port}/")
        self.slow = 0.0
        self.late = 0
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()
        release_port(self._port)

    @property
    def refused(self) -> bool:
        return self._server is None

    async def mend(self) -> None:
        """From now on connections are taken."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Ends every connection; from now on they are refused."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        for source, sink, back in ((reader, there[1], False), (there[0], writer, True)):
            pipe = asyncio.create_task(self._pipe(source, sink, back=back))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, back: bool) -> None:
        with contextlib.closing(sink), contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if back and self.slow:
                    await asyncio.sleep(self.slow)
                    self.late += len(data)
                sink.write(data)
