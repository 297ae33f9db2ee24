"""A whole simulated cluster under faults, and the verdict on what it did.

verdict = SimCluster(seed=7).run()
assert not verdict.violations, verdict
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import override

from amaters_server.model.cluster import Member, Membership, NodeId
from amaters_server.model.errors import DatabaseError, DeadlineError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Answer, Put, Write
from amaters_server.node import founding
from amaters_server.node.settings import InitialMember
from amaters_server.raft.log import Identity
from amaters_server.testing import history
from amaters_server.testing.history import Operation, Outcome
from amaters_server.testing.simulation.clients import Client
from amaters_server.testing.simulation.clock import SimClock
from amaters_server.testing.simulation.faults import ORDINARY_RATES, Faults
from amaters_server.testing.simulation.node import SimNode
from amaters_server.testing.simulation.place import SimPlace
from amaters_server.testing.simulation.recorder import Recorder
from amaters_server.testing.simulation.world import Network, World

CLIENTS = 4
TROUBLED_SECONDS = 7.0
CALM_SECONDS = 1.0
"""Clients go on so long after everything was repaired."""
QUIET_SECONDS = 4.0
PROBE_SECONDS = 1.0
"""Nothing but ticks: everybody must have caught up at its end."""

MakeNode = Callable[[int, SimPlace, int, SimClock], SimNode]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run showed."""

    seed: int
    violations: list[str]
    operations: int
    acknowledged: int
    unknown: int
    elections: int
    faults: dict[str, int]
    fingerprint: str
    """Equal for equal runs: proves that nothing but the seed decides."""

    @override
    def __str__(self) -> str:
        found = "\n  ".join(self.violations) or "nothing wrong"
        return (
            f"seed {self.seed}: {found}\n"
            f"{self.operations} calls, {self.acknowledged} writes acknowledged, "
            f"{self.unknown} unknown, {self.elections} terms with a leader, faults {self.faults}\n"
            f"replay it: python -m amaters_server.testing.replay {self.seed}"
        )


@dataclass(slots=True)
class SimCluster:
    """Members, clients and faults in one virtual world."""

    seed: int
    size: int = 0
    """0: the seed chooses among 1, 3 and 5."""
    troubled_seconds: float = TROUBLED_SECONDS
    make_node: MakeNode = SimNode
    make_faults: "Callable[[SimCluster], Faults]" = field(default=Faults)
    world: World = field(init=False)
    network: Network = field(init=False)
    recorder: Recorder = field(init=False)
    nodes: dict[int, SimNode] = field(init=False)
    history: list[Operation] = field(init=False)
    place: SimPlace = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        self.network = Network(self.world)
        self.recorder = Recorder()
        self.nodes = {}
        self.history = []
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
        return max(leading, key=lambda node: node.replica.driver.core.term, default=None)

    def membership(self) -> Membership | None:
        """Return the membership as the most advanced node that is up knows it."""
        newest = max(self.up(), key=lambda node: node.machine.applied_index, default=None)
        return newest.machine.membership if newest is not None else None

    def address_of(self, node_id: int) -> Member:
        """Return how that node would be recorded."""
        return Member(NodeId(node_id), f"n{node_id}", f"n{node_id}:1", f"n{node_id}:2")

    # --- running --------------------------------------------------------------

    def run(self) -> Verdict:
        """Trouble the cluster, let it recover, and judge."""
        for node in self.nodes.values():
            node.start()
        clients = [
            Client(number, self.place, self.up, self.history) for number in range(1, CLIENTS + 1)
        ]
        for client in clients:
            client.start()
        faults = self.make_faults(self)
        faults.start()
        self.world.run(self.troubled_seconds)
        faults.stop()
        calm = self.troubled_seconds + CALM_SECONDS
        self.world.run(calm)
        for client in clients:
            client.stop()
        mute = self._probe()
        self.world.run(calm + QUIET_SECONDS)
        for node_id, answer in mute.items():
            self.recorder.accuse("takes writes", f"member {node_id}: {answer!r}")
        return self._verdict(faults)

    def _probe(self) -> dict[int, Answer]:
        """Write through every member until it succeeds; keeps the last answer of those that fail."""
        mute: dict[int, Answer] = {}

        def ask(node: SimNode) -> None:
            put = Put(data_key("probe", b"%d" % node.id), b"")
            write = Write(0, [put], node.clock.now() + PROBE_SECONDS)
            node.arrive(lambda: node.write(write, lambda answered: heard(node, answered[0][1])))

        def heard(node: SimNode, answer: Answer) -> None:
            if not isinstance(answer, DatabaseError):
                del mute[node.id]
                return
            mute[node.id] = answer
            self.world.later(PROBE_SECONDS / 10, lambda: ask(node))

        for node in self.up():
            mute[node.id] = DeadlineError("an answer")
            ask(node)
        return mute

    def _verdict(self, faults: Faults) -> Verdict:
        recorder = self.recorder
        for violation in history.violations(self.history):
            recorder.accuse("linearizable", str(violation))
        recorder.acknowledged(
            one.value for one in self.history if one.write and one.outcome is Outcome.OK
        )
        for node in self.up():
            node.show_state()
        for problem in self._stuck():
            recorder.accuse("catches up", problem)
        outcomes = [one.outcome for one in self.history if one.write]
        text = "\n".join([*recorder.trace, *map(repr, self.history)])
        return Verdict(
            seed=self.seed,
            violations=list(recorder.violations),
            operations=len(self.history),
            acknowledged=outcomes.count(Outcome.OK),
            unknown=outcomes.count(Outcome.UNKNOWN),
            elections=len(recorder.leaders),
            faults=dict(faults.counts),
            fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        )

    def _stuck(self) -> list[str]:
        """After a long calm everybody must have caught up, and somebody must lead."""
        if self.leader() is None:
            return ["nobody leads although everything was well for a long time"]
        indices = {node.id: node.machine.applied_index for node in self.up()}
        if len(set(indices.values())) > 1:
            return [f"members did not catch up in a long calm: {indices}"]
        return []
