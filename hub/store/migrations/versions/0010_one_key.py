"""An idempotency key stands for one dial, whichever source it names."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010_one_key"
down_revision = "0009_dials"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name, moment = _types()
    op.rename_table("dial_keys", "dial_keys_before")
    op.drop_index("dial_keys_until", "dial_keys_before")
    op.create_table(
        "dial_keys",
        sa.Column("idempotency_key", name, nullable=False),
        sa.Column("dial_id", name, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("until", moment, nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="dial_keys_one"),
    )
    # Of one key that two sources were given, the later one stands.
    op.execute(
        "INSERT INTO dial_keys (idempotency_key, dial_id, digest, until) "
        "SELECT idempotency_key, dial_id, digest, until FROM ("
        "SELECT *, row_number() OVER (PARTITION BY idempotency_key ORDER BY until DESC, source) AS place "
        "FROM dial_keys_before) AS every_one WHERE place = 1"
    )
    op.drop_table("dial_keys_before")
    op.create_index("dial_keys_until", "dial_keys", ["until"])


def downgrade() -> None:
    name, moment = _types()
    op.rename_table("dial_keys", "dial_keys_after")
    op.drop_index("dial_keys_until", "dial_keys_after")
    op.create_table(
        "dial_keys",
        sa.Column("source", name, nullable=False),
        sa.Column("idempotency_key", name, nullable=False),
        sa.Column("dial_id", name, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("until", moment, nullable=False),
        sa.PrimaryKeyConstraint("source", "idempotency_key", name="dial_keys_each"),
    )
    op.execute(
        "INSERT INTO dial_keys (source, idempotency_key, dial_id, digest, until) "
        "SELECT dials.source, one.idempotency_key, one.dial_id, one.digest, one.until "
        "FROM dial_keys_after AS one JOIN dials ON dials.dial_id = one.dial_id"
    )
    op.drop_table("dial_keys_after")
    op.create_index("dial_keys_until", "dial_keys", ["until"])


def _types() -> tuple[Any, Any]:
    postgresql = op.get_bind().dialect.name == "postgresql"
    name = sa.Text(collation="C") if postgresql else sa.Text()
    return name, sa.DateTime(timezone=True) if postgresql else sa.BigInteger()
