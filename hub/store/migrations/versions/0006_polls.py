"""How far each stream of records that we ask a vendor for has come."""

import sqlalchemy as sa
from alembic import op

revision = "0006_polls"
down_revision = "0005_recordings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    name = sa.Text(collation="C") if postgresql else sa.Text()
    moment = sa.DateTime(timezone=True) if postgresql else sa.BigInteger()
    op.create_table(
        "polls",
        sa.Column("stream", name, primary_key=True),
        sa.Column("upto", moment, nullable=False),
        sa.Column("moved_at", moment, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("polls")
