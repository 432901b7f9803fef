"""Kept events once more, as they were published; and the inbox. Over each store."""

from collections import Counter

import pytest

from hub.events import Event, to_event, to_message
from hub.ports import EventFilter, Stored
from hub.store import replaying
from hub.store.sql import SqlStore
from tests.store.evidence import NOON, after, apart, call_id, desk_leg, ended, missed, recording, started, whole_call

EVERYTHING = EventFilter()


async def chosen(store: SqlStore, narrow: EventFilter, *, limit: int = 1000, behind: int = 0) -> list[Stored]:
    """All that a filter finds, page by page; the survey must say as much."""
    survey = await store.survey(narrow, behind)
    found: list[Stored] = []
    place = behind
    while page := await store.stored(narrow, limit, place, survey.upto):
        found += page
        place = page[-1].seq
    assert Counter(one.message.routing_key for one in found) == Counter(survey.counts)
    return found


def names(found: list[Stored]) -> list[str]:
    return [one.message.id for one in found]


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few events are several statements."""
    monkeypatch.setattr(replaying, "STRETCH", 3)


async def test_an_event_is_what_was_published_byte_for_byte(store: SqlStore) -> None:
    given = [*whole_call(1), apart(2), recording(1)]
    for event in given:
        await store.apply([event], NOON)
    found = await chosen(store, EVERYTHING)
    assert [one.message for one in found] == [to_message(event) for event in given]
    assert [to_event(one.message) for one in found] == given
    assert {one.kept_at for one in found} == {NOON}


async def test_they_come_in_the_order_of_their_keeping_whatever_the_size_of_a_page(store: SqlStore) -> None:
    given = [event for number in range(8) for event in (ended(number), started(number))]
    for event in given:
        await store.apply([event], NOON)
    for limit in (1, 2, 5, 100):
        assert names(await chosen(store, EVERYTHING, limit=limit)) == [event.id for event in given]


async def test_one_goes_on_behind_a_place(store: SqlStore) -> None:
    for number in range(6):
        await store.apply([started(number)], NOON)
    whole = await chosen(store, EVERYTHING)
    assert names(await chosen(store, EVERYTHING, behind=whole[3].seq)) == names(whole[4:])
    assert await chosen(store, EVERYTHING, behind=whole[-1].seq) == []


async def test_what_is_kept_after_the_survey_is_not_of_it(store: SqlStore) -> None:
    await store.apply([started(1)], NOON)
    survey = await store.survey(EVERYTHING)
    await store.apply([ended(1)], NOON)
    assert names(await store.stored(EVERYTHING, 10, 0, survey.upto)) == [started(1).id]


async def test_a_store_without_events_has_none(store: SqlStore) -> None:
    assert await chosen(store, EVERYTHING) == []


def of(events: list[Event]) -> set[str]:
    return {event.id for event in events}


async def test_each_filter_narrows_to_what_it_says(store: SqlStore) -> None:
    morning = [*whole_call(1), desk_leg(7, "started", "a", 0)]
    noon = [started(2), missed(2), desk_leg(7, "hangup", "a", 9)]
    for event in morning:
        await store.apply([event], NOON)
    for event in noon:
        await store.apply([event], after(60))
    every = morning + noon
    cases = {
        EventFilter(call_id=call_id(1)): whole_call(1),
        EventFilter(source="desk"): [event for event in every if event.source == "desk"],
        EventFilter(since=after(60)): noon,
        EventFilter(until=after(60)): morning,
        EventFilter(since=after(61)): [],
        EventFilter(routing_keys=("call.infocaller.started",)): [every[0], started(2)],
        EventFilter(routing_keys=()): [],
        EventFilter(since=after(60), source="desk"): [noon[-1]],
        EventFilter(ids=(noon[0].id, every[0].id, "no such", "\0", "\ud800")): [every[0], noon[0]],
        EventFilter(ids=()): [],
        EventFilter(source="\0"): [],
        EventFilter(call_id="\ud800"): [],
    }
    for narrow, expected in cases.items():
        found = await chosen(store, narrow)
        assert set(names(found)) == of(expected), narrow
        assert len(found) == len(expected)


async def test_an_event_says_under_which_call_it_is_filed(store: SqlStore) -> None:
    await store.apply([started(1)], NOON)
    (found,) = await chosen(store, EventFilter(ids=[started(1).id]))
    assert found.call_id == call_id(1)


# --- the inbox -------------------------------------------------------------------------------------------------------


async def test_what_is_noted_is_done_for_that_worker_and_for_no_other(store: SqlStore) -> None:
    await store.note("crm", ["one", "two"], NOON)
    assert await store.done("crm", ["one", "two", "three"]) == {"one", "two"}
    assert await store.done("recordings", ["one"]) == frozenset()
    assert await store.done("crm", []) == frozenset()


async def test_noting_twice_is_noting_once(store: SqlStore) -> None:
    await store.note("crm", ["one"], NOON)
    await store.note("crm", ["one", "two"], after(1))
    await store.note("crm", [], NOON)
    assert await store.done("crm", ["one", "two"]) == {"one", "two"}
