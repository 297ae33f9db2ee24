"""Rolls from one version to another in a virtual world: an older binary leads only when it must."""

import pytest
from amaters_server.raft import membership as rules
from amaters_server.raft import version_preference as seniority
from amaters_server.testing.simulation.cluster import SimCluster
from amaters_server.testing.simulation.faults import Faults
from amaters_server.testing.simulation.node import SimNode
from amaters_server.testing.simulation.place import NEW, OLD

pytestmark = pytest.mark.slow

SEEDS = range(6)
OLD_LEADS = "newest leads"


class Watched(SimNode):
    """Accuses whoever is elected while a newer voter with the same entries could have been."""

    def _notice(self, outbox):
        if outbox.leadership is not None and self.leads and self.life_time() > 1.0:
            for rival in self.place.nodes.values():
                if rival.version > self.version and could_lead(rival, self):
                    self.place.recorder.accuse(
                        OLD_LEADS, f"{self.id} was elected, and {rival.id} could have been"
                    )
        super()._notice(outbox)

    def start(self):
        self.started = self.place.world.now()
        self.handing_over = False
        super().start()

    def life_time(self):
        return self.place.world.now() - self.started


class IgnoresVersions(Watched):
    """Campaigns whenever it hears no leader."""

    def _shake_hands(self):
        super()._shake_hands()
        self.replica.version_preference.update({})


def could_lead(rival, elected):
    if not rival.up or rival.handing_over or rival.life_time() < 1.0:
        return False
    own = rival.machine.membership.member(rival.id)
    return own is not None and not own.is_learner and last_entry(rival) >= before_leading(elected)


def last_entry(node):
    last = node.replica.status().last
    return node.replica.term_of(last), last


def before_leading(node):
    """A new leader's first entry is its own: the one before decided the election."""
    replica, raft = node.replica, node.replica.status()
    index = raft.last
    while index >= raft.first and replica.term_of(index) == raft.term:
        index -= 1
    return replica.term_of(index), index


class LeadersDie(Faults):
    """One leader after the other crashes and comes back; nothing else goes wrong."""

    def __init__(self, cluster):
        super().__init__(cluster)
        self._troubles = [("leader_dies", self._leader_dies)]
        self._gap = (2.0, 2.5)
        versions = [OLD, *(cluster.world.rng.choice((OLD, NEW)) for _ in cluster.nodes)]
        for node, version in zip(cluster.nodes.values(), versions, strict=False):
            node.crash()
            node.version = version
            node.start()

    def _leader_dies(self):
        leader = self._cluster.leader()
        if leader is None:
            return False
        leader.crash()
        self._world.later(0.9, lambda: self._start(leader))
        return True


@pytest.mark.parametrize("size", [3, 5])
def test_an_older_member_is_not_elected_while_a_newer_one_can_lead(size):
    elections = 0
    for seed in SEEDS:
        verdict = SimCluster(seed, size=size, make_node=Watched, make_faults=LeadersDie).run()

        assert not verdict.violations, str(verdict)
        elections += verdict.elections
    assert elections > 3 * len(SEEDS)


def test_without_the_gate_older_members_are_elected():
    for seed in SEEDS:
        verdict = SimCluster(seed, make_node=IgnoresVersions, make_faults=LeadersDie).run()
        if any(one.startswith(OLD_LEADS) for one in verdict.violations):
            return
    pytest.fail("no seed elected an older member")


class Rolls(Faults):
    """Replaces one binary after the other: followers first, then the leader after a hand-over."""

    route = (NEW, OLD)

    def __init__(self, cluster):
        super().__init__(cluster)
        self.leaders_after = []
        for node in cluster.nodes.values():
            node.crash()
            node.version = OLD
            node.start()

    def start(self):
        for number, version in enumerate(self.route):
            self._world.later(1.0 + 4.0 * number, self._rolling(version))

    def _rolling(self, version):
        def roll():
            self.counts["roll"] += 1
            leader = self._cluster.leader()
            followers = [node for node in self._cluster.up() if node is not leader]
            for number, follower in enumerate(followers):
                self._world.later(0.8 * number, lambda node=follower: self._replace(node, version))
            self._world.later(0.8 * len(followers), lambda: self._finish(leader, version))

        return roll

    def _replace(self, node, version):
        node.crash()
        node.version = version
        self._world.later(0.1, node.start)

    def _finish(self, leader, version):
        view = leader.replica.leader_view(leader.clock.now())
        targets = rules.transfer_targets(
            leader.machine.membership, view, leader.replica.version_preference.versions
        )
        leader.replica.transfer_leader(seniority.successor(targets))
        leader.handing_over = True
        leader.kick()
        self._world.later(0.2, lambda: self.leaders_after.append(self._cluster.leader()))
        self._world.later(0.3, lambda: self._replace(leader, version))


def test_rolls_up_and_back_hand_leadership_over_once_each_and_lose_nothing():
    for seed in SEEDS:
        made = []

        def faults(cluster, made=made):
            made.append(Rolls(cluster))
            return made[0]

        verdict = SimCluster(seed, size=3, make_node=Watched, make_faults=faults).run()

        assert not verdict.violations, str(verdict)
        assert verdict.faults == {"roll": 2}
        assert all(made[0].leaders_after), str(verdict)
        assert verdict.elections == 3, str(verdict)
