"""What is asked, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

BODY_LIMIT: Final = 256 << 10
"""Bytes of an answer that are read, after decompression."""


def _none() -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict())


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: in capitals.
        url: absolute, ``http`` or ``https``, its path and query already encoded.
        headers: sent as they are; never logged with their values.
        body: sent as it is; name its type in ``headers``.
        once: it must not have its effect twice, whatever its method: it goes over a fresh connection, which nobody may
            have closed meanwhile, and is not sent again where that breaks. (aiohttp repeats a GET by itself.)
        traceparent: the W3C trace header's value of the event behind this, sent along where there is one.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    traceparent: str | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever its status.

    Attributes:
        status: 200 to 599 as it came, redirects too.
        headers: by name in any case.
        body: decompressed, at most ``BODY_LIMIT`` bytes.
        seconds: from the first byte sent, connection included, to the last one read.
        whole: False where there was more than ``BODY_LIMIT``: the rest was not read and the connection is closed.
    """

    status: int
    headers: CIMultiDictProxy[str] = field(default_factory=_none)
    body: bytes = b""
    seconds: float = 0.0
    whole: bool = True
