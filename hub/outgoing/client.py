"""The outgoing side of a process: one guard, many lanes."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from aiohttp.abc import AbstractResolver

from hub.outgoing.guard import Guard, Network
from hub.outgoing.lane import Lane
from hub.outgoing.resolving import Resolver
from hub.outgoing.states import OnChange
from hub.outgoing.tempo import Tempo
from hub.outgoing.wire import Wire


class Outgoing:
    """Makes lanes; opens nothing before the first request, and nothing it has opened outlives ``close``.

    Attributes:
        lanes: by name.
    """

    def __init__(
        self,
        egress_allow: Iterable[Network] = (),
        *,
        tempo: Tempo | None = None,
        tls: ssl.SSLContext | None = None,
        resolver: Callable[[str], AbstractResolver] = Resolver,
    ) -> None:
        """Opens nothing.

        Args:
            egress_allow: networks that may be reached though they are not public (``egress.allow``).
            tempo: other times than in production.
            tls: whose certificates are trusted; the system's without it.
            resolver: makes a lane's own, of its name.

        Raises:
            ValueError: ``tls`` does not verify certificates and names.
        """
        self._guard = Guard(egress_allow)
        self._tempo = tempo or Tempo()
        self._tls = tls or ssl.create_default_context()
        if self._tls.verify_mode != ssl.CERT_REQUIRED or not self._tls.check_hostname:
            raise ValueError("found a TLS context that verifies nothing; expected CERT_REQUIRED and check_hostname")
        self._tls.minimum_version = max(self._tls.minimum_version, ssl.TLSVersion.TLSv1_2)
        self._resolver = resolver
        self._lanes: dict[str, Lane] = {}
        self._running = False

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """By name."""
        return MappingProxyType(self._lanes)

    async def start(self) -> None:
        """From now on lanes can be made, and asked."""
        self._running = True

    async def close(self) -> None:
        """Ends requests on their way (``Doubtful``) and closes every connection."""
        self._running = False
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.close() for lane in lanes.values()))

    def lane(
        self,
        name: str,
        *,
        rate: float,
        concurrency: int,
        timeout: float = 15.0,
        on_change: OnChange | None = None,
    ) -> Lane:
        """A new lane.

        Args:
            name: unique in the process, from configured names: it is a metric's label.
            rate: requests a second, at most; a fiftieth of them, or one, may go at once after a rest.
            concurrency: requests at once, at most; adapts below that, as the rate does.
            timeout: seconds for a request in all; of these 3 to connect, and 10 without a byte.
            on_change: told when the breaker opens and closes.

        Raises:
            RuntimeError: before ``start``, or after ``close``.
            ValueError: there is a lane of that name.
        """
        if not self._running:
            raise RuntimeError("the outgoing client is not started")
        if name in self._lanes:
            raise ValueError(f"there is a lane {name!r} already")
        wire = Wire(self._guard, self._tempo, self._tls, self._resolver(name))
        lane = Lane(name, wire, self._tempo, rate=rate, concurrency=concurrency, timeout=timeout, on_change=on_change)
        self._lanes[name] = lane
        return lane
