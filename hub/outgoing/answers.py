"""What an answer means for what happens next. Pure: time is an argument."""

from datetime import datetime

from hub.errors import TrunklineError
from hub.outgoing.messages import Answer


def verdict(answer: Answer, now: datetime) -> TrunklineError | None:
    """None where it was done (2xx); else the error that says what happens next, to be raised or noted.

    The status alone is judged: of an answer of 200 with an error inside, the caller knows more.

    Args:
        answer: from ``Lane.ask``.
        now: aware; ``Retry-After`` counts from here.
    """
    raise NotImplementedError


def retry_after(answer: Answer, now: datetime) -> datetime | None:
    """Until when the other side wants to be left alone, at most an hour from now; None where it does not say.

    Seconds (fractions too) and HTTP dates are understood; what is negative, past or unreadable is None.
    """
    raise NotImplementedError
