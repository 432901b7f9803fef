"""A process a role, over RabbitMQ and PostgreSQL, while processes are killed and servers are away."""

import asyncio
import os
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import orjson
import psutil
import pytest

from hub.bus.rabbitmq import RabbitBus
from hub.ports import Ack, QueueSpec
from tests.faults.proxy import Proxy
from tests.hub import LINE, TOKEN, until
from tests.process.site import Load, Site, exit_status, site, terminated

SEALED = QueueSpec("somebody.elses", ("call.*.sealed",))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as here:
        yield here


@pytest.fixture
async def broker(amqp_url: str) -> AsyncIterator[RabbitBus]:
    """Somebody else's connection, with a queue of all sealed calls."""
    bus = RabbitBus([amqp_url])
    await bus.start()
    await bus.declare([SEALED])
    yield bus
    await bus.close()


@pytest.mark.timeout(90)
async def test_a_killed_child_of_the_ingress_is_replaced_nobody_is_refused_and_nothing_accepted_is_lost(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url})
    parent = here.start("ingress", "--processes", "2")
    here.start("worker", "persistence")
    await here.ready()
    await until(lambda: _two_serve(here, parent))
    async with Load(here.url, seed=3, calls=300, rate=400) as load:
        await load.accepts(300)
        killed = parent.children()[0]
        killed.kill()
        await until(lambda: _replaced(parent, killed))
        await until(lambda: _ready_again(here, 3))
        report = await load.ends()
    assert here.said(0, "parent.child_died") == 1
    assert set(load.statuses) == {200}
    assert "ClientConnectorError" not in load.errors  # nobody was refused: only what was in its hands broke
    assert sum(load.errors.values()) <= 24 + 1
    assert len(load.accepted) > 0.95 * report.sent - 25
    await here.has(load.accepted)
    status, seconds = await terminated(parent)
    assert (status, seconds < 20) == (0, True)


@pytest.mark.timeout(90)
async def test_a_killed_worker_costs_no_call_and_seals_none_twice(
    here: Site, broker: RabbitBus, amqp_url: str, postgres_url: str
) -> None:
    here.configure(bus={"url": amqp_url}, store={"url": postgres_url})
    here.start("ingress", "--processes", "2")
    doomed = here.start("worker", "persistence")
    here.start("worker", "persistence")
    await here.ready()
    await until(lambda: _logged(here, (1, 2), "bus.consuming"))
    async with Load(here.url, seed=4, calls=250) as load:
        await load.accepts(400)
        doomed.kill()
        assert await exit_status(doomed) == -signal.SIGKILL
        await load.ends()
    assert set(load.statuses) == {200}
    assert not load.errors
    await here.has(load.accepted)
    told: dict[str, set[str]] = defaultdict(set)
    subscription = broker.subscribe(SEALED.name, 200)
    async with asyncio.timeout(40):
        while len(told) < 250:
            deliveries = await subscription.fetch(200)
            await subscription.settle([(delivery, Ack()) for delivery in deliveries])
            for delivery in deliveries:
                told[delivery.message.headers["ce-subject"]].add(delivery.message.id)
    await subscription.close()
    records = await here.pages("/v1/calls")
    assert Counter(record["call_id"] for record in records) == dict.fromkeys(told, 1)
    assert {len(ids) for ids in told.values()} == {1}
    assert all(record["sealed"] for record in records)


@pytest.mark.timeout(90)
async def test_without_a_broker_the_ingress_accepts_and_hands_over_when_it_comes(
    here: Site, amqp_url: str, postgres_url: str
) -> None:
    async with Proxy(amqp_url) as line:
        await line.cut()
        probes = here.spare[0]
        here.configure(bus={"url": line.url}, store={"url": postgres_url}, worker={"port": probes})
        here.start("ingress")
        accepted = await until(lambda: _accepted(here))
        assert _seconds_to_ready(here) < 2
        status, health = await here.get("/readyz")
        assert (status, health["status"]) == (200, "degraded")
        assert (health["parts"]["bus"]["state"], health["parts"]["outbox"]["state"]) == ("down", "ok")

        here.start("worker", "persistence")
        health = await here.becomes(503, probes)
        assert health["parts"]["persistence"] == {"state": "down", "detail": "not consuming"}
        async with Load(here.url, seed=5, calls=40) as load:
            await load.ends()
        assert set(load.statuses) == {200}

        assert line.refused
        await line.mend()
        await here.ready(probes)
        await here.has(load.accepted | {accepted})
        health = await here.becomes(200)
        assert health["status"] == "ok"


async def test_a_group_that_is_told_to_end_answers_what_it_has_in_hand(here: Site) -> None:
    here.configure(admin={"port": here.spare[0]})
    parent = here.start("ingress", "--processes", "2")
    await here.ready()
    await until(lambda: _two_serve(here, parent))
    assert (await here.get("/v1/calls", here.spare[0]))[0] == 200  # both children open the operators' port
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    body = b"apiInfocaller=%7B%7D"
    writer.write(
        f"POST /callbacks/line-900/{TOKEN}/inicio?num={LINE}&id=7 HTTP/1.1\r\nHost: hub\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body[:5]
    )
    await writer.drain()
    await until(lambda: _taken(parent, here.port))
    os.killpg(parent.pid, signal.SIGTERM)  # as a terminal and systemd do: the children are told by both
    await until(lambda: _logged_times(here, 0, "process.draining", 2))
    writer.write(body[5:])
    assert b" 422 " in await reader.readline()  # no FIN of ours, but an answer
    writer.close()
    assert await exit_status(parent) == 0


async def _two_serve(here: Site, parent: psutil.Popen) -> bool:
    return len(parent.children()) == 2 and here.said(0, "process.ready") >= 2


async def _replaced(parent: psutil.Popen, killed: psutil.Process) -> bool:
    return len([child for child in parent.children() if child.pid != killed.pid]) == 2


async def _ready_again(here: Site, times: int) -> bool:
    return here.said(0, "process.ready") >= times


async def _logged(here: Site, numbers: tuple[int, ...], event: str) -> bool:
    return all(here.said(number, event) for number in numbers)


async def _logged_times(here: Site, number: int, event: str, times: int) -> bool:
    return here.said(number, event) >= times


def _seconds_to_ready(here: Site) -> float:
    """From the first thing that the process said, which is that there is no broker, until it served."""
    lines = [orjson.loads(line) for line in here.log(0).read_text().splitlines()]
    assert lines[0]["event"] == "bus.disconnected"
    [ready] = [line for line in lines if line["event"] == "process.ready"]
    taken = datetime.fromisoformat(ready["timestamp"]) - datetime.fromisoformat(lines[0]["timestamp"])
    return taken.total_seconds()


async def _accepted(here: Site) -> str | None:
    """The id of an event that was accepted."""
    status, body = await here.get(f"/callbacks/line-900/{TOKEN}/inicio?num={LINE}&id=1&caller=911888920")
    return str(body["event_id"]) if status == 200 else None


async def _taken(parent: psutil.Popen, port: int) -> bool:
    """Whether a child, and not only the kernel, has the connection."""
    return any(
        connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED
        for child in parent.children()
        for connection in child.net_connections("tcp")
    )
