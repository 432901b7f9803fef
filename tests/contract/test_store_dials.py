"""What every store promises about dials (hub/ports/dialing.py): each is sent once, and tied to its call."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from hub.dialing.orders import Order
from hub.errors import KeyReused
from hub.events import Event, identity, timestamp
from hub.ports import Failure
from hub.ports.dialing import Dial, Placed
from hub.store.sql import SqlStore
from tests.contract.stores import URL, Place, drain, record
from tests.store.evidence import NOON

ORDER = Order("desk", "+34911888920", agent="1001")
CALLEE = {"number": "+34911888920", "e164": "+34911888920"}


@pytest.fixture(params=URL)
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, URL[request.param](request))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    async with place.store() as store:
        yield store


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def taken(
    store: SqlStore,
    order: Order = ORDER,
    key: str | None = None,
    *,
    vendor: str = "focalscope",
    now: datetime = NOON,
) -> Dial:
    return await store.dials.take(order, vendor, callee=CALLEE, key=key, now=now, within=60)


async def sent(store: SqlStore, order: Order = ORDER, vendor: str = "focalscope", at: float = 0) -> Dial:
    """A dial whose request is on its way."""
    dial = await taken(store, order, vendor=vendor)
    claimed = await store.dials.claim(order.source, after(at), 10, 5, f"claim-{dial.dial_id}")
    assert dial.dial_id in [one.dial_id for one in claimed]
    assert await store.dials.intend(dial.dial_id, f"claim-{dial.dial_id}", after(at), 30)
    return dial


def claim(dial: Dial) -> str:
    return f"claim-{dial.dial_id}"


async def state(store: SqlStore, dial: Dial) -> str:
    found = await store.dials.dial(dial.dial_id)
    assert found is not None
    return found.state


def call_of(request_id: str, source: str = "desk") -> str:
    return identity("focalscope", source, "", request_id)


def pickup(request_id: str, at: float = 1, leg: str = "agent", **data: Any) -> Event:
    """A FocalScope callback of a dialled call."""
    call_id = call_of(request_id)
    body = {
        "call_id": call_id,
        "vendor": "focalscope",
        "source": "desk",
        "event": "answered",
        "origin": "callback",
        "received_at": timestamp(after(at)),
        "direction": "outbound",
        "leg": {"id": f"{leg}-{request_id}", "role": leg},
        "vendor_ids": {"request_id": request_id, "call_id": "1", "call_uuid": f"{leg}-{request_id}"},
        **data,
    }
    name = identity(call_id, "answered", leg)
    return Event(name, "call", "focalscope", "answered", "desk", after(at), body, subject=call_id)


def inicio(idcall: str, sequence: str, number: str = "911888920", at: float = 1) -> Event:
    """An Infocaller callback of an issued call."""
    call_id = identity("infocaller", "line-900", "123456789", sequence)
    body = {
        "call_id": call_id,
        "vendor": "infocaller",
        "source": "line-900",
        "event": "started",
        "origin": "callback",
        "received_at": timestamp(after(at)),
        "direction": "outbound",
        "callee": {"number": number, "e164": f"+34{number}"},
        "vendor_ids": {"call_sequence": sequence, "idcall": idcall},
    }
    return Event(identity(call_id, "started"), "call", "infocaller", "started", "line-900", after(at), body, call_id)


async def told(store: SqlStore) -> list[tuple[str, dict[str, Any]]]:
    return [(event.routing_key, event.data) for event in await drain(store, after(3600)) if event.noun == "dial"]


# --- taking ----------------------------------------------------------------------------------------------------------


async def test_a_dial_is_taken_and_told_in_one_transaction(store: SqlStore) -> None:
    dial = await taken(store, key="k1")
    assert (dial.state, dial.order, dial.key, dial.attempt) == ("requested", ORDER, "k1", 0)
    [(routing_key, data)] = await told(store)
    assert routing_key == "dial.focalscope.requested"
    assert data["dial_id"] == dial.dial_id
    assert data["destination"] == "+34911888920"
    assert data["agent"] == "1001"
    assert "call_id" not in data


async def test_one_key_is_one_dial_however_many_ask_at_once(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        dials = await asyncio.gather(*(taken(store, key="k1") for _ in range(10) for store in (one, other)))
        assert len({dial.dial_id for dial in dials}) == 1
        assert len(await told(one)) == 1
        assert len(await one.dials.claim("desk", NOON, 100, 5, "c")) == 1


async def test_a_key_for_another_order_is_refused_also_where_another_source_is_to_place_it(store: SqlStore) -> None:
    """Who asks for one call by one connection, and then by another, wants it once."""
    first = await taken(store, key="k1")
    for order in (Order("desk", "+34911888921"), Order("desk-2", "+34911888920", agent="1001")):
        with pytest.raises(KeyReused):
            await taken(store, order, key="k1")
    assert (await taken(store, key="k1")).dial_id == first.dial_id


async def test_a_key_is_honoured_for_a_day_and_free_afterwards(store: SqlStore) -> None:
    first = await taken(store, key="k1")
    order = Order("desk", "+34911888921")
    day = timedelta(hours=24)
    same = await taken(store, key="k1", now=NOON + day - timedelta(seconds=1))
    assert same.dial_id == first.dial_id
    other = await taken(store, order, key="k1", now=NOON + day)
    assert other.dial_id != first.dial_id
    assert await store.dials.forget(NOON + day) == 0
    assert await store.dials.forget(NOON + 2 * day) == 1


async def test_without_a_key_every_request_is_its_own(store: SqlStore) -> None:
    assert (await taken(store)).dial_id != (await taken(store)).dial_id


# --- sending ---------------------------------------------------------------------------------------------------------


async def test_a_dial_is_claimed_by_one_and_again_when_its_claim_is_over_and_nothing_was_sent(place: Place) -> None:
    async with place.store() as one, place.store() as other:
        dial = await taken(one)
        assert await one.dials.due(NOON) == {"desk"}
        both = await asyncio.gather(
            one.dials.claim("desk", NOON, 5, 5, "a"), other.dials.claim("desk", NOON, 5, 5, "b")
        )
        assert sorted(len(found) for found in both) == [0, 1]
        assert await other.dials.claim("desk", after(4), 5, 5, "c") == []
        assert [found.dial_id for found in await other.dials.claim("desk", after(6), 5, 5, "c")] == [dial.dial_id]
        assert not await one.dials.intend(dial.dial_id, "a", after(6), 5)
        assert await one.dials.intend(dial.dial_id, "c", after(6), 5)
        assert not await one.dials.intend(dial.dial_id, "c", after(6), 5)


async def test_what_has_an_intent_is_never_claimed_again_and_is_unknown_once_its_sender_is_gone(
    store: SqlStore,
) -> None:
    dial = await sent(store)
    assert await store.dials.claim("desk", after(59), 5, 5, "x") == []
    assert await store.dials.sweep(after(29)) == []
    [swept] = await store.dials.sweep(after(31))
    assert (swept.dial_id, swept.state) == (dial.dial_id, "unknown")
    assert await store.dials.claim("desk", after(32), 5, 5, "x") == []
    assert [key for key, _ in await told(store)] == ["dial.focalscope.requested"]


async def test_an_answer_that_comes_after_all_settles_what_was_unknown(store: SqlStore) -> None:
    dial = await sent(store)
    await store.dials.sweep(after(31))
    assert not await store.dials.accepted(dial.dial_id, "another", Placed("7"), after(32))
    assert await store.dials.accepted(dial.dial_id, claim(dial), Placed("7", call_of("7")), after(32))
    assert await state(store, dial) == "accepted"
    assert not await store.dials.failed(dial.dial_id, claim(dial), "no", after(33))


async def test_what_was_certainly_not_sent_is_due_again_until_it_is_too_late(store: SqlStore) -> None:
    dial = await sent(store)
    assert await store.dials.postpone(dial.dial_id, claim(dial), after(10), Failure(after(1), "refused"))
    assert await store.dials.claim("desk", after(9), 5, 5, "x") == []
    [again] = await store.dials.claim("desk", after(10), 5, 5, "x")
    assert (again.sent_at, again.attempt, [one.reason for one in again.history]) == (None, 1, ["refused"])
    assert await store.dials.claim("desk", after(60), 5, 5, "y") == []
    assert not await store.dials.intend(dial.dial_id, "x", after(60), 5)
    [failed] = await store.dials.sweep(after(61))
    assert failed.state == "failed"
    assert failed.reason == "not placed within 60 s: refused"
    assert [key for key, _ in await told(store)][-1] == "dial.focalscope.failed"


async def test_a_refusal_is_told_with_its_reason(store: SqlStore) -> None:
    dial = await sent(store)
    assert await store.dials.failed(dial.dial_id, claim(dial), "answered 404: no such agent", after(1))
    routing_key, data = (await told(store))[-1]
    assert (routing_key, data["reason"]) == ("dial.focalscope.failed", "answered 404: no such agent")


# --- the call --------------------------------------------------------------------------------------------------------


async def test_an_accepted_dial_and_both_legs_are_one_record_in_any_order(store: SqlStore) -> None:
    dial = await sent(store)
    await store.dials.accepted(dial.dial_id, claim(dial), Placed("7", call_of("7"), {"request_id": "7"}), after(1))
    accepted = [event for event in await drain(store, after(2)) if event.verb == "accepted"]
    events = [*accepted, pickup("7"), pickup("7", leg="customer", at=2)]
    for event in reversed(events):
        await store.apply([event], after(3))
    kept = await record(store, call_of("7"))
    assert (kept["dial_id"], kept["revision"], kept["direction"]) == (dial.dial_id, 3, "outbound")
    assert [leg["role"] for leg in kept["legs"]] == ["agent", "customer"]
    assert kept["callee"] == CALLEE
    assert [one.dial_id for one in await store.dials.of_call(call_of("7"))] == [dial.dial_id]


async def test_a_dial_alone_is_a_call_in_progress_that_nobody_seals_until_a_callback_comes(store: SqlStore) -> None:
    dial = await sent(store)
    await store.dials.accepted(dial.dial_id, claim(dial), Placed("7", call_of("7")), after(1))
    await store.apply(await drain(store, after(1)), after(1))
    kept = await record(store, call_of("7"))
    assert (kept["state"], kept["disposition"], kept["revision"]) == ("in_progress", "unknown", 1)
    assert kept["legs"] == []
    assert await store.next_seal() is None
    assert await store.seal(NOON + timedelta(days=30)) == 0
    await store.apply([pickup("7")], after(2))
    assert await store.next_seal() is not None


async def test_an_issued_call_is_tied_by_idcall_even_where_its_callback_was_faster_than_the_answer(
    store: SqlStore,
) -> None:
    order = Order("line-900", "+34911888920", campaign="G")
    dial = await sent(store, order, "infocaller")
    callback = inicio("555", "98565656")
    await store.apply([callback], after(1))
    assert await store.dials.settle(after(1)) == []  # the answer may still come
    await store.dials.accepted(dial.dial_id, claim(dial), Placed("555", None, {"idcall": "555"}), after(2))
    [tied] = await store.dials.settle(after(3))
    assert (tied.dial_id, tied.call_id, tied.state) == (dial.dial_id, callback.subject, "accepted")
    assert await store.dials.settle(after(4)) == []
    events = await drain(store, after(5))
    assert [event.routing_key for event in events][-2:] == ["dial.infocaller.accepted", "dial.infocaller.tied"]
    await store.apply(events, after(6))
    kept = await record(store, str(callback.subject))
    assert (kept["dial_id"], kept["revision"]) == (dial.dial_id, 2)


async def test_an_unknown_dial_is_settled_by_the_one_call_that_fits_it(store: SqlStore) -> None:
    dial = await sent(store)
    await store.dials.doubted(dial.dial_id, claim(dial), "no whole answer", after(1))
    await store.apply([pickup("7", agent={"extension": "1001"}), pickup("7", leg="customer", at=3)], after(3))
    [settled] = await store.dials.settle(after(4))
    assert (settled.state, settled.request_id, settled.call_id) == ("accepted", "7", call_of("7"))
    routing_key, data = (await told(store))[-1]
    assert (routing_key, data["call_id"]) == ("dial.focalscope.accepted", call_of("7"))


async def test_nothing_is_noted_of_calls_while_no_dial_looks_for_one(store: SqlStore) -> None:
    await store.apply([pickup("7", agent={"extension": "1001"})], after(1))
    dial = await sent(store, at=0)
    await store.dials.doubted(dial.dial_id, claim(dial), "no whole answer", after(1))
    assert await store.dials.settle(after(2)) == []


async def test_the_ledger_counts_what_has_an_end_and_what_has_none(store: SqlStore) -> None:
    await taken(store)
    failed, unknown = await sent(store, at=0), await sent(store, at=0)
    await store.dials.failed(failed.dial_id, claim(failed), "no", after(1))
    await store.dials.doubted(unknown.dial_id, claim(unknown), "no whole answer", after(1))
    load = await store.workload("dial")
    assert (load.settled, load.waiting) == (1, 2)
    await store.dials.forget(NOON + timedelta(hours=25))
    load = await store.workload("dial")
    assert (load.settled, load.waiting) == (2, 1)


async def test_a_dial_is_shown_with_all_that_is_known_of_it(store: SqlStore) -> None:
    dial = await sent(store)
    await store.dials.accepted(dial.dial_id, claim(dial), Placed("7", call_of("7")), after(1))
    found = await store.dials.dial(dial.dial_id)
    assert found is not None
    assert orjson.loads(orjson.dumps(found.shown())) == {
        "dial_id": dial.dial_id,
        "state": "accepted",
        "vendor": "focalscope",
        "source": "desk",
        "destination": "+34911888920",
        "agent": "1001",
        "request_id": "7",
        "call_id": call_of("7"),
        "attempts": 1,
        "requested_at": timestamp(NOON),
        "give_up_at": timestamp(after(60)),
        "sent_at": timestamp(NOON),
        "settled_at": timestamp(after(1)),
    }
    assert await store.dials.dial("none") is None
