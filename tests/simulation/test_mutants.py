"""Broken rules are found, each by the check that is meant for it; and what is no fault is not."""

import re
import sys

import pytest

from tests.simulation.faults import outage
from tests.simulation.mutants import MUTANTS, not_synced
from tests.simulation.world import Options, run

KIND = 60  # seeds; with a disk that forgets the first of them finds it


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_found(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    mutant = MUTANTS[name]
    with mutant.breaks():
        outcome = next((one for seed in range(mutant.within) if (one := run(seed, mutant.options)).broken), None)
    assert outcome is not None, f"{mutant.within} seeds, and nobody noticed"
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: seed {outcome.seed}: {outcome.broken} ")
    assert re.search(mutant.found, outcome.broken or "")


@pytest.mark.parametrize("name", {mutant.plan for mutant in MUTANTS.values()} - {None})
def test_the_plans_of_mutants_break_nothing_where_the_rules_hold(name: object) -> None:
    assert name is outage
    assert [one.broken for seed in range(KIND) if (one := run(seed, Options(plan=outage))).broken] == []


def test_a_disk_that_never_forgets_would_not_show_that_nothing_is_synced() -> None:
    with not_synced():
        kind = Options(plan=outage, loses=False, heed_witness=False)
        outcomes = [run(seed, kind) for seed in range(KIND)]
    assert [one.broken for one in outcomes if one.broken] == []
    assert sum(one.happened["power cut"] for one in outcomes) >= KIND
