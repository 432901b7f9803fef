"""``python -m tests.bench.queries``: what the hub adds to a live Query whose service answers after 50 ms.

One embedded hub, the customer's service and the vendor, a process each; they share the machine, so the figures are
upper bounds. First questions at a steady rate, then many at one moment, with the default wait and a long one. Each
Query is a connection of its own, written before the clock runs and read after it has stopped, so that the vendor costs
little of what is measured.
"""

import asyncio
import statistics
import sys
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final, NamedTuple

import uvloop

from hub.questions import FINE
from tests.bench import orders
from tests.bench.orders import LATENCY
from tests.hub import TOKEN
from tests.process.site import site, terminated
from tests.queries.vendor import question, read, request

CROWD: Final = 1000
RUSH: Final = 1900
_SECONDS: Final = 10  # at each rate
_LONG: Final = 30.0  # seconds of a wait that nobody reaches
_FEW: Final = 20  # asked before, for imports and for connections to the service


class Asked(NamedTuple):
    """One Query: seconds to its answer, and whether it was answered with what was asked for, or with an error."""

    seconds: float
    answered: bool


class _Vendor(asyncio.Protocol):
    """One Query on a connection of its own."""

    def __init__(self, began: float, ended: "asyncio.Future[tuple[float, bytes]]") -> None:
        self._began, self._ended = began, ended
        self._read = bytearray()

    def data_received(self, data: bytes) -> None:
        self._read += data

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._ended.set_result((perf_counter() - self._began, bytes(self._read)))
        else:
            self._ended.set_exception(exc)


def _written(number: int) -> bytes:
    content_type, body = request(question("ESTADO PEDIDO", str(number)), "json")
    lines = (
        f"POST /queries/line-900/{TOKEN} HTTP/1.1",
        "Host: hub",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def _one(port: int, content: bytes, delay: float = 0) -> Asked:
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[float, bytes]] = loop.create_future()
    began = perf_counter()
    transport, _ = await loop.create_connection(lambda: _Vendor(began, ended), "127.0.0.1", port)
    transport.write(content)
    seconds, answer = await ended
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    told = read(body, "application/json", "json")
    assert (told.result == FINE) == (told.variables == {"PEDIDO": "2"}), told
    return Asked(seconds, told.result == FINE)


async def measured(rate: float, count: int, wait: float) -> list[Asked]:
    """``count`` Queries, ``rate`` a second or, with 0, all at once, of a hub that is started for them."""
    with TemporaryDirectory() as directory:
        async with site(Path(directory)) as here:
            url = f"http://127.0.0.1:{here.spare[0]}/resolve"
            tables: dict[str, dict[str, Any]] = {
                "sources.line-900": {"queries": {"ESTADO PEDIDO": "orders"}},
                "resolvers.orders": {"kind": "http", "url": url, "wait": wait},
                "egress": {"allow": ["127.0.0.0/8"]},
                "log": {"level": "error", "format": "json"},
            }
            here.configure(**tables)
            here.run([sys.executable, str(Path(orders.__file__)), str(here.spare[0])])
            process = here.start("up")
            await here.ready()
            contents = [_written(number) for number in range(_FEW + count)]
            await asyncio.gather(*(_one(here.port, content) for content in contents[:_FEW]))
            delays = [number / rate if rate else 0 for number in range(count)]
            made = await asyncio.gather(*map(_one, repeat(here.port), contents[_FEW:], delays))
            await terminated(process)
    return list(made)


def _line(name: str, made: list[Asked], wait: float) -> str:
    answered = [each.seconds - LATENCY for each in made if each.answered]
    refused = [each.seconds for each in made if not each.answered]
    late = sum(each.seconds > wait for each in made)
    latest = max(each.seconds for each in made)
    added = statistics.quantiles(answered, n=100)
    return (
        f"{name}: {len(made)} asked, {len(answered)} answered, {len(refused)} told that there are too many; "
        f"the last after {latest:.2f} s, {late} after the wait; "
        f"the hub adds p50 {added[49] * 1000:.0f} ms, p99 {added[98] * 1000:.0f} ms\n"
    )


async def main() -> None:
    """Prints a line a figure."""
    for rate in (50, 100, 200):
        made = await measured(rate, rate * _SECONDS, 2.0)
        sys.stdout.write(_line(f"{rate} a second, wait 2 s", made, 2.0))
    for count, wait in ((CROWD, 2.0), (CROWD, _LONG), (RUSH, 2.0)):
        made = await measured(0, count, wait)
        sys.stdout.write(_line(f"{count} at one moment, wait {wait:.0f} s", made, wait))


if __name__ == "__main__":
    uvloop.run(main())
