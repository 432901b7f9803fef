"""The tables, as the statements see them. What creates them is ``migrations``; a test holds the two together."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970; exact, where ``timestamp()`` would round."""
    return (moment - EPOCH) // MICROSECOND


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime to the microsecond: timestamptz, and in SQLite, which has no such type, an integer."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[int]:
        """The column's type in this database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        """To the database."""
        return microseconds(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return EPOCH + value * MICROSECOND if isinstance(value, int) else value


# Ids are compared by their bytes on both, whatever the database's language: locks are taken in this order, and pages
# are cut by it. They stay text where a native uuid would be smaller, because a stranger's event is kept under any
# subject.
Name: Final = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only where the key is exactly an INTEGER.
Serial: Final = BigInteger().with_variant(Integer(), "sqlite")

metadata: Final = MetaData()

# Every event of the bus, once. This is the persistence worker's inbox too: an id that is here has had its effect, since
# both are written in one transaction.
events: Final = Table(
    "events",
    metadata,
    Column("seq", Serial, Identity(), primary_key=True),  # `allot` draws it on PostgreSQL
    Column("id", Name, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text),
    Column("call_id", Name),  # the call it is filed under: of its record where `folds`, else the subject
    Column("folds", Boolean, nullable=False),  # whether it goes into that call's record
    Column("time", Moment, nullable=False),
    Column("kept_at", Moment, nullable=False),
    Column("traceparent", Text),
    Column("data", Text, nullable=False),  # the body as it came
    Column("txid", BigInteger, nullable=False),  # see reading.py; the database fills it in
    Column("asked", Boolean, nullable=False, server_default=false()),  # we asked the vendor for it
    Index("events_id", "id", unique=True),
    Index("events_call", "call_id", "seq"),
    sqlite_autoincrement=True,
)

# What a vendor told us by itself: for what we asked it nobody was answered 200.
CALLBACK: Final = events.c.folds & events.c.routing_key.like("call.%") & ~events.c.asked

# One row a call; `record` is the text that readers get, byte for byte.
calls: Final = Table(
    "calls",
    metadata,
    Column("call_id", Name, primary_key=True),
    Column("vendor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", Moment, nullable=False),  # the record's, else the first receipt
    Column("record", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("conflicts", Integer, nullable=False),
    Column("repeats", Integer, nullable=False, server_default="0"),  # callbacks that the vendor sent again
    Column("numbers", Text, nullable=False),  # what call_numbers has of it, with blanks between
    Column("seal_at", Moment),  # null once sealed
    Column("sealed_at", Moment),
    Column("verdict", Text),
    Column("missing", Text),  # JSON array of words
    Index("calls_started", "started_at", "call_id"),
    Index("calls_source", "source", "started_at", "call_id"),
    Index("calls_vendor", "vendor", "started_at", "call_id"),
)
# The few rows among many: calls that are not over, calls that wait to be sealed.
for _name, _columns, _where in (
    ("calls_open", (calls.c.started_at, calls.c.call_id), calls.c.state == "in_progress"),
    ("calls_due", (calls.c.seal_at,), calls.c.seal_at.is_not(None)),
    ("calls_repeated", (calls.c.repeats,), calls.c.repeats > 0),
):
    Index(_name, *_columns, postgresql_where=_where, sqlite_where=_where)

# The calls of a number, newest first: a page is one range of this key, also for a line that every call came in on.
call_numbers: Final = Table(
    "call_numbers",
    metadata,
    Column("number", Name, primary_key=True),
    Column("started_at", Moment, primary_key=True),
    Column("call_id", Name, primary_key=True),
    sqlite_with_rowid=False,
)

# Callbacks that a vendor sent again, by when each was received: a repetition that the bus delivers twice is one.
repeats: Final = Table(
    "repeats",
    metadata,
    Column("event_id", Name, primary_key=True),
    Column("received_at", Name, primary_key=True),  # as the event says it
    sqlite_with_rowid=False,
)

# Derived events on their way to the bus; a row goes when the bus has it.
outbox: Final = Table(
    "outbox",
    metadata,
    Column("seq", Serial, Identity(always=True), primary_key=True),
    Column("event_id", Name, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON object of texts
    Column("body", Text, nullable=False),
    Column("claimed_until", Moment),
    sqlite_autoincrement=True,
)

# For workers whose effect is written here and nowhere else: (worker, event) in the transaction of the effect.
inbox: Final = Table(
    "inbox",
    metadata,
    Column("worker", Name, primary_key=True),
    Column("event_id", Name, primary_key=True),
    Column("done_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)

# --- the ledger: books.py ---------------------------------------------------------------------------------------------

# One row: events up to `upto` were counted, and events never go. Nobody who keeps events writes here.
checkpoint: Final = Table(
    "checkpoint",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("upto", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("callbacks", BigInteger, nullable=False),
)

# Accepted, and not among the events when somebody looked: in the queue, dead, or lost. See `hub.ports.Suspect`.
suspects: Final = Table(
    "suspects",
    metadata,
    Column("worker", Name, primary_key=True),
    Column("event_id", Name, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)

# Ids of derived events that the bus has taken, to be looked for among the events once they have had time to come back.
relayed: Final = Table(
    "relayed",
    metadata,
    Column("seq", Serial, Identity(always=True), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("ids", Text, nullable=False),  # a line each
    sqlite_autoincrement=True,
)

# A row for each process that consumes, written every second: what it has in hand. See `hub.ports.Presence`.
presence: Final = Table(
    "presence",
    metadata,
    Column("process", Name, primary_key=True),
    Column("worker", Name, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("registered", Boolean, nullable=False),
    Column("watermark", Moment),
    Column("epoch", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("in_hand", BigInteger, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

# Deliveries that did not succeed, each attempt.
attempts: Final = Table(
    "attempts",
    metadata,
    Column("seq", Serial, Identity(always=True), primary_key=True),
    Column("worker", Name, nullable=False),
    Column("event_id", Name, nullable=False),
    Column("call_id", Name),
    Column("attempt", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("until", Moment),
    Index("attempts_event", "event_id"),
    Index("attempts_call", "call_id"),
    sqlite_autoincrement=True,
)

# Who does what only one process at a time may do, and until when.
leases: Final = Table(
    "leases",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Name, nullable=False),
    Column("until", Moment, nullable=False),
    sqlite_with_rowid=False,
)

# How far each stream of records that we ask a vendor for has come. See `hub.ports.polls`.
polls: Final = Table(
    "polls",
    metadata,
    Column("stream", Name, primary_key=True),
    Column("upto", Moment, nullable=False),
    Column("moved_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
