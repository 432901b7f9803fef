"""What the composition runs, run: on a broker started with the generated rabbitmq.conf, and on a database."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.config import Settings
from hub.errors import NotDurable
from hub.events import Message
from hub.parts import queues
from hub.ports import Ack, DeadLetter, Outcome, Snooze
from tests.cli.command import Said, trunkline
from tests.contract.stores import MIGRATIONS
from tests.deploy.composition import ROOT, SERVICES, Host, set_up
from tests.servers.ports import free_port, release_port
from tests.servers.postgres import PostgreSQL
from tests.servers.processes import run
from tests.servers.rabbitmq import SCRIPTS, RabbitMQ
from workers.persistence import QUEUE

POLICIES = ROOT / "deploy" / "rabbitmq" / "policies.sh"


class Broker(RabbitMQ):
    """A node that reads its configuration the way the container is told to; of it only the port is changed."""

    def __init__(self, conf: Path) -> None:
        super().__init__()
        text = conf.read_text()
        assert "listeners.tcp.default = 5672\n" in text
        conf.write_text(text.replace("5672", str(self.port)))
        self._conf = conf

    def _environment(self) -> dict[str, str]:
        [(name, value)] = SERVICES["rabbitmq"]["environment"].items()
        assert value == "/run/trunkline/rabbitmq.conf"
        return super()._environment() | {name: str(self._conf)}


@dataclass
class Stack:
    """The composition's servers, and the place of its volumes."""

    host: Host
    broker: Broker

    @property
    def bus_url(self) -> str:
        return (self.host.secrets / "hub" / "TRUNKLINE_BUS__URL").read_text()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, postgres: PostgreSQL) -> Iterator[Stack]:
    ports = {8080: free_port(), 8081: free_port()}
    host = set_up(tmp_path_factory.mktemp("stack"), ports)
    postgres.start()
    postgres.execute("CREATE ROLE trunkline LOGIN")
    postgres.execute("CREATE DATABASE trunkline OWNER trunkline")
    with Broker(host.secrets / "rabbitmq.conf") as broker:
        places = {"@rabbitmq/": f"@127.0.0.1:{broker.port}/", "@postgres/": f"@127.0.0.1:{postgres.port}/"}
        for secret in (host.secrets / "hub").iterdir():
            text = secret.read_text()
            for there, here in places.items():
                text = text.replace(there, here)
            secret.write_text(text)
        yield Stack(host, broker)
    postgres.execute("DROP DATABASE trunkline WITH (FORCE)")
    postgres.execute("DROP ROLE trunkline")
    for port in ports.values():
        release_port(port)


def wait_until_healthy(stack: Stack, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """As a container runtime does: the check is repeated until it exits 0."""
    deadline = monotonic() + 60
    while stack.host.healthy(SERVICES[name]).returncode != 0:
        assert process.poll() is None, log.read_text()
        assert monotonic() < deadline, log.read_text()
        sleep(0.2)


@contextlib.contextmanager
def running(stack: Stack, *names: str) -> Iterator[None]:
    """Services from their start to their drain, within their grace and with exit code 0."""
    logs = {name: stack.host.directory / f"{name}.log" for name in names}
    processes = {name: stack.host.spawn(SERVICES[name], log) for name, log in logs.items()}
    try:
        for name, process in processes.items():
            wait_until_healthy(stack, name, process, logs[name])
        yield
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for name, process in processes.items():
            grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
            assert process.wait(grace) == 0, logs[name].read_text()
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def beside(host: Host, *words: str) -> Said:
    """What ``docker compose exec ingress trunkline WORDS`` says."""
    environment = host.environment(SERVICES["ingress"])
    told: dict[str, Any] = {name: value for name, value in environment.items() if name.startswith("TRUNKLINE_")}
    return trunkline(*words, at=host.directory, stdin=b"", **told)


def test_the_broker_takes_the_generated_configuration(stack: Stack) -> None:
    assert stack.broker.ctl("list_users", "--silent").split() == ["trunkline", "[administrator]"]
    assert stack.broker.evaluate("application:get_env(rabbit, cluster_partition_handling)") == "{ok, pause_minority}"


def test_the_servers_own_health_checks_pass(stack: Stack, postgres: PostgreSQL) -> None:
    kind, *words = SERVICES["rabbitmq"]["healthcheck"]["test"]
    assert kind == "CMD"
    node = stack.broker
    run([SCRIPTS / words[0], *words[1:]], directory=node.directory, env=node._client_environment())
    kind, line = SERVICES["postgres"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    environment = {"PATH": "/usr/bin:/bin", "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port)}
    run(["sh", "-c", line], directory=postgres.directory, env=environment)


def test_the_roles_start_are_healthy_do_their_work_and_drain(stack: Stack) -> None:
    host = stack.host
    for role in ("ingress", "persistence"):
        down = host.healthy(SERVICES[role])
        assert (down.returncode, down.stdout) == (1, "")
        assert "Connection refused" in down.stderr

    done = host.run(SERVICES["migrate"], SERVICES["migrate"]["command"])
    assert (done.returncode, done.stdout) == (0, f"applied {', '.join(MIGRATIONS)}\n"), done.stderr
    assert beside(host, "db", "upgrade").out == "the schema is up to date\n", "it runs at every `docker compose up`"

    with running(stack, "ingress", "persistence"):
        door = beside(host, "vendor", "url", "line-900", "--event", "fin", "--bare").out.strip()
        with urlopen(f"{door}?num=900805089&id=77&caller=911888920") as answer:  # noqa: S310  our own
            assert json.load(answer)["status"] == "accepted"
        said = beside(host, "doctor")
        assert said.status == 0, said.out
        deadline = monotonic() + 20
        while "+34911888920" not in beside(host, "calls").out:
            assert monotonic() < deadline
    for name in ("ingress", "persistence"):
        for line in (host.directory / f"{name}.log").read_text().splitlines():
            assert json.loads(line)["event"], "TRUNKLINE_LOG__FORMAT is json"


# --- healthy.py ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (204, 1), (503, 1), (404, 1)])
def test_a_health_check_is_0_for_200_alone(status: int, expected: int, tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    port = free_port()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        host = Host(tmp_path, {8080: port})
        checked = {**SERVICES["ingress"], "environment": {"http_proxy": "http://127.0.0.1:1"}, "ports": ["x"]}
        assert host.healthy(checked).returncode == expected, "a proxy of the environment is not asked"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        release_port(port)


# --- policies.sh ---------------------------------------------------------------------------------------------------


def apply(policies: Path, node: RabbitMQ, vhost: str) -> None:
    environment = node._client_environment()
    environment["PATH"] = f"{SCRIPTS}:{environment['PATH']}"  # where its rabbitmqctl is
    run(["sh", policies, vhost], directory=node.directory, env=environment)


async def test_the_policies_apply_to_our_queues_and_change_no_argument(stack: Stack) -> None:
    declared = queues(Settings())
    bus = RabbitBus([stack.bus_url])
    await bus.start()
    try:
        await bus.declare(declared)
        apply(POLICIES, stack.broker, "/")
        listed = stack.broker.ctl("list_queues", "--silent", "--no-table-headers", "name", "policy")
        policies = stack.broker.ctl("list_policies", "--silent", "--no-table-headers")
    finally:
        await bus.close()
    applied = dict(row.split("\t") for row in listed.splitlines())
    assert {name: policy for name, policy in applied.items() if policy} == {
        **{queue.name: "trunkline-work" for queue in declared},
        **{f"{queue.name}.dead": "trunkline-dead" for queue in declared},
    }
    definitions = {row.split("\t")[1]: json.loads(row.split("\t")[4]) for row in policies.splitlines()}
    assert definitions["trunkline-work"] == {"max-length-bytes": 8589934592}, "its arguments say what happens then"
    assert definitions["trunkline-dead"] == {"max-length-bytes": 1073741824, "overflow": "reject-publish"}


async def test_a_queue_at_its_limit_refuses_and_drops_nothing(stack: Stack, tmp_path: Path) -> None:
    """The policies with a limit of a thousandth: what was confirmed is still there, the oldest first."""
    small = tmp_path / "policies.sh"
    small.write_text(POLICIES.read_text().replace("8589934592", "20000").replace("1073741824", "20000"))
    assert small.read_text().count("20000") == 2
    stack.broker.ctl("add_vhost", "small")
    stack.broker.ctl("set_permissions", "-p", "small", "trunkline", ".*", ".*", ".*")
    bus = RabbitBus([f"{stack.bus_url}small"])
    await bus.start()
    try:
        await bus.declare([QUEUE])
        apply(small, stack.broker, "small")
        confirmed = []
        with contextlib.suppress(NotDurable):
            for number in range(1000):
                await bus.publish([Message("call.infocaller.ended", {"ce-id": str(number)}, b"x" * 1000)])
                confirmed.append(str(number))
        assert 10 < len(confirmed) < 100, "then it refused"

        subscription = bus.subscribe(QUEUE.name, 200)
        there: list[str] = []
        while len(there) < len(confirmed):
            deliveries = await subscription.fetch(200)
            there += [delivery.message.id for delivery in deliveries]
            await subscription.settle([(delivery, Ack()) for delivery in deliveries])
        await subscription.close()
        assert there[: len(confirmed)] == confirmed
    finally:
        await bus.close()
        stack.broker.ctl("delete_vhost", "small")


def test_the_stack_answers_only_with_the_generated_password(stack: Stack) -> None:
    password = (stack.host.secrets / "rabbitmq_password").read_text()
    stack.broker.ctl("authenticate_user", "trunkline", password)
    with pytest.raises(RuntimeError):
        stack.broker.ctl("authenticate_user", "trunkline", "another")
    with pytest.raises(RuntimeError):
        stack.broker.ctl("authenticate_user", "guest", "guest")


async def test_the_permissions_that_the_operations_page_asks_for_are_enough(stack: Stack) -> None:
    page = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    assert r"*configure*, *write* and *read* on `trunkline\..*`, and *write* on `amq\.default`" in " ".join(
        page.split()
    )
    ours = r"^trunkline\..*$"
    stack.broker.ctl("add_vhost", "narrow")
    stack.broker.ctl("add_user", "narrow", "narrow-password")
    stack.broker.ctl("set_permissions", "-p", "narrow", "narrow", ours, rf"{ours}|^amq\.default$", ours)
    bus = RabbitBus([f"amqp://narrow:narrow-password@127.0.0.1:{stack.broker.port}/narrow"])
    await bus.start()
    try:
        await bus.declare([QUEUE])
        subscription = bus.subscribe(QUEUE.name, 10)
        await bus.publish([Message("call.infocaller.ended", {"ce-id": name}, b"{}") for name in ("a", "b", "c")])
        outcomes: dict[str, Outcome] = {"a": Ack(), "b": DeadLetter("of no use"), "c": Snooze(1, "too early")}
        there: list[str] = []
        while len(there) < 3:
            deliveries = await subscription.fetch(10)
            there += [delivery.message.id for delivery in deliveries]
            await subscription.settle([(delivery, outcomes[delivery.message.id]) for delivery in deliveries])
        await subscription.close()
        depth = await bus.depth(QUEUE.name)
        assert (depth.dead, depth.ready, depth.in_flight) == (1, 0, 1)
    finally:
        await bus.close()
        stack.broker.ctl("delete_vhost", "narrow")
