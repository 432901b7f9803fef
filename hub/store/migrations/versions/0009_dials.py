"""Dials: what is to be placed, which keys stand for what, and the calls that may have come of it."""

import sqlalchemy as sa
from alembic import op

revision = "0009_dials"
down_revision = "0008_respool"
branch_labels = None
depends_on = None

INDEXES = (
    ("dials_due", ["source", "next_at"], "state = 'requested'"),
    ("dials_loose", ["source"], "loose"),
    ("dials_call", ["call_id"], "call_id IS NOT NULL"),
    ("dials_unknown", ["sent_at"], "state = 'unknown'"),
)


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Text()
    name = sa.Text(collation="C") if postgresql else text
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()

    op.create_table(
        "dials",
        sa.Column("dial_id", name, primary_key=True),
        sa.Column("source", name, nullable=False),
        sa.Column("vendor", text, nullable=False),
        sa.Column("callee", text, nullable=False),
        sa.Column("idempotency_key", text),
        sa.Column("wish", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("requested_at", moment, nullable=False),
        sa.Column("give_up_at", moment, nullable=False),
        sa.Column("next_at", moment),
        sa.Column("sent_at", moment),
        sa.Column("settled_at", moment),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("history", text, nullable=False),
        sa.Column("claim", text),
        sa.Column("claimed_until", moment),
        sa.Column("request_id", name),
        sa.Column("vendor_ids", text, nullable=False),
        sa.Column("call_id", name),
        sa.Column("reason", text),
        sa.Column("loose", sa.Boolean(), nullable=False),
    )
    for index, columns, where in INDEXES:
        op.create_index(index, "dials", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))

    op.create_table(
        "dial_keys",
        sa.Column("source", name, primary_key=True),
        sa.Column("idempotency_key", name, primary_key=True),
        sa.Column("dial_id", name, nullable=False),
        sa.Column("digest", text, nullable=False),
        sa.Column("until", moment, nullable=False),
    )
    op.create_index("dial_keys_until", "dial_keys", ["until"])

    op.create_table(
        "dial_traces",
        sa.Column("call_id", name, primary_key=True),
        sa.Column("source", name, nullable=False),
        sa.Column("trace", name, nullable=False),
        sa.Column("at", moment, nullable=False),
    )
    op.create_index("dial_traces_source", "dial_traces", ["source", "at"])


def downgrade() -> None:
    op.drop_table("dial_traces")
    op.drop_table("dial_keys")
    op.drop_table("dials")
