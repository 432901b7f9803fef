"""A private PostgreSQL: Debian's newest server, a data directory and a port of its own, on the loopback only."""

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import psutil

from tests.servers.ports import free_port, release_port
from tests.servers.processes import alive, kill, new_directory, remove_directory, run, spawn, stop, wait_until

VERSIONS = Path("/usr/lib/postgresql")
SUPERUSER = "postgres"  # in the database, and on the machine when we are root: the server refuses to run as root
Mode = Literal["smart", "fast", "immediate"]
SIGNALS: dict[Mode, signal.Signals] = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
MODEST = {"shared_buffers": "32MB", "timezone": "UTC", "log_timezone": "UTC"}
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgreSQL:
    """One server. Its port and its directory are its own from construction until `close`, started or not.

    Args:
        durable: whether a commit is on disk when it is answered. Without it a test is faster and proves less.
        settings: parameters of postgresql.conf.
    """

    def __init__(self, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.directory = new_directory("postgres")
        self.log = self.directory / "server.log"
        self._data = self.directory / "data"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # in the data directory, so that it goes with it after a SIGKILL
            **MODEST,
            **({} if durable else CARELESS),
            **(settings or {}),
        }
        self._binaries = _newest_binaries()
        self._user = SUPERUSER if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        self._server: psutil.Popen | None = None

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the server is up. Not whether it has finished its start: `start` returns when it has."""
        return alive(self._server)

    def start(self) -> None:
        """Start the server, on the data it may have; returns when it takes connections. No-op when it runs."""
        if self.running:
            return
        if not self._data.exists():
            self._initialise()
        arguments = [word for key, value in self._settings.items() for word in ("-c", f"{key}={value}")]
        self._server = spawn(
            [self._binaries / "postgres", "-D", self._data, *arguments],
            directory=self.directory,
            env=self._environment(),
            log=self.log,
            user=self._user,
            at_the_end=SIGNALS["immediate"],
        )
        try:
            wait_until(self._ready, self._server, log=self.log)
        except BaseException:
            kill(self._server)
            raise

    def kill(self) -> None:
        """SIGKILL the server with all its processes; returns when they are gone. Its data stay as they are."""
        kill(self._running())

    def stop(self, mode: Mode = "fast") -> None:
        """Shut the server down: when the last client has left, after rolling them back, or as if it had crashed."""
        stop(self._running(), SIGNALS[mode], log=self.log)

    def close(self) -> None:
        """End whatever still runs, forget the data and give the port back."""
        if self.running:
            self.stop("immediate")
        self._remove_shared_memory()
        remove_directory(self.directory)
        release_port(self.port)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_database(self, name: str | None = None) -> str:
        """A new, empty database; its URL."""
        name = name or f"test_{secrets.token_hex(8)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database; its connections are closed."""
        self.execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    @property
    def url(self) -> str:
        """Of the database that is always there."""
        return self._url("postgres")

    def execute(self, sql: str, *, url: str | None = None) -> str:
        """What psql prints for a statement: a line for each row, `|` between its columns."""
        return run(
            [
                *(self._binaries / "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
                *("--set", "ON_ERROR_STOP=1", "--dbname", url or self.url, "--command", sql),
            ],
            directory=self.directory,
            env=self._environment(),
        )

    def _url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def _initialise(self) -> None:
        run(
            [
                *(self._binaries / "initdb", "--pgdata", self._data, "--username", SUPERUSER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
            ],
            directory=self.directory,
            env=self._environment(),
            user=self._user,
        )

    def _running(self) -> psutil.Popen:
        if self._server is None or not alive(self._server):
            raise RuntimeError(f"the PostgreSQL at port {self.port} does not run")
        return self._server

    def _ready(self) -> bool:
        """As pg_ctl sees it: the server writes its state to the eighth line of its pid file."""
        lines = self._pid_file()
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _remove_shared_memory(self) -> None:
        """What a killed server cannot: the segment that tells its successor it has gone (key and id, line seven)."""
        with contextlib.suppress(IndexError):
            _, segment = self._pid_file()[6].split()
            run(["ipcrm", "--shmem-id", segment], directory=self.directory, env=self._environment())

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.directory)}


def _newest_binaries() -> Path:
    found = sorted(VERSIONS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise RuntimeError("no PostgreSQL server below /usr/lib/postgresql; deploy/test-servers.sh installs it")
    return found[-1].parent
