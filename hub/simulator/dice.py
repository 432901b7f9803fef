"""Chance that stays the same for ever.

``random.Random`` promises the same ``random()`` from the same integer seed in every version of Python, and nothing of
the kind for ``choice``, ``randrange`` or ``shuffle``; so only ``random()`` is used here, and seeds are SHA-256 of text.
"""

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")


def _number(parts: tuple[object, ...], size: int) -> int:
    return int.from_bytes(sha256("\x1f".join(map(str, parts)).encode()).digest()[:size], "big")


def share(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone: one throw of a die that nobody threw before."""
    return (_number(parts, 8) >> 11) / (1 << 53)


def stable_integer(below: int, *parts: object) -> int:
    """An integer in [0, below) that depends on the parts alone."""
    return _number(parts, 8) % below


class Dice:
    """A sequence of throws that depends on the given parts alone (their texts)."""

    def __init__(self, *parts: object) -> None:
        self._random = Random(_number(parts, 32))  # noqa: S311 - repeatable on purpose, nothing secret

    def share(self) -> float:
        """The next number in [0, 1)."""
        return self._random.random()

    def chance(self, probability: float) -> bool:
        """True as often as ``probability`` says."""
        return self.share() < probability

    def integer(self, low: int, high: int) -> int:
        """The next integer from ``low`` to ``high``, both possible."""
        return low + int(self.share() * (high - low + 1))

    def seconds(self, low: float, high: float) -> float:
        """The next duration between two, in whole milliseconds."""
        return self.integer(round(low * 1000), round(high * 1000)) / 1000

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.integer(0, len(choices) - 1)]

    def sample(self, choices: Sequence[T], count: int) -> list[T]:
        """``count`` different ones of the choices, in a new order."""
        left = list(choices)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(count)]

    def digits(self, count: int) -> str:
        """``count`` digits, leading zeros included."""
        return "".join(str(self.integer(0, 9)) for _ in range(count))

    def uuid(self) -> str:
        """A UUID in lower case, of no particular version: FocalScope's are not RFC 4122's either."""
        return str(
            UUID(
                int=self.integer(0, (1 << 32) - 1) << 96
                | self.integer(0, (1 << 48) - 1) << 48
                | self.integer(0, (1 << 48) - 1)
            )
        )
