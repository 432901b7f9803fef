"""Every bus, each in a place of the test's own."""

from collections.abc import AsyncIterator

import pytest

from hub.ports import Bus
from tests.contract.buses import ADDRESS, BUILD, ENDED, Place


@pytest.fixture(params=BUILD)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, ADDRESS[request.param](request))


@pytest.fixture
async def bus(place: Place) -> AsyncIterator[Bus]:
    async with place.bus() as bus:
        yield bus


@pytest.fixture
async def work(bus: Bus) -> Bus:
    await bus.declare([ENDED])
    return bus
