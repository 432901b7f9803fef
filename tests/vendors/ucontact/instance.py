"""A simulated uContact on a port, and the client that asks it, made as the configuration makes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from hub.config import UContactSource
from hub.simulator.ucontact import UContact as Simulated, serving
from hub.vendors.ucontact.client import UContact
from hub.vendors.ucontact.making import make
from tests.outgoing.neighbours import outgoing

NOW: Final = datetime(2026, 11, 20, 9, 15, tzinfo=UTC)
CALL: Final[dict[str, Any]] = {"agent": "agentTest", "phone": "9999", "callerid": "24001000", "outqueue": "Sale->"}
TASK: Final[dict[str, Any]] = {"campaign": "POWER<-", "destination": "099124484"}


def source(url: str, simulated: Simulated, **more: Any) -> UContactSource:
    """The source's configuration for a simulated instance."""
    wanted = {
        "vendor": "ucontact",
        "tokens": ["T"],
        "base_url": url,
        "user": simulated.user,
        "password": simulated.password,
        "api_token": simulated.api_token,
        "timezone": "America/Montevideo",
        "timeout": 1.0,
    }
    return UContactSource.model_validate({**wanted, **more})


@asynccontextmanager
async def asked(url: str, simulated: Simulated, **more: Any) -> AsyncIterator[UContact]:
    """A client; its session is ended."""
    configured = source(url, simulated, **more)
    async with outgoing() as out:
        lane = out.lane("ucontact.cloud", rate=10_000, concurrency=8, timeout=configured.timeout)
        client = make("cloud", configured, lane, lambda: NOW)
        yield client
        await client.close()


@asynccontextmanager
async def instance(simulated: Simulated | None = None, **more: Any) -> AsyncIterator[tuple[Simulated, UContact]]:
    """An instance and its client.

    Args:
        simulated: the vendor; one in a good mood without it.
        more: keys of the source.
    """
    vendor = simulated or Simulated(clock=lambda: NOW)
    async with serving(vendor) as url, asked(url, vendor, **more) as client:
        yield vendor, client
