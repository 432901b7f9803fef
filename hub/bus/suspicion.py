"""When a delivery is suspected of ending its consumers, and is handled alone from then on.

A message that crashes its worker takes everything with it that was in hand: with a prefetch of a thousand, a thousand
innocent neighbours are returned as often as it is, and would be dead with it. So long before the limit those that came
back too often are handled one at a time: the innocent are settled, and the guilty one dies alone. On both buses.
"""

from typing import Final

SUSPECT_AFTER: Final = 3
"""Returned as often as this by consumers that ended without a word, a delivery is handled alone."""

ALONE: Final = 10
"""Returned more often than this while it was handled alone, it is dead."""
