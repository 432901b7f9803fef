from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub import retry
from hub.bus.sqlite import SqliteBus
from tests.workers.support import QUEUE
from workers import runner


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    """An embedded bus with the tests' queue."""
    bus = SqliteBus(tmp_path / "bus.db", poll=0.5)
    await bus.start()
    await bus.declare([QUEUE])
    yield bus
    await bus.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come within a blink, all of them: their number is what counts."""
    monkeypatch.setattr(retry, "_FIRST", 0.002)
    monkeypatch.setattr(retry, "_FACTOR", 1.0)


@pytest.fixture
def brief_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that waits for its store or its bus looks again within a blink."""
    monkeypatch.setattr(runner, "_PAUSE", (0.01, 0.02))
