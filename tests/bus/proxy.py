"""A TCP proxy that can go silent: the connections stay open and nothing passes any more, as when a firewall forgets."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit

from tests.servers.ports import free_port, release_port


class Proxy:
    """Stands before the server of a URL; `url` is the way through it."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._port = free_port()
        self.url = url.replace(f":{self._target.port}/", f":{self._port}/")
        self.swallowed = 0  # bytes that came to a silent connection: the proof that it was in use
        self._passing = asyncio.Event()
        self._pipes: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()
        release_port(self._port)

    def silence(self) -> None:
        """From now on nothing passes on the connections that there are; new ones are as good as ever."""
        self._passing.set()
        self._passing = asyncio.Event()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            pipe = asyncio.create_task(self._pipe(source, sink, self._passing))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        with contextlib.closing(sink), contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if silent.is_set():
                    self.swallowed += len(data)
                else:
                    sink.write(data)
