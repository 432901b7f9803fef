"""A call that is asked for: taken, placed once, tied to what its vendor tells of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hub.events import Message, identity
from hub.simulator.dialling import Mood, play
from tests.dialing.desk import DESK, LINE_900, NUMBER, Office, office, quiet
from tests.faults import scale
from tests.hub import until
from tests.servers.ports import free_port, release_port


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


async def test_a_dial_is_placed_at_once_and_both_legs_fold_into_one_record_with_it(desk: Office) -> None:
    began = monotonic()
    dial_id = await desk.dial()
    told = await desk.becomes(dial_id, "accepted")
    assert monotonic() - began < 5  # a bound for a busy machine; what is usual stands in docs/dialing.md
    [placed] = desk.focalscope.placed
    assert placed.asked == {"number": NUMBER, "agent": "1001", "adapter": "trunkline"}
    assert (told["request_id"], told["attempts"]) == (placed.request_id, 1)
    assert told["call_id"] == identity("focalscope", "desk", "", placed.request_id)
    call = desk.focalscope.call(placed, DESK)
    assert call.key == told["call_id"]
    assert set(await play(call, str(desk.hub.url))) == {200}
    record = await desk.hub.call(call.key, lambda found: found.get("sealed") and found.get("dial_id"))
    assert (record["dial_id"], record["disposition"], record["direction"]) == (dial_id, "answered", "outbound")
    assert [leg["role"] for leg in record["legs"]] == ["agent", "customer"]
    assert record["callee"]["e164"] == NUMBER
    types = [item["type"] for item in await desk.events()]
    assert types == ["trunkline.dial.requested.v1", "trunkline.dial.accepted.v1"]


async def test_an_issued_call_is_tied_to_its_dial_by_idcall(desk: Office) -> None:
    dial_id = await desk.dial("line-900", campaign="Campaña", variables={"PEDIDO": "Muñoz & Hijos <2>"})
    told = await desk.becomes(dial_id, "accepted")
    [placed] = desk.infocaller.placed
    assert told["request_id"] == placed.request_id
    assert "call_id" not in told
    assert placed.variables == {"AGENT": "1001", "PEDIDO": "Muñoz & Hijos <2>"}
    call = desk.infocaller.call(placed, LINE_900)
    assert set(await play(call, str(desk.hub.url))) == {200}
    record = await desk.hub.call(call.key, lambda found: found.get("dial_id"))
    assert record["dial_id"] == dial_id
    assert record["vendor_ids"]["idcall"] == placed.request_id
    assert record["variables"]["PEDIDO"] == "Muñoz & Hijos <2>"
    assert (await desk.state(dial_id))["call_id"] == call.key


async def test_two_hundred_that_ask_with_one_key_are_one_call(desk: Office) -> None:
    ids = await asyncio.gather(*(desk.dial(key="order-77") for _ in range(200)))
    assert len(set(ids)) == 1
    await desk.becomes(ids[0], "accepted")
    assert await desk.dial(key="order-77") == ids[0]
    await quiet(0.5)
    assert len(desk.focalscope.placed) == 1


@pytest.mark.parametrize(
    "mood", scale.at(quick=("drop", "garbage"), full=("drop", "500", "garbage", "empty", "zero", "hang"))
)
async def test_a_call_whose_answer_was_lost_is_unknown_and_never_dialled_again_until_its_callbacks_tell(
    desk: Office, mood: Mood
) -> None:
    desk.focalscope.moods.append(mood)
    dial_id = await desk.dial()
    told = await desk.becomes(dial_id, "unknown")
    assert told["reason"]
    assert told["attempts"] == 1
    await quiet(0.5)
    [placed] = desk.focalscope.placed
    await play(desk.focalscope.call(placed, DESK), str(desk.hub.url))
    settled = await desk.becomes(dial_id, "accepted")
    assert settled["request_id"] == placed.request_id
    record = await desk.hub.call(settled["call_id"], lambda found: found.get("dial_id"))
    assert record["dial_id"] == dial_id
    assert desk.focalscope.requests == 1


async def test_an_issued_call_whose_answer_was_lost_is_settled_by_its_number(desk: Office) -> None:
    desk.infocaller.moods.append("drop")
    dial_id = await desk.dial("line-900", campaign="G")
    await desk.becomes(dial_id, "unknown")
    [placed] = desk.infocaller.placed
    call = desk.infocaller.call(placed, LINE_900, "outbound-unanswered")
    await play(call, str(desk.hub.url))
    settled = await desk.becomes(dial_id, "accepted")
    assert (settled["request_id"], settled["call_id"]) == (placed.request_id, call.key)


async def test_a_refusal_is_a_failure_with_its_reason(desk: Office) -> None:
    for mood, reason in (("404", "answered 404"), ("401", "does not know us")):
        desk.focalscope.moods.append(mood)  # type: ignore[arg-type]
        told = await desk.becomes(await desk.dial(), "failed")
        assert reason in told["reason"]
    desk.infocaller.result = "7"
    told = await desk.becomes(await desk.dial("line-900", campaign="G"), "failed")
    assert "result 7" in told["reason"]
    assert desk.focalscope.placed == desk.infocaller.placed == []

    async def failures() -> bool:
        told = [one for one in await desk.events() if one["type"].endswith(".failed.v1") and one["data"]["reason"]]
        return len(told) == 3

    await until(failures)


async def test_a_vendor_that_wants_a_pause_is_asked_again_after_it_and_a_slow_one_is_waited_for(desk: Office) -> None:
    desk.focalscope.moods.extend(["429", "slow"])
    told = await desk.becomes(await desk.dial(), "accepted")
    assert (told["attempts"], len(desk.focalscope.placed)) == (2, 1)
    assert "429" in told["failures"][0]["reason"]


async def test_a_vendor_that_is_away_is_asked_again_and_given_up_after_a_time(tmp_path: Path) -> None:
    port = free_port()
    away = {"dial_url": f"http://127.0.0.1:{port}/dial?number={{number}}", "dial_within": 4}
    async with office(tmp_path, desk=away) as desk:
        told = await desk.becomes(await desk.dial(), "failed")
        assert told["reason"].startswith("not placed within 4 s: ")
        assert told["attempts"] >= 1
        assert len(told["failures"]) >= 1
    release_port(port)


async def test_a_command_on_the_bus_is_a_dial_and_its_name_is_its_key(desk: Office) -> None:
    body = b'{"source":"desk","destination":"911 888 920","agent":"1001"}'
    bus = desk.hub.process.bus
    given = Message("dial.focalscope", {"ce-id": "order-77"}, body)
    await bus.command([given])
    await bus.command([given])

    async def placed() -> bool:
        return len(desk.focalscope.placed) == 1

    await until(placed)
    dial_id = await desk.dial(key="order-77", destination="911888920")
    await desk.becomes(dial_id, "accepted")
    await quiet(0.5)
    assert [one.number for one in desk.focalscope.placed] == ["911888920"]


async def test_a_command_that_cannot_be_dialled_is_a_dead_letter_with_its_reason(desk: Office) -> None:
    refused = (
        ("dial.focalscope", "c1", b"{", "not JSON"),
        ("dial.focalscope", "c2", b"[]", "expected an object"),
        ("dial.focalscope", "", b"{}", "message_id"),
        ("dial.focalscope", "c3", b'{"source":"desk"}', "destination is missing"),
        ("dial.focalscope", "c4", b'{"source":"none","destination":"911"}', "source is 'none'"),
        ("dial.infocaller", "c5", b'{"source":"desk","destination":"911","agent":"1"}', "of infocaller"),
        ("dial.focalscope", "c6", b'{"source":"desk","destination":"911","agent":"1","wen":1}', "wen: unknown key"),
    )
    given = [Message(key, {"ce-id": name} if name else {}, body) for key, name, body, _ in refused]
    await desk.hub.process.bus.command(given)

    async def dead() -> list[str] | None:
        items = (await desk.hub.read("/v1/dead-letters?worker=dial"))["items"]
        return [item["reason"] for item in items] if len(items) == len(refused) else None

    reasons = await until(dead)
    assert [any(reason in one for one in reasons) for _, _, _, reason in refused] == [True] * len(refused)
    assert desk.focalscope.requests == 0


async def test_an_order_that_cannot_be_placed_is_refused_with_its_key(desk: Office) -> None:
    issued = {"source": "line-900", "destination": "911", "campaign": "G"}
    refused: tuple[tuple[Any, str], ...] = (
        ([], "expected an object"),
        ({}, "source is missing"),
        ({"source": "desk"}, "destination is missing"),
        ({"source": "desk", "destination": "call me"}, "destination is 'call me', expected a number"),
        ({"source": "desk", "destination": 911}, "destination is a JSON int"),
        ({"source": "desk", "destination": "911", "agent": "1", "extra": 1}, "extra: unknown key"),
        ({"source": "nobody", "destination": "911"}, "expected one that can place calls: desk, line-900"),
        ({"source": "desk", "destination": "911"}, "agent is missing"),
        ({"source": "desk", "destination": "911", "agent": "1", "variables": {"A": "b"}}, "no {variables.A}"),
        ({"source": "line-900", "destination": "911"}, "campaign is missing"),
        (issued | {"caller_number": "55"}, "caller_number is none of the source's lines"),
        (issued | {"variables": {"A-B": "c"}}, "variables.'A-B'"),
        (issued | {"variables": {"A": "€"}}, "variables.A"),
        (issued | {"variables": {"A": 1}}, "variables.A is"),
    )
    for body, reason in refused:
        async with await desk.post(body) as answer:
            assert answer.status == 400, body
            assert reason in (await answer.json())["error"]
    async with await desk.post(issued, "ñ") as answer:
        assert answer.status == 400


async def test_a_key_for_another_order_is_a_conflict(desk: Office) -> None:
    await desk.dial(key="k")
    async with await desk.post({"source": "desk", "destination": "911", "agent": "2"}, "k") as answer:
        assert answer.status == 409
        assert "another request" in (await answer.json())["error"]


async def test_a_dial_that_is_not_there_and_a_stranger_are_told_so(desk: Office) -> None:
    headers = {"Authorization": "Bearer nonsense"}
    async with desk.hub.session.post(desk.hub.url / "v1/dial", json={}, headers=headers) as answer:
        assert answer.status == 401
    with pytest.raises(AssertionError, match="no such dial"):
        await desk.state("7cf7fa49-a8d2-4840-8bc6-0e07ae7289fa")


async def test_the_ledger_has_the_dials(desk: Office) -> None:
    await desk.becomes(await desk.dial(), "accepted")
    ledger = (await desk.hub.read("/v1/ledger"))["workers"]["dial"]
    assert ledger == {"accepted": 1, "settled": 1, "dead": 0, "in_flight": 0, "unaccounted": []}
