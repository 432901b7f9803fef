"""``python -m tests.bench.queries``: what the hub adds to a live Query whose service answers after 50 ms.

One embedded hub in a process of its own; the vendor and the customer's service share this one, so the figures are
upper bounds. First questions at a steady rate, then a thousand at one moment, with the default wait and a long one.
"""

import asyncio
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final, NamedTuple

from aiohttp import ClientSession, TCPConnector, web
from yarl import URL

from tests.process.site import site, terminated
from tests.queries.support import Service, service
from tests.queries.vendor import ask, question

LATENCY: Final = 0.05  # seconds that the service takes
CROWD: Final = 1000
_SECONDS: Final = 10  # at each rate
_LONG: Final = 30.0  # seconds of a wait that nobody reaches


class Asked(NamedTuple):
    """One Query: seconds to its answer, and whether it was answered with what was asked for."""

    seconds: float
    answered: bool


async def _one(session: ClientSession, url: URL, number: int, delay: float = 0) -> Asked:
    await asyncio.sleep(delay)
    began = perf_counter()
    told = await ask(session, url, question("ESTADO PEDIDO", str(number)))
    return Asked(perf_counter() - began, told.variables == {"PEDIDO": "2"})


async def measured(rate: float, count: int, wait: float) -> list[Asked]:
    """``count`` Queries, ``rate`` a second or, with 0, all at once, of a hub that is started for them."""
    with TemporaryDirectory() as directory:
        async with service() as orders, site(Path(directory)) as here:
            orders.answer = _slow(orders)
            tables: dict[str, dict[str, Any]] = {
                "sources.line-900": {"queries": {"ESTADO PEDIDO": "orders"}},
                "resolvers.orders": {"kind": "http", "url": orders.url, "wait": wait},
                "egress": {"allow": ["127.0.0.0/8"]},
                "log": {"level": "error", "format": "json"},
            }
            here.configure(**tables)
            process = here.start("up")
            await here.ready()
            async with ClientSession(connector=TCPConnector(limit=0)) as session:
                url = URL(here.url)
                await asyncio.gather(*(_one(session, url, number) for number in range(20)))  # connections, imports
                delays = [number / rate if rate else 0 for number in range(count)]
                made = await asyncio.gather(*(_one(session, url, 100 + n, at) for n, at in enumerate(delays)))
            await terminated(process)
    return list(made)


def _slow(orders: Service) -> Any:
    async def answer(_: dict[str, Any]) -> web.Response:
        await asyncio.sleep(LATENCY)
        return await orders.in_order({})

    return answer


def _line(name: str, made: list[Asked], wait: float) -> str:
    added = statistics.quantiles((each.seconds - LATENCY for each in made), n=100)
    late = sum(each.seconds > wait for each in made)
    told = f"the hub adds p50 {added[49] * 1000:.0f} ms, p99 {added[98] * 1000:.0f} ms"
    return f"{name}: {len(made)} asked, {sum(e.answered for e in made)} answered, {late} after the wait; {told}\n"


async def main() -> None:
    """Prints a line a figure."""
    for rate in (50, 100, 200):
        made = await measured(rate, rate * _SECONDS, 2.0)
        sys.stdout.write(_line(f"{rate} a second, wait 2 s", made, 2.0))
    for wait in (2.0, _LONG):
        sys.stdout.write(_line(f"at one moment, wait {wait:.0f} s", await measured(0, CROWD, wait), wait))


if __name__ == "__main__":
    asyncio.run(main())
