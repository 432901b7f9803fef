"""Three private RabbitMQ nodes that are one broker: quorum queues have a replica on each."""

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self
from urllib.parse import quote

from tests.servers.rabbitmq import RabbitMQ

SIZE = 3
PATIENCE = 30.0  # seconds
ABREAST = 200  # entries of the log that a replica may lack while others write on


class Cluster:
    """The nodes, each with ports and a directory of its own. They share a port mapper and a cookie.

    A port mapper of each would not do: a node asks its own where another one listens.

    Attributes:
        nodes: all of them, running or not.
    """

    def __init__(self, *, size: int = SIZE, settings: Mapping[str, str] | None = None) -> None:
        """Starts nothing.

        Args:
            size: how many nodes.
            settings: lines of rabbitmq.conf.
        """
        self._first = RabbitMQ(settings=settings)
        joining = {
            "cluster_formation.peer_discovery_backend": "classic_config",
            "cluster_formation.classic_config.nodes.1": self._first.node,
        }
        others = [RabbitMQ(settings={**(settings or {}), **joining}, beside=self._first) for _ in range(size - 1)]
        self.nodes = [self._first, *others]
        self._formed = False

    def start(self) -> None:
        """Starts the nodes that do not run, on the data they may have; an empty one joins the first."""
        if not self._formed:
            self._first.start()
        self._first.start_epmd()
        with ThreadPoolExecutor(len(self.nodes)) as pool:  # after an outage of all each waits for the others
            list(pool.map(RabbitMQ.start, self.nodes))
        self._formed = True

    def close(self) -> None:
        """Ends whatever still runs and forgets the data; the first goes last, since the port mapper is its."""
        for node in reversed(self.nodes):
            node.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def urls(self, vhost: str, first: RabbitMQ | None = None) -> list[str]:
        """The virtual host at every node, that of ``first`` before the others."""
        ordered = sorted(self.nodes, key=lambda node: node is not first)
        return [f"{node.url}{quote(vhost, safe='')}" for node in ordered]

    def create_vhost(self) -> str:
        """The name of a new, empty virtual host."""
        return self._first.create_vhost().rpartition("/")[2]

    def leader(self, vhost: str, queue: str) -> RabbitMQ:
        """The node on which a quorum queue's leader is, as the nodes that run know it.

        Raises:
            LookupError: there is none now.
        """
        for asked in self.running():
            try:
                name = asked.evaluate(f"{_found(vhost, queue)}, element(2, amqqueue:get_pid(Q))").strip("'")
            except RuntimeError:  # it is paused, or has no majority to ask
                continue
            for node in self.nodes:
                if node.node == name and node.running:
                    return node
        raise LookupError(f"{queue} has no leader")

    def transfer(self, vhost: str, queue: str, to: RabbitMQ) -> None:
        """Makes a node the leader of a queue; returns when it is."""
        self._first_running().evaluate(
            f"{_found(vhost, queue)}, rabbit_quorum_queue:transfer_leadership(Q, '{to.node}')"
        )
        deadline = time.monotonic() + PATIENCE
        while self.leader(vhost, queue) is not to:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{to.node} did not become the leader of {queue}")
            time.sleep(0.05)

    def whole(self, vhost: str, queue: str) -> bool:
        """Whether each node has a replica that follows the leader closely.

        One that has just been started again is a follower at once, and still lacks what was written meanwhile: it can
        neither lead nor, with one other, be a majority.
        """
        found = self._first_running().evaluate(
            '[{proplists:get_value(<<"Raft State">>, R), proplists:get_value(<<"Log Index">>, R)} ||'
            f' R <- rabbit_quorum_queue:status(<<"{vhost}">>, <<"{queue}">>)]'
        )
        at = [int(index) for index in re.findall(r"\{(?:leader|follower), (\d+)\}", found)]
        return len(at) == len(self.nodes) and max(at) - min(at) <= ABREAST

    def members(self, vhost: str, queue: str) -> Sequence[str]:
        """The names of the nodes that have a replica."""
        answer = self._first_running().evaluate(f"{_found(vhost, queue)}, maps:get(nodes, amqqueue:get_type_state(Q))")
        return [name.strip().strip("'") for name in answer.strip("[]").split(",")]

    def running(self) -> list[RabbitMQ]:
        """The nodes that run."""
        return [node for node in self.nodes if node.running]

    def _first_running(self) -> RabbitMQ:
        return self.running()[0]


def _found(vhost: str, queue: str) -> str:
    """Erlang that binds Q."""
    return f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>))'
