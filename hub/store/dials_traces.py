"""Notes the calls that a vendor placed while a dial of its source is loose, in the transaction that keeps their events.

A note costs a statement only where an event names a request of ours and somebody looks for one: callbacks of received
calls never do. What is sent after the intent is committed is heard of after it too, so no call is missed.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.calls import key
from hub.calls.facts import received_at
from hub.events import Event
from hub.store.dials_tables import dial_traces, dials
from hub.store.rows import LONGEST_NUMBER

TRACES: Final = {"infocaller": "idcall", "focalscope": "request_id", "ucontact": "guid"}
"""What a vendor's callbacks call the request that a call was placed by, in ``vendor_ids``."""


def trace(event: Event) -> str:
    """What the vendor calls the request behind the call; empty where it names none."""
    if event.noun != "call":
        return ""
    ids = event.data.get("vendor_ids")
    value = ids.get(TRACES.get(event.vendor, "")) if isinstance(ids, dict) else None
    return value if isinstance(value, str) and len(value) <= LONGEST_NUMBER and "\0" not in value else ""


async def note(connection: AsyncConnection, kept: Collection[Event]) -> None:
    """Notes the calls of new events, whose rows we hold."""
    found: dict[str, dict[str, Any]] = {}
    for event in kept:
        if name := trace(event):
            row: dict[str, Any] = {
                "call_id": key(event),
                "source": event.source,
                "trace": name,
                "at": received_at(event),
            }
            found.setdefault(row["call_id"], row)
    if not found:
        return
    sources = {row["source"] for row in found.values()}
    loose = select(dials.c.source).where(dials.c.loose, dials.c.source.in_(sources)).distinct()
    wanted = set((await connection.scalars(loose)).all())
    rows = [row for _, row in sorted(found.items()) if row["source"] in wanted]
    if rows:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        await connection.execute(make(dial_traces).on_conflict_do_nothing(), rows)
