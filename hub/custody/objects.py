"""Custody in an object store: S3 and what speaks it, and whatever else the library knows.

A small object is put only where none is (a conditional put). A big one is uploaded in parts, which the library cannot
make conditional: it is looked for first, and two that upload it at once upload the same bytes, since the key has their
hash. Parts of an upload that was killed stay in the bucket unseen: give it a rule that removes them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import from_url

from hub.custody import CHUNK
from hub.errors import ConfigurationError, CustodyUnavailable

PART: Final = 5 << 20  # bytes; the least that S3 takes
AT_ONCE: Final = 2  # parts in memory
_RETRY: Final = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_TIMEOUT: Final = "30s"
_LONGEST_REASON: Final = 300


class ObjectCustody:
    """``hub.custody.Custody`` over a bucket.

    Args:
        url: ``s3://bucket/prefix``; whatever else obstore's ``from_url`` knows.
        options: the library's own, for instance ``endpoint``, ``region``, ``access_key_id``, ``secret_access_key``.

    Raises:
        ConfigurationError: the library does not know the URL or an option.
    """

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        client: Any = {"timeout": _TIMEOUT, "allow_http": options.get("endpoint", "").startswith("http://")}
        try:
            self._store: Any = from_url(url, client_options=client, retry_config=_RETRY, **dict(options))  # type: ignore[call-overload]
        except (BaseError, ValueError, TypeError) as error:
            raise ConfigurationError(f"recordings.url: found {url}; {str(error)[:_LONGEST_REASON]}") from None
        self._place = url

    async def start(self) -> None:
        """Nothing is asked before somebody publishes."""

    async def publish(self, key: str, source: Path, sha256: str, content_type: str) -> bool:
        """See ``hub.custody.Custody``."""
        size = (await asyncio.to_thread(source.stat)).st_size
        there = await self.size(key)
        if there is not None:
            return self._known(key, there, size)
        attributes = {"Content-Type": content_type, "sha256": sha256}
        async with self._asked():
            try:
                if size <= PART:
                    body = await asyncio.to_thread(source.read_bytes)
                    await obstore.put_async(self._store, key, body, attributes=attributes, mode="create")
                else:
                    await obstore.put_async(
                        self._store, key, source, attributes=attributes, chunk_size=PART, max_concurrency=AT_ONCE
                    )
            except (AlreadyExistsError, PreconditionError):
                return False
        there = await self.size(key)
        if there != size:
            raise CustodyUnavailable(f"{self._place}: {key} has {there} bytes after {size} were put there")
        return True

    async def write(self, key: str, body: bytes) -> None:
        """See ``hub.custody.Custody``."""
        async with self._asked():
            await obstore.put_async(self._store, key, body, attributes={"Content-Type": "application/json"})

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """See ``hub.custody.Custody``."""
        async with self._asked():
            try:
                answer = await obstore.get_async(self._store, key, options={"range": (start, stop)})
            except (NotFoundError, FileNotFoundError) as error:
                raise CustodyUnavailable(f"{self._place}: nothing is under {key}") from error
            pieces = answer.stream(min_chunk_size=CHUNK)
        while True:
            async with self._asked():
                piece = await anext(pieces, None)
            if piece is None:
                return
            whole = memoryview(piece)
            for place in range(0, len(whole), CHUNK):
                yield bytes(whole[place : place + CHUNK])

    async def size(self, key: str) -> int | None:
        """See ``hub.custody.Custody``."""
        async with self._asked():
            try:
                return (await obstore.head_async(self._store, key))["size"]
            except (NotFoundError, FileNotFoundError):
                return None

    async def delete(self, key: str) -> None:
        """See ``hub.custody.Custody``."""
        async with self._asked():
            try:
                await obstore.delete_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return

    async def presigned(self, key: str, seconds: int) -> str | None:
        """See ``hub.custody.Custody``."""
        async with self._asked():
            return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=seconds))

    async def check(self) -> str:
        """See ``hub.custody.Custody``."""
        key, text = f".probe/{token_hex(8)}", b"probe"
        await self.write(key, text)
        found = await _all(self.read(key, 0, len(text)))
        await self.delete(key)
        if found != text:
            raise CustodyUnavailable(f"{self._place}: what was put there came back as something else")
        return f"{self._place} can be written, read and deleted from"

    async def close(self) -> None:
        """The library closes its connections itself."""

    def _known(self, key: str, there: int, size: int) -> bool:
        if there != size:
            raise CustodyUnavailable(f"{self._place}: {key} has {there} bytes, not the {size} of its name: changed")
        return False

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        try:
            yield
        except (AlreadyExistsError, PreconditionError, NotFoundError):
            raise
        except (BaseError, OSError) as error:
            line = " ".join(str(error).split())[:_LONGEST_REASON]
            raise CustodyUnavailable(f"{self._place}: {line}") from error


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])
