"""``POST /v1/replay`` of a whole embedded hub."""

from typing import Any

import orjson
import pytest

from hub.events import ONCE, REPLAY, identity
from hub.ports import QueueSpec
from tests.contract.buses import receive
from tests.hub import LINE, Hub, body, fin
from tests.ingress.test_operating import NO_SUCH, post

THEIRS = QueueSpec("my.app", ("call.*.sealed",))
CALL = identity("infocaller", "line-900", LINE, "1")


async def called(hub: Hub) -> list[str]:
    """Two calls of two events each, sealed; the ids of their callbacks' events."""
    await hub.process.bus.declare([THEIRS])
    told = []
    for n in (1, 2):
        for event, payload in (("inicio", body(str(n))), ("fin", fin(str(n)))):
            told.append(orjson.loads(await (await hub.infocaller(event, payload)).read())["event_id"])
        await hub.sealed(identity("infocaller", "line-900", LINE, str(n)))
    return told


async def test_a_filter_alone_changes_nothing_and_what_is_meant_goes_to_that_queue_alone(hub: Hub) -> None:
    told = await called(hub)
    asked: dict[str, Any] = {"queue": THEIRS.name, "filter": {"type": "call.ended"}}
    would = await post(hub, "/v1/replay", asked)
    assert would == {
        "target": "my.app",
        "queue": "my.app",
        "again": False,
        "dry_run": True,
        "chosen": 2,
        "published": 2,
        "skipped": 0,
        "not_taken": {},
        "missing": [],
        "next": "",
    }
    done = await post(hub, "/v1/replay", {**asked, "dry_run": False})
    assert (done["dry_run"], done["published"]) == (False, 2)
    subscription = hub.process.bus.subscribe(THEIRS.name, 10)
    got = [one.message for one in await receive(subscription, 4)]
    await subscription.close()
    replays = [one for one in got if REPLAY in one.headers]
    assert [one.id for one in replays] == [told[1], told[3]]
    assert {one.headers[REPLAY] for one in replays} == {ONCE}


async def test_ids_are_done_at_once_and_persistence_knows_them(hub: Hub) -> None:
    told = await called(hub)
    before = await hub.calls()
    report = await post(hub, "/v1/replay", {"worker": "persistence", "ids": [*told, NO_SUCH]})
    assert (report["published"], report["missing"]) == (4, [NO_SUCH])
    report = await post(hub, "/v1/replay", {"worker": "persistence", "filter": {"call": CALL}, "dry_run": False})
    assert report["published"] >= 2
    ledger = await hub.read("/v1/ledger")
    assert ledger["callbacks"]["duplicate"] == 0, "no vendor said it twice"
    assert await hub.calls() == before


async def test_a_limit_says_where_to_go_on(hub: Hub) -> None:
    await called(hub)
    asked: dict[str, Any] = {"queue": THEIRS.name, "filter": {"type": "call.ended"}, "limit": 1, "dry_run": False}
    first = await post(hub, "/v1/replay", asked)
    assert (first["chosen"], first["published"]) == (2, 1)
    rest = await post(hub, "/v1/replay", {**asked, "limit": 1000, "after": first["next"]})
    assert (rest["published"], rest["next"]) == (1, "")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"filter": {}}, "either a worker or a queue"),
        ({"worker": "persistence", "queue": "my.app", "filter": {}}, "either a worker or a queue"),
        ({"worker": "nobody", "filter": {}}, "expected one of crm, dial, persistence, recordings, respool"),
        ({"queue": "trunkline.unrouted", "filter": {}}, "expected a worker's or one of your own"),
        ({"worker": "persistence"}, "either"),
        ({"worker": "persistence", "filter": {"reason": "x"}}, "call, vendor, source, type, since, until"),
        ({"worker": "persistence", "filter": {"since": "noon"}}, "since is 'noon', expected a time like"),
        ({"worker": "persistence", "filter": {"until": "2026-11-20T09:15:30"}}, "expected a time like"),
        ({"worker": "persistence", "filter": {}, "after": "x"}, "after is not the next of an earlier answer"),
        ({"worker": "persistence", "filter": {}, "again": "yes"}, "again is neither true nor false"),
        ({"worker": "persistence", "filter": {}, "rate": 0}, "more than 0"),
        ({"worker": "persistence", "ids": ["x"] * 10_001}, "expected 10000 at most"),
    ],
)
async def test_what_is_not_understood_is_refused_and_says_why(hub: Hub, asked: Any, complaint: str) -> None:
    assert complaint in (await post(hub, "/v1/replay", asked, 400))["error"]


async def test_a_queue_that_is_not_there_is_said(hub: Hub) -> None:
    answer = await post(hub, "/v1/replay", {"queue": "nobodys.queue", "filter": {}}, 503)
    assert answer == {"error": "there is no queue nobodys.queue"}


async def test_the_verb_is_behind_the_token(hub: Hub) -> None:
    async with hub.session.post(f"{hub.url}/v1/replay", data=b"{}") as answer:
        assert answer.status == 401
