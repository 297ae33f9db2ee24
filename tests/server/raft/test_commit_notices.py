"""Messages that say nothing but "committed up to here" travel with others."""

from amaters_native.consensus import RaftNode
from amaters_server.raft.commit_notices import CommitNotices


def node(number, voters):
    return RaftNode(
        id=number,
        election_tick=10,
        heartbeat_tick=2,
        applied=300,
        hard_state=(200, 0, 300),
        conf_state=(voters, [], [], [], False),
        snapshot_index=300,
        snapshot_term=200,
        entries=[],
        check_entries=False,
    )


def group():
    """Return a leader of three, and what it sent on the way there and for one entry."""
    nodes = {one: node(one, [1, 2, 3]) for one in (1, 2, 3)}
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
                for message in [*ready.messages, *ready.persisted_messages]:
                    to, kind, content = message
                    sent.append(message)
                    assert nodes[to].step(content)[0] == kind


def of_kind(kind, to=2):
    """Return the first such message, addressed to that member."""
    return next((to, *message[1:]) for message in group() if message[1] == kind)


def test_only_appends_without_entries_are_notices():
    sizes = {}
    for _, kind, content in group():
        sizes.setdefault(kind, []).append(len(content))

    assert max(sizes["commit_notice"]) < min(sizes["append"])


def test_a_step_names_who_forwarded_a_proposal():
    leader = node(1, [1, 2])
    assert leader.step(of_kind("proposal")[2]) == ("proposal", 2)


def test_a_notice_waits_for_the_next_message_and_keeps_its_place():
    notice, append = of_kind("commit_notice"), of_kind("append", to=3)
    heartbeat = of_kind("heartbeat")
    notices = CommitNotices()

    assert notices.sift([notice, append], now=5.0) == [append]
    assert notices.sift([heartbeat], now=5.1) == [notice, heartbeat]
    assert notices.release() == []


def test_an_append_with_entries_makes_the_notice_before_it_superfluous():
    notice, append = of_kind("commit_notice"), of_kind("append")
    other = of_kind("commit_notice", to=3)
    notices = CommitNotices()

    notices.sift([notice, other], now=5.0)

    assert notices.sift([append], now=5.1) == [append]
    assert notices.release() == [other]


def test_only_the_newest_notice_is_kept():
    older, *_, newer = [(2, *one[1:]) for one in group() if one[1] == "commit_notice"]
    notices = CommitNotices()

    assert notices.sift([older, newer], now=5.0) == []
    assert notices.release() == [newer]
    assert older != newer


def test_a_notice_waits_for_one_tick_at_most():
    notice = of_kind("commit_notice")
    notices = CommitNotices()
    notices.sift([notice], now=5.0)

    assert notices.release() == [notice]
    assert notices.release() == []


def test_a_member_whose_callers_wait_is_told_at_once():
    notice, other = of_kind("commit_notice"), of_kind("commit_notice", to=3)
    notices = CommitNotices()
    notices.proposed(2, now=5.0)

    assert notices.sift([notice, other], now=5.5) == [notice]
    assert notices.sift([notice], now=6.5) == []
