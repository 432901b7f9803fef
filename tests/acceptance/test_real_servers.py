"""The main job on RabbitMQ and PostgreSQL: an ingress and two persistence workers, each its own process."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import orjson
import pytest
from aiohttp import ClientSession
from yarl import URL

from hub.events import identity
from hub.simulator.driver import play
from hub.simulator.mutators import Mutations, mutate
from hub.simulator.scenarios import calls, stream
from tests.acceptance.fleet import Fleet, fleet
from tests.acceptance.test_equal_records import TARGET
from tests.hub import ADMIN, DESK_TOKEN, LINE, TOKEN, fin, until

ROLES = (("ingress",), ("worker", "persistence"), ("worker", "persistence"))
SAMPLE_CALL = identity("infocaller", "line-900", LINE, "98565656")


@asynccontextmanager
async def consumer(amqp_url: str) -> AsyncIterator[list[aio_pika.abc.AbstractIncomingMessage]]:
    """An application of somebody else: a queue of its own, bound to ``call.*.sealed``, with plain aio-pika."""
    got: list[aio_pika.abc.AbstractIncomingMessage] = []
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("trunkline.events")
        queue = await channel.declare_queue("somebody.elses", durable=True)
        await queue.bind(exchange, "call.*.sealed")

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            got.append(message)
            await message.ack()

        await queue.consume(take)
        yield got


async def read(hub: Fleet, path: str) -> Any:
    async with (
        ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as session,
        session.get(hub.url + path) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return orjson.loads(await answer.read())


async def send_samples(hub: Fleet) -> None:
    """The documents' own samples: Infocaller's signature with FIN, FocalScope's four URLs."""
    agent, customer = "bfa2dbc8-ab8a-34c8-f243-c2aad8c446ff", "923041af-adb5-a8ae-f29c-e60ea5e17448"
    queries = [
        f"CallType=API&Event=pickup&CallID=1000000087849&RequestID=513&EventCode=2&IsCallRecorded=&Guid={agent}",
        f"CallType=Outgoing&Event=pickup&CallID=1000000087850&RequestID=513&EventCode=2&IsCallRecorded=&Guid={customer}",
        f"CallType=Outgoing&Event=hangup&CallID=1000000087850&RequestID=513&EventCode=1&IsCallRecorded=1&Guid={customer}",
        f"CallType=API&Event=hangup&CallID=1000000087849&RequestID=513&EventCode=1&IsCallRecorded=1&Guid={agent}",
    ]
    async with ClientSession() as session:
        for query in queries:
            url = URL(f"{hub.url}/callbacks/desk/{DESK_TOKEN}?{query}", encoded=True)
            async with session.get(url) as answer:
                assert answer.status == 200
        payload = fin()
        assert (
            payload["ApiCall"]["UserID"]["Signature"] == "ae73e4b16a280726fb2e0e6bfb43902a"
        )  # the vendor's own vector
        door = f"{hub.url}/callbacks/line-900/{TOKEN}/fin"
        async with session.post(door, data={"apiInfocaller": orjson.dumps(payload).decode()}) as answer:
            assert answer.status == 200


@pytest.mark.timeout(120)
async def test_each_call_is_sealed_once_for_a_plain_consumer_and_every_record_is_whole(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    async with fleet(tmp_path, amqp_url, postgres_url, ROLES) as hub, consumer(amqp_url) as got:
        await send_samples(hub)
        count = 400
        made = calls(["all"], seed=11, count=count, target=TARGET)
        steps = mutate(stream(made), Mutations(duplicate=0.1, reorder=0.3), seed=11)
        report = await play(steps, hub.url, concurrency=32)
        assert set(report.statuses) == {200}, hub.logs()

        async def all_sealed() -> bool:
            return len({message.message_id for message in got}) >= count + 2

        await until(all_sealed, within=60)
        ledger = await until(lambda: _settled(hub), within=30)
        assert ledger["callbacks"]["accepted"] == report.sent + 5
        assert ledger["callbacks"]["duplicate"] == report.mutations["duplicate"]

    subjects = Counter(message.headers["ce-subject"] for message in got)
    assert set(subjects.values()) == {1}
    assert len(subjects) == count + 2
    _is_as_promised({str(message.headers["ce-subject"]): message for message in got}[SAMPLE_CALL])


async def _settled(hub: Fleet) -> dict[str, Any] | None:
    ledger: dict[str, Any] = await read(hub, "/v1/ledger")
    return ledger if ledger["workers"]["persistence"]["in_flight"] == 0 else None


def _is_as_promised(message: aio_pika.abc.AbstractIncomingMessage) -> None:
    """The wire form of the contract, as a stranger sees it."""
    record = orjson.loads(message.body)
    assert (message.routing_key, message.content_type, message.type) == (
        "call.infocaller.sealed",
        "application/json",
        "call.sealed",
    )
    assert (message.app_id, message.correlation_id) == ("trunkline", SAMPLE_CALL)
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert message.headers["ce-id"] == message.message_id
    assert message.headers["ce-type"] == "trunkline.call.sealed.v1"
    assert message.headers["ce-source"] == "/infocaller/line-900"
    assert message.headers["ce-specversion"] == "1.0"
    assert (record["call_id"], record["disposition"], record["state"]) == (SAMPLE_CALL, "answered", "ended")
    assert record["sealed"]["verdict"] == "inferred"
    assert record["sealed"]["missing"] == ["started"]


@pytest.mark.timeout(60)
async def test_the_embedded_hub_seals_the_same_samples(tmp_path: Path) -> None:
    bus, store = f"sqlite:///{tmp_path}/bus.db", f"sqlite:///{tmp_path}/store.db"
    async with fleet(tmp_path, bus, store, [("up",)]) as hub:
        await send_samples(hub)
        for call_id in (SAMPLE_CALL, identity("focalscope", "desk", "", "513")):

            async def sealed(wanted: str = call_id) -> Any:
                items = (await read(hub, "/v1/calls"))["items"]
                return next((record for record in items if record["call_id"] == wanted and "sealed" in record), None)

            record = await until(sealed)
            assert record["disposition"] == "answered"


@pytest.mark.timeout(60)
async def test_an_embedded_hub_may_be_several_processes_too(tmp_path: Path) -> None:
    bus, store = f"sqlite:///{tmp_path}/bus.db", f"sqlite:///{tmp_path}/store.db"
    async with fleet(tmp_path, bus, store, ROLES) as hub:
        made = calls(["all"], seed=4, count=60, target=TARGET)
        report = await play(stream(made), hub.url)
        assert set(report.statuses) == {200}

        async def sealed() -> bool:
            items = (await read(hub, "/v1/calls?limit=1000"))["items"]
            return len(items) == 60 and all("sealed" in record for record in items)

        await until(sealed)
