"""A crowd at the door: who came first is known, and nobody waits for a turn of the loop for each caller before."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import uvloop
from aiohttp import web

from hub.door import arrived_at, serve

CROWD = 320
REQUEST = b"POST / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def served(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[int]:
    async with AsyncExitStack() as stack:
        yield await serve(stack, [web.post("/", handler)], "127.0.0.1", 0, key="http.port")


def asking(port: int) -> socket.socket:
    """A connection whose request is in the kernel."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(REQUEST)
    return connection


def test_a_request_came_when_the_kernel_had_it_and_not_when_the_loop_had_a_turn() -> None:
    async def main() -> None:
        waited: list[float] = []

        async def handler(request: web.Request) -> web.Response:
            waited.append(asyncio.get_running_loop().time() - arrived_at(request))
            return web.Response()

        async with served(handler) as port:
            with asking(port) as connection:
                time.sleep(0.3)  # noqa: ASYNC251  the loop is busy: that is the case
                await answered(connection)
        assert 0.25 < waited[0] < 5

    for run in (asyncio.run, uvloop.run):
        run(main())


def test_a_crowd_is_let_in_by_handfuls_and_not_one_in_each_turn_of_the_loop() -> None:
    async def main() -> None:
        inside, all_inside = count(1), asyncio.Event()

        async def handler(_: web.Request) -> web.Response:
            if next(inside) == CROWD:
                all_inside.set()
            await all_inside.wait()
            return web.Response()

        async with served(handler) as port:
            crowd = [asking(port) for _ in range(CROWD)]
            turns = 0
            while not all_inside.is_set():
                turns += 1
                await asyncio.sleep(0)
            assert turns < CROWD / 4, "sixteen in each turn, and some turns until a handler begins"
            for connection in crowd:
                await answered(connection)
                connection.close()

    for run in (asyncio.run, uvloop.run):
        run(main())


async def answered(connection: socket.socket) -> None:
    connection.setblocking(False)
    begun = await asyncio.get_running_loop().sock_recv(connection, 100)
    assert begun.startswith(b"HTTP/1.1 200")
