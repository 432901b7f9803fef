"""What goes wrong between a vendor and us, on order: twice, out of order, never, late, cut short. Pure.

Each decision depends on the seed, the mutator, the call and the request alone, not on its place in the stream: a
request that is dropped at ``drop=0.1`` is dropped at 0.2 as well, and whatever else is played beside it.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from hub.errors import ConfigurationError
from hub.simulator.call import Call
from hub.simulator.dice import share
from hub.simulator.scenarios import Step

NAMES: Final = ("reorder", "duplicate", "drop", "delay", "truncate")
"""The mutators, in the order in which they are applied: each copy of a duplicate has its own further fate."""

DELAY_SECONDS: Final = 30.0
DUPLICATE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Mutations:
    """How much of the stream each mutator touches, as fractions from 0 to 1.

    Attributes:
        duplicate: of the requests: sent a second time, up to ten seconds later.
        reorder: of the requests that have a later one in their call: that one comes first.
        drop: of the requests and copies: never sent.
        delay: of the requests and copies: up to half a minute late, past whatever else happens meanwhile.
        truncate: of the requests and copies with a body: the body ends somewhere in its middle, so that it is
            undecodable.

    Raises:
        ConfigurationError: not a fraction.
    """

    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0
    delay: float = 0.0
    truncate: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{each.name} is {value}, expected a fraction from 0 to 1")


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to a stream, for an oracle that must know what to expect.

    Attributes:
        counts: how many steps each mutator touched; all five names are there.
        which: the call's key and the request's ordinal, for each mutator, in the stream's order.
        whole: by call, the ordinals of which at least one copy is sent with its whole body. A call of which nothing
            is left is not there.
    """

    counts: Mapping[str, int]
    which: Mapping[str, list[tuple[str, int]]]
    whole: Mapping[str, frozenset[int]]


def mutate(steps: Iterable[Step], mutations: Mutations, *, seed: int) -> Iterator[Step]:
    """The stream, spoiled as told, still in ascending order of ``at``.

    A dropped step stays in the stream with the mark ``drop``, so that nothing is lost from the books; the driver does
    not send it. Holds no more than half a minute of the stream.

    Args:
        steps: as ``hub.simulator.scenarios.stream`` makes them: ascending, each request once.
        mutations: how much of it.
        seed: any integer; each mutator derives its own from it.
    """
    late: list[tuple[float, int, Step]] = []
    serial = 0
    for step in steps:
        while late and late[0][0] <= step.at:
            yield heapq.heappop(late)[-1]
        for copy in _copies(_reordered(step, mutations, seed), mutations, seed):
            heapq.heappush(late, (copy.at, serial, copy))
            serial += 1
    while late:
        yield heapq.heappop(late)[-1]


def changes(steps: Iterable[Step]) -> Changes:
    """What the marks of a mutated stream amount to."""
    counts: Counter[str] = Counter(dict.fromkeys(NAMES, 0))
    which: dict[str, list[tuple[str, int]]] = {name: [] for name in NAMES}
    whole: defaultdict[str, set[int]] = defaultdict(set)
    for step in steps:
        counts.update(step.marks)
        for mark in step.marks:
            which[mark].append((step.call.key, step.ordinal))
        if "drop" not in step.marks and "truncate" not in step.marks:
            whole[step.call.key].add(step.ordinal)
    return Changes(dict(counts), which, {key: frozenset(ordinals) for key, ordinals in whole.items()})


def _order(call: Call, fraction: float, seed: int) -> list[int]:
    """Which of a call's requests is sent in which place: in each chosen place the next one comes first."""
    order = list(range(len(call.requests)))
    for place in range(len(order) - 1):
        if share("reorder", seed, call.key, place) < fraction:
            order[place], order[place + 1] = order[place + 1], order[place]
    return order


def _reordered(step: Step, mutations: Mutations, seed: int) -> Step:
    """The step with the request that is sent in its place. Of the call alone: no other is moved by it."""
    fraction, place = mutations.reorder, step.ordinal
    if not fraction:
        return step
    ordinal = _order(step.call, fraction, seed)[place]
    last = place == len(step.call.requests) - 1
    marks = ("reorder",) if not last and share("reorder", seed, step.call.key, place) < fraction else ()
    return step._replace(ordinal=ordinal, request=step.call.requests[ordinal], marks=marks)


def _copies(step: Step, mutations: Mutations, seed: int) -> Iterator[Step]:
    """The step and, where told, its repetition, each with its own fate."""
    chance = share("duplicate", seed, step.call.key, step.ordinal) if mutations.duplicate else 1.0
    yield _fate(step, 0, mutations, seed)
    if chance < mutations.duplicate:
        later = share("duplicate seconds", seed, step.call.key, step.ordinal) * DUPLICATE_SECONDS
        again = step._replace(at=round(step.at + later, 3), marks=("duplicate",))
        yield _fate(again, 1, mutations, seed)


def _fate(step: Step, copy: int, mutations: Mutations, seed: int) -> Step:
    """Dropped, delayed and truncated, each by its own throw."""

    def thrown(mutator: str) -> float:
        return share(mutator, seed, step.call.key, step.ordinal, copy)

    if mutations.drop and thrown("drop") < mutations.drop:
        return step._replace(marks=(*step.marks, "drop"))
    if mutations.delay and thrown("delay") < mutations.delay:
        late = round(step.at + thrown("delay seconds") * DELAY_SECONDS, 3)
        step = step._replace(at=late, marks=(*step.marks, "delay"))
    body = step.request.body
    if body and mutations.truncate and thrown("truncate") < mutations.truncate:
        # Between a quarter and three quarters: the variable's name is whole, the text in it is not.
        cut = int(len(body) * (0.25 + thrown("truncate bytes") / 2))
        step = step._replace(request=replace(step.request, body=body[:cut]), marks=(*step.marks, "truncate"))
    return step
