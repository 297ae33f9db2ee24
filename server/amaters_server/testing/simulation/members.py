"""The members of a simulated cluster, in the virtual world that they share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from amaters_server.model.cluster import Member, Membership, NodeId
from amaters_server.node.joining import founding
from amaters_server.node.settings import InitialMember
from amaters_server.raft.log import Identity
from amaters_server.testing.simulation.clock import ORDINARY_RATES, SimClock
from amaters_server.testing.simulation.node import SimNode
from amaters_server.testing.simulation.place import SimPlace
from amaters_server.testing.simulation.recorder import Recorder
from amaters_server.testing.simulation.world import Network, World

MakeNode = Callable[[int, SimPlace, int, SimClock], SimNode]


@dataclass(slots=True)
class SimMembers:
    """Founding members and those that are added later; up or down."""

    seed: int
    size: int = 0
    """0: the seed chooses among 1, 3 and 5."""
    make_node: MakeNode = SimNode
    world: World = field(init=False)
    network: Network = field(init=False)
    recorder: Recorder = field(init=False)
    nodes: dict[int, SimNode] = field(init=False)
    place: SimPlace = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        self.network = Network(self.world)
        self.recorder = Recorder()
        self.nodes = {}
        self.place = SimPlace(self.world, self.network, self.recorder, self.nodes, {})
        self.size = self.size or self.world.rng.choice((1, 3, 3, 3, 5))
        self._found()

    def _found(self) -> None:
        members = tuple(InitialMember(one, f"n{one}:1") for one in range(1, self.size + 1))
        disks = {member.id: f"disk-{member.id}" for member in members}
        cluster_id = founding.derived_id(members, "simulation", disks)
        membership = founding.membership_of(cluster_id, members, disks)
        for member in members:
            node = self.add_node(member.id)
            node.found(Identity(cluster_id, member.id, disks[member.id]), membership)

    def add_node(self, node_id: int) -> SimNode:
        """Make a node that is down and has an empty disk."""
        rng = self.world.rng
        # Distinct everywhere: two nodes with equal timeouts could split votes for ever.
        pinned = 10 + 2 * (node_id % 7) + rng.randrange(2)
        clock = SimClock(
            self.world, rate=rng.uniform(*ORDINARY_RATES), reading=rng.uniform(0, 1_000_000)
        )
        node = self.nodes[node_id] = self.make_node(node_id, self.place, pinned, clock)
        return node

    # --- looking --------------------------------------------------------------

    def up(self) -> list[SimNode]:
        """Return the members that run."""
        return [node for node in self.nodes.values() if node.up and not node.retired]

    def leader(self) -> SimNode | None:
        """Return who leads in the newest term."""
        leading = [node for node in self.nodes.values() if node.leads]
        return max(leading, key=lambda node: node.replica.term, default=None)

    def membership(self) -> Membership | None:
        """Return the membership as the most advanced node that is up knows it."""
        newest = max(self.up(), key=lambda node: node.machine.applied_index, default=None)
        return newest.machine.membership if newest is not None else None

    def address_of(self, node_id: int) -> Member:
        """Return how that node would be recorded."""
        return Member(NodeId(node_id), f"n{node_id}", f"n{node_id}:1", f"n{node_id}:2")
