"""What goes wrong in a simulated cluster, and when; all of it chosen by the seed."""

from collections import Counter
from collections.abc import Callable
from functools import partial

from amaters_server.model.errors import StorageFullError
from amaters_server.testing.simulation.changes import MemberChanges
from amaters_server.testing.simulation.clock import ORDINARY_RATES
from amaters_server.testing.simulation.forgery import forged
from amaters_server.testing.simulation.members import SimMembers
from amaters_server.testing.simulation.node import SimNode
from amaters_server.testing.simulation.place import NEW, OLD
from amaters_server.testing.simulation.world import Weather

WILD_RATES = (0.5, 2.0)
ONE_IN_SO_MANY_IS_REPLACED = 3
"""Crashes that end with another version's binary."""
LONGEST_LEAP_SECONDS = 5.0
MOST_FORGERIES = 8
A_YEAR_MS = 365 * 24 * 3600 * 1000

Brings = Callable[[], bool]
"""Brings one trouble; False when it does not apply now."""


class Faults:
    """Brings trouble until it is stopped; then repairs everything."""

    def __init__(self, cluster: SimMembers) -> None:
        self.counts: Counter[str] = Counter()
        self._cluster = cluster
        self._world = cluster.world
        self._stopped = False
        self._gap = (0.05, 0.7)
        changes = MemberChanges(cluster, lambda: self._stopped)
        self._troubles: list[tuple[str, Brings]] = [
            ("crash", self._crash),
            ("crash", self._crash),
            ("crash_all", self._crash_all),
            ("partition", self._partition),
            ("one_way", self._one_way),
            ("storm", self._storm),
            ("slow_disk", self._slow_disk),
            ("full_disk", self._full_disk),
            ("split", self._split),
            ("one_link", self._one_link),
            ("forgery", self._forgery),
            ("replay", self._replay),
            ("skew", self._skew),
            ("leap", self._leap),
            ("wall_clock", self._wall_clock),
            ("suspend", self._suspend),
            ("transfer", changes.transfer),
            ("add", changes.add),
            ("promote", changes.promote),
            ("promote", changes.promote),
            ("remove", changes.remove),
        ]

    def start(self) -> None:
        """Begin."""
        self._world.later(self._world.rng.uniform(0.3, 1.0), self._trouble)

    def stop(self) -> None:
        """Repair everything: network, disks, clocks, and nodes that are down."""
        self._stopped = True
        self._cluster.network.reconnect()
        self._calm()
        for node in self._cluster.nodes.values():
            _repair(node)
            self._keep_time(node)
            node.resume()
            self._start(node)

    def _trouble(self) -> None:
        if self._stopped:
            return
        name, bring = self._world.rng.choice(self._troubles)
        if bring():
            self.counts[name] += 1
        self._world.later(self._world.rng.uniform(*self._gap), self._trouble)

    def _start(self, node: SimNode) -> None:
        if node.up or node.retired:
            return
        try:
            node.start()
        except StorageFullError:
            # The process ends, and its supervisor starts it again.
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
        if self._world.rng.randrange(ONE_IN_SO_MANY_IS_REPLACED) == 0:
            node.version = self._world.rng.choice((OLD, NEW))
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
        return self._reconnect_later()

    def _split(self) -> bool:
        """Cut the cluster in two, so that neither or only one side has a majority."""
        nodes = list(self._cluster.nodes)
        self._world.rng.shuffle(nodes)
        middle = self._world.rng.randrange(len(nodes))
        self._cluster.network.split(nodes[:middle], nodes[middle:])
        return middle > 0 and self._reconnect_later()

    def _one_link(self) -> bool:
        """Cut one pair of nodes only: both still reach all others."""
        nodes = list(self._cluster.nodes)
        if len(nodes) <= 1:
            return False
        one, other = self._world.rng.sample(nodes, 2)
        self._cluster.network.split([one], [other])
        return self._reconnect_later()

    def _reconnect_later(self) -> bool:
        self._world.later(self._world.rng.uniform(0.2, 3.0), self._cluster.network.reconnect)
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

    def _forgery(self) -> bool:
        """Have a member receive messages that no member has sent."""
        target, rng = self._some(self._cluster.up()), self._world.rng
        if target is None:
            return False
        for _ in range(rng.randrange(1, MOST_FORGERIES)):
            # From somebody else than the target, who need not be up.
            others = [one for one in self._cluster.nodes.values() if one is not target]
            sender = self._some(others) or target
            target.arrive(partial(self._forge, sender, target))
        return True

    def _forge(self, sender: SimNode, target: SimNode) -> None:
        target.take_in(forged(self._world.rng, sender, target))

    def _replay(self) -> bool:
        """Have messages arrive once more, long after they were sent, from any sender."""
        place, network = self._cluster.place, self._cluster.network
        for _ in range(self._world.rng.randrange(1, MOST_FORGERIES)):
            if not place.overheard:
                return False
            sender, to, message = self._world.rng.choice(place.overheard)
            target = self._cluster.nodes[to]
            network.carry(sender, to, partial(target.arrive, partial(target.take_in, message)))
        return True

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

    # --- clocks -----------------------------------------------------------------

    def _skew(self) -> bool:
        """Have everybody's clock run at a rate of its own for a while."""
        for node in self._cluster.nodes.values():
            node.clock.run_at(self._world.rng.uniform(*WILD_RATES))
        self._world.later(self._world.rng.uniform(0.3, 2.0), self._keep_all_times)
        return True

    def _keep_all_times(self) -> None:
        for node in self._cluster.nodes.values():
            self._keep_time(node)

    def _keep_time(self, node: SimNode) -> None:
        node.clock.run_at(self._world.rng.uniform(*ORDINARY_RATES))

    def _leap(self) -> bool:
        node = self._some(self._cluster.up())
        if node is None:
            return False
        node.clock.leap(self._world.rng.uniform(0.05, LONGEST_LEAP_SECONDS))
        return True

    def _wall_clock(self) -> bool:
        node = self._some(self._cluster.up())
        if node is None:
            return False
        node.clock.set_wall(self._world.rng.randrange(-A_YEAR_MS, A_YEAR_MS))
        return True

    def _suspend(self) -> bool:
        """Stop a node, as SIGSTOP or a moving virtual machine does; leaders by preference."""
        node = self._cluster.leader() or self._some(self._cluster.up())
        if node is None:
            return False
        node.suspend()
        self._world.later(self._world.rng.uniform(0.1, 2.0), node.resume)
        return True


def _repair(node: SimNode) -> None:
    node.storage.slow = 1.0
    node.storage.disk.capacity_bytes = None
