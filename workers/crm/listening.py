"""What a CRM is told of a call's audio: its newest recording, with a link for whoever has no token of ours."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from hub.custody.links import Links
from hub.ports.forwarding import ForwardingStore
from hub.ports.recordings import Recording, RecordingStore

_GONE: Final = ("deleting", "deleted")


class CrmStore(ForwardingStore, RecordingStore, Protocol):
    """A store that knows what is owed to destinations, and when a call's audio was stored."""


class Listening:
    """Adds ``recording`` to a call's record.

    Args:
        links: signs; None where the hub has no secret to sign with.
    """

    def __init__(self, store: CrmStore, links: Links | None) -> None:
        self._store, self._links = store, links

    async def told(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """The record, with the recording that was stored last and a link to its audio. Raises StoreUnavailable.

        A link counts from the storing, so it is the same each time: what is written to the CRM does not change by it.
        """
        stored = {one["id"]: one for one in record.get("recordings", ()) if one.get("state") == "stored"}
        if not stored:
            return record
        kept = [one for one in await self._store.recordings.of_call(str(record["call_id"])) if _there(one)]
        known = [(at, one.recording_id) for one in kept if (at := one.settled_at) and one.recording_id in stored]
        if not known:
            return record
        at, name = max(known)
        return {**record, "recording": {**stored[name], **self._link(name, at)}}

    def _link(self, recording_id: str, at: datetime) -> dict[str, str]:
        return {} if self._links is None else {"url": self._links.link(recording_id, at)}


def _there(recording: Recording) -> bool:
    return recording.kept is not None and recording.state not in _GONE
