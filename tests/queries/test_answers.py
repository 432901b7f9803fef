"""The answers to a Query: which, in which format, and what becomes of each."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web
from yarl import URL

from hub.events import identity
from tests.hub import TOKEN, Hub, running, until
from tests.queries.support import ORDERS, Service, asked, events, service, settings
from tests.queries.vendor import Told, ask, question, read, request
from tests.vendors.infocaller.encodings import encoded
from tests.vendors.infocaller.samples import XML_QUERY_PAGE

CALL = identity("infocaller", "line-900", "123456789", "98565656")
FAILED = "1"


async def raw(
    hub: Hub, content: bytes | io.BytesIO, content_type: str = "", token: str = TOKEN
) -> tuple[int, str, bytes]:
    url = URL(f"{hub.url}/queries/line-900/{token}")
    async with hub.session.post(url, data=content, headers={"Content-Type": content_type}) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def test_a_query_is_answered_in_the_format_it_was_asked_in(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        call = question("ESTADO PEDIDO", NUMPEDIDO="123456789")
        for kind in ("xml", "json"):
            assert await ask(hub.session, hub.url, call, kind) == Told("0", "", {"PEDIDO": "2"})


async def test_the_pages_own_request_is_answered_although_its_name_begins_with_a_space(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        for charset in ("utf-8", "cp1252"):
            status, kind, content = await raw(hub, XML_QUERY_PAGE.encode(charset))
            assert (status, read(content, kind, "xml")) == (200, Told("0", "", {"PEDIDO": "2"}))


async def test_every_encoding_of_a_request_is_understood(tmp_path: Path) -> None:
    call = question("ESTADO PEDIDO", NUMPEDIDO="123456789", NOMBRE="Íñigo & Cía")
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        for name, content_type, content in encoded(call):
            status, kind, answer = await raw(hub, content, content_type)
            told = read(answer, kind, "xml" if name.startswith("xml") else "json")
            assert (status, told.result) == (200, "0"), name


async def test_a_value_with_reserved_and_latin_characters_arrives_whole(tmp_path: Path) -> None:
    value = """Año <1> & "Ñ" 'é' \\x41 \\u0041 ÿ"""
    table = {"kind": "table", "table": {"*": {"NOMBRE": value, "Otro1": ""}}}
    async with asked(tmp_path, {"orders": table}) as hub:
        for kind in ("xml", "json"):
            told = await ask(hub.session, hub.url, question("ESTADO PEDIDO"), kind)
            assert told == Told("0", "", {"NOMBRE": value, "Otro1": ""})


# --- what is not answered with a reply -------------------------------------------------------------------------------


async def test_a_wrong_token_and_an_unknown_source_are_401_and_no_query(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        content_type, content = request(question("ESTADO PEDIDO"), "json")
        for source, token in (("line-900", "wrong"), ("nobody", TOKEN), ("desk", TOKEN)):
            url = hub.url / "queries" / source / token
            async with hub.session.post(url, data=content, headers={"Content-Type": content_type}) as answer:
                assert (answer.status, (await answer.json())["status"]) == (401, "refused")
        async with hub.session.get(hub.url / "queries" / "line-900" / TOKEN) as answer:
            assert answer.status == 405


@pytest.mark.parametrize("kind", ["xml", "json"])
async def test_an_address_that_may_not_call_is_told_so_in_the_vendors_words(tmp_path: Path, kind: str) -> None:
    call = question("ESTADO PEDIDO", NUMPEDIDO="123456789")
    async with asked(tmp_path, {"orders": ORDERS}, allow=["192.0.2.0/24"]) as hub:
        told = await ask(hub.session, hub.url, call, kind)
        assert (told.result, told.variables) == (FAILED, {})
        [event] = await events(hub)
        assert (event["data"]["outcome"], event["data"]["reason"]) == ("unusable", "address")
        assert "call_id" not in event["data"]


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Sent without its length."""
    for at in range(0, len(content), 65536):
        yield content[at : at + 65536]


@pytest.mark.parametrize("kind", ["xml", "json"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_question_that_is_too_large_is_answered_in_its_format(tmp_path: Path, kind: str, chunked: bool) -> None:
    content_type, large = request(question("ESTADO PEDIDO", LARGE="x" * (1 << 20)), kind)
    _, small = request(question("ESTADO PEDIDO"), kind)
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        for content, query in ((large, ""), (small, "?" + "x" * 33_000)):
            url = URL(f"{hub.url}/queries/line-900/{TOKEN}{query}", encoded=True)
            data = pieces(content) if chunked else io.BytesIO(content)
            async with hub.session.post(url, data=data, headers={"Content-Type": content_type}) as answer:
                told = read(await answer.read(), answer.headers["Content-Type"], kind)
            assert (answer.status, told.result, told.variables) == (200, FAILED, {})


async def test_a_stranger_learns_nothing_by_a_question_that_is_too_large(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        status, _, content = await raw(hub, io.BytesIO(b"apiInfocaller=" + b"x" * (1 << 20)), token="wrong")
        assert (status, orjson.loads(content)["status"]) == (401, "refused")


async def test_a_question_that_does_not_come_is_answered_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.doorstep._WHOLE_BODY", 0.1)
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)
        writer.write(f"POST /queries/line-900/{TOKEN} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n<Api".encode())
        head, _, content = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 200")
    assert read(content, "text/xml; charset=ISO-8859-1", "xml").result == FAILED


@pytest.mark.parametrize("kind", ["xml", "json"])
async def test_what_cannot_be_answered_is_told_in_the_vendors_words_and_sets_nothing(tmp_path: Path, kind: str) -> None:
    good = question("ESTADO PEDIDO", NUMPEDIDO="123456789")
    forged = {**good, "UserID": {**good["UserID"], "Signature": "0" * 32}}
    stranger = {**good, "UserID": {**good["UserID"], "LineNumber": "1"}}
    unnamed = {**good, "Infocaller": {}}
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        for call in (question("OTRA"), forged, stranger, unnamed, question("estado pedido")):
            told = await ask(hub.session, hub.url, call, kind)
            assert (told.result, told.variables) == (FAILED, {})
        content_type, content = request(good, kind)
        for spoilt in (content[:-40], content.replace(b"apiInfocaller", b"somethingElse")):
            status, answered_as, answer = await raw(hub, spoilt, content_type)
            assert status == 200
            told = read(answer, answered_as, kind)
            assert (told.result, told.variables) == (FAILED, {})


async def test_nothing_at_all_is_answered_too(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        for content in (b"", b"\xff\xfe", b"[" * 100_000):
            status, kind, answer = await raw(hub, content)
            assert (status, read(answer, kind, "json").result) == (200, FAILED)


async def test_a_table_without_the_row_has_no_answer(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        told = await ask(hub.session, hub.url, question("ESTADO PEDIDO", NUMPEDIDO="5"))
        assert (told.result, told.variables) == (FAILED, {})


# --- the event -------------------------------------------------------------------------------------------------------


async def test_each_query_is_an_event_of_its_call_and_makes_no_record(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        call = question("ESTADO PEDIDO", NUMPEDIDO="123456789")
        for _ in range(2):
            await ask(hub.session, hub.url, call)
        first, second = await events(hub, 2)
        assert first["id"] != second["id"], "a script may ask the same thing twice"
        assert (first["type"], first["source"], first["subject"]) == (
            "trunkline.query.answered.v1",
            "/infocaller/line-900",
            CALL,
        )
        data = first["data"]
        assert 0 <= data.pop("milliseconds") < 5000
        assert data.pop("received_at")
        assert data == {
            "call_id": CALL,
            "vendor": "infocaller",
            "source": "line-900",
            "event": "answered",
            "query": "ESTADO PEDIDO",
            "resolver": "orders",
            "result": "0",
            "outcome": "answered",
            "caller": {"number": "911888920", "e164": "+34911888920"},
            "line": {"number": "900805089", "e164": "+34900805089"},
            "asked": {"NUMPEDIDO": "123456789"},
            "answered": {"PEDIDO": "2"},
        }
        assert await hub.calls() == []


async def test_a_query_changes_nothing_in_its_calls_record_and_stands_in_its_timeline(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        await hub.infocaller("inicio", {"ApiCall": question("")})
        before = await hub.call(CALL)
        await ask(hub.session, hub.url, question("ESTADO PEDIDO", NUMPEDIDO="123456789"))
        await events(hub)
        assert await hub.call(CALL) == before
        timeline = await hub.read(f"/v1/calls/{CALL}/timeline")
        assert [event["type"] for event in timeline["items"]] == [
            "trunkline.call.started.v1",
            "trunkline.query.answered.v1",
        ]
        ledger = await hub.read("/v1/ledger")
        assert ledger["callbacks"]["accepted"] == 1, "a Query is no callback"
        assert ledger["workers"]["persistence"]["unaccounted"] == []


async def test_an_event_says_why_and_never_which_call_where_nobody_has_proved_it(tmp_path: Path) -> None:
    good = question("ESTADO PEDIDO")
    forged = {**good, "UserID": {**good["UserID"], "Signature": "0" * 32}}
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        await ask(hub.session, hub.url, forged)
        await ask(hub.session, hub.url, question("OTRA"))
        await ask(hub.session, hub.url, good)
        told = {event["data"]["outcome"]: event for event in await events(hub, 3)}
        assert told["unusable"]["data"]["reason"] == "signature"
        assert not told["unusable"].get("subject")
        assert "call_id" not in told["unusable"]["data"]
        assert told["unconfigured"]["subject"] == CALL
        assert told["unresolved"]["data"]["tried"] == [{"resolver": "orders", "reason": "none"}]


# --- number ----------------------------------------------------------------------------------------------------------


async def test_one_query_too_many_is_told_so_at_once_and_callbacks_are_not_kept_waiting(
    tmp_path: Path, orders: Service
) -> None:
    release = asyncio.Event()

    async def held(_: dict[str, Any]) -> web.Response:
        orders.hanging.set()
        await release.wait()
        return await orders.in_order({})

    orders.answer = held
    chosen = settings(tmp_path, {"orders": {"kind": "http", "url": orders.url, "wait": 30}})
    chosen = chosen.model_copy(update={"http": chosen.http.model_copy(update={"queries": 1})})
    async with running(chosen) as hub:
        waiting = asyncio.create_task(ask(hub.session, hub.url, question("ESTADO PEDIDO")))
        await orders.hanging.wait()
        told = await ask(hub.session, hub.url, question("ESTADO PEDIDO"))
        assert (told.result, told.variables, waiting.done()) == (FAILED, {}, False)
        answer = await hub.infocaller("inicio", query="num=123456789&id=1")
        assert (answer.status, waiting.done()) == (200, False)
        release.set()
        assert (await waiting).result == "0"
        # Each publishes its own: which of the two arrives first is nobody's promise.
        assert {event["data"]["outcome"] for event in await events(hub, 2)} == {"full", "answered"}


@pytest.fixture
async def orders() -> Any:
    async with service() as made:
        yield made


async def test_a_stop_answers_the_queries_in_hand(tmp_path: Path, orders: Service) -> None:
    orders.answer = orders.for_ever
    session = ClientSession()
    try:
        async with asked(tmp_path, {"orders": {"kind": "http", "url": orders.url, "wait": 1.5}}) as hub:
            waiting = asyncio.create_task(ask(session, hub.url, question("ESTADO PEDIDO")))
            await orders.hanging.wait()
        assert (await waiting).result == FAILED
    finally:
        await session.close()


async def test_what_the_metrics_say_of_queries(tmp_path: Path) -> None:
    async with asked(tmp_path, {"orders": ORDERS}) as hub:
        await ask(hub.session, hub.url, question("ESTADO PEDIDO", NUMPEDIDO="123456789"))

        async def counted() -> bool:
            async with hub.session.get(hub.url / "metrics") as answer:
                text = await answer.text()
            return (
                'trunkline_queries_total{outcome="answered",source="line-900"}' in text
                and 'trunkline_resolver_answers_total{outcome="answered",resolver="orders"}' in text
            )

        await until(counted)
