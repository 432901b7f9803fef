"""What every store promises about recordings: claims by the time left, each settled once, and told with it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from hub.calls.recorded import recording_id
from hub.events import Event, identity, to_message
from hub.ports import Failure, Workload
from hub.ports.recordings import Announced, Kept
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place, drain, record
from tests.store.evidence import NOON, after, call_id, desk_leg, event, whole_call

LEASE: Final = 60.0


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


def hangup(request: int, leg: str, at: float, **content: Any) -> Event:
    fields: dict[str, Any] = {
        "leg": {"id": leg, "role": "agent"},
        "vendor_ids": {"request_id": str(request), "call_uuid": leg},
        "recorded": True,
        **content,
    }
    return event("desk", "hangup", identity("focalscope", "desk", "", str(request)), after(at), **fields)


def announced(number: int, *, left: float = 3600, **more: Any) -> Announced:
    name = identity("recording", str(number))
    told = Event(
        identity(name, "available"),
        "recording",
        "focalscope",
        "available",
        "desk",
        NOON,
        {"recording_id": name, "call_id": call_id(number)},
        subject=call_id(number),
    )
    fields = {
        "message": to_message(told),
        "recording_id": name,
        "call_id": call_id(number),
        "vendor": "focalscope",
        "source": "desk",
        "leg": f"leg-{number}",
        "data": {"vendor_ids": {"call_uuid": f"leg-{number}"}},
        "at": NOON,
        "expires_at": after(left),
        "alert_at": after(left / 2),
    }
    return Announced(**{**fields, **more})


def kept(content: str = "a", key: str | None = None, **more: Any) -> Kept:
    fields: dict[str, Any] = {"bytes": 10, "seconds": 1.5, "content_type": "audio/wav", "flags": (), "began_at": NOON}
    return Kept(key=key or f"desk/{content}.wav", sha256=content * 64, **{**fields, **more})


async def taken(store: SqlStore, number: int = 1, claim: str = "me", **more: Any) -> str:
    """A recording in hand."""
    one = announced(number, **more)
    await store.recordings.take([one], NOON)
    [mine] = await store.recordings.claim("desk", NOON, 1, LEASE, claim)
    assert mine.recording_id == one.recording_id
    return one.recording_id


# --- what announces a recording --------------------------------------------------------------------------------------


async def test_a_recorded_hangup_announces_its_legs_recording_once(store: SqlStore) -> None:
    one, again = hangup(513, "leg-a", 1), hangup(513, "leg-a", 2, agent={"extension": "1002"})
    await store.apply([one], NOON)
    await store.apply([one, again, hangup(513, "leg-b", 3), hangup(513, "leg-c", 4, recorded=False)], NOON)
    told = [event for event in await drain(store, NOON) if event.noun == "recording"]
    assert [(one.routing_key, one.data["leg"]["id"]) for one in told] == [
        ("recording.focalscope.available", "leg-a"),
        ("recording.focalscope.available", "leg-b"),
    ]
    assert told[0].data["recording_id"] == recording_id(told[0].data["call_id"], "leg-a")
    assert told[0].data["vendor_ids"] == {"request_id": "513", "call_uuid": "leg-a"}


async def test_many_who_keep_the_same_hangup_announce_it_once(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await asyncio.gather(*(store.apply([hangup(513, "leg-a", 1)], NOON) for store in (one, other) * 3))
        assert len([event for event in await drain(one, NOON) if event.noun == "recording"]) == 1


async def test_the_record_shows_each_recording_in_its_furthest_state_and_never_reseals(store: SqlStore) -> None:
    await store.apply([desk_leg(513, "answered", "leg-a", 0), hangup(513, "leg-a", 1)], NOON)
    await store.seal(after(100))
    told = await drain(store, after(100))
    [available] = [event for event in told if event.noun == "recording"]
    call = available.data["call_id"]
    before = await record(store, call)
    await store.apply([available], after(101))
    assert (await record(store, call))["recordings"] == [{"id": available.data["recording_id"], "state": "available"}]
    await store.recordings.take([_of(available)], after(101))
    [mine] = await store.recordings.claim("desk", after(101), 1, LEASE, "me")
    assert await store.recordings.keep(mine.recording_id, "me", kept(), after(102)) == "stored"
    derived = await drain(store, after(103))
    assert [event.routing_key for event in derived] == ["recording.focalscope.stored"]
    await store.apply(derived, after(104))
    shown = await record(store, call)
    assert shown["recordings"] == [{"id": mine.recording_id, "state": "stored", "sha256": "a" * 64, "bytes": 10}]
    assert shown["revision"] == before["revision"] + 2
    assert shown["sealed"] == before["sealed"]
    assert await drain(store, after(105)) == []


def _of(available: Event) -> Announced:
    return announced(
        0,
        message=to_message(available),
        recording_id=available.data["recording_id"],
        call_id=available.data["call_id"],
    )


# --- claims ----------------------------------------------------------------------------------------------------------


async def test_what_the_vendor_deletes_first_is_fetched_first(store: SqlStore) -> None:
    await store.recordings.take([announced(n, left=left) for n, left in ((1, 900), (2, 100), (3, 500))], NOON)
    claimed = await store.recordings.claim("desk", NOON, 2, LEASE, "me")
    assert [one.expires_at for one in claimed] == [after(100), after(500)]


async def test_a_claim_is_nobody_elses_until_it_is_over(store: SqlStore) -> None:
    name = await taken(store)
    assert await store.recordings.claim("desk", after(LEASE - 1), 9, LEASE, "other") == []
    assert await store.recordings.claim("elsewhere", after(LEASE + 1), 9, LEASE, "other") == []
    assert await store.recordings.next_due("desk", NOON) == after(LEASE)
    assert await store.recordings.extend(name, "me", after(30), LEASE)
    assert await store.recordings.claim("desk", after(LEASE + 1), 9, LEASE, "other") == []
    [stolen] = await store.recordings.claim("desk", after(91), 9, LEASE, "other")
    assert (stolen.recording_id, stolen.attempt) == (name, 0)


async def test_whose_claim_is_over_changes_nothing(store: SqlStore) -> None:
    name = await taken(store)
    await store.recordings.claim("desk", after(LEASE + 1), 9, LEASE, "other")
    failure = Failure(NOON, "too late")
    assert not await store.recordings.extend(name, "me", after(99), LEASE)
    assert not await store.recordings.postpone(name, "me", after(99), failure)
    assert not await store.recordings.give_up(name, "me", "missing", failure)
    assert await store.recordings.keep(name, "me", kept(), after(99)) == "lost"
    assert await drain(store, NOON) == []
    assert await store.recordings.keep(name, "other", kept(), after(99)) == "stored"


async def test_each_is_claimed_by_one_of_many(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        await one.recordings.take([announced(number) for number in range(40)], NOON)
        rounds = [store.recordings.claim("desk", NOON, 5, LEASE, f"{n}") for n in range(5) for store in (one, other)]
        claimed = [row.recording_id for rows in await asyncio.gather(*rounds) for row in rows]
        claimed += [row.recording_id for row in await one.recordings.claim("desk", NOON, 40, LEASE, "last")]
        assert sorted(claimed) == sorted({identity("recording", str(number)) for number in range(40)})


async def test_an_attempt_that_failed_comes_back_with_its_history(store: SqlStore) -> None:
    name = await taken(store)
    assert await store.recordings.postpone(name, "me", after(10), Failure(NOON, "404"), seen="abc:10")
    assert await store.recordings.claim("desk", after(9), 1, LEASE, "me") == []
    [again] = await store.recordings.claim("desk", after(10), 1, LEASE, "me")
    assert (again.attempt, again.history, again.seen) == (1, (Failure(NOON, "404"),), "abc:10")
    assert await store.recordings.postpone(name, "me", after(20), None)
    [again] = await store.recordings.claim("desk", after(20), 1, LEASE, "me")
    assert (again.attempt, again.seen) == (1, "abc:10")


# --- settled once ----------------------------------------------------------------------------------------------------


async def test_stored_is_told_once_with_what_it_is(store: SqlStore) -> None:
    name = await taken(store)
    flagged = kept(flags=("length",), url="https://hub.example.com/v1/recordings/1/audio")
    assert await store.recordings.keep(name, "me", flagged, after(5)) == "stored"
    assert await store.recordings.keep(name, "me", flagged, after(6)) == "lost"
    assert await store.recordings.keep(name, None, flagged, after(7)) == "again"
    [told] = await drain(store, NOON)
    assert (told.routing_key, told.subject) == ("recording.focalscope.stored", call_id(1))
    assert {key: told.data[key] for key in ("recording_id", "sha256", "bytes", "seconds", "url", "flags")} == {
        "recording_id": name,
        "sha256": "a" * 64,
        "bytes": 10,
        "seconds": 1.5,
        "url": "https://hub.example.com/v1/recordings/1/audio",
        "flags": ["length"],
    }


async def test_other_audio_of_a_stored_recording_is_noted_beside_the_first(store: SqlStore) -> None:
    name = await taken(store)
    await store.recordings.keep(name, "me", kept(), after(5))
    assert await store.recordings.keep(name, None, kept("b"), after(6)) == "version"
    assert await store.recordings.keep(name, None, kept("b"), after(7)) == "version"
    assert [told.routing_key for told in await drain(store, NOON)] == [
        "recording.focalscope.stored",
        "custody.focalscope.version",
    ]
    found = await store.recordings.recording(name)
    assert found is not None
    assert found.kept is not None
    assert (found.kept.sha256, [one["sha256"] for one in found.versions]) == ("a" * 64, ["b" * 64])


async def test_what_is_given_up_is_told_once_and_waits_to_be_buried(store: SqlStore) -> None:
    name = await taken(store)
    assert await store.recordings.give_up(name, "me", "missing", Failure(after(5), "404"))
    [told] = await drain(store, NOON)
    assert (told.routing_key, told.data["reason"], told.data["attempts"]) == (
        "recording.focalscope.failed",
        "missing",
        1,
    )
    assert await store.workload("recordings") == Workload(settled=0, waiting=1)
    [lost] = await store.recordings.lost(10)
    assert [message.id for message in lost.messages] == [identity(name, "available")]
    assert lost.messages[0] == announced(1).message
    await store.recordings.buried(name)
    assert await store.recordings.lost(10) == []
    assert await store.workload("recordings") == Workload(settled=0, waiting=0)


async def test_what_an_operator_puts_back_begins_anew_and_what_is_stored_stays_so(store: SqlStore) -> None:
    name = await taken(store, left=60)
    await store.recordings.give_up(name, "me", "missing", Failure(NOON, "404"))
    assert await store.recordings.take([announced(1)], after(50)) == 0  # a redelivery before it is buried
    await store.recordings.buried(name)
    assert await store.recordings.take([announced(1)], after(100)) == 1
    [again] = await store.recordings.claim("desk", after(100), 1, LEASE, "me")
    assert (again.attempt, len(again.history), again.expires_at) == (0, 1, after(3700))
    await store.recordings.give_up(name, "me", "missing", Failure(after(101), "404"))
    await store.recordings.buried(name)
    await store.recordings.take([announced(1)], after(200))
    await store.recordings.claim("desk", after(200), 1, LEASE, "me")
    await store.recordings.keep(name, "me", kept(), after(201))
    assert await store.recordings.take([announced(1)], after(300)) == 0
    verbs = [told.verb for told in await drain(store, NOON)]
    assert verbs == ["failed", "failed", "stored"]


async def test_asked_for_once_more_it_is_fetched_again_and_told_no_more(store: SqlStore) -> None:
    name = await taken(store)
    await store.recordings.keep(name, "me", kept(), after(5))
    assert await store.recordings.take([announced(1, again=True)], after(6)) == 1
    [mine] = await store.recordings.claim("desk", after(6), 1, LEASE, "me")
    assert mine.kept is not None
    assert await store.recordings.give_up(name, "me", "gone", Failure(after(7), "410"))
    found = await store.recordings.recording(name)
    assert found is not None
    assert found.state == "stored"
    assert [told.verb for told in await drain(store, NOON)] == ["stored"]


async def test_of_a_source_that_nothing_is_configured_for_it_is_idle_until_something_is(store: SqlStore) -> None:
    await store.recordings.take([announced(1, wanted=False)], NOON)
    assert await store.recordings.claim("desk", NOON, 1, LEASE, "me") == []
    assert await store.workload("recordings") == Workload(settled=1, waiting=0)
    assert await store.recordings.wake("desk", after(4000)) == 0  # too late: the vendor has deleted it
    assert await store.recordings.wake("desk", after(10)) == 1
    assert len(await store.recordings.claim("desk", after(10), 1, LEASE, "me")) == 1


async def test_the_workload_counts_events_and_not_recordings(store: SqlStore) -> None:
    one = announced(1)
    assert one.message is not None
    second = {**one.message.headers, "ce-id": "another"}
    other = announced(1, message=type(one.message)(one.message.routing_key, second, one.message.body))
    await store.recordings.take([one, other, announced(2), announced(3, message=None)], NOON)
    assert await store.workload("recordings") == Workload(settled=0, waiting=3)
    assert await store.workload("crm") == Workload(0, 0)


# --- time passes -----------------------------------------------------------------------------------------------------


async def test_danger_is_told_once_for_each(store: SqlStore) -> None:
    await store.recordings.take([announced(1, left=100), announced(2, left=300)], NOON)
    assert await store.recordings.endangered(after(49), 10) == []
    assert [one.recording_id for one in await store.recordings.endangered(after(50), 10)] == [
        identity("recording", "1")
    ]
    assert await store.recordings.endangered(after(60), 10) == []
    [told] = await drain(store, NOON)
    assert (told.routing_key, told.data["expires_at"]) == (
        "custody.focalscope.endangered",
        "2026-11-20T12:01:40.000Z",
    )


async def test_what_has_outlived_its_time_is_deleted_once(store: SqlStore) -> None:
    name = await taken(store)
    await store.recordings.keep(name, "me", kept(delete_at=after(1000)), after(5))
    await drain(store, NOON)
    assert await store.recordings.outlived(after(999), 10) == []
    [(found, alone)] = await store.recordings.outlived(after(1000), 10)
    assert (found.recording_id, alone) == (name, frozenset({"desk/a.wav"}))
    assert await store.recordings.outlived(after(1001), 10) == []  # in somebody's hand
    assert len(await store.recordings.outlived(after(1301), 10)) == 1  # who was killed
    assert await store.recordings.deleted(name, after(1302))
    assert not await store.recordings.deleted(name, after(1303))
    [told] = await drain(store, NOON)
    assert (told.routing_key, told.data["sha256"]) == ("custody.focalscope.deleted", "a" * 64)
    assert await store.recordings.keep(name, None, kept(), after(1400)) == "deleted"
    assert await store.recordings.outlived(after(9999), 10) == []


async def test_audio_that_another_recording_has_too_is_not_deleted_with_the_first(store: SqlStore) -> None:
    one = await taken(store, 1)
    await store.recordings.keep(one, "me", kept(delete_at=after(100)), NOON)
    two = await taken(store, 2)
    await store.recordings.keep(two, "me", kept(delete_at=after(200)), NOON)
    [(found, alone)] = await store.recordings.outlived(after(100), 10)
    assert (found.recording_id, alone) == (one, frozenset())
    await store.recordings.deleted(one, after(101))
    [(found, alone)] = await store.recordings.outlived(after(200), 10)
    assert (found.recording_id, alone) == (two, frozenset({"desk/a.wav"}))


async def test_a_version_that_is_another_recordings_audio_is_not_deleted_with_the_first(store: SqlStore) -> None:
    one = await taken(store, 1)
    await store.recordings.keep(one, "me", kept("a", delete_at=after(100)), NOON)
    assert await store.recordings.keep(one, None, kept("b"), NOON) == "version"
    two = await taken(store, 2)
    await store.recordings.keep(two, "me", kept("b"), NOON)
    [(found, alone)] = await store.recordings.outlived(after(100), 10)
    assert (found.recording_id, alone) == (one, frozenset({"desk/a.wav"}))


async def test_what_was_published_before_somebody_deleted_it_is_not_taken_for_stored(store: SqlStore) -> None:
    one = await taken(store, 1)
    await store.recordings.keep(one, "me", kept(delete_at=after(100)), NOON)
    two = await taken(store, 2, left=9000)
    await store.recordings.outlived(after(100), 10)
    assert await store.recordings.keep(two, "me", kept(began_at=after(99)), after(101)) == "gone"
    await store.recordings.deleted(one, after(102))
    assert await store.recordings.keep(two, "me", kept(began_at=after(99)), after(103)) == "gone"
    assert await store.recordings.keep(two, "me", kept(began_at=after(103)), after(104)) == "stored"


async def test_recordings_are_found_by_call_by_leg_and_by_their_twins(store: SqlStore) -> None:
    await store.apply(whole_call(1), NOON)
    one = await taken(store, 1)
    await store.recordings.keep(one, "me", kept(), NOON)
    assert [row.recording_id for row in await store.recordings.of_call(call_id(1))] == [one]
    assert [row.recording_id for row in await store.recordings.of_leg("desk", ["leg-1", "leg-9"])] == [one]
    assert await store.recordings.of_leg("elsewhere", ["leg-1"]) == []
    assert await store.recordings.twins("a" * 64, call_id(2)) == [one]
    assert await store.recordings.twins("a" * 64, call_id(1)) == []
