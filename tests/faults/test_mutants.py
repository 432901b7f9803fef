"""Each rule is watched: broken, a test turns red."""

import asyncio

import pytest

from tests.faults.mutants import MUTANTS, survives
from tests.faults.scale import FULL

QUICK = ("ack-before-effect", "relay-out-of-order", "transient", "commit-without-sync")


@pytest.mark.parametrize("name", MUTANTS if FULL else QUICK)
async def test_a_broken_rule_turns_a_test_red(name: str) -> None:
    why = await asyncio.to_thread(survives, MUTANTS[name])
    assert not why
