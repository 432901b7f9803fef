"""What the walk over one format finds."""

from dataclasses import dataclass
from typing import Final, Literal

from hub.errors import TrunklineError

HEAD: Final = 512
"""Bytes by which a format is known."""


class NotAudio(TrunklineError):
    """What was downloaded is something else.

    Attributes:
        kind: ``empty``, ``page``, ``json`` or ``unknown``.
    """

    def __init__(self, kind: Literal["empty", "page", "json", "unknown"], detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Found:
    """How long it is, and whether it shows its own end; see ``hub.audio.Sound``."""

    seconds: float | None
    whole: bool | None
    trouble: str = ""


def cut(missing: str) -> Found:
    """A file that ends before it says it does."""
    return Found(None, whole=False, trouble=missing)
