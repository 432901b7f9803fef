"""What can come of an attempt, and what happens next. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hub import retry
from hub.audio import NotAudio
from hub.errors import (
    CustodyUnavailable,
    Expired,
    Forbidden,
    Gone,
    LaneClosed,
    Later,
    NoTurn,
    Permanent,
    RateLimited,
    TrunklineError,
)
from hub.ports.recordings import Recording

SCHEDULE: Final = (8.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 86400.0)
"""Seconds after the first, second… attempt that found it not ready; the last one again and again."""

_NARROW: Final = timedelta(seconds=60)  # before the vendor deletes it: the last moment that is still feasible
_NARROW_SHARE: Final = 0.05  # of the time that there was in all, where that is less
_CUSTODY: Final = (10.0, 60.0)  # seconds


class NotReady(TrunklineError):
    """The vendor does not have it yet: 404, 202, 0 bytes, or it still grows.

    Attributes:
        until: not to be asked before, where it said so.
    """

    def __init__(self, reason: str, until: datetime | None = None) -> None:
        super().__init__(reason)
        self.until = until


class Damaged(TrunklineError):
    """It is there and cut, or broken."""


class Unproven(TrunklineError):
    """It may be whole, and nothing shows it: a second download that is the same will.

    Attributes:
        seen: hash and size.
    """

    def __init__(self, seen: str, reason: str) -> None:
        super().__init__(reason)
        self.seen = seen


class TooLarge(Permanent):
    """More bytes than ``recordings.max_bytes``."""


class NoUrl(Permanent):
    """The configured template refers to something that this recording does not have."""


@dataclass(frozen=True, slots=True)
class Again:
    """Come back then. ``counts``: it was an attempt."""

    at: datetime
    counts: bool


@dataclass(frozen=True, slots=True)
class Over:
    """Given up; ``word`` is the reason in the event."""

    word: str


_FOR_GOOD: Final[Mapping[type[Exception], str]] = {
    Gone: "gone",
    Forbidden: "forbidden",
    TooLarge: "too_large",
    NoUrl: "no_url",
}
_LISTED: Final[Mapping[type[Exception], str]] = {
    NotReady: "missing",
    Damaged: "damaged",
    Unproven: "damaged",
    Expired: "auth",
}


def plan(error: Exception, recording: Recording, now: datetime, spread: float) -> Again | Over:
    """What happens to a recording whose attempt ended with ``error``.

    | error | next | in the end |
    | --- | --- | --- |
    | ``NotReady`` | ``SCHEDULE`` | ``missing`` |
    | ``Damaged`` | ``SCHEDULE`` | ``damaged`` |
    | ``NotAudio`` | ``SCHEDULE`` | ``auth`` of a page, ``not_audio`` |
    | ``Unproven`` | at once, nearly | ``damaged`` |
    | ``Expired`` | ``SCHEDULE`` | ``auth`` |
    | ``Gone``, ``Forbidden``, ``TooLarge``, ``NoUrl`` | | ``gone``, ``forbidden``, ``too_large``, ``no_url`` |
    | any other ``Permanent`` | | ``refused`` |
    | ``LaneClosed``, ``RateLimited`` | when it says, else in some seconds, not counted | ``unreachable`` |
    | ``NoTurn`` | in some seconds, not counted | ``unreachable`` |
    | ``CustodyUnavailable`` | within a minute, not counted, for ever | |
    | other errors of the line and of the system | ``retry.delay`` | ``unreachable`` |
    | anything else | ``retry.delay``, five times | ``defect`` |

    The end is when the vendor deletes it: the last try is made just before, however long the wait would have been.

    Args:
        error: what it ended with.
        recording: as it was claimed: ``attempt`` is without this one.
        now: when it ended.
        spread: in [0, 1), the caller's random number.
    """
    last = last_moment(recording)
    match error:
        case CustodyUnavailable():
            low, high = _CUSTODY
            return Again(now + timedelta(seconds=low + (high - low) * spread), counts=False)
        case LaneClosed() | RateLimited() if now < recording.expires_at:
            said = error.until > now
            return Again(error.until if said else now + timedelta(seconds=retry.delay(1, spread=spread)), counts=False)
        case NoTurn() if now < recording.expires_at:
            return Again(now + timedelta(seconds=retry.delay(1, spread=spread)), counts=False)
        case Permanent():
            return Over(next((word for kind, word in _FOR_GOOD.items() if isinstance(error, kind)), "refused"))
    word, wait = _word_and_wait(error, recording.attempt + 1, spread)
    if now >= last or (word == "defect" and retry.give_up(recording.attempt + 1, retry.QUICK_ATTEMPTS)):
        return Over(word)
    at = now + timedelta(seconds=wait)
    if isinstance(error, Later | NotReady) and error.until is not None:
        at = max(at, error.until)
    return Again(min(at, last), counts=True)


def last_moment(recording: Recording) -> datetime:
    """When an attempt must have begun to be worth it."""
    return recording.expires_at - min(_NARROW, (recording.expires_at - recording.at) * _NARROW_SHARE)


def _word_and_wait(error: Exception, attempt: int, spread: float) -> tuple[str, float]:
    listed = SCHEDULE[min(attempt, len(SCHEDULE)) - 1] * (0.75 + 0.25 * spread)
    if isinstance(error, Unproven) and attempt < len(SCHEDULE):
        return "damaged", listed_soon(spread)
    if isinstance(error, NotAudio):
        return "auth" if error.kind == "page" else "not_audio", listed
    for kind, word in _LISTED.items():
        if isinstance(error, kind):
            return word, listed
    word = "unreachable" if isinstance(error, TrunklineError | OSError) else "defect"
    return word, retry.delay(attempt, spread=spread)


def listed_soon(spread: float) -> float:
    """Seconds until a second download is to show that the first was whole."""
    return SCHEDULE[0] * (0.25 + 0.25 * spread)
