"""How much a delivery remembers of its failed attempts, on either bus."""

from pathlib import Path
from typing import Final

from pamqp import commands as spec

from hub.bus.sqlite import SqliteBus
from hub.bus.wire import Received
from hub.events import Message
from hub.ports import HISTORY, HISTORY_REASON, DeadLetter, QueueSpec, Retry
from tests.contract.buses import message, publish, receive

WORK: Final = QueueSpec("trunkline.work", ("call.#",))
ATTEMPTS: Final = HISTORY + 2
LATEST: Final = [f"attempt {n}" for n in range(3, ATTEMPTS + 1)]


def after(attempts: int, reason: str = "attempt {}") -> Received:
    """A message that the broker hands over after so many failed attempts."""
    headers = dict[str, object]()
    for attempt in range(1, attempts + 1):
        was = Received(Message("call.a.b", {}, b""), headers, spec.Basic.Properties())
        parked = was.parked("work.retry.5s", attempt + 1, reason.format(attempt), None)
        headers = dict(parked.properties.headers or {})
    return Received(Message("call.a.b", {}, b""), headers, spec.Basic.Properties())


def test_the_wire_keeps_the_latest_failures_in_a_header_that_fits_its_frame() -> None:
    assert [failure.reason for failure in after(ATTEMPTS).history] == LATEST
    longest = after(ATTEMPTS, "\U0001f4de" * 1000)
    assert [failure.reason for failure in longest.history] == ["\U0001f4de" * HISTORY_REASON] * HISTORY
    frames = longest.copy("work", {}).marshal(1, 128 * 1024)
    assert len(frames) < 16 * 1024


def test_a_history_that_a_stranger_wrote_is_none() -> None:
    for rubbish in ("[", "7", "[[1]]", '[["x", "y"]]', "{}", "[[9e18, 1]]", "[[999999999999999999, 1]]", 7, [1]):
        headers = {"x-trunkline-history": rubbish}
        assert Received(Message("call.a.b", {}, b""), headers, spec.Basic.Properties()).history == ()


async def test_the_embedded_bus_keeps_the_latest_failures(tmp_path: Path) -> None:
    bus = SqliteBus(tmp_path / "bus.db", poll=60)
    await bus.start()
    await bus.declare([WORK])
    await publish(bus, message())
    subscription = bus.subscribe(WORK.name, 10)
    for attempt in range(1, ATTEMPTS + 1):
        (delivery,) = await receive(subscription, 1)
        assert delivery.attempt == attempt
        await subscription.settle([(delivery, Retry(0, f"attempt {attempt}"))])
    (delivery,) = await receive(subscription, 1)
    await subscription.settle([(delivery, DeadLetter("enough"))])
    (letter,) = await bus.dead(WORK.name)
    assert [failure.reason for failure in letter.history] == LATEST
    await bus.close()
