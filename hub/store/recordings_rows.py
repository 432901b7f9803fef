"""Between recordings, the events that follow from them, and rows. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import orjson
from sqlalchemy import Row

from hub.events import Event, Message, identity, moment, timestamp
from hub.ports import HISTORY, HISTORY_REASON, Failure
from hub.ports.recordings import Announced, Kept, Recording

NEW: Final[Mapping[str, Any]] = {
    "attempt": 0,
    "round": 1,
    "history": "[]",
    "claim": None,
    "claimed_until": None,
    "seen": None,
    "flags": "[]",
    "buried": False,
    "versions": "[]",
}

Verb = Literal["stored", "failed"]


def row_of(announced: Announced, now: datetime) -> dict[str, Any]:
    """A new row."""
    return {
        **NEW,
        "recording_id": announced.recording_id,
        "call_id": announced.call_id,
        "vendor": announced.vendor,
        "source": announced.source,
        "leg": announced.leg,
        "state": "waiting" if announced.wanted else "idle",
        "data": orjson.dumps(announced.data).decode(),
        "at": announced.at,
        "expires_at": announced.expires_at,
        "alert_at": announced.alert_at if announced.wanted else None,
        "next_at": now if announced.wanted else None,
    }


def recording_of(row: Row[Any]) -> Recording:
    """The inverse."""
    return Recording(
        recording_id=row.recording_id,
        call_id=row.call_id,
        vendor=row.vendor,
        source=row.source,
        leg=row.leg,
        state=row.state,
        data=orjson.loads(row.data),
        at=row.at,
        expires_at=row.expires_at,
        next_at=row.next_at,
        attempt=row.attempt,
        history=history_of(row.history),
        claim=row.claim,
        seen=row.seen,
        kept=_kept(row),
        settled_at=row.settled_at,
        reason=row.reason,
        versions=tuple(orjson.loads(row.versions)),
    )


def _kept(row: Row[Any]) -> Kept | None:
    if row.key is None:
        return None
    return Kept(
        key=row.key,
        sha256=row.sha256,
        bytes=row.bytes,
        seconds=None if row.milliseconds is None else row.milliseconds / 1000,
        content_type=row.content_type,
        flags=tuple(orjson.loads(row.flags)),
        began_at=row.settled_at or row.at,
        delete_at=row.delete_at,
    )


def kept_row(kept: Kept, now: datetime) -> dict[str, Any]:
    """What a row has of its audio."""
    return {
        "key": kept.key,
        "sha256": kept.sha256,
        "bytes": kept.bytes,
        "milliseconds": None if kept.seconds is None else round(kept.seconds * 1000),
        "content_type": kept.content_type,
        "flags": orjson.dumps(kept.flags).decode(),
        "settled_at": now,
        "delete_at": kept.delete_at,
    }


def history_of(text: str) -> tuple[Failure, ...]:
    """The failures that a row remembers."""
    return tuple(Failure(moment(at), reason) for at, reason in orjson.loads(text))


def with_failure(text: str, failure: Failure) -> str:
    """A row's failures and one more; the oldest are forgotten."""
    lines = [*orjson.loads(text), [timestamp(failure.at), failure.reason[:HISTORY_REASON]]]
    return orjson.dumps(lines[-HISTORY:]).decode()


def message_text(message: Message) -> str:
    """A message as a row has it."""
    return orjson.dumps([message.routing_key, message.headers, message.body.decode()]).decode()


def text_message(text: str) -> Message:
    """The inverse."""
    routing_key, headers, body = orjson.loads(text)
    return Message(routing_key, headers, body.encode())


def told(row: Row[Any], verb: Verb, now: datetime, *name: str, **more: Any) -> Event:
    """``recording.<vendor>.stored`` or ``.failed``: it counts in the call's record."""
    return _event(row, "recording", verb, now, *name, **more)


def operational(row: Row[Any], verb: str, now: datetime, *name: str, **more: Any) -> Event:
    """``custody.<vendor>.<verb>``: for operators; the call's record does not change by it."""
    return _event(row, "custody", verb, now, *name, **more)


def _event(row: Row[Any], noun: str, verb: str, now: datetime, *name: str, **more: Any) -> Event:
    data = {
        "recording_id": row.recording_id,
        "call_id": row.call_id,
        "vendor": row.vendor,
        "source": row.source,
        "leg": {"id": row.leg} if row.leg else None,
        "received_at": timestamp(now),
        **more,
    }
    return Event(
        id=identity(row.recording_id, f"{noun}.{verb}", *name),
        noun=noun,
        vendor=row.vendor,
        verb=verb,
        source=row.source,
        time=now,
        data={field: value for field, value in data.items() if value is not None},
        subject=row.call_id,
    )


def version(kept: Kept, now: datetime) -> dict[str, Any]:
    """Other audio of the same recording, as it is noted beside the first."""
    return {"key": kept.key, "sha256": kept.sha256, "bytes": kept.bytes, "at": timestamp(now)}


def with_version(text: str, one: Mapping[str, Any]) -> tuple[str, bool]:
    """A row's versions with this one; and whether it is new."""
    known: Sequence[Mapping[str, Any]] = orjson.loads(text)
    if any(other["sha256"] == one["sha256"] for other in known):
        return text, False
    return orjson.dumps([*known, one]).decode(), True
