"""What a Raft group of the compiled nodes does, on a network and disks made of lists."""

import pytest
from amaters_native.consensus import (
    ENTRY_CONF_CHANGE,
    ConsensusError,
    ProposalDropped,
    RaftNode,
    StorageGap,
    conf_changes,
)


def test_pinned_timeouts_choose_the_first_leader(group) -> None:
    trio = group(1, 2, 3)

    trio.tick(20)

    assert [trio[number].role for number in (1, 2, 3)] == ["leader", "follower", "follower"]
    assert {trio[number].leader for number in (1, 2, 3)} == {1}


def test_proposals_reach_every_member_in_order(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(2)

    trio.propose(2, b"a", b"b")
    trio.propose(2, b"c")

    assert trio.values(1) == trio.values(2) == trio.values(3) == [b"a", b"b", b"c"]


def test_a_follower_forwards_proposals(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)

    trio.propose(3, b"from a follower")

    assert trio.values(2) == [b"from a follower"]


def test_without_a_leader_proposals_are_dropped_with_the_reason(group) -> None:
    trio = group(1, 2, 3)

    with pytest.raises(ProposalDropped, match="no leader") as caught:
        trio[1].propose(b"", b"x")

    assert caught.value.reason == "no_leader"


def test_an_entry_commits_only_when_a_quorum_is_durable(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    for member in trio.members.values():
        member.slow_disk = True

    trio.propose(1, b"x")
    assert trio[1].commit == 2
    trio.members[2].flush()
    trio.settle()
    assert trio[1].commit == 2
    trio.members[3].flush()
    trio.settle()
    assert trio[1].commit == 3
    assert trio.values(1) == []
    trio.members[1].flush()
    trio.settle()

    assert trio.values(1) == [b"x"]


def test_several_readies_may_wait_for_the_disk(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    leader = trio.members[1]
    leader.slow_disk = True

    for value in (b"a", b"b", b"c"):
        trio.propose(1, value)
    waiting = len(leader.in_flight)
    leader.flush()
    trio.settle()

    assert waiting >= 3
    assert trio.values(1) == trio.values(2) == [b"a", b"b", b"c"]


def test_a_group_of_one_commits_only_what_is_durable(group) -> None:
    alone = group(1)
    alone.elect(1)
    member = alone.members[1]
    member.slow_disk = True

    alone.propose(1, b"x")
    before = alone.values(1)
    member.flush()
    alone.settle()

    assert before == []
    assert alone.values(1) == [b"x"]


def test_a_group_of_one_tells_learners_nothing_before_its_vote_is_durable(group) -> None:
    alone = group(1)
    alone.elect(1)
    alone[1].propose_conf_change(b"", [("add_learner", 2)])
    alone.join(2)
    alone.settle()
    alone.members[1].crash()
    alone.settle()
    alone.members[1].slow_disk = True

    alone[1].campaign()
    alone.members[1].work()

    assert alone[1].is_leader
    assert alone.members[1].outgoing == []
    alone.members[1].flush()
    assert {to for to, _, _ in alone.members[1].outgoing} == {2}


def test_losing_the_quorum_ends_leadership(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.cut = {1}

    trio.tick(45)

    assert not trio[1].is_leader
    assert trio[2].is_leader


def test_an_isolated_leaders_entries_are_replaced(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.cut = {1}
    trio.propose(1, b"lost")
    trio.tick(45)
    trio.propose(2, b"kept")
    trio.cut = set()

    trio.tick(5)

    assert trio.values(1) == [b"kept"]
    assert trio[1].term_of(trio[1].last_index()) == trio[2].term


def test_leadership_moves_on_request(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)

    trio[1].transfer_leader(3)
    trio.settle()

    assert trio[3].is_leader
    assert "timeout_now" in trio.kinds


def test_a_follower_can_ask_for_leadership(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)

    trio[2].transfer_leader(2)
    trio.settle()

    assert trio[2].is_leader


def test_while_leadership_moves_proposals_are_dropped(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.cut = {3}

    trio[1].transfer_leader(3)
    with pytest.raises(ProposalDropped) as caught:
        trio[1].propose(b"", b"x")

    assert caught.value.reason == "transferring"
    assert trio[1].status().lead_transferee == 3


def test_leadership_goes_to_voters_only(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)

    with pytest.raises(ConsensusError, match="node 9 is no voter"):
        trio[1].transfer_leader(9)


def test_a_read_barrier_needs_a_quorum(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.propose(1, b"x")

    assert trio[1].read_index(b"r1")
    trio.cut = {1}
    assert trio[1].read_index(b"r2")
    trio.settle()
    assert trio.members[1].reads == []
    trio.cut = set()
    trio.tick(3)

    assert trio.members[1].reads == [(3, b"r1"), (3, b"r2")]


def test_a_follower_can_ask_for_a_read_barrier(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)

    assert trio[2].read_index(b"r")
    trio.settle()

    assert trio.members[2].reads == [(2, b"r")]


def test_unheard_read_barriers_are_told(group) -> None:
    trio = group(1, 2, 3)
    assert not trio[1].read_index(b"no leader")
    for member in trio.members.values():
        member.slow_disk = member.id == 1
    trio[2].campaign()
    trio.members[2].work()

    assert not trio[2].read_index(b"candidate")
    with pytest.raises(ValueError, match="not empty"):
        trio[1].read_index(b"")


def test_a_member_joins_learns_is_promoted_and_leaves(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.propose(1, b"before")
    trio.join(4)

    trio[1].propose_conf_change(b"address of 4", [("add_learner", 4)])
    trio.settle()
    learner = (trio[4].is_learner, trio[4].promotable, trio.values(4))
    trio[1].propose_conf_change(b"", [("add_voter", 4)])
    trio.settle()
    voters = trio[4].conf_state()[0]
    trio[1].propose_conf_change(b"", [("remove", 4)])
    trio.settle()

    assert learner == (True, False, [b"before"])
    assert voters == [1, 2, 3, 4]
    assert trio[1].conf_state() == ([1, 2, 3], [], [], [], False)


def test_membership_entries_carry_their_context(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)

    trio[1].propose_conf_change(b"address", [("add_learner", 4)])
    trio.settle()

    index, _, kind, data, context = trio[1].entries_between(3, 4)[0]
    assert (index, kind, context) == (3, ENTRY_CONF_CHANGE, b"address")
    assert conf_changes(data) == [("add_learner", 4)]


def test_several_changes_go_through_a_joint_state_that_leaves_itself(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.join(4)
    trio.join(5)

    trio[1].propose_conf_change(b"", [("remove", 2), ("remove", 3), ("add_voter", 4)])
    trio.tick(5)

    assert trio[1].conf_state() == ([1, 4], [], [], [], False)
    assert trio[4].conf_state() == ([1, 4], [], [], [], False)


def test_one_membership_change_at_a_time(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio[1].propose_conf_change(b"", [("add_learner", 4)])

    with pytest.raises(ProposalDropped) as caught:
        trio[1].propose_conf_change(b"", [("add_learner", 5)])

    assert caught.value.reason == "pending_change"


def test_changes_that_do_not_fit_are_refused(group) -> None:
    alone = group(1)
    alone.elect(1)

    with pytest.raises(ConsensusError, match="does not fit"):
        alone[1].propose_conf_change(b"", [("remove", 1)])
    with pytest.raises(ConsensusError, match="does not fit"):
        alone[1].propose_conf_change(b"", [])
    with pytest.raises(ValueError, match="none of add_voter"):
        alone[1].propose_conf_change(b"", [("promote", 1)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="other than 0"):
        alone[1].propose_conf_change(b"", [("add_voter", 0)])


def test_a_removed_leader_steps_down_and_survives(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.members[1].slow_disk = True

    trio[1].propose(b"", b"x")
    trio[1].propose_conf_change(b"", [("remove", 1)])
    trio.settle()
    trio.members[1].flush()
    trio.settle()
    trio.tick(40)

    assert trio[1].role == "follower"
    assert trio[1].conf_state()[0] == [2, 3]
    assert trio[2].is_leader
    trio.propose(2, b"y")
    assert trio.values(3) == [b"x", b"y"]


def test_a_restarted_member_remembers(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.propose(1, b"a", b"b")
    term = trio[2].term

    trio.members[2].crash()
    remembered = (trio[2].term, trio[2].commit, trio[2].last_index())
    trio.tick(5)
    trio.propose(1, b"c")

    assert remembered == (term, 4, 4)
    assert trio.values(2) == [b"a", b"b", b"c"]


def test_a_whole_group_restarts(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.propose(1, b"a")
    for member in trio.members.values():
        member.crash()

    trio.tick(20)
    trio.propose(1, b"b")

    assert trio.values(1) == trio.values(2) == trio.values(3) == [b"a", b"b"]


def compacted(group, behind: int = 3):
    """Three members, one cut off, whose missing entries the leader has compacted away."""
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.propose(1, b"a")
    trio.cut = {behind}
    trio.propose(1, b"b", b"c")
    trio[1].compact(5)
    trio.cut = set()
    return trio


def test_compaction_frees_memory_and_keeps_one_term(group) -> None:
    trio = compacted(group)

    assert (trio[1].first_index(), trio[1].last_index(), trio[1].log_bytes()) == (6, 5, 0)
    assert trio[1].term_of(5) == 2
    with pytest.raises(StorageGap, match="outside the log"):
        trio[1].term_of(4)
    with pytest.raises(StorageGap, match="not applied yet"):
        trio[1].compact(6)


def test_a_member_too_far_behind_gets_the_offered_snapshot(group) -> None:
    trio = compacted(group)
    trio.tick(4)
    wanted = trio[1].take_snapshot_requests()
    trio[1].set_snapshot(5, 2, trio[1].conf_state(), b"where to fetch")

    trio.tick(4)
    trio[1].report_snapshot(3, ok=True)
    trio.propose(1, b"d")
    trio.tick(4)

    assert wanted == [3]
    assert trio[1].take_snapshot_requests() == []
    assert trio.values(3) == [b"where to fetch", b"d"]
    assert trio.members[3].disk.base == (5, 2)
    assert trio[3].conf_state() == trio[1].conf_state()


def test_an_offer_the_log_cannot_continue_is_not_sent(group) -> None:
    trio = compacted(group)
    trio[1].set_snapshot(3, 2, trio[1].conf_state(), b"too old")

    trio.tick(4)

    assert trio[1].take_snapshot_requests() == [3]
    assert "snapshot" not in trio.kinds


def test_a_failed_snapshot_is_sent_again(group) -> None:
    trio = compacted(group)
    trio.tick(4)
    trio[1].set_snapshot(5, 2, trio[1].conf_state(), b"image")
    trio.lost = {"snapshot"}
    trio.tick(4)
    state = {member.id: member.state for member in trio[1].status().progress}
    trio.lost = set()

    trio[1].report_snapshot(3, ok=False)
    trio.tick(6)

    assert state[3] == "snapshot"
    assert trio.values(3) == [b"image"]


def test_an_election_waits_for_a_snapshot_that_is_being_installed(group) -> None:
    trio = compacted(group)
    trio.tick(4)
    trio[1].set_snapshot(5, 2, trio[1].conf_state(), b"image")
    trio.members[3].slow_install = True
    trio.tick(4)
    assert trio.members[3].in_flight
    trio.cut = {1, 2}

    trio.tick(60)
    waiting = trio[3].role
    trio[3].campaign()
    trio.members[3].slow_install = False
    trio.members[3].flush()
    trio.tick(60)

    assert waiting == "follower"
    assert trio[3].role == "pre-candidate"


def test_a_restart_after_a_snapshot_continues_from_it(group) -> None:
    trio = compacted(group)
    trio[1].set_snapshot(5, 2, trio[1].conf_state(), b"image")
    trio.tick(4)
    trio[1].report_snapshot(3, ok=True)

    trio.members[3].crash()
    trio.propose(1, b"d")
    trio.tick(4)

    assert trio.values(3) == [b"image", b"d"]


def test_the_leader_reports_on_its_members(group) -> None:
    trio = group(1, 2, 3)
    trio.elect(1)
    trio.propose(1, b"x")

    status = trio[1].status()

    assert (status.id, status.leader, status.role, status.commit) == (1, 1, "leader", 3)
    assert [(member.id, member.matched) for member in status.progress] == [(1, 3), (2, 3), (3, 3)]
    assert trio[2].status().progress == []


def test_higher_priority_wins_between_equal_logs(group) -> None:
    trio = group(1, 2, 3)
    trio[2].set_priority(5)
    trio[3].set_priority(5)

    trio[1].campaign()
    trio.settle()

    assert not trio[1].is_leader


def test_too_much_uncommitted_is_refused(group) -> None:
    trio = group(1, 2, 3, max_uncommitted_size=1 << 20)
    trio.elect(1)
    trio.cut = {1}
    trio[1].propose(b"", b"x" * (1 << 20))

    with pytest.raises(ProposalDropped) as caught:
        trio[1].propose(b"", b"y")

    assert caught.value.reason == "too_much_uncommitted"


def test_committed_work_comes_in_bounded_portions(group) -> None:
    alone = group(1, max_committed_size=1000)
    alone.elect(1)
    alone.members[1].slow_disk = True
    for _ in range(10):
        alone[1].propose(b"", b"x" * 400)
    alone.settle()
    alone.members[1].flush()

    portion = alone[1].ready()

    assert 1 <= len(portion.committed) <= 3


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"entries": [(2, 1, 0, b"", b"")]}, "cannot follow"),
        ({"entries": [(1, 2, 0, b"", b"")]}, "older than the log's last term"),
        ({"entries": [(1, 1, 7, b"", b"")]}, "unknown type 7"),
        ({"hard_state": (1, 0, 1)}, "commit 1 is outside the log"),
        ({"applied": 1}, "applied 1 is outside"),
        ({"snapshot_index": 3}, "cannot begin after"),
        ({"snapshot_index": 3, "snapshot_term": 1, "applied": 2}, "before the last compacted"),
        ({"conf_state": ([1], [1], [], [], False)}, "both voter and learner"),
        ({"conf_state": ([], [1], [], [], False)}, "no voters"),
        ({"conf_state": ([1], [], [], [], True)}, "joint state"),
    ],
)
def test_a_disk_that_contradicts_itself_is_refused(broken: dict, complaint: str) -> None:
    sound = {"hard_state": (1, 0, 0), "conf_state": ([1], [], [], [], False)}

    with pytest.raises(StorageGap, match=complaint):
        RaftNode(id=1, election_tick=10, heartbeat_tick=2, **sound | broken)


@pytest.mark.parametrize(
    "broken",
    [{"id": 0}, {"election_tick": 1}, {"min_election_tick": 5}, {"max_inflight_messages": 0}],
)
def test_settings_raft_refuses_are_value_errors(broken: dict) -> None:
    sound = {"id": 1, "election_tick": 10, "heartbeat_tick": 2}

    with pytest.raises(ValueError, match="raft refuses its settings"):
        RaftNode(**sound | broken)


def test_indexes_out_of_order_are_refused(group) -> None:
    alone = group(1)
    alone.elect(1)
    node = alone[1]

    with pytest.raises(StorageGap, match="not handed out"):
        node.on_persist_ready(1000)
    with pytest.raises(StorageGap, match="applied 9 is outside"):
        node.advance_apply_to(9)
    with pytest.raises(StorageGap, match="outside the log"):
        node.entries_between(1, 9)
    with pytest.raises(StorageGap, match="snapshot 9 is outside"):
        node.set_snapshot(9, 1, node.conf_state(), b"")
    with pytest.raises(StorageGap, match="not of term 7"):
        node.set_snapshot(1, 7, node.conf_state(), b"")
    node.propose(b"", b"still well")
    alone.settle()
    assert alone.values(1) == [b"still well"]
