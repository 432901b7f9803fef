"""What every store promises about the ledger: totals, what it lacks, suspects, presence, attempts, the lease."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from hub.events import to_event
from hub.ports import Attempt, Held, Presence, Suspect, Totals
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place
from tests.store.evidence import NOON, after, apart, call_id, ended, polled, recording, started, whole_call

WORKER: Final = "persistence"
HELD: Final = Held(epoch=3, taken=1207, done=1200, count=7)


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


# --- totals ----------------------------------------------------------------------------------------------------------


async def test_totals_are_the_counts_wherever_the_checkpoint_stands(store: SqlStore) -> None:
    assert await store.totals() == Totals(0, 0, 0, 0)
    await store.apply([*whole_call(1), apart(1), recording(1)], NOON)
    await store.apply([started(1, 0) for _ in range(2)], NOON)
    assert await store.totals() == Totals(events=6, callbacks=4, repeats=0, outbox=0)
    assert await store.checkpoint() == 6
    assert await store.totals() == Totals(events=6, callbacks=4, repeats=0, outbox=0)
    later = started(1)
    later.data["received_at"] = "2026-11-20T13:00:00.000Z"
    await store.apply([later, polled(1), *whole_call(2)], NOON)
    assert await store.totals() == Totals(events=11, callbacks=8, repeats=1, outbox=1)
    counts = await store.counts()
    assert (counts["events"], counts["callbacks"], counts["repeats"], counts["outbox"]) == (11, 8, 1, 1)


async def test_a_record_that_we_asked_for_is_no_callback_and_again_no_repetition(store: SqlStore) -> None:
    again = polled(1)
    again.data["received_at"] = "2026-11-20T13:00:00.000Z"
    await store.apply([polled(1)], NOON)
    await store.apply([again], NOON)
    for _ in range(2):
        assert await store.totals() == Totals(events=1, callbacks=0, repeats=0, outbox=1)
        await store.checkpoint()
    counts = await store.counts()
    assert (counts["events"], counts["callbacks"], counts["repeats"]) == (1, 0, 0)


async def test_a_checkpoint_goes_on_in_steps_over_gaps_and_counts_nothing_twice(store: SqlStore) -> None:
    for number in range(6):
        await store.apply(whole_call(number), NOON)
        await store.apply(whole_call(number), NOON)  # on PostgreSQL these draw numbers that no event gets
    counted = [await store.checkpoint(limit=5) for _ in range(40)]
    assert sum(counted) == 24
    assert await asyncio.gather(*(store.checkpoint() for _ in range(4))) == [0] * 4
    assert (await store.totals()).events == 24


async def test_many_that_count_while_others_keep_miss_nothing(place: Place) -> None:
    async with place.store() as one, place.store() as other:

        async def keep(store: SqlStore, numbers: range) -> None:
            for number in numbers:
                await store.apply(whole_call(number), NOON)

        async def count() -> None:
            for _ in range(30):
                await one.checkpoint(limit=7)
                await asyncio.sleep(0)

        await asyncio.gather(keep(one, range(40)), keep(other, range(40, 80)), count())
        while await one.checkpoint():
            pass
        assert (await other.totals()).events == 320


async def test_a_repetition_counts_once_however_often_the_bus_delivers_it(store: SqlStore) -> None:
    again, later = started(1), started(1)
    again.data["received_at"] = "2026-11-20T12:00:09.000Z"
    later.data["received_at"] = "2026-11-20T12:00:10.000Z"
    await store.apply([started(1), again, again], NOON)
    for events in ([again], [started(1)], [again, later], [later, started(1)]):
        await store.apply(events, NOON)
    assert (await store.totals()).repeats == 2
    assert (await store.counts())["repeats"] == 2


# --- what it lacks -------------------------------------------------------------------------------------------------


async def test_it_lacks_what_it_did_not_keep(store: SqlStore) -> None:
    await store.apply([started(1), apart(1)], NOON)
    ids = {started(1).id, apart(1).id, ended(1).id, apart(2).id}
    assert await store.lacks(ids) == {ended(1).id, apart(2).id}
    assert await store.lacks([]) == set()


async def test_a_suspect_is_one_that_is_lacked_and_is_noted_once(store: SqlStore) -> None:
    await store.apply([started(1)], NOON)
    assert await store.suspect(WORKER, [started(1).id, ended(1).id], NOON) == 1
    assert await store.suspect(WORKER, [ended(1).id, ended(2).id], after(5)) == 1
    assert await store.suspects(WORKER, 10) == [
        Suspect(ended(1).id, NOON, "open"),
        Suspect(ended(2).id, after(5), "open"),
    ]
    assert await store.suspects("another", 10) == []
    await store.clear(WORKER, [ended(1).id])
    assert [one.event_id for one in await store.suspects(WORKER, 10)] == [ended(2).id]


async def test_the_lost_come_first_and_the_discarded_never_again(store: SqlStore) -> None:
    ids = [ended(number).id for number in range(5)]
    for second, one in enumerate(ids):
        await store.suspect(WORKER, [one], after(second))
    assert await store.judge(WORKER, {ids[0]: "dead", ids[3]: "lost", ids[4]: "discarded"}, NOON) == 3
    assert await store.judge(WORKER, {apart(1).id: "discarded", apart(2).id: "lost"}, NOON) == 1  # nobody suspected it
    listed = [(one.event_id, one.state) for one in await store.suspects(WORKER, 10)]
    assert listed == [(ids[3], "lost"), (ids[1], "open"), (ids[2], "open"), (ids[0], "dead")]
    assert await store.suspects(WORKER, 1) == [Suspect(ids[3], after(3), "lost")]

    assert await store.suspect(WORKER, [ids[4], apart(1).id], NOON) == 0
    assert await store.judge(WORKER, {ids[4]: "lost"}, NOON) == 0
    await store.clear(WORKER, [ids[4]])
    assert await store.suspect(WORKER, [ids[4]], NOON) == 0

    assert await store.reopen(WORKER) == 1
    assert {one.event_id: one.state for one in await store.suspects(WORKER, 10)}[ids[0]] == "open"


async def test_a_derived_event_that_does_not_come_back_is_a_suspect(store: SqlStore) -> None:
    await store.apply([polled(number) for number in range(3)], NOON)
    claimed = await store.claim(NOON, 10, 30)
    await store.published([one.seq for one in claimed], after(1))
    await store.published([one.seq for one in claimed], after(1))  # told twice, noted once
    await store.apply([to_event(one.message) for one in claimed[:2]], after(2))
    assert await store.recheck(WORKER, NOON, after(12)) == 0  # too early to look
    assert await store.unreturned(10) == {one.message.id for one in claimed}
    assert await store.recheck(WORKER, after(2), after(12)) == 1
    assert await store.recheck(WORKER, after(2), after(13)) == 0
    assert await store.unreturned(10) == set()
    [suspect] = await store.suspects(WORKER, 10)
    assert (suspect.event_id, suspect.since) == (claimed[2].message.id, after(12))


# --- presence, the lease, attempts -----------------------------------------------------------------------------------


def present(process: str, beat: int = 1, seconds: float = 0) -> Presence:
    return Presence(process, WORKER, beat, True, after(seconds), HELD, after(seconds))


async def test_each_process_hears_what_the_others_said_last(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        assert await one.present(present("a")) == []
        assert await other.present(replace(present("b"), watermark=None, registered=False)) == [present("a")]
        second = replace(present("a", 2, 1), held=replace(HELD, taken=1300))
        assert await one.present(second) == [replace(present("b"), watermark=None, registered=False)]
        assert [row.process for row in await other.presences()] == ["a", "b"]
        assert (await other.presences())[0] == second
        await one.leave("a")
        assert [row.process for row in await other.presences()] == ["b"]


async def test_who_has_said_nothing_for_an_hour_is_forgotten(store: SqlStore) -> None:
    await store.present(present("a"))
    assert len(await store.present(present("b", 1, 3600))) == 1
    assert await store.present(present("b", 2, 3601)) == []
    assert [row.process for row in await store.presences()] == ["b"]


async def test_one_at_a_time_leads_until_its_lease_is_over(store: SqlStore) -> None:
    many = await asyncio.gather(*(store.lead("audit", name, NOON, 10) for name in "abcdef"))
    assert sum(many) == 1
    leader = "abcdef"[many.index(True)]
    other = "g"
    assert await store.lead("audit", leader, after(9), 10)
    assert not await store.lead("audit", other, after(18), 10)
    assert await store.lead("something else", other, after(18), 10)
    assert await store.lead("audit", other, after(19), 10)
    assert not await store.lead("audit", leader, after(20), 10)
    assert await store.lead("audit", leader, NOON - timedelta(days=1), 10)  # the clock was set back


async def test_who_gives_a_lease_back_takes_it_from_nobody_else(store: SqlStore) -> None:
    assert await store.lead("poll", "leader", NOON, 10)
    assert not await store.lead("poll", "standby", after(1), 0)
    assert not await store.lead("poll", "third", after(2), 10)
    assert await store.lead("poll", "leader", after(3), 0)
    assert await store.lead("poll", "third", after(3), 10)


async def test_failed_attempts_are_kept_with_their_reasons(store: SqlStore) -> None:
    event = ended(1)
    first = Attempt(WORKER, event.id, event.subject, 1, "retry", "a race", NOON, after(5))
    last = Attempt(WORKER, event.id, event.subject, 2, "deadletter", "no\0text\ud800", after(6), None)
    stranger = Attempt("crm", "not a uuid", None, 1, "deadletter", "undecodable", NOON, None)
    await store.attempted([first, stranger])
    await store.attempted([last])
    await store.attempted([])
    kept = replace(last, reason="no\ufffdtext?")
    assert await store.attempts(ids=[event.id]) == [first, kept]
    assert await store.attempts(call_id=call_id(1)) == [first, kept]
    assert await store.attempts(ids=["not a uuid", "nobody's"]) == [stranger]
    assert await store.attempts() == []


# --- texts that one database would keep and the other not ------------------------------------------------------------


@pytest.mark.parametrize("name", ["source", "subject", "traceparent", "id"])
async def test_an_event_with_a_nul_beside_its_data_is_refused_alone(store: SqlStore, name: str) -> None:
    nul = apart(1)
    object.__setattr__(nul, name, "line\0900")
    applied = await store.apply([*whole_call(1), nul, *whole_call(2)], NOON)
    assert (applied.new, list(applied.refused)) == (8, [nul.id])
    assert "0x00" in applied.refused[nul.id]


async def test_a_nul_in_the_data_is_kept_and_makes_no_number(store: SqlStore) -> None:
    event = started(1, caller={"number": "911\0888"}, variables={"A": "x\0y"})
    assert (await store.apply([event], NOON)).new == 1
    found = await store.call(call_id(1))
    assert found is not None
    assert b"911\\u0000888" in found


async def test_an_event_of_a_shape_that_nothing_expects_is_refused_alone(store: SqlStore) -> None:
    odd = started(1, caller="a text where a party is expected")
    worse = started(3)
    worse.data["started_at"] = "yesterday"
    applied = await store.apply([*whole_call(2), odd, worse, *whole_call(4)], NOON)
    assert applied.new == 8
    assert set(applied.refused) == {odd.id, worse.id}
