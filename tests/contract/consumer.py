"""A consumer in a process of its own, to be killed: takes COUNT deliveries of a queue, says so, and never settles them.

`python -m tests.contract.consumer KIND ADDRESS QUEUE COUNT`
"""

import asyncio
import sys

import structlog

from tests.contract.buses import Place, receive


async def main(kind: str, address: str, queue: str, count: int) -> None:
    async with Place(kind, address).bus() as bus:
        taken = await receive(bus.subscribe(queue, prefetch=count), count)
        sys.stdout.write(" ".join(delivery.message.id for delivery in taken) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # our output is what we say
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
