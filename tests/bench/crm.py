"""``python -m tests.bench.crm``: deliveries a second by kind, memory, and what a neighbour that hangs costs.

One worker process's worth on an embedded bus and store, the doubles beside it in the same loop: so the figures are of
both together, and a floor for the worker alone.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import psutil

from hub import logs
from hub.simulator.crms.double import Double, served
from hub.simulator.crms.mischief import Mischief
from hub.simulator.crms.webhook import WebhookDouble
from tests.crm.office import Office, destination, double, office
from tests.hub import until
from tests.store.evidence import whole_call

CALLS: Final = 1000
_SLICE: Final = 100
_PATIENT: Final[dict[str, Any]] = {"timeout": 10, "rate": 5000, "concurrency": 20}


def _there(it: Double) -> int:
    return len(it.got) if isinstance(it, WebhookDouble) else len(it.calls.all)


async def _timed(here: Office, it: Double) -> float:
    """Seconds from the first sealed call on the bus to the last one at the double."""
    for first in range(0, CALLS, _SLICE):
        events = [event for number in range(first, first + _SLICE) for event in whole_call(number)]
        await here.store.apply(events, datetime.now(UTC))
    began = monotonic()
    await here.relay()

    async def all_there() -> bool:
        await asyncio.sleep(0.05)
        return _there(it) >= CALLS

    await until(all_there, within=600)
    return monotonic() - began


async def by_kind(kind: str) -> float:
    """Seconds for all calls at one destination."""
    with TemporaryDirectory() as directory:
        async with (
            served(double(kind)) as it,
            office(Path(directory), {"crm": destination(kind, it, **_PATIENT)}) as here,
        ):
            return await _timed(here, it)


async def beside(*, hangs: bool) -> float:
    """Seconds at a healthy destination, beside one that hangs or that is healthy too."""
    mischief = Mischief({"hang": 1.0} if hangs else None)
    with TemporaryDirectory() as directory:
        async with served(double("webhook")) as well, served(double("webhook", mischief=mischief)) as other:
            tables = {
                "well": destination("webhook", well, **_PATIENT),
                "other": destination("webhook", other, **_PATIENT),
            }
            if hangs:
                tables["other"]["timeout"] = 1
            async with office(Path(directory), tables) as here:
                return await _timed(here, well)


async def main() -> None:
    """Prints a line a figure."""
    logs.configure("critical")
    before = psutil.Process().memory_info().rss
    for kind in ("webhook", "hubspot", "salesforce", "zoho"):
        seconds = await by_kind(kind)
        sys.stdout.write(f"{kind}: {CALLS / seconds:.0f} calls a second\n")
    grown = (psutil.Process().memory_info().rss - before) / (1 << 20)
    sys.stdout.write(f"memory: {grown:.0f} MB more after {4 * CALLS} calls, doubles included\n")
    well, ill = await beside(hangs=False), await beside(hangs=True)
    sys.stdout.write(f"beside a healthy neighbour {well:.1f} s, beside one that hangs {ill:.1f} s\n")


if __name__ == "__main__":
    asyncio.run(main())
