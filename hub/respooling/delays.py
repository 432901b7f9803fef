"""Spans of time as they are configured: ``15m``, ``2h``, ``1d``. Pure."""

import re
from datetime import timedelta
from typing import Final

_SPAN: Final = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST: Final = timedelta(days=366)


def span(text: str) -> timedelta:
    """A whole number of seconds, minutes, hours or days of 24 hours. Raises ValueError."""
    found = _SPAN.fullmatch(text.strip())
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
    if length is None or length > _LONGEST:
        raise ValueError("expected a number and a unit, 30s, 15m, 2h or 1d, of a year at most")
    return length
