"""What goes wrong in a seed: a plan that is drawn before anything runs.

Not everything at once, or nothing would ever go far: each seed draws the kinds of its faults first, their number and
times then. ``KINDS`` is also what the whole run must have met: a fault that never happened was not tested.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from hub.simulator.mutators import Mutations
from tests.simulation.broker import Moods

SPAN: Final = 3.0
"""Seconds in which callbacks come and faults happen."""

Kind = Literal[
    "power cut",
    "power cut at a disk operation",
    "ingress killed",
    "ingress stopped",
    "worker killed",
    "worker stopped",
    "broker down",
    "connection broken",
    "bindings gone",
    "store down",
    "disk is full",
    "disk is slow",
    "sync fails",
    "clock jumps",
    "handler cancelled",
    "event refused",
]

KINDS: Final[dict[Kind, tuple[float, int]]] = {
    # kind: how likely a seed knows it, how many of it at most
    "power cut": (0.35, 2),
    "power cut at a disk operation": (0.35, 3),
    "ingress killed": (0.25, 2),
    "ingress stopped": (0.1, 1),
    "worker killed": (0.35, 3),
    "worker stopped": (0.1, 1),
    "broker down": (0.35, 2),
    "connection broken": (0.25, 3),
    "bindings gone": (0.1, 1),
    "store down": (0.25, 2),
    "disk is full": (0.15, 1),
    "disk is slow": (0.15, 1),
    "sync fails": (0.12, 1),
    "clock jumps": (0.2, 2),
    "handler cancelled": (0.15, 3),
    "event refused": (0.1, 1),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: when, for how long, and a number that says which or how much, as its kind has it."""

    at: float
    kind: Kind
    seconds: float
    number: int


@dataclass(frozen=True)
class Plan:
    """A seed's configuration and its faults.

    Attributes:
        calls: how many.
        mutations: what happens to callbacks on their way.
        workers: persistence processes.
        probe: a second worker whose handler fails.
        only_outbox, share: how the ingress accepts.
        moods: the broker's.
        lost_before, lost_after: the store's.
        blank: the disk is empty at the beginning.
        checkpoint: pages in the WAL after which they go into the file.
        faults: in the order of their times.
    """

    calls: int = 1
    mutations: Mutations = field(default_factory=Mutations)
    workers: int = 1
    probe: bool = False
    only_outbox: bool = False
    share: float = 0.1
    moods: Moods = field(default_factory=Moods)
    lost_before: float = 0.0
    lost_after: float = 0.0
    blank: bool = False
    checkpoint: int = 4000
    faults: tuple[Fault, ...] = ()


def draw(random: Random) -> Plan:
    """The plan of a seed."""

    def rate(chance: float, most: float) -> float:
        return random.random() * most if random.random() < chance else 0.0

    faults = [
        Fault(random.random() * SPAN, kind, _long(random), random.randrange(1 << 16))
        for kind, (chance, most) in KINDS.items()
        if random.random() < chance
        for _ in range(random.randint(1, most))
    ]
    return Plan(
        calls=random.randint(1, 3),
        mutations=Mutations(
            duplicate=rate(0.3, 0.5),
            reorder=rate(0.3, 0.5),
            drop=rate(0.2, 0.4),
            delay=rate(0.2, 0.3),
            truncate=rate(0.15, 0.4),
        ),
        workers=1 if random.random() < 0.7 else 2,
        probe=random.random() < 0.3,
        only_outbox=random.random() < 0.3,
        share=random.choice([0.0, 0.1, 0.5]),
        moods=Moods(
            nack=rate(0.2, 0.2),
            nack_kept=rate(0.15, 0.2),
            late=rate(0.3, 0.4),
            deaf=rate(0.2, 0.2),
            twice=rate(0.2, 0.5),
            cut=rate(0.2, 0.2),
            doubled=rate(0.2, 0.3),
            disorder=rate(0.4, 1.0),
            slow=random.choice([0.005, 0.05, 0.3]),
        ),
        lost_before=rate(0.2, 0.3),
        lost_after=rate(0.25, 0.3),
        blank=random.random() < 0.05,
        checkpoint=random.choice([4000, 20, 5]),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def _long(random: Random) -> float:
    """Mostly moments, now and then longer than any time limit is."""
    return random.choice([0.05, 0.3, 1.0, 3.0]) * random.uniform(0.5, 1.5)


def outage(random: Random) -> Plan:
    """The broker is away, so that all hangs on the disk, and its power goes; now and then a sync fails before that."""
    cut = random.uniform(1.0, SPAN)
    faults = [
        Fault(0.0, "broker down", SPAN + 1, 0),
        Fault(random.uniform(0.0, cut), "sync fails", 0.0, random.randrange(8)),
        Fault(cut, "power cut", 0.0, 0),
    ]
    return Plan(calls=3, only_outbox=True, faults=tuple(sorted(faults, key=lambda fault: fault.at)))
