"""The driver's order: durable before promised, applied once, compacted only when written."""

from types import SimpleNamespace

import pytest
from amaters_server.machine import codec
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Put, Write
from amaters_server.raft.driver import Driver
from amaters_server.raft.log import Log, LogRetention
from amaters_server.raft.outbox import Outbox
from amaters_server.raft.raft_node import RaftNodeSettings, StartState, open_raft_node
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryDisk, MemoryEngine

KEY = data_key("c", b"k")
PLENTY = LogRetention(1000, 1 << 20)


class Bench:
    """One member whose disk obeys by hand."""

    def __init__(self, voters=(1,), keep=PLENTY, disk=None):
        self.disk = disk or MemoryDisk()
        self.engine = MemoryEngine(self.disk)
        self.machine = Machine(self.engine)
        self.log = Log(self.engine)
        if disk is None:
            self._found(voters)
        stored = self.log.load()
        start = StartState(
            self.machine.applied_index,
            (*stored.hard_state[:2], max(stored.hard_state[2], self.machine.applied_index)),
            ConfState(voters),
            stored.compacted,
            stored.entries,
        )
        self.raft_node = open_raft_node(RaftNodeSettings(1, 2, (10, 11)), start)
        self.driver = Driver(self.raft_node, self.machine, self.log, keep)
        self.sequence = 0

    def _found(self, voters):
        members = tuple(Member(one, "", f"n{one}", "") for one in voters)
        membership = Membership("c", members, ConfState(voters), max(voters))
        changes = self.machine.form(membership, index=1, term=1)
        self.log.restart_at(changes, 1, 1)
        self.log.put_hard_state(changes, (1, 0, 1))
        self.engine.write(changes, sync=True)

    def propose(self, value):
        self.sequence += 1
        proposal = codec.ProposalId(1, 1, self.sequence)
        data = codec.encode_writes(proposal, [Write(0, [Put(KEY, value)], 0.0)], unix_ms=0)
        self.raft_node.propose(b"", data)

    def write(self, batch):
        self.engine.write(batch.changes, sync=batch.sync)
        self.driver.persisted(batch.token)

    def advance(self, *, flush=False):
        out = Outbox()
        self.driver.advance(out, flush=flush)
        return out

    def settle(self):
        """Let everything that can happen alone happen."""
        while True:
            out = self.advance()
            if not out.writes:
                return out
            self.write(out.writes[0])

    def lead_alone(self):
        self.raft_node.campaign()
        self.settle()
        return self


def test_a_group_of_one_applies_only_what_is_durable():
    bench = Bench().lead_alone()
    bench.propose(b"v")

    before = bench.advance()
    assert before.writes[0].sync
    assert before.outcomes == []
    bench.write(before.writes[0])
    after = bench.advance()

    assert [one.results for one in after.outcomes] == [[[1]]]
    assert bench.machine.get(KEY) == b"v"


def test_a_vote_leaves_only_after_it_is_durable():
    bench = Bench(voters=(1, 2, 3))
    asker = Bench(voters=(1, 2, 3))
    request = vote_request(asker)

    bench.driver.step(request)
    out = bench.advance()

    assert out.messages == []
    assert out.writes[0].sync
    assert out.writes[0].vote
    bench.write(out.writes[0])
    assert [message[:2] for message in bench.advance().messages] == [(2, "vote_response")]


def vote_request(bench):
    """Return a MsgRequestVote of member 2 to member 1."""
    core = open_raft_node(
        RaftNodeSettings(2, 2, (10, 11)),
        StartState(1, (1, 0, 1), ConfState((1, 2)), (1, 1)),
    )
    core.campaign()
    ready = core.ready()
    core.on_persist_ready(ready.number)
    (_, _, pre_vote) = next(one for one in ready.persisted_messages if one[0] == 1)
    answering = Bench(voters=(1, 2))
    answering.driver.step(pre_vote)
    out = answering.advance()
    core.step(out.messages[0][2])
    ready = core.ready()
    return next(message for to, _, message in ready.persisted_messages if to == 1)


def test_a_leader_sends_its_entries_while_they_are_on_their_way_to_disk():
    leader, _ = elected_leader()
    leader.propose(b"v")

    out = leader.advance()

    assert {message[:2] for message in out.messages} == {(2, "append"), (3, "append")}
    assert out.writes[0].sync
    assert not out.writes[0].vote


def elected_leader():
    """Return member 1 leading a group of three whose others answer on their own."""
    leader = Bench(voters=(1, 2, 3))
    others = {
        one: open_raft_node(
            RaftNodeSettings(one, 2, (20, 21)),
            StartState(1, (1, 0, 1), ConfState((1, 2, 3)), (1, 1)),
        )
        for one in (2, 3)
    }
    leader.raft_node.campaign()
    for _ in range(6):
        exchange(leader, others)
    assert leader.raft_node.committed_in_term
    return leader, others


def exchange(leader, others):
    out = leader.advance()
    if out.writes:
        leader.write(out.writes[0])
        out.messages += leader.advance().messages
    for to, _, message in out.messages:
        others[to].step(message)
    for other in others.values():
        while other.has_ready():
            ready = other.ready()
            other.on_persist_ready(ready.number)
            for _, _, message in [*ready.messages, *ready.persisted_messages]:
                leader.driver.step(message)


def test_what_was_committed_by_others_is_applied_here_once_it_is_durable_here():
    leader, others = elected_leader()
    leader.propose(b"v")
    out = leader.advance()
    for to, _, message in out.messages:
        others[to].step(message)
    for other in others.values():
        ready = other.ready()
        other.on_persist_ready(ready.number)
        for _, _, message in [*ready.messages, *ready.persisted_messages]:
            leader.driver.step(message)

    early = leader.advance()
    assert early.outcomes == []
    leader.write(out.writes[0])

    assert leader.advance().outcomes[0].results == [[1]]


def test_applied_state_waits_for_the_next_write_of_the_log_or_a_flush():
    bench = Bench().lead_alone()
    bench.propose(b"v")
    bench.settle()

    assert bench.engine.get(Space.DATA, KEY) is None
    assert bench.machine.get(KEY) == b"v"
    [flushed] = bench.advance(flush=True).writes
    assert not flushed.sync
    bench.write(flushed)

    assert bench.engine.get(Space.DATA, KEY) == b"v"


def test_after_a_crash_the_log_is_applied_again_from_where_the_disk_stands():
    bench = Bench().lead_alone()
    bench.propose(b"v")
    bench.settle()
    bench.disk.crash()

    again = Bench(disk=bench.disk).lead_alone()

    assert again.machine.get(KEY) == b"v"


def test_the_log_never_loses_what_the_engine_has_not_applied():
    bench = Bench(keep=LogRetention(3, 1 << 20)).lead_alone()
    lost = 0
    for number in range(50):
        bench.propose(b"%d" % number)
        bench.settle()
        if number % 3 == 0:
            for flushed in bench.advance(flush=True).writes:
                bench.write(flushed)
        compacted = Log(bench.engine).load().compacted[0]
        lost = max(lost, compacted)
        assert compacted <= Machine(bench.engine).applied_index

    assert lost > 40


def test_the_log_is_held_for_a_snapshot_on_its_way():
    bench = Bench(keep=LogRetention(10, 1 << 20)).lead_alone()
    bench.driver.hold_log(5)
    for number in range(50):
        bench.propose(b"%d" % number)
        bench.settle()
    for _ in range(2):
        for batch in bench.advance(flush=True).writes:
            bench.write(batch)

    assert bench.raft_node.first_index() == 6


def test_large_entries_count_by_their_bytes():
    bench = Bench(keep=LogRetention(1000, 10_000)).lead_alone()
    for _ in range(40):
        bench.propose(b"x" * 1000)
        bench.settle()
    for _ in range(2):
        for batch in bench.advance(flush=True).writes:
            bench.write(batch)

    assert bench.raft_node.log_bytes() <= 12_500


def test_nothing_moves_while_a_snapshot_is_being_installed():
    bench = Bench(voters=(1, 2, 3))
    bench.driver._installing = object()

    bench.driver.tick()
    bench.driver.step(b"not even a message")

    assert bench.driver.installing


def test_an_incarnation_that_waits_to_be_written_outlives_a_snapshot():
    bench = Bench(voters=(1, 2, 3))
    bench.driver.renew(9)
    bench.driver._installing = SimpleNamespace(
        number=1,
        snapshot=(7, 2, ([1, 2, 3], [], [], [], False), b""),
        entries=[],
        hard_state=(2, 0, 7),
        must_sync=True,
        persisted_messages=[],
        committed=[],
    )

    out = Outbox()
    bench.driver.installed(Changes(), out)
    [written] = out.writes

    bench.engine.write(written.changes, sync=True)
    assert bench.log.incarnation() == 9


def test_going_on_without_a_snapshot_is_a_mistake():
    with pytest.raises(RuntimeError, match="no snapshot"):
        Bench().driver.installed(Changes(), Outbox())
