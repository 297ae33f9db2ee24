"""What goes wrong in a simulated cluster, and when; all of it chosen by the seed."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from amaters_server.model.errors import MembershipError, StorageFullError
from amaters_server.raft import membership as rules
from amaters_server.raft.log import Identity
from amaters_server.raft.membership import Change
from amaters_server.testing.sim_node import SimNode
from amaters_server.testing.sim_world import Weather

if TYPE_CHECKING:
    from amaters_server.testing.sim_cluster import SimCluster

MOST_MEMBERS = 6
FEWEST_OTHERS = 3


class Faults:
    """Brings trouble until it is stopped; then repairs everything."""

    def __init__(self, cluster: "SimCluster") -> None:
        self.counts: Counter[str] = Counter()
        self._cluster = cluster
        self._world = cluster.world
        self._stopped = False
        self._requests = 0
        self._troubles: list[tuple[str, Callable[[], bool]]] = [
            ("crash", self._crash),
            ("crash", self._crash),
            ("crash_all", self._crash_all),
            ("partition", self._partition),
            ("one_way", self._one_way),
            ("storm", self._storm),
            ("slow_disk", self._slow_disk),
            ("full_disk", self._full_disk),
            ("transfer", self._transfer),
            ("add", self._add),
            ("promote", self._promote),
            ("promote", self._promote),
            ("remove", self._remove),
        ]

    def start(self) -> None:
        """Begin."""
        self._world.later(self._world.rng.uniform(0.3, 1.0), self._trouble)

    def stop(self) -> None:
        """Repair everything: network, disks, and nodes that are down."""
        self._stopped = True
        self._cluster.network.heal()
        for node in self._cluster.nodes.values():
            node.storage.slow = 1.0
            node.storage.disk.capacity_bytes = None
            self._start(node)

    def _trouble(self) -> None:
        if self._stopped:
            return
        name, bring = self._world.rng.choice(self._troubles)
        if bring():
            self.counts[name] += 1
        self._world.later(self._world.rng.uniform(0.05, 0.7), self._trouble)

    def _start(self, node: SimNode) -> None:
        if node.up or node.retired:
            return
        try:
            node.start()
        except StorageFullError:
            # The process ends, and whoever looks after it starts it again.
            node.crash()
            self._world.later(0.5, lambda: self._start(node))

    def _some(self, nodes: list[SimNode]) -> SimNode | None:
        return self._world.rng.choice(nodes) if nodes else None

    # --- power ----------------------------------------------------------------

    def _crash(self) -> bool:
        node = self._some(self._cluster.up())
        if node is None:
            return False
        node.crash()
        self._world.later(self._world.rng.uniform(0.05, 2.0), lambda: self._start(node))
        return True

    def _crash_all(self) -> bool:
        if self._world.rng.randrange(3):
            return False
        for node in self._cluster.up():
            node.crash()
            self._world.later(self._world.rng.uniform(0.05, 0.5), self._starter(node))
        return True

    def _starter(self, node: SimNode) -> Callable[[], None]:
        return lambda: self._start(node)

    # --- network --------------------------------------------------------------

    def _partition(self) -> bool:
        return self._cut(inbound=True, outbound=True)

    def _one_way(self) -> bool:
        inbound = self._world.rng.choice((True, False))
        return self._cut(inbound=inbound, outbound=not inbound)

    def _cut(self, *, inbound: bool, outbound: bool) -> bool:
        leader = self._cluster.leader()
        likes_leaders = self._world.rng.choice((True, False))
        node = leader if leader is not None and likes_leaders else self._some(self._cluster.up())
        if node is None:
            return False
        others = [other for other in self._cluster.nodes if other != node.id]
        self._cluster.network.isolate(node.id, others, inbound=inbound, outbound=outbound)
        self._world.later(self._world.rng.uniform(0.2, 3.0), self._cluster.network.blocked.clear)
        return True

    def _storm(self) -> bool:
        rng = self._world.rng
        self._cluster.network.weather = Weather(
            drop=rng.uniform(0.0, 0.2), duplicate=rng.uniform(0.0, 0.2), slow=rng.uniform(0.0, 0.3)
        )
        self._world.later(rng.uniform(0.3, 2.0), self._calm)
        return True

    def _calm(self) -> None:
        self._cluster.network.weather = Weather()

    # --- disks ----------------------------------------------------------------

    def _slow_disk(self) -> bool:
        node = self._some(self._cluster.up())
        if node is None:
            return False
        node.storage.slow = self._world.rng.uniform(10, 150)
        self._world.later(self._world.rng.uniform(0.2, 1.5), lambda: _repair(node))
        return True

    def _full_disk(self) -> bool:
        node = self._some(self._cluster.up())
        if node is None:
            return False
        node.storage.disk.capacity_bytes = 1
        self._world.later(self._world.rng.uniform(0.2, 1.5), lambda: _repair(node))
        return True

    # --- members --------------------------------------------------------------

    def _transfer(self) -> bool:
        leader = self._cluster.leader()
        if leader is None or leader.machine.membership is None:
            return False
        voters = [one.id for one in rules.voters(leader.machine.membership)]
        try:
            leader.replica.transfer_leader(self._world.rng.choice(voters))
        except MembershipError:
            return False
        leader.kick()
        return True

    def _add(self) -> bool:
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
        if self._stopped and known is None:
            return
        if membership is None or known is None or leader is None:
            if not self._stopped:
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

    def _promote(self) -> bool:
        leader = self._cluster.leader()
        membership = leader.machine.membership if leader is not None else None
        if leader is None or membership is None:
            return False
        learners = [member.id for member in membership.members if member.is_learner]
        if not learners:
            return False
        try:
            change = rules.promote(
                membership, learners[0], leader.replica.leader_view(self._world.now())
            )
        except MembershipError:
            return False
        return self._propose(leader, change)

    def _remove(self) -> bool:
        leader = self._cluster.leader()
        membership = leader.machine.membership if leader is not None else None
        if leader is None or membership is None:
            return False
        others = [member.id for member in membership.members if member.id != leader.id]
        if len(others) < FEWEST_OTHERS:
            return False
        chosen = self._world.rng.choice(others)
        try:
            change = rules.remove(membership, chosen, leader.replica.leader_view(self._world.now()))
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


def _repair(node: SimNode) -> None:
    node.storage.slow = 1.0
    node.storage.disk.capacity_bytes = None
