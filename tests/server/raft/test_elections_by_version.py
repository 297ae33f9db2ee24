"""Elections between real raft nodes that run different versions."""

import pytest
from amaters_server.model.cluster import ConfState
from amaters_server.node.joining.open_replica import raft_node_settings
from amaters_server.node.settings import Addresses, NodeSettings
from amaters_server.raft.raft_node import ENTRY_NORMAL, StartState, open_raft_node
from amaters_server.raft.version_preference import VersionPreference

OLD, NEW = (0, 3, 0), (0, 4, 0)
VOTERS = (1, 2, 3)


def node(node_id, version, tmp_path, entries, timeout):
    settings = NodeSettings(Addresses("n", "n:1", "n:2"), tmp_path, version=version)
    core = raft_node_settings(node_id, settings)
    log = [(index, term, ENTRY_NORMAL, b"", b"") for index, term in entries]
    start = StartState(
        applied=1,
        hard_state=(3, 0, 1),
        conf_state=ConfState(VOTERS),
        compacted=(1, 1),
        entries=log,
    )
    pinned = type(core)(
        core.id, heartbeat_ticks=core.heartbeat_ticks, election_ticks=(timeout, timeout + 1)
    )
    return open_raft_node(pinned if timeout else core, start)


def messages_of(core):
    sent = []
    while core.has_ready():
        ready = core.ready()
        sent += [*ready.messages, *ready.persisted_messages]
        core.on_persist_ready(ready.number)
    return sent


def elect(cores, ticks):
    """Let time pass and messages arrive at once; returns who leads, or 0."""
    for _ in range(ticks):
        for core in cores.values():
            core.tick()
        moving = True
        while moving:
            moving = False
            for core in cores.values():
                for to, _, message in messages_of(core):
                    if to in cores:
                        cores[to].step(message)
                        moving = True
        if leading := [one for one, core in cores.items() if core.is_leader]:
            return leading[0]
    return 0


def test_a_newer_and_an_older_member_do_not_refuse_each_other_for_ever(tmp_path):
    # The third is down. The newer one's log is longer, the older one's is of a newer term, so
    # only the older one can be elected: a preference by raft's priorities would forbid it.
    cores = {
        1: node(1, NEW, tmp_path, [(2, 1), (3, 2), (4, 2)], 0),
        2: node(2, OLD, tmp_path, [(2, 1), (3, 3)], 0),
    }

    assert elect(cores, 400) == 2


@pytest.mark.parametrize(("own", "held"), [(OLD, True), (NEW, False)])
def test_requests_for_votes_stay_here_while_a_newer_member_may_lead(tmp_path, own, held):
    candidate = node(2, own, tmp_path, [(2, 1)], 10)
    for _ in range(10):
        candidate.tick()
    campaign = messages_of(candidate)
    version_preference = VersionPreference(own, timeout=1.0)
    version_preference.update({1: "0.3.0", 3: "0.4.0"})

    sent = version_preference.sift(campaign, (1, 3), 0.5)

    assert [message[:2] for message in campaign] == [
        (1, "pre_vote_request"),
        (3, "pre_vote_request"),
    ]
    assert sent == ([] if held else campaign)
    assert version_preference.sift(campaign, (1, 3), 1.0) == campaign
    assert version_preference.sift(campaign, (1,), 0.5) == campaign  # 3 is a learner or gone


def test_a_newer_member_that_was_refused_for_its_log_is_not_waited_for(tmp_path):
    own = node(2, OLD, tmp_path, [(2, 1), (3, 3)], 12)
    newer = node(3, NEW, tmp_path, [(2, 1)], 10)
    version_preference = VersionPreference(OLD, timeout=1.0)
    version_preference.update({3: "0.4.0"})
    for _ in range(11):
        own.tick()
        newer.tick()
    for _, _, message in (one for one in messages_of(newer) if one[0] == 2):
        own.step(message)

    answers = version_preference.sift(messages_of(own), (1, 3), 0.0)
    own.tick()
    campaign = messages_of(own)

    assert [kind for to, kind, _ in answers if to == 3] == ["pre_vote_rejection"]
    assert version_preference.sift(campaign, (1, 3), 0.1) == campaign
    version_preference.leader_found()
    assert version_preference.sift(campaign, (1, 3), 0.1) == []


def test_a_vote_that_was_granted_is_no_refusal(tmp_path):
    own = node(2, OLD, tmp_path, [(2, 1)], 12)
    newer = node(3, NEW, tmp_path, [(2, 1), (3, 3)], 10)
    for _ in range(11):
        own.tick()
        newer.tick()
    for _, _, message in (one for one in messages_of(newer) if one[0] == 2):
        own.step(message)

    assert "pre_vote_rejection" not in [kind for _, kind, _ in messages_of(own)]
