"""What every store promises about polls: how far each stream came is kept, and never goes back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place, drain, record
from tests.store.evidence import NOON, polled


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


async def test_a_watermark_is_kept_to_the_microsecond_over_processes(place: Place) -> None:
    upto = NOON + timedelta(microseconds=1)
    async with place.store() as store:
        assert await store.polls.watermark("poll/focu5") is None
        await store.polls.advance("poll/focu5", upto, NOON)
    async with place.store() as other:
        assert await other.polls.watermark("poll/focu5") == upto
        assert await other.polls.watermark("poll/other") is None


async def test_a_watermark_never_goes_back_whoever_moves_it_and_in_whatever_order(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        minutes = [7, 3, 20, 1, 19]
        await asyncio.gather(
            *(
                store.polls.advance("poll/focu5", NOON + timedelta(minutes=minute), NOON)
                for minute in minutes
                for store in (one, other)
            )
        )
        assert await one.polls.watermark("poll/focu5") == NOON + timedelta(minutes=20)


async def test_a_stream_that_is_forgotten_begins_anew_and_the_others_do_not(store: SqlStore) -> None:
    for name in ("backfill/focu5/a", "backfill/focu5/b"):
        await store.polls.advance(name, NOON, NOON)
    await store.polls.forget("backfill/focu5/a")
    await store.polls.forget("backfill/focu5/never")
    assert await store.polls.watermark("backfill/focu5/a") is None
    assert await store.polls.watermark("backfill/focu5/b") == NOON


async def test_a_polled_record_is_sealed_in_the_transaction_that_keeps_it(store: SqlStore) -> None:
    event = polled(1)
    await store.apply([event], NOON)
    kept = await record(store, str(event.subject))
    assert (kept["state"], kept["disposition"], kept["sealed"]["verdict"]) == ("ended", "answered", "complete")
    assert [derived.verb for derived in await drain(store, NOON)] == ["sealed"]
    assert await store.next_seal() is None


async def test_a_record_that_changed_reseals_its_call_and_what_was_told_first_stands(store: SqlStore) -> None:
    event, changed = polled(1), polled(1, at=60)
    changed.data["times"] = {"talk_seconds": 13}
    changed.data["contact"] = "Ana"
    await store.apply([event], NOON)
    await store.apply([changed, changed], NOON)
    kept = await record(store, str(event.subject))
    assert (kept["revision"], kept["talk_seconds"], kept["contact"]) == (2, 12, "Ana")
    assert [derived.verb for derived in await drain(store, NOON)] == ["sealed", "resealed"]
