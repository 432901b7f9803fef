"""What the handlers of ``/v1`` share: limits, cursors, pages and errors."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1000
_DIGITS: Final = 18


class BadRequest(Exception):
    """The request cannot be read; the message says which part and what is expected."""


def limit_of(query: Mapping[str, str]) -> int:
    """``?limit=``, clamped, however large. Raises BadRequest where it is no number from 1."""
    text = query.get("limit")
    if not text:
        return DEFAULT_LIMIT
    digits = text.lstrip("0") if text.isascii() and text.isdecimal() else ""
    if not digits:
        raise BadRequest(f"limit is {text[:40]!r}, expected a whole number from 1 to {MAX_LIMIT}")
    return MAX_LIMIT if len(digits) > _DIGITS else min(int(digits), MAX_LIMIT)


def whole(text: str) -> int | None:
    """A number in digits, of at most 18 of them: what fits into a database; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def uuid_of(text: str) -> str:
    """The id in its canonical form; what is no id names nothing, so it becomes one that nothing has."""
    try:
        return str(UUID(text))
    except ValueError:
        return "00000000-0000-0000-0000-000000000000"


def page(items: Sequence[bytes], after: str | None, **beside: Sequence[bytes]) -> web.Response:
    """A page of JSON texts, with the cursor of the next one, and other lists beside it."""
    more = b"".join(b',"%b":[%b]' % (name.encode(), b",".join(texts)) for name, texts in beside.items())
    tail = b',"next":' + orjson.dumps(after or "") + more + b"}"
    return web.Response(body=b'{"items":[' + b",".join(items) + b"]" + tail, content_type="application/json")


def reply(body: Any, status: int = 200) -> web.Response:
    """Anything as JSON."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def error(status: int, detail: str, **headers: str) -> web.Response:
    """Why not."""
    return web.Response(
        status=status, body=orjson.dumps({"error": detail}), content_type="application/json", headers=headers
    )
