"""An S3 server of the tests' own: moto's, over real HTTP, in a process of its own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.servers.guard import kill_tree
from tests.servers.ports import free_port, release_port
from tests.servers.processes import spawn

OPTIONS: Final = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}  # what moto takes
_PATIENCE: Final = 60.0


@contextmanager
def s3(directory: Path) -> Iterator[str]:
    """The endpoint of a server that runs until the end."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = spawn(words, directory=directory, env={"PATH": "/usr/bin:/bin"}, log=directory / "moto.log")
    try:
        until = monotonic() + _PATIENCE
        while not _answers(endpoint):
            assert monotonic() < until, (directory / "moto.log").read_text()
            sleep(0.1)
        yield endpoint
    finally:
        kill_tree(process)
        process.wait(_PATIENCE)
        release_port(port)


def make_bucket(endpoint: str, name: str) -> None:
    """A new bucket; whoever asks is believed."""
    urlopen(Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()  # noqa: S310  loopback


def _answers(endpoint: str) -> bool:
    try:
        urlopen(f"{endpoint}/moto-api/data.json", timeout=2).close()  # noqa: S310  loopback
    except HTTPError:
        return True
    except (URLError, OSError):
        return False
    return True
