"""Names into addresses, in threads of the lane's own: the process's few would all wait for one dead name server."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

_THREADS: Final = 2


class Resolver(AbstractResolver):
    """The system's own resolver."""

    def __init__(self, name: str) -> None:
        """Args: name: of the lane, for its threads."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"names of {name}")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port, family)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=kind, proto=protocol, flags=flags)
            for kind, protocol, address in found
        ]

    async def close(self) -> None:
        """Waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(
    host: str, port: int, family: socket.AddressFamily
) -> list[tuple[socket.AddressFamily, int, tuple[str, int]]]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        (kind, protocol, (f"{address[0]}", int(address[1])))
        for kind, _, protocol, _, address in found
        if kind in {socket.AF_INET, socket.AF_INET6}
    ]
