"""Many seeds, on several processors, added up."""

import gc
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.simulation.world import Options, Outcome, run

ONCE_FAILED: Final = Path(__file__).with_name("seeds.txt")
"""Seeds that once found something, each with what it was: they are played first, and for ever."""

_TOGETHER: Final = 100
_TIDY: Final = 50  # seeds between two collections; a collection in the midst of a seed costs more than it frees

MUST_HAPPEN: Final = frozenset(
    {
        *("power cut", "unsynced writes lost", "disk full", "sync failed", "disk is full", "disk is slow"),
        *("ingress ended itself", "ingress killed", "ingress stopped", "worker killed", "worker stopped"),
        *("probe killed", "probe stopped", "handler cancelled", "clock jumps"),
        *("broker down", "connection broken", "connection cut in a batch", "connection cut before an acknowledgement"),
        *("acknowledgement lost", "redelivery", "redelivery out of order", "event refused", "bindings gone", "return"),
        *("nack", "nack of a kept message", "late confirm", "lost confirm", "duplicate confirm", "confirm of several"),
        *("store down", "store away", "transaction lost", "commit unknown"),
        *("handler: time limit", "handler: rate limited", "handler: not yet", "handler: permanent", "handler: defect"),
    }
)
"""A fault that never happened was not tested."""


@dataclass
class Report:
    """What many seeds came to.

    Attributes:
        seeds: how many were played.
        broken: seed and promise, for each seed that broke one.
        happened: faults, by their names.
        tally: attempted, acknowledged, ok…
        seconds: that it took; virtual: of virtual time.
    """

    seeds: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    tally: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    virtual: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """A seed more."""
        self.seeds += 1
        self.happened += outcome.happened
        self.tally += outcome.tally
        self.virtual += outcome.seconds
        if outcome.broken is not None:
            self.broken.append((outcome.seed, outcome.broken))

    def merge(self, other: "Report") -> None:
        """Another part of the same campaign."""
        self.seeds += other.seeds
        self.broken += other.broken
        self.happened += other.happened
        self.tally += other.tally
        self.virtual += other.virtual

    def lines(self) -> Iterator[str]:
        """The report, for people: every figure that a doubter would ask for."""
        tally = self.tally
        lost = tally["acknowledged"] - tally["ok"] - tally["dead"] - tally["set aside"]
        rate = self.seeds / self.seconds if self.seconds else 0.0
        hours = self.virtual / 3600
        yield f"{self.seeds} seeds, {hours:.1f} h of virtual time in {self.seconds:.0f} s: {rate:.0f} seeds a second"
        yield (
            f"attempted {tally['attempted']}, acknowledged {tally['acknowledged']}, ok {tally['ok']},"
            f" dead {tally['dead']}, set aside {tally['set aside']}, lost {max(0, lost)},"
            f" recovered {tally['recovered']}, refused {tally['refused']}, reset {tally['reset']}"
        )
        yield "faults: " + ", ".join(f"{name} {self.happened[name]}" for name in sorted(self.happened))
        for seed, why in self.broken:
            yield f"seed {seed}: {why}"


def once_failed() -> list[int]:
    """The seeds of ``seeds.txt``."""
    lines = (line.partition("#")[0].strip() for line in ONCE_FAILED.read_text("utf-8").splitlines())
    return [int(line) for line in lines if line]


def campaign(seeds: Sequence[int], processes: int) -> Report:
    """Plays them all, in as many processes."""
    began = perf_counter()
    parts = [seeds[at : at + _TOGETHER] for at in range(0, len(seeds), _TOGETHER)]
    report = Report()
    if processes == 1:
        for part in map(play, parts):
            report.merge(part)
    else:
        # Fresh interpreters: what a test run has imported and patched stays there.
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            for part in pool.map(play, parts):
                report.merge(part)
    report.seconds = perf_counter() - began
    return report


def play(seeds: Sequence[int]) -> Report:
    """Plays some, here."""
    report = Report()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number, seed in enumerate(seeds):
            report.add(run(seed))
            if number % _TIDY == 0:
                gc.collect()
    finally:
        if collecting:
            gc.enable()
    return report


def traced(seed: int) -> Outcome:
    """One seed, with every step told."""
    return run(seed, Options(trace=True))
