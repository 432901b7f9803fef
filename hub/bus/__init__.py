"""The bus: RabbitMQ, or one SQLite file on a single machine. Same promises, held by ``tests/contract/test_bus.py``."""
