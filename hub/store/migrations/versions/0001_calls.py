"""Events, calls, the outbox and the inbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001_calls"
down_revision = None
branch_labels = None
depends_on = None

# The transaction's number and its events' in one step that no other comes between: hub/store/reading.py rests on it.
# The lock is the session's, so that it ends here and not with the transaction, whose number must not be older.
ALLOT = """
CREATE FUNCTION events_allot(wanted integer) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'events_allot must be the first to write in its transaction';
    END IF;
    PERFORM pg_advisory_lock(8390876182755042913);
    PERFORM pg_current_xact_id();
    RETURN QUERY SELECT nextval('events_seq_seq') FROM generate_series(1, wanted);
    PERFORM pg_advisory_unlock(8390876182755042913);
END
$$
"""


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Text()
    name = sa.Text(collation="C") if postgresql else text
    serial = sa.BigInteger() if postgresql else sa.Integer()
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()
    transaction = sa.text("((pg_current_xact_id()::text)::bigint)" if postgresql else "0")

    op.create_table(
        "events",
        sa.Column("seq", serial, sa.Identity(), primary_key=True),
        sa.Column("id", name, nullable=False),
        sa.Column("routing_key", text, nullable=False),
        sa.Column("source", text, nullable=False),
        sa.Column("subject", text),
        sa.Column("call_id", name),
        sa.Column("folds", sa.Boolean(), nullable=False),
        sa.Column("time", moment, nullable=False),
        sa.Column("kept_at", moment, nullable=False),
        sa.Column("traceparent", text),
        sa.Column("data", text, nullable=False),
        sa.Column("txid", sa.BigInteger(), nullable=False, server_default=transaction),
        sqlite_autoincrement=True,
    )
    op.create_index("events_id", "events", ["id"], unique=True)
    op.create_index("events_call", "events", ["call_id", "seq"])
    if postgresql:
        op.execute(ALLOT)

    op.create_table(
        "calls",
        sa.Column("call_id", name, primary_key=True),
        sa.Column("vendor", text, nullable=False),
        sa.Column("source", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("record", text, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("numbers", text, nullable=False),
        sa.Column("seal_at", moment),
        sa.Column("sealed_at", moment),
        sa.Column("verdict", text),
        sa.Column("missing", text),
    )
    op.create_index("calls_started", "calls", ["started_at", "call_id"])
    op.create_index("calls_source", "calls", ["source", "started_at", "call_id"])
    op.create_index("calls_vendor", "calls", ["vendor", "started_at", "call_id"])
    for index, columns, condition in (
        ("calls_open", ["started_at", "call_id"], sa.text("state = 'in_progress'")),
        ("calls_due", ["seal_at"], sa.text("seal_at IS NOT NULL")),
    ):
        op.create_index(index, "calls", columns, postgresql_where=condition, sqlite_where=condition)

    op.create_table(
        "call_numbers",
        sa.Column("number", name, primary_key=True),
        sa.Column("started_at", moment, primary_key=True),
        sa.Column("call_id", name, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("seq", serial, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", name, nullable=False),
        sa.Column("routing_key", text, nullable=False),
        sa.Column("headers", text, nullable=False),
        sa.Column("body", text, nullable=False),
        sa.Column("claimed_until", moment),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "inbox",
        sa.Column("worker", name, primary_key=True),
        sa.Column("event_id", name, primary_key=True),
        sa.Column("done_at", moment, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION events_allot")
    for table in ("inbox", "outbox", "call_numbers", "calls", "events"):
        op.drop_table(table)
