"""The outgoing side of a process: one guard, many lanes."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from hub.outgoing.lane import Lane
from hub.outgoing.states import OnChange


class Outgoing:
    """Makes lanes; opens nothing before ``start`` and nothing it has opened outlives ``close``.

    Attributes:
        lanes: by name.
    """

    lanes: Mapping[str, Lane]

    def __init__(self, egress_allow: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        """Args: egress_allow: networks that may be reached though they are not public (``egress.allow``)."""
        raise NotImplementedError

    async def start(self) -> None:
        """From now on lanes can be asked."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends requests on their way (``Doubtful``) and closes every connection."""
        raise NotImplementedError

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
            rate: requests a second, at most.
            concurrency: requests at once, at most; adapts below that.
            timeout: seconds for a request in all; of these 3 to connect, and 10 without a byte.
            on_change: told when the breaker opens and closes.

        Raises:
            ValueError: there is a lane of that name.
        """
        raise NotImplementedError
