"""Between dials, their rows and their events. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import orjson
from sqlalchemy import Row

from hub.dialing.orders import Order
from hub.events import Event, identity, timestamp
from hub.ports.dialing import Dial
from hub.store.recordings_rows import history_of

Verb = Literal["requested", "accepted", "tied", "failed"]
_LONGEST_REASON: Final = 500
_ASKED: Final = ("agent", "caller_number", "campaign")


def row_of(
    dial_id: str,
    order: Order,
    vendor: str,
    *,
    callee: Mapping[str, str],
    key: str | None,
    now: datetime,
    within: float,
) -> dict[str, Any]:
    """The row of a dial that is taken now."""
    return {
        "dial_id": dial_id,
        "source": order.source,
        "vendor": vendor,
        "callee": orjson.dumps(dict(callee)).decode(),
        "idempotency_key": key,
        "wish": orjson.dumps(order.shown()).decode(),
        "state": "requested",
        "requested_at": now,
        "give_up_at": now + timedelta(seconds=within),
        "next_at": now,
        "attempt": 0,
        "history": "[]",
        "vendor_ids": "{}",
        "loose": False,
    }


def dial_of(row: Row[Any]) -> Dial:
    """The inverse."""
    return Dial(
        dial_id=row.dial_id,
        vendor=row.vendor,
        order=order_of(row),
        key=row.idempotency_key,
        state=row.state,
        requested_at=row.requested_at,
        give_up_at=row.give_up_at,
        sent_at=row.sent_at,
        settled_at=row.settled_at,
        attempt=row.attempt,
        history=history_of(row.history),
        request_id=row.request_id,
        call_id=row.call_id,
        reason=row.reason,
        claim=row.claim,
    )


def order_of(row: Row[Any]) -> Order:
    """What is to be dialled."""
    return Order(**orjson.loads(row.wish))


def short(reason: str) -> str:
    """A reason as a row, an event and an answer have it."""
    return reason.replace("\0", "\ufffd")[:_LONGEST_REASON]


def told(row: Row[Any], verb: Verb, now: datetime) -> Event:
    """``dial.<vendor>.<verb>``. With a call's id it counts in that call's record."""
    order = orjson.loads(row.wish)
    asked = {name: order.get(name) for name in _ASKED} if verb == "requested" else {}
    data = {
        "dial_id": row.dial_id,
        "call_id": row.call_id,
        "vendor": row.vendor,
        "source": row.source,
        "event": verb,
        "received_at": timestamp(now),
        "direction": "outbound",
        "destination": order["destination"],
        "callee": orjson.loads(row.callee),
        **asked,
        "request_id": row.request_id,
        "vendor_ids": orjson.loads(row.vendor_ids) or None,
        "reason": row.reason if verb == "failed" else None,
    }
    return Event(
        id=identity("dial", row.dial_id, verb),
        noun="dial",
        vendor=row.vendor,
        verb=verb,
        source=row.source,
        time=now,
        data={name: value for name, value in data.items() if value is not None},
        subject=row.call_id,
    )
