"""uContact's webhooks through a whole hub: what becomes a record, what is only kept, what is quarantined."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.events import identity
from hub.simulator.audio import wav
from hub.simulator.ucontact import UContact, serving
from tests.hub import Hub, configuration, running, until
from tests.vendors.ucontact.test_callbacks import BREAK, GUID, LOGIN, RING, of_a_call

CALL_ID = identity("ucontact", "cloud", GUID)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    cloud = {
        "vendor": "ucontact",
        "tokens": ["T0KEN"],
        "base_url": "https://instance.ucontactcloud.com",
        "dispositions": {"No contesta": "no_answer"},
    }
    async with running(configuration(tmp_path, sources={"cloud": cloud})) as started:
        yield started


async def post(hub: Hub, body: Any, token: str = "T0KEN") -> tuple[int, dict[str, Any]]:
    content = {"data": body} if isinstance(body, str) else {"json": body}
    async with hub.session.post(hub.url / "callbacks" / "cloud" / token, **content) as answer:
        return answer.status, await answer.json()


async def kept(hub: Hub, *ids: str) -> list[dict[str, Any]]:
    """The events of these ids, once all are kept."""

    async def look() -> list[dict[str, Any]] | None:
        items = (await hub.read("/v1/events?limit=1000"))["items"]
        found = [item for item in items if item["id"] in ids]
        return found if len(found) == len(ids) else None

    return await until(look)


async def test_an_interaction_becomes_a_sealed_record_and_a_later_disposition_reseals_it(hub: Hub) -> None:
    status, said = await post(hub, of_a_call(campaign="Demo<-", agent="agentTest", contactId="8821"))
    assert (status, said["status"]) == (200, "accepted")
    assert await post(hub, of_a_call(campaign="Demo<-", agent="agentTest", contactId="8821")) == (status, said)
    record = await hub.sealed(CALL_ID)
    assert (record["state"], record["disposition"], record["campaign"]) == ("ended", "unknown", "Demo<-")
    assert (record["contact"], record["agent"], record["vendor_ids"]) == ("8821", {"name": "agentTest"}, {"guid": GUID})
    assert (record["sealed"]["verdict"], record["revision"]) == ("complete", 1)
    await post(hub, of_a_call("SentDisposition", disposition="No contesta", agent="agentTest"))
    record = await hub.call(CALL_ID, lambda found: found["revision"] == 2)
    assert record["disposition"] == "no_answer"
    timeline = await hub.read(f"/v1/calls/{CALL_ID}/timeline")
    assert [item["type"] for item in timeline["items"]][:1] == ["trunkline.call.ended.v1"]


async def test_the_audio_of_a_call_is_looked_for_in_its_four_places_and_the_session_ends_with_the_hub(
    tmp_path: Path,
) -> None:
    vendor = UContact(audio={GUID: wav(GUID, 1.0)}, place="backup")
    async with serving(vendor) as url:
        cloud = {
            "vendor": "ucontact",
            "tokens": ["T0KEN"],
            "base_url": url,
            "user": vendor.user,
            "password": vendor.password,
            "recording_urls": [
                f"{url}/recordings/{place}/{{guid}}" for place in ("live", "monitor", "archive", "backup")
            ],
        }
        settings = configuration(
            tmp_path,
            sources={"cloud": cloud},
            recordings={"url": f"file://{tmp_path}/recordings"},
            egress={"allow": ["127.0.0.0/8"]},
        )
        async with running(settings) as hub:
            assert (await post(hub, of_a_call()))[0] == 200
            record = await hub.call(CALL_ID, lambda found: [one["state"] for one in found["recordings"]] == ["stored"])
            assert record["recordings"][0]["bytes"] == len(vendor.audio[GUID])
        assert (vendor.logins, len(vendor.ended), vendor.sessions) == (1, 1, set())


async def test_events_of_agents_and_of_calls_that_nothing_names_are_kept_and_make_no_record(hub: Hub) -> None:
    answers = [await post(hub, body) for body in (LOGIN, BREAK, RING)]
    assert [status for status, _ in answers] == [200, 200, 200]
    items = await kept(hub, *(said["event_id"] for _, said in answers))
    told = {item["type"]: item["data"] for item in items}
    assert told.keys() == {
        *("trunkline.agent.login.v1", "trunkline.agent.break_started.v1", "trunkline.call.missed.v1"),
    }
    assert {(item["source"], item["subject"]) for item in items} == {("/ucontact/cloud", None)}
    assert told["trunkline.call.missed.v1"]["vendor_data"]["date"] == "2023-48-13 06:48:51"
    assert await hub.calls() == []

    async def settled() -> bool:
        ledger = await hub.read("/v1/ledger")
        worker = ledger["workers"]["persistence"]
        return bool(worker["settled"] == worker["accepted"] >= 3 and not worker["unaccounted"])

    await until(settled)


async def test_what_cannot_be_used_is_quarantined_with_its_reason_and_a_wrong_token_keeps_nothing(hub: Hub) -> None:
    for body, reason in (
        ({"event": "CallStarted", "guid": "1"}, "event"),
        ("<xml/>", "undecodable"),
        ({"event": "FinishInteraction"}, "identity"),
    ):
        status, said = await post(hub, body)
        assert (status, said["status"], said["reason"]) == (422, "quarantined", reason)
    assert (await post(hub, LOGIN, token="other"))[0] == 401
    assert len((await hub.read("/v1/quarantine"))["items"]) == 3
