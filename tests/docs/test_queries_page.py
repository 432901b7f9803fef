"""docs/queries.md: its configurations and its program run, its examples are what is sent, its tables the code's."""

import asyncio
import os
import re
import sqlite3
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, get_args

import orjson
import pytest
from yarl import URL

from hub.config import Settings
from hub.errors import NoReply
from hub.queries import Outcome
from hub.questions import Reply
from hub.resolvers import KINDS
from hub.resolvers.wire import answered, asked
from tests.docs.reading import ROOT, blocks, code, document, table
from tests.hub import ADMIN, Hub, configuration, running, until
from tests.queries.support import events
from tests.queries.test_amqp import amqp, connected
from tests.queries.test_desk import ASKED, desk, resolve
from tests.queries.vendor import Told, question, read, request
from tests.servers.processes import spawn
from tests.vendors.infocaller.samples import XML_QUERY_PAGE

PAGE: Final = document("queries.md")


@asynccontextmanager
async def configured(directory: Path, kind: str) -> AsyncIterator[Hub]:
    """A hub with the configuration of one of the page's examples, whole; only its files are elsewhere."""
    [example] = blocks(PAGE, f"toml {kind}")
    text = example.text.replace("sqlite:///data/directory.db", f"sqlite:///{directory}/directory.db")
    tables: dict[str, Any] = {"admin": {"token": ADMIN}, **tomllib.loads(text)}
    base = configuration(directory).model_dump(include={"http", "bus", "store", "outbox", "calls"})
    async with running(Settings(**{**base, **tables})) as hub:
        yield hub


async def told(hub: Hub, content: bytes, kind: str, content_type: str = "") -> Told:
    url = URL(f"{hub.url}/queries/line-900/TOKEN")
    async with hub.session.post(url, data=content, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 200
        return read(await answer.read(), answer.headers["Content-Type"], kind)


async def says(hub: Hub, query: str, kind: str, **variables: str) -> Told:
    content_type, content = request(question(query, **variables), kind)
    return await told(hub, content, kind, content_type)


async def test_the_order_status_of_the_vendors_page(tmp_path: Path) -> None:
    async with configured(tmp_path, "order-status") as hub:
        assert (await told(hub, XML_QUERY_PAGE.encode(), "xml")).variables == {"PEDIDO": "2"}
        for kind in ("xml", "json"):
            for order, state in {"123456790": "1", "123456791": "7", "5": "0"}.items():
                assert await says(hub, "ESTADO PEDIDO", kind, NUMPEDIDO=order) == Told("0", "", {"PEDIDO": state})
        assert len(await events(hub, 7)) == 7


async def test_the_diversion_to_an_extension_of_the_vendors_page(tmp_path: Path) -> None:
    directory = tmp_path / "directory.db"
    async with configured(tmp_path, "extension") as hub:
        down = await says(hub, "NUMERO EXTENSION", "json", EXTENSION="100")
        assert down == Told("0", "", {"TELEFONO": "911222333"}), "the fallback"
        [schema] = re.findall(r"# (CREATE TABLE .*)$", PAGE, re.MULTILINE)
        with sqlite3.connect(directory) as connection:
            connection.execute(schema)
            connection.execute("INSERT INTO extensions VALUES ('101', '911444555')")
        connection.close()
        for kind in ("xml", "json"):
            for extension, phone in {"101": "911444555", "999": "0"}.items():
                found = await says(hub, "NUMERO EXTENSION", kind, EXTENSION=extension)
                assert found == Told("0", "", {"TELEFONO": phone})


def test_every_configuration_on_the_page_is_one(tmp_path: Path) -> None:
    pieces = [block for block in blocks(PAGE) if block.kind.startswith("toml")]
    assert len(pieces) == 4
    for piece in pieces:
        Settings(**tomllib.loads(piece.text))


def test_the_question_and_the_reply_are_as_they_are_shown() -> None:
    [shown], [reply] = blocks(PAGE, "json question"), blocks(PAGE, "json reply")
    sent, printed = orjson.loads(asked(ASKED)), orjson.loads(shown.text)
    assert {**sent, "call_id": ""} == {**printed, "call_id": ""}
    assert list(sent) == list(printed)
    assert answered(reply.text.encode()) == Reply({"PEDIDO": "2"}, "0", "Enviado")


async def test_the_program_that_consumes_the_queue_answers(tmp_path: Path, amqp_url: str) -> None:
    [program] = blocks(PAGE, "python consumer")
    (tmp_path / "consumer.py").write_text(program.text)
    process = spawn(
        [sys.executable, "consumer.py"],
        directory=tmp_path,
        env={**os.environ, "AMQP_URL": amqp_url},
        log=tmp_path / "consumer.log",
    )
    try:
        async with desk({"orders": amqp(amqp_url, wait=5)}) as resolvers:
            await connected(resolvers)

            async def replies() -> bool:
                return (await resolve(resolvers, within=5)).reply == Reply({"PEDIDO": "2"})

            await until(replies)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


def test_every_word_of_the_tables_is_the_codes() -> None:
    assert [code(row[0])[0] for row in table(PAGE, "`outcome`")] == list(get_args(Outcome))
    assert {code(row[0])[0] for row in table(PAGE, "`reason` in `tried`")} == set(get_args(NoReply))
    [kind] = [row[2] for row in table(PAGE, "key of every resolver") if code(row[0]) == ["kind"]]
    assert code(kind) == list(KINDS)


@pytest.mark.parametrize("name", sorted(ASKED.parameters().keys() - ASKED.variables.keys()))
def test_every_name_of_a_parameter_is_told(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_page_is_linked_from_where_a_reader_looks() -> None:
    assert "docs/queries.md" in (ROOT / "README.md").read_text()
