"""The table of docs/reliability.md is made of what the rows wrote down."""

import orjson

from tests.faults.table import markdown

ACCOUNT = {
    "row": "I02 an ingress killed",
    "injected": 200,
    "attempted": 61234,
    "acknowledged": 60990,
    "lost": 0,
    "duplicated": 0,
    "recovered": 3,
    "unexpected": 0,
    "refused": 0,
    "resets": 244,
    "recovery": 1.25,
    "p50": 0.0042,
    "p99": 0.0991,
    "differing": [],
}


def test_a_row_has_its_figures_and_the_last_run_of_a_row_stands() -> None:
    lines = [orjson.dumps(ACCOUNT | {"lost": 7}), orjson.dumps(ACCOUNT)]
    table = markdown(lines).splitlines()
    assert len(table) == 3
    assert table[2] == (
        "| I02 an ingress killed | 200 | 61,234 | 60,990 | 0 | 0 | 3 | 0 | 0 | 244 | 1.2 s | 4.2 / 99 ms | 0 |"
    )


def test_what_a_row_does_not_measure_is_left_empty() -> None:
    [*_, last] = markdown([orjson.dumps(ACCOUNT | {"recovery": None, "differing": None})]).splitlines()
    assert last.endswith("| 244 |  | 4.2 / 99 ms |  |")
