"""The demo's account: it must balance where nothing is lost, and must not where something is."""

from typing import Any

import pytest

from hub.cli.demo import CALLS, balances
from hub.simulator.driver import Report

REPORT = Report(sent=10, statuses={200: 10}, errors={}, scenarios={}, mutations={}, latency={}, seconds=1.0)


def balanced(**changed: int) -> bool:
    counts = {"events": 17 + CALLS, "derived": CALLS, "seals": CALLS, "sealed": CALLS} | changed
    counts = {"announced": 2, "stored": 2, "audio": 4, "respools accepted": 3, "respools refused": 1} | counts
    worker = {"dead": changed.get("dead", 0), "in_flight": changed.get("in_flight", 0), "unaccounted": []}
    books: dict[str, Any] = {
        "callbacks": {"accepted": changed.get("accepted", 10), "duplicate": 1},
        "workers": {
            "persistence": worker,
            "crm": {"dead": changed.get("unsent", 0), "in_flight": 0},
            "respool": {"dead": 0, "in_flight": changed.get("respooling", 0)},
        },
    }
    there = {"hubspot": changed.get("hubspot", CALLS)}
    return all(equal for _, _, equal in balances(REPORT, counts, books, there, changed.get("leads", 3)).values())


def test_the_account_balances_where_nothing_is_lost() -> None:
    assert balanced()


@pytest.mark.parametrize(
    "changed",
    [
        {"events": 16 + CALLS},
        {"accepted": 9},
        {"sealed": CALLS - 1, "derived": CALLS - 1, "events": 16 + CALLS},
        {"derived": CALLS - 1},
        {"seals": CALLS - 1},
        {"stored": 1, "audio": 3, "events": 16 + CALLS},
        {"dead": 1},
        {"in_flight": 1},
        {"unsent": 1},
        {"leads": 4},
        {"respooling": 1},
        {"hubspot": CALLS + 1},
        {"hubspot": CALLS - 1},
    ],
)
def test_the_account_does_not_balance_where_something_is(changed: dict[str, int]) -> None:
    assert not balanced(**changed)
