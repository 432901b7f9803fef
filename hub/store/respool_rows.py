"""Between attempts, the events that follow from them, and rows. Pure."""

from datetime import datetime
from typing import Any, Final, Literal

import orjson
from sqlalchemy import Row

from hub.events import Event, identity, timestamp
from hub.respooling.planning import Planned, Respool

FRESH: Final[dict[str, Any]] = {
    "state": "waiting",
    "tries": 0,
    "claim": None,
    "claimed_until": None,
    "intent_at": None,
    "at": None,
    "settled_at": None,
    "reason": None,
    "remote_id": None,
    "grave": None,
}
"""What an attempt has whenever it is taken up."""


def respool_id(planned: Planned) -> str:
    """The id of an attempt: the same whoever plans it."""
    return identity("respool", planned.contact, planned.campaign, planned.cause, str(planned.attempt))


def changeable(planned: Planned) -> dict[str, Any]:
    """What an attempt that begins anew takes from its rule as it is now."""
    return {
        "rule": planned.rule,
        "dialer": planned.dialer,
        "vendor": planned.vendor,
        "details": orjson.dumps(planned.details).decode(),
    }


def row_of(planned: Planned) -> dict[str, Any]:
    """A new row."""
    return {
        **FRESH,
        "respool_id": respool_id(planned),
        "contact": planned.contact,
        "campaign": planned.campaign,
        "cause": planned.cause,
        "attempt": planned.attempt,
        **changeable(planned),
        "number": planned.numbers[0],
        "numbers": orjson.dumps(planned.numbers).decode(),
        "round": 1,
        "since": planned.since,
        "due_at": planned.due_at,
        "next_at": planned.next_at,
        "report": None,
        "outcome": None,
    }


def respool_of(row: Row[Any]) -> Respool:
    """The inverse."""
    return Respool(
        respool_id=row.respool_id,
        planned=Planned(
            contact=row.contact,
            campaign=row.campaign,
            cause=row.cause,
            attempt=row.attempt,
            rule=row.rule,
            dialer=row.dialer,
            vendor=row.vendor,
            numbers=tuple(orjson.loads(row.numbers)),
            details=orjson.loads(row.details),
            since=row.since,
            due_at=row.due_at,
            next_at=row.next_at or row.due_at,
        ),
        state=row.state,
        round=row.round,
        tries=row.tries,
        next_at=row.next_at,
        claim=row.claim,
        intent_at=row.intent_at,
        at=row.at,
        settled_at=row.settled_at,
        reason=row.reason,
        remote_id=row.remote_id,
        report=row.report,
        outcome=row.outcome,
    )


def told(row: Row[Any], verb: Literal["accepted", "refused"], now: datetime, **more: Any) -> Event:
    """``respool.<vendor>.accepted`` or ``.refused``, filed under the cause; once for each time it was taken up."""
    data = {
        "respool_id": row.respool_id,
        "call_id": row.cause,
        "vendor": row.vendor,
        "source": row.dialer,
        "contact": row.contact,
        "campaign": row.campaign,
        "cause": row.cause,
        "attempt": row.attempt,
        "received_at": timestamp(now),
        **more,
    }
    return Event(
        id=identity(row.respool_id, f"respool.{verb}", str(row.round)),
        noun="respool",
        vendor=row.vendor,
        verb=verb,
        source=row.dialer,
        time=now,
        data={name: value for name, value in data.items() if value is not None},
        subject=row.cause,
    )
