"""The simulation must be able to fail: each of these clusters breaks one promise."""

from dataclasses import replace
from functools import partial

import pytest
from amaters_server.machine import state
from amaters_server.model.errors import StorageCorruptedError
from amaters_server.node.loop.reading import answered_at_once
from amaters_server.raft import raft_node as door
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.simulation.cluster import SimCluster
from amaters_server.testing.simulation.node import SimNode

pytestmark = pytest.mark.slow

SEEDS = range(120)
TROUBLED_SECONDS = 9.0

LARGEST_ANSWER = 1024 * 1024


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
        answers([(read.ticket, answered_at_once(self.machine, read, LARGEST_ANSWER))])


class SkipsFsync(SimNode):
    """Its engine says that writes are durable, and they are not."""

    syncs = False


class ForgetsItsTerm(SimNode):
    """Comes back from a crash in an older term, without knowing whom it voted for."""

    def open(self, disk, identity, settings, core):
        if self.life > 1:
            stored = disk.log.load()
            forgotten = (stored.hard_state[0] - 1, 0, stored.hard_state[2])
            disk.log.load = lambda: replace(stored, hard_state=forgotten)
        return super().open(disk, identity, settings, core)


class PromisesBeforePersisting(SimNode):
    """Sends votes and acknowledgements while what they promise is on its way to a slow disk."""

    def start(self):
        self.storage.slow = 100.0
        super().start()

    def hand_to_disk(self, batch):
        for to, _, message in batch.messages:
            self._send(to, message)
        super().hand_to_disk(batch)


class AppliesTwice(SimNode):
    """Its state machine takes every proposal, however late it comes."""

    def start(self):
        super().start()
        sequences = self.machine._replicated._proposer_sequences
        sequences.accept, sequences.is_late = lambda _: True, lambda _: False


class ShowsHalfOfAnUpdate(SimNode):
    """Shows one row of an update that is still being carried out."""

    def start(self):
        super().start()
        machine, whole = self.machine, self.machine.get_many

        def half(keys):
            values = whole(keys)
            if machine._slow is not None and len(keys) > 1:
                values[0] = machine._slow.evaluation.batch.get(keys[0], values[0])
            return values

        machine.get_many = half


class ForgetsSessions(SimNode):
    """Its state machine carries every retry of a session out again."""

    def start(self):
        super().start()
        sessions = self.machine._replicated._sessions
        sessions.recall, sessions.knows = lambda *_, **__: None, lambda *_: False


class LosesSomethingInSnapshots(SimNode):
    """The snapshots it makes lack some of the rows."""

    def start(self):
        super().start()
        whole = self.snapshots.checkpoint

        def without():
            other = MemoryEngine.holding(whole())
            changes = Changes()
            changes.clear(*self.lost)
            other.write(changes, sync=True)
            return other.content()

        self.snapshots.checkpoint = without


class ForgetsSessionsInSnapshots(LosesSomethingInSnapshots):
    """The snapshots it makes lack the table of sessions."""

    lost = (Space.META, state.SESSIONS, state.SESSIONS + b"\xff")


class LosesRowsInSnapshots(LosesSomethingInSnapshots):
    """The snapshots it makes lack the data."""

    lost = (Space.DATA, b"", b"\xff" * 9)


class TakesItsOwnWay(SimNode):
    """Applies every twentieth entry in a way of its own."""

    def start(self):
        super().start()
        apply = self.machine._replicated.apply_commands

        def applied(entry, data, workspace, evaluated=None):
            if self.id == 2 and entry.put_keys and entry.proposal.sequence % 20 == 0:
                entry.put_values[0] = b"its own"
            return apply(entry, data, workspace, evaluated)

        self.machine._replicated.apply_commands = applied


class LearnerCountsAsVoter(SimNode):
    """Takes learners for voters when it starts, itself included."""

    def open(self, disk, identity, settings, core):
        membership = disk.machine.membership
        if membership is not None:
            now = membership.conf_state
            wrong = replace(now, voters=(*now.voters, *now.learners), learners=())
            disk.machine._replicated.membership = replace(membership, conf_state=wrong)
        return super().open(disk, identity, settings, core)


class BelievesForEver(SimNode):
    """Leads on without a quorum."""

    def open(self, disk, identity, settings, core):
        make = door.consensus.RaftNode
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                door.consensus, "RaftNode", partial(make, check_quorum=False, pre_vote=False)
            )
            return super().open(disk, identity, settings, core)


class ServesReadsWhenCutOff(SimNode):
    """Answers reads without a barrier as long as it believes to lead."""

    def read(self, read, answers):
        if self.leads:
            answers([(read.ticket, answered_at_once(self.machine, read, LARGEST_ANSWER))])
        else:
            super().read(read, answers)


class NeverFetchesSnapshots(SimNode):
    """Ignores every snapshot it is offered."""

    def start(self):
        super().start()
        self.snapshots.fetch = lambda _: None


class BelievesForgedEntries(SimNode):
    """Takes entries that no member could apply."""

    def open(self, disk, identity, settings, core):
        return super().open(disk, identity, settings, replace(core, check_entries=False))


class BelievesAnyTerm(SimNode):
    """Takes any term for true, however far ahead it lies."""

    def open(self, disk, identity, settings, core):
        return super().open(disk, identity, settings, replace(core, max_terms_ahead=(1 << 64) - 1))


class AsksNobody(SimNode):
    """Refuses what lies far ahead, and never asks whether it is so."""

    def start(self):
        super().start()
        self.replica.confirm_term = lambda _: None


class KeepsItsName(SimNode):
    """Goes on as the same incarnation after somebody else has used its name."""

    def start(self):
        super().start()
        self.replica._incarnations.renew = lambda _: None


MUTANTS = [
    (SkipsFsync, "one leader per term"),
    (LearnerCountsAsVoter, "voters only"),
    (PromisesBeforePersisting, "log matching"),
    (TakesItsOwnWay, "equal states"),
    (AppliesTwice, "equal states"),
    (ForgetsSessions, "equal states"),
    (ForgetsSessionsInSnapshots, "equal states"),
    (LosesRowsInSnapshots, "equal states"),
    (AcknowledgesBeforeCommit, "no acknowledged write lost"),
    (SkipsFsync, "no acknowledged write lost"),
    (ShowsHalfOfAnUpdate, "all or nothing"),
    (ReadsWithoutBarrier, "linearizable"),
    (ServesReadsWhenCutOff, "silent when cut off"),
    (BelievesForEver, "belief ends"),
    (NeverFetchesSnapshots, "catches up"),
    (ForgetsItsTerm, "refuses to start"),
    (BelievesForgedEntries, "refuses to go on"),
    (BelievesAnyTerm, "refuses to start"),
    (AsksNobody, "catches up"),
    (KeepsItsName, "takes writes"),
]


@pytest.mark.parametrize(
    ("mutant", "check"), MUTANTS, ids=[f"{one.__name__}-{check}" for one, check in MUTANTS]
)
def test_every_mutant_is_caught_by_the_check_that_is_meant_for_it(mutant, check):
    for seed in SEEDS:
        if check in complaints(mutant, seed):
            return
    pytest.fail(f"{len(SEEDS)} seeds of {mutant.__name__} never failed the check {check!r}")


def complaints(mutant, seed):
    try:
        violations = (
            SimCluster(seed, 3, troubled_seconds=TROUBLED_SECONDS, make_node=mutant)
            .run()
            .violations
        )
    except StorageCorruptedError as error:  # the disk contradicts itself, and the node says so
        return {"refuses to go on" if "does not decode" in str(error) else "refuses to start"}
    return {violation.partition(":")[0] for violation in violations}
