"""The power goes at every single operation of the disk, the creation of the file among them (faults.md S07, G8)."""

from random import Random

import pytest

from tests.simulation.faults import SPAN, Fault, Plan
from tests.simulation.world import Options, run

LUCKS = 2  # outcomes of each cut
AWAY = Fault(0.0, "broker down", SPAN, 0)


def hoarding(_: Random) -> Plan:
    """The broker is away: the outbox fills, is checkpointed, and empties at the end."""
    return Plan(calls=2, only_outbox=True, blank=True, checkpoint=5, faults=(AWAY,))


def relaying(_: Random) -> Plan:
    """Every event is kept, relayed and removed."""
    return Plan(calls=2, only_outbox=True, blank=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("plan", [hoarding, relaying])
def test_a_power_cut_at_any_operation_loses_nothing_that_was_accepted(plan: object) -> None:
    assert callable(plan)
    whole = run(0, Options(plan=plan))
    assert whole.broken is None
    assert whole.operations > 80
    lost = 0
    for operation in range(1, whole.operations + 1):
        for luck in range(LUCKS):
            outcome = run(0, Options(plan=plan, cut_in=operation, luck=luck))
            assert outcome.broken is None, f"operation {operation}, luck {luck}: {outcome.broken}"
            assert outcome.happened["power cut"] == 1
            lost += outcome.happened["unsynced writes lost"]
    assert lost > whole.operations / 2
