"""No message from the network breaks a node: it is refused, dropped, or taken in good order."""

import hypothesis.strategies as st
import pytest
from amaters_native.consensus import (
    ENTRY_CONF_CHANGE,
    ConsensusError,
    FarTerm,
    RaftNode,
    conf_changes,
    snapshot_offer,
)
from hypothesis import example, given, settings

VOTE, PRE_VOTE = 5, 17
HUP, PROPOSE, APPEND, APPEND_RESPONSE = 0, 2, 3, 4
VOTE_RESPONSE, SNAPSHOT, HEARTBEAT, TRANSFER, TIMEOUT_NOW, READ_INDEX = 6, 7, 8, 13, 14, 15
TYPE, TO, FROM, TERM, LOG_TERM, INDEX, ENTRIES, COMMIT = range(1, 9)
SNAP, REJECT, HINT, CONTEXT, REQUEST_SNAPSHOT, COMMIT_TERM = 9, 10, 11, 12, 13, 15


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def pack(*fields: tuple[int, int | bytes]) -> bytes:
    """Encode protobuf fields: integers as varints, bytes with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def entry(index: int, term: int, data: bytes = b"", kind: int = 0) -> bytes:
    return pack((1, kind), (2, term), (3, index), (4, data))


def snapshot(index: int, term: int, *voters: int) -> bytes:
    members = b"".join(pack((1, voter)) for voter in voters)
    return pack((1, b"image"), (2, pack((1, members), (2, index), (3, term))))


def message(kind: int, term: int = 3, **fields: int | bytes | list[bytes]) -> bytes:
    numbers = {"to": TO, "sender": FROM, "log_term": LOG_TERM, "index": INDEX, "commit": COMMIT}
    numbers |= {"snap": SNAP, "reject": REJECT, "hint": HINT, "context": CONTEXT}
    numbers |= {"request_snapshot": REQUEST_SNAPSHOT, "commit_term": COMMIT_TERM}
    entries = fields.pop("entries", [])
    assert isinstance(entries, list)
    fields = {"to": 1, "sender": 2} | fields
    parts = [(TYPE, kind), (TERM, term), *((numbers[name], fields[name]) for name in fields)]
    return pack(*parts, *((ENTRIES, item) for item in entries))  # type: ignore[arg-type]


def follower(*, check_entries: bool = False) -> RaftNode:
    """Node 1 of three, in term 3, with entries 2..5, of which 3 are committed and applied."""
    return RaftNode(
        id=1,
        election_tick=10,
        heartbeat_tick=2,
        applied=3,
        hard_state=(3, 0, 3),
        conf_state=([1, 2, 3], [], [], [], False),
        snapshot_index=1,
        snapshot_term=1,
        entries=[(index, index // 2 + 1, 0, b"x", b"") for index in range(2, 6)],
        check_entries=check_entries,
    )


def harmless(error: ConsensusError) -> None:
    """Fail unless the node refused, and was not broken by, what it was given."""
    text = str(error)
    assert "contradicted itself" not in text
    assert "is broken" not in text


def work(node: RaftNode) -> None:
    while node.has_ready():
        ready = node.ready()
        node.on_persist_ready(ready.number)
        if ready.snapshot is not None:
            node.advance_apply_to(ready.snapshot[0])
        for item in ready.committed:
            if item[2] == ENTRY_CONF_CHANGE:
                apply(node, item[3])
            node.advance_apply_to(item[0])


def apply(node: RaftNode, data: bytes) -> None:
    try:
        node.apply_conf_change(data)
    except ConsensusError as error:
        harmless(error)


def candidate() -> RaftNode:
    node = follower()
    node.campaign()
    work(node)
    node.step(message(18, term=4, sender=2))
    work(node)
    assert node.role == "candidate"
    return node


def leader() -> RaftNode:
    node = candidate()
    node.step(message(VOTE_RESPONSE, term=4, sender=2))
    work(node)
    assert node.is_leader
    return node


@pytest.mark.parametrize(
    ("hostile", "complaint"),
    [
        (b"\xff", "no raft message"),
        (message(99), "unknown message type 99"),
        (message(HUP), "never travels"),
        (message(HEARTBEAT, to=2), "reached node 1"),
        (message(HEARTBEAT, sender=1), "claims to be from node 1"),
        (message(HEARTBEAT, sender=0), "claims to be from node 0"),
        (message(HEARTBEAT, term=0), "MsgHeartbeat with term 0"),
        (message(PROPOSE, term=3, entries=[entry(0, 0)]), "MsgPropose with term 3"),
        (message(HEARTBEAT, term=2**63), "beyond reason"),
        (message(HEARTBEAT, term=2**62), r"4611686018427387904 is beyond reason.* in term 3"),
        (message(HEARTBEAT, term=3 + 2**20 + 1), "member 2 has to confirm it"),
        (message(APPEND, term=2**60, log_term=2**60), "has to confirm"),
        (message(APPEND_RESPONSE, term=2**60), "has to confirm"),
        (message(VOTE, term=2**60), "has to confirm"),
        (message(PRE_VOTE, term=2**60), "has to confirm"),
        (message(APPEND, log_term=2**60, index=3), "beyond reason"),
        (message(APPEND, index=2**50, log_term=3), "index 1125899906842624 is beyond reason"),
        (message(APPEND, commit=2**50), "beyond reason"),
        (message(APPEND_RESPONSE, reject=1, hint=2**50), "beyond reason"),
        (message(HEARTBEAT, sender=2**63), "claims to be from node 9223372036854775808"),
        (message(PROPOSE, term=0, entries=[entry(0, 0, kind=2)]), "a proposal of type 2"),
        (message(HEARTBEAT, commit=6), "its log ends at 5"),
        (message(APPEND, index=9, log_term=0), "append after index 9 of term 0"),
        (message(APPEND, index=5, log_term=4), "append after term 4 in term 3"),
        (message(APPEND, index=5, log_term=3, entries=[entry(7, 3)]), "cannot follow"),
        (message(APPEND, index=5, log_term=3, entries=[entry(6, 2)]), "cannot follow"),
        (message(APPEND, index=5, log_term=3, entries=[entry(6, 9)]), "cannot follow"),
        (message(APPEND, index=5, log_term=3, entries=[entry(6, 3, kind=5)]), "unknown type 5"),
        (message(PROPOSE, term=0), "without entries"),
        (message(READ_INDEX, term=0), "without its one context"),
        (message(SNAPSHOT, snap=snapshot(2**50, 3, 1)), "index 1125899906842624 is beyond reason"),
        (message(SNAPSHOT), r"snapshot \(0, 0\)"),
        (message(SNAPSHOT, snap=snapshot(9, 4, 1)), r"snapshot \(9, 4\) in term 3"),
        (message(SNAPSHOT, snap=snapshot(9, 3, 1, 1)), "repeat an id"),
        (message(SNAPSHOT, snap=snapshot(3, 1, 1, 2, 3)), "contradicts the committed entry"),
        (message(APPEND_RESPONSE, request_snapshot=1), "which no member sends"),
    ],
)
def test_what_no_member_sends_is_refused_and_changes_nothing(
    hostile: bytes, complaint: str
) -> None:
    node = follower()
    before = repr(node)

    with pytest.raises(ConsensusError, match=complaint):
        node.step(hostile)

    assert repr(node) == before
    node.step(message(HEARTBEAT, commit=5))
    work(node)
    assert node.applied == 5


@pytest.mark.parametrize(
    "hostile",
    [
        # The offer of an image, and what claims to be something else at its begin.
        pack((TO, 1), (FROM, 2), (TERM, 3), (SNAP, snapshot(9, 3, 1, 2, 3)), (TYPE, SNAPSHOT)),
        pack((TYPE, APPEND), (TO, 1), (FROM, 2), (TERM, 3), (TYPE, HEARTBEAT)),
        b"\x08\x87\x00" + pack((TO, 1), (FROM, 2), (TERM, 3), (SNAP, snapshot(9, 3, 1, 2, 3))),
        b"",
    ],
)
def test_a_message_begins_with_its_type(hostile: bytes) -> None:
    node = follower()

    with pytest.raises(ConsensusError, match="does not begin with its type"):
        node.step(hostile)

    assert not node.has_ready()


GARBAGE = b"\xff" * 7
NESTED = b"\xa3\x01" * 99 + b"\xa4\x01" * 99
KEY_OF_SIX_BYTES = b"\x88\x80\x80\x80\x80\x00\x01"
SOUND = pack((1, 2), (6, b"\0\1ck"), (7, b"value"))


@pytest.mark.parametrize(
    "hostile",
    [
        message(PROPOSE, term=0, entries=[entry(0, 0, GARBAGE)]),
        message(PROPOSE, term=0, entries=[entry(0, 0, SOUND), entry(0, 0, GARBAGE)]),
        message(PROPOSE, term=0, entries=[entry(0, 0, SOUND + KEY_OF_SIX_BYTES)]),
        message(PROPOSE, term=0, entries=[entry(0, 0, pack((5, pack((1, pack((1, NESTED)))))))]),
        message(APPEND, index=5, log_term=3, entries=[entry(6, 3, GARBAGE)]),
        message(
            APPEND,
            index=5,
            log_term=3,
            entries=[entry(6, 3, pack((2, pack((1, 0), (2, 2**63)))), kind=2)],
        ),
        message(APPEND, index=5, log_term=3, entries=[entry(6, 3, GARBAGE, kind=2)]),
        message(APPEND, index=5, log_term=3, entries=[entry(6, 3, SOUND + pack((6, b"k")))]),
    ],
)
def test_an_entry_that_nobody_could_apply_is_neither_appended_nor_passed_on(hostile) -> None:
    node = follower(check_entries=True)
    node.step(message(HEARTBEAT))
    work(node)

    with pytest.raises(ConsensusError, match="no member could apply"):
        node.step(hostile)

    assert node.last_index() == 5
    assert not node.has_ready()


def test_sound_entries_are_appended_and_passed_on() -> None:
    node = follower(check_entries=True)
    node.step(message(HEARTBEAT))
    node.step(message(APPEND, index=5, log_term=3, entries=[entry(6, 3, SOUND), entry(7, 3)]))
    work(node)

    node.step(message(PROPOSE, term=0, sender=3, entries=[entry(0, 0, SOUND)]))

    assert node.last_index() == 7
    assert [kind for _, kind, _ in node.ready().persisted_messages] == ["proposal"]


def test_a_proposal_far_above_the_known_incarnations_of_its_origin_is_refused() -> None:
    node = follower(check_entries=True)
    node.step(message(HEARTBEAT))
    work(node)
    node.note_incarnation(2, 7)

    def propose(origin: int, incarnation: int) -> None:
        data = pack((1, origin), (2, incarnation), (3, 1))
        node.step(message(PROPOSE, term=0, sender=3, entries=[entry(0, 0, data)]))

    for member, far in ((2, 8 + 2**20), (2, 2**64 - 1), (3, 1 + 2**20)):
        with pytest.raises(ConsensusError, match=f"incarnation {far}, which is beyond reason"):
            propose(member, far)
    with pytest.raises(ConsensusError, match="9, which is no member"):
        propose(9, 1)
    assert not node.has_ready()

    propose(2, 7 + 2**20)
    propose(2, 6)

    passed_on = node.ready().persisted_messages
    assert [kind for _, kind, _ in passed_on] == ["proposal"] * 2


def test_a_member_that_was_away_for_a_million_elections_comes_back() -> None:
    node = follower()

    node.step(message(HEARTBEAT, term=3 + 2**20))

    assert node.term == 3 + 2**20


def test_a_term_far_ahead_is_believed_once_a_member_was_found_in_it() -> None:
    node = follower()
    far = 2**60
    with pytest.raises(FarTerm):
        node.step(message(HEARTBEAT, term=far))

    node.confirm_term(far - 7)
    node.step(message(HEARTBEAT, term=far))

    assert node.term == far


def test_no_member_confirms_a_term_that_leaves_no_room_for_elections() -> None:
    node = follower()
    node.confirm_term(2**62 - 7)

    with pytest.raises(ConsensusError, match="beyond reason") as refused:
        node.step(message(HEARTBEAT, term=2**62 - 7))

    assert not isinstance(refused.value, FarTerm)


def test_acknowledging_what_was_never_sent_is_refused() -> None:
    node = leader()

    with pytest.raises(ConsensusError, match="the log ends at 6"):
        node.step(message(APPEND_RESPONSE, term=4, index=7))


def test_a_forwarded_wish_that_arrives_late_is_dropped() -> None:
    node = follower()
    node.step(message(HEARTBEAT))
    work(node)

    node.step(message(TRANSFER, sender=3))

    assert not node.has_ready()


def test_forged_votes_win_nothing_while_the_log_is_not_durable() -> None:
    node = follower()
    node.step(message(APPEND, index=5, log_term=3, entries=[entry(6, 3)]))
    unsafe = node.ready()
    for _ in range(40):
        node.tick()
    node.step(message(TIMEOUT_NOW))
    assert node.role == "follower"

    node.on_persist_ready(unsafe.number)
    node.tick()

    assert node.role == "pre-candidate"


def test_messages_of_strangers_are_no_error() -> None:
    node = leader()

    node.step(message(APPEND_RESPONSE, term=4, sender=77, index=2))
    node.step(message(8 + 1, term=4, sender=77))

    assert node.is_leader


small = st.integers(0, 8) | st.sampled_from([2**32, 2**62, 2**63, 2**64 - 1])
an_entry = st.builds(
    entry,
    small,
    st.integers(0, 5),
    st.sampled_from(
        [b"", b"x", pack((2, pack((1, 1), (2, 3)))), pack((1, 2)), pack((1, 15)), b"\xff"]
    ),
    st.integers(0, 3),
)
a_run = st.builds(
    lambda start, term, length: [entry(start + step, term) for step in range(length)],
    st.integers(1, 7),
    st.integers(1, 5),
    st.integers(0, 4),
)
a_message = st.builds(
    message,
    st.integers(0, 19),
    term=st.integers(0, 6) | small,
    to=st.just(1),
    sender=st.integers(0, 4),
    log_term=st.integers(0, 5) | small,
    index=small,
    commit=small,
    commit_term=st.integers(0, 5) | small,
    entries=st.lists(an_entry, max_size=3) | a_run,
    snap=st.builds(snapshot, small, st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)),
    reject=st.integers(0, 1),
    hint=small,
    context=st.sampled_from([b"", b"r", b"CampaignTransfer"]),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from([follower, candidate, leader]),
    events=st.lists(a_message | st.sampled_from(["tick", "read", "propose", "work"]), max_size=25),
)
def test_no_sequence_of_messages_breaks_a_node(start, events: list[bytes | str]) -> None:
    node = start()
    for event in events:
        try:
            if isinstance(event, bytes):
                node.step(event)
            elif event == "tick":
                for _ in range(7):
                    node.tick()
            elif event == "read":
                node.read_index(b"r")
            elif event == "propose":
                node.propose(b"", b"p")
            else:
                work(node)
        except ConsensusError as error:
            harmless(error)
    work(node)


@given(st.binary(max_size=200))
@example(b"")
@example(pack((1, 15)))
@example(pack((2, pack((1, 9), (2, 1)))))
def test_arbitrary_bytes_are_refused_or_harmless(data: bytes) -> None:
    node = follower()
    for call in (node.step, snapshot_offer, conf_changes, node.apply_conf_change):
        try:
            call(data)
        except ConsensusError as error:
            harmless(error)
    work(node)


def test_a_held_snapshot_changes_nothing_until_it_is_stepped_again() -> None:
    node = follower()
    image = message(SNAPSHOT, snap=snapshot(9, 3, 1, 2))

    assert node.step(image, hold_snapshot=True) == ("snapshot", 2)
    work(node)
    assert node.last_index() < 9
    assert snapshot_offer(image) == (9, 3, ([1, 2], [], [], [], False), b"image")

    assert node.step(image) == ("snapshot", 2)
    assert node.ready().snapshot == snapshot_offer(image)


def test_a_held_snapshot_is_refused_like_any_other() -> None:
    node = follower()
    with pytest.raises(ConsensusError, match="in term 3"):
        node.step(message(SNAPSHOT, snap=snapshot(9, 4, 1, 2)), hold_snapshot=True)
    with pytest.raises(FarTerm):
        node.step(message(SNAPSHOT, term=2**40, snap=snapshot(9, 3, 1, 2)), hold_snapshot=True)
    with pytest.raises(ConsensusError, match="offers no snapshot"):
        snapshot_offer(message(APPEND, index=5, log_term=3))
