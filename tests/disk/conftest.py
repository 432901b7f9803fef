from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hub.bus.sqlite import SqliteBus
from hub.disk import Disk
from tests.disk.support import QUEUE, open_disk


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What a test opens is closed at its end."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def disk(tmp_path: Path, stack: AsyncExitStack) -> Disk:
    return await open_disk(stack, tmp_path)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SqliteBus]:
    bus = SqliteBus(tmp_path / "bus.db", poll=0.5)
    await bus.start()
    await bus.declare([QUEUE])
    yield bus
    await bus.close()
