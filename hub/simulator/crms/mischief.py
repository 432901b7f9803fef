"""What a double does wrong, and when."""

import random
from collections import Counter, deque
from collections.abc import Mapping
from typing import Final, Literal, get_args

Fault = Literal["drop", "limited", "limited_for", "failed", "hang", "inside", "page", "expired", "drip", "busy", "gone"]
"""``drop``: does it, and closes the connection without an answer. ``limited``: 429. ``limited_for``: 429 with
``Retry-After: 1``. ``failed``: does it, and answers 500. ``hang``: never answers. ``inside``: 200 with an error inside.
``page``: 200 with an HTML page. ``expired``: 401. ``drip``: does it, and answers a byte a second. ``busy``: 503.
``gone``: 410.
"""

EVERY: Final = get_args(Fault)


class Mischief:
    """Faults by share of requests, and those that are next.

    Args:
        shares: of the requests that would change something, by fault; their sum is 1 at the most.
        seed: of the choice.
        reads: whether requests that change nothing are spoilt too.

    Attributes:
        done: faults that happened.
    """

    def __init__(self, shares: Mapping[Fault, float] | None = None, *, seed: int = 0, reads: bool = False) -> None:
        self.shares: dict[Fault, float] = dict(shares or {})
        self.done: Counter[Fault] = Counter()
        self._dice = random.Random(seed)  # noqa: S311  no secret
        self._reads = reads
        self._next: deque[tuple[str, Fault]] = deque()

    def next(self, *faults: Fault, at: str = "") -> None:
        """These happen to the next requests whose method and path end with ``at``, one each; to any without it."""
        self._next.extend((at, fault) for fault in faults)

    def draw(self, method: str, path: str, *, changes: bool) -> Fault | None:
        """What happens to this request."""
        what = f"{method} {path}"
        for n, (at, fault) in enumerate(self._next):
            if what.endswith(at):
                del self._next[n]
                self.done[fault] += 1
                return fault
        if not (changes or self._reads):
            return None
        chance = self._dice.random()
        for fault, share in self.shares.items():
            chance -= share
            if chance < 0:
                self.done[fault] += 1
                return fault
        return None
