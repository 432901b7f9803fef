from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hub import Hub, configuration, running


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running(configuration(tmp_path)) as started:
        yield started
