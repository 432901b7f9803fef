"""``trunkline explain``: where an event is, whatever became of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.cli import operating
from hub.config import load
from hub.events import Message, identity, timestamp
from hub.parts import make_bus, opened
from hub.ports import Attempt, Bus
from tests.cli.command import trunkline
from tests.cli.test_operating import bury, configured, in_a_hub
from tests.contract.buses import message
from tests.hub import LINE, TOKEN, Hub, body, fin, until
from tests.queries.support import events
from tests.queries.vendor import ask, question
from workers.persistence import QUEUE

UNKNOWN = "5f5f5f5f-0000-4000-8000-000000000000"
CALL = identity("infocaller", "line-900", LINE, "1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory in which a hub has run: a sealed call of two events, and a request in quarantine."""
    return configured(tmp_path)


async def at_rest(hub: Hub) -> bool:
    """Whether nothing is on its way any more, the news of the seal neither."""
    books = (await hub.read("/v1/ledger"))["workers"]["persistence"]
    return bool(books["in_flight"] == 0 and books["settled"] >= 4)


def lived(home: Path) -> list[str]:
    """The ids of the call's two callbacks' events, and of the request in quarantine."""

    async def callbacks(hub: Hub) -> list[str]:
        started = await hub.infocaller("inicio", body("1"))
        ended = await hub.infocaller("fin", fin("1"))
        refused = await hub.infocaller("fin", body("2", signature="x"))
        await hub.sealed(CALL)
        await until(lambda: at_rest(hub))
        answers = [orjson.loads(await one.read()) for one in (started, ended, refused)]
        return [answers[0]["event_id"], answers[1]["event_id"], answers[2]["quarantine_id"]]

    return in_a_hub(home, callbacks)


def on_bus(home: Path, *messages: Message) -> None:
    """Published while nobody works."""

    async def work() -> None:
        bus: Bus = make_bus(load(home / "trunkline.toml"))
        await bus.start()
        try:
            await bus.declare([QUEUE])
            await bus.publish(messages)
        finally:
            await bus.close()

    asyncio.run(work())


def lines(out: str) -> dict[str, str]:
    """The first line of each name."""
    found: dict[str, str] = {}
    for line in out.splitlines():
        name, text = line[:12].strip(), line[13:]
        found.setdefault(name, text)
    return found


def test_of_a_call_it_shows_its_state_and_every_event_and_when_it_was_kept(home: Path) -> None:
    lived(home)
    said = trunkline("explain", CALL.upper(), at=home)
    assert (said.status, said.err) == (0, "")
    assert lines(said.out)["call"] == CALL
    assert "ended, answered, sealed 20" in said.out
    for verb in ("started", "ended", "sealed"):
        assert f"call.{verb}" in said.out
    [row] = [line for line in said.lines if "call.ended" in line]
    times = [cell.strip() for cell in row.strip("│").split("│")][:3]
    assert times[1] <= times[2], "received, and kept thereafter"


def test_of_a_kept_event_it_says_when_it_was_accepted_and_kept_and_in_which_call(home: Path) -> None:
    started, _, _ = lived(home)
    said = trunkline("explain", started, at=home)
    assert (said.status, said.err) == (0, "")
    told = lines(said.out)
    assert told["event"] == started
    assert told["type"] == "call.infocaller.started of /infocaller/line-900"
    assert told["call"] == CALL
    assert told["accepted"] <= told["kept"]
    assert "sealed" in told[""]
    assert "dead" not in told


def test_of_a_dead_event_it_says_who_gave_it_up_and_every_attempt_and_what_to_do(home: Path) -> None:
    lived(home)
    bury(home, [one := message("call.infocaller.ended", received_at="2026-11-20T09:15:31.204Z")], failed=1)
    said = trunkline("explain", one.id, at=home)
    assert (said.status, said.err) == (0, "")
    told = lines(said.out)
    assert (told["event"], told["kept"], told["accepted"]) == (one.id, "no", "2026-11-20T09:15:31.204Z")
    assert told["dead"].startswith(f"persistence gave {one.id} up at 20")
    assert told["dead"].endswith(", attempt 2: the CRM answered 422")
    assert "attempt 1 at 20" in said.out
    assert "the CRM answered 503" in said.out
    assert f"trunkline dead requeue {one.id} --worker persistence" in said.out


def test_of_a_call_it_shows_the_dead_events_too(home: Path) -> None:
    lived(home)
    dead = message("call.infocaller.missed")
    mine = Message(dead.routing_key, {**dead.headers, "ce-subject": CALL}, dead.body)
    bury(home, [mine])
    said = trunkline("explain", CALL, at=home)
    assert said.status == 0
    assert f"persistence gave {mine.id} up at" in said.out
    assert "call.ended" in said.out


def test_a_strangers_dead_letter_is_found_by_its_own_name(home: Path) -> None:
    lived(home)
    bury(home, [Message("their.own.thing", {"ce-id": "order 66"}, b"not json")])
    said = trunkline("explain", "order 66", at=home)
    assert (said.status, said.err) == (0, "")
    assert lines(said.out)["type"] == "their.own.thing of nobody"


def test_a_request_in_quarantine_is_shown_with_its_reason(home: Path) -> None:
    *_, quarantine_id = lived(home)
    said = trunkline("explain", quarantine_id, at=home)
    assert (said.status, said.err) == (0, "")
    assert lines(said.out)["quarantined"].endswith(quarantine_id)
    assert "source line-900: signature: " in said.out
    assert f"trunkline quarantine show {quarantine_id}" in said.out


def test_the_event_that_tells_of_a_quarantine_leads_to_the_request(home: Path) -> None:
    *_, quarantine_id = lived(home)

    async def kept(hub: Hub) -> Any:
        items = (await hub.read("/v1/events?limit=1000"))["items"]
        return [item["id"] for item in items if item["data"].get("quarantine_id") == quarantine_id]

    (event_id,) = in_a_hub(home, kept)
    told = lines(trunkline("explain", event_id, at=home).out)
    assert told["type"] == "callback.infocaller.quarantined of /infocaller/line-900"
    assert told["quarantined"].endswith(quarantine_id)


def test_what_is_nowhere_ends_with_1_and_one_line(home: Path) -> None:
    lived(home)
    said = trunkline("explain", UNKNOWN, at=home)
    assert (said.status, said.out) == (1, "")
    assert said.err == f"trunkline: no call, event or request {UNKNOWN}\n"


def test_what_may_be_on_its_way_is_said_to_be(home: Path) -> None:
    lived(home)
    on_bus(home, one := message(), message())
    said = trunkline("explain", one.id, at=home)
    assert said.status == 1
    assert said.err.endswith("; it may be among the events that are on their way: 2 in the queue of persistence\n")


def test_what_could_not_be_asked_is_said_and_the_rest_is_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "_PATIENCE", 0.1)
    started, *_ = lived(home)
    (home / "outbox.db").unlink()
    said = trunkline("explain", started, at=home, TRUNKLINE_BUS__URL="amqp://guest:CANARY@127.0.0.1:1/")
    assert said.status == 0
    assert lines(said.out)["event"] == started
    assert "trunkline: the bus was not asked: the bus cannot be reached: " in said.err
    assert "trunkline: the ingress's disk was not asked: there is no " in said.err
    assert "CANARY" not in said.err


def test_of_a_delivery_that_failed_it_tells_the_attempt_and_of_a_lost_event_that_it_is_lost(home: Path) -> None:
    lived(home)
    now = datetime.now(UTC)
    failed = Attempt("persistence", UNKNOWN, CALL, 1, "retry", "a race", now, now + timedelta(seconds=5))
    lost = "5f5f5f5f-0000-4000-8000-000000000001"

    async def note() -> None:
        async with opened(load(home / "trunkline.toml")) as store:
            await store.attempted([failed])
            await store.suspect("persistence", [lost], now)
            await store.judge("persistence", {lost: "lost"}, now)

    asyncio.run(note())
    for name in (UNKNOWN, CALL):
        said = trunkline("explain", name, at=home)
        assert said.status == 0
        assert f"persistence, {UNKNOWN}, attempt 1 at {timestamp(now)}: a race, again at " in said.out
    said = trunkline("explain", lost, at=home)
    assert said.status == 1
    assert f"trunkline: it was accepted, and is unaccounted for since {timestamp(now)}\n" in said.err
    said = trunkline("dead", "discard", lost, at=home)
    assert said.status == 1  # it is no dead letter, and off the list all the same
    assert "unaccounted" not in trunkline("explain", lost, at=home).err


def test_a_query_stands_in_its_calls_timeline(home: Path) -> None:
    asked = question("ESTADO PEDIDO", "1", NUMPEDIDO="7")

    async def one_query(hub: Hub) -> None:
        await hub.infocaller("inicio", body("1"))
        told = await ask(hub.session, hub.url, asked, token=TOKEN)
        assert told.result == "1", "nothing is configured for it"
        await events(hub)

    in_a_hub(home, one_query)
    said = trunkline("explain", CALL, at=home)
    assert said.status == 0
    [line] = [line for line in said.lines if "query.answered" in line]
    assert "ESTADO PEDIDO → 1 in" in line
