"""The volume: thousands of executions of the core, each with its own faults (faults.md G8, G22)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.scale import at
from tests.simulation.campaign import MUST_HAPPEN, campaign, once_failed, play, traced
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import run

SEEDS = at(quick=3_000, full=10_000)
ROOT = Path(__file__).parents[2]
LIVELY = 1  # power cuts, lost confirms and a restarted worker, in one


def test_seeds_that_once_broke_a_promise_break_none() -> None:
    assert play(once_failed()).broken == []


@pytest.mark.timeout(1800)  # four minutes for the full size on two idle processors
def test_thousands_of_seeds_break_no_promise_and_every_fault_happens(capsys: pytest.CaptureFixture[str]) -> None:
    report = campaign(range(SEEDS), processes=min(2, os.cpu_count() or 1))
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *report.lines(), ""]))
    assert report.broken == []
    assert report.seeds == SEEDS
    assert report.happened.keys() >= MUST_HAPPEN
    assert report.tally["attempted"] > report.tally["acknowledged"] > 4 * SEEDS


@pytest.mark.parametrize("seed", [LIVELY, *once_failed()])
def test_one_seed_is_one_execution_step_by_step(seed: int) -> None:
    first = traced(seed)
    run(seed + 1)  # whatever another seed leaves behind
    assert traced(seed).trace == first.trace
    assert len(first.trace) > 10


def test_one_seed_is_the_same_execution_in_another_process() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", str(LIVELY), "--trace"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].decode().splitlines()[:-1] == traced(LIVELY).trace


def test_tracing_changes_nothing() -> None:
    plain, told = run(LIVELY), traced(LIVELY)
    assert (plain.happened, plain.tally, plain.steps, plain.seconds) == (
        *(told.happened, told.tally),
        *(told.steps, told.seconds),
    )


def test_a_failing_seed_tells_its_story_with_virtual_times() -> None:
    with MUTANTS["the answer comes before the commit"].breaks():
        failing = next(seed for seed in range(100) if run(seed).broken)
        story = traced(failing)
    assert story.broken
    assert "BROKEN" in story.trace[-1]
    assert story.broken in story.trace[-1]
    times = [float(line.split()[0]) for line in story.trace]
    assert times == sorted(times)


def test_virtual_hours_take_no_time() -> None:
    assert traced(LIVELY).seconds > 3
