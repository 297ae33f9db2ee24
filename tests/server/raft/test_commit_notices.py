"""Messages that say nothing but "committed up to here" travel with others."""

from amaters_native.consensus import RaftNode, decode_message
from amaters_server.raft.commit_notices import CommitNotices
from amaters_server.raft.messages import is_commit_notice, proposer


def group():
    """Return a leader of three, and what it sent on the way there and for one entry."""
    nodes = {
        one: RaftNode(
            id=one,
            election_tick=10,
            heartbeat_tick=2,
            applied=300,
            hard_state=(200, 0, 300),
            conf_state=([1, 2, 3], [], [], [], False),
            snapshot_index=300,
            snapshot_term=200,
            entries=[],
            check_entries=False,
        )
        for one in (1, 2, 3)
    }
    sent = []
    nodes[1].campaign()
    run(nodes, sent)
    nodes[2].propose(b"", b"x")
    nodes[1].read_index(b"ctx")
    run(nodes, sent)
    return sent


def run(nodes, sent):
    busy = True
    while busy:
        busy = False
        for node in nodes.values():
            while node.has_ready():
                busy = True
                ready = node.ready()
                node.on_persist_ready(ready.number)
                for entry in ready.committed:
                    node.advance_apply_to(entry[0])
                for to, message in [*ready.messages, *ready.persisted_messages]:
                    sent.append((message, ready))
                    nodes[to].step(message)


def test_only_appends_without_entries_are_notices():
    kinds = {}
    for message, _ in group():
        kind = decode_message(message)[0]
        kinds.setdefault((kind, is_commit_notice(message)), []).append(len(message))

    assert ("MsgAppend", True) in kinds
    assert ("MsgAppend", False) in kinds
    assert {kind for kind, notice in kinds if notice} == {"MsgAppend"}
    assert max(kinds["MsgAppend", True]) < min(kinds["MsgAppend", False])


def test_forwarded_proposals_are_recognized():
    seen = {(decode_message(one)[0], proposer(one)) for one, _ in group() if proposer(one)}

    assert seen == {("MsgPropose", 2)}


def notice_and_append():
    messages = [one for one, _ in group() if decode_message(one)[0] == "MsgAppend"]
    notice = next(one for one in messages if is_commit_notice(one))
    return notice, next(one for one in messages if not is_commit_notice(one))


def test_a_notice_waits_for_the_next_message_and_keeps_its_place():
    notice, append = notice_and_append()
    heartbeat = next(one for one, _ in group() if decode_message(one)[0] == "MsgHeartbeat")
    notices = CommitNotices()

    assert notices.sift([(2, notice), (3, append)], now=5.0) == [(3, append)]
    assert notices.sift([(2, heartbeat)], now=5.1) == [(2, notice), (2, heartbeat)]
    assert notices.release() == []


def test_an_append_with_entries_makes_the_notice_before_it_superfluous():
    notice, append = notice_and_append()
    notices = CommitNotices()

    notices.sift([(2, notice), (3, notice)], now=5.0)

    assert notices.sift([(2, append)], now=5.1) == [(2, append)]
    assert notices.release() == [(3, notice)]


def test_only_the_newest_notice_is_kept():
    older, *_, newer = [one for one, _ in group() if is_commit_notice(one)]
    notices = CommitNotices()

    assert notices.sift([(2, older), (2, newer)], now=5.0) == []
    assert notices.release() == [(2, newer)]
    assert older != newer


def test_a_notice_waits_for_one_tick_at_most():
    notice, _ = notice_and_append()
    notices = CommitNotices()
    notices.sift([(2, notice)], now=5.0)

    assert notices.release() == [(2, notice)]
    assert notices.release() == []


def test_a_member_whose_callers_wait_is_told_at_once():
    notice, _ = notice_and_append()
    notices = CommitNotices()
    notices.proposed(2, now=5.0)

    assert notices.sift([(2, notice), (3, notice)], now=5.5) == [(2, notice)]
    assert notices.sift([(2, notice)], now=6.5) == []
