"""Deletes what has outlived its time: the audio, then all but a line of its manifest, then it is said."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from hub import metrics
from hub.custody import Custody
from hub.custody.keys import manifest_key
from hub.ports.recordings import Kept, Recording, RecordingStore
from workers.recordings.storing import deletion

_AT_ONCE: Final = 100
_log = structlog.get_logger("recordings")


class Retention:
    """Over all sources: what is stored knows its day."""

    def __init__(self, store: RecordingStore, custody: Custody, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._custody = custody
        self._clock = clock

    async def sweep(self) -> int:
        """Deletes what is due; returns how many. Raises StoreUnavailable, CustodyUnavailable: it is done later."""
        due = await self._store.recordings.outlived(self._clock(), _AT_ONCE)
        for recording, alone in due:
            if recording.kept is not None:
                await self._remove(recording, recording.kept, alone)
            if await self._store.recordings.deleted(recording.recording_id, self._clock()):
                metrics.recordings_deleted.labels(recording.source).inc()
                _log.info("recording.deleted", recording_id=recording.recording_id, call_id=recording.call_id)
        return len(due)

    async def _remove(self, recording: Recording, kept: Kept, alone: frozenset[str]) -> None:
        """A recording of the same audio keeps it; each has a manifest of its own."""
        for key in sorted(alone):
            await self._custody.delete(key)
        for version in recording.versions:
            await self._custody.delete(manifest_key(str(version["key"]), recording.recording_id))
        manifest = deletion(recording, kept, self._clock())
        await self._custody.write(manifest_key(kept.key, recording.recording_id), manifest)
