"""Which events a vendor told by itself, and which we asked it for."""

import sqlalchemy as sa
from alembic import op

revision = "0007_asked"
down_revision = "0006_polls"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("asked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE events SET asked = TRUE WHERE routing_key LIKE 'call.infocu5.%' AND folds")


def downgrade() -> None:
    op.drop_column("events", "asked")
