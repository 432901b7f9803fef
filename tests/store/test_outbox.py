"""Derived events on their way to the bus, over each store."""

import asyncio

from hub.events import to_event
from hub.store.sql import SqlStore
from tests.contract.stores import Place
from tests.store.evidence import NOON, after, polled


async def test_claims_are_oldest_first_and_nobody_elses_until_their_lease_is_over(store: SqlStore) -> None:
    for number in range(5):
        await store.apply([polled(number)], NOON)
    first = await store.claim(NOON, 3, 30)
    second = await store.claim(NOON, 3, 30)
    assert [len(first), len(second)] == [3, 2]
    assert [item.seq for item in first + second] == sorted(item.seq for item in first + second)
    assert await store.claim(after(29), 10, 30) == []
    assert await store.claim(after(30), 10, 30) == first + second  # whoever had them is gone: once more
    assert [to_event(item.message).subject for item in first] == [polled(number).subject for number in range(3)]


async def test_what_is_published_is_gone(store: SqlStore) -> None:
    await store.apply([polled(number) for number in range(4)], NOON)
    claimed = await store.claim(NOON, 10, 30)
    await store.published([item.seq for item in claimed[:3]], NOON)
    await store.published([item.seq for item in claimed[:3]], NOON)
    await store.published([], NOON)
    assert await store.claim(after(31), 10, 30) == claimed[3:]
    assert (await store.counts())["outbox"] == 1


async def test_many_that_claim_at_once_share_nothing(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await one.apply([polled(number) for number in range(50)], NOON)
        parts = await asyncio.gather(*(store.claim(NOON, 9, 30) for store in (one, other) * 4))
        seqs = [item.seq for part in parts for item in part]
        assert len(seqs) == len(set(seqs))
        rest = await one.claim(NOON, 50, 30)
        assert len(seqs) + len(rest) == 50
