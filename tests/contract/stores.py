"""How each store is built for the conformance suite. A new backend is a line in ``URL``."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

import hub.store
from hub.events import Event, to_event
from hub.ports import CallFilter, Store
from hub.store.sql import SqlStore
from hub.store.upgrade import upgrade
from tests.store.evidence import TIMING, expected

URL: Final[dict[str, Callable[[pytest.FixtureRequest], str]]] = {
    "sqlite": lambda request: f"sqlite:///{request.getfixturevalue('tmp_path')}/store/store.db",
    "postgresql": lambda request: str(request.getfixturevalue("postgres_url")),
}

EVERYTHING: Final = CallFilter()

MIGRATIONS: Final = sorted(path.stem for path in Path(hub.store.__file__).parent.glob("migrations/versions/0*.py"))
"""All of them, in their order."""


@dataclass(frozen=True)
class Place:
    """Where a store lives: without tables at the test's beginning, and the test's own."""

    kind: str
    url: str

    @asynccontextmanager
    async def store(self) -> AsyncIterator[SqlStore]:
        """Another instance over the same database, as another process would have one."""
        await upgrade(self.url)
        store = SqlStore(self.url, expected=expected, timing=TIMING)
        await store.start()
        try:
            yield store
        finally:
            await store.close()


async def record(store: Store, call_id: str) -> dict[str, Any]:
    """A call's record, which is there."""
    found = await store.call(call_id)
    assert found is not None
    parsed: dict[str, Any] = orjson.loads(found)
    return parsed


async def drain(store: Store, now: datetime) -> list[Event]:
    """Everything in the outbox that nobody has claimed, published."""
    events: list[Event] = []
    while claimed := await store.claim(now, 50, 60):
        events += [to_event(item.message) for item in claimed]
        await store.published([item.seq for item in claimed], now)
    return events


async def all_calls(store: Store, narrow: CallFilter = EVERYTHING, limit: int = 1000) -> list[dict[str, Any]]:
    """The records of all pages."""
    page = await store.calls(narrow, limit, None)
    items = [*page.items]
    while page.next:
        page = await store.calls(narrow, limit, page.next)
        items += page.items
    return [orjson.loads(item) for item in items]


async def all_events(store: Store, limit: int = 1000, call_id: str | None = None) -> list[dict[str, Any]]:
    """The events of all pages."""
    page = await store.events(limit, None, call_id)
    items = [*page.items]
    while page.next:
        page = await store.events(limit, page.next, call_id)
        items += page.items
    return [orjson.loads(item) for item in items]
