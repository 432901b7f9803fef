"""The tables of recordings, as the statements see them; ``migrations`` creates them."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from hub.store.tables import Moment, Name, metadata

# One row a recording, from the moment that its `available` was taken.
recordings: Final = Table(
    "recordings",
    metadata,
    Column("recording_id", Name, primary_key=True),
    Column("call_id", Name, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("source", Name, nullable=False),
    Column("leg", Name),
    Column("state", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON: of the event
    Column("at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("alert_at", Moment),  # null once told
    Column("next_at", Moment),
    Column("attempt", Integer, nullable=False),
    Column("round", Integer, nullable=False),  # how often it was taken up
    Column("history", Text, nullable=False),  # JSON: [[when, reason], …]
    Column("claim", Text),
    Column("claimed_until", Moment),
    Column("seen", Text),
    Column("key", Name),
    Column("sha256", Name),
    Column("bytes", BigInteger),
    Column("milliseconds", BigInteger),
    Column("content_type", Text),
    Column("flags", Text, nullable=False),  # JSON: array of words
    Column("settled_at", Moment),
    Column("delete_at", Moment),
    Column("reason", Text),
    Column("buried", Boolean, nullable=False),
    Column("versions", Text, nullable=False),  # JSON: array of objects
    Index("recordings_call", "call_id"),
    Index("recordings_leg", "source", "leg"),
)

# Every event that was taken, with what is needed to make a dead letter of it.
recording_events: Final = Table(
    "recording_events",
    metadata,
    Column("event_id", Name, primary_key=True),
    Column("recording_id", Name, nullable=False),
    Column("message", Text, nullable=False),  # JSON: routing key, headers, body
    Index("recording_events_recording", "recording_id"),
)

for _name, _columns, _where in (
    ("recordings_due", ("source", "next_at"), recordings.c.state == "waiting"),
    ("recordings_alert", ("alert_at",), recordings.c.alert_at.is_not(None)),
    ("recordings_outlived", ("delete_at",), recordings.c.delete_at.is_not(None)),
    ("recordings_idle", ("source",), recordings.c.state == "idle"),
    ("recordings_unburied", ("recording_id",), recordings.c.state == "failed"),
    ("recordings_key", ("key",), recordings.c.key.is_not(None)),
    ("recordings_sha256", ("sha256",), recordings.c.sha256.is_not(None)),
):
    Index(_name, *(recordings.c[name] for name in _columns), postgresql_where=_where, sqlite_where=_where)
