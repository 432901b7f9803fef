"""A worker that a poison message kills, started again each time, as a supervisor does.

`python -m tests.contract.storm KIND ADDRESS QUEUE PREFETCH LIVES FILE [ordered]` has at most so many lives that end by
SIGKILL, with whatever is in hand: where a delivery says that it is poison, and every tenth one somewhere. The last one
reads the queue to its end. The ids of what was settled are in FILE. It says how many lives were taken by the poison.
"""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import structlog

from hub.ports import Ack, QueueSpec, Subscription
from tests.contract.buses import Place

POISON = b"poison"
QUIET = 3.0  # seconds without a delivery: the queue is at its end


def main(place: Place, queue: QueueSpec, prefetch: int, lives: int, file: Path) -> None:
    poisoned = 0
    met = file.with_suffix(".poisoned")
    for life in range(1, lives + 2):
        last = life > lives
        pid = os.fork()  # the imports are paid once
        if pid == 0:
            asyncio.run(live(place, queue, prefetch, file, None if last or life % 10 else random.Random(life)))  # noqa: S311
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        poisoned += met.exists()
        met.unlink(missing_ok=True)
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
    sys.stdout.write(f"{poisoned}\n")


async def live(place: Place, queue: QueueSpec, prefetch: int, file: Path, chance: random.Random | None) -> None:
    async with place.bus() as bus:
        await bus.declare([queue])  # as a runner does
        if chance is not None:
            asyncio.get_running_loop().call_later(chance.uniform(0.2, 1.5), die)
        await work(bus.subscribe(queue.name, prefetch), prefetch, file)


async def work(subscription: Subscription, prefetch: int, file: Path) -> None:
    """Settles batches until the queue is at its end, or until the poison comes."""
    with file.open("a") as settled:
        while True:
            try:
                async with asyncio.timeout(QUIET):
                    batch = await subscription.fetch(max(1, prefetch // 2))
            except TimeoutError:
                return
            if any(POISON in delivery.message.body for delivery in batch):
                file.with_suffix(".poisoned").touch()
                die()
            await subscription.settle([(delivery, Ack()) for delivery in batch])
            settled.writelines(f"{delivery.message.id}\n" for delivery in batch)
            settled.flush()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # our output is what we say
    _, kind, address, name, most, many, diary, *ordered = sys.argv
    main(Place(kind, address), QueueSpec(name, (), bool(ordered)), int(most), int(many), Path(diary))
