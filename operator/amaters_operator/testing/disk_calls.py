"""What a fake node says of its disk, and does with it."""

from typing import Protocol

from amaters.admin.cluster import DiskUsage, NodeState, SetAsideData
from amaters.errors import RefusedError

from amaters_operator.decisions.storage.volumes import amount
from amaters_operator.kube import kinds
from amaters_operator.testing.crash_points import CrashPoints
from amaters_operator.testing.world import NAME, NAMESPACE, World

KEPT_SHARE = 0.05
"""Of the disk: with less, a node refuses writes that add data."""


class _Database(Protocol):
    crash_points: CrashPoints


class DiskCalls:
    """The part of a node's admin service that is about its disk."""

    __slots__ = ()
    database: _Database
    ordinal: int

    async def set_aside(self, member_id: int, *, cluster_id: str) -> None:
        """Set aside the data of this removed member, and restart."""
        world = self._world()
        disk, mine = world.disks[self.ordinal], cluster_id == world.cluster_id
        if not mine or disk.member != member_id or self._state() is not NodeState.REMOVED:
            raise RefusedError(f"this disk is that of member {disk.member}: nothing was set aside")
        with self.database.crash_points.change(f"set aside member {member_id}"):
            disk.aside.append(member_id)
            disk.cluster_id, disk.member, disk.index = "", 0, 0
            world.boots.pop(self.ordinal, None)

    async def discard_set_aside(self, member_id: int) -> None:
        """Delete what a removed member left."""
        disk = self._world().disks[self.ordinal]
        if member_id == disk.member:
            raise RefusedError(f"member {member_id} is in use here: nothing was deleted")
        with self.database.crash_points.change(f"discard member {member_id}"):
            disk.aside = [one for one in disk.aside if one != member_id]

    async def set_fenced(self, fenced: bool) -> None:  # noqa: FBT001 - it says what it sets
        """Fence the node, across restarts; a leader hands over to a voter that is not."""
        world = self._world()
        with self.database.crash_points.change(f"fence pod {self.ordinal}: {fenced}"):
            world.disks[self.ordinal].fenced = fenced
            leader = world.members.get(world.leader)
            if fenced and leader is not None and leader.ordinal == self.ordinal:
                free = [one for one in world.voters if not world.disks[one.ordinal].fenced]
                able = [one for one in free if world.participates(one)]
                world.leader = able[0].id if able else world.leader

    def _world(self) -> World:
        raise NotImplementedError

    def _state(self) -> NodeState:
        raise NotImplementedError


def usage(world: World, ordinal: int) -> DiskUsage | None:
    """Return the room that a node measures on its disk."""
    claim = world.store.get(kinds.CLAIM, NAMESPACE, f"data-{NAME}-{ordinal}") or {}
    size = ((claim.get("status") or {}).get("capacity") or {}).get("storage", "")
    if not size:
        return None
    total, used = int(amount(size)), world.disks[ordinal].used
    kept, free = int(total * KEPT_SHARE), max(total - used, 0)
    return DiskUsage(total, free, kept, low=free < kept, full=free == 0)


def data_aside(world: World, ordinal: int) -> tuple[SetAsideData, ...]:
    """Return what removed members have left on that disk."""
    return tuple(SetAsideData(one, 4096) for one in world.disks[ordinal].aside)
