"""A cheap command does not pay for the others: what it does not need is not imported."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from hub.cli.app import app
from hub.cli.lazy import LazyGroup
from tests.cli.command import clean_environment, trunkline
from tests.cli.served import ROOT

DATABASE: Final = frozenset({"sqlalchemy", "asyncpg", "alembic"})
BROKER: Final = frozenset({"aio_pika", "aiormq", "pamqp"})
HTTP: Final = frozenset({"aiohttp"})
VENDORS: Final = frozenset({"lxml", "phonenumbers"})

IMPORTED: Final = """
import sys

from hub.cli import main

sys.argv[0] = "trunkline"
try:
    main()
except SystemExit as end:
    status = end.code
print(status, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported(home: Path, *words: str) -> frozenset[str]:
    """The packages that a command has imported by its end, which must be a good one."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words],
        cwd=home,
        env=clean_environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    status, *packages = done.stderr.splitlines()[-1].split()
    assert status == "0", done.stderr
    return frozenset(packages)


@pytest.mark.parametrize(
    ("words", "without"),
    [
        ("--help", DATABASE | BROKER | HTTP | VENDORS | {"pydantic", "structlog", "prometheus_client"}),
        ("init --force", DATABASE | BROKER | HTTP | VENDORS | {"prometheus_client"}),
        ("config show", DATABASE | BROKER | HTTP | VENDORS | {"prometheus_client"}),
        ("config schema", DATABASE | BROKER | HTTP | VENDORS | {"prometheus_client"}),
        ("vendor --help", DATABASE | BROKER | HTTP | VENDORS),
        ("vendor url desk", DATABASE | BROKER | HTTP | VENDORS),
        ("db upgrade", BROKER | HTTP),
        ("dead list", BROKER | HTTP),
    ],
)
def test_what_a_command_does_not_need_is_not_imported(home: Path, words: str, without: frozenset[str]) -> None:
    if words == "dead list":
        trunkline("doctor", at=home)  # makes the queues
    assert imported(home, *words.split()) & without == frozenset()


def lazy_groups(command: Any) -> list[LazyGroup]:
    found = [command] if isinstance(command, LazyGroup) else []
    return found + [group for each in getattr(command, "commands", {}).values() for group in lazy_groups(each)]


def test_the_list_says_of_each_command_what_it_says_of_itself() -> None:
    groups = lazy_groups(typer.main.get_command(app))
    assert len(groups) == 2
    for group in groups:
        for name, there in group.elsewhere.items():
            assert there.help == group.commands[name].get_short_help_str(1000), name


def test_a_slip_of_the_pen_is_told_what_was_meant(home: Path) -> None:
    said = trunkline("doctr", at=home)
    assert (said.status, said.out) == (2, "")
    assert said.err == "trunkline: No such command 'doctr'. Did you mean 'doctor'?\n"
