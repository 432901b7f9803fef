"""A store of each kind for every test of this folder that asks for one."""

from collections.abc import AsyncIterator

import pytest

from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store
