"""What the ledger is made of: events counted so far, suspects, what consumers have in hand, failed attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0002_ledger"
down_revision = "0001_calls"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Text()
    name = sa.Text(collation="C") if postgresql else text
    serial = sa.BigInteger() if postgresql else sa.Integer()
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()

    op.create_table(
        "checkpoint",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("callbacks", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO checkpoint (id, upto, events, callbacks) VALUES (1, 0, 0, 0)")
    repeated = sa.text("repeats > 0")
    op.create_index("calls_repeated", "calls", ["repeats"], postgresql_where=repeated, sqlite_where=repeated)
    op.create_table(
        "suspects",
        sa.Column("worker", name, primary_key=True),
        sa.Column("event_id", name, primary_key=True),
        sa.Column("since", moment, nullable=False),
        sa.Column("state", text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "relayed",
        sa.Column("seq", serial, sa.Identity(always=True), primary_key=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("ids", text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "presence",
        sa.Column("process", name, primary_key=True),
        sa.Column("worker", name, nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("registered", sa.Boolean(), nullable=False),
        sa.Column("watermark", moment),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("in_hand", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", moment, nullable=False),
    )
    op.create_table(
        "attempts",
        sa.Column("seq", serial, sa.Identity(always=True), primary_key=True),
        sa.Column("worker", name, nullable=False),
        sa.Column("event_id", name, nullable=False),
        sa.Column("call_id", name),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outcome", text, nullable=False),
        sa.Column("reason", text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("until", moment),
        sqlite_autoincrement=True,
    )
    op.create_index("attempts_event", "attempts", ["event_id"])
    op.create_index("attempts_call", "attempts", ["call_id"])
    op.create_table(
        "leases",
        sa.Column("name", name, primary_key=True),
        sa.Column("holder", name, nullable=False),
        sa.Column("until", moment, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_index("calls_repeated", "calls")
    for table in ("leases", "attempts", "presence", "relayed", "suspects", "checkpoint"):
        op.drop_table(table)
