"""``trunkline respool plan``: what would be done and why, what has been, and nothing is done by it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.config import load
from hub.events import Event, identity, timestamp, to_event
from hub.parts import opened
from hub.store.upgrade import upgrade
from tests.cli.command import trunkline
from workers.respool.lists import Lists
from workers.respool.rules import rules_of
from workers.respool.taking import Taking

AT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
CONFIGURATION = """
[bus]
url = "sqlite:///data/bus.db"
[store]
url = "sqlite:///data/store.db"
[calls]
settle = 0
gap_after = 0
[sources.focu5]
vendor = "infocu5"
affiliate_id = "A"
affiliate_key = "k"
country = "ES"
base_url = "http://127.0.0.1:9/"
[[respool.rules]]
name = "missed"
sources = ["focu5"]
dispositions = ["no_answer"]
dialer = "focu5"
campaign = "1111"
delays = ["1h", "2h"]
do_not_call = ["600123456"]
"""


def call(name: str, number: str, *, talk: int = 0, at: datetime = AT) -> Event:
    """A polled call to a number."""
    data: dict[str, Any] = {
        "call_id": identity(name),
        "vendor": "infocu5",
        "source": "focu5",
        "event": "ended",
        "origin": "poll",
        "received_at": timestamp(at),
        "direction": "inbound",
        "caller": {"number": number, "e164": f"+34{number}"},
        "started_at": timestamp(at),
        "ended_at": timestamp(at),
        "times": {"talk_seconds": talk},
    }
    return Event(identity(name, "ended"), "call", "infocu5", "ended", "focu5", at, data, subject=identity(name))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with calls, one of which is respooled already."""
    (tmp_path / "trunkline.toml").write_text(CONFIGURATION.replace("data/", f"{tmp_path}/data/"))
    asyncio.run(_filled(tmp_path / "trunkline.toml"))
    return tmp_path


async def _filled(file: Path) -> None:
    settings = load(file)
    await upgrade(settings.store.url.get_secret_value())
    async with opened(settings) as store:
        events = [
            call("missed", "911888920"),
            call("taken", "911888921"),
            call("blocked", "600123456"),
            call("answered", "911888922", talk=9),
            call("spoken", "911888923"),
            call("spoken later", "911888923", talk=9, at=AT + timedelta(minutes=1)),
        ]
        await store.apply(events, AT)
        sealed = {event.subject: event for event in await _derived(store)}
        taking = Taking(settings, rules_of(settings), Lists(settings).now)
        await store.respools.take([taking.taken(sealed[identity("taken")])], lambda _, __: None, AT)


async def _derived(store: Any) -> list[Event]:
    return [to_event(one.message) for one in await store.claim(AT, 100, 60)]


def planned(home: Path, *words: str) -> dict[str, dict[str, Any]]:
    said = trunkline("respool", "plan", *words, "--json", at=home)
    assert said.status == 0, said.err
    return {one["call_id"]: one for one in json.loads(said.out)}


def test_it_says_of_every_call_what_would_be_done_and_why_or_why_not(home: Path) -> None:
    found = planned(home, "--since", (AT - timedelta(hours=1)).isoformat())
    told = {
        name: (found[identity(name)]["action"], found[identity(name)]["why"])
        for name in ("missed", "taken", "blocked", "answered", "spoken")
    }
    assert told["missed"] == ("respool", "its rule wants it")
    assert told["taken"][0] == "waiting"
    assert told["blocked"] == ("none", "do_not_call: every number of the contact is on a do-not-call list")
    assert told["answered"] == ("none", "no rule fits it")
    assert told["spoken"] == ("none", "reached: the contact was spoken with meanwhile")
    one = found[identity("missed")]
    assert (one["contact"], one["attempt"], one["dialer"], one["rule"]) == ("+34911888920", 1, "focu5", "missed")
    assert one["at"] == timestamp(AT + timedelta(hours=1))
    assert one["zones"] == ["Europe/Madrid"]
    assert found[identity("answered")]["rules"] == {"missed": "its disposition is answered, not no_answer"}


def test_it_writes_nothing_and_says_the_same_twice(home: Path) -> None:
    before = [planned(home, identity("missed")) for _ in range(2)]
    assert before[0] == before[1]

    async def waiting() -> int:
        async with opened(load(home / "trunkline.toml")) as store:
            return len(await store.respools.waiting(10))

    assert asyncio.run(waiting()) == 1


def test_for_people_it_is_a_table_or_the_lines_of_one_call(home: Path) -> None:
    said = trunkline("respool", "plan", identity("missed"), at=home)
    assert said.status == 0
    assert any(line.split() == ["contact", "+34911888920"] for line in said.lines)
    table = trunkline("respool", "plan", "--since", "2026-01-01", at=home)
    assert "its rule wants it" in table.out


def test_explain_shows_the_attempts_of_a_call(home: Path) -> None:
    said = trunkline("explain", identity("taken"), at=home)
    assert any(line.startswith("respool") and "attempt 1 by focu5, 1111: waiting" in line for line in said.lines)


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        ([], 2, "respool plan: found neither CALL_ID nor --since"),
        (["--since", "yesterday"], 2, "--since: found 'yesterday'; expected a time"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], 2, "--since: found 2026-11-02; expected a time before"),
        (["x", "--since", "2026-11-02"], 2, "found IDs and filters; expected one of them"),
        (["5f5f5f5f-0000-4000-8000-000000000000"], 1, "no call 5f5f5f5f"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_in_one_line(
    home: Path, words: list[str], status: int, line: str
) -> None:
    said = trunkline("respool", "plan", *words, at=home)
    assert (said.status, said.out) == (status, "")
    assert said.err.startswith(f"trunkline: {line}")
