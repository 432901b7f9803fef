"""INFOCU5 as a source of records: ``hub.ports.polls.RecordSource``."""

from collections.abc import Callable
from datetime import UTC, datetime

from hub.ports.polls import Origin, Polled
from hub.vendors.infocu5.client import Client
from hub.vendors.infocu5.codes import SUCCESS
from hub.vendors.infocu5.records import Reader, read_calls


class Infocu5Records:
    """The records of one source."""

    def __init__(
        self, name: str, client: Client, reader: Reader, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name = name
        self._client, self._reader, self._clock = client, reader, clock

    async def between(self, since: datetime, until: datetime, origin: Origin) -> Polled:
        """The records of a time. What the vendor gives from outside of it counts too: nobody says how it filters."""
        answer = await self._client.get_calls(since, until)
        received_at = self._clock()
        if answer.code == SUCCESS and answer.details is None:  # that there are none has a code of its own
            return Polled((), ("a success without responseDetails; expected records",))
        found = read_calls(answer.details)
        events = tuple(self._reader.event(record, origin, received_at) for record in found.records)
        return Polled(events, found.unreadable)
