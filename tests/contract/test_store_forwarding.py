"""What forwarding asks of every store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest

from hub.events import Event, Message, to_message
from hub.ports import Workload
from hub.ports.forwarding import BY_OPERATOR, WORKER, Again, Done, Dying, Given, GivenUp, Going, Tried, Work
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place, all_events, drain

NOW: Final = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LEASE: Final = 60.0
SECOND: Final = timedelta(seconds=1)
ACME, HOOK = "acme", "hook"


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


def message(call_id: str = "", **data: Any) -> Message:
    subject = call_id or str(uuid4())
    return to_message(Event(str(uuid4()), "call", "infocaller", "sealed", "line-900", NOW, data, subject=subject))


def given(one: Message, *destinations: str, again: bool = False) -> Given:
    """To the CRM ``acme`` by its call, to anybody else by itself."""
    goings = [Going(name, one.headers["ce-subject"] if name == ACME else one.id) for name in destinations]
    return Given(one, tuple(goings), again)


async def claimed(store: SqlStore, name: str = ACME, at: datetime = NOW, claim: str = "me") -> list[Work]:
    return await store.forwarding.claim_work(name, claim, at, 100, LEASE)


async def one(store: SqlStore, name: str = ACME, at: datetime = NOW, claim: str = "me") -> Work:
    [work] = await claimed(store, name, at, claim)
    return work


async def conclude(store: SqlStore, *outcomes: Done | Again | GivenUp, at: datetime = NOW) -> None:
    await store.forwarding.conclude(outcomes, [], at)


def failed(work: Work, at: datetime, reason: str = "503", **more: Any) -> Again:
    return Again(work, at, reason, **more)


async def workload(store: SqlStore) -> tuple[int, int]:
    load = await store.workload(WORKER)
    return load.settled, load.waiting


async def buried(store: SqlStore) -> list[Dying]:
    dying = await store.forwarding.dying(100)
    await store.forwarding.buried(dying)
    return dying


# --- taking ----------------------------------------------------------------------------------------------------------


async def test_an_event_is_taken_once_however_often_it_comes(store: SqlStore) -> None:
    it = given(message(), ACME, HOOK)
    assert await store.forwarding.take([it, it], NOW) == 1
    assert await store.forwarding.take([it], NOW) == 0
    assert [len((await one(store, name)).wants) for name in (ACME, HOOK)] == [1, 1]
    assert await workload(store) == (0, 1)


async def test_an_event_that_nobody_wants_is_settled_at_once(store: SqlStore) -> None:
    await store.forwarding.take([given(message())], NOW)
    assert await workload(store) == (1, 0)
    assert await store.workload("somebody") == Workload(0, 0)


async def test_many_processes_that_take_the_same_events_at_once_take_each_once(place: Place) -> None:
    many = [given(message(), ACME, HOOK) for _ in range(30)]
    async with place.store() as one_store, place.store() as other:
        both = await asyncio.gather(
            *(each.forwarding.take(part, NOW) for each in (one_store, other) for part in (many, many[::-1]))
        )
        assert sum(both) == 30
        assert await workload(other) == (0, 30)


async def test_five_events_of_a_call_are_one_piece_of_work_and_those_that_come_meanwhile_another(
    store: SqlStore,
) -> None:
    call = str(uuid4())
    await store.forwarding.take([given(message(call, n=n), ACME) for n in range(5)], NOW)
    work = await one(store)
    assert len(work.wants) == 5
    await store.forwarding.take([given(message(call, n=5), ACME)], NOW)
    assert await claimed(store, claim="other") == [], "one at a time"
    await conclude(store, Done(work, remote_id="17", digest="abc", revision=3))
    assert await workload(store) == (5, 1)
    rest = await one(store)
    assert (len(rest.wants), rest.remote_id, rest.digest, rest.attempt) == (1, "17", "abc", 1)
    await conclude(store, Done(rest, digest="abd"))
    assert await workload(store) == (6, 0)
    assert await claimed(store, at=NOW + timedelta(days=9)) == []


async def test_what_is_done_stays_done_unless_it_is_wanted_again(store: SqlStore) -> None:
    it = message()
    await store.forwarding.take([given(it, HOOK)], NOW)
    await conclude(store, Done(await one(store, HOOK)))
    assert it.id in await store.done(WORKER, [it.id]), "a replay leaves it out"
    await store.forwarding.take([given(it, HOOK)], NOW)
    assert await claimed(store, HOOK) == []
    await store.forwarding.take([given(it, HOOK, again=True)], NOW)
    work = await one(store, HOOK)
    assert [want.message for want in work.wants] == [it]
    await conclude(store, Done(work))
    assert await workload(store) == (1, 0)


# --- claims ----------------------------------------------------------------------------------------------------------


async def test_a_claim_is_somebody_elses_only_when_it_is_over(store: SqlStore) -> None:
    await store.forwarding.take([given(message(), ACME)], NOW)
    first = await one(store, claim="first")
    assert await claimed(store, at=NOW + timedelta(seconds=LEASE) - SECOND) == []
    assert await store.forwarding.extend([first], NOW + SECOND, LEASE, intent=True) == [True]
    assert await claimed(store, at=NOW + timedelta(seconds=LEASE)) == []
    later = NOW + timedelta(seconds=LEASE) + 2 * SECOND
    second = await one(store, at=later, claim="second")
    assert second.intent_at == NOW + SECOND, "whoever comes next knows that a record may be there"
    assert await store.forwarding.extend([first, second], later, LEASE, intent=False) == [False, True]


async def test_a_claim_far_ahead_of_the_clock_is_over(store: SqlStore) -> None:
    """The clock was set back by a day: its work must not wait for a day."""
    await store.forwarding.take([given(message(), ACME)], NOW - timedelta(days=2))
    await one(store, at=NOW)
    assert len(await claimed(store, at=NOW - timedelta(days=1), claim="other")) == 1


async def test_the_outcome_of_a_lost_claim_counts_for_nothing_but_the_records_id_is_kept(store: SqlStore) -> None:
    await store.forwarding.take([given(message(), ACME)], NOW)
    stale = await one(store, claim="stale")
    later = NOW + timedelta(seconds=LEASE)
    fresh = await one(store, at=later, claim="fresh")
    await conclude(store, Done(stale, remote_id="made-by-the-stale-one"))
    assert await workload(store) == (0, 1)
    await conclude(store, failed(fresh, later))
    assert (await one(store, at=later)).remote_id == "made-by-the-stale-one"


async def test_many_who_claim_at_once_get_different_work(place: Place) -> None:
    async with place.store() as one_store, place.store() as other:
        await one_store.forwarding.take([given(message(), HOOK) for _ in range(40)], NOW)
        stores: Sequence[SqlStore] = [one_store, other] * 4
        got = await asyncio.gather(
            *(each.forwarding.claim_work(HOOK, f"{n}", NOW, 10, LEASE) for n, each in enumerate(stores))
        )
        keys = [work.key for works in got for work in works]
        assert len(keys) == len(set(keys)) == 40


async def test_what_is_in_hand_or_of_a_disabled_destination_is_not_next(store: SqlStore) -> None:
    await store.forwarding.take([given(message(), HOOK)], NOW)
    assert await store.forwarding.next_work(HOOK) == NOW
    work = await one(store, HOOK)
    assert await store.forwarding.next_work(HOOK) is None, "somebody has it"
    await conclude(store, failed(work, NOW + SECOND))
    assert await store.forwarding.next_work(HOOK) == NOW + SECOND
    await store.forwarding.disable(HOOK, "webhook", "410", NOW)
    assert await store.forwarding.next_work(HOOK) is None


async def test_an_event_that_comes_back_to_a_destination_of_another_kind_is_wanted_under_its_new_key(
    store: SqlStore,
) -> None:
    it = message()
    await store.forwarding.take([given(it, HOOK)], NOW)
    await conclude(store, GivenUp(await one(store, HOOK), "there is no record of the call"))
    await buried(store)
    call = it.headers["ce-subject"]
    await store.forwarding.take([Given(it, (Going(HOOK, call),))], NOW)
    work = await one(store, HOOK)
    assert (work.key, [want.message.id for want in work.wants]) == (call, [it.id])
    await conclude(store, Done(work, remote_id="1"))
    assert await workload(store) == (1, 0)


# --- outcomes --------------------------------------------------------------------------------------------------------


async def test_a_retry_waits_for_its_time_and_remembers_what_failed(store: SqlStore) -> None:
    await store.forwarding.take([given(message(), HOOK)], NOW)
    for attempt in range(1, 16):
        at = NOW + attempt * SECOND
        work = await one(store, HOOK, at)
        assert work.attempt == attempt
        await conclude(store, failed(work, at + SECOND, f"status {attempt}"), at=at)
        assert await claimed(store, HOOK, at) == []
        assert await store.forwarding.next_work(HOOK) == at + SECOND
    work = await one(store, HOOK, NOW + 20 * SECOND)
    assert [failure.reason for failure in work.history] == [f"status {n}" for n in range(4, 16)]
    await conclude(store, failed(work, NOW + 30 * SECOND, "the breaker is open", counted=False))
    assert (await one(store, HOOK, NOW + 30 * SECOND)).attempt == 16, "not counted"


async def test_an_intent_stays_until_it_is_known_what_came_of_it(store: SqlStore) -> None:
    await store.forwarding.take([given(message(), ACME)], NOW)
    work = await one(store)
    await store.forwarding.extend([work], NOW, LEASE, intent=True)
    await conclude(store, failed(work, NOW, "no answer"))
    work = await one(store)
    assert work.intent_at == NOW
    await conclude(store, failed(work, NOW, "refused", nothing=True))
    work = await one(store)
    assert work.intent_at is None
    await store.forwarding.extend([work], NOW, LEASE, intent=True)
    await conclude(store, failed(work, NOW, "found it, could not write", remote_id="7"))
    work = await one(store)
    assert (work.intent_at, work.remote_id) == (None, "7")


async def test_what_is_given_up_becomes_a_dead_letter_and_starts_anew_when_it_comes_back(store: SqlStore) -> None:
    it = message()
    await store.forwarding.take([given(it, ACME, HOOK)], NOW)
    await conclude(store, failed(await one(store), NOW, "503"))
    await conclude(store, GivenUp(await one(store), "422: no such field"))
    assert await workload(store) == (0, 1), "not a dead letter yet"
    [dying] = await buried(store)
    assert (dying.destination, dying.message, dying.reason, dying.attempt) == (ACME, it, "422: no such field", 2)
    assert [failure.reason for failure in dying.history] == ["503"]
    assert await buried(store) == []
    assert await workload(store) == (0, 0), "it is in the dead letters, and nowhere else"
    assert await store.done(WORKER, [it.id]) == frozenset()

    await conclude(store, Done(await one(store, HOOK)))
    assert await workload(store) == (0, 0)
    assert await store.forwarding.take([given(it, ACME, HOOK)], NOW) == 1
    assert await claimed(store, HOOK) == [], "what was done stays done"
    work = await one(store)
    assert (work.attempt, work.history) == (1, ())
    await conclude(store, Done(work, remote_id="1"))
    assert await workload(store) == (1, 0)


async def test_an_event_that_comes_after_its_call_was_given_up_begins_anew_and_leaves_the_dead_one(
    store: SqlStore,
) -> None:
    call = str(uuid4())
    await store.forwarding.take([given(message(call), ACME)], NOW)
    work = await one(store)
    await store.forwarding.take([given(message(call), ACME)], NOW)
    await conclude(store, GivenUp(work, "never"))
    second = await one(store)
    assert (len(second.wants), second.attempt) == (1, 1)
    assert len(await buried(store)) == 1
    await conclude(store, Done(second, remote_id="2"))
    assert await workload(store) == (1, 0)


# --- destinations ----------------------------------------------------------------------------------------------------


async def test_a_breaker_tells_of_each_change_once_and_everybody_hears_it(store: SqlStore) -> None:
    tell = store.forwarding.tell_breaker
    until = NOW + 30 * SECOND
    assert await tell(ACME, "hubspot", "open", "503", until, NOW)
    assert not await tell(ACME, "hubspot", "open", "503 again", until, NOW + SECOND)
    assert await tell(ACME, "hubspot", "closed", "", None, NOW + 2 * SECOND)
    assert not await tell(ACME, "hubspot", "closed", "", None, NOW + 3 * SECOND)
    events = await drain(store, NOW)
    assert [event.routing_key for event in events] == ["destination.hubspot.opened", "destination.hubspot.closed"]
    assert events[0].data == {
        "destination": ACME,
        "kind": "hubspot",
        "event": "opened",
        "occurred_at": "2026-11-20T09:00:00.000Z",
        "reason": "503",
        "until": "2026-11-20T09:00:30.000Z",
    }
    assert events[0].source == ACME
    await store.apply(events, NOW)
    assert len(await all_events(store)) == 2


async def test_nothing_is_claimed_of_a_disabled_destination_until_it_is_enabled(store: SqlStore) -> None:
    await store.forwarding.meet(HOOK, "webhook", "first", NOW)
    await store.forwarding.take([given(message(), HOOK)], NOW)
    assert await store.forwarding.disable(HOOK, "webhook", "410 Gone", NOW)
    assert not await store.forwarding.disable(HOOK, "webhook", "410 Gone", NOW)
    assert await claimed(store, HOOK) == []
    await store.forwarding.meet(HOOK, "webhook", "first", NOW)
    assert await claimed(store, HOOK) == [], "a restart changes nothing"
    assert await store.forwarding.disable(HOOK, "webhook", None, NOW)
    assert len(await claimed(store, HOOK)) == 1
    verbs = [event.verb for event in await drain(store, NOW)]
    assert verbs == ["disabled", "enabled"]


async def test_another_configuration_enables_a_destination(store: SqlStore) -> None:
    await store.forwarding.meet(HOOK, "webhook", "first", NOW)
    await store.forwarding.disable(HOOK, "webhook", "410 Gone", NOW)
    await store.forwarding.meet(HOOK, "webhook", "second", NOW)
    [standing] = await store.forwarding.standings()
    assert (standing.disabled, standing.fingerprint) == (None, "second")
    await store.forwarding.disable(HOOK, "webhook", BY_OPERATOR, NOW)
    await store.forwarding.meet(HOOK, "webhook", "third", NOW)
    [standing] = await store.forwarding.standings()
    assert (standing.disabled, standing.fingerprint) == (BY_OPERATOR, "third"), "until an operator enables it"


async def test_a_destinations_standing_counts_what_waits_what_is_done_and_what_is_dead(store: SqlStore) -> None:
    await store.forwarding.meet(HOOK, "webhook", "first", NOW)
    for n in range(4):
        await store.forwarding.take([given(message(), HOOK)], NOW + n * SECOND)
    works = await claimed(store, HOOK, NOW + 5 * SECOND)
    await conclude(store, Done(works[0]), GivenUp(works[1], "422"), failed(works[2], NOW, "503"))
    [standing] = await store.forwarding.standings()
    assert (standing.waiting, standing.done, standing.dead) == (2, 1, 1)
    assert standing.oldest == NOW + 2 * SECOND
    assert standing.error in ("503", "422")


# --- what was tried --------------------------------------------------------------------------------------------------


async def test_what_was_tried_is_found_by_its_call_and_by_its_key_and_forgotten_after_its_time(
    store: SqlStore,
) -> None:
    def tried(call: str | None, key: str, at: datetime, status: int | None = 200) -> Tried:
        return Tried(ACME, key, call, 1, at, 0.25, "post", {"method": "POST"}, status, "ok\0", "done", "")

    many = [tried("a", "k1", NOW), tried("b", "k2", NOW + SECOND, None), tried("a", "k3", NOW + 2 * SECOND)]
    await store.forwarding.conclude([], many, NOW)
    found = await store.forwarding.tries(call_id="a")
    assert [(one.key, one.at, one.request, one.answer) for one in found] == [
        ("k1", NOW, {"method": "POST"}, "ok\ufffd"),
        ("k3", NOW + 2 * SECOND, {"method": "POST"}, "ok\ufffd"),
    ]
    assert [one.status for one in await store.forwarding.tries(key="k2")] == [None]
    assert [one.key for one in await store.forwarding.tries(call_id="a", limit=1)] == ["k3"], "the latest"
    assert await store.forwarding.forget(ACME, NOW + 2 * SECOND) == 2
    assert await store.forwarding.tries(key="k1") == []


# --- contacts --------------------------------------------------------------------------------------------------------


async def test_a_contact_is_made_by_one_and_found_by_the_others(store: SqlStore) -> None:
    async def reserve(claim: str, at: datetime = NOW, *, intent: bool = False) -> tuple[bool, str | None, object]:
        got = await store.forwarding.reserve_contact(ACME, "+34911888920", claim, at, LEASE, intent=intent)
        return got.mine, got.remote_id, got.intent_at

    assert await reserve("one") == (True, None, None)
    assert await reserve("other") == (False, None, None)
    assert await reserve("one", intent=True) == (True, None, None)
    over = NOW + timedelta(seconds=LEASE) + SECOND
    assert await reserve("other", over) == (True, None, NOW), "whoever comes next knows that it may be there"
    await store.forwarding.contact_made(ACME, "+34911888920", "one", None)
    assert await reserve("third", over) == (False, None, NOW), "only its owner gives it back"
    await store.forwarding.contact_made(ACME, "+34911888920", "other", "c-1")
    assert await reserve("third", over) == (False, "c-1", None)
