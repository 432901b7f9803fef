"""The tables of dials, as the statements see them; ``migrations`` creates them."""

from typing import Final

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text

from hub.store.tables import Moment, Name, metadata

# One row a dial, from the moment that it was taken.
dials: Final = Table(
    "dials",
    metadata,
    Column("dial_id", Name, primary_key=True),
    Column("source", Name, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("callee", Text, nullable=False),  # JSON: number and E.164
    Column("idempotency_key", Text),
    Column("wish", Text, nullable=False),  # JSON: the order
    Column("state", Text, nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column("give_up_at", Moment, nullable=False),
    Column("next_at", Moment),
    Column("sent_at", Moment),
    Column("settled_at", Moment),
    Column("attempt", Integer, nullable=False),
    Column("history", Text, nullable=False),  # JSON: [[when, reason], …]
    Column("claim", Text),
    Column("claimed_until", Moment),
    Column("request_id", Name),
    Column("vendor_ids", Text, nullable=False),  # JSON
    Column("call_id", Name),
    Column("reason", Text),
    Column("loose", Boolean, nullable=False),  # it was sent, and which call it became is not known
)

# Which dial an idempotency key stands for.
dial_keys: Final = Table(
    "dial_keys",
    metadata,
    Column("idempotency_key", Name, primary_key=True),
    Column("dial_id", Name, nullable=False),
    Column("digest", Text, nullable=False),
    Column("until", Moment, nullable=False),
)

# Calls that a vendor placed while one of its dials was loose, by what it calls the request.
dial_traces: Final = Table(
    "dial_traces",
    metadata,
    Column("call_id", Name, primary_key=True),
    Column("source", Name, nullable=False),
    Column("trace", Name, nullable=False),
    Column("at", Moment, nullable=False),
    Index("dial_traces_source", "source", "at"),
)

Index("dial_keys_until", dial_keys.c.until)
for _name, _columns, _where in (
    ("dials_due", ("source", "next_at"), dials.c.state == "requested"),
    ("dials_loose", ("source",), dials.c.loose),
    ("dials_call", ("call_id",), dials.c.call_id.is_not(None)),
    ("dials_unknown", ("sent_at",), dials.c.state == "unknown"),
):
    Index(_name, *(dials.c[name] for name in _columns), postgresql_where=_where, sqlite_where=_where)
