"""What alembic runs: on the connection, and in the transaction, that ``hub.store.upgrade`` opened and locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
