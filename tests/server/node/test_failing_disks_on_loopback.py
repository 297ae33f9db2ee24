"""Disks that fail or fill up under a running node."""

import pytest
from amaters_server.model.errors import OutcomeUnknownError, StorageError
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.testing.loopback import leader_of, until

pytestmark = pytest.mark.slow


class BrittleEngine(MemoryEngine):
    """An engine that can be told to fail."""

    broken = False

    def write(self, changes, *, sync):
        if self.broken:
            raise StorageError("the disk answered with an I/O error")
        super().write(changes, sync=sync)


async def test_a_node_whose_disk_fails_stops_serving_and_says_so(cluster):
    [node] = await cluster(1, open_engine=lambda: BrittleEngine(MemoryDisk()))
    await node.put(b"k", b"v")
    node.engine.broken = True

    with pytest.raises(OutcomeUnknownError):
        await node.put(b"k", b"lost")

    assert not node.node.readiness().ok
    assert "I/O error" in node.node.readiness().reason
    assert not node.node.liveness().ok
    with pytest.raises(StorageError, match="I/O error"):
        await node.put(b"k", b"later")
    assert node.node.counters.storage_failures == 1


async def test_the_others_go_on_without_a_leader_whose_disk_fails(cluster):
    nodes = await cluster(3, open_engine=lambda: BrittleEngine(MemoryDisk()))
    await nodes[0].put(b"k", b"before")
    leader = leader_of(nodes)
    others = [node for node in nodes if node is not leader]

    leader.engine.broken = True
    await others[0].put(b"k", b"after")

    assert await others[1].get(b"k") == b"after"
    await until(lambda: not leader.node.readiness().ok)


async def test_a_full_disk_is_waited_for(cluster):
    disk = MemoryDisk()
    [node] = await cluster(1, open_engine=lambda: MemoryEngine(disk))
    disk.capacity_bytes = 1

    with pytest.raises(OutcomeUnknownError):
        await node.put(b"k", b"v", seconds=0.3)
    assert "may hold" in node.node.readiness().reason
    assert node.node.liveness().ok
    disk.capacity_bytes = None

    await until(lambda: node.node.readiness().ok)
    await node.put(b"k", b"w")
    assert await node.get(b"k") == b"w"


async def test_a_leader_with_a_full_disk_lets_another_one_lead(cluster):
    disks = [MemoryDisk() for _ in range(3)]
    unused = iter(disks)
    nodes = await cluster(3, open_engine=lambda: MemoryEngine(next(unused)))
    leader = leader_of(nodes)
    disks[nodes.index(leader)].capacity_bytes = 1
    others = [node for node in nodes if node is not leader]

    await others[0].put(b"k", b"v")
    await until(lambda: not leader.node.status().is_leader)

    assert await others[1].get(b"k") == b"v"
