"""Somebody in a process of its own who sends COUNT messages to a queue, says which, and waits to be killed.

`python -m tests.contract.sender KIND ADDRESS QUEUE COUNT`
"""

import asyncio
import sys

import structlog

from tests.contract.buses import Place, eventually, message


async def main(kind: str, address: str, queue: str, count: int) -> None:
    async with Place(kind, address).bus() as bus:

        async def up() -> bool:
            return bus.state()[0]

        await eventually(up)
        sent = [message(n=n) for n in range(count)]
        await bus.send(queue, sent)
        sys.stdout.write(" ".join(one.id for one in sent) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # our output is what we say
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
