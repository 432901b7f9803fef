"""docs/dialing.md: its configuration is one, its requests, its command and its program place calls."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Final, get_args

import orjson

from hub.clients import diallable
from hub.config import Settings
from hub.configured import DIAL_FIELDS
from hub.dialing.orders import KEYS
from hub.ports.dialing import State
from hub.simulator.dialling import FocalScopeServer, serving
from tests.docs.reading import blocks, code, document, table
from tests.hub import ADMIN, Hub, configuration, running, until
from tests.servers.processes import spawn

PAGE: Final = document("dialing.md")
BODY: Final = re.compile(r"'(\{.*\})'")


def example(kind: str) -> str:
    [found] = blocks(PAGE, kind)
    return found.text


def settings_of(directory: Path, url: str, **more: Any) -> Settings:
    """The page's configuration; only its server, and its files, are elsewhere."""
    tables = tomllib.loads(example("toml dialing").replace("http://pbx.example", url))
    return configuration(directory, sources=tables["sources"], egress={"allow": ["127.0.0.0/8"]}, **more)


async def shell(text: str, hub: Hub, **more: str) -> Any:
    """A block of the page, run as it stands; what it printed."""
    environment = {**os.environ, "HUB": str(hub.url).rstrip("/"), "TOKEN": ADMIN, **more}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-eu", "-c", text), env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return orjson.loads(printed)


async def test_the_requests_and_the_program_of_the_page_place_calls(tmp_path: Path, amqp_url: str) -> None:
    server = FocalScopeServer(headers={"Authorization": "Basic c2VjcmV0"})
    async with serving(server) as url, running(settings_of(tmp_path, url, bus={"url": amqp_url})) as hub:
        taken = await shell(example("sh dial"), hub)
        assert taken.keys() == orjson.loads(example("json taken")).keys()

        async def accepted() -> bool:
            shown = await shell(example("sh look"), hub, DIAL=taken["dial_id"])
            return bool(shown["state"] == "accepted" and shown["request_id"] and shown["call_id"])

        await until(accepted)
        (tmp_path / "program.py").write_text(example("python command"))
        environment = {**os.environ, "AMQP_URL": amqp_url}
        program = spawn([sys.executable, "program.py"], directory=tmp_path, env=environment, log=tmp_path / "log")
        assert await asyncio.to_thread(program.wait, 60) == 0, (tmp_path / "log").read_text()

        async def both() -> bool:
            return len(server.placed) == 2

        await until(both)
    assert {(one.number, one.agent) for one in server.placed} == {("+34911888920", "1001")}


def test_both_sources_of_the_page_can_dial(tmp_path: Path) -> None:
    assert set(diallable(settings_of(tmp_path, "http://127.0.0.1"))) == {"desk", "line-900", "cloud"}


def test_every_key_every_state_and_every_field_is_described() -> None:
    assert [code(row[0])[0] for row in table(PAGE, "key", "means")] == list(KEYS)
    assert {code(row[0])[0] for row in table(PAGE, "state", "means")} == set(get_args(State))
    for field in DIAL_FIELDS:
        assert f"`{{{field}}}`" in PAGE
