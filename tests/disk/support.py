"""What the tests of the ingress's disk share."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hub.disk import Disk, Refused
from hub.errors import NotDurable
from hub.events import Message
from hub.ports import Ack, Bus, QueueSpec
from tests.contract.buses import ids, message, receive

QUEUE: Final = QueueSpec("trunkline.work", ("#",))
ROOM: Final = 1 << 30


async def open_disk(
    stack: AsyncExitStack, directory: Path, *, max_bytes: int = ROOM, share: int = ROOM, min_free: int = 0
) -> Disk:
    """The disk of one ingress process; two on one directory share their file."""
    disk = Disk(directory / "outbox.db", max_bytes=max_bytes, quarantine_bytes=share, min_free_bytes=min_free)
    await disk.start()
    stack.push_async_callback(disk.close)
    return disk


def refused(source: str = "line-900", body: bytes = b"?", **fields: Any) -> Refused:
    stated = {
        "vendor": "infocaller",
        "reason": "undecodable",
        "detail": "no XML and no JSON",
        "received_at": datetime(2026, 11, 20, 9, 15, 30, tzinfo=UTC),
        "method": "POST",
        "url": f"/callbacks/{source}/…/fin",
        "event": "fin",
        "headers": (("Content-Type", "text/plain"), ("X-Twice", "1"), ("X-Twice", "2")),
    }
    return Refused(source=source, body=body, **{**stated, **fields})


async def fill(disk: Disk, size: int = 20_000) -> list[Message]:
    """Keeps until the outbox is full; returns what it took."""
    kept: list[Message] = []
    while True:
        one = message(filler="x" * size)
        try:
            await disk.keep([one])
        except NotDurable:
            return kept
        kept.append(one)


async def on_the_bus(bus: Bus, count: int) -> list[str]:
    """The ids of the queue's next so many messages, taken off it."""
    subscription = bus.subscribe(QUEUE.name, 500)
    taken: list[str] = []
    try:
        while len(taken) < count:
            deliveries = await receive(subscription, min(250, count - len(taken)))
            await subscription.settle([(delivery, Ack()) for delivery in deliveries])
            taken += ids(deliveries)
    finally:
        await subscription.close()
    return taken


def named(messages: Sequence[Message]) -> list[str]:
    return [one.id for one in messages]
