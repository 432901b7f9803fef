"""The tables of forwarding: work, the events that want it, what was tried. ``hub.ports.forwarding`` says the words."""

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Identity, Index, Integer, Table, Text

from hub.store.tables import Moment, Name, Serial, metadata

# A row for each destination and each thing it keeps: for CRMs also the map from our calls to their records.
work: Final = Table(
    "crm_work",
    metadata,
    Column("destination", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("call_id", Name),
    Column("state", Text, nullable=False),  # waiting, done, dead
    Column("wanted", Integer, nullable=False),  # the number of the last want
    Column("done", Integer, nullable=False),  # up to which it was done
    Column("attempt", Integer, nullable=False),  # those that failed since it was due
    Column("next_at", Moment),
    Column("since", Moment, nullable=False),  # waiting
    Column("claim", Text),
    Column("claimed_until", Moment),
    Column("intent_at", Moment),
    Column("remote_id", Text),
    Column("digest", Text),
    Column("revision", Integer),
    Column("reason", Text),
    Column("history", Text, nullable=False),  # JSON: [[microseconds, reason], …]
    Index("crm_work_call", "call_id"),
)
for _name, _columns, _where in (
    ("crm_work_due", (work.c.destination, work.c.next_at), work.c.state == "waiting"),
    ("crm_work_dead", (work.c.destination,), work.c.state == "dead"),
):
    Index(_name, *_columns, postgresql_where=_where, sqlite_where=_where)

wants: Final = Table(
    "crm_wants",
    metadata,
    Column("destination", Name, primary_key=True),
    Column("event_id", Name, primary_key=True),
    Column("key", Name, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),  # waiting, done, dying, dead
    sqlite_with_rowid=False,
)
for _name, _keys, _where in (
    ("crm_wants_waiting", (wants.c.destination, wants.c.key, wants.c.number), wants.c.state == "waiting"),
    ("crm_wants_open", (wants.c.event_id,), wants.c.state.in_(("waiting", "dying"))),
    ("crm_wants_dying", (wants.c.destination, wants.c.key), wants.c.state == "dying"),
):
    Index(_name, *_keys, postgresql_where=_where, sqlite_where=_where)

# Events that are still wanted, as they came; a row goes when nobody wants it any more.
taken: Final = Table(
    "crm_events",
    metadata,
    Column("event_id", Name, primary_key=True),
    Column("routing_key", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("taken_at", Moment, nullable=False),
)

tries: Final = Table(
    "crm_tries",
    metadata,
    Column("seq", Serial, Identity(always=True), primary_key=True),
    Column("destination", Name, nullable=False),
    Column("key", Name, nullable=False),
    Column("call_id", Name),
    Column("attempt", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("step", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Integer),
    Column("answer", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("crm_tries_call", "call_id", "seq"),
    Index("crm_tries_key", "key", "seq"),
    Index("crm_tries_at", "destination", "at"),
    sqlite_autoincrement=True,
)

# Contacts that we made, so that two calls of one unknown number make one.
contacts: Final = Table(
    "crm_contacts",
    metadata,
    Column("destination", Name, primary_key=True),
    Column("number", Name, primary_key=True),
    Column("remote_id", Text),
    Column("claim", Text),
    Column("claimed_until", Moment),
    Column("intent_at", Moment),
    sqlite_with_rowid=False,
)

destinations: Final = Table(
    "crm_destinations",
    metadata,
    Column("destination", Name, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("disabled", Text),
    Column("disabled_at", Moment),
    Column("breaker", Text, nullable=False),
    Column("breaker_at", Moment),
    Column("breaker_until", Moment),
    Column("breaker_reason", Text),
    Column("error", Text),
    Column("error_at", Moment),
)

# Counted as it happens, so that nobody has to count rows: `taken`, and `done <destination>`.
tallies: Final = Table(
    "crm_tallies",
    metadata,
    Column("name", Name, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
