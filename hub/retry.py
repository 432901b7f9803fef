"""When to try again: a function of the error, of the attempt that failed, and of a number that spreads the crowd. Pure.

Twelve attempts: the waits between them add up to two days at the least, whatever the spread, so that a weekend without
the other side loses nothing; the first retry comes within five seconds.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from hub.errors import (
    LaneClosed,
    Later,
    NoTurn,
    NotYet,
    Permanent,
    RateLimited,
    StoreUnavailable,
    TrunklineError,
    Undecodable,
)

ATTEMPTS: Final = 12
"""For what is known to happen: the other side is down, slow or busy."""

QUICK_ATTEMPTS: Final = 5
"""For what nobody expected: an error in our own code does not go away by waiting, a race does."""

LONGEST_WISH: Final = 3600.0
"""Seconds; no ``Retry-After`` is believed beyond this."""

_FIRST, _FACTOR, _LONGEST = 5.0, 4.0, 86_400.0
_LONGEST_REASON: Final = 500


class Next(Enum):
    """What happens to a delivery whose handling failed."""

    RETRY = "retry"
    SNOOZE = "snooze"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens next, after how many seconds, and why; ``after`` is 0 for a dead letter."""

    next: Next
    after: float
    reason: str


def delay(attempt: int, *, spread: float) -> float:
    """Seconds to wait after the ``attempt``-th attempt (from 1) has failed.

    Args:
        attempt: 5, 20, 80… seconds at the most for the first, second, third; a day at the most for any.
        spread: in [0, 1): where between half of that and all of it, so that those who failed together do not come back
            together. The caller's random number.
    """
    ceiling = min(_LONGEST, _FIRST * _FACTOR ** min(attempt - 1, ATTEMPTS))
    return ceiling * (0.5 + 0.5 * spread)


def give_up(attempt: int, attempts: int = ATTEMPTS) -> bool:
    """Whether the ``attempt``-th attempt was the last."""
    return attempt >= attempts


def plan(error: Exception, attempt: int, now: datetime, spread: float) -> Plan:  # noqa: PLR0911  a table
    """What to do about a delivery whose ``attempt``-th handling ended with ``error``.

    | error | next | after | attempts |
    | --- | --- | --- | --- |
    | ``NotYet`` | snooze | what it says | not counted |
    | ``StoreUnavailable`` | snooze | ``delay`` | not counted: nobody's fault |
    | ``Permanent``, ``Undecodable`` | dead | | |
    | ``LaneClosed`` | snooze | until what it says | not counted: nobody was asked |
    | ``NoTurn`` | snooze | ``delay`` of a first attempt | likewise |
    | ``RateLimited``, ``Later(until)`` | retry | ``delay``, and not before ``until``; of that an hour at most | 12 |
    | any other of ours, and of the system (connections, time limits) | retry | ``delay`` | 12 |
    | anything else | retry | ``delay`` | 5 |
    """
    reason = describe(error)
    match error:
        case NotYet():
            return Plan(Next.SNOOZE, max(0.0, error.after), reason)
        case StoreUnavailable():
            return Plan(Next.SNOOZE, delay(attempt, spread=spread), reason)
        case Permanent() | Undecodable():
            return Plan(Next.DEAD, 0.0, reason)
        case LaneClosed():
            return Plan(Next.SNOOZE, max(0.0, (error.until - now).total_seconds()), reason)
        case NoTurn():
            return Plan(Next.SNOOZE, delay(1, spread=spread), reason)
        case RateLimited(until=until) | Later(until=datetime() as until):
            wish = min((until - now).total_seconds(), LONGEST_WISH)
            return _again(attempt, ATTEMPTS, max(wish, delay(attempt, spread=spread)), reason)
        case TrunklineError() | OSError():  # TimeoutError is an OSError
            return _again(attempt, ATTEMPTS, delay(attempt, spread=spread), reason)
        case _:
            return _again(attempt, QUICK_ATTEMPTS, delay(attempt, spread=spread), reason)


def describe(error: Exception) -> str:
    """One line for an operator: the message of an error raised on purpose, with its type where it was not."""
    text = str(error) if isinstance(error, TrunklineError) and str(error) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST_REASON]


def _again(attempt: int, attempts: int, after: float, reason: str) -> Plan:
    if give_up(attempt, attempts):
        return Plan(Next.DEAD, 0.0, f"given up after {attempt} attempts: {reason}"[:_LONGEST_REASON])
    return Plan(Next.RETRY, after, reason)
