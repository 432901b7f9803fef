"""One file from one place: streamed, resumed after a cut, hashed on the way."""

import asyncio
import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final

from hub.errors import CustodyUnavailable, Doubtful
from hub.outgoing import Answer, Lane, Request, Streamed, retry_after, shown_url, verdict
from workers.recordings.scratch import Scratch
from workers.recordings.troubles import Damaged, NotReady, TooLarge

_BUFFER: Final = 1 << 20  # bytes that are written at once, in a thread
_NOT_YET: Final = frozenset({202, 204, 404, 425})
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_AFTER_CUT: Final = 0.2  # seconds
_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)


@dataclass(slots=True)
class Download:
    """What came.

    Attributes:
        size: bytes.
        declared: the content type that the vendor stated.
        place: the last URL, without its secrets.
        delimited: the answer said how long it was; else it ended where the connection did, or was cut.
        resumed: how often it went on after a cut.
    """

    path: Path
    size: int = 0
    declared: str = ""
    place: str = ""
    delimited: bool = False
    resumed: int = 0
    validator: str = ""
    total: int | None = None
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Of all that came, hexadecimal."""
        return str(self.digest.hexdigest())


async def download(lane: Lane, request: Request, path: Path, scratch: Scratch, *, most: int, total: float) -> Download:
    """Downloads to ``path``; goes on where it was cut for as long as it gets further.

    Args:
        lane: of the source.
        request: where, with its credentials.
        path: an empty file.
        scratch: whose file it is; asked for room.
        most: bytes that are taken.
        total: seconds, however often it is cut.

    Raises:
        NotReady: 404, 202.
        TooLarge: more than ``most``.
        CustodyUnavailable: no room where it grows.
        What ``Lane.stream`` and ``hub.outgoing.verdict`` have.
    """
    got = Download(path)
    end = monotonic() + total
    try:
        with path.open("r+b", buffering=0) as file:
            while True:
                before = got.size
                try:
                    async with lane.stream(_resumed(request, got), total=end - monotonic()) as streamed:
                        if await _whole_already(streamed, got, file):
                            return got
                        await _receive(streamed, got, file, scratch, most)
                except Doubtful:
                    if got.size <= before or not _resumable(got) or monotonic() + _AFTER_CUT >= end:
                        raise
                    got.resumed += 1
                    await asyncio.sleep(_AFTER_CUT)
                else:
                    return got
    except OSError as error:
        if isinstance(error, TimeoutError | ConnectionError):
            raise
        raise CustodyUnavailable(f"{path.parent}: {error.strerror or error}") from error


async def grown(lane: Lane, request: Request, got: Download, *, total: float) -> bool | None:
    """Whether there is more at the vendor by now than what came; None where it does not say."""
    headers = {**request.headers, "Range": f"bytes={got.size}-"}
    async with lane.stream(replace(request, headers=headers), total=total) as streamed:
        told = _told(streamed)
        if streamed.status in (_PARTIAL, _UNSATISFIABLE) and told is not None and told[1] is not None:
            return told[1] != got.size
        length = _length(streamed)
        return None if streamed.status != _OK or length is None else length != got.size


def _resumed(request: Request, got: Download) -> Request:
    if not got.size:
        return request
    headers = {**request.headers, "Range": f"bytes={got.size}-"}
    if got.validator:
        headers["If-Range"] = got.validator
    return replace(request, headers=headers)


def _resumable(got: Download) -> bool:
    """Only where the rest can be told to be of the same file: by its validator, or by a length that stays the same."""
    return bool(got.validator) or got.total is not None


async def _whole_already(streamed: Streamed, got: Download, file: IO[bytes]) -> bool:
    """Judges the head; True where nothing is missing any more."""
    status = streamed.status
    told = _told(streamed)
    if status == _UNSATISFIABLE and got.size:
        if told is not None and told[1] == got.size:
            return True
        raise Damaged("what is at the vendor changed while it was downloaded")
    if status == _PARTIAL and got.size:
        start, total = told or (None, None)
        if start != got.size or (got.total is not None and total not in (None, got.total)):
            raise Damaged("what is at the vendor changed while it was downloaded")
        return False
    if status in _NOT_YET:
        now = datetime.now(UTC)
        raise NotReady(f"{status} from {shown_url(streamed.url)}", retry_after(Answer(status, streamed.headers), now))
    if status != _OK:
        answer = Answer(status, streamed.headers, await streamed.body())
        raise verdict(answer, datetime.now(UTC)) or Damaged(f"{status} for a whole file")
    if got.size:  # another file, or a server without ranges: from the beginning
        await asyncio.to_thread(_empty, file)
        got.size, got.digest = 0, hashlib.sha256()
    got.total = _length(streamed)
    got.declared = streamed.headers.get("Content-Type", "")
    got.place = shown_url(streamed.url)
    got.delimited = got.total is not None or "chunked" in streamed.headers.get("Transfer-Encoding", "").lower()
    etag = streamed.headers.get("ETag", "")
    got.validator = streamed.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    return False


async def _receive(streamed: Streamed, got: Download, file: IO[bytes], scratch: Scratch, most: int) -> None:
    left = 0 if got.total is None else got.total - got.size
    if (got.total or 0) > most:
        raise TooLarge(f"{got.total} bytes, at most {most} are taken (recordings.max_bytes)")
    await asyncio.to_thread(scratch.room, left)
    pieces: list[bytes] = []
    held = 0

    async def flush() -> None:
        nonlocal held
        if pieces:
            whole = b"".join(pieces)
            pieces.clear()
            held = 0
            await asyncio.to_thread(_append, file, whole, got.digest)
            got.size += len(whole)
            if got.total is None:
                await asyncio.to_thread(scratch.room, 0)

    try:
        async for chunk in streamed.chunks():
            pieces.append(chunk)
            held += len(chunk)
            if got.size + held > most:
                raise TooLarge(f"more than {most} bytes (recordings.max_bytes)")
            if held >= _BUFFER:
                await flush()
    except Doubtful:
        await flush()  # what came before the cut is good
        raise
    await flush()
    if got.total is not None and got.size != got.total:
        raise Doubtful(f"{got.size} bytes came of {got.total}")


def _append(file: IO[bytes], whole: bytes, digest: Any) -> None:
    view = memoryview(whole)
    while view:  # a raw file may take less than it is given
        view = view[file.write(view) :]
    digest.update(whole)


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _length(streamed: Streamed) -> int | None:
    text = streamed.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _told(streamed: Streamed) -> tuple[int | None, int | None] | None:
    """Start and total of Content-Range; None where there is none that can be read."""
    found = _RANGE.fullmatch(streamed.headers.get("Content-Range", "").strip())
    if found is None:
        return None
    return (int(found[1]) if found[1] else None), (int(found[3]) if found[3] != "*" else None)
