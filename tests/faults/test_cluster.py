"""Rows B16, B17, B18: a broker of three nodes loses the leader of its queue, the publisher's node, its majority."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.scale import at
from tests.faults.trial import Trial, trial
from tests.hub import until
from tests.servers.cluster import Cluster
from tests.servers.rabbitmq import RabbitMQ

QUEUE: Final = "trunkline.persistence"
GAP: Final = 5.0  # seconds without a confirm
REPLICAS: Final = 120.0  # seconds in which a node that starts anew has learnt what it missed
_AT: Final = re.compile(r'"host":"127\.0\.0\.1:(\d+)/')


class Scene:
    """The nodes, and the hub that knows them all."""

    def __init__(self, cluster: Cluster, vhost: str, row: Trial) -> None:
        self.cluster = cluster
        self.vhost = vhost
        self.row = row
        self.gaps: list[float] = []

    def publishers(self) -> RabbitMQ:
        """The node that the ingress publishes to, as it says itself."""
        lines = self.row.here.log(0).read_text().splitlines()
        last = [line for line in lines if '"bus.connected"' in line and '"publishing"' in line][-1]
        found = _AT.search(last)
        assert found is not None, last
        return next(node for node in self.cluster.nodes if node.port == int(found[1]))

    async def leads(self, node: RabbitMQ) -> None:
        """Makes a node the queue's leader."""
        await asyncio.to_thread(self.cluster.transfer, self.vhost, QUEUE, node)

    async def leader(self) -> RabbitMQ:
        return await asyncio.to_thread(self.cluster.leader, self.vhost, QUEUE)

    async def another_leads(self, than: RabbitMQ) -> RabbitMQ:
        """Waits until the queue has another leader; returns it."""

        async def other() -> RabbitMQ | None:
            try:
                found = await self.leader()
            except LookupError:
                return None
            return found if found is not than else None

        return await until(other)

    async def whole(self) -> None:
        """Waits until three replicas are there again: what is done to one that still learns is another fault."""

        async def is_whole() -> bool:
            return await asyncio.to_thread(self.cluster.whole, self.vhost, QUEUE)

        await until(is_whole, within=REPLICAS)

    async def kills_the_leader(self) -> None:
        """Kills it, and starts it again once another has taken over."""
        doomed = await self.leader()
        pid = doomed.pid

        async def fault() -> None:
            await asyncio.to_thread(doomed.kill)
            assert not doomed.running
            await self.another_leads(doomed)

        self.gaps.append(await self.row.gap(fault, within=GAP))
        await asyncio.to_thread(doomed.start)
        assert doomed.pid != pid
        await self.row.recovers()
        await self.whole()


async def own_node_killed(scene: Scene) -> None:
    """B17: the leader is on the node to which the ingress publishes."""
    node = scene.publishers()
    await scene.leads(node)
    assert await scene.leader() is node
    await scene.kills_the_leader()
    assert scene.publishers() is not node


async def other_node_killed(scene: Scene) -> None:
    """B16: the leader is on another node."""
    mine = scene.publishers()
    node = next(node for node in scene.cluster.nodes if node is not mine)
    await scene.leads(node)
    assert await scene.leader() is node
    await scene.kills_the_leader()


async def majority_lost(scene: Scene) -> None:
    """B18: two of three are gone, the leader among them; the outbox takes everything."""
    leader = await scene.leader()
    doomed = [leader, next(node for node in scene.cluster.nodes if node is not leader)]
    taken = await scene.row.metric("trunkline_outbox_taken_total")
    for node in doomed:
        await asyncio.to_thread(node.kill)
    try:
        with pytest.raises(LookupError):
            await scene.leader()
        await scene.row.load.accepts(at(quick=100, full=1000))
        assert await scene.row.metric("trunkline_outbox_taken_total") > taken
    finally:
        await asyncio.to_thread(scene.cluster.start)
    await scene.row.recovers()
    await scene.whole()


Fault = Callable[[Scene], Awaitable[None]]
FAULTS: Final[dict[str, tuple[Fault, int]]] = {
    "B16 leader killed, publisher on another node": (other_node_killed, at(quick=0, full=20)),
    "B17 leader killed, publisher on its node": (own_node_killed, at(quick=1, full=20)),
    "B18 majority lost": (majority_lost, at(quick=0, full=20)),
}
ROWS: Final = [name for name, (_, times) in FAULTS.items() if times]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(settings={"cluster_partition_handling": "pause_minority"}) as cluster:
        yield cluster


@pytest.fixture
async def scene(cluster: Cluster, postgres_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    cluster.start()
    vhost = cluster.create_vhost()
    async with trial(tmp_path, cluster.urls(vhost), postgres_url, witness=postgres_url) as made:
        yield Scene(cluster, vhost, made)


@pytest.mark.timeout(at(quick=300, full=1800))
@pytest.mark.parametrize("row", ROWS)
async def test_every_answer_is_200_nothing_is_lost_and_nothing_is_there_twice(
    row: str, scene: Scene, tmp_path: Path
) -> None:
    assert len(scene.cluster.members(scene.vhost, QUEUE)) == len(scene.cluster.nodes)
    fault, times = FAULTS[row]
    for _ in range(times):
        await fault(scene)
    await scene.row.ends(row, times, tmp_path / "oracle")
