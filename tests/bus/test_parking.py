"""Where a delivery waits: the ladder everywhere, the queue's own delay only where it says the same (decision 13)."""

import time
from typing import Any

import pytest
from pamqp import commands as spec

from hub.bus.parking import Ladder, Native, Return, choose, version
from hub.bus.topology import LADDER, Queue, parts
from hub.bus.wire import Copy, Received
from hub.events import Message
from hub.ports import QueueSpec
from tests.contract.buses import ENDED, WORK

WHAT = Received(
    Message("call.infocaller.ended", {"ce-id": "1"}, b"{}"), {"x-trunkline-attempt": 3}, spec.Basic.Properties()
)


def server(version: object, product: object = b"RabbitMQ") -> dict[str, Any]:
    """The properties that a broker sends when a connection is opened, as aiormq gives them."""
    return {"product": product, "version": version, "platform": b"Erlang/OTP 27"}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (server(b"3.10.8"), (3, 10)),
        (server("4.3.0"), (4, 3)),
        (server(b"4.10.1-rc.2"), (4, 10)),
        (server(bytearray(b"4.3.1"), "RabbitMQ"), (4, 3)),
        (server(b"4.3.0", b"LavinMQ"), (0, 0)),
        (server(b"nightly"), (0, 0)),
        ({}, (0, 0)),
    ],
)
def test_the_brokers_version_is_what_it_says_of_itself(properties: dict[str, Any], expected: tuple[int, int]) -> None:
    assert version(properties) == expected


@pytest.mark.parametrize("old", [b"3.10.8", b"3.13.7", b"4.2.3"])
def test_a_broker_that_would_ignore_the_delay_gets_the_ladder_even_where_the_delay_is_wanted(old: bytes) -> None:
    parking = choose(LADDER, server(old), native=True)
    assert isinstance(parking, Ladder)
    assert parking.arguments() == {}


def test_a_broker_that_has_the_delay_gets_the_ladder_unless_the_delay_is_wanted() -> None:
    assert isinstance(choose(LADDER, server(b"4.3.0"), native=False), Ladder)
    assert choose(LADDER, server(b"4.3.0"), native=True) == Native(Ladder(LADDER), 5)


@pytest.mark.parametrize(
    ("after", "queue", "noted"), [(0, 5, False), (5, 5, False), (5.1, 15, False), (86_400, 21_600, True)]
)
def test_the_ladder_takes_the_first_step_that_is_long_enough(after: float, queue: int, *, noted: bool) -> None:
    copy = Ladder(LADDER).park(WHAT, WORK, after, 4, "503")
    assert copy.routing_key == f"{WORK}.retry.{queue}s"
    headers = copy.properties.headers
    assert headers is not None
    assert (headers["x-trunkline-attempt"], headers["x-trunkline-reason"]) == (4, "503")
    not_before = headers.get("x-trunkline-not-before")
    assert (not_before is not None) is noted
    if isinstance(not_before, int):
        assert abs(not_before / 1000 - time.time() - after) < 60


@pytest.mark.parametrize(
    ("after", "attempt", "returned"),
    [
        (3, 3, True),  # a snooze no longer than the delay
        (5, 3, True),
        (5.1, 3, False),  # a longer one: a return would come too early
        (0, 3, False),  # one that is to come back at once: a return would wait
        (3, 4, False),  # a retry: its attempt and its reason have to be written down
    ],
)
def test_the_queues_own_delay_takes_what_it_can_honour(after: float, attempt: int, *, returned: bool) -> None:
    parked = Native(Ladder(LADDER), 5).park(WHAT, WORK, after, attempt, "why")
    assert isinstance(parked, Return if returned else Copy)


def test_only_what_is_returned_on_purpose_is_delayed_and_always_equally_long() -> None:
    arguments = Native(Ladder(LADDER), 5).arguments()
    assert arguments == {
        "x-delayed-retry-type": "returned",
        "x-delayed-retry-min": 5000,
        "x-delayed-retry-max": 5000,
    }
    declared = {part.name: part.arguments for part in parts(ENDED, LADDER, arguments) if isinstance(part, Queue)}
    assert arguments.items() <= declared[WORK].items()
    assert not [name for name in declared if name != WORK and "x-delayed-retry-type" in declared[name]]
    assert "x-delayed-retry-type" not in str(list(parts(QueueSpec(WORK, ()), LADDER)))
