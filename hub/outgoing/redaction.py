"""Requests and answers as they may be kept and shown: no secrets, no numbers of people."""

from collections.abc import Mapping
from typing import Final

from yarl import URL

from hub.logs import clean_text

HARMLESS: Final = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "accept-ranges", "cache-control", "content-encoding"),
        *(
            "content-length",
            "content-range",
            "content-type",
            "date",
            "etag",
            "expires",
            "if-match",
            "if-modified-since",
        ),
        *("if-none-match", "if-range", "if-unmodified-since", "last-modified", "range", "retry-after", "server"),
        *("traceparent", "user-agent", "webhook-id", "webhook-timestamp"),
    }
)
"""Headers, in small letters, that hold no secret; what may go to another host too."""


def shown_url(url: str) -> str:
    """A URL without user, password, and the values of its query."""
    try:
        parsed = URL(url, encoded=True)
        names = list(dict.fromkeys(parsed.query))
        bare = parsed.with_user(None).with_query(None).with_fragment(None)
    except ValueError:
        return "…"
    query = "&".join(f"{name}=…" for name in names)
    return clean_text(f"{bare}?{query}" if query else str(bare))


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by name; ``…`` for the value of every one that is not known to be harmless."""
    return {name: clean_text(value) if name.lower() in HARMLESS else "…" for name, value in headers.items()}


def excerpt(body: bytes, characters: int = 300) -> str:
    """The beginning of a body as one line of text, secrets and numbers masked; what is no text is told by its size."""
    beginning = body[: 8 * characters]
    try:
        text = beginning.decode("utf-8", "ignore" if len(body) > len(beginning) else "strict")
    except UnicodeDecodeError:
        return f"{len(body)} bytes that are no text"
    if "\0" in text:
        return f"{len(body)} bytes that are no text"
    line = clean_text(" ".join(text.split()))
    return line if len(line) <= characters else line[: characters - 1] + "…"
