"""The simulation must be able to fail: each of these clusters breaks one promise."""

from dataclasses import replace

import pytest
from amaters_server.node import answering
from amaters_server.testing.sim_cluster import SimCluster
from amaters_server.testing.sim_node import SimNode

SEEDS = range(40)


class AcknowledgesBeforeCommit(SimNode):
    """Answers a write as soon as it was proposed."""

    def write(self, write, answers):
        if self.replica.leader:
            super().write(write, lambda _: None)
            answers([(write.ticket, [1])])
        else:
            super().write(write, answers)


class ReadsWithoutBarrier(SimNode):
    """Answers reads from whatever it has applied."""

    def read(self, read, answers):
        answers(answering.answer_quick(self.machine, [read]))


class SkipsFsync(SimNode):
    """Its engine says that writes are durable, and they are not."""

    syncs = False


class ForgetsItsVote(SimNode):
    """Comes back from a crash without knowing whom it voted for, or in which term."""

    def open(self, disk, identity, settings, core):
        if self.life > 1:
            stored = disk.log.load()
            forgotten = (stored.hard_state[0] - 1, 0, stored.hard_state[2])
            disk.log.load = lambda: replace(stored, hard_state=forgotten)
        return super().open(disk, identity, settings, core)


class AppliesTwice(SimNode):
    """Its state machine takes every proposal, however late it comes."""

    def start(self):
        super().start()
        self.machine._replicated._origins.accept = lambda _: True


@pytest.mark.parametrize(
    "mutant",
    [AcknowledgesBeforeCommit, ReadsWithoutBarrier, SkipsFsync, ForgetsItsVote, AppliesTwice],
)
def test_the_checker_catches(mutant):
    for seed in SEEDS:
        if caught(mutant, seed):
            return
    pytest.fail(f"{len(SEEDS)} seeds of {mutant.__name__} showed nothing wrong")


def caught(mutant, seed):
    try:
        return SimCluster(seed, size=3, make_node=mutant).run().violations
    except Exception:  # raft itself may notice the contradiction first
        return True
