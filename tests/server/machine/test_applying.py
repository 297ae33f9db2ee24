"""What entries do to the data, and what their proposers are answered."""

from collections.abc import Sequence

import pytest
from amaters_server.machine.codec import ProposalId, encode_restore, encode_writes
from amaters_server.machine.machine import Applied, Machine
from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.machine.sessions import digest, put_digest
from amaters_server.model.errors import (
    MalformedError,
    NotReadyError,
    OutcomeUnknownError,
    RequestIdReusedError,
    SnapshotError,
    StorageCorruptedError,
)
from amaters_server.model.keys import DataKey, data_key
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Scan, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.engine import Space
from amaters_server.storage.memory import MemoryEngine

A, B, C = (data_key("c", name) for name in (b"a", b"b", b"c"))
END = DataKey(data_key("c", b"") + b"\xff")


class Log:
    """A machine and the log it has applied, one proposal after the other."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.machine = Machine(self.engine)
        self.index = 0

    def propose(self, *commands: Sequence[Operation], session: tuple[bytes, int] = (b"", 0)):
        writes = [Write(0, operations, 0.0, *session) for operations in commands]
        return self.apply(encode_writes(ProposalId(1, 1, self.index + 1), writes, unix_ms=0))[0]

    def restore(self, kind: RestoreKind, number: int = 1, *puts: Put, count: int = 0):
        step = RestoreStep(kind, number, puts, count)
        return self.apply(encode_restore(ProposalId(1, 1, self.index + 1), step, unix_ms=0))[0][0]

    def apply(self, *datas: bytes):
        applied = self.machine.apply([self.committed(data) for data in datas])
        return [outcome.results for outcome in applied.outcomes]

    def committed(self, data: bytes) -> Committed:
        self.index += 1
        return Committed(self.index, 1, EntryKind.NORMAL, data)

    def write(self, applied: Applied) -> None:
        self.engine.write(applied.changes, sync=False)
        self.machine.written(applied.version)


@pytest.fixture
def log() -> Log:
    return Log()


def test_every_caller_gets_the_answers_of_its_own_operations(log: Log) -> None:
    answers = log.propose([Put(A, b"1")], [Put(B, b"2"), Get(A), Get(C)], [Remove(A)])

    assert answers == [[1], [1, b"1", None], [1]]


def test_deleting_an_absent_key_still_answers_one_row(log: Log) -> None:
    assert log.propose([Remove(C)]) == [[1]]


def test_reads_inside_a_command_see_the_writes_before_them_and_not_those_after(log: Log) -> None:
    log.propose([Put(A, b"old")])

    answers = log.propose(
        [Get(A), Put(A, b"new"), Get(A), Remove(A), Get(A), Scan(A, END, None), Put(B, b"2")],
        [Scan(A, END, None)],
    )

    assert answers == [[b"old", 1, b"new", 1, None, [], 1], [[(B, b"2")]]]


def test_a_scan_inside_a_command_keeps_to_its_limit(log: Log) -> None:
    log.propose([Put(A, b"1"), Put(B, b"2"), Put(C, b"3")])

    answers = log.propose([Put(A, b"1"), Scan(A, END, 2), Scan(A, END, 0), Scan(A, C, None)])

    assert answers == [[1, [(A, b"1"), (B, b"2")], [], [(A, b"1"), (B, b"2")]]]


def test_one_malformed_command_gets_an_error_and_the_others_proceed(log: Log) -> None:
    good, bad, other = log.propose([Put(A, b"1")], [Put(B, b"2"), Get(DataKey(b""))], [Put(C, b"")])

    assert (good, other) == ([1], [1])
    assert isinstance(bad, MalformedError)
    assert log.machine.get_many([A, B, C]) == [b"1", None, b""]


def test_bytes_that_are_no_entry_stop_the_run_before_any_of_it_shows(log: Log) -> None:
    good = encode_writes(ProposalId(1, 1, 1), [Write(0, [Put(A, b"1")], 0.0)], unix_ms=0)

    with pytest.raises(StorageCorruptedError, match="log entry 2"):
        log.apply(good, b"\xff\xff\xff")

    assert log.machine.get(A) is None
    assert log.machine.applied_index == 0


def test_a_new_leaders_empty_entry_only_moves_the_applied_index(log: Log) -> None:
    assert log.apply(b"") == []
    assert (log.machine.applied_index, log.machine.applied_term) == (1, 1)


def propose_as(log: Log, proposal: ProposalId, key: DataKey):
    data = encode_writes(proposal, [Write(0, [Put(key, b"v")], 0.0)], unix_ms=0)
    return log.machine.apply([log.committed(data)]).outcomes[0]


@pytest.mark.parametrize(
    ("late", "why"),
    [
        (ProposalId(1, 5, 7), "it was applied already"),
        (ProposalId(1, 5, 6), "a later one of that life was applied"),
        (ProposalId(1, 4, 9), "it is from an earlier life of that member"),
    ],
)
def test_a_late_proposal_is_skipped(log: Log, late: ProposalId, why: str) -> None:
    propose_as(log, ProposalId(1, 5, 7), A)

    outcome = propose_as(log, late, B)

    assert outcome.skipped, why
    assert outcome.results == []
    assert (outcome.origin, outcome.incarnation, outcome.sequence) == late
    assert log.machine.get(B) is None


def test_members_do_not_hold_back_each_other_and_a_new_life_may_count_from_one(log: Log) -> None:
    propose_as(log, ProposalId(1, 5, 7), A)

    assert not propose_as(log, ProposalId(2, 1, 1), B).skipped
    assert not propose_as(log, ProposalId(1, 6, 1), C).skipped


def test_a_repeated_write_of_a_session_is_answered_again_and_not_applied_again(log: Log) -> None:
    first = log.propose([Put(A, b"1"), Get(B)], session=(b"s", 1))
    log.propose([Put(A, b"2"), Put(B, b"x")])

    again = log.propose([Put(A, b"1"), Get(B)], session=(b"s", 1))

    assert again == first == [[1, None]]
    assert log.machine.get(A) == b"2"


def test_an_overtaken_write_of_a_session_is_refused(log: Log) -> None:
    log.propose([Put(A, b"2")], session=(b"s", 2))

    (answer,) = log.propose([Put(A, b"1")], session=(b"s", 1))

    assert isinstance(answer, OutcomeUnknownError)
    assert log.machine.get(A) == b"2"


def test_a_session_sequence_of_zero_is_malformed(log: Log) -> None:
    (answer,) = log.propose([Put(A, b"1")], session=(b"s", 0))

    assert isinstance(answer, MalformedError)


def test_a_session_is_known_again_after_a_restart(log: Log) -> None:
    data = encode_writes(
        ProposalId(1, 1, 1), [Write(0, [Put(A, b"1"), Get(B)], 0.0, b"s", 1)], unix_ms=0
    )
    log.write(log.machine.apply([log.committed(data)]))
    log.machine = Machine(log.engine)

    assert log.propose([Put(A, b"1"), Get(B)], session=(b"s", 1)) == [[1, None]]
    (reused,) = log.propose([Put(A, b"other")], session=(b"s", 1))
    assert isinstance(reused, RequestIdReusedError)
    assert log.machine.get(A) == b"1"


OTHER_CONTENTS = [
    [Put(A, b"2")],
    [Put(B, b"1")],
    [Remove(A)],
    [Put(A, b"1"), Put(B, b"1")],
    Columns([A], [None]),
    Columns([A, B], [b"1", b"1"]),
]


@pytest.mark.parametrize("other", OTHER_CONTENTS, ids=str)
def test_a_sequence_used_again_with_other_content_is_an_error_and_writes_nothing(
    log: Log, other
) -> None:
    log.propose([Put(A, b"1")], session=(b"s", 1))

    (answer,) = log.propose(other, session=(b"s", 1))

    assert isinstance(answer, RequestIdReusedError)
    assert "nothing was written" in str(answer)
    assert (log.machine.get(A), log.machine.get(B)) == (b"1", None)
    assert log.propose([Put(A, b"1")], session=(b"s", 1)) == [[1]]


@pytest.mark.parametrize("value", [b"", b"-", b"remove", b"?"])
@pytest.mark.parametrize("beside", [[], [Put(B, b"1")]], ids=["alone", "in a batch"])
def test_a_put_is_never_taken_for_a_removal_or_a_read(value: bytes, beside: list[Put]) -> None:
    kinds = [Put(A, value), Remove(A), Get(A), Scan(A, DataKey(b""), None)]

    digests = {digest([one, *beside]) for one in kinds}

    assert len(digests) == len(kinds)
    assert digest(Columns([A], [value])) == digest([Put(A, value)]) == put_digest(A, value)
    assert digest(Columns([A], [None])) == digest([Remove(A)])


def test_a_removal_under_the_request_id_of_a_put_is_refused_whatever_the_value(log: Log) -> None:
    log.propose([Put(A, b"-")], session=(b"s", 1))

    (answer,) = log.propose([Remove(A)], session=(b"s", 1))

    assert isinstance(answer, RequestIdReusedError)
    assert log.machine.get(A) == b"-"


def test_the_same_content_is_the_same_however_it_is_spelled(log: Log) -> None:
    log.propose(Columns([A], [b"1"]), session=(b"s", 1))

    assert log.propose([Put(A, b"1")], session=(b"s", 1)) == [[1]]


def test_a_session_that_an_earlier_version_kept_takes_any_content_of_its_length(log: Log) -> None:
    log.propose([Put(A, b"1")], session=(b"s", 1))
    ((_, kept),) = list(log.machine._replicated._sessions._sessions.items())
    log.machine._replicated._sessions._sessions[b"s"] = kept._replace(digest=0)

    assert log.propose([Put(A, b"2")], session=(b"s", 1)) == [[1]]
    (longer,) = log.propose([Put(A, b"1"), Put(B, b"1")], session=(b"s", 1))
    assert isinstance(longer, RequestIdReusedError)


def test_a_restore_replaces_everything_and_refuses_clients_meanwhile(log: Log) -> None:
    log.propose([Put(A, b"old")])

    assert log.restore(RestoreKind.BEGIN) == [0]
    assert log.machine.restoring
    assert log.machine.get(A) is None
    (refused,) = log.propose([Put(C, b"client")])
    assert isinstance(refused, NotReadyError)
    assert log.restore(RestoreKind.LOAD, 1, Put(B, b"1")) == [1]
    assert log.restore(RestoreKind.END, 1, count=1) == [0]

    assert not log.machine.restoring
    assert log.machine.get_many([A, B, C]) == [None, b"1", None]


def test_a_refused_write_of_a_session_may_be_repeated_after_the_restore(log: Log) -> None:
    log.restore(RestoreKind.BEGIN)
    log.propose([Put(A, b"1")], session=(b"s", 1))
    log.restore(RestoreKind.END)

    assert log.propose([Put(A, b"1")], session=(b"s", 1)) == [[1]]
    assert log.machine.get(A) == b"1"


def test_a_restore_does_not_end_with_records_missing(log: Log) -> None:
    log.restore(RestoreKind.BEGIN)
    log.restore(RestoreKind.LOAD, 1, Put(B, b"1"))

    answer = log.restore(RestoreKind.END, 1, count=2)

    assert isinstance(answer, SnapshotError)
    assert log.machine.restoring


def test_a_restore_that_is_given_up_leaves_nothing(log: Log) -> None:
    log.restore(RestoreKind.BEGIN)
    log.restore(RestoreKind.LOAD, 1, Put(B, b"1"))

    assert log.restore(RestoreKind.ABORT) == [0]

    assert not log.machine.restoring
    assert log.machine.get(B) is None


@pytest.mark.parametrize("kind", [RestoreKind.LOAD, RestoreKind.END, RestoreKind.ABORT])
def test_steps_of_no_restore_or_of_an_overtaken_one_are_refused(
    log: Log, kind: RestoreKind
) -> None:
    assert isinstance(log.restore(kind, 1, Put(A, b"1")), SnapshotError)
    log.restore(RestoreKind.BEGIN, 1)
    log.restore(RestoreKind.BEGIN, 2)

    assert isinstance(log.restore(kind, 1, Put(A, b"1")), SnapshotError)
    assert log.machine.restoring
    assert log.machine.get(A) is None


def test_a_restore_inside_one_run_hides_what_was_there_before(log: Log) -> None:
    log.propose([Put(A, b"old"), Put(B, b"old")])
    steps = [
        RestoreStep(RestoreKind.BEGIN, 1),
        RestoreStep(RestoreKind.LOAD, 1, (Put(B, b"new"),)),
        RestoreStep(RestoreKind.END, 1, record_count=1),
    ]
    run = [
        encode_restore(ProposalId(1, 2, n), step, unix_ms=0)
        for n, step in enumerate(steps, start=1)
    ]
    reads = [Put(C, b""), Get(A), Get(B), Scan(A, END, None)]
    run.append(encode_writes(ProposalId(1, 2, 9), [Write(0, reads, 0.0)], unix_ms=0))

    answers = log.apply(*run)

    assert answers[-1] == [[1, None, b"new", [(B, b"new"), (C, b"")]]]


def test_writes_and_a_restore_written_as_one_batch_leave_only_what_was_restored(log: Log) -> None:
    data = encode_writes(ProposalId(1, 1, 1), [Write(0, [Put(A, b"old")], 0.0)], unix_ms=0)
    merged = log.machine.apply([log.committed(data)])
    begin = encode_restore(ProposalId(1, 1, 2), RestoreStep(RestoreKind.BEGIN, 1), unix_ms=0)
    later = log.machine.apply([log.committed(begin)])
    merged.changes.extend(later.changes)

    log.engine.write(merged.changes, sync=False)
    log.machine.written(later.version)

    assert log.engine.get(Space.DATA, A) is None
    assert log.machine.restoring
    assert Machine(log.engine).restoring
