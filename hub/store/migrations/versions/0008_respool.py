"""Respooling: attempts, the numbers they may be dialled on, the events they came from."""

import sqlalchemy as sa
from alembic import op

revision = "0008_respool"
down_revision = "0007_asked"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    name = sa.Text(collation="C") if postgresql else sa.Text()
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()
    op.create_table(
        "respools",
        sa.Column("respool_id", name, primary_key=True),
        sa.Column("contact", name, nullable=False),
        sa.Column("campaign", name, nullable=False),
        sa.Column("cause", name, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("dialer", name, nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("number", name, nullable=False),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("state", name, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("next_at", moment),
        sa.Column("claim", sa.Text()),
        sa.Column("claimed_until", moment),
        sa.Column("intent_at", moment),
        sa.Column("at", moment),
        sa.Column("settled_at", moment),
        sa.Column("reason", sa.Text()),
        sa.Column("remote_id", sa.Text()),
        sa.Column("report", name),
        sa.Column("outcome", sa.Text()),
        sa.Column("grave", sa.Text()),
    )
    op.create_index("respools_once", "respools", ["contact", "campaign", "cause", "attempt"], unique=True)
    op.create_index("respools_cause", "respools", ["cause"])
    op.create_index("respools_number", "respools", ["number", "intent_at"])
    for index, columns, condition in (
        ("respools_due", ["dialer", "next_at"], "state = 'waiting'"),
        ("respools_sending", ["claimed_until"], "state = 'sending'"),
        ("respools_unknown", ["settled_at"], "state = 'unknown'"),
        ("respools_dying", ["respool_id"], "grave = 'dying'"),
        ("respools_dialled", ["contact", "intent_at"], "intent_at IS NOT NULL"),
        ("respools_report", ["report"], "report IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(index, "respools", columns, postgresql_where=where, sqlite_where=where)
    op.create_table(
        "respool_numbers",
        sa.Column("number", name, primary_key=True),
        sa.Column("respool_id", name, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "respool_events",
        sa.Column("event_id", name, primary_key=True),
        sa.Column("respool_id", name, primary_key=True),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_index("respool_events_respool", "respool_events", ["respool_id"])
    op.create_table(
        "respool_tally",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    for table in ("respool_tally", "respool_events", "respool_numbers", "respools"):
        op.drop_table(table)
