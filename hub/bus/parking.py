"""Where a delivery waits that is to come back later: one interface, two fillers, chosen by the broker's version.

The ladder is a queue for each delay; it keeps every promise on every version. From RabbitMQ 4.3 on a quorum queue can
delay what is returned to it; what that can and cannot do stands in docs/decisions/0013-retries-stay-on-the-ladder.md.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hub.bus.topology import retry_queue, step
from hub.bus.wire import Copy, Received

NATIVE_SINCE: Final = (4, 3)


@dataclass(frozen=True, slots=True)
class Return:
    """The delivery goes back to its queue by a ``basic.nack``, and the queue itself delays it."""


Parked = Copy | Return


class Parking(Protocol):
    """How deliveries wait."""

    def arguments(self) -> Mapping[str, Any]:
        """What a work queue has to be declared with besides the rest."""
        ...

    def park(self, what: Received, queue: str, after: float, attempt: int, reason: str) -> Parked:
        """What makes a delivery of ``queue`` come back after at least ``after`` seconds, as that attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Ladder:
    """A retry queue for each delay: a copy waits there until it expires, back to its work queue.

    Attributes:
        steps: seconds, ascending.
    """

    steps: Sequence[int]

    def arguments(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def park(self, what: Received, queue: str, after: float, attempt: int, reason: str) -> Copy:
        """A copy for the smallest step that is long enough; for the longest with a note where none is."""
        seconds = step(self.steps, after)
        not_before = time.time() + after if after > seconds else None
        return what.parked(retry_queue(queue, seconds), attempt, reason, not_before)


@dataclass(frozen=True, slots=True)
class Native:
    """The queue's own delay, for what it can honour; the ladder for everything else.

    Over AMQP 0-9-1 every return of a queue waits equally long, and carries nothing of ours. So it fits a snooze no
    longer than that delay, and neither a retry, whose attempt and reason have to be written down, nor a longer wait.

    Attributes:
        ladder: for all that does not fit.
        seconds: the queue's delay.
    """

    ladder: Ladder
    seconds: int

    def arguments(self) -> Mapping[str, Any]:
        """Only what was returned on purpose is delayed: what a crash returns goes to another worker at once."""
        delay = self.seconds * 1000
        return {"x-delayed-retry-type": "returned", "x-delayed-retry-min": delay, "x-delayed-retry-max": delay}

    def park(self, what: Received, queue: str, after: float, attempt: int, reason: str) -> Parked:
        """A return where it says the same as a copy would, else a copy."""
        if attempt == what.attempt and 0 < after <= self.seconds:
            return Return()
        return self.ladder.park(what, queue, after, attempt, reason)


def choose(steps: Sequence[int], server: Mapping[str, Any], *, native: bool) -> Parking:
    """The filler for a broker.

    Args:
        steps: the ladder's, in seconds, ascending.
        server: the broker's properties, as it sent them when the connection was opened.
        native: whether the queue's own delay is wanted where the broker has it. An older one accepts the arguments and
            ignores them, which would be no delay at all.
    """
    ladder = Ladder(tuple(steps))
    return Native(ladder, steps[0]) if native and version(server) >= NATIVE_SINCE else ladder


def version(server: Mapping[str, Any]) -> tuple[int, int]:
    """Major and minor; (0, 0) of what is no RabbitMQ, or does not say."""
    product, text = server.get("product", b""), server.get("version", b"")
    words = [
        word.decode(errors="replace") if isinstance(word, bytes | bytearray) else str(word) for word in (product, text)
    ]
    found = re.match(r"(\d+)\.(\d+)", words[1])
    return (int(found[1]), int(found[2])) if words[0] == "RabbitMQ" and found else (0, 0)
