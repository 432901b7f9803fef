"""What every store promises (hub/ports/store.py) about keeping, folding and sealing, over each of them."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hub.calls import fold, seal
from hub.errors import StoreUnavailable
from hub.events import Event, timestamp
from hub.ports import Applied
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place, all_events, drain, record
from tests.store.evidence import (
    NOON,
    TIMING,
    after,
    answered,
    apart,
    call_id,
    chance,
    desk_leg,
    ended,
    expected,
    missed,
    polled,
    recording,
    started,
    whole_call,
)

FRESH: Final = itertools.count(1000)  # calls that no other example has


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


# --- the record is the fold of the set -------------------------------------------------------------------------------


def evidence(number: int) -> list[Event]:
    """Everything a call can have: repeated diversions, a contradiction, two recordings."""
    contradiction = started(number, 1, caller={"number": "600000000"})
    return [*whole_call(number), missed(number, 4, agent={"name": "Ana"}), contradiction, *two_recordings(number)]


def two_recordings(number: int) -> list[Event]:
    return [recording(number, 60), recording(number, 70, "stored")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_neither_order_nor_repetition_nor_batches_change_a_record(store: SqlStore, data: st.DataObject) -> None:
    number = next(FRESH)
    events = evidence(number)
    deliveries = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=6))]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(deliveries) - 1))))
    applied = [
        await store.apply(deliveries[begin:end], NOON) for begin, end in itertools.pairwise([0, *cuts, len(deliveries)])
    ]
    folded = fold(events, expected("line-900"), TIMING)
    assert await store.call(call_id(number)) == orjson.dumps(folded.record)
    assert sum(part.new for part in applied) == len(events)
    assert sum(part.new + part.repeated for part in applied) == len(deliveries)
    assert sum(part.conflicts for part in applied) >= folded.conflicts > 0


async def test_a_repeated_event_changes_nothing(store: SqlStore) -> None:
    await store.apply(whole_call(1), NOON)
    before, due = await store.call(call_id(1)), await store.next_seal()
    assert await store.apply(whole_call(1), after(3)) == Applied(new=0, repeated=4, refused={})
    assert (await store.call(call_id(1)), await store.next_seal()) == (before, due)
    assert len(await all_events(store)) == 4


async def test_the_same_event_twice_in_a_batch_counts_once(store: SqlStore) -> None:
    assert await store.apply([started(1), started(1)], NOON) == Applied(new=1, repeated=1, refused={})
    assert (await record(store, call_id(1)))["revision"] == 1


async def test_what_the_vendor_sent_again_is_counted_and_what_the_bus_delivered_again_is_not(store: SqlStore) -> None:
    again = answered(1)
    again = replace(again, data={**again.data, "received_at": timestamp(after(6))})
    await store.apply([answered(1), answered(1)], NOON)
    await store.apply([answered(1)], NOON)
    assert (await store.counts())["repeats"] == 0
    await store.apply([again], NOON)
    await store.apply([started(2), again], NOON)
    assert (await store.counts())["repeats"] == 1
    await store.apply([replace(again, data={**again.data, "received_at": timestamp(after(7))})], NOON)
    assert (await store.counts())["repeats"] == 2


async def test_events_that_are_of_no_record_are_kept_and_make_none(store: SqlStore) -> None:
    assert await store.apply([apart(1), apart(2), apart(1)], NOON) == Applied(new=2, repeated=1, refused={})
    assert await store.apply([apart(2), apart(3)], NOON) == Applied(new=1, repeated=1, refused={})
    totals = await store.counts()
    assert (totals["events"], totals["calls"]) == (3, 0)


async def test_two_stores_that_apply_the_same_events_at_once_make_one_record_and_one_sealed(place: Place) -> None:
    numbers = range(20)
    events = [event for number in numbers for event in evidence(number)]
    async with place.store() as one, place.store() as other:
        work = []
        for store, seed in ((one, 1), (other, 2), (one, 3), (other, 4)):
            shuffled = chance(seed).sample(events, len(events))
            work += [store.apply(shuffled[begin : begin + 17], NOON) for begin in range(0, len(events), 17)]
        applied = await asyncio.gather(*work)
        assert sum(part.new for part in applied) == len(events)

        await asyncio.gather(*(store.seal(after(60)) for store in (one, other, one, other)))
        derived = await drain(one, after(60))
        assert Counter((event.verb, event.subject) for event in derived) == {
            ("sealed", call_id(number)): 1 for number in numbers
        }
        for number in numbers:
            sealed = seal(fold(evidence(number), expected("line-900"), TIMING), after(60))
            assert await other.call(call_id(number)) == orjson.dumps(sealed)


async def test_the_event_that_nobody_can_keep_does_not_hold_up_its_neighbours(store: SqlStore) -> None:
    no_text = replace(started(3), data={**started(3).data, "half": "\ud800"})
    no_time = replace(started(4), data={**started(4).data, "received_at": "yesterday"})
    batch = [*whole_call(1), no_text, *whole_call(2), no_time, apart(1)]
    applied = await store.apply(batch, NOON)
    assert set(applied.refused) == {no_text.id, no_time.id}
    assert all(reason and "\n" not in reason for reason in applied.refused.values())
    assert applied.new == 9
    assert (await record(store, call_id(1)))["revision"] == (await record(store, call_id(2)))["revision"] == 4
    assert await store.call(call_id(3)) is await store.call(call_id(4)) is None


async def test_a_leg_that_comes_when_its_request_id_is_long_another_calls_is_refused(store: SqlStore) -> None:
    first = [desk_leg(7, "answered", "leg-1", 0), desk_leg(7, "hangup", "leg-1", 30)]
    await store.apply(first, NOON)
    before = await store.call(str(first[0].subject))
    late = desk_leg(7, "answered", "leg-2", 30 + TIMING.longest + 1)
    applied = await store.apply([late, started(1)], late.time)
    assert applied == Applied(new=1, repeated=0, refused={late.id: "request_id_reused"})
    assert await store.call(str(first[0].subject)) == before
    assert late.id not in {item["id"] for item in await all_events(store)}


# --- sealing ---------------------------------------------------------------------------------------------------------


async def test_a_call_is_sealed_when_its_time_has_come_and_not_before(store: SqlStore) -> None:
    await store.apply(whole_call(1), NOON)
    assert await store.next_seal() == after(TIMING.settle)
    assert await store.seal(after(TIMING.settle) - timedelta(milliseconds=1)) == 0
    assert "sealed" not in await record(store, call_id(1))
    assert await store.seal(after(TIMING.settle)) == 1
    sealed = await record(store, call_id(1))
    assert sealed["sealed"] == {"at": "2026-11-20T12:00:05.000Z", "verdict": "complete", "missing": []}
    assert await store.next_seal() is None
    (event,) = await drain(store, NOON)
    assert (event.routing_key, event.subject, event.data) == ("call.infocaller.sealed", call_id(1), sealed)


async def test_a_new_event_moves_the_sealing_and_a_repeated_one_does_not(store: SqlStore) -> None:
    await store.apply([started(1), ended(1)], NOON)  # its diversions are missing: gap_after
    assert await store.next_seal() == after(TIMING.gap_after)
    await store.apply([started(1)], after(10))
    assert await store.next_seal() == after(TIMING.gap_after)
    await store.apply([answered(1)], after(10))
    assert await store.next_seal() == after(10 + TIMING.gap_after)
    await store.apply([missed(1)], after(20))  # now it is whole
    assert await store.next_seal() == after(20 + TIMING.settle)


async def test_a_call_whose_end_never_comes_is_sealed_with_a_gap(store: SqlStore) -> None:
    await store.apply([started(1)], NOON)
    assert await store.seal(after(TIMING.longest - 1)) == 0
    assert await store.seal(after(TIMING.longest)) == 1
    assert (await record(store, call_id(1)))["sealed"]["missing"] == ["ended"]


async def test_a_polled_record_is_sealed_in_the_transaction_that_keeps_it(store: SqlStore) -> None:
    assert await store.apply([polled(1)], after(1)) == Applied(new=1, repeated=0, refused={}, derived=1)
    (sealed,) = await drain(store, after(1))
    assert sealed.data["sealed"]["at"] == "2026-11-20T12:00:01.000Z"
    assert await store.next_seal() is None


async def test_many_that_seal_at_once_seal_each_call_once(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await one.apply([event for number in range(40) for event in whole_call(number)], NOON)

        async def seal_all(store: SqlStore) -> int:
            total = 0
            while sealed := await store.seal(after(60), limit=7):
                total += sealed
            return total

        assert sum(await asyncio.gather(*map(seal_all, (one, other, one, other)))) == 40
        derived = await drain(one, after(60))
        assert len(derived) == len({event.subject for event in derived}) == 40


async def test_late_evidence_seals_again_and_keeps_the_first_time(store: SqlStore) -> None:
    await store.apply([started(1), ended(1), missed(1)], NOON)
    await store.seal(after(TIMING.gap_after))
    (sealed,) = await drain(store, after(30))
    assert sealed.data["sealed"]["missing"] == ["answered"]
    assert (await store.apply([answered(1)], after(500))).derived == 1
    (resealed,) = await drain(store, after(500))
    assert resealed.routing_key == "call.infocaller.resealed"
    assert resealed.data["sealed"] == {"at": sealed.data["sealed"]["at"], "verdict": "complete", "missing": []}
    assert resealed.data == await record(store, call_id(1))
    assert await store.next_seal() is None


async def test_a_recording_changes_a_sealed_record_and_tells_nobody(store: SqlStore) -> None:
    await store.apply([started(1), ended(1), missed(1)], NOON)
    await store.seal(after(60))
    await drain(store, after(60))
    before = await record(store, call_id(1))
    assert (await store.apply([recording(1)], after(90))).derived == 0
    now = await record(store, call_id(1))
    assert now["revision"] == before["revision"] + 1
    assert now["recordings"]
    assert now["sealed"] == before["sealed"]
    assert await drain(store, after(90)) == []


async def test_what_the_store_derived_is_only_kept_when_the_bus_brings_it_back(store: SqlStore) -> None:
    await store.apply(whole_call(1), NOON)
    await store.seal(after(60))
    derived = await drain(store, after(60))
    before = await store.call(call_id(1))
    assert await store.apply(derived, after(61)) == Applied(new=1, repeated=0, refused={})
    assert await store.call(call_id(1)) == before
    assert [item["type"] for item in await all_events(store, call_id=call_id(1))][-1] == "trunkline.call.sealed.v1"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_whatever_happens_a_call_is_sealed_once(store: SqlStore, seed: int) -> None:
    number, luck = next(FRESH), chance(seed)
    todo = evidence(number) * 2
    luck.shuffle(todo)
    clock, derived = 0, []
    while todo:
        clock += luck.choice((1, 10, 20_000))
        match luck.randrange(3):
            case 0:
                await store.seal(after(clock))
            case 1:
                derived += await drain(store, after(clock))
            case _:
                size = luck.randint(1, 4)
                await store.apply(todo[:size], after(clock))
                del todo[:size]
    await store.seal(after(clock + 20_000))
    derived += await drain(store, after(clock))
    mine = [event for event in derived if event.subject == call_id(number)]
    assert [event.verb for event in mine] == ["sealed"] + ["resealed"] * (len(mine) - 1)
    final = await record(store, call_id(number))
    first = {**mine[0].data["sealed"]}
    assert final["sealed"]["at"] == first["at"]
    assert {**final, "sealed": None, "state": None} == {
        **fold(evidence(number), expected("line-900"), TIMING).record,
        "sealed": None,
        "state": None,
    }


async def test_a_call_that_cannot_be_folded_any_more_does_not_hold_up_the_sealing_of_others(place: Place) -> None:
    def forgetful(source: str) -> frozenset[str]:
        return {"line-900": expected("line-900")}[source]

    async with place.store() as store:
        leg = desk_leg(1, "answered", "leg", 0)
        await store.apply([leg, *whole_call(1), *whole_call(2)], NOON)
    store = SqlStore(place.url, expected=forgetful, timing=TIMING)
    try:
        assert await store.seal(after(TIMING.longest)) == 2
        assert await store.next_seal() == after(2 * TIMING.longest)
        assert "sealed" not in await record(store, str(leg.subject))
    finally:
        await store.close()


# --- whoever stops waiting -------------------------------------------------------------------------------------------


async def test_a_cancelled_caller_leaves_the_store_as_it_was_and_usable(store: SqlStore) -> None:
    luck = chance(7)
    for number in range(60):
        task = asyncio.create_task(store.apply(whole_call(number), NOON))
        for _ in range(luck.randrange(30)):
            await asyncio.sleep(0)
        if luck.random() < 0.3:
            await asyncio.sleep(luck.random() * 0.004)  # into the midst of a statement
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    applied = await asyncio.gather(*(store.apply(whole_call(number), NOON) for number in range(60)))
    assert all(part.new + part.repeated == 4 and part.new in (0, 4) for part in applied)
    assert await store.seal(after(60), limit=100) == 60


async def test_a_transaction_whose_caller_is_gone_comes_to_its_end(place: Place) -> None:
    async with place.store() as store:
        task = asyncio.create_task(store.apply(whole_call(1), NOON))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with place.store() as store:
        assert (await store.counts())["events"] == 4


async def test_a_closed_store_says_so(place: Place) -> None:
    async with place.store() as store:
        await store.apply(whole_call(1), NOON)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.call(call_id(1))


async def test_a_store_without_tables_says_what_to_run(place: Place) -> None:
    async with place.store():
        pass
    bare = Place(place.kind, place.url.replace("store.db", "bare.db").replace("/test_", "/no_such_"))
    store = SqlStore(bare.url, expected=expected, timing=TIMING)
    await store.start()
    with pytest.raises(StoreUnavailable, match=r"db upgrade|does not exist"):
        await store.ping()
    await store.close()
