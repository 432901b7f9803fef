"""How much the other side bears, found out by what it says to us. Pure: time is an argument.

A level is cut when the other side has had too much, to what it bore, and remembers that. It comes back to it quickly
and then steeply slower (CUBIC's curve): most of the time is spent just below the other side's capacity, more is tried
rarely and by little, and where the capacity has really grown the tries grow too. Time alone does not raise it: as many
requests must have succeeded, so that tries stay few among them, however slow the traffic.

How long an answer takes is no sign here: a search takes 50 ms and a create 500 where nothing is wrong.
"""

from math import exp
from typing import Final

_EPOCH_FLOOR: Final = 0.5  # one surprise does not cut deeper; the requests sent before it say nothing new


class Level:
    """A limit between a floor and a ceiling.

    Attributes:
        value: it now.
        ceiling: as configured.
    """

    def __init__(self, ceiling: float, floor: float, *, calm: float, steps: int) -> None:
        """At its ceiling.

        Args:
            ceiling: what it never exceeds.
            floor: what it never goes below.
            calm: seconds until it is back where it was cut.
            steps: successes that it takes besides.
        """
        self.value = self.ceiling = ceiling
        self._floor = min(floor, ceiling)
        self._calm, self._steps = calm, steps
        self._plateau = ceiling
        self._dip = 0.0
        self._cut_at = 0.0
        self._grown = 0
        self._epoch_at = 0.0
        self._epoch_floor = self._floor

    def grow(self, now: float) -> None:
        """A request succeeded while as many as this allows were made."""
        if self.value >= self.ceiling:
            return
        self._grown += 1
        progress = min((now - self._cut_at) / self._calm, self._grown / self._steps)
        there = self._plateau * (1 + self._dip * (progress - 1) ** 3)
        self.value = min(self.ceiling, max(self.value, there))

    def cut(self, now: float, sent_at: float, plateau: float, dip: float) -> None:
        """A request was too much.

        Args:
            now: monotonic.
            sent_at: when it was sent: of what was sent before the last surprise, more of the same is expected.
            plateau: what the other side bore.
            dip: the share of it to stay below at first.
        """
        if sent_at > self._epoch_at:
            self._epoch_at = now
            self._epoch_floor = max(self._floor, self.value * _EPOCH_FLOOR)
            self._plateau = self.value
        self._plateau = min(self._plateau, max(self._epoch_floor, plateau))
        self._dip = dip
        self.value = max(self._floor, self._plateau * (1 - dip))
        self._cut_at, self._grown = now, 0

    def is_news(self, sent_at: float) -> bool:
        """Whether a request was sent since the last cut, so that its failure says something new."""
        return sent_at > self._cut_at

    def limit(self, ceiling: float, floor: float) -> None:
        """Another ceiling and floor."""
        at_ceiling = self.value >= self.ceiling
        self.ceiling, self._floor = ceiling, min(floor, ceiling)
        self.value = ceiling if at_ceiling else min(ceiling, max(self._floor, self.value))


class Pace:
    """How many a second, lately."""

    def __init__(self) -> None:
        """None so far."""
        self._level = 0.0
        self._at = 0.0
        self._memory = 1.0

    def note(self, now: float, memory: float) -> None:
        """One more. Args: memory: seconds after which it counts a third."""
        self._level = self.rate(now) + 1 / memory
        self._at, self._memory = now, memory

    def rate(self, now: float) -> float:
        """Per second."""
        return self._level * exp(-max(0.0, now - self._at) / self._memory)
