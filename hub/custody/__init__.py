"""Where audio is kept: one seam, ``Custody``, over a disk or an object store.

What is published is there as a whole or not at all, and is never replaced: every key has the content's SHA-256 in it,
so the same audio asked for twice is stored once, and other audio stands beside it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

CHUNK: Final = 256 << 10
"""Bytes in a piece, of what is read."""


class Custody(Protocol):
    """A place for recordings. Every verb may be called by many processes at once.

    All raise ``CustodyUnavailable`` where the place cannot be used now: full, away, or closed to us.
    """

    async def start(self) -> None:
        """Makes the place ready as far as it can be; does not fail because it is away."""
        ...

    async def publish(self, key: str, source: Path, sha256: str, content_type: str) -> bool:
        """Makes a local file's content durable under ``key``; the file stays. True where it was not there before.

        Args:
            key: from ``hub.custody.keys``, with the content's hash in it.
            source: a local file that nobody writes to any more.
            sha256: of its content, hexadecimal.
            content_type: of its content.
        """
        ...

    async def write(self, key: str, body: bytes) -> None:
        """Makes a small text durable under ``key``, in place of an older one, at once."""
        ...

    def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to ``stop``, in pieces of at most ``CHUNK``; fewer where it has no more."""
        ...

    async def size(self, key: str) -> int | None:
        """How many bytes are under ``key``; None where nothing is."""
        ...

    async def delete(self, key: str) -> None:
        """Nothing is under ``key`` any more."""
        ...

    async def presigned(self, key: str, seconds: int) -> str | None:
        """A URL by which anybody can read ``key`` for so long; None where the place has no such thing."""
        ...

    async def check(self) -> str:
        """One line that says that something could be written, read and deleted just now."""
        ...

    async def close(self) -> None:
        """Lets go of what is open."""
        ...
