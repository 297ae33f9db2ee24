"""Watches every change of an operator, and every acknowledged write, in a world of bad luck.

It knows the world as it is, not as the operator has observed it. The operator acts on what it sees
at one moment, and the world changes only between its passes: so each change can be judged exactly.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from typing_extensions import override

from amaters_operator.manifests import names
from amaters_operator.testing.crash_points import CrashPoints
from amaters_operator.testing.world import DatabaseMember, World

WRITTEN_AT_ONCE = 5


class BrokenPromiseError(AssertionError):
    """The operator did what it must never do, or a write is gone."""


@dataclass(slots=True)
class Witness(CrashPoints):
    """Crash points that judge each change before it happens."""

    world: World = field(default_factory=World)
    acknowledged: int = 0
    """Index of the last acknowledged write."""

    @contextmanager
    @override
    def change(self, what: str) -> Iterator[None]:
        self._judge(what)
        with CrashPoints.change(self, what):
            yield

    def write(self) -> bool:
        """Write; return whether a majority of the voters has it on its disk, and says so."""
        world, voters = self.world, self.world.voters
        current = [one for one in voters if self._is_current(one)]
        if not world.leader or 2 * len(current) <= len(voters):
            return False
        world.index += WRITTEN_AT_ONCE
        for one in current:
            world.disks[one.ordinal].index = world.index
        self.acknowledged = world.index
        return True

    def keeps_the_writes(self, without: int) -> bool:
        """Whether a majority of the voters has every acknowledged write without that pod's disk."""
        voters = self.world.voters
        holders = [one for one in voters if one.ordinal != without and self._holds(one)]
        return 2 * len(holders) > len(voters)

    def check(self) -> None:
        """Raise BrokenPromiseError when a leader lacks an acknowledged write."""
        leader = self.world.members.get(self.world.leader)
        if leader is None:
            return
        index = self.world.disks[leader.ordinal].index
        if index < self.acknowledged:
            raise BrokenPromiseError(
                f"member {leader.id} leads with {index}, and {self.acknowledged} was acknowledged"
            )

    def _is_current(self, one: DatabaseMember) -> bool:
        index = self.world.index
        return self.world.participates(one) and self.world.disks[one.ordinal].index == index

    def _holds(self, one: DatabaseMember) -> bool:
        disk = self.world.disks.get(one.ordinal)
        if disk is None or disk.member != one.id or disk.damaged:
            return False
        pod = self.world.pod(one.ordinal)
        lost = pod is not None and self.world.machines.dead_under(pod)
        return not lost and disk.index >= self.acknowledged

    def _judge(self, what: str) -> None:
        verb, _, rest = what.partition(" ")
        match verb:
            case "evict":
                self._eviction(names.ordinal(rest))
            case "remove":
                self._removal(int(rest.removeprefix("member ")))
            case "delete" if rest.startswith("PersistentVolumeClaim "):
                self._deletion(names.ordinal(rest))
            case "delete" if rest.startswith("Pod "):
                self._force(names.ordinal(rest))
            case _:
                pass

    def _eviction(self, ordinal: int) -> None:
        """Allow a healthy voter to be taken down only while all others are up."""
        victim = self._at(ordinal)
        if victim is None or victim.learner or not self.world.participates(victim):
            return
        others = [one for one in self.world.voters if one.id != victim.id]
        if down := [one.id for one in others if not self.world.participates(one)]:
            raise BrokenPromiseError(f"pod {ordinal} was evicted while members {down} were down")

    def _removal(self, member: int) -> None:
        """Allow no removal below a majority; a member that takes part goes only by shrinking."""
        world = self.world
        leaving = world.members[member]
        staying = [one for one in world.voters if one.id != member]
        alive = sum(world.participates(one) for one in staying)
        if not leaving.learner and 2 * alive <= len(staying):
            raise BrokenPromiseError(f"member {member} was removed: {alive} of {len(staying)} left")
        wanted = world.cluster().spec.replicas
        if world.participates(leaving) and leaving.ordinal < wanted:
            raise BrokenPromiseError(
                f"member {member}, which takes part and is wanted, was removed"
            )

    def _deletion(self, ordinal: int) -> None:
        """Allow no deletion of a claim whose disk belongs to a member."""
        disk = self.world.disks.get(ordinal)
        if disk is not None and disk.member in self.world.members:
            raise BrokenPromiseError(f"the disk of member {disk.member} was deleted")

    def _force(self, ordinal: int) -> None:
        """Allow no deletion without the kubelet of a pod that may be a member's."""
        if (member := self._at(ordinal)) is not None:
            raise BrokenPromiseError(f"pod {ordinal} of member {member.id} was deleted by force")

    def _at(self, ordinal: int) -> DatabaseMember | None:
        return next((one for one in self.world.members.values() if one.ordinal == ordinal), None)
