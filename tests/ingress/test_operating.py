"""The operator verbs over HTTP: dead letters and the quarantine of a whole embedded hub."""

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest

from hub.config import Settings
from hub.disk import Narrow
from hub.events import Message, identity
from hub.operating.quarantine import Quarantine
from hub.parts import make_bus, make_disk
from hub.wiring import make_gates
from tests.hub import ADMIN, FAST, LINE, Hub, body, configuration, fin, running, until

BEARER: Final = {"Authorization": f"Bearer {ADMIN}"}
WRONG: Final = {"line-900": {"vendor": "infocaller", "tokens": ["t0ken-of-line-900"], "lines": {LINE: "9999"}}}
NO_SUCH: Final = "5f5f5f5f-0000-4000-8000-000000000000"


async def post(hub: Hub, path: str, asked: Any = None, expect: int = 200) -> Any:
    data = asked if isinstance(asked, bytes) else orjson.dumps(asked)
    async with hub.session.post(f"{hub.url}{path}", data=data, headers=BEARER) as answer:
        told = orjson.loads(await answer.read())
        assert answer.status == expect, told
        return told


async def get(hub: Hub, path: str, expect: int) -> Any:
    async with hub.session.get(f"{hub.url}{path}", headers=BEARER) as answer:
        assert answer.status == expect, await answer.text()
        return orjson.loads(await answer.read())


def impatient(directory: Path) -> Settings:
    """A hub that takes a request id for a new call's after a tenth of a second: what comes later is a dead letter."""
    return configuration(directory, calls={"longest": 0.1})


def fixed(directory: Path) -> Settings:
    return configuration(directory, calls=FAST)


async def late_legs(hub: Hub, count: int) -> list[str]:
    """Legs that come too late for an impatient hub; the ids of their events."""
    leg = "CallType=Outgoing&Event=start&RequestID=7&EventCode=1&CallID={}"
    assert (await hub.focalscope(leg.format(0))).status == 200
    await until(hub.calls)
    await asyncio.sleep(0.15)  # the time that passes is the case
    return [orjson.loads(await (await hub.focalscope(leg.format(n + 1))).read())["event_id"] for n in range(count)]


async def dead(hub: Hub, count: int) -> list[dict[str, Any]]:
    """The dead letters, once there are so many."""

    async def look() -> Any:
        items = (await hub.read("/v1/dead-letters?limit=1000"))["items"]
        return items if len(items) == count else None

    found: list[dict[str, Any]] = await until(look)
    return found


async def settled(hub: Hub, count: int) -> Mapping[str, Any]:
    """The books, once nothing is dead or in flight."""

    async def look() -> Any:
        books = (await hub.read("/v1/ledger"))["workers"]["persistence"]
        done = (books["dead"], books["in_flight"]) == (0, 0) and books["settled"] >= count
        return books if done else None

    return await until(look)


async def poison(hub: Hub, count: int, **headers: str) -> list[str]:
    """Messages that are no events of ours; their ids."""
    messages = [Message("call.their.ended", {"ce-id": str(uuid4()), **headers}, b"not json") for _ in range(count)]
    await hub.process.bus.publish(messages)
    return [message.id for message in messages]


# --- dead letters ----------------------------------------------------------------------------------------------------


async def test_a_poisonous_event_is_parked_shown_and_after_the_fix_requeued_and_settled(tmp_path: Path) -> None:
    async with running(impatient(tmp_path)) as hub:
        (event_id,) = await late_legs(hub, 1)
        (item,) = await dead(hub, 1)
        assert item == item | {
            "worker": "persistence",
            "event_id": event_id,
            "routing_key": "call.focalscope.started",
            "type": "call.started",
            "vendor": "focalscope",
            "source": "desk",
            "reason": "request_id_reused",
            "attempt": 1,
        }
        assert item["data"]["vendor_data"]
        whole = await hub.read(f"/v1/dead-letters/persistence/{event_id}")
        assert whole == whole | item
        assert whole["attempts"] == [{"attempt": 1, "at": item["died_at"], "reason": "request_id_reused"}]
        assert whole["headers"]["ce-id"] == event_id
    async with running(fixed(tmp_path)) as hub:
        report = await post(hub, "/v1/dead-letters/requeue", {"worker": "persistence", "ids": [event_id, NO_SUCH]})
        assert report == {
            "worker": "persistence",
            "action": "requeue",
            "dry_run": False,
            "chosen": 1,
            "done": 1,
            "ids": [event_id],
            "missing": [NO_SUCH],
        }
        await settled(hub, 2)
        (call,) = await hub.calls()
        assert len(call["legs"]) == 2


async def test_a_thousand_dead_letters_are_requeued_by_a_filter_at_a_rate(tmp_path: Path) -> None:
    async with running(impatient(tmp_path)) as hub:
        sent = await late_legs(hub, 1000)
        assert len(await dead(hub, 1000)) == len(set(sent))
    async with running(fixed(tmp_path)) as hub:
        others = await poison(hub, 3)
        await dead_are(hub, 1003)
        asked = {"worker": "persistence", "filter": {"reason": "REUSED", "source": "desk"}, "limit": 5000, "rate": 1000}
        would = await post(hub, "/v1/dead-letters/requeue", asked)
        assert (would["dry_run"], would["chosen"], would["done"]) == (True, 1000, 0)
        assert set(would["ids"]) == set(sent)
        began = asyncio.get_running_loop().time()
        report = await post(hub, "/v1/dead-letters/requeue", {**asked, "dry_run": False})
        assert (report["chosen"], report["done"]) == (1000, 1000)
        assert asyncio.get_running_loop().time() - began >= 0.4, "the last slice waits for those before it"
        left = await dead(hub, 3)
        assert {item["event_id"] for item in left} == set(others)
        assert (await post(hub, "/v1/dead-letters/discard", {"worker": "persistence", "ids": others}))["done"] == 3
        await settled(hub, 1001)


async def dead_are(hub: Hub, count: int) -> None:
    async def look() -> bool:
        return bool((await hub.read("/v1/ledger"))["workers"]["persistence"]["dead"] == count)

    await until(look)


async def test_a_filter_alone_changes_nothing(hub: Hub) -> None:
    ids = await poison(hub, 2)
    await dead(hub, 2)
    for verb in ("requeue", "discard"):
        would = await post(hub, f"/v1/dead-letters/{verb}", {"worker": "persistence", "filter": {}})
        assert (would["dry_run"], would["done"], would["ids"]) == (True, 0, ids)
    assert len(await dead(hub, 2)) == 2


async def test_what_is_discarded_is_gone_and_the_rest_stays(hub: Hub) -> None:
    first, second = await poison(hub, 2)
    await dead(hub, 2)
    assert (await post(hub, "/v1/dead-letters/discard", {"worker": "persistence", "ids": [first]}))["done"] == 1
    (left,) = await dead(hub, 1)
    assert left["event_id"] == second
    assert b64decode(left["body_base64"]) == b"not json"
    assert left["reason"].endswith("no header ce-specversion, which every event has")
    assert (await get(hub, f"/v1/dead-letters/persistence/{first}", 404))["error"] == "no such dead letter"
    assert (await get(hub, f"/v1/dead-letters/nobody/{second}", 404))["error"] == "no such dead letter"


async def test_dead_letters_are_narrowed_and_paged(hub: Hub) -> None:
    theirs = await poison(hub, 3, **{"ce-source": "/their/pbx", "ce-type": "trunkline.call.ended.v1"})
    await poison(hub, 4)
    await dead(hub, 7)
    for query in ("source=pbx", "vendor=their", "type=call.ended", "type=trunkline.call.ended.v1"):
        seen: list[str] = []
        after = ""
        while True:
            page = await hub.read(f"/v1/dead-letters?worker=persistence&limit=2&{query}&after={after}")
            assert len(page["items"]) <= 2
            seen += [item["event_id"] for item in page["items"]]
            after = page["next"]
            if not after:
                break
        assert seen == theirs
    assert (await hub.read("/v1/dead-letters?reason=nothing%20like%20it"))["items"] == []


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (b"{", "no JSON"),
        (b"[]", "no object"),
        ({"worker": "persistence"}, "either"),
        ({"worker": "persistence", "ids": ["x"], "filter": {}}, "either"),
        ({"worker": "persistence", "ids": []}, "at least one"),
        ({"worker": "persistence", "ids": [1]}, "list of texts"),
        ({"worker": "persistence", "filter": {"colour": "red"}}, "reason, vendor, source, type"),
        ({"worker": "persistence", "filter": {"reason": 1}}, "texts"),
        ({"worker": "persistence", "filter": {}, "limit": 0}, "from 1 to 10000"),
        ({"worker": "persistence", "filter": {}, "rate": 0}, "more than 0"),
        ({"worker": "persistence", "filter": {}, "dry_run": "no"}, "neither true nor false"),
        ({"worker": "persistence", "filter": {}, "force": True}, "'force' is not known"),
        ({"worker": "nobody", "filter": {}}, "expected one of crm, dial, persistence, recordings, respool"),
        ({"filter": {}}, "worker is missing"),
    ],
)
async def test_what_is_not_understood_is_refused_and_says_why(hub: Hub, asked: Any, complaint: str) -> None:
    for verb in ("requeue", "discard"):
        assert complaint in (await post(hub, f"/v1/dead-letters/{verb}", asked, 400))["error"]


async def test_a_cursor_of_nobodys_is_refused(hub: Hub) -> None:
    await poison(hub, 1)
    await dead(hub, 1)
    for rubbish in ("x", "%00", "bnVsbA", "WyJhIiwiYiJd", "WyJwZXJzaXN0ZW5jZSIsIngiXQ", "ñ"):
        told = await get(hub, f"/v1/dead-letters?after={rubbish}", 400)
        assert told["error"] == "after is not a cursor of an earlier answer"
    for path in ("/v1/dead-letters?worker=nobody", "/v1/dead-letters?limit=x", "/v1/quarantine?after=x"):
        await get(hub, path, 400)


async def test_the_verbs_are_behind_the_token(hub: Hub) -> None:
    for path in ("dead-letters/requeue", "dead-letters/discard", "quarantine/retry", f"quarantine/{NO_SUCH}/retry"):
        async with hub.session.post(f"{hub.url}/v1/{path}", data=b"{}") as answer:
            assert answer.status == 401
    async with hub.session.get(f"{hub.url}/v1/dead-letters") as answer:
        assert answer.status == 401


# --- the quarantine --------------------------------------------------------------------------------------------------


async def test_a_wrong_password_in_the_configuration_loses_no_callback(tmp_path: Path) -> None:
    async with running(configuration(tmp_path, sources=WRONG)) as hub:
        for n in range(20):
            assert (await hub.infocaller("inicio", body(str(n)))).status == 422
            assert (await hub.infocaller("fin", fin(str(n)), query="caller=600000000")).status == 422
        would = await post(hub, "/v1/quarantine/retry", {"filter": {"reason": "signature"}})
        assert {item["reason"] for item in would["items"]} == {"signature"}, "nothing is better yet"
        before = {item["quarantine_id"]: item for item in (await hub.read("/v1/quarantine?limit=100"))["items"]}
    async with running(configuration(tmp_path)) as hub:
        asked = {"filter": {"reason": "signature", "source": "line-900"}}
        would = await post(hub, "/v1/quarantine/retry", asked)
        assert (would["dry_run"], would["chosen"], would["done"]) == (True, 40, 0)
        assert {item["status"] for item in would["items"]} == {"accepted"}
        assert len((await hub.read("/v1/quarantine?limit=100"))["items"]) == 40
        report = await post(hub, "/v1/quarantine/retry", {**asked, "dry_run": False})
        assert (report["chosen"], report["done"], report["missing"]) == (40, 40, [])
        assert [item["event_ids"] for item in report["items"]] == [item["event_ids"] for item in would["items"]]
        assert (await hub.read("/v1/quarantine"))["items"] == []
        for n in range(20):
            call = await hub.sealed(identity("infocaller", "line-900", LINE, str(n)))
            assert (call["disposition"], call["duration_seconds"], call["revision"]) == ("answered", 42, 2)
        kept = [event for event in await events(hub) if event["type"].startswith("trunkline.call.started")]
        assert len(kept) == 20
        assert {event["data"]["received_at"] for event in kept} <= {item["received_at"] for item in before.values()}


async def events(hub: Hub) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await hub.read("/v1/events?limit=1000"))["items"]
    return items


async def test_a_request_that_is_still_unusable_stays_and_says_why(hub: Hub) -> None:
    told = orjson.loads(await (await hub.infocaller("fin", body("1", signature="f" * 32))).read())
    path = f"/v1/quarantine/{told['quarantine_id']}"
    answer = await post(hub, f"{path}/retry", expect=422)
    assert (answer["status"], answer["reason"]) == ("quarantined", "signature")
    report = await post(hub, "/v1/quarantine/retry", {"ids": [told["quarantine_id"], NO_SUCH]})
    assert (report["done"], report["missing"]) == (0, [NO_SUCH])
    assert report["items"][0]["detail"] == answer["detail"]
    assert (await get(hub, path, 200))["reason"] == "signature"
    await post(hub, f"/v1/quarantine/{NO_SUCH}/retry", expect=404)
    await post(hub, "/v1/quarantine/rubbish/retry", expect=404)


async def test_a_retried_request_whose_event_was_accepted_before_is_the_same_event(tmp_path: Path) -> None:
    async with running(configuration(tmp_path, sources=WRONG)) as hub:
        told = orjson.loads(await (await hub.infocaller("fin", fin())).read())
    async with running(configuration(tmp_path)) as hub:
        accepted = orjson.loads(await (await hub.infocaller("fin", fin())).read())
        answer = await post(hub, f"/v1/quarantine/{told['quarantine_id']}/retry")
        assert answer == {
            "quarantine_id": told["quarantine_id"],
            "source": "line-900",
            "status": "accepted",
            "event_ids": [accepted["event_id"]],
        }
        call = await hub.sealed(identity("infocaller", "line-900", LINE, "98565656"))
        assert call["revision"] == 1
        await get(hub, f"/v1/quarantine/{told['quarantine_id']}", 404)


async def test_a_request_of_a_source_that_is_configured_no_more_stays(tmp_path: Path) -> None:
    async with running(configuration(tmp_path)) as hub:
        told = orjson.loads(await (await hub.focalscope("Event=unheard")).read())
    settings = configuration(tmp_path)
    without = settings.model_copy(update={"sources": {"line-900": settings.sources["line-900"]}})
    async with running(without) as hub:
        answer = await post(hub, f"/v1/quarantine/{told['quarantine_id']}/retry", expect=422)
        assert (answer["reason"], answer["detail"]) == ("unknown_source", "sources.desk is not configured")


async def test_what_is_discarded_makes_room_for_its_source(tmp_path: Path) -> None:
    async with running(configuration(tmp_path, outbox={"quarantine_bytes": 2000})) as hub:
        statuses = [(await hub.infocaller("fin", body(str(n), signature="x"))).status for n in range(8)]
        assert statuses[0] == 422
        assert statuses[-1] == 503
        assert (await hub.focalscope("Event=unheard")).status == 422, "each source has its own share"
        full = statuses.count(422)
        would = await post(hub, "/v1/quarantine/discard", {"filter": {"source": "line-900"}})
        assert (would["chosen"], would["done"]) == (full, 0)
        assert (await hub.infocaller("fin", body("9", signature="x"))).status == 503
        asked = {"filter": {"source": "line-900", "reason": "signature"}, "dry_run": False}
        assert (await post(hub, "/v1/quarantine/discard", asked))["done"] == full
        (left,) = (await hub.read("/v1/quarantine"))["items"]
        assert left["source"] == "desk"
        again = [(await hub.infocaller("fin", body(str(n), signature="x"))).status for n in range(8)]
        assert again == statuses


async def test_what_cannot_be_published_stays_in_quarantine(tmp_path: Path) -> None:
    async with running(configuration(tmp_path, sources=WRONG)) as hub:
        assert (await hub.infocaller("fin", fin())).status == 422
    settings = configuration(tmp_path)
    disk, bus = make_disk(settings), make_bus(settings)  # that bus was never opened
    await disk.start()
    decoders = {name: gate.decoder for name, gate in make_gates(settings).items()}
    report = await Quarantine(disk, bus, decoders).retry(Narrow())
    assert [(verdict.reason, report.done) for verdict in report.verdicts] == [("not_durable", 0)]
    assert len(await disk.find(Narrow(), 10)) == 1
    await disk.close()


async def test_the_quarantine_is_narrowed_by_source_and_reason(hub: Hub) -> None:
    assert (await hub.infocaller("fin", body("1", signature="x"))).status == 422
    assert (await hub.infocaller("unheard", body("1"))).status == 422
    assert (await hub.focalscope("Event=unheard")).status == 422
    for query, count in (("source=line-900", 2), ("reason=event", 2), ("source=line-900&reason=event", 1), ("", 3)):
        assert len((await hub.read(f"/v1/quarantine?{query}"))["items"]) == count
