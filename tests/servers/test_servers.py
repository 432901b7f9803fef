import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import aio_pika
import asyncpg
import psutil
import pytest

from tests.servers.guard import ended, wait_until_ended
from tests.servers.ports import PORTS, _bindable, free_port, release_port
from tests.servers.postgres import Mode, PostgreSQL
from tests.servers.processes import answers
from tests.servers.rabbitmq import RabbitMQ

PATIENCE = 30  # seconds until a wait is given up


@pytest.fixture
def node() -> Iterator[RabbitMQ]:
    with RabbitMQ() as node:
        yield node


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


async def test_a_node_takes_what_is_published_and_gives_it_to_a_consumer(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        queue = await channel.declare_queue("calls", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(_message(b"INICIO"), "calls")

        async with queue.iterator(timeout=PATIENCE) as deliveries:
            delivery = await anext(deliveries)
            await delivery.ack()

        assert delivery.body == b"INICIO"


async def test_a_killed_node_starts_again_with_what_its_durable_queue_held(node: RabbitMQ) -> None:
    async with await aio_pika.connect(node.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("calls", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(_message(b"kept"), "calls")
    family = _family(node.pid)

    await asyncio.to_thread(node.kill)
    assert _running(family) == []
    assert not answers(node.port)
    await asyncio.to_thread(node.start)

    async with await aio_pika.connect(node.url) as connection:
        queue = await (await connection.channel()).get_queue("calls")
        async with queue.iterator(timeout=PATIENCE) as deliveries:
            delivery = await anext(deliveries)
            await delivery.ack()
        assert delivery.body == b"kept"


async def test_a_stopped_node_starts_again_on_its_data(node: RabbitMQ) -> None:
    url = await asyncio.to_thread(node.create_vhost, "a/b é")
    await asyncio.to_thread(node.stop)
    assert not node.running
    await asyncio.to_thread(node.start)
    async with await aio_pika.connect(url):
        pass


def test_two_nodes_at_once_do_not_know_each_other(rabbitmq: RabbitMQ, node: RabbitMQ) -> None:
    rabbitmq.start()
    assert rabbitmq.port != node.port
    node.create_vhost("only-here")
    assert "only-here" in node.ctl("list_vhosts").split()
    assert "only-here" not in rabbitmq.ctl("list_vhosts").split()
    node.kill()
    rabbitmq.ctl("await_startup")


async def test_a_virtual_host_begins_empty_and_ends_with_its_test(rabbitmq: RabbitMQ, amqp_url: str) -> None:
    other = rabbitmq.create_vhost()
    async with await aio_pika.connect(other) as connection:
        await (await connection.channel()).declare_queue("calls", durable=True)
    name = other.rpartition("/")[2]
    assert "calls" in rabbitmq.ctl("list_queues", "-p", name, "name")
    assert "calls" not in rabbitmq.ctl("list_queues", "-p", amqp_url.rpartition("/")[2], "name")

    rabbitmq.delete_vhost(other)

    assert name not in rabbitmq.ctl("list_vhosts")


def test_only_the_loopback_reaches_a_server(rabbitmq: RabbitMQ, postgres: PostgreSQL) -> None:
    rabbitmq.start()
    postgres.start()
    processes = [*_family(rabbitmq.pid), *_family(postgres.pid), *_port_mappers(rabbitmq)]
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {"127.0.0.1"} <= set(listening) <= {"127.0.0.1", "::1"}


def test_plugins_and_settings_reach_the_node() -> None:
    with RabbitMQ(
        plugins=["rabbitmq_consistent_hash_exchange"], settings={"vm_memory_high_watermark.absolute": "123MB"}
    ) as node:
        assert "rabbitmq_consistent_hash_exchange" in node.ctl("eval", "rabbit_plugins:active().")
        assert node.evaluate("vm_memory_monitor:get_memory_limit()") == "123000000"


def test_what_the_node_refuses_is_raised(rabbitmq: RabbitMQ) -> None:
    rabbitmq.start()
    with pytest.raises(RuntimeError, match="no_such_vhost"):
        rabbitmq.delete_vhost("/never-made")
    with pytest.raises(RuntimeError, match="never-made"):
        rabbitmq.ctl("delete_vhost", "never-made")


def test_a_node_that_cannot_start_says_why_and_leaves_nothing() -> None:
    node = RabbitMQ(settings={"no.such.key": "1"})
    with contextlib.closing(node):
        with pytest.raises(RuntimeError, match=r"no\.such\.key"):
            node.start()
        assert not _port_mappers(node)


async def test_two_databases_do_not_see_one_another(postgres: PostgreSQL, postgres_url: str) -> None:
    other = postgres.create_database()
    async with _connected(postgres_url) as here, _connected(other) as there:
        await here.execute("CREATE TABLE calls (id int)")
        assert await here.fetchval("SELECT to_regclass('calls')::text") == "calls"
        assert await there.fetchval("SELECT to_regclass('calls')::text") is None
    postgres.drop_database(other)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(other)


async def test_a_killed_database_starts_again_with_what_was_committed(server: PostgreSQL) -> None:
    url = server.create_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE calls (id int)")
    await connection.execute("INSERT INTO calls VALUES (1)")
    await connection.execute("BEGIN; INSERT INTO calls VALUES (2)")
    family = _family(server.pid)

    await asyncio.to_thread(server.kill)
    assert _running(family) == []
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    await asyncio.to_thread(server.start)

    async with _connected(url) as connection:
        assert [row["id"] for row in await connection.fetch("SELECT id FROM calls")] == [1]


async def test_a_database_is_durable_unless_told_otherwise(postgres: PostgreSQL, postgres_url: str) -> None:
    async with _connected(postgres_url) as connection:
        assert [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
    with PostgreSQL(durable=False, settings={"max_connections": "7"}) as careless:
        assert careless.execute("SHOW fsync").strip() == "off"
        assert careless.execute("SHOW max_connections").strip() == "7"


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_a_database_stops_in_every_mode_and_starts_again(server: PostgreSQL, mode: Mode) -> None:
    server.execute("CREATE TABLE kept ()")
    server.stop(mode)
    assert not server.running
    server.start()
    assert server.execute("SELECT 'kept'::regclass").strip() == "kept"


def test_what_the_database_refuses_is_raised(postgres: PostgreSQL) -> None:
    postgres.start()
    with pytest.raises(RuntimeError, match="syntax error"):
        postgres.execute("SELEKT 1")


def test_after_the_end_nothing_of_ours_is_left() -> None:
    with RabbitMQ() as node, PostgreSQL() as server, PostgreSQL() as killed:
        started = [*_family(node.pid), *_port_mappers(node), *_family(server.pid), *_family(killed.pid)]
        owners = [server.pid, killed.pid]
        assert {"beam.smp", "epmd", "postgres"} <= {process.name() for process in started}
        assert all(_shared_memory(pid) for pid in owners)
        killed.kill()

    assert _running(started) == []
    assert not any(holder.directory.exists() for holder in (node, server, killed))
    assert not any(_shared_memory(pid) for pid in owners)


def test_nothing_is_left_when_the_tests_themselves_are_killed() -> None:
    with _python(DOOMED) as doomed:
        directories = [Path(path) for path in _line(doomed).split()]
        assert [path.is_dir() for path in directories] == [True, True]
        started = psutil.Process(doomed.pid).children(recursive=True)
        owners = [process.pid for process in started]
        assert {"beam.smp", "epmd", "postgres"} <= {process.name() for process in started}
        doomed.kill()

    assert wait_until_ended(started, timeout=PATIENCE) == []  # with the guard, who ends last
    assert [path.exists() for path in directories] == [False, False]
    assert not any(_shared_memory(pid) for pid in owners)


def test_a_port_is_given_to_one_caller_only() -> None:
    ours = [free_port() for _ in range(200)]
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(_python(ASKING)) for _ in range(2)]
        theirs = [int(word) for process in asking for word in _line(process).split()]
        given = [*ours, *theirs]
        assert len(set(given)) == len(given) == 600
        assert set(given) <= set(PORTS)
        for process in asking:
            process.kill()
    for port in ours:
        release_port(port)


def test_a_port_somebody_listens_on_is_not_given() -> None:
    port = free_port()
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((address, port)):
            assert not _bindable(port)
    assert _bindable(port)
    release_port(port)


# Prints the directories of its servers and then waits to be killed.
DOOMED = """
from tests.servers.postgres import Mode, PostgreSQL
from tests.servers.rabbitmq import RabbitMQ

with RabbitMQ() as node, PostgreSQL() as server:
    print(node.directory, server.directory, flush=True)
    input()
"""

ASKING = """
from tests.servers.guard import ended, wait_until_ended
from tests.servers.ports import free_port

print(*(free_port() for _ in range(200)), flush=True)
input()
"""


def _python(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], stdin=PIPE, stdout=PIPE, text=True
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _message(body: bytes) -> aio_pika.Message:
    return aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def _family(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _port_mappers(node: RabbitMQ) -> list[psutil.Process]:
    """The node's own: our children, told apart by the directory they were started in."""
    ours = [child for child in psutil.Process().children() if child.name() == "epmd"]
    return [child for child in ours if child.cwd() == str(node.directory)]


def _running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if not ended(process)]


def _shared_memory(creator: int) -> list[str]:
    """The System V segments that a process made: key, id, permissions, size, creator."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [line for line in lines if int(line.split()[4]) == creator]
