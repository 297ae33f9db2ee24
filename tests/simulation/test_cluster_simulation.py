"""Whole clusters in a virtual world: the real replica, machine and log, under seeded faults."""

import os

import pytest
from amaters_server.testing.simulation.cluster import SimCluster

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("AMATERS_SIM_SEEDS", "200"))
PER_TEST = 5


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_nothing_acknowledged_is_lost_and_every_read_is_fresh(first):
    for seed in range(first, min(first + PER_TEST, SEEDS)):
        verdict = SimCluster(seed).run()

        assert not verdict.violations, str(verdict)
        assert verdict.acknowledged > 0, str(verdict)


def test_only_the_seed_decides_what_happens():
    assert SimCluster(11).run() == SimCluster(11).run()


def test_the_faults_that_are_promised_do_happen():
    missing = {"crash", "crash_all", "slow_disk", "full_disk"}
    missing |= {"partition", "one_way", "split", "one_link", "storm", "forgery", "replay"}
    missing |= {"skew", "leap", "wall_clock", "suspend"}
    missing |= {"transfer", "add", "promote", "remove"}
    for seed in range(100, 140):
        missing -= set(SimCluster(seed, size=3).run().faults)
        if not missing:
            return

    pytest.fail(f"40 seeds never showed {sorted(missing)}")
