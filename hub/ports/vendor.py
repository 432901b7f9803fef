"""The seam to those who call back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hub.events import Event


@dataclass(frozen=True, slots=True)
class Callback:
    """A vendor's request to us, its sender's token already proved.

    Attributes:
        source: name of the configured vendor connection.
        event: the path's last segment where it names an event, as it came; None where the path has none.
        query: the query string, still percent-encoded, without the question mark.
        content_type: the header as it came, empty where there was none.
        body: the bytes, at most 1 MiB.
        received_at: our clock, aware, UTC.
    """

    source: str
    event: str | None
    query: str
    content_type: str
    body: bytes
    received_at: datetime


class Vendor(Protocol):
    """What a vendor tells us, in our words. Pure: no sockets, no clock. One instance for each configured source."""

    def decode(self, callback: Callback) -> list[Event]:
        """The canonical events of a callback, at least one.

        Raises:
            Unusable: with the first reason that applies, in the order event, undecodable, signature, identity;
                where the source refuses bad signatures, signature comes first.
        """
        ...
