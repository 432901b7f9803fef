"""The lines of one partition in memory: each call's events, in the order in which they are to be handled. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from hub.bus.suspicion import SUSPECT_AFTER
from hub.bus.wire import Received
from hub.events import REPLAY

MOST_HELD: Final = 10_000
MOST_HELD_BYTES: Final = 32 * 1024 * 1024
"""Of one partition, in the held queue and in the memory of its consumer: beyond that the partition takes no more."""


@dataclass(eq=False, slots=True)
class Entry:
    """An event in its line.

    Attributes:
        call: whose line.
        received: the event, as the broker has it.
        tag: of its delivery.
        held: whether it lies in the held queue; else in the partition.
        place: of those of its line that are held, ascending; 0 for the others.
        due: Unix time before which it must not be handled.
        number: of its arrival at this consumer.
        busy: somebody is about it: the worker has it, or it is being put somewhere else.
    """

    call: str
    received: Received
    tag: int
    held: bool = False
    place: int = 0
    due: float = 0.0
    number: int = 0
    busy: bool = False

    @property
    def suspect(self) -> bool:
        """Whether it came back so often that it is handled alone."""
        return self.received.suspected > 0 or self.received.returns >= SUSPECT_AFTER


def entry(what: Received, tag: int, *, held: bool) -> Entry:
    """A delivery as an entry; what belongs to no call has a line to itself."""
    call = what.message.headers.get("ce-subject") or what.properties.correlation_id or f"no call {uuid4().hex}"
    if not held:
        return Entry(call, what, tag)
    return Entry(call, what, tag, held=True, place=what.place, due=what.not_before)


class Lines:
    """Every line of a partition.

    Attributes:
        held: how many entries are held.
        held_bytes: the sizes of their bodies.
    """

    def __init__(self) -> None:
        self.held = 0
        self.held_bytes = 0
        self._lines: dict[str, deque[Entry]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._lines))

    def numbers(self) -> Iterator[int]:
        """Those of all entries."""
        return (one.number for line in self._lines.values() for one in line)

    @property
    def full(self) -> bool:
        """Whether no more may be held."""
        return self.held >= MOST_HELD or self.held_bytes >= MOST_HELD_BYTES

    def join(self, one: Entry) -> bool:
        """Puts an entry at the end of its line; False, and it stays outside, where its copy or original is there."""
        line = self._lines.setdefault(one.call, deque())
        if any(_is_copy(one, other) for other in line):
            return False
        line.append(one)
        self._count(one, 1)
        return True

    def taken(self) -> int:
        """How many entries are not held: what is in hand of the partition."""
        return len(self) - self.held

    def head(self, call: str) -> Entry | None:
        """Who is first."""
        line = self._lines.get(call)
        return line[0] if line else None

    def leave(self, head: Entry) -> None:
        """Takes the head out."""
        line = self._lines[head.call]
        line.popleft()
        self._count(head, -1)
        if not line:
            del self._lines[head.call]

    def next_to_hold(self, call: str) -> Entry | None:
        """The first one that is not held; None where one is on its way, or all are: they are held in their order."""
        one = next((one for one in self._lines.get(call, ()) if not one.held), None)
        return None if one is None or one.busy else one

    def place(self, one: Entry) -> int:
        """Where among the held ones of its line an entry belongs."""
        return one.place or 1 + max((other.place for other in self._lines[one.call] if other.held), default=0)

    def hold(self, one: Entry, tag: int, what: Received) -> None:
        """An entry lies in the held queue now, as that delivery."""
        self._count(one, -1)
        copy = entry(what, tag, held=True)
        one.received, one.tag, one.held, one.place, one.due = what, tag, True, copy.place, copy.due
        self._count(one, 1)

    def _count(self, one: Entry, sign: int) -> None:
        if one.held:
            self.held += sign
            self.held_bytes += sign * len(one.received.message.body)


def _is_copy(one: Entry, other: Entry) -> bool:
    """Whether one of the two was made of the other: what was published twice is two events, and a replay is another."""
    ours, theirs = one.received.message, other.received.message
    is_same = bool(ours.id) and ours.id == theirs.id and ours.headers.get(REPLAY) == theirs.headers.get(REPLAY)
    return is_same and (one.held or other.held)


def in_places(entries: Iterable[Entry]) -> list[Entry]:
    """Held entries in the order of their lines; of two copies of one event the later one first."""
    return sorted(entries, key=lambda one: (one.place, -one.received.attempt, -one.received.suspected))
