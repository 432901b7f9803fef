"""The answers to a callback: which, in which order, and what is kept of each."""

import asyncio
import base64
import gzip
import io
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import orjson
import pytest
from aiohttp import ClientSession
from yarl import URL

from hub.events import identity
from hub.parts import ROLES
from tests.hub import ADMIN, DESK_TOKEN, TOKEN, Hub, body, configuration, fin, running, until
from tests.servers.ports import free_port, release_port

CALL = identity("infocaller", "line-900", "123456789", "98565656")


async def post(hub: Hub, path: str, data: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
    async with hub.session.post(URL(f"{hub.url}{path}", encoded=True), data=data, headers=headers) as answer:
        content = await answer.read()
        assert len(content) <= 1024
        return answer.status, orjson.loads(content)


async def test_an_accepted_callback_is_answered_with_its_event_and_becomes_a_record(hub: Hub) -> None:
    answer = await hub.infocaller("fin", fin())
    told = await answer.json()
    assert (answer.status, told["status"]) == (200, "accepted")
    record = await hub.call(CALL)
    assert (record["state"], record["duration_seconds"], record["cost"]) == (
        "ended",
        42,
        {"received": "0.120000", "issued": "0.000000"},
    )
    assert record["caller"] == {"number": "911888920", "e164": "+34911888920"}
    events = await hub.read("/v1/events")
    assert told["event_id"] in [event["id"] for event in events["items"]]


async def test_the_same_callback_again_is_the_same_event_and_answered_alike(hub: Hub) -> None:
    first = await (await hub.infocaller("fin", fin())).json()
    again = await hub.infocaller("fin", fin())
    assert (again.status, await again.json()) == (200, first)
    assert (await hub.call(CALL))["revision"] == 1


async def test_a_url_over_32_kib_is_414_before_anything_else(hub: Hub) -> None:
    for size in (33_000, 200_000):
        answer = await hub.infocaller("fin", query="x=" + "a" * size, token="wrong")
        assert answer.status == 414
        assert (await answer.json())["status"] == "refused"


async def test_a_url_of_30_kib_is_read(hub: Hub) -> None:
    answer = await hub.infocaller("fin", query="num=900&id=1&x=" + "a" * 30_000)
    assert answer.status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_1_mib_is_413_before_the_token_is_looked_at(hub: Hub, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(17):
            yield b"x" * 65536

    data = pieces() if chunked else io.BytesIO(b"x" * (1024 * 1024 + 1))
    async with hub.session.post(f"{hub.url}/callbacks/line-900/wrong/fin", data=data) as answer:
        assert answer.status == 413


async def test_a_body_of_exactly_1_mib_is_read(hub: Hub) -> None:
    status, told = await post(hub, f"/callbacks/line-900/{TOKEN}/fin", b"x" * 1024 * 1024)
    assert (status, told["reason"]) == (422, "undecodable")


@pytest.mark.parametrize(
    "path", ["/callbacks/nobody/t/fin", "/callbacks/line-900/wrong/fin", f"/callbacks/desk/{TOKEN}"]
)
async def test_an_unknown_source_and_a_wrong_token_have_one_answer(hub: Hub, path: str) -> None:
    assert await post(hub, path) == (401, {"status": "refused", "detail": "unknown source or wrong token"})


async def test_both_tokens_of_a_rotation_are_valid(hub: Hub) -> None:
    for token in (TOKEN, "an0ther"):
        assert (await hub.infocaller("fin", fin(), token=token)).status == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
async def test_another_method_is_405_and_makes_no_event(hub: Hub, method: str) -> None:
    url = f"{hub.url}/callbacks/line-900/{TOKEN}/fin?num=900&id=1"
    async with hub.session.request(method, url) as answer:
        assert answer.status == 405
    assert (await hub.read("/v1/events"))["items"] == []


async def test_an_address_that_is_not_allowed_is_403_and_a_trusted_proxy_names_it(tmp_path: Path) -> None:
    source = {"vendor": "infocaller", "tokens": [TOKEN], "allow": ["192.0.2.0/24"]}
    settings = configuration(
        tmp_path, sources={"line-900": source}, http={"port": 0, "trusted_proxies": ["127.0.0.0/8"]}
    )
    async with running(settings) as hub:
        url = f"{hub.url}/callbacks/line-900/{TOKEN}/inicio?num=900&id=1"
        for forwarded, status in [
            (None, 403),
            ("192.0.2.7", 200),
            ("192.0.2.7, 127.0.0.1", 200),
            ("192.0.2.7, 198.51.100.1", 403),  # what a stranger wrote before a hop that is not ours counts for nothing
            ("rubbish", 403),
        ]:
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            async with hub.session.get(url, headers=headers) as answer:
                assert answer.status == status, forwarded


async def test_x_forwarded_for_of_a_stranger_is_ignored(tmp_path: Path) -> None:
    source = {"vendor": "infocaller", "tokens": [TOKEN], "allow": ["192.0.2.0/24"]}
    async with running(configuration(tmp_path, sources={"line-900": source})) as hub:
        url = f"{hub.url}/callbacks/line-900/{TOKEN}/inicio?num=900&id=1"
        async with hub.session.get(url, headers={"X-Forwarded-For": "192.0.2.7"}) as answer:
            assert answer.status == 403


WRONG_SIGNATURE = orjson.dumps(body(signature="0" * 32))
WRONG_LINE = orjson.dumps(body(line="999999999"))
NO_SEQUENCE = orjson.dumps(body(""))


@pytest.mark.parametrize(
    ("event", "content", "reason"),
    [
        ("nothing", b"{", "event"),
        ("nothing", WRONG_SIGNATURE, "event"),
        ("", orjson.dumps(body()), "event"),
        ("fin", b"{", "undecodable"),
        ("fin", b"\x00\x01\x02", "undecodable"),
        ("fin", b'{"ApiCall": {"UserID": {"LineNumber"', "undecodable"),
        ("fin", b"<ApiCall><UserID></ApiCall>", "undecodable"),
        ("fin", b'<!DOCTYPE a [<!ENTITY a "b">]><ApiCall>&a;</ApiCall>', "undecodable"),
        ("fin", b"[" * 100_000, "undecodable"),
        ("fin", b'{"a":' * 100_000, "undecodable"),
        ("fin", b"<a>" * 100_000, "undecodable"),
        ("fin", gzip.compress(orjson.dumps(body()), mtime=0), "undecodable"),
        ("fin", b"nothing=of&interest=", "undecodable"),
        ("fin", b"apiInfocaller=%7B%7D&apiInfocaller=%7B%22a%22%3A1%7D", "undecodable"),
        ("fin", WRONG_SIGNATURE, "signature"),
        ("fin", WRONG_LINE, "signature"),
        ("fin", NO_SEQUENCE, "identity"),
        ("fin", b"", "identity"),
    ],
)
async def test_what_cannot_be_used_is_quarantined_byte_for_byte_with_the_first_reason(
    hub: Hub, event: str, content: bytes, reason: str
) -> None:
    path = f"/callbacks/line-900/{TOKEN}/{event}".rstrip("/") + "?caller=911888920"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, told = await post(hub, path, content, **headers)
    assert (status, told["status"], told["reason"]) == (422, "quarantined", reason)
    [item] = (await hub.read("/v1/quarantine"))["items"]
    assert base64.b64decode(item["body_base64"]) == content
    assert (item["quarantine_id"], item["source"], item["reason"], item["method"]) == (
        told["quarantine_id"],
        "line-900",
        reason,
        "POST",
    )
    assert item["url"] == path.replace(TOKEN, "…")
    assert item["headers"]["Content-Type"] == headers["Content-Type"]
    assert await hub.calls() == []

    async def announced() -> Any:
        events = (await hub.read("/v1/events"))["items"]
        return next((one for one in events if one["type"] == "trunkline.callback.quarantined.v1"), None)

    event_data = (await until(announced))["data"]
    assert (event_data["quarantine_id"], event_data["reason"]) == (told["quarantine_id"], reason)


async def test_a_url_in_a_proxys_form_is_kept_without_its_token_too(hub: Hub) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)
    target = f"{hub.url}/callbacks/line-900/{TOKEN}/fin?caller=911888920"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 422")
    writer.close()
    [kept] = (await hub.read("/v1/quarantine"))["items"]
    assert kept["url"] == "/callbacks/line-900/…/fin?caller=911888920"


async def test_a_source_that_refuses_bad_signatures_answers_401_and_keeps_nothing(tmp_path: Path) -> None:
    source = {"vendor": "infocaller", "tokens": [TOKEN], "lines": {"123456789": "3956"}, "bad_signature": "refuse"}
    async with running(configuration(tmp_path, sources={"line-900": source})) as hub:
        for event in ("fin", "nothing"):
            for content in (WRONG_SIGNATURE, WRONG_LINE):
                assert (await post(hub, f"/callbacks/line-900/{TOKEN}/{event}", content))[0] == 401
        assert (await hub.read("/v1/quarantine"))["items"] == []
        assert (await hub.infocaller("fin", fin())).status == 200


async def test_url_variables_alone_are_proved_by_the_token_unless_a_signature_is_required(tmp_path: Path) -> None:
    source = {"vendor": "infocaller", "tokens": [TOKEN], "lines": {"123456789": "3956"}, "require_signature": True}
    async with running(configuration(tmp_path, sources={"line-900": source})) as hub:
        answer = await hub.infocaller("fin", query="num=123456789&id=1")
        assert (answer.status, (await answer.json())["reason"]) == (422, "signature")


async def test_a_full_quarantine_is_503_with_retry_after_and_other_sources_are_not_affected(tmp_path: Path) -> None:
    settings = configuration(tmp_path, outbox={"path": str(tmp_path / "outbox.db"), "quarantine_bytes": 3000})
    async with running(settings) as hub:
        statuses = []
        for n in range(12):
            async with hub.session.post(
                f"{hub.url}/callbacks/line-900/{TOKEN}/fin", data=b"{" + str(n).encode() * 200
            ) as answer:
                statuses.append(answer.status)
                if answer.status == 503:
                    assert int(answer.headers["Retry-After"]) > 0
        assert statuses[0] == 422
        assert statuses[-1] == 503
        assert (await hub.focalscope("Event=nothing&CallID=1")).status == 422
        assert (await hub.infocaller("fin", fin())).status == 200


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("Event=pickup", "identity"),
        ("Event=pickup&RequestID=0", "identity"),
        ("Event=pickup&CallID={{CallID}}&Guid=", "identity"),
        ("Event=pickup&CallID=1&CallID=2", "identity"),
        ("CallID=1", "event"),
        ("Event=start&Event=hangup&CallID=1", "event"),
        ("Event=explode&CallID=1", "event"),
    ],
)
async def test_a_focalscope_callback_that_cannot_be_used(hub: Hub, query: str, reason: str) -> None:
    answer = await hub.focalscope(query)
    assert (answer.status, (await answer.json())["reason"]) == (422, reason)


async def test_the_vendors_sample_urls_make_one_dialled_call(hub: Hub) -> None:
    agent, customer = "bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff", "923041af-adb5-a8ae-f29c-e60ea5e17448"
    for query in [
        f"CallType=API&Event=pickup&CallID=1000000087849&RequestID=513&EventCode=2&IsCallRecorded=&Guid={agent}",
        f"CallType=Outgoing&Event=pickup&CallID=1000000087850&RequestID=513&EventCode=2&IsCallRecorded=&Guid={customer}",
        f"CallType=Outgoing&Event=hangup&CallID=1000000087850&RequestID=513&EventCode=1&IsCallRecorded=1&Guid={customer}",
        f"CallType=API&Event=hangup&CallID=1000000087849&RequestID=513&EventCode=1&IsCallRecorded=1&Guid={agent}",
    ]:
        assert (await hub.focalscope(query)).status == 200
    record = await hub.sealed(identity("focalscope", "desk", "", "513"))
    assert (record["disposition"], record["sealed"]["verdict"], record["direction"]) == (
        "answered",
        "complete",
        "outbound",
    )
    assert [(leg["id"], leg["role"]) for leg in record["legs"]] == [(agent, "agent"), (customer, "customer")]


async def test_a_hundred_callbacks_at_once_are_all_kept(hub: Hub) -> None:
    answers = await asyncio.gather(*(hub.infocaller("inicio", query=f"num=900&id={n}") for n in range(1, 101)))
    assert {answer.status for answer in answers} == {200}

    async def all_there() -> bool:
        return len(await hub.calls()) == 100

    assert await until(all_there)


async def test_callbacks_are_never_cached(hub: Hub) -> None:
    assert (await hub.focalscope("Event=start&CallID=1")).headers["Cache-Control"] == "no-store"


# --- the read API and the probes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", f"Basic {ADMIN}", "Bearer", f"Bearer {DESK_TOKEN}"])
async def test_the_read_api_wants_the_administrators_token(hub: Hub, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/v1/calls", "/v1/events", "/v1/quarantine", "/v1/ledger", f"/v1/calls/{CALL}"):
        async with hub.session.get(f"{hub.url}{path}", headers=headers) as answer:
            assert answer.status == 401


async def test_every_path_below_v1_wants_the_token_whether_or_not_something_is_there(hub: Hub) -> None:
    for method, path in (("GET", "/v1/nothing"), ("POST", "/v1/calls"), ("GET", "/v1"), ("DELETE", "/v1/events")):
        async with hub.session.request(method, f"{hub.url}{path}") as answer:
            assert answer.status == 401
        async with hub.session.request(
            method, f"{hub.url}{path}", headers={"Authorization": f"Bearer {ADMIN}"}
        ) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-1", "since=yesterday", "state=gone", "after=rubbish"])
async def test_a_query_that_cannot_be_read_is_400_and_says_what_is_expected(hub: Hub, query: str) -> None:
    async with hub.session.get(f"{hub.url}/v1/calls?{query}", headers={"Authorization": f"Bearer {ADMIN}"}) as answer:
        assert answer.status == 400
        assert query.partition("=")[0] in (await answer.json())["error"]


async def test_a_limit_of_whatever_size_is_clamped(hub: Hub) -> None:
    for n in (1, 2):
        await hub.infocaller("inicio", query=f"num=900&id={n}")

    async def both() -> bool:
        return len(await hub.calls()) == 2

    await until(both)
    for limit, count in (("1", 1), ("0001", 1), ("1001", 2), ("9" * 5000, 2), ("", 2)):
        assert len((await hub.read(f"/v1/calls?limit={limit}"))["items"]) == count


async def test_a_call_that_does_not_exist_is_404(hub: Hub) -> None:
    for path in (f"/v1/calls/{CALL}", "/v1/calls/rubbish", f"/v1/calls/{CALL}/timeline"):
        async with hub.session.get(f"{hub.url}{path}", headers={"Authorization": f"Bearer {ADMIN}"}) as answer:
            assert answer.status == 404


async def test_pages_follow_one_another_without_gaps(hub: Hub) -> None:
    for n in range(1, 8):
        assert (await hub.infocaller("inicio", query=f"num=900&id={n}")).status == 200

    async def all_there() -> bool:
        return len(await hub.calls()) == 7

    await until(all_there)
    for path in ("/v1/calls", "/v1/events"):
        seen: list[str] = []
        after = ""
        while True:
            page = await hub.read(f"{path}?limit=3&after={after}")
            assert len(page["items"]) <= 3
            seen += [item.get("call_id", item.get("id")) for item in page["items"]]
            after = page["next"]
            if not after:
                break
        assert len(seen) == len(set(seen)) == 7


async def test_a_timeline_has_every_event_of_its_call(hub: Hub) -> None:
    await hub.infocaller("inicio", body())
    await hub.infocaller("fin", fin())
    await hub.sealed(CALL)

    async def whole() -> Any:
        items = (await hub.read(f"/v1/calls/{CALL}/timeline"))["items"]
        return items if len(items) == 3 else None

    items = await until(whole)
    assert {item["type"].split(".")[2] for item in items} == {"started", "ended", "sealed"}
    assert all(item["subject"] == CALL and item["source"] == "/infocaller/line-900" for item in items)


async def test_the_probes_need_no_token_and_metrics_count_answers(hub: Hub) -> None:
    assert (await hub.infocaller("fin", fin())).status == 200
    async with hub.session.get(f"{hub.url}/livez") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})

    async def ready() -> Any:
        async with hub.session.get(f"{hub.url}/readyz") as answer:
            assert answer.status == 200  # without its worker it is degraded, and still accepts
            told = await answer.json()
            return told if told["status"] == "ok" else None

    assert set((await until(ready))["parts"]) == {"bus", "outbox", *ROLES}
    async with hub.session.get(f"{hub.url}/metrics") as answer:
        assert 'trunkline_callbacks_total{answer="200",source="line-900"}' in await answer.text()


async def test_what_the_vendors_pages_do_not_name_is_accepted_kept_and_counted(hub: Hub) -> None:
    event = {"EventType": "99", "EventName": "teleport"}
    payload = fin(Novelty="7", CallType="Z")
    payload["ApiCall"]["Status"] = {"Events": {"Event": [event]}}
    assert (await hub.infocaller("fin", payload)).status == 200
    record = await hub.call(CALL)
    assert (record["actions"][0]["name"], record["actions"][0]["code"]) == ("unknown", 99)
    assert "direction" not in record
    assert (await hub.focalscope("Event=start&CallID=1&EventCode=9&Mood=good")).status == 200
    async with hub.session.get(f"{hub.url}/metrics") as answer:
        told = await answer.text()
    for source, what in (
        ("line-900", "field"),
        ("line-900", "code"),
        ("line-900", "value"),
        ("desk", "field"),
        ("desk", "code"),
    ):
        assert f'trunkline_unknown_total{{source="{source}",what="{what}"}}' in told


async def test_an_admin_listener_of_its_own_takes_the_api_off_the_door(tmp_path: Path) -> None:
    port = free_port()
    try:
        settings = configuration(tmp_path, admin={"token": ADMIN, "host": "127.0.0.1", "port": port})
        async with running(settings) as hub, ClientSession() as session:
            async with session.get(f"{hub.url}/v1/calls") as answer:
                assert answer.status == 404
            async with session.get(
                f"http://127.0.0.1:{port}/v1/calls", headers={"Authorization": f"Bearer {ADMIN}"}
            ) as answer:
                assert answer.status == 200
    finally:
        release_port(port)


# --- what comes over the wire ----------------------------------------------------------------------------------------


async def raw(hub: Hub, request: bytes, *, within: float = 20.0) -> bytes:
    """What a raw connection answers until the hub closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(within):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
async def test_a_byte_that_the_vendor_left_unescaped_does_not_cost_the_event(hub: Hub, charset: str) -> None:
    line = f"GET /callbacks/desk/{DESK_TOKEN}?Event=pickup&RequestID=51&CallID=6&Agent=José HTTP/1.1\r\n"
    answer = await raw(hub, line.encode(charset) + b"Host: hub\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    record = await hub.call(identity("focalscope", "desk", "", "51"))
    assert record["agent"] == {"name": "José"}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /callbacks/desk/s3cret-in-the-url HTTP/9.9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"s3cret" * 3000 + b"\r\n\r\n", 400),
        (b"GET /callbacks/desk/t?x=" + b"s3cret" * 174_800 + b" HTTP/1.1\r\nHost: hub\r\n\r\n", 414),
    ],
)
async def test_what_is_no_request_is_answered_with_a_fixed_line_that_echoes_nothing(
    hub: Hub, request_bytes: bytes, status: int
) -> None:
    answer = await raw(hub, request_bytes)
    assert answer.split(b" ")[1] == b"%d" % status
    assert b"s3cret" not in answer
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "refused"


async def test_a_header_that_does_not_end_and_a_body_that_does_not_come_are_given_up(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.door._PATIENCE", 0.2)
    monkeypatch.setattr("hub.doorstep._WHOLE_BODY", 0.2)
    assert await raw(hub, b"GET /livez HTTP/1.1\r\nHost: ") == b""
    head = f"POST /callbacks/desk/{DESK_TOKEN} HTTP/1.1\r\nHost: hub\r\nContent-Length: 30\r\n\r\nabc"
    assert (await raw(hub, head.encode())).startswith(b"HTTP/1.1 408 ")


async def test_a_trailing_slash_is_no_other_callback(hub: Hub) -> None:
    status, _ = await post(hub, f"/callbacks/line-900/{TOKEN}/inicio/?num=900&id=1")
    assert status == 200
    status, _ = await post(hub, f"/callbacks/desk/{DESK_TOKEN}/?Event=start&CallID=1")
    assert status == 200


async def test_a_bad_signature_comes_before_a_wrong_address_where_signatures_are_refused(tmp_path: Path) -> None:
    source = {"vendor": "infocaller", "tokens": [TOKEN], "lines": {"123456789": "3956"}, "allow": ["192.0.2.0/24"]}
    settings = configuration(tmp_path, sources={"line-900": {**source, "bad_signature": "refuse"}})
    async with running(settings) as hub:
        assert (await post(hub, f"/callbacks/line-900/{TOKEN}/fin", WRONG_SIGNATURE))[0] == 401
        assert (await hub.infocaller("fin", fin())).status == 403


async def test_a_callback_whose_body_is_on_its_way_when_the_hub_is_told_to_stop_is_answered(tmp_path: Path) -> None:
    async with running(configuration(tmp_path)) as hub:
        form = b"apiInfocaller=" + quote_plus(orjson.dumps(fin())).encode()
        head = f"POST /callbacks/line-900/{TOKEN}/fin HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(form)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)
        try:
            writer.write(head.encode() + form[:1])

            async def in_hand() -> bool:
                async with hub.session.get(f"{hub.url}/livez"):
                    return bool(hub.process.in_hand)

            await until(in_hand)
            hub.process.stop()
            writer.write(form[1:])
            async with asyncio.timeout(20):
                answer = await reader.read()
        finally:
            writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ")
