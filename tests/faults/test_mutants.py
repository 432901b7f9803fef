"""Each rule is watched: broken, a test turns red."""

import asyncio

import pytest

from tests.faults.mutants import MUTANTS, survives
from tests.faults.scale import FULL
from tests.source import ROOT

QUICK = ("ack-before-effect", "relay-out-of-order", "transient", "commit-without-sync")


@pytest.mark.parametrize("name", MUTANTS if FULL else QUICK)
async def test_a_broken_rule_turns_a_test_red(name: str) -> None:
    why = await asyncio.to_thread(survives, MUTANTS[name])
    assert not why


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_breaks_is_there_once(name: str) -> None:
    mutant = MUTANTS[name]
    assert (ROOT / mutant.file).read_text().count(mutant.sound) == 1
