"""An operator in a process of its own, to be killed: says so, then requeues COUNT dead letters.

`python -m tests.contract.operator KIND ADDRESS QUEUE COUNT`
"""

import asyncio
import sys

import structlog

from tests.contract.buses import Place, eventually


async def main(kind: str, address: str, queue: str, count: int) -> None:
    async with Place(kind, address).bus() as bus:

        async def up() -> bool:
            return bus.state()[0]

        await eventually(up)
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await bus.requeue(queue, None, count)
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # our output is what we say
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
