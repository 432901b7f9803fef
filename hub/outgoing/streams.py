"""Downloads: an answer that is read chunk by chunk."""

from collections.abc import AsyncIterator

from multidict import CIMultiDictProxy


class Streamed:
    """The answer's head, and its body while it comes.

    Attributes:
        status: of the last hop, whatever it is: 200, 206, 404…
        headers: of the last hop, by name in any case; nothing is decompressed (``identity`` was asked for).
        url: of the last hop. It may hold secrets: show it with ``shown_url``.
    """

    status: int
    headers: CIMultiDictProxy[str]
    url: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes in pieces of at most 64 KiB, once.

        Raises:
            Doubtful: the body was cut, came too slowly or stood still; what came before is good.
        """
        raise NotImplementedError

    async def body(self, limit: int = 256 << 10) -> bytes:
        """The first ``limit`` bytes, for an answer that is an error. Raises as ``chunks``."""
        raise NotImplementedError
