"""Trunkline as it runs in production: a process a role, over RabbitMQ and PostgreSQL."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession

from tests.hub import ADMIN, DESK_TOKEN, LINE, PASSWORD, TOKEN, until
from tests.servers.ports import free_port, release_port

ROOT: Final = Path(__file__).parents[2]
_TEMPLATE: Final = """
[http]
port = {port}
[bus]
url = "{bus}"
[store]
url = "{store}"
[outbox]
path = "{directory}/outbox.db"
[admin]
token = "{admin}"
[calls]
settle = {settle}
gap_after = {gap_after}
longest = 3600
[log]
level = "warning"
format = "json"
[sources.line-900]
vendor = "infocaller"
tokens = ["{token}"]
lines = {{ "{line}" = "{password}" }}
[sources.desk]
vendor = "focalscope"
tokens = ["{desk}"]
"""


@dataclass
class Fleet:
    """The processes of one hub, and where to reach it.

    Attributes:
        peak: the highest resident memory of each process seen at its end, in bytes, by role.
    """

    directory: Path
    port: int
    processes: list[tuple[str, asyncio.subprocess.Process]] = field(default_factory=list)
    peak: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        """Starts ``trunkline COMMAND`` with the fleet's configuration; its log goes to a file."""
        log = self.directory / f"{len(self.processes)}-{command[0]}.log"
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hub", "--config", str(self.directory / "trunkline.toml"), *command),
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
            )
        self.processes.append((" ".join(command), process))
        return process

    async def ready(self, path: str = "/readyz") -> None:
        """Waits until the door answers 200."""
        async with ClientSession() as session:

            async def look() -> bool:
                try:
                    async with session.get(f"{self.url}{path}") as answer:
                        return answer.status == 200
                except ClientError:
                    return False

            await until(look)

    async def stop(self) -> None:
        """SIGTERM to all; each must drain and exit 0."""
        for role, process in self.processes:
            if process.returncode is None:
                self.peak[f"{role} {process.pid}"] = _peak(process.pid)
                process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            statuses = [await process.wait() for _, process in self.processes]
        assert [status for status in statuses if status not in (0, -signal.SIGKILL)] == [], self.logs()

    def logs(self) -> str:
        """Everything that the processes said."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-4000:]}" for path in sorted(self.directory.glob("*.log")))


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@asynccontextmanager
async def fleet(
    directory: Path,
    bus: str,
    store: str,
    commands: Sequence[Sequence[str]],
    *,
    settle: float = 0.5,
    gap_after: float = 3,
) -> AsyncIterator[Fleet]:
    """A hub of several processes; drained at the end."""
    port = free_port()
    made = Fleet(directory, port)
    (directory / "trunkline.toml").write_text(
        _TEMPLATE.format(
            port=port,
            bus=bus,
            store=store,
            directory=directory,
            settle=settle,
            gap_after=gap_after,
            admin=ADMIN,
            token=TOKEN,
            line=LINE,
            password=PASSWORD,
            desk=DESK_TOKEN,
        )
    )
    try:
        for command in commands:
            await made.start(*command)
        await made.ready()
        yield made
        await made.stop()
    finally:
        for _, process in made.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        release_port(port)
