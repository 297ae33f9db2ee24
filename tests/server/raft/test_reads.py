"""Linearizable reads: shared barriers, repeated when lost, answered in time or refused."""

from amaters_server.model.errors import DeadlineError, NoLeaderError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Get, Read
from amaters_server.raft.proposal import Origin
from amaters_server.raft.reads import MAX_BARRIERS, Reads

NO_LEADER = NoLeaderError(node=1)


def read(ticket, deadline=100.0):
    return Read(ticket, [Get(data_key("c", b"k"))], deadline)


class Raft:
    def __init__(self):
        self.asked = []
        self.deaf = False

    def __call__(self, name):
        if not self.deaf:
            self.asked.append(name)
        return not self.deaf


def setup():
    reads = Reads(Origin(1, 7, b"a secret"), repeat_soon=0.125, repeat_after=1.0, give_up_after=3.0)
    return reads, Raft(), {}


def tickets(batches):
    return [one.ticket for batch in batches for one in batch.reads]


def test_reads_that_arrive_together_share_a_barrier():
    reads, raft, answers = setup()
    reads.submit([read(1), read(2)], answers.update, now=0)
    reads.submit([read(3)], answers.update, now=0)
    reads.ask(raft, now=0)

    reads.confirm(9, raft.asked[0])

    assert len(raft.asked) == 1
    assert tickets(reads.ready(applied=8)) == []
    assert tickets(reads.ready(applied=9)) == [1, 2, 3]
    assert reads.count == 0


def test_an_answer_under_a_foretold_name_confirms_nothing():
    reads, raft, answers = setup()
    reads.submit([read(1)], answers.update, now=0)
    reads.ask(raft, now=0)
    node, incarnation, number = (one.to_bytes(8, "big") for one in (1, 7, 0))

    for foretold in (node + incarnation + number, node + incarnation + bytes(8) + number):
        reads.confirm(0, foretold)

    assert tickets(reads.ready(applied=9)) == []
    reads.confirm(9, raft.asked[0])
    assert tickets(reads.ready(applied=9)) == [1]


def test_a_read_never_rides_on_a_barrier_asked_before_it_arrived():
    reads, raft, answers = setup()
    reads.submit([read(1)], answers.update, now=0)
    reads.ask(raft, now=0)
    reads.submit([read(2)], answers.update, now=0.1)

    reads.confirm(9, raft.asked[0])

    assert tickets(reads.ready(applied=9)) == [1]


def test_only_so_many_barriers_are_under_way():
    reads, raft, answers = setup()
    for ticket in range(10):
        reads.submit([read(ticket)], answers.update, now=0)
        reads.ask(raft, now=0)

    assert len(raft.asked) == MAX_BARRIERS
    reads.confirm(1, raft.asked[0])
    reads.ask(raft, now=0)
    reads.confirm(1, raft.asked[-1])

    assert tickets(reads.ready(applied=1)) == [0, *range(MAX_BARRIERS, 10)]


def test_a_lost_barrier_is_asked_again_under_another_name():
    reads, raft, answers = setup()
    reads.submit([read(1)], answers.update, now=0)
    reads.ask(raft, now=0)

    reads.repeat(now=0.9)
    reads.ask(raft, now=0.9)
    assert len(raft.asked) == 1
    reads.repeat(now=1.0)
    reads.ask(raft, now=1.0)

    assert len(set(raft.asked)) == 2
    reads.confirm(5, raft.asked[0])
    assert tickets(reads.ready(applied=5)) == []
    reads.confirm(6, raft.asked[1])
    assert tickets(reads.ready(applied=6)) == [1]


def test_a_change_of_leader_asks_again_at_once():
    reads, raft, answers = setup()
    reads.submit([read(1)], answers.update, now=0)
    reads.ask(raft, now=0)

    reads.suspect_loss()
    reads.ask(raft, now=0.01)

    assert len(raft.asked) == 2


def test_a_barrier_that_a_new_leader_dropped_is_repeated_soon_and_then_ever_more_slowly():
    reads, raft, answers = setup()
    reads.submit([read(1)], answers.update, now=0)
    reads.ask(raft, now=0)
    reads.suspect_loss()

    asked_at = []
    for tick in range(40):
        reads.repeat(now=tick / 16)
        before = len(raft.asked)
        reads.ask(raft, now=tick / 16)
        asked_at += [tick / 16] * (len(raft.asked) - before)
    assert asked_at == [0, 0.125, 0.375, 0.875, 1.875]

    reads.confirm(6, raft.asked[-1])
    assert tickets(reads.ready(applied=6)) == [1]
    reads.submit([read(2)], answers.update, now=3)
    reads.ask(raft, now=3)
    reads.repeat(now=3.9)
    reads.ask(raft, now=3.9)
    assert len(raft.asked) == 1 + 5 + 1


def test_a_barrier_that_a_later_one_overtook_is_lost_and_asked_again_at_once():
    reads, raft, answers = setup()
    for ticket in (1, 2, 3):
        reads.submit([read(ticket)], answers.update, now=0)
        reads.ask(raft, now=0)

    reads.confirm(9, raft.asked[1])
    reads.ask(raft, now=0)
    reads.confirm(9, raft.asked[3])

    assert tickets(reads.ready(applied=9)) == [2, 1]
    reads.confirm(9, raft.asked[0])
    assert tickets(reads.ready(applied=9)) == []


def test_every_read_is_refused_when_its_own_time_is_up():
    reads, raft, answers = setup()
    reads.submit([read(1, deadline=1), read(2, deadline=9)], answers.update, now=0)
    reads.ask(raft, now=0)

    for deliver, answered in reads.expire(2, None):
        deliver(answered)
    reads.confirm(5, raft.asked[0])

    assert isinstance(answers.pop(1), DeadlineError)
    assert answers == {}
    assert tickets(reads.ready(applied=5)) == [2]
    assert reads.count == 0


def test_reads_hear_when_no_leader_is_found():
    reads, raft, answers = setup()
    raft.deaf = True
    reads.submit([read(1)], answers.update, now=0)
    reads.ask(raft, now=0)

    assert reads.expire(2.9, NO_LEADER) == []
    for deliver, answered in reads.expire(3.0, NO_LEADER):
        deliver(answered)

    assert answers == {1: NO_LEADER}
