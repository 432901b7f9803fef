"""``trunkline explain``: where an event is, or the whole timeline of a call."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from hub.cli.operating import complain, opened_bus, settings_of, show
from hub.cli.shared import run
from hub.config import Settings
from hub.disk import Disk
from hub.errors import ConfigurationError, NotDurable
from hub.events import Message, timestamp
from hub.operating.dead_letters import Found
from hub.operating.destinations import told
from hub.operating.whereabouts import Whereabouts, look_up
from hub.parts import make_disk, opened, worker_queues
from hub.ports import Attempt, Bus, Stored
from hub.ports.dialing import Dial
from hub.ports.recordings import Recording
from hub.respooling.planning import Respool


def explain(
    context: typer.Context,
    any_id: Annotated[str, typer.Argument(metavar="ID", help="Of a call, of an event, or of a request in quarantine.")],
) -> None:
    """Where an event is; of a call every event, in the order they were kept. Exits 1 where it is nowhere."""
    where, recordings, dials, respools = run(_look_up(settings_of(context), any_id))
    if where.found or recordings or dials:
        for line in _told(where):
            typer.echo(line)
        effects = (*chain.from_iterable(map(_recorded, recordings)), *chain.from_iterable(map(_dialled, dials)))
        for line in (*effects, *map(_respooled, respools)):
            typer.echo(line)
        if where.of_call:
            show(_timeline(where.events), len(where.events), more=False)
            for line in (*map(_death, where.dead), *map(_failure, _of_living(where))):
                typer.echo(line)
        for tried in where.tries:
            typer.echo(_line("sent", told(tried)))
    for part, why in where.unasked.items():
        complain(f"{part} was not asked: {why}")
    if not where.found and not recordings and not dials:
        complain(f"no call, event or request {where.id}{_maybe(where)}")
        if where.suspect is not None and where.suspect.state == "lost":
            complain(f"it was accepted, and is unaccounted for since {timestamp(where.suspect.since)}")
        raise typer.Exit(1)


async def _look_up(settings: Settings, any_id: str) -> tuple[Whereabouts, list[Recording], list[Dial], list[Respool]]:
    async with opened(settings) as store, AsyncExitStack() as stack:
        await store.ping()  # first: without it nothing can be said
        bus, why = await _bus(stack, settings)
        disk = await stack.enter_async_context(_disk(settings))
        queues = {} if bus is None else worker_queues(settings)
        where = await look_up(any_id, store, bus, queues, disk)
        named = await store.recordings.recording(where.id)
        recordings = [named] if named is not None else await store.recordings.of_call(where.id)
        dialled = await store.dials.dial(where.id)
        dials = [dialled] if dialled is not None else list(await store.dials.of_call(where.id))
        respools = await store.respools.of_call(where.id)
    if why:
        where.unasked["the bus"] = why
    if disk is None:
        where.unasked["the ingress's disk"] = f"there is no {settings.outbox.path} on this machine"
    return where, recordings, dials, respools


async def _bus(stack: AsyncExitStack, settings: Settings) -> tuple[Bus | None, str]:
    try:
        return await stack.enter_async_context(opened_bus(settings)), ""
    except (NotDurable, ConfigurationError) as error:
        return None, str(error)


@asynccontextmanager
async def _disk(settings: Settings) -> AsyncIterator[Disk | None]:
    if not settings.outbox.path.exists():
        yield None
        return
    disk = make_disk(settings)
    await disk.start()
    try:
        yield disk
    finally:
        await disk.close()


# --- what is said ----------------------------------------------------------------------------------------------------


def _told(where: Whereabouts) -> Iterator[str]:
    if where.of_call:
        yield _line("call", where.id)
        yield from _record(where.record)
        return
    for event in where.events:
        yield from _message(event.message)
        yield _line("kept", timestamp(event.kept_at))
        if event.call_id is not None:
            yield _line("call", event.call_id)
        yield from _record(where.record)
    if where.dead and not where.events:
        yield from _message(where.dead[0].letter.message)
        yield _line("kept", "no")
    elif where.attempts and not where.events:
        yield _line("event", where.id)
        yield _line("kept", "no")
    yield from _deaths(where.dead)
    for attempt in _of_living(where):
        yield _line("failed", _failure(attempt))
    if where.quarantined is not None:
        request = where.quarantined.request
        yield _line("quarantined", f"{timestamp(request.received_at)} {where.quarantined.quarantine_id}")
        yield _line("", f"source {request.source}: {request.reason}: {request.detail}")
        yield _line("", f"trunkline quarantine show {where.quarantined.quarantine_id}")


def _message(message: Message) -> Iterator[str]:
    """An event's own account; a stranger's may have none."""
    headers = message.headers
    yield _line("event", message.id or "without an id")
    yield _line("type", f"{message.routing_key} of {headers.get('ce-source', 'nobody')}")
    yield _line(
        "accepted", _data(message).get("received_at") or f"no time of receipt; its time is {headers.get('ce-time')}"
    )


def _data(message: Message) -> dict[str, Any]:
    try:
        data = orjson.loads(message.body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}


def _record(record: dict[str, Any] | None) -> Iterator[str]:
    if record is None:
        return
    sealed = record.get("sealed")
    seal = "not sealed yet"
    if sealed:
        missing = f", missing {', '.join(sealed['missing'])}" if sealed["missing"] else ""
        seal = f"sealed {sealed['at']}: {sealed['verdict']}{missing}"
    yield _line("", f"{record['state']}, {record['disposition']}, {seal}")


def _recorded(recording: Recording) -> Iterator[str]:
    """A recording with every attempt that is remembered."""
    yield _line("recording", f"{recording.recording_id} of leg {recording.leg or 'none'}")
    kept = recording.kept
    if kept is not None and recording.state != "deleted":
        flags = f", flagged {', '.join(kept.flags)}" if kept.flags else ""
        yield _line("", f"{recording.state}: {kept.key}, {kept.bytes} bytes{flags}")
    elif recording.state == "waiting":
        soon = "" if recording.next_at is None else f", again at {timestamp(recording.next_at)}"
        yield _line("", f"waiting{soon}; the vendor deletes it at {timestamp(recording.expires_at)}")
    else:
        yield _line("", recording.state if recording.reason is None else f"{recording.state}: {recording.reason}")
    for failure in recording.history:
        yield _line("", f"attempt at {timestamp(failure.at)}: {failure.reason}")


def _dialled(dial: Dial) -> Iterator[str]:
    yield _line("dial", f"{timestamp(dial.requested_at)} {dial.dial_id}")
    agent = f" for {dial.order.agent}" if dial.order.agent else ""
    yield _line("", f"{dial.state}: {dial.order.source} to {dial.order.destination}{agent}, attempts {dial.attempt}")
    if dial.sent_at is not None:
        answered = "" if dial.settled_at is None else f", settled {timestamp(dial.settled_at)}"
        yield _line("", f"sent {timestamp(dial.sent_at)}{answered}")
    if dial.request_id is not None:
        yield _line("", f"request {dial.request_id}")
    if dial.call_id is not None:
        yield _line("", f"call {dial.call_id}")
    if dial.reason is not None:
        yield _line("", dial.reason)
    for one in dial.history:
        yield _line("", f"{timestamp(one.at)} {one.reason}")


def _respooled(one: Respool) -> str:
    """An attempt that the call caused, or is the report of."""
    planned = one.planned
    when = {"waiting": one.next_at, "accepted": one.at}.get(one.state, one.settled_at)
    reason = f": {one.reason}" if one.reason else ""
    report = f", its call {one.report} {one.outcome}" if one.report else ""
    at = f" {timestamp(when)}" if when else ""
    said = f"attempt {planned.attempt} by {planned.dialer}, {planned.campaign}: {one.state}{at}{reason}{report}"
    return _line("respool", said)


def _deaths(dead: Sequence[Found]) -> Iterator[str]:
    for found in dead:
        yield _line("dead", _death(found))
        for attempt in found.shown_whole()["attempts"]:
            yield _line("", f"attempt {attempt['attempt']} at {attempt['at']}: {attempt['reason']}")
        yield _line("", f"trunkline dead requeue {found.letter.id} --worker {found.worker}")


def _death(found: Found) -> str:
    letter = found.letter
    return (
        f"{found.worker} gave {letter.id} up at {timestamp(letter.died_at)}, attempt {letter.attempt}: {letter.reason}"
    )


def _of_living(where: Whereabouts) -> list[Attempt]:
    """The failures that no dead letter tells of."""
    told = {found.letter.id for found in where.dead}
    return [one for one in where.attempts if one.event_id not in told]


def _failure(one: Attempt) -> str:
    until = f", again at {timestamp(one.until)}" if one.until is not None else ""
    return f"{one.worker}, {one.event_id}, attempt {one.attempt} at {timestamp(one.at)}: {one.reason}{until}"


def _maybe(where: Whereabouts) -> str:
    """What may still hold it."""
    places = [f"{count} in {place}" for place, count in where.under_way.items()]
    return f"; it may be among the events that are on their way: {', '.join(places)}" if places else ""


def _line(name: str, text: str) -> str:
    return f"{name:<12} {text}"


def _timeline(events: Sequence[Stored]) -> Table:
    table = Table("time", "received", "kept", "event", "leg", "id")
    for event in events:
        data = _data(event.message)
        noun, _, verb = event.message.routing_key.split(".")
        leg = data.get("leg") or {}
        who = " ".join(str(leg[part]) for part in ("role", "number", "id") if leg.get(part))
        if noun == "query":
            who = f"{data.get('query', '')} → {data.get('result', '')} in {data.get('milliseconds', '?')} ms"
        table.add_row(
            *(event.message.headers["ce-time"], data.get("received_at", ""), timestamp(event.kept_at)),
            *(f"{noun}.{verb}", who, event.message.id),
        )
    return table
