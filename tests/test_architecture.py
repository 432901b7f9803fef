"""The shape of the house, held by a tool."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_layer_imports_only_what_stands_below_it() -> None:
    told = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout


def test_the_top_level_holds_the_agreed_entries_alone() -> None:
    agreed = {"pyproject.toml", "README.md", "hub", "workers", "tests", "deploy", "docker-compose.yml"}
    agreed |= {"Makefile", "docs", "LICENSE"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.partition("/")[0] for line in listed.splitlines()}
    assert {entry for entry in top - agreed if not entry.startswith(".")} == set()
