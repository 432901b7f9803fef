"""What resolvers share of the process."""

from dataclasses import dataclass

from hub.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Means:
    """What a resolver may use.

    Attributes:
        outgoing: requests to others; of the Queries alone, started before any resolver is opened.
        store_url: the hub's own database, for a resolver that names none.
        bus_urls: the hub's own broker, likewise.
    """

    outgoing: Outgoing
    store_url: str
    bus_urls: tuple[str, ...]
