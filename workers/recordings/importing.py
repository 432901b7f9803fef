"""Audio of an archive into custody, attached to the calls that it is of."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from hub.audio import NotAudio, examine
from hub.calls.recorded import recording_id
from hub.config import Settings
from hub.custody import Custody
from hub.errors import CustodyUnavailable
from hub.ports import CallFilter
from hub.ports.recordings import Announced, RecordingStore
from hub.vendors.focalscope import archive
from workers.recordings.storing import Keeper

_PAGE: Final = 1000
_ROUNDS: Final = 3  # that a deletion of the same audio may come between

Outcome = Literal["stored", "again", "version", "deleted", "found", "silent", "no_call", "error"]
"""``found``: of a dry run; ``silent``: a call without audio; ``no_call``: no call has such a leg."""


@dataclass(slots=True)
class Report:
    """What an import came to.

    Attributes:
        outcomes: how many calls of the archive, by outcome.
        strangers: guids of audio that no call has.
        troubles: what is wrong with which file.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    strangers: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Leg:
    call_id: str
    leg: str
    vendor_ids: dict[str, Any]


class Import:
    """One archive for one source.

    Args:
        settings: all of them.
        source: whose calls the archive is of.
        store: where the calls are.
        custody: where the audio goes.
        clock: aware, UTC.
    """

    def __init__(
        self,
        settings: Settings,
        source: str,
        store: RecordingStore,
        custody: Custody,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._keeper = Keeper(settings, store, custody)

    async def legs(self, on_call: Callable[[], None] = lambda: None) -> dict[str, _Leg]:
        """Every leg of the source's calls by its id, which is the guid that the archive names it by."""
        found: dict[str, _Leg] = {}
        after: str | None = None
        while True:
            page = await self._store.calls(CallFilter(source=self._source), _PAGE, after)
            for item in page.items:
                found.update(_legs(orjson.loads(item)))
                on_call()
            after = page.next
            if not after:
                return found

    async def run(
        self, directory: Path, *, dry_run: bool = False, on_entry: Callable[[int], None] = lambda _: None
    ) -> Report:
        """Imports what is there; safe to repeat. A trouble with one file stops none of the others.

        Args:
            directory: with the folder ``monitor``.
            dry_run: looks and stores nothing.
            on_entry: told after each call of the archive, with how many there are.

        Raises:
            ValueError: it is no archive.
            StoreUnavailable, CustodyUnavailable: what was imported so far is, and another run goes on.
        """
        names = await asyncio.to_thread(archive.names, directory)
        legs = await self.legs()
        report = Report()
        for name in names:
            entry = await asyncio.to_thread(archive.entry, directory, name)
            if entry.trouble:
                report.troubles.append(entry.trouble)
            report.outcomes[await self._one(entry, legs, report, dry_run=dry_run)] += 1
            on_entry(len(names))
        return report

    async def _one(self, entry: archive.Entry, legs: dict[str, _Leg], report: Report, *, dry_run: bool) -> Outcome:
        if entry.audio is None:
            return "error" if entry.trouble else "silent"
        leg = legs.get(entry.guid)
        if leg is None:
            report.strangers.append(entry.guid)
            return "no_call"
        try:
            sound = await asyncio.to_thread(examine, entry.audio)
            digest = await asyncio.to_thread(_sha256, entry.audio)
        except (NotAudio, OSError) as error:
            report.troubles.append(f"{entry.audio}: {error}")
            return "error"
        if sound.whole is False:
            report.troubles.append(f"{entry.audio}: {sound.trouble}")
            return "error"
        if dry_run:
            return "found"
        return await self._keep(entry, leg, entry.audio, sound, digest)

    async def _keep(self, entry: archive.Entry, leg: _Leg, audio: Path, sound: Any, digest: str) -> Outcome:
        name = recording_id(leg.call_id, leg.leg)
        for _ in range(_ROUNDS):
            now = self._clock()
            await self._store.recordings.take([self._announced(name, leg, now)], now)
            recording = await self._store.recordings.recording(name)
            assert recording is not None  # noqa: S101  taken just now, and rows stay
            got = {"place": f"archive/{audio.name}", "archive": entry.notes or None}
            outcome, _kept = await self._keeper.keep(recording, None, audio, sound, sha256=digest, got=got, now=now)
            if outcome in ("stored", "again", "version", "deleted"):
                return outcome  # type: ignore[return-value]
        raise CustodyUnavailable(f"{audio}: the same audio is being deleted all the time")

    def _announced(self, name: str, leg: _Leg, now: datetime) -> Announced:
        """Known, and nothing to be fetched: what the vendor announced before stays as it is."""
        data = {"leg": {"id": leg.leg}, "vendor_ids": leg.vendor_ids}
        return Announced(
            None, name, leg.call_id, "focalscope", self._source, leg.leg, data, now, now, now, wanted=False
        )


def _legs(call: dict[str, Any]) -> Iterator[tuple[str, _Leg]]:
    for leg in call.get("legs", ()):
        if leg.get("id"):
            ids = {**call.get("vendor_ids", {}), "call_uuid": leg["id"]}
            yield str(leg["id"]).lower(), _Leg(call["call_id"], str(leg["id"]), ids)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
