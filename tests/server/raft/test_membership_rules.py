"""Which membership changes are allowed, and what is said about the others."""

from dataclasses import replace

import pytest
from amaters_server.model.cluster import ConfState, Member, Membership
from amaters_server.model.errors import MembershipError
from amaters_server.model.versions import UNKNOWN
from amaters_server.raft import membership as rules
from amaters_server.raft.membership import Following, LeaderView
from amaters_server.raft.version_preference import TransferTarget


def member(node, *, learner=False, disk="disk"):
    return Member(node, f"n{node}", f"n{node}:1", f"n{node}:2", is_learner=learner, disk_id=disk)


def cluster(*members, highest=None):
    voters = tuple(one.id for one in members if not one.is_learner)
    ids = [one.id for one in members]
    return Membership("c", members, ConfState(voters), highest or max(ids))


def view(*alive, last=1000, matched=1000, leader=1):
    return LeaderView(leader, last, {one: Following(matched, True) for one in alive})


THREE = (member(1), member(2), member(3))


def add(membership, address="new:1"):
    return rules.add(membership, peer_address=address, client_address="", name="new")


def test_a_new_member_is_a_learner_with_an_id_never_used_before():
    change = add(cluster(*THREE, highest=9))

    assert (change.kind, change.member.id, change.member.is_learner) == ("add_learner", 10, True)


def test_an_address_belongs_to_one_member():
    with pytest.raises(MembershipError, match="member 2 already"):
        add(cluster(*THREE), "n2:1")


def test_only_one_learner_at_a_time():
    with pytest.raises(MembershipError, match="still a learner"):
        add(cluster(*THREE, member(4, learner=True)))


def test_a_learner_is_promoted_once_it_has_caught_up():
    membership = cluster(*THREE, member(4, learner=True))

    with pytest.raises(MembershipError, match="2000 entries behind"):
        rules.promote(membership, 4, view(4, last=3000))
    with pytest.raises(MembershipError, match="does not answer"):
        rules.promote(membership, 4, view(2, 3))
    change = rules.promote(membership, 4, view(4))

    assert (change.kind, change.member.is_learner) == ("add_voter", False)


def test_a_refused_promotion_names_the_real_reason():
    """12 entries are few; the learner lacks the whole state, which no count of entries shows."""
    membership = cluster(*THREE, member(4, learner=True))
    following = {4: Following(0, recent_active=True)}

    with pytest.raises(MembershipError, match="has not received the cluster's state") as refused:
        rules.promote(membership, 4, LeaderView(1, 12, following))

    assert "1000" not in str(refused.value)


def test_a_learner_without_a_disk_is_not_promoted():
    with pytest.raises(MembershipError, match="has not started"):
        rules.promote(cluster(member(1), member(4, learner=True, disk="")), 4, view(4))


def test_a_voter_cannot_be_promoted_and_a_stranger_neither():
    with pytest.raises(MembershipError, match="votes already"):
        rules.promote(cluster(*THREE), 2, view(2))
    with pytest.raises(MembershipError, match="no member 8: the members are 1, 2, 3"):
        rules.promote(cluster(*THREE), 8, view(2))


def test_a_removal_must_leave_a_majority_that_answers():
    membership = cluster(*THREE)

    with pytest.raises(MembershipError, match="only 1 of 2 voters answer"):
        rules.remove(membership, 3, view(3))

    assert rules.remove(membership, 3, view(2)).kind == "remove"
    assert rules.remove(membership, 1, view(2, 3)).kind == "remove"


def test_the_only_voter_stays():
    with pytest.raises(MembershipError, match="only voter"):
        rules.remove(cluster(member(1), member(2, learner=True)), 1, view(2))


def test_a_learner_may_always_go():
    assert rules.remove(cluster(*THREE, member(4, learner=True)), 4, view()).kind == "remove"


def test_a_disk_claims_a_free_member_and_no_other():
    free = cluster(member(1), member(2, learner=True, disk=""))
    taken = cluster(member(1), member(2, learner=True, disk="other"))

    assert rules.claim(free, member(2)).member.disk_id == "disk"
    assert rules.claim(free, member(2)).kind == "add_learner"
    with pytest.raises(MembershipError, match="another disk"):
        rules.claim(taken, member(2))


LONG = "x" * 3_000_000


@pytest.mark.parametrize(
    "harm",
    [
        {"peer_address": LONG},
        {"peer_address": LONG + ":1"},
        {"peer_address": "a\x1b[2J:1"},
        {"peer_address": "a:" + "1" * 5000},
        {"peer_address": "0.0.0.0:1"},
        {"client_address": "a\0b:1"},
        {"name": LONG},
        {"name": "\x1b[2J"},
        {"disk_id": LONG},
    ],
    ids=lambda harm: next(iter(harm)),
)
def test_what_nobody_could_reach_or_print_is_never_recorded(harm):
    """Whoever passed the call on may be no member, or one that checks nothing."""
    membership = cluster(member(1), member(2, disk=""))
    with pytest.raises(MembershipError, match="cannot be recorded") as refused:
        rules.claim(membership, replace(member(2), **harm))
    assert len(str(refused.value)) < 1000

    if "disk_id" not in harm:
        fields = {"peer_address": "new:1", "client_address": "", "name": ""} | harm
        with pytest.raises(MembershipError, match="cannot be recorded"):
            rules.add(membership, **fields)


def test_claiming_what_is_on_record_changes_nothing():
    assert rules.claim(cluster(*THREE), member(2)) is None
    assert rules.claim(cluster(*THREE), Member(2, "", "n2:1", "", disk_id="disk")) is None


def test_even_sizes_are_warned_about():
    assert rules.warnings(cluster(*THREE)) == []
    assert "2 voters survive no more failures than 1" in rules.warnings(cluster(*THREE[:2]))[0]


def test_only_other_voters_that_answer_may_take_leadership_over():
    membership = cluster(*THREE, member(4, learner=True))
    lagging = LeaderView(
        1, 100, {2: Following(90, True), 3: Following(95, True), 4: Following(100, True)}
    )
    gone = LeaderView(1, 100, {2: Following(90, True), 3: Following(95, False)})
    new = (0, 4, 0)

    assert rules.transfer_targets(membership, lagging, {3: new}) == [
        TransferTarget(2, UNKNOWN, 10),
        TransferTarget(3, new, 5),
    ]
    assert rules.transfer_targets(membership, gone, {}) == [TransferTarget(2, UNKNOWN, 10)]
    assert rules.transfer_targets(cluster(member(1)), view(), {}) == []


def test_removed_ids_are_known_by_being_missing():
    membership = cluster(member(1), member(3))

    assert rules.was_removed(membership, 2)
    assert not rules.was_removed(membership, 3)
    assert not rules.was_removed(membership, 4)
