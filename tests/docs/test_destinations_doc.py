"""docs/destinations.md: its keys are the configuration's, its example loads, its receiver runs."""

import asyncio
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import ClientError, ClientSession

from hub.config import AnyDestination, Settings, WebhookDestination
from hub.events import Event, to_message
from tests.crm.office import SECRET
from tests.docs.reading import blocks, code, document, table
from tests.hub import until
from tests.servers.ports import free_port, release_port
from workers.crm.webhook import Webhook

PAGE: Final = document("destinations.md")


def _default(part: dict[str, Any], key: str) -> Any:
    if key in part.get("required", []):
        return "required"
    value = part["properties"][key].get("default", {})
    return "none" if value is None else value


def test_every_key_of_every_kind_stands_in_the_table_with_its_default() -> None:
    schema = Settings.model_json_schema()
    [union] = schema["properties"]["destinations"]["patternProperties"].values()
    kinds = {name: schema["$defs"][ref.rpartition("/")[2]] for name, ref in union["discriminator"]["mapping"].items()}
    told: dict[tuple[str, str], Any] = {}
    for key, kind, default, _ in table(PAGE, "key of a destination"):
        groups = {"every": list(kinds), "crm": [name for name in kinds if name != "webhook"]}
        for name in groups.get(kind, [kind]):
            told[name, code(key)[0]] = orjson.loads(code(default)[0]) if "`" in default else default
    assert told == {(name, key): _default(part, key) for name, part in kinds.items() for key in part["properties"]}


def test_the_example_is_a_configuration() -> None:
    [example] = blocks(PAGE, "toml destination")
    made: dict[str, AnyDestination] = Settings.model_validate(tomllib.loads(example.text)).destinations
    assert {name: one.kind for name, one in made.items()} == {"shop": "webhook", "sales": "hubspot"}


async def test_the_receiver_takes_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    [program] = blocks(PAGE, "python receiver")
    path = tmp_path / "receiver.py"
    path.write_text(program.text)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(path), env={"SECRET": SECRET, "PORT": str(port)}, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/calls"
        now = datetime.now(UTC)
        message = to_message(Event("e-1", "call", "infocaller", "sealed", "line-900", now, {"call_id": "c-1"}))
        settings = WebhookDestination.model_validate({"kind": "webhook", "url": url, "secrets": [SECRET]})
        request = Webhook(settings).request(message, now)

        async def posted(body: bytes | None) -> int | None:
            try:
                async with (
                    ClientSession() as session,
                    session.post(url, data=body, headers=request.headers) as answer,
                ):
                    return answer.status
            except (ClientError, OSError):
                return None

        assert await until(lambda: posted(request.body)) == 200
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"e-1 call.sealed c-1\n"
        assert await posted(b'{"type":"call.sealed"}') == 500
    finally:
        process.terminate()
        await process.wait()
        release_port(port)
