"""Recordings: what is to be fetched, what is kept, and the events that said so."""

import sqlalchemy as sa
from alembic import op

revision = "0005_recordings"
down_revision = "0004_crm"
branch_labels = None
depends_on = None

INDEXES = (
    ("recordings_due", ["source", "next_at"], "state = 'waiting'"),
    ("recordings_alert", ["alert_at"], "alert_at IS NOT NULL"),
    ("recordings_outlived", ["delete_at"], "delete_at IS NOT NULL"),
    ("recordings_idle", ["source"], "state = 'idle'"),
    ("recordings_unburied", ["recording_id"], "state = 'failed'"),
    ("recordings_key", ["key"], "key IS NOT NULL"),
    ("recordings_sha256", ["sha256"], "sha256 IS NOT NULL"),
)


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Text()
    name = sa.Text(collation="C") if postgresql else text
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()

    op.create_table(
        "recordings",
        sa.Column("recording_id", name, primary_key=True),
        sa.Column("call_id", name, nullable=False),
        sa.Column("vendor", text, nullable=False),
        sa.Column("source", name, nullable=False),
        sa.Column("leg", name),
        sa.Column("state", text, nullable=False),
        sa.Column("data", text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("alert_at", moment),
        sa.Column("next_at", moment),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("history", text, nullable=False),
        sa.Column("claim", text),
        sa.Column("claimed_until", moment),
        sa.Column("seen", text),
        sa.Column("key", name),
        sa.Column("sha256", name),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("milliseconds", sa.BigInteger()),
        sa.Column("content_type", text),
        sa.Column("flags", text, nullable=False),
        sa.Column("settled_at", moment),
        sa.Column("delete_at", moment),
        sa.Column("reason", text),
        sa.Column("buried", sa.Boolean(), nullable=False),
        sa.Column("versions", text, nullable=False),
    )
    op.create_index("recordings_call", "recordings", ["call_id"])
    op.create_index("recordings_leg", "recordings", ["source", "leg"])
    for index, columns, where in INDEXES:
        op.create_index(index, "recordings", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))

    op.create_table(
        "recording_events",
        sa.Column("event_id", name, primary_key=True),
        sa.Column("recording_id", name, nullable=False),
        sa.Column("message", text, nullable=False),
    )
    op.create_index("recording_events_recording", "recording_events", ["recording_id"])


def downgrade() -> None:
    op.drop_table("recording_events")
    op.drop_table("recordings")
