"""What an answer means for what happens next. Pure: time is an argument."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from hub.errors import Doubtful, Expired, Forbidden, Gone, LaneClosed, Later, NotSent, RateLimited, Refused
from hub.outgoing.messages import Answer
from hub.outgoing.redaction import excerpt
from hub.outgoing.states import Verdict
from hub.retry import LONGEST_WISH

Problem = RateLimited | Expired | Gone | Later | Refused

_LONGEST_NUMBER: Final = 32  # characters of a Retry-After that are worth reading

_WORDS: Final[dict[type[Exception], Verdict]] = {  # the first that fits
    RateLimited: "limited",
    Expired: "expired",
    Gone: "gone",
    Refused: "refused",
    Later: "later",
    Forbidden: "forbidden",
    LaneClosed: "closed",
    NotSent: "not_sent",
    Doubtful: "doubtful",
}


def verdict(answer: Answer, now: datetime) -> Problem | None:
    """None where it was done (2xx); else the error that says what happens next, to be raised or noted.

    The status alone is judged: of an answer of 200 with an error inside, the caller knows more.

    Args:
        answer: from ``Lane.ask``.
        now: aware; ``Retry-After`` counts from here.
    """
    status = answer.status
    match status:
        case _ if 200 <= status < 300:  # noqa: PLR2004
            return None
        case 429:
            return RateLimited(retry_after(answer, now) or now, _told(answer))
        case 401 | 403:
            return Expired(_told(answer))
        case 410:
            return Gone(_told(answer))
        case _ if status in _MAYBE_LATER or not 400 <= status < 500:  # noqa: PLR2004
            return Later(status, _told(answer), retry_after(answer, now))
        case _:
            return Refused(status, _told(answer))


_MAYBE_LATER: Final = frozenset({408, 421, 423, 425})


def word(problem: Exception | None) -> Verdict:
    """The verdict's name in metrics and logs."""
    return "done" if problem is None else next(name for kind, name in _WORDS.items() if isinstance(problem, kind))


def retry_after(answer: Answer, now: datetime) -> datetime | None:
    """Until when the other side wants to be left alone, at most an hour from now; None where it does not say.

    Seconds (fractions too) and HTTP dates are understood; what is negative, past or unreadable is None.
    """
    text = answer.headers.get("Retry-After", "").strip()
    seconds = _seconds(text, now)
    if seconds is None or not seconds > 0:
        return None
    return now + timedelta(seconds=min(seconds, LONGEST_WISH))


def _seconds(text: str, now: datetime) -> float | None:
    if text.isascii() and text.replace(".", "", 1).isdecimal():
        return float(text[:_LONGEST_NUMBER]) if len(text) <= _LONGEST_NUMBER else LONGEST_WISH
    try:
        when = parsedate_to_datetime(text)
        return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _told(answer: Answer) -> str:
    said = excerpt(answer.body)
    return f"answered {answer.status}: {said}" if said else f"answered {answer.status}"
