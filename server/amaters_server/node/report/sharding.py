"""Which shards there are: one, of all keys, on all voters. The shape is ready for more. Pure."""

from amaters_server.model.cluster import Membership
from amaters_server.node.values import ShardInfo, ShardState
from amaters_server.raft.membership import voters
from amaters_server.storage.engine import EngineStatistics

ONLY_SHARD = 1


def shards(
    membership: Membership | None, leader: int, statistics: EngineStatistics, keys: int | None
) -> tuple[ShardInfo, ...]:
    """Return all shards; none before there is a cluster. Sizes are this node's estimates.

    `keys` is the count of keys, None while this node does not know it.
    """
    if membership is None:
        return ()
    return (
        ShardInfo(
            id=ONLY_SHARD,
            start=b"",
            end=b"",
            state=ShardState.ACTIVE if leader else ShardState.OFFLINE,
            leader=leader,
            replicas=tuple(member.id for member in voters(membership)),
            estimated_keys=statistics.estimated_keys if keys is None else keys,
            estimated_size_bytes=statistics.table_bytes + statistics.memtable_bytes,
        ),
    )
