"""A private RabbitMQ: Debian's server, a directory, ports and a cookie of its own, on the loopback only."""

import secrets
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

import psutil

from tests.servers.ports import free_port, release_port
from tests.servers.processes import alive, answers, kill, new_directory, remove_directory, run, spawn, stop, wait_until

SCRIPTS = Path("/usr/lib/rabbitmq/bin")  # those of /usr/sbin change the user and read the machine's own configuration
PROTOCOL_HEADER, METHOD_FRAME = b"AMQP\x00\x00\x09\x01", b"\x01"
ACTOR = '<<"tests">>'  # who did it, in the node's log


class RabbitMQ:
    """One node. Its ports and its directory are its own from construction until `close`, started or not.

    Args:
        plugins: names of bundled plugins to enable.
        settings: lines of rabbitmq.conf.
        beside: a node whose port mapper and cookie this one shares, so that the two can be one broker.
    """

    def __init__(
        self,
        *,
        plugins: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        beside: "RabbitMQ | None" = None,
    ) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self.node = f"trunkline-{self.port}@localhost"
        self.directory = new_directory("rabbitmq")
        self.log = self.directory / "server.log"
        self._distribution_port = free_port()
        self._beside = beside
        self._epmd_port: int = free_port() if beside is None else beside._epmd_port
        self._server: psutil.Popen | None = None
        self._epmd: psutil.Popen | None = None

        cookie = self.directory / ".erlang.cookie"
        shared = None if beside is None else (beside.directory / ".erlang.cookie").read_text()
        cookie.write_text(shared or secrets.token_hex(16))
        cookie.chmod(0o400)
        (self.directory / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        (self.directory / "rabbitmq.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in (settings or {}).items())
        )

    @property
    def pid(self) -> int:
        """Of the Erlang machine itself."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the node is up. Not whether it has finished its start: `start` returns when it has."""
        return alive(self._server)

    def start(self) -> None:
        """Start the node, on the data it may have; returns when it takes connections. No-op when it runs."""
        if self.running:
            return
        try:
            self.start_epmd()
            self._server = spawn(
                [SCRIPTS / "rabbitmq-server"], directory=self.directory, env=self._server_environment(), log=self.log
            )
            # The listeners open last: virtual hosts and queues are recovered by then.
            wait_until(lambda: answers(self.port, say=PROTOCOL_HEADER, begin=METHOD_FRAME), self._server, log=self.log)
        except BaseException:
            self._end()
            raise

    def kill(self, *, settled: bool = True) -> None:
        """SIGKILL the node; returns when it is gone. Its data stay as they are.

        Ra has the names of new quorum queues on disk half a second after the last declaration, not before (dets
        auto_save). A node killed earlier comes back with another, empty queue of that name, which never finds a leader:
        confirmed messages are out of reach and `basic.consume` hangs (cf. rabbitmq-server#15725). So that a test meets
        this only when it asks for it, those tables are synced first, unless `settled` is false. It syncs no message.
        """
        server = self._running()
        if settled:
            self.evaluate("[ok = dets:sync(Table) || Table <- dets:all()]")
        kill(server)

    def stop(self) -> None:
        """Shut the node down in an orderly way. Its data stay."""
        stop(self._running(), signal.SIGTERM, log=self.log)
        self._end()

    def close(self) -> None:
        """End whatever still runs, forget the data and give the ports back."""
        self._end()
        remove_directory(self.directory)
        for port in (self.port, self._distribution_port):
            release_port(port)
        if self._beside is None:
            release_port(self._epmd_port)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ctl(self, *args: str) -> str:
        """What `rabbitmqctl ARGS` prints (0.3 s a call)."""
        return run(
            [SCRIPTS / "rabbitmqctl", "--quiet", *args], directory=self.directory, env=self._client_environment()
        )

    def evaluate(self, expression: str) -> str:
        """The value of an Erlang expression, evaluated in the node (10 ms a call)."""
        answer = run(
            ["erl_call", "-address", f"127.0.0.1:{self._distribution_port}", "-R", "-timeout", "60", "-e"],
            directory=self.directory,
            env=self._client_environment(),
            script=f"{expression}.\n",
        )
        status, _, value = answer.strip().removeprefix("{").removesuffix("}").partition(", ")
        if status != "ok":
            raise RuntimeError(f"{expression} failed: {value}")
        return value

    def create_vhost(self, name: str | None = None) -> str:
        """A new, empty virtual host in which guest may do everything; its URL."""
        name = name or f"test-{secrets.token_hex(8)}"
        every = '<<".*">>'
        self.evaluate(
            f"ok = rabbit_vhost:add({_binary(name)}, {ACTOR}),"
            f" ok = rabbit_auth_backend_internal:set_permissions("
            f'<<"guest">>, {_binary(name)}, {every}, {every}, {every}, {ACTOR})'
        )
        return f"{self.url}{quote(name, safe='')}"

    def delete_vhost(self, url: str) -> None:
        """Delete a virtual host with all that is in it; its connections are closed."""
        name = unquote(url.rpartition("/")[2])
        self.evaluate(f"rabbit_vhost:delete({_binary(name)}, {ACTOR})")

    def start_epmd(self) -> None:
        """A port mapper of our own, in the foreground: the machine's is neither asked nor started."""
        if self._beside is not None:
            self._beside.start_epmd()
        elif not alive(self._epmd):
            self._epmd = spawn(
                ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                directory=self.directory,
                env=self._environment(),
                log=self.log,
            )
            wait_until(lambda: answers(self._epmd_port), self._epmd, log=self.log)

    def _running(self) -> psutil.Popen:
        if self._server is None or not alive(self._server):
            raise RuntimeError(f"{self.node} does not run")
        return self._server

    def _end(self) -> None:
        for process in (self._server, self._epmd):
            if process is not None:
                kill(process)

    def _server_environment(self) -> dict[str, str]:
        return self._environment() | {
            # The script then becomes the Erlang machine instead of waiting for it, so its pid is the one to kill;
            # -noinput takes back what that setting is meant for.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _client_environment(self) -> dict[str, str]:
        return self._environment() | {"RABBITMQ_CTL_ERL_ARGS": "-dist_listen false"}

    def _environment(self) -> dict[str, str]:
        at = self.directory
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(at),  # of the cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-start_epmd false",
            "ERL_CRASH_DUMP_BYTES": "0",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(at / "none"),  # else the machine's
            "RABBITMQ_CONFIG_FILE": str(at / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(at / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(at / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(at / "config"),
            "RABBITMQ_SCHEMA_DIR": str(at / "schema"),
            "RABBITMQ_MNESIA_BASE": str(at / "mnesia"),
            "RABBITMQ_LOG_BASE": str(at / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(at / "pid"),
        }


def _binary(text: str) -> str:
    """An Erlang binary of any text."""
    return f"<<{','.join(map(str, text.encode()))}>>"
