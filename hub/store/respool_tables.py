"""The tables of respooling, as the statements see them; ``migrations`` creates them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from hub.store.tables import Moment, Name, metadata

# One row an attempt: that there is one for each contact, campaign, cause and attempt is what the index is for.
respools: Final = Table(
    "respools",
    metadata,
    Column("respool_id", Name, primary_key=True),
    Column("contact", Name, nullable=False),
    Column("campaign", Name, nullable=False),
    Column("cause", Name, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("rule", Text, nullable=False),
    Column("dialer", Name, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("number", Name, nullable=False),  # the one that is dialled
    Column("numbers", Text, nullable=False),  # JSON: array, that one first
    Column("details", Text, nullable=False),  # JSON: of the cause
    Column("state", Name, nullable=False),
    Column("round", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("since", Moment, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("next_at", Moment),
    Column("claim", Text),
    Column("claimed_until", Moment),
    Column("intent_at", Moment),  # null where it certainly was not sent
    Column("at", Moment),
    Column("settled_at", Moment),
    Column("reason", Text),
    Column("remote_id", Text),
    Column("report", Name),
    Column("outcome", Text),
    Column("grave", Text),  # null, dying or buried
    Index("respools_once", "contact", "campaign", "cause", "attempt", unique=True),
    Index("respools_cause", "cause"),
    Index("respools_number", "number", "intent_at"),
)
for _name, _columns, _where in (
    ("respools_due", ("dialer", "next_at"), respools.c.state == "waiting"),
    ("respools_sending", ("claimed_until",), respools.c.state == "sending"),
    ("respools_unknown", ("settled_at",), respools.c.state == "unknown"),
    ("respools_dying", ("respool_id",), respools.c.grave == "dying"),
    ("respools_dialled", ("contact", "intent_at"), respools.c.intent_at.is_not(None)),
    ("respools_report", ("report",), respools.c.report.is_not(None)),
):
    Index(_name, *(respools.c[name] for name in _columns), postgresql_where=_where, sqlite_where=_where)

# Every number that an attempt may be dialled on: by these the dialer's calls are known again.
respool_numbers: Final = Table(
    "respool_numbers",
    metadata,
    Column("number", Name, primary_key=True),
    Column("respool_id", Name, primary_key=True),
    sqlite_with_rowid=False,
)

# The events that made an attempt, with what is needed to make dead letters of them.
respool_events: Final = Table(
    "respool_events",
    metadata,
    Column("event_id", Name, primary_key=True),
    Column("respool_id", Name, primary_key=True),
    Column("message", Text, nullable=False),  # JSON: routing key, headers, body
    Index("respool_events_respool", "respool_id"),
)

# One row: how many events were taken, without those among the dead letters.
respool_tally: Final = Table(
    "respool_tally",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("taken", BigInteger, nullable=False),
)
