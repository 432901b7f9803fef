"""One recording, from its claim to what came of it."""

import asyncio
import os
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

import structlog

from hub import failpoints, metrics, retry
from hub.audio import NotAudio, Sound, examine
from hub.errors import Doubtful, Expired, Forbidden, Gone, NotSent, Refused, StoreUnavailable
from hub.events import timestamp
from hub.outgoing import Lane, Request
from hub.ports import Failure
from hub.ports.recordings import Recording, RecordingStore
from workers.recordings.download import Download, download, grown
from workers.recordings.scratch import Scratch
from workers.recordings.sources import Source
from workers.recordings.storing import Keeper, provenance
from workers.recordings.troubles import Again, Damaged, NotReady, NoUrl, Unproven, plan

LEASE: Final = 30.0
"""Seconds that a claim is ours; renewed while a download goes on, and never acted on when it may be over."""

_BEAT: Final = 7.0
_IN_TIME: Final = 20.0  # seconds without a renewal after which the claim may soon be somebody else's
_SETTLE: Final = 1.0  # seconds between two looks at a file that may be growing
_log = structlog.get_logger("recordings")


class Fetcher:
    """Fetches the recordings of one source.

    Args:
        source: where they are.
        lane: what limits our asking there.
        store: whose rows are claimed.
        keeper: puts what came into custody.
        scratch: where it grows meanwhile.
        clock: aware, UTC.
        max_bytes: of one recording.
        timeout: seconds for one download.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        lane: Lane,
        *,
        store: RecordingStore,
        keeper: Keeper,
        scratch: Scratch,
        clock: Callable[[], datetime],
        max_bytes: int,
        timeout: float,
    ) -> None:
        self.name = name
        self.lane = lane
        self._source = source
        self._store = store
        self._keeper = keeper
        self._scratch = scratch
        self._clock = clock
        self._max_bytes = max_bytes
        self._timeout = timeout

    async def fetch(self, recording: Recording) -> None:
        """Fetches what was claimed. A claim that may be over is dropped: somebody else will do it, or does."""
        failpoints.hit("rec.after_claim")
        work = asyncio.create_task(self._attempt(recording), name=f"fetch {recording.recording_id}")
        beat = asyncio.create_task(self._hold(recording), name=f"hold {recording.recording_id}")
        try:
            await asyncio.wait((work, beat), return_when=asyncio.FIRST_COMPLETED)
        finally:
            dropped = not work.done()
            for task in (work, beat):
                task.cancel()
            await asyncio.gather(work, beat, return_exceptions=True)
        if dropped:
            _log.warning("recording.dropped", recording_id=recording.recording_id, source=self.name)
        elif not work.cancelled():
            work.result()

    async def close(self) -> None:
        """Ends what was begun at the source."""
        await self._source.close()

    async def _hold(self, recording: Recording) -> None:
        """Renews the claim; returns when it is not ours any more, or may soon not be."""
        renewed = monotonic()
        while True:
            await asyncio.sleep(_BEAT if monotonic() - renewed < _BEAT else 1.0)
            asked = monotonic()
            try:
                ours = await self._store.recordings.extend(
                    recording.recording_id, str(recording.claim), self._clock(), LEASE
                )
            except StoreUnavailable:
                if monotonic() - renewed > _IN_TIME:
                    return
                continue
            if not ours:
                return
            renewed = asked

    async def _attempt(self, recording: Recording) -> None:
        began = perf_counter()
        try:
            outcome = await self._fetched(recording)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever it ends with is planned by its name
            outcome = await self._failed(recording, error)
        metrics.recordings.labels(self.name, outcome.partition(":")[0]).inc()
        metrics.recording_seconds.labels(self.name).observe(perf_counter() - began)

    async def _fetched(self, recording: Recording) -> str:
        now = self._clock()
        with self._scratch.file(recording.recording_id) as path:
            got, sound = await self._from_anywhere(recording, path)
            failpoints.hit("rec.after_download")
            outcome, kept = await self._keeper.keep(
                recording, recording.claim, path, sound, sha256=got.sha256, got=provenance(got), now=now
            )
        metrics.recording_bytes.labels(self.name).inc(got.size)
        if outcome == "gone":
            raise NotReady("its audio was deleted with another recording's while it was stored")
        _log.info(
            "recording.stored",
            recording_id=recording.recording_id,
            call_id=recording.call_id,
            source=self.name,
            outcome=outcome,
            attempt=recording.attempt + 1,
            bytes=kept.bytes,
            sha256=kept.sha256,
            seconds=kept.seconds,
            flags=list(kept.flags),
            resumed=got.resumed,
        )
        return outcome

    async def _from_anywhere(self, recording: Recording, path: Path) -> tuple[Download, Sound]:
        """From the first place that has it; else the trouble that says most: not being there says least."""
        trouble: Exception | None = None
        async for request in self._source.requests(recording):
            try:
                return await self._from(request, recording, path)
            except Expired as error:
                if not await self._source.rejected(request):
                    trouble = error
                    continue
                trouble = NotReady("a new session was needed") if trouble is None else trouble
            except _ELSEWHERE as error:
                if trouble is None or isinstance(trouble, NotReady):
                    trouble = error
        raise trouble or NotReady("there is no place to look for it")

    async def _from(self, request: Request, recording: Recording, path: Path) -> tuple[Download, Sound]:
        """From one place, and whole as far as anybody can tell."""
        await asyncio.to_thread(os.truncate, path, 0)
        got = await download(self.lane, request, path, self._scratch, most=self._max_bytes, total=self._timeout)
        if not got.size:
            raise NotReady(f"0 bytes from {got.place}")
        sound = await asyncio.to_thread(examine, path)
        if sound.whole is False:
            raise Damaged(f"{sound.trouble}, from {got.place}")
        if sound.whole is None:
            await self._prove(request, recording, got)
        return got, sound

    async def _prove(self, request: Request, recording: Recording, got: Download) -> None:
        """Of a file that cannot show its end: the vendor has no more of it, or it came the same twice."""
        seen = f"{got.sha256}:{got.size}"
        if recording.seen == seen:
            return
        if got.delimited:
            await asyncio.sleep(_SETTLE)
            more = await grown(self.lane, request, got, total=self._timeout)
            if more is False:
                return
            if more:
                raise NotReady(f"it grows: {got.size} bytes a moment ago, other than now")
        raise Unproven(seen, f"nothing shows that {got.size} bytes are all: looking whether they come again")

    async def _failed(self, recording: Recording, error: Exception) -> str:
        """Plans what happens next, and writes it down; returns its name."""
        now = self._clock()
        reason = retry.describe(error)
        failure = Failure(now, reason)
        claim = str(recording.claim)
        then = plan(error, recording, now, random.random())  # noqa: S311  jitter
        until = then.at if isinstance(then, Again) else None
        if isinstance(then, Again):
            seen = error.seen if isinstance(error, Unproven) else None
            await self._store.recordings.postpone(
                recording.recording_id, claim, then.at, failure if then.counts else None, seen
            )
            outcome = "retry" if then.counts else "wait"
        else:
            await self._store.recordings.give_up(recording.recording_id, claim, then.word, failure)
            outcome = f"failed:{then.word}"
        wide = {
            "recording_id": recording.recording_id,
            "call_id": recording.call_id,
            "source": self.name,
            "outcome": outcome,
            "attempt": recording.attempt + 1,
            "again_at": None if until is None else timestamp(until),
            "left": round((recording.expires_at - now).total_seconds()),
            "reason": reason,
        }
        if isinstance(error, NotReady) and until is not None:
            _log.info("recording.not_ready", **wide)
        else:
            _log.warning("recording.attempt", **wide)
        return outcome


_ELSEWHERE: Final = (NotReady, Damaged, Unproven, NotAudio, NotSent, Doubtful, Refused, Gone, Forbidden, NoUrl)
"""What one place may come to while another has it."""
