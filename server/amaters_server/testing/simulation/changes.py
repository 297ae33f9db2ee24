"""Changes of a simulated cluster's members and leader, asked for at any time by the seed's choice."""

from collections.abc import Callable

from amaters_server.model.errors import MembershipError
from amaters_server.raft import membership as rules
from amaters_server.raft.log import Identity
from amaters_server.raft.membership import Change
from amaters_server.testing.simulation.members import SimMembers
from amaters_server.testing.simulation.node import SimNode

MOST_MEMBERS = 6
FEWEST_OTHERS = 3


class MemberChanges:
    """What an administrator, or an operator, does to the cluster."""

    def __init__(self, cluster: SimMembers, over: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._over = over
        """Whether the troubles are over: nothing new is begun then."""
        self._requests = 0

    def transfer(self) -> bool:
        """Ask the leader to hand over to any voter, itself included."""
        leader = self._cluster.leader()
        if leader is None or leader.machine.membership is None:
            return False
        voters = [one.id for one in rules.voters(leader.machine.membership)]
        try:
            leader.replica.transfer_leader(self._world.rng.choice(voters))
        except MembershipError:
            return False
        leader.begin_handing_over()
        return True

    def add(self) -> bool:
        """Add a learner and, a little later, start its node."""
        leader = self._cluster.leader()
        membership = leader.machine.membership if leader is not None else None
        if leader is None or membership is None or len(membership.members) >= MOST_MEMBERS:
            return False
        address = f"n{membership.highest_id + 1}:1"
        try:
            change = rules.add(membership, peer_address=address, client_address="", name="")
        except MembershipError:
            return False
        if not self._propose(leader, change):
            return False
        new = change.member
        self._world.later(0.3, lambda: self._begin(new.id))
        return True

    def _begin(self, node_id: int) -> None:
        """Start the new node's process as soon as the cluster knows it, and claim its disk."""
        membership = self._cluster.membership()
        leader = self._cluster.leader()
        known = membership.member(node_id) if membership is not None else None
        if self._over() and known is None:
            return
        if membership is None or known is None or leader is None:
            if not self._over():
                self._world.later(0.3, lambda: self._begin(node_id))
            return
        if node_id not in self._cluster.nodes:
            node = self._cluster.add_node(node_id)
            node.join(Identity(membership.cluster_id, node_id, f"disk-{node_id}"))
            node.start()
        if not known.disk_id:
            self._claim(leader, node_id)
            self._world.later(0.3, lambda: self._begin(node_id))

    def _claim(self, leader: SimNode, node_id: int) -> None:
        membership = leader.machine.membership
        known = membership.member(node_id) if membership is not None else None
        if membership is None or known is None:
            return
        seen = rules.with_disk(known, f"disk-{node_id}")
        change = rules.claim(membership, seen)
        if change is not None:
            self._propose(leader, change)

    def promote(self) -> bool:
        """Let the learner vote, if the rules allow it now."""
        leader = self._cluster.leader()
        membership = leader.machine.membership if leader is not None else None
        if leader is None or membership is None:
            return False
        learners = [member.id for member in membership.members if member.is_learner]
        if not learners:
            return False
        try:
            change = rules.promote(
                membership, learners[0], leader.replica.leader_view(leader.clock.now())
            )
        except MembershipError:
            return False
        return self._propose(leader, change)

    def remove(self) -> bool:
        """Remove anyone but the leader."""
        leader = self._cluster.leader()
        membership = leader.machine.membership if leader is not None else None
        if leader is None or membership is None:
            return False
        others = [member.id for member in membership.members if member.id != leader.id]
        if len(others) < FEWEST_OTHERS:
            return False
        chosen = self._world.rng.choice(others)
        try:
            change = rules.remove(
                membership, chosen, leader.replica.leader_view(leader.clock.now())
            )
        except MembershipError:
            return False
        return self._propose(leader, change)

    def _propose(self, leader: SimNode, change: Change) -> bool:
        self._requests += 1
        try:
            leader.replica.change_membership(change, self._requests)
        except MembershipError:
            return False
        leader.kick()
        return True
