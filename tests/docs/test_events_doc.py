"""docs/events.md: its examples are what the code makes, its tables what the code does, its programs run."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from yarl import URL

from hub.bus import wire
from hub.bus.rabbitmq import RabbitBus
from hub.bus.topology import COMMON, LADDER, dead_queue, retry_queue, suspects_queue
from hub.calls import PROMISED, Folded, Timing, fold, resealed_event, seal, sealed_event
from hub.config import DIALERS, Calls
from hub.events import REPLAY, Event, moment, to_message
from hub.ports import Callback, Vendor
from hub.vendors.focalscope.callbacks import VERBS as FOCALSCOPE_VERBS, FocalScope
from hub.vendors.infocaller.callbacks import VERBS as INFOCALLER_VERBS, Infocaller
from hub.vendors.infocu5.records import Reader, Record
from hub.vendors.ucontact.callbacks import EVENTS as UCONTACT_EVENTS, FLAGS as UCONTACT_FLAGS, UContactEvents
from tests.bus.broker import insist
from tests.docs.reading import blocks, code, document, table
from tests.hub import ADMIN, TOKEN, Hub, body, configuration, fin, running, until
from tests.vendors.focalscope.support import SAMPLES
from tests.vendors.infocu5.samples import CALL
from workers.crm.kinds import KINDS
from workers.persistence import QUEUE

DOC: Final = document("events.md")
VENDORS: Final[dict[str, Vendor]] = {
    "line-900": Infocaller(source="line-900", lines={"123456789": "3956"}, timezone="Europe/Madrid", country="ES"),
    "desk": FocalScope(source="desk"),
    "cloud": UContactEvents(source="cloud", dispositions={"No contesta": "no_answer"}),
}
ENDED_ONLY: Final = ("CallSeconds", "StartDate", "EndDate", "CostRX", "CostTX")
READER: Final = Reader(source="focu5")
SEALED_AT: Final = moment("2022-01-01T09:00:47.960Z")
WITHIN: Final = 30.0
RECORDED: Final = ("focalscope", "ucontact")  # vendors that record calls


def decoded(url: str, received_at: str, payload: dict[str, Any] | str = "") -> Event:
    """The event of a callback to one of the two sources; a text is sent as it is."""
    path, _, query = url.partition("?")
    _, _, source, _, *event = path.split("/")
    text = payload if isinstance(payload, str) else json.dumps(payload)
    callback = Callback(source, event[0] if event else None, query, "", text.encode(), moment(received_at))
    (made,) = VENDORS[source].decode(callback)
    return made


def requests() -> tuple[str, str, str]:
    """The document's callbacks: FIN's URL and body, and the hangup's URL."""
    fin_url, hangup_url = (block.text.strip() for block in blocks(DOC, "text request"))
    (payload,) = blocks(DOC, "json request")
    return fin_url, payload.text, hangup_url


def the_fin() -> Event:
    url, payload, _ = requests()
    return decoded(url, "2022-01-01T09:00:42.950Z", payload)


def the_hangup() -> Event:
    return decoded(requests()[2], "2026-11-20T09:15:31.204Z")


def the_call() -> Folded:
    """INICIO, DESVIO_CORRECTO and FIN of the example."""
    url, payload, _ = requests()
    early = json.loads(payload)
    del early["ApiCall"]["Status"]
    for name in ENDED_ONLY:
        del early["ApiCall"]["Infocaller"][name]
    start = decoded(url.replace("/fin?", "/inicio?"), "2022-01-01T09:00:00.180Z", early)
    diverted = url.replace("/fin?", "/desvio_correcto?") + "&desvio=911222333"
    return fold(
        [start, decoded(diverted, "2022-01-01T09:00:05.310Z", early), the_fin()], PROMISED["infocaller"], Timing()
    )


# --- examples --------------------------------------------------------------------------------------------------------


def test_the_example_callbacks_are_the_vendors_samples() -> None:
    url, payload, hangup_url = requests()
    assert json.loads(payload)["ApiCall"]["UserID"] == {
        "LineNumber": "123456789",
        "LineNumberInt": "34123456789",
        "CallSequence": "98565656",
        "Signature": "ae73e4b16a280726fb2e0e6bfb43902a",
    }
    assert hangup_url.endswith(f"?{SAMPLES[2]}")
    assert "/callbacks/line-900/TOKEN/fin?" in url


def test_the_example_events_are_what_the_samples_decode_to() -> None:
    assert [json.loads(block.text) for block in blocks(DOC, "json event")] == [the_fin().data, the_hangup().data]


def test_the_example_headers_and_properties_are_what_is_published() -> None:
    message = to_message(the_fin())
    ((headers,), (properties,)) = (blocks(DOC, f"json {kind}") for kind in ("headers", "properties"))
    assert json.loads(headers.text) == message.headers
    sent = wire.publication(message).properties()
    for name, value in json.loads(properties.text).items():
        found = getattr(sent, name)
        assert (int(found.timestamp()) if isinstance(found, datetime) else found) == value, name


def test_the_example_record_is_the_fold_of_the_sample_sealed() -> None:
    (block,) = blocks(DOC, "json record")
    call = the_call()
    assert (call.verdict, call.wait, call.conflicts) == ("complete", 5, 0)
    assert json.loads(block.text) == seal(call, SEALED_AT)


def test_the_identities_are_what_the_programs_of_the_document_print(capsys: pytest.CaptureFixture[str]) -> None:
    programs = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
    for program, printed in programs:
        exec(compile(program, "docs/events.md", "exec"), {})  # noqa: S102  that is the test
        assert capsys.readouterr().out == printed
    (worked,) = re.findall(r"`(/callbacks/[^`\s]+)`", DOC)
    event = decoded(worked, "2022-01-01T09:00:05.310Z")
    assert [line for _, printed in programs for line in printed.split()] == [
        *(made.subject for made in (the_fin(), the_hangup())),
        event.id,
    ]
    record = seal(the_call(), SEALED_AT)
    assert sealed_event(record, SEALED_AT).subject == the_fin().subject == event.subject


# --- tables ----------------------------------------------------------------------------------------------------------


def test_every_routing_key_that_can_be_published_is_named_and_no_other() -> None:
    named = {key for row in table(DOC, "routing key", "from") for key in code(row[0])}
    made = {f"call.infocaller.{verb}" for verb in INFOCALLER_VERBS.values()}
    made |= {f"call.focalscope.{verb}" for verb in FOCALSCOPE_VERBS.values()}
    for noun, verb in UCONTACT_EVENTS.values():
        made |= {f"{noun}.ucontact.{verb}"} | ({f"interaction.ucontact.{verb}"} if noun == "call" else set())
    made |= {f"agent.ucontact.{verb}" for _, *verbs in UCONTACT_FLAGS.values() for verb in verbs}
    for vendor in ("infocaller", "focalscope", "ucontact"):
        made |= {f"call.{vendor}.sealed", f"call.{vendor}.resealed", f"callback.{vendor}.quarantined"}
    made |= {f"call.infocu5.{verb}" for verb in ("ended", "sealed", "resealed")}
    made |= {f"respool.{vendor}.{verb}" for vendor in DIALERS for verb in ("accepted", "refused")}
    verbs = ("opened", "closed", "disabled", "enabled")
    made |= {f"destination.{kind}.{verb}" for kind in KINDS for verb in verbs}
    made |= {
        f"source.{vendor}.{verb}" for vendor in ("infocaller", "focalscope", "ucontact") for verb in ("silent", "heard")
    }
    made |= {
        f"dial.{vendor}.{verb}"
        for vendor in ("infocaller", "focalscope", "ucontact")
        for verb in ("requested", "accepted", "tied", "failed")
    }
    audio = {"recording": ("available", "stored", "failed"), "custody": ("endangered", "version", "deleted")}
    made |= {f"{noun}.{vendor}.{verb}" for noun in audio for vendor in RECORDED for verb in audio[noun]}
    made.add("query.infocaller.answered")
    assert named == made


def test_every_field_of_an_event_and_of_a_record_is_described() -> None:
    event_fields, record_fields, leg_fields = (
        {name for row in rows for name in code(row[0])} for rows in _tables_of_fields()
    )
    longer = "CallerID=911888920&DID=900805089&Ext=1001&Agent=Bego&Queue=Ventas"
    issued = json.loads(requests()[1].replace('"CallType": "R"', '"CallType": "E"'))
    issued["ApiCall"]["Infocaller"]["OutboundNumber"] = "600111222"
    events = [
        the_fin(),
        the_hangup(),
        decoded(f"{requests()[2]}&{longer}", "2026-11-20T09:15:31Z"),
        decoded(requests()[0], "2026-11-20T09:15:31Z", issued),
        READER.event(Record("1", CALL), "poll", moment("2026-11-20T09:15:31Z")),
        decoded(
            "/callbacks/cloud/TOKEN",
            "2026-11-20T09:15:31Z",
            {"event": "SentDisposition", "guid": "1", "disposition": "No contesta"},
        ),
    ]
    assert {name for event in events for name in event.data} == event_fields
    records = [seal(fold([event], PROMISED[event.vendor], Timing()), SEALED_AT) for event in events] + [
        seal(the_call(), SEALED_AT)
    ]
    reserved = {"dial_id"}
    assert {name for record in records for name in record} | reserved == record_fields
    assert {name for record in records for leg in record["legs"] for name in leg} == leg_fields


def _tables_of_fields() -> list[list[list[str]]]:
    event, record = DOC.index("## Data of a call's event"), DOC.index("## The call record")
    legs, after = DOC.index("### Legs"), DOC.index("### State and disposition")
    return [table(DOC[a:b], "field", "type") for a, b in ((event, record), (record, legs), (legs, after))]


def test_the_timers_are_the_configurations() -> None:
    told = {code(row[0])[0]: float(row[1]) for row in table(DOC, "configuration", "default, s")}
    assert told == {f"calls.{name}": value for name, value in Calls().model_dump().items()}


def _infocaller(kind: str, steps: Sequence[str]) -> Iterator[Event]:
    for number, step in enumerate(steps):
        name, _, rest = step.partition(" ")
        actions = [
            {"EventType": "2", "EventName": action, "EventAddInfo3": seconds}
            for action, seconds in re.findall(r"(\d+): (\d+)", rest)
        ]
        payload = body(CallType=kind) if name != "FIN" else fin(CallType=kind)
        payload["ApiCall"]["Status"] = {"Events": {"Event": actions}}
        query = f"?desvio={rest}" if name.startswith("DESVIO") else ""
        yield decoded(f"/callbacks/line-900/TOKEN/{name}{query}", f"2022-01-01T09:00:{number:02}Z", payload)


def _focalscope(request_id: str, steps: Sequence[str]) -> Iterator[Event]:
    for number, step in enumerate(steps):
        kind, name = step.split()
        query = f"CallType={kind}&Event={name}&RequestID={request_id}&CallID={len(kind)}"
        yield decoded(f"/callbacks/desk/TOKEN?{query}", f"2022-01-01T09:00:{number:02}Z")


OUTCOMES: Final = {
    "Infocaller, received": lambda steps: _infocaller("R", steps),
    "Infocaller, issued": lambda steps: _infocaller("E", steps),
    "FocalScope, dialled": lambda steps: _focalscope("513", steps),
    "FocalScope, not dialled": lambda steps: _focalscope("", steps),
}


def outcome(kind: str, steps: Sequence[str]) -> list[str]:
    """State, disposition, timer, verdict and what is missing, as the tables have them."""
    events = list(OUTCOMES[kind](steps))
    result = fold(events, PROMISED[events[0].vendor], Timing())
    timer = {value: name for name, value in Calls().model_dump().items()}[result.wait]
    missing = " ".join(f"`{verb}`" for verb in result.missing)
    return [result.record["state"], result.record["disposition"], f"`{timer}`", result.verdict, missing]


@pytest.mark.parametrize("kind", OUTCOMES)
def test_the_outcome_of_each_life_is_as_told(kind: str) -> None:
    rows = table(DOC, kind, "state")
    assert len(rows) > 1
    for steps, *told in rows:
        assert outcome(kind, code(steps)) == told, steps


def test_the_queues_are_those_that_are_declared() -> None:
    rows = table(DOC, "queue", "bound to")
    names = [code(row[0])[0] for row in rows]
    assert names[:2] == [QUEUE.name, dead_queue(QUEUE.name)]
    assert code(rows[0][1]) == list(QUEUE.bindings)
    assert names[2] == retry_queue(QUEUE.name, 0).replace("0s", "<n>s")
    assert re.findall(r"\d+", rows[2][2]) == [str(seconds) for seconds in LADDER]
    assert names[3] == suspects_queue(QUEUE.name)
    assert names[4] in {part.name for part in COMMON}
    added = set(re.findall(r"`(x-trunkline-[a-z-]+)`", DOC))
    assert added == {wire.ATTEMPT, wire.REASON, wire.ROUTING_KEY, wire.DIED_AT, wire.HISTORY, wire.RETURNED, REPLAY}


# --- programs --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def started(program: str, directory: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the document as a process of its own, killed in the end."""
    (directory / "program.py").write_text(program, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "program.py"),
        cwd=directory,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), WITHIN)).decode().strip()


def sealed(request_id: int, *, again: bool = False) -> Event:
    url = requests()[2].replace("RequestID=513", f"RequestID={request_id}")
    at = moment("2026-11-20T09:20:00Z") + timedelta(seconds=request_id)
    record = seal(fold([decoded(url, "2026-11-20T09:15:31Z")], PROMISED["focalscope"], Timing()), at)
    return resealed_event(record, at) if again else sealed_event(record, at)


async def _marked(file: Path, event_id: str) -> bool:
    with contextlib.closing(sqlite3.connect(file)) as seen:
        return seen.execute("SELECT 1 FROM seen WHERE id = ?", (event_id,)).fetchone() is not None


def printed(event: Event) -> str:
    return f"{event.subject} {event.data['disposition']}"


async def test_the_consumer_gets_each_sealed_call_once_over_repetition_and_its_own_death(
    tmp_path: Path, amqp_url: str
) -> None:
    (program,) = (block.text for block in blocks(DOC, "python consumer"))
    assert len(program.splitlines()) <= 25
    first, second, third, fourth = (sealed(number) for number in (1, 2, 3, 4))
    bus = RabbitBus([amqp_url], ladder=(1,))
    await bus.start()
    try:
        await bus.declare([QUEUE])
        async with started(program, tmp_path, AMQP_URL=amqp_url) as consumer:
            told = asyncio.create_task(line(consumer))
            while not told.done():  # until its queue is bound nothing reaches it: so again and again
                await insist(bus, to_message(first))
                await asyncio.wait((told,), timeout=0.1)
            assert await told == printed(first)
            others = [the_hangup(), sealed(2, again=True)]
            await insist(bus, *map(to_message, [first, second, second, *others, third]))
            assert [await line(consumer), await line(consumer)] == [printed(second), printed(third)]
            # A death before the mark would print it again, as the document says; this one comes after it.
            await until(lambda: _marked(tmp_path / "seen.db", third.id))
        async with started(program, tmp_path, AMQP_URL=amqp_url) as consumer:
            await insist(bus, *map(to_message, [second, third, fourth]))
            assert await line(consumer) == printed(fourth)
    finally:
        await bus.close()


async def test_the_poller_reads_each_sealed_call_once_page_by_page(tmp_path: Path) -> None:
    (program,) = (block.text for block in blocks(DOC, "python poller"))
    assert "limit=1000" in program
    program = program.replace("limit=1000", "limit=3")  # so that a handful of calls makes pages
    async with running(configuration(tmp_path)) as hub:
        ids = [await _sealed_call(hub, number) for number in range(3)]
        environment = {"HUB_URL": str(hub.url).rstrip("/"), "ADMIN_TOKEN": ADMIN}
        async with started(program, tmp_path, **environment) as poller:
            assert [(await line(poller)).split()[0] for _ in ids] == ids
            ids += [await _sealed_call(hub, number) for number in range(3, 6)]
            assert [(await line(poller)).split()[0] for _ in range(3)] == ids[3:]
        assert int((tmp_path / "cursor").read_text()) > 0
        events = (await hub.read("/v1/events?limit=1000"))["items"]
        last = next(event for event in events if event["subject"] == ids[-1] and "sealed" in event["type"])
        assert last["data"] == await hub.read(f"/v1/calls/{ids[-1]}")
        assert set(last) == {"id", "type", "source", "time", "subject", "data"}


async def _sealed_call(hub: Hub, number: int) -> str:
    """A call from its one callback to the event that says it is sealed; its id."""
    answer = await (await hub.infocaller("fin", fin(str(5000 + number)))).json()

    async def kept() -> str | None:
        events = (await hub.read("/v1/events?limit=1000"))["items"]
        mine = next((event["subject"] for event in events if event["id"] == answer["event_id"]), None)
        ends = (event for event in events if event["subject"] == mine and event["type"] == "trunkline.call.sealed.v1")
        return mine if mine and next(ends, None) else None

    return await until(kept)


async def test_a_quarantined_callback_is_announced_as_told(tmp_path: Path) -> None:
    (block,) = blocks(DOC, "json quarantined")
    example = json.loads(block.text)
    async with running(configuration(tmp_path)) as hub:
        url = URL(f"{hub.url}/callbacks/line-900/{TOKEN}/fin")
        async with hub.session.post(url, json=body(signature="0" * 32)) as answer:
            assert answer.status == 422
            told = await answer.json()

        async def announced() -> dict[str, Any] | None:
            return next(iter((await hub.read("/v1/events"))["items"]), None)

        event = await until(announced)
    assert (event["type"], event["id"], event["subject"]) == (
        "trunkline.callback.quarantined.v1",
        told["quarantine_id"],
        None,
    )
    changing = {"quarantine_id": told["quarantine_id"], "received_at": event["data"]["received_at"]}
    assert event["data"] == {**example, **changing}
