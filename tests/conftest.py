"""The servers every test may ask for. Started when the first test asks, stopped when the last has ended."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.postgres import PostgreSQL
from tests.servers.rabbitmq import RabbitMQ

# How long an example takes says more of the machine than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The node of this session, shared: a test that stops it starts it again (`amqp_url` does, for the next one)."""
    with RabbitMQ() as node:
        yield node


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """The database server of this session, shared likewise."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """The URL of a virtual host that is empty and this test's alone."""
    rabbitmq.start()
    url = rabbitmq.create_vhost()
    yield url
    if rabbitmq.running:
        rabbitmq.delete_vhost(url)


@pytest.fixture
def postgres_url(postgres: PostgreSQL) -> Iterator[str]:
    """The URL of a database that is empty and this test's alone."""
    postgres.start()
    url = postgres.create_database()
    yield url
    if postgres.running:
        postgres.drop_database(url)
