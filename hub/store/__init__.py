"""The store: kept events, call records and what waits to be published, in PostgreSQL or in one SQLite file."""
