from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import trunkline
from tests.cli.served import Served, up
from tests.servers.processes import new_directory, remove_directory


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """One for all of them: a start takes seconds."""
    directory = new_directory("up")
    with up(directory) as hub:
        yield hub
    remove_directory(directory)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory in which ``trunkline init`` was run."""
    assert trunkline("init", at=tmp_path).status == 0
    return tmp_path
