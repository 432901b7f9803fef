"""Forwarding: work for destinations, the events that want it, what was tried, contacts, destinations, tallies."""

import sqlalchemy as sa
from alembic import op

revision = "0004_crm"
down_revision = "0003_repeats"
branch_labels = None
depends_on = None

TABLES = ("crm_work", "crm_wants", "crm_events", "crm_tries", "crm_contacts", "crm_destinations", "crm_tallies")


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Text()
    name = sa.Text(collation="C") if postgresql else text
    serial = sa.BigInteger() if postgresql else sa.Integer()
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()

    def some(index: str, table: str, columns: list[str], where: str) -> None:
        op.create_index(index, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))

    op.create_table(
        "crm_work",
        sa.Column("destination", name, primary_key=True),
        sa.Column("key", name, primary_key=True),
        sa.Column("call_id", name),
        sa.Column("state", text, nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("next_at", moment),
        sa.Column("since", moment, nullable=False),
        sa.Column("claim", text),
        sa.Column("claimed_until", moment),
        sa.Column("intent_at", moment),
        sa.Column("remote_id", text),
        sa.Column("digest", text),
        sa.Column("revision", sa.Integer()),
        sa.Column("reason", text),
        sa.Column("history", text, nullable=False),
    )
    op.create_index("crm_work_call", "crm_work", ["call_id"])
    some("crm_work_due", "crm_work", ["destination", "next_at"], "state = 'waiting'")
    some("crm_work_dead", "crm_work", ["destination"], "state = 'dead'")
    op.create_table(
        "crm_wants",
        sa.Column("destination", name, primary_key=True),
        sa.Column("event_id", name, primary_key=True),
        sa.Column("key", name, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", text, nullable=False),
        sqlite_with_rowid=False,
    )
    some("crm_wants_waiting", "crm_wants", ["destination", "key", "number"], "state = 'waiting'")
    some("crm_wants_open", "crm_wants", ["event_id"], "state IN ('waiting', 'dying')")
    some("crm_wants_dying", "crm_wants", ["destination", "key"], "state = 'dying'")
    op.create_table(
        "crm_events",
        sa.Column("event_id", name, primary_key=True),
        sa.Column("routing_key", text, nullable=False),
        sa.Column("headers", text, nullable=False),
        sa.Column("body", text, nullable=False),
        sa.Column("taken_at", moment, nullable=False),
    )
    op.create_table(
        "crm_tries",
        sa.Column("seq", serial, sa.Identity(always=True), primary_key=True),
        sa.Column("destination", name, nullable=False),
        sa.Column("key", name, nullable=False),
        sa.Column("call_id", name),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("step", text, nullable=False),
        sa.Column("request", text, nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("answer", text, nullable=False),
        sa.Column("outcome", text, nullable=False),
        sa.Column("reason", text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("crm_tries_call", "crm_tries", ["call_id", "seq"])
    op.create_index("crm_tries_key", "crm_tries", ["key", "seq"])
    op.create_index("crm_tries_at", "crm_tries", ["destination", "at"])
    op.create_table(
        "crm_contacts",
        sa.Column("destination", name, primary_key=True),
        sa.Column("number", name, primary_key=True),
        sa.Column("remote_id", text),
        sa.Column("claim", text),
        sa.Column("claimed_until", moment),
        sa.Column("intent_at", moment),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "crm_destinations",
        sa.Column("destination", name, primary_key=True),
        sa.Column("kind", text, nullable=False),
        sa.Column("fingerprint", text, nullable=False),
        sa.Column("disabled", text),
        sa.Column("disabled_at", moment),
        sa.Column("breaker", text, nullable=False),
        sa.Column("breaker_at", moment),
        sa.Column("breaker_until", moment),
        sa.Column("breaker_reason", text),
        sa.Column("error", text),
        sa.Column("error_at", moment),
    )
    op.create_table(
        "crm_tallies",
        sa.Column("name", name, primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
