"""How many deliveries may be in hand so that their bodies fit into memory. Pure.

AMQP can bound a consumer by bytes and RabbitMQ cannot, so the count is derived from what was seen: the largest body of
late, times the count, stays below the bound.
"""

from typing import Final

_WINDOW: Final = 256  # deliveries: the largest of the last one to two windows says how many fit


class Allowance:
    """A count between 1 and ``most``.

    Attributes:
        count: how many deliveries may be in hand.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        """All of them, until bodies turn out to be large.

        Args:
            most: deliveries in hand, where bodies are small.
            most_bytes: bytes of all bodies in hand.
        """
        self.count = most
        self._most = most
        self._most_bytes = most_bytes
        self._largest = 1  # of the window that goes on
        self._before = 1  # of the one before
        self._seen = 0

    def saw(self, size: int) -> None:
        """A body of that many bytes arrived."""
        if self._seen == _WINDOW:
            self._before, self._largest, self._seen = self._largest, 1, 0
        self._seen += 1
        self._largest = max(self._largest, size)

    def exceeded(self, in_hand: int) -> bool:
        """Whether so many bytes in hand are too many for this count; a single delivery never is."""
        return in_hand > self._most_bytes and self.count > 1

    def narrow(self) -> None:
        """Lowers the count to what fits."""
        self.count = max(1, min(self.count // 2, self._fits()))

    def widen(self) -> bool:
        """Raises the count where at least twice as many, or all, would fit; returns whether it did."""
        fits = min(self._most, self._fits())
        if fits < min(self._most, 2 * self.count) or fits <= self.count:
            return False
        self.count = fits
        return True

    def _fits(self) -> int:
        return max(1, self._most_bytes // max(self._before, self._largest))
