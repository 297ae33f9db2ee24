"""Whole clusters in a virtual world: the real replica, machine and log, under seeded faults."""

import os

import pytest
from amaters_server.testing.sim_cluster import SimCluster

SEEDS = int(os.environ.get("AMATERS_SIM_SEEDS", "200"))
PER_TEST = 5


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_nothing_acknowledged_is_lost_and_every_read_is_fresh(first):
    for seed in range(first, min(first + PER_TEST, SEEDS)):
        verdict = SimCluster(seed).run()

        assert not verdict.violations, str(verdict)
        assert verdict.acknowledged > 0, str(verdict)


def test_only_the_seed_decides_what_happens():
    assert SimCluster(11).run() == SimCluster(11).run()


def test_the_faults_that_are_promised_do_happen():
    happened = set()
    for seed in range(100, 110):
        happened |= set(SimCluster(seed, size=3).run().faults)

    on_power_and_disks = {"crash", "crash_all", "slow_disk", "full_disk"}
    on_the_network = {"partition", "one_way", "split", "one_link", "storm"}
    on_clocks = {"skew", "leap", "wall_clock", "suspend"}
    on_members = {"transfer", "add", "promote", "remove"}
    assert on_power_and_disks | on_the_network | on_clocks | on_members <= happened
