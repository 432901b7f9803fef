"""Requests and answers as they may be kept and shown: no secrets, no numbers of people."""

from collections.abc import Mapping


def shown_url(url: str) -> str:
    """A URL without user, password, and the values of its query."""
    raise NotImplementedError


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by name; ``…`` for the value of every one that is not known to be harmless."""
    raise NotImplementedError


def excerpt(body: bytes, characters: int = 300) -> str:
    """The beginning of a body as one line of text, secrets and numbers masked; what is no text is told by its size."""
    raise NotImplementedError
