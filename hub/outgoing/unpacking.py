"""An answer's body, unpacked as it comes and never beyond what there is room for: aiohttp's own way unpacks first."""

import zlib
from collections.abc import AsyncIterator
from typing import Final

ENCODINGS: Final = "gzip, deflate"

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


class Spoilt(ValueError):
    """A body that is not packed as its header says, or was cut inside."""


class _Plain:
    finished = True

    def feed(self, data: bytes, room: int) -> bytes:
        return data[:room]


class _Packed:
    """Gzip (of several members too), zlib, or the raw deflate that some send for it."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._begun = False

    @property
    def finished(self) -> bool:
        return self._unpacker.eof or not self._begun

    def feed(self, data: bytes, room: int) -> bytes:
        parts: list[bytes] = []
        while data and room > 0:
            if self._unpacker.eof:
                self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
            parts.append(self._unpack(data, room))
            self._begun = True
            room -= len(parts[-1])
            data = self._unpacker.unused_data
        return b"".join(parts)

    def _unpack(self, data: bytes, room: int) -> bytes:
        try:
            return self._unpacker.decompress(data, room)
        except zlib.error:
            if self._begun:
                raise Spoilt("the body is not packed as its header says") from None
        self._unpacker = zlib.decompressobj(_RAW)
        try:
            return self._unpacker.decompress(data, room)
        except zlib.error:
            raise Spoilt("the body is not packed as its header says") from None


async def unpack(chunks: AsyncIterator[bytes], encoding: str, limit: int) -> tuple[bytes, bool]:
    """The first ``limit`` bytes of a body, and whether that is all of it.

    Args:
        chunks: as they come.
        encoding: the header ``Content-Encoding``; what is neither gzip nor deflate is left as it is.
        limit: bytes.

    Raises:
        Spoilt: it is not packed as that says.
    """
    packed = encoding.strip().lower() in {"gzip", "x-gzip", "deflate"}
    unpacker: _Packed | _Plain = _Packed() if packed else _Plain()
    body = bytearray()
    async for chunk in chunks:
        body += unpacker.feed(chunk, limit + 1 - len(body))
        if len(body) > limit:
            return bytes(body[:limit]), False
    if not unpacker.finished:
        raise Spoilt("the packed body was cut")
    return bytes(body), True
