"""``trunkline up``, started in an empty directory as a newcomer would."""

import asyncio
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import orjson
import psutil

from tests.cli.command import Said, clean_environment, trunkline
from tests.hub import until
from tests.servers.ports import free_port, release_port
from tests.servers.processes import alive, kill, spawn

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """A hub that ``trunkline up`` began in an empty directory."""

    directory: Path
    port: int
    stdout: Path
    stderr: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """The file that it wrote."""
        return tomllib.loads((self.directory / "trunkline.toml").read_text())

    def trunkline(self, *words: str, stdin: bytes = b"") -> Said:
        """A command beside it."""
        return trunkline(*words, at=self.directory, stdin=stdin, TRUNKLINE_HTTP__PORT=str(self.port))

    def read(self, path: str) -> Any:
        """What its read API answers."""
        bearer = {"Authorization": f"Bearer {self.settings['admin']['token']}"}
        request = Request(self.url + path, headers=bearer)  # noqa: S310  our own
        with urlopen(request, timeout=10) as answer:  # noqa: S310  our own
            return orjson.loads(answer.read())

    def settled(self) -> None:
        """Returns once persistence has nothing in its hands."""

        async def look() -> bool:
            books = await asyncio.to_thread(self.read, "/v1/ledger")
            return bool(books["workers"]["persistence"]["in_flight"] == 0)

        asyncio.run(until(look))


@contextmanager
def up(directory: Path, *command: str, **environment: str) -> Iterator[Served]:
    """A hub from its start to its drain, which must end with 0.

    Args:
        directory: where it writes its configuration and its data.
        command: the program; ``python -m hub`` without one.
        environment: more variables.
    """
    port = free_port()
    hub = Served(directory, port, directory / "stdout", directory / "stderr")
    variables = {"PYTHONPATH": str(ROOT), "TRUNKLINE_HTTP__PORT": str(port), "TRUNKLINE_CALLS__SETTLE": "0.2"}
    process = spawn(
        [*(command or (sys.executable, "-m", "hub")), "up"],
        directory=directory,
        env=clean_environment(variables | environment),
        log=hub.stderr,
        out=hub.stdout,
    )
    try:
        asyncio.run(until(lambda: _ready(hub, process), within=60))
        yield hub
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, hub.stderr.read_text()
    finally:
        kill(process)
        release_port(port)


async def _ready(hub: Served, process: psutil.Popen) -> bool:
    assert alive(process), hub.stderr.read_text()
    try:
        with await asyncio.to_thread(urlopen, f"{hub.url}/readyz", timeout=5) as answer:
            return bool(orjson.loads(answer.read())["status"] == "ok")
    except URLError:
        return False
