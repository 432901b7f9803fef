"""What can come of an attempt to place a call, and what happens next. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hub.errors import Doubtful, Expired, LaneClosed, NotSent, Permanent, RateLimited
from hub.ports.dialing import Dial

DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds after the first, second… attempt that certainly did nothing; the last one again and again."""


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing was done; it may be sent then."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It will not be placed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may be ringing, and may not."""

    reason: str


def judge(error: Exception, dial: Dial, now: datetime) -> Again | Failed | Unknown:
    """What an error means for a dial.

    | error | known of the call | next |
    | --- | --- | --- |
    | ``LaneClosed``, ``RateLimited`` | not placed | again when the vendor wants it, unless that is too late |
    | ``NotSent`` | not placed | again soon, unless that is too late |
    | ``Permanent`` (``Refused``, ``Forbidden``, ``Gone``) | not placed | failed |
    | ``Expired`` | not placed: the vendor does not know us | failed: nobody has other credentials |
    | ``Doubtful``, and whatever nobody expected | nothing | unknown |
    """
    match error:
        case Doubtful():
            return Unknown(str(error))
        case Expired():
            return Failed(f"the vendor does not know us: {error}")
        case Permanent():
            return Failed(str(error))
        case LaneClosed() | RateLimited():
            return _again(max(error.until, now), error, dial)
        case NotSent():
            return _again(now + timedelta(seconds=DELAYS[min(dial.attempt, len(DELAYS) - 1)]), error, dial)
        case _:
            return Unknown(f"defect: {error!r}")


def _again(at: datetime, error: Exception, dial: Dial) -> Again | Failed:
    if at < dial.give_up_at:
        return Again(at, str(error))
    seconds = (dial.give_up_at - dial.requested_at).total_seconds()
    return Failed(f"not placed within {seconds:g} s: {error}")
