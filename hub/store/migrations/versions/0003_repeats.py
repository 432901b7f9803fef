"""What a vendor sent again: each repetition once, however often the bus delivers it."""

import sqlalchemy as sa
from alembic import op

revision = "0003_repeats"
down_revision = "0002_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name = sa.Text(collation="C") if op.get_bind().dialect.name == "postgresql" else sa.Text()
    op.create_table(
        "repeats",
        sa.Column("event_id", name, primary_key=True),
        sa.Column("received_at", name, primary_key=True),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("repeats")
