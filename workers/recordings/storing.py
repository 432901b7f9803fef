"""From a downloaded file to custody: what it is, what is odd about it, its key, its manifest."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from hub import failpoints
from hub.audio import Sound
from hub.config import Settings
from hub.custody import Custody
from hub.custody.keys import Named, key, manifest_key
from hub.custody.links import audio_url
from hub.events import timestamp
from hub.ports.recordings import Kept, Recording, RecordingStore
from workers.recordings.download import Download

LENGTH_TOLERANCE: Final = 2.0
"""Seconds by which audio and call may differ without a flag."""

_NEUTRAL: Final = ("", "application/octet-stream", "binary/octet-stream")


class Keeper:
    """Puts audio into custody and says so in the store. One for a process."""

    def __init__(self, settings: Settings, store: RecordingStore, custody: Custody) -> None:
        self._settings = settings
        self._store = store
        self._custody = custody
        http = settings.http
        self._base = (http.public_url or f"http://{http.host}:{http.port}").rstrip("/")

    async def keep(
        self,
        recording: Recording,
        claim: str | None,
        path: Path,
        sound: Sound,
        *,
        sha256: str,
        got: Mapping[str, Any],
        now: datetime,
    ) -> tuple[str, Kept]:
        """Publishes a file that was found to be whole, and tells; the outcome is ``Recordings.keep``'s.

        Args:
            recording: whose it is.
            claim: ours; None for an import.
            path: of the file, which stays.
            sound: what it is.
            sha256: of its content.
            got: where it came from, for the manifest: ``place``, ``declared``.
            now: before anything is published.

        Raises:
            CustodyUnavailable, StoreUnavailable.
        """
        size = (await asyncio.to_thread(path.stat)).st_size
        flags = await self._flags(recording, sound, sha256, str(got.get("declared", "")))
        name = key(
            self._settings.recordings.key,
            Named(
                vendor=recording.vendor,
                source=recording.source,
                call_id=recording.call_id,
                recording_id=recording.recording_id,
                at=recording.at,
                sha256=sha256,
                extension=sound.extension,
            ),
        )
        kept = Kept(
            key=name,
            sha256=sha256,
            bytes=size,
            seconds=sound.seconds,
            content_type=sound.content_type,
            flags=flags,
            began_at=now,
            delete_at=self._delete_at(recording.source, now),
            url=audio_url(self._base, recording.recording_id),
        )
        failpoints.hit("rec.before_publish")
        await self._custody.publish(name, path, sha256, sound.content_type)
        failpoints.hit("rec.after_rename")
        await self._custody.write(manifest_key(name, recording.recording_id), manifest(recording, kept, sound, got))
        failpoints.hit("rec.before_commit")
        outcome = await self._store.recordings.keep(recording.recording_id, claim, kept, now)
        failpoints.hit("rec.after_commit")
        return outcome, kept

    async def _flags(self, recording: Recording, sound: Sound, sha256: str, declared: str) -> tuple[str, ...]:
        flags = []
        expected = call_seconds(await self._store.call(recording.call_id), recording.leg)
        known = expected is not None and sound.seconds is not None
        if known and abs((sound.seconds or 0) - (expected or 0)) > LENGTH_TOLERANCE:
            flags.append("length")
        stated = declared.partition(";")[0].strip().lower()
        if stated not in _NEUTRAL and not stated.startswith("audio/"):
            flags.append("type")
        if recording.kept is not None and recording.kept.sha256 != sha256:
            flags.append("version")
        twins = await self._store.recordings.twins(sha256, recording.call_id)
        return (*flags, *(f"same_as:{twin}" for twin in twins))

    def _delete_at(self, source: str, now: datetime) -> datetime | None:
        days = getattr(self._settings.sources.get(source), "recordings_for", None)
        return None if days is None else now + timedelta(days=days)


def call_seconds(record: bytes | None, leg: str | None) -> float | None:
    """How long the leg talked, as the call's record has it; else the call; None where neither is known yet."""
    if record is None:
        return None
    call = orjson.loads(record)
    for one in call.get("legs", ()):
        if leg is not None and leg in (one.get("id"), one.get("role")) and one.get("duration_seconds") is not None:
            return float(one["duration_seconds"])
    seconds = call.get("duration_seconds")
    return None if seconds is None else float(seconds)


def manifest(recording: Recording, kept: Kept, sound: Sound, got: Mapping[str, Any]) -> bytes:
    """What stands beside the audio: all that somebody needs who has nothing but the bucket."""
    return written(
        {
            "recording_id": recording.recording_id,
            "call_id": recording.call_id,
            "vendor": recording.vendor,
            "source": recording.source,
            "leg": recording.leg,
            "vendor_ids": recording.data.get("vendor_ids"),
            "available_at": timestamp(recording.at),
            "key": kept.key,
            "sha256": kept.sha256,
            "bytes": kept.bytes,
            "seconds": kept.seconds,
            "format": sound.format,
            "content_type": kept.content_type,
            "flags": list(kept.flags),
            "stored_at": timestamp(kept.began_at),
            "delete_at": None if kept.delete_at is None else timestamp(kept.delete_at),
            **got,
        }
    )


def deletion(recording: Recording, kept: Kept, now: datetime) -> bytes:
    """The manifest of what was deleted."""
    return written(
        {
            "recording_id": recording.recording_id,
            "call_id": recording.call_id,
            "vendor": recording.vendor,
            "source": recording.source,
            "leg": recording.leg,
            "key": kept.key,
            "sha256": kept.sha256,
            "bytes": kept.bytes,
            "deleted_at": timestamp(now),
        }
    )


def written(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as people read it."""
    told = {name: value for name, value in manifest.items() if value is not None and value != ""}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def provenance(got: Download) -> dict[str, Any]:
    """Of a download, for its manifest."""
    return {"place": got.place, "declared": got.declared, "resumed": got.resumed or None}
