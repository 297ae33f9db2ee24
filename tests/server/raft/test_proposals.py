"""What becomes of this node's own proposals: answered, repeated, given up, never twice."""

from amaters_server.model.errors import (
    DeadlineError,
    NoLeaderError,
    NotLeaderError,
    OutcomeUnknownError,
)
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Put, Write
from amaters_server.model.replication import Outcome
from amaters_server.raft.proposal import MAX_ENTRY_BYTES, Origin
from amaters_server.raft.proposals import MAX_IN_FLIGHT, Proposals, Timeouts

ORIGIN = Origin(1, 7)
NO_LEADER = NoLeaderError(node=1)


def write(ticket, deadline=100.0, size=1, *, forward=True):
    return Write(ticket, [Put(data_key("c", b"k"), b"v" * size)], deadline, forward=forward)


def entry_of(sequence):
    return b"entry %d" % sequence


def applied(sequence, results, *, origin=ORIGIN, skipped=False, entry=None):
    entry = entry_of(sequence) if entry is None else entry
    return Outcome(origin.node_id, origin.incarnation, sequence, results, entry, skipped)


class Raft:
    """Accepts proposals until it is set to refuse them."""

    def __init__(self):
        self.proposed = []
        self.refuses = False

    def __call__(self, sequence, writes):
        if self.refuses:
            return None
        self.proposed.append((sequence, [one.ticket for one in writes]))
        return entry_of(sequence)


class Caller:
    """Collects answers by ticket."""

    def __init__(self):
        self.answers = {}

    def __call__(self, answered):
        for ticket, answer in answered:
            assert ticket not in self.answers, f"ticket {ticket} was answered twice"
            self.answers[ticket] = answer


def setup():
    return Proposals(ORIGIN, Timeouts(for_an_outcome=1.0, for_a_leader=3.0)), Raft(), Caller()


def deliver(deliveries):
    for answers, answered in deliveries:
        answers(answered)


def test_each_write_of_an_entry_gets_its_own_result():
    proposals, raft, caller = setup()
    proposals.submit([write(10), write(11)], caller, now=0)
    proposals.launch(raft, now=0)

    deliver(proposals.resolve(applied(1, [[1], NO_LEADER]), now=1))

    assert raft.proposed == [(1, [10, 11])]
    assert caller.answers == {10: [1], 11: NO_LEADER}
    assert proposals.count == 0


def test_entries_of_others_and_of_earlier_lives_are_not_ours():
    proposals, raft, caller = setup()
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)

    deliver(proposals.resolve(applied(1, [[1]], origin=Origin(2, 7)), now=1))
    deliver(proposals.resolve(applied(1, [[1]], origin=Origin(1, 6)), now=1))

    assert caller.answers == {}


def test_what_was_overtaken_is_proposed_again_under_a_new_number():
    proposals, raft, caller = setup()
    for ticket in (10, 11, 12):
        proposals.submit([write(ticket)], caller, now=0)
        proposals.launch(raft, now=0)

    deliver(proposals.resolve(applied(3, [[1]]), now=1))
    proposals.launch(raft, now=1)
    deliver(proposals.resolve(applied(4, [[1]]), now=2))
    deliver(proposals.resolve(applied(5, [[1]]), now=2))

    assert raft.proposed[3:] == [(4, [10]), (5, [11])]
    assert set(caller.answers) == {10, 11, 12}
    assert proposals.repeated == 2


def test_a_skipped_entry_decides_nothing_any_more():
    proposals, raft, caller = setup()
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)
    proposals.submit([write(11)], caller, now=0)
    proposals.launch(raft, now=0)
    deliver(proposals.resolve(applied(2, [[1]]), now=1))

    deliver(proposals.resolve(applied(1, [], skipped=True), now=1))
    proposals.launch(raft, now=1)
    deliver(proposals.resolve(applied(3, [[1]]), now=1))

    assert caller.answers == {10: [1], 11: [1]}


def test_an_entry_that_takes_this_nodes_name_voids_what_is_before_it_and_asks_for_a_new_one():
    for claim in (Origin(1, 8), Origin(1, 2**64 - 1)):
        proposals, raft, caller = setup()
        proposals.submit([write(10)], caller, now=0)
        proposals.launch(raft, now=0)

        deliver(proposals.resolve(applied(1, [], origin=claim), now=1))
        deliver(proposals.resolve(applied(1, [], skipped=True), now=1))

        assert proposals.name_taken
        assert proposals.parked
        assert caller.answers == {}


def test_a_number_that_was_not_used_yet_is_a_taken_name_too():
    proposals, raft, caller = setup()
    for ticket in (10, 11):
        proposals.submit([write(ticket)], caller, now=0)
        proposals.launch(raft, now=0)
    deliver(proposals.resolve(applied(1, [[1]]), now=1))
    assert not proposals.name_taken

    deliver(proposals.resolve(applied(9, [[1]]), now=1))

    assert proposals.name_taken
    assert caller.answers == {10: [1]}


def test_a_skipped_entry_in_flight_shows_that_a_later_one_was_applied_unseen():
    proposals, raft, caller = setup()
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)

    deliver(proposals.resolve(applied(1, [], skipped=True), now=1))

    assert proposals.name_taken
    assert proposals.parked


def test_only_the_entry_that_was_proposed_answers_the_writes_under_its_number():
    for results in ([], [[1]], [[1], [1]]):
        proposals, raft, caller = setup()
        proposals.submit([write(10)], caller, now=0)
        proposals.launch(raft, now=0)

        deliver(proposals.resolve(applied(1, results, entry=b"forged"), now=1))

        assert proposals.name_taken
        assert proposals.parked
        assert caller.answers == {}


def test_a_later_incarnation_goes_on_and_nothing_is_answered_or_applied_twice():
    proposals, raft, caller = setup()
    for ticket in (10, 11, 12):
        proposals.submit([write(ticket)], caller, now=0)
        proposals.launch(raft, now=0)
    later = Origin(1, 9)

    # Taken between the first and the third: the third may still be applied, and is not repeated.
    deliver(proposals.resolve(applied(1, [[1]]), now=1))
    deliver(proposals.resolve(applied(2, [], entry=b"forged"), now=1))
    proposals.renew(later)
    proposals.launch(raft, now=2)
    deliver(proposals.resolve(applied(3, [[1]]), now=2))
    deliver(proposals.resolve(applied(1, [[1]], origin=later), now=2))

    assert raft.proposed[3:] == [(1, [11])]
    assert caller.answers == {10: [1], 11: [1], 12: [1]}
    assert proposals.count == 0


def test_silence_after_a_change_of_leader_is_broken_by_a_barrier():
    proposals, raft, caller = setup()
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)
    proposals.barrier(raft, now=0.1)

    proposals.suspect_loss()
    proposals.barrier(raft, now=0.2)
    proposals.barrier(raft, now=0.3)
    deliver(proposals.resolve(applied(2, []), now=0.4))
    proposals.launch(raft, now=0.4)

    assert raft.proposed == [(1, [10]), (2, []), (3, [10])]


def test_long_silence_is_broken_by_a_barrier_too():
    proposals, raft, caller = setup()
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)

    proposals.barrier(raft, now=0.9)
    proposals.barrier(raft, now=1.1)
    proposals.barrier(raft, now=1.9)
    proposals.barrier(raft, now=2.2)

    assert raft.proposed == [(1, [10]), (2, []), (3, [])]


def test_time_out_in_flight_is_unknown_and_the_others_of_the_entry_keep_waiting():
    proposals, raft, caller = setup()
    proposals.submit([write(10, deadline=1), write(11, deadline=50)], caller, now=0)
    proposals.launch(raft, now=0)

    deliver(proposals.expire(2, None))
    deliver(proposals.resolve(applied(1, [[1], [1]]), now=3))

    assert isinstance(caller.answers[10], OutcomeUnknownError)
    assert caller.answers[11] == [1]
    assert proposals.unknown == 1


def test_time_out_before_anything_was_proposed_changed_nothing():
    proposals, raft, caller = setup()
    raft.refuses = True
    proposals.submit([write(10, deadline=1)], caller, now=0)
    proposals.launch(raft, now=0)

    deliver(proposals.expire(2, None))

    assert isinstance(caller.answers[10], DeadlineError)
    assert not proposals.parked


def test_parked_writes_hear_when_no_leader_is_found():
    proposals, raft, caller = setup()
    raft.refuses = True
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)

    deliver(proposals.expire(2.9, NO_LEADER))
    assert caller.answers == {}
    deliver(proposals.expire(3.1, NO_LEADER))

    assert caller.answers == {10: NO_LEADER}
    assert proposals.count == 0


def test_a_write_that_timed_out_in_flight_is_not_proposed_again():
    proposals, raft, caller = setup()
    proposals.submit([write(10, deadline=1), write(11)], caller, now=0)
    proposals.launch(raft, now=0)
    proposals.submit([write(12)], caller, now=0)
    proposals.launch(raft, now=0)
    deliver(proposals.expire(2, None))

    deliver(proposals.resolve(applied(2, [[1]]), now=3))
    proposals.launch(raft, now=3)

    assert raft.proposed[2:] == [(3, [11])]


def test_only_writes_that_must_stay_local_are_refused_on_a_follower():
    proposals, raft, caller = setup()
    raft.refuses = True
    proposals.submit([write(10, forward=False), write(11)], caller, now=0)
    refusal = NotLeaderError(node=1, leader=2, leader_address="there:1")

    deliver(proposals.refuse_local_only(refusal))
    raft.refuses = False
    proposals.launch(raft, now=0)

    assert caller.answers == {10: refusal}
    assert raft.proposed == [(1, [11])]


def test_large_writes_are_spread_over_entries():
    proposals, raft, caller = setup()
    third = MAX_ENTRY_BYTES // 3
    proposals.submit([write(ticket, size=third) for ticket in range(5)], caller, now=0)

    proposals.launch(raft, now=0)

    assert raft.proposed == [(1, [0, 1]), (2, [2, 3]), (3, [4])]


def test_after_a_snapshot_nobody_knows_what_was_in_it():
    proposals, raft, caller = setup()
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)
    unknown = OutcomeUnknownError("a snapshot")

    deliver(proposals.abandon(unknown, None))
    deliver(proposals.resolve(applied(1, [[1]]), now=1))

    assert caller.answers == {10: unknown}
    assert proposals.count == 0


def under_way(proposals, raft, caller):
    """Have as many entries under way as there may be, and two writes waiting behind them."""
    for ticket in range(MAX_IN_FLIGHT):
        proposals.submit([write(ticket)], caller, now=0)
        proposals.launch(raft, now=0)
    proposals.submit([write(10)], caller, now=0)
    proposals.launch(raft, now=0)
    proposals.submit([write(11, deadline=5)], caller, now=0)
    proposals.launch(raft, now=0)


def test_writes_gather_while_enough_entries_are_under_way():
    proposals, raft, caller = setup()
    under_way(proposals, raft, caller)
    assert len(raft.proposed) == MAX_IN_FLIGHT

    deliver(proposals.resolve(applied(1, [[1]]), now=1))
    proposals.launch(raft, now=1)
    deliver(proposals.resolve(applied(MAX_IN_FLIGHT + 1, [[1], [2]]), now=2))

    assert raft.proposed[-1] == (MAX_IN_FLIGHT + 1, [10, 11])
    assert (caller.answers[10], caller.answers[11]) == ([1], [2])


def test_gathered_writes_keep_their_own_deadlines():
    proposals, raft, caller = setup()
    under_way(proposals, raft, caller)

    deliver(proposals.expire(6, None))

    assert isinstance(caller.answers[11], DeadlineError)
    assert 10 not in caller.answers


def test_a_full_entry_waits_for_no_other():
    proposals, raft, caller = setup()
    under_way(proposals, raft, caller)

    proposals.submit([write(12, size=MAX_ENTRY_BYTES)], caller, now=0)
    proposals.launch(raft, now=0)

    assert raft.proposed[-1] == (MAX_IN_FLIGHT + 1, [10, 11])


def test_entries_that_went_to_an_old_leader_keep_nobody_waiting():
    proposals, raft, caller = setup()
    under_way(proposals, raft, caller)

    proposals.suspect_loss()
    proposals.launch(raft, now=1)

    assert raft.proposed[-1] == (MAX_IN_FLIGHT + 1, [10, 11])


def test_writes_of_different_callers_share_no_entry():
    proposals, raft, caller = setup()
    under_way(proposals, raft, caller)
    other = Caller()

    proposals.submit([write(10)], other, now=0)
    deliver(proposals.resolve(applied(1, [[1]]), now=1))
    proposals.launch(raft, now=1)

    assert raft.proposed[-1] == (MAX_IN_FLIGHT + 1, [10, 11])
