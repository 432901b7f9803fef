"""Whether the other side is asked at all. Pure: time is an argument, monotonic.

Why not the library that design had in mind (purgatory): decisions/0024.
"""

from collections import deque
from typing import Final, Literal

from hub.outgoing.states import Standing

Sign = Literal["good", "bad", "busy", "none"]
"""What a request says of the other side's health: ``busy`` is a 503, which a moment's overload gives too."""

Change = Literal["opened", "closed"]

_IN_A_ROW: Final = 5
_LATEST: Final = 20
_MANY: Final = 14  # of the latest


class Breaker:
    """Closed, open, or half open.

    | standing | a request | good | bad |
    | --- | --- | --- | --- |
    | closed | passes | | opens, after 5 in a row or 14 of the last 20 |
    | open | fails; a probe once ``probe_every`` has passed since it opened or since the last one: half open | | |
    | half open | fails | closes | open |

    ``busy`` is bad only where there was nothing else for as many more requests as may run at once.

    Attributes:
        standing: now.
        since: when it took that standing.
        opened_at: when the outage began; only where it is not closed.
    """

    def __init__(self, now: float, *, probe_every: float, together: int) -> None:
        """Closed.

        Args:
            now: monotonic.
            probe_every: seconds between probes.
            together: requests that may run at once.
        """
        self.standing: Standing = "closed"
        self.since = now
        self.opened_at = now
        self.together = together
        self._probe_every = probe_every
        self._next_probe = now
        self._paused_until = now
        self._bad = self._failed = 0
        self._latest: deque[bool] = deque(maxlen=_LATEST)

    def until(self, now: float) -> float | None:
        """Until when no request passes; None where one does now."""
        match self.standing:
            case "closed":
                until = self._paused_until
            case "open":
                until = max(self._next_probe, self._paused_until)
            case "half_open":
                return max(self._next_probe, now)
        return until if until > now else None

    @property
    def paused(self) -> bool:
        """Whether what ``until`` says is the other side's wish."""
        return self.standing == "closed"

    def enter(self, now: float) -> bool:
        """A request passes, as ``until`` allowed; returns whether it is a probe."""
        if self.standing == "closed":
            return False
        self._stand("half_open", now)
        self._next_probe = now + self._probe_every
        return True

    def left(self, now: float, *, probe: bool) -> None:
        """A request ended without a sign: cancelled, for instance."""
        if probe and self.standing == "half_open":
            self._stand("open", now)

    def pause(self, until: float) -> None:
        """The other side asked for a pause."""
        self._paused_until = max(self._paused_until, until)

    def tell(self, sign: Sign, now: float, *, probe: bool) -> Change | None:
        """How a request ended; returns what that changed."""
        if self.standing != "closed":
            # Of requests that were sent before it opened, a good end is no proof and a bad one no news.
            return self._probed(sign, now) if probe else None
        if sign == "none":
            return None
        failed = sign != "good"
        self._failed = self._failed + 1 if failed else 0
        self._bad = self._bad + int(sign == "bad") if failed else 0
        self._latest.append(sign == "bad")
        if self._bad >= _IN_A_ROW or self._failed >= _IN_A_ROW + self.together or sum(self._latest) >= _MANY:
            return self.trip(now)
        return None

    def trip(self, now: float) -> Change | None:
        """Opens it."""
        if self.standing != "closed":
            return None
        self._stand("open", now)
        self.opened_at = now
        self._next_probe = now + self._probe_every
        return "opened"

    def _probed(self, sign: Sign, now: float) -> Change | None:
        if sign != "good":
            self._stand("open", now)
            return None
        self._stand("closed", now)
        self._bad = self._failed = 0
        self._latest.clear()
        return "closed"

    def _stand(self, standing: Standing, now: float) -> None:
        self.standing, self.since = standing, now
