import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import trunkline
from tests.cli.served import Served, up


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """One for all of them: a start takes seconds."""
    with tempfile.TemporaryDirectory(prefix="trunkline-up-") as name, up(Path(name)) as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory in which ``trunkline init`` was run."""
    assert trunkline("init", at=tmp_path).status == 0
    return tmp_path
