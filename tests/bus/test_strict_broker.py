"""A broker with limits and with TLS: what it does not take, whom we do not trust (B17, B25, B27, B29)."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.bus.rabbitmq import RabbitBus
from hub.errors import NotDurable
from hub.ports import Ack
from tests.bus.authority import Authority
from tests.bus.broker import insist, opened
from tests.contract.buses import ENDED, WORK, eventually, message, publish, receive
from tests.servers.ports import free_port, release_port
from tests.servers.rabbitmq import RabbitMQ

HOST = "localhost"
LARGEST = 65_536


@dataclass
class Strict:
    """A node that listens with TLS as well, and takes no large message."""

    node: RabbitMQ
    tls_port: int
    authority: Authority
    stranger: Authority
    certificate: Path
    expired: Path

    def url(self, host: str, authority: Authority) -> str:
        return f"amqps://guest:guest@{host}:{self.tls_port}/?cafile={authority.file}"

    def serve(self, certificate: Path) -> None:
        """From now on it shows this certificate, whose key is the old one's."""
        shutil.copy(certificate, self.certificate)
        self.node.evaluate("ssl:clear_pem_cache()")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    directory = tmp_path_factory.mktemp("tls")
    ours, theirs = Authority(directory, "ours"), Authority(directory, "theirs")
    key = directory / "server.key"
    certificate = ours.certify(HOST, key)
    expired = ours.certify(HOST, key, days="-1")
    shown = directory / "shown.pem"
    shutil.copy(certificate, shown)
    port = free_port()
    settings = {
        "listeners.ssl.default": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(ours.file),
        "ssl_options.certfile": str(shown),
        "ssl_options.keyfile": str(key),
        "max_message_size": str(LARGEST),
    }
    with RabbitMQ(settings=settings) as node:
        yield Strict(node, port, ours, theirs, shown, expired)
    release_port(port)


@pytest.fixture
def url(strict: Strict) -> Iterator[str]:
    strict.node.start()
    url = strict.node.create_vhost()
    yield url
    if strict.node.running:
        strict.node.delete_vhost(url)


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_a_certificate_of_our_authority_for_that_host_is_trusted(strict: Strict) -> None:
    strict.node.start()
    async with opened(strict.url(HOST, strict.authority)) as bus:
        await insist(bus, message())


@pytest.mark.parametrize(
    ("host", "whose", "says"),
    [("127.0.0.1", "authority", "IP address mismatch"), (HOST, "stranger", "certificate verify failed")],
)
async def test_a_certificate_of_another_host_or_authority_is_refused_with_an_alarm(
    strict: Strict, host: str, whose: str, says: str
) -> None:
    strict.node.start()
    await refuses(strict.url(host, getattr(strict, whose)), says)


async def test_an_expired_certificate_is_refused_with_an_alarm_and_a_renewed_one_is_taken(
    strict: Strict, tmp_path: Path
) -> None:
    strict.node.start()
    good = tmp_path / "good.pem"
    shutil.copy(strict.certificate, good)
    strict.serve(strict.expired)
    url = strict.url(HOST, strict.authority)
    try:
        await refuses(url, "certificate has expired")
    finally:
        strict.serve(good)
    async with opened(url) as bus:
        await insist(bus, message())


async def refuses(url: str, says: str) -> None:
    with capture_logs() as logs:
        async with opened(url) as bus:
            with pytest.raises(NotDurable):
                await bus.publish([message()])
            usable, why = bus.state()
            assert not usable
            assert says in why
    alarms = [log for log in logs if log["event"] == "bus.refused"]
    assert {log["log_level"] for log in alarms} == {"error"}
    assert all(says in log["reason"] for log in alarms)
    assert "guest:guest" not in str(logs)


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_a_message_that_is_too_large_for_the_broker_is_refused_by_name_and_holds_up_no_other(url: str) -> None:
    async with opened(url) as bus:
        small, large = message(), message(padding="x" * LARGEST)
        with pytest.raises(NotDurable, match="larger than"):
            await bus.publish([large])
        for _ in range(3):
            await insist(bus, sent := message())
            with pytest.raises(NotDurable):
                await bus.publish([large])
        await insist(bus, small)
        subscription = bus.subscribe(WORK, 10)
        arrived = [(await receive(subscription, 1))[0].message.id for _ in range(4)]
        assert {small.id, sent.id} <= set(arrived)
        assert large.id not in arrived


@pytest.fixture
def impatient(strict: Strict, url: str) -> Iterator[str]:
    """The node takes back what is not settled within two seconds; it looks each second, and not each minute."""
    new = {"consumer_timeout": "2000", "channel_tick_interval": "1000"}
    old = {name: strict.node.evaluate(f"{{ok, V}} = application:get_env(rabbit, {name}), V") for name in new}
    for name, value in new.items():
        strict.node.evaluate(f"application:set_env(rabbit, {name}, {value})")
    yield url
    for name, value in old.items():
        strict.node.evaluate(f"application:set_env(rabbit, {name}, {value})")


async def test_a_delivery_that_the_broker_takes_back_for_its_age_comes_again_and_its_worker_goes_on(
    impatient: str,
) -> None:
    async with opened(impatient) as bus:
        subscription = bus.subscribe(WORK, 10)
        await publish(bus, sent := message())
        (slow,) = await receive(subscription, 1)
        with capture_logs() as logs:

            async def taken_back() -> bool:
                return any(log["event"] == "bus.consumer_lost" and "timeout" in log["reason"] for log in logs)

            await eventually(taken_back, within=30)
        await subscription.settle([(slow, Ack())])  # no error: somebody has it again
        (again,) = await receive(subscription, 1)
        assert again.message == sent
        await subscription.settle([(again, Ack())])


# --- two nodes -------------------------------------------------------------------------------------------------------


async def test_when_the_own_node_is_killed_the_next_one_takes_messages_within_five_seconds(
    strict: Strict, url: str, amqp_url: str
) -> None:
    bus = RabbitBus([url, amqp_url], ladder=(1,))
    await bus.start()
    await bus.declare([ENDED])
    try:
        subscription = bus.subscribe(WORK, 10)
        await insist(bus, message())
        await subscription.settle([(one, Ack()) for one in await receive(subscription, 1)])
        await asyncio.to_thread(strict.node.kill)
        killed = time.monotonic()
        await insist(bus, sent := message(), within=10)
        assert time.monotonic() - killed < 5
        assert (await receive(subscription, 1, within=10))[0].message == sent
        assert time.monotonic() - killed < 10
    finally:
        await bus.close()
