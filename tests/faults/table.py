"""``python -m tests.faults.table FILE``: the figures of fault rows, as the table of docs/reliability.md.

A row that was written more than once is shown as it was last: a run is repeated, not averaged.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

_COLUMNS: Final = (
    *("fault", "times", "attempted", "acknowledged", "lost", "duplicated", "recovered", "unexpected"),
    *("refused", "reset", "recovery", "p50 / p99", "records that differ"),
)


def rows(lines: Iterable[bytes]) -> list[list[str]]:
    """The cells of each row, by the row's name."""
    last: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        account = orjson.loads(line)
        last[account["row"]] = account
    return [_cells(last[name]) for name in sorted(last)]


def markdown(lines: Iterable[bytes]) -> str:
    """The whole table."""
    table = [list(_COLUMNS), ["---"] * len(_COLUMNS), *rows(lines)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def _cells(account: Mapping[str, Any]) -> list[str]:
    recovery, differing = account["recovery"], account["differing"]
    return [
        account["row"],
        f"{account['injected']}",
        *(f"{account[name]:,}" for name in ("attempted", "acknowledged")),
        *(f"{account[name]}" for name in ("lost", "duplicated", "recovered", "unexpected", "refused", "resets")),
        "" if recovery is None else f"{recovery:.1f} s",
        f"{account['p50'] * 1000:.1f} / {account['p99'] * 1000:.0f} ms",
        "" if differing is None else str(len(differing)),
    ]


if __name__ == "__main__":
    sys.stdout.write(markdown(Path(sys.argv[1]).read_bytes().splitlines()))
