"""``trunkline calls``: the store, read beside a running hub."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest

from hub.events import identity
from tests.cli.command import trunkline
from tests.cli.served import Served
from tests.contract.stores import MIGRATIONS
from tests.hub import until

CALL = identity("infocaller", "line-900", "900805089", "55501")
UNKNOWN = "00000000-0000-0000-0000-000000000000"

APPLIED = f"applied {', '.join(MIGRATIONS)}\n"


@pytest.fixture(scope="module")
def record(served: Served) -> dict[str, Any]:
    """A call of three events, once it is sealed."""
    for event, more in (("inicio", ""), ("desvio_correcto", "&desvio=911222333"), ("fin", "")):
        url = served.trunkline("vendor", "url", "line-900", "--event", event, "--bare").out.strip()
        with urlopen(f"{url}?num=900805089&id=55501&caller=911888920{more}") as answer:  # noqa: S310  our own
            assert answer.status == 200

    async def sealed() -> dict[str, Any] | None:
        said = await asyncio.to_thread(served.read, "/v1/calls")
        found = {each["call_id"]: each for each in said["items"]}.get(CALL, {})
        return dict(found) if found.get("sealed") else None

    return asyncio.run(until(sealed))


def test_calls_lists_the_newest_records(served: Served, record: dict[str, Any]) -> None:
    said = served.trunkline("calls")
    assert (said.status, said.err) == (0, "")
    [line] = [line for line in said.lines if CALL in line]
    for shown in ("line-900", "+34911888920", "ended", "answered", record["sealed"]["verdict"]):
        assert shown in line


def test_calls_may_be_narrowed_to_a_number(served: Served, record: dict[str, Any]) -> None:
    assert CALL in served.trunkline("calls", "--number", "+34911888920").out
    assert CALL in served.trunkline("calls", "--number", "911222333").out
    assert CALL not in served.trunkline("calls", "--number", "600000000").out


def test_calls_id_is_the_record_of_the_read_api(served: Served, record: dict[str, Any]) -> None:
    said = served.trunkline("calls", CALL)
    assert said.status == 0
    assert orjson.loads(said.out) == served.read(f"/v1/calls/{CALL}") == record


def test_an_unknown_call_ends_with_1_and_one_line(served: Served) -> None:
    said = served.trunkline("calls", UNKNOWN)
    assert (said.status, said.out, said.err) == (1, "", f"trunkline: no call {UNKNOWN}\n")


def test_a_store_that_is_not_set_up_ends_with_1_and_says_what_to_do(home: Path) -> None:
    said = trunkline("calls", at=home)
    assert (said.status, said.out) == (1, "")
    assert "trunkline db upgrade" in said.err
    assert said.err.count("\n") == 1


def test_the_schema_may_be_upgraded_twice(home: Path) -> None:
    assert trunkline("db", "upgrade", at=home).out == APPLIED
    assert trunkline("db", "upgrade", at=home).out == "the schema is up to date\n"
    assert trunkline("calls", at=home).status == 0


def test_the_schema_of_a_server_is_upgraded_likewise(home: Path, postgres_url: str) -> None:
    for expected in (APPLIED, "the schema is up to date\n"):
        said = trunkline("db", "upgrade", at=home, TRUNKLINE_STORE__URL=postgres_url)
        assert (said.status, said.out, said.err) == (0, expected, "")


def test_a_server_that_is_away_ends_with_1_and_one_line_without_its_password(home: Path) -> None:
    away = "postgresql://user:CANARY@127.0.0.1:1/trunkline"
    for words in (("db", "upgrade"), ("calls",), ("explain", UNKNOWN)):
        said = trunkline(*words, at=home, TRUNKLINE_STORE__URL=away)
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith("trunkline: ")
        assert said.err.count("\n") == 1
        assert "CANARY" not in said.err
